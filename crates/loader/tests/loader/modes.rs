//! Replace and upsert: what stays, what goes, and what others see meanwhile.

use loader::{Done, Error, Mode, Step};
use testkit::servers::{TestDatabase, postgres};

use crate::kit::{Hand, Stopping, is_loaded, plan, run, target, traces, upsert};

const ALL: &str = "select string_agg(format('%s=%s', id, name), ' ' order by id) from t";

async fn database(ddl: &str) -> TestDatabase {
    let db = postgres(15).await.create_database().await;
    db.exec(&format!("create table t (id int primary key, name text, kept text default 'kept'); {ddl}")).await;
    db.exec("insert into t values (1, 'old'), (2, 'old')").await;
    db
}

async fn refused(db: &TestDatabase, mode: Mode, drop: &Hand) -> Error {
    let before = db.value("select md5(string_agg(t::text, ';' order by id)) from t").await;
    let error = run(&target(db, "t", mode), drop, &plan("job")).await.unwrap_err();
    assert_eq!(db.value("select md5(string_agg(t::text, ';' order by id)) from t").await, before, "{error}");
    assert_eq!(traces(db).await, ("0".into(), "0".into()), "{error}");
    error
}

#[tokio::test]
async fn a_replacement_is_seen_as_a_whole_or_not_at_all() {
    let db = database("").await;
    let drop = Hand::new(&["id", "name"], &["2|new", "3|new"]);
    let mut load = Stopping::start(target(&db, "t", Mode::Replace), &drop, plan("job"));
    let go = load.until(Step::Merged).await;
    assert_eq!(db.value(ALL).await, "1=old 2=old");
    let done = load.end(go).await.unwrap();
    let Done::Loaded { record } = done else { panic!("{done:?}") };
    assert_eq!((record.counts.deleted, record.counts.inserted), (2, 2));
    assert_eq!(db.value(ALL).await, "2=new 3=new");
}

#[tokio::test]
async fn a_replacement_that_fails_leaves_every_row() {
    let db = database("").await;
    let error = refused(&db, Mode::Replace, &Hand::new(&["id", "name"], &["5|a", "6|b", "5|c"])).await;
    assert!(error.to_string().contains("a.csv:4: the key is there already"), "{error}");
    let error = refused(&db, Mode::Replace, &Hand::new(&["id", "name"], &[])).await;
    assert!(error.hint().unwrap().contains("--allow-empty"), "{error}");
    let meant = target(&db, "t", Mode::Replace).allow_empty(true);
    assert!(is_loaded(&run(&meant, &Hand::new(&["id", "name"], &[]), &plan("job")).await.unwrap()));
    assert_eq!(db.value("select count(*) from t").await, "0");
}

#[tokio::test]
async fn a_replacement_never_takes_rows_of_other_tables_along() {
    let db = database("create table child (id int references t on delete cascade)").await;
    db.exec("insert into child values (1)").await;
    let drop = Hand::new(&["id", "name"], &["1|new"]);
    let error = refused(&db, Mode::Replace, &drop).await;
    assert!(error.to_string().contains("child_id_fkey"), "{error}");
    db.exec("alter table child drop constraint child_id_fkey, add constraint plain foreign key (id) references t")
        .await;
    assert!(refused(&db, Mode::Replace, &drop).await.hint().unwrap().contains("upsert"));
    assert_eq!(db.value("select count(*) from child").await, "1");
    db.exec("alter table child alter constraint plain deferrable").await;
    assert!(is_loaded(&run(&target(&db, "t", Mode::Replace), &drop, &plan("job")).await.unwrap()));
    assert_eq!(db.value(ALL).await, "1=new");
}

#[tokio::test]
async fn a_replacement_that_leaves_old_rows_fails() {
    let db = database("").await;
    let drop = Hand::new(&["id", "name"], &["3|new"]);
    let keep = "create function keep() returns trigger language plpgsql as 'begin return null; end'; \
                create trigger keep before delete on t for each row execute function keep()";
    let rule = "create rule keep as on delete to t do instead nothing";
    for (ddl, undo) in [(keep, "drop trigger keep on t"), (rule, "drop rule keep on t")] {
        db.exec(ddl).await;
        let error = refused(&db, Mode::Replace, &drop).await;
        assert!(error.to_string().contains("public.t still holds rows after all were deleted"), "{error}");
        db.exec(undo).await;
    }
    assert!(is_loaded(&run(&target(&db, "t", Mode::Replace), &drop, &plan("job")).await.unwrap()));
    assert_eq!(db.value(ALL).await, "3=new");
}

#[tokio::test]
async fn rows_that_the_role_does_not_see_are_not_replaced() {
    let db = database("create schema longshore").await;
    let role = format!("load_{}", db.name);
    db.exec(&format!(
        "create role {role} login password 'x'; grant all on schema longshore to {role}; \
         grant select, insert, delete on t to {role}; alter table t enable row level security; \
         create policy one_row on t using (id = 1)"
    ))
    .await;
    let url = db.url().replace(&format!("{}:{}@", db.server.user, db.server.password), &format!("{role}:x@"));
    let as_role = crate::kit::at(&url, "t", Mode::Replace, crate::kit::quick());
    let drop = Hand::new(&["id", "name"], &["1|new"]);
    let error = run(&as_role, &drop, &plan("job")).await.unwrap_err();
    assert!(error.to_string().contains("row-level security"), "{error}");
    assert_eq!(db.value(ALL).await, "1=old 2=old");
    db.exec("alter table t disable row level security").await;
    assert!(is_loaded(&run(&as_role, &drop, &plan("job")).await.unwrap()));
    db.exec(&format!("revoke select on t from {role}")).await;
    let again = loader::Plan { reload: true, ..plan("job") };
    let error = run(&as_role, &drop, &again).await.unwrap_err();
    assert!(error.hint().unwrap().contains("GRANT SELECT"), "{error}");
    assert_eq!(db.value(ALL).await, "1=new");
    db.exec(&format!("drop owned by {role}; drop role {role}")).await;
}

/// Keys that name a partition or a child and not the table, and keys among the parts, where no row stays.
#[tokio::test]
async fn a_replacement_takes_no_rows_along_by_keys_of_its_parts() {
    let ddl = "create table visits (id int, year int, before int, primary key (id, year)) partition by list (year); \
        create table visits_2026 partition of visits for values in (2026); create unique index one on visits_2026 (id); \
        create table notes (visit int references visits_2026 (id) on delete cascade); \
        create table base (id int); create table child (primary key (id)) inherits (base); \
        create table on_child (id int references child on delete set null); \
        alter table visits_2026 add constraint own foreign key (before) references visits_2026 (id) on delete cascade";
    let db = database(ddl).await;
    db.exec("insert into visits values (1, 2026); insert into notes values (1); insert into child values (1)").await;
    let visits = Hand::new(&["id", "year"], &["1|2026"]);
    for (table, drop, key) in
        [("visits", &visits, "notes_visit_fkey"), ("base", &Hand::new(&["id"], &["1"]), "on_child_id_fkey")]
    {
        let error = run(&target(&db, table, Mode::Replace), drop, &plan("job")).await.unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
    assert_eq!(
        (db.value("select count(*) from notes").await, db.value("select count(*) from child").await),
        ("1".into(), "1".into())
    );
    db.exec("drop table notes").await;
    assert!(is_loaded(&run(&target(&db, "visits", Mode::Replace), &visits, &plan("job")).await.unwrap()));
}

#[tokio::test]
async fn an_upsert_changes_what_is_there_and_adds_the_rest() {
    let db = database("").await;
    db.exec("update t set kept = 'mine' where id = 2").await;
    let done =
        run(&target(&db, "t", upsert(&["id"])), &Hand::new(&["id", "name"], &["2|new", "03|new"]), &plan("job")).await;
    let Done::Loaded { record } = done.unwrap() else { panic!("not loaded") };
    assert_eq!((record.counts.updated, record.counts.inserted), (1, 1));
    assert_eq!(db.value(ALL).await, "1=old 2=new 3=new");
    assert_eq!(db.value("select string_agg(kept, ' ' order by id) from t").await, "kept mine kept");
    // A key and nothing else.
    let keys = run(&target(&db, "t", upsert(&["id"])), &Hand::new(&["id"], &["3", "4"]), &plan("job")).await.unwrap();
    assert!(is_loaded(&keys));
    assert_eq!(db.value("select count(*) from t").await, "4");
}

#[tokio::test]
async fn a_key_that_is_twice_in_the_drop_or_null_is_named_with_its_lines() {
    let db = database("create table n (a int, b int, unique (a, b))").await;
    let drop = Hand::new(&["id", "name"], &["7|a", "8|b", "07|c"]).and("b.csv", &["8|d"]);
    let text = refused(&db, upsert(&["id"]), &drop).await.to_string();
    for place in ["a.csv:2: its key (id)", "a.csv:4: its key (id)", "a.csv:3: its key (id)", "b.csv:2: its key (id)"] {
        assert!(text.contains(place), "{text}");
    }
    let nulls = Hand::new(&["a", "b"], &["1|2", "1|~"]);
    let error = run(&target(&db, "n", upsert(&["b", "a"])), &nulls, &plan("job")).await.unwrap_err();
    assert!(error.to_string().contains("a.csv:3: its key is null"), "{error}");
    assert_eq!(db.value("select count(*) from n").await, "0");
}

#[tokio::test]
async fn an_upsert_needs_an_index_of_its_key() {
    let db = database("create unique index on t (name) where id > 100").await;
    for key in [&["name"][..], &["id", "name"], &["absent"]] {
        let error = refused(&db, upsert(key), &Hand::new(&["id", "name"], &["1|a"])).await;
        assert!(error.to_string().contains("unique index") || error.to_string().contains("absent"), "{error}");
    }
}

#[tokio::test]
async fn a_constraint_that_waits_for_the_end_is_told_before_the_commit() {
    let db = database("create table late (id int references t deferrable initially deferred)").await;
    let error =
        run(&target(&db, "late", Mode::Append), &Hand::new(&["id"], &["1", "9"]), &plan("job")).await.unwrap_err();
    assert!(matches!(&error, Error::Rows { what, .. } if what.contains("late_id_fkey")), "{error}");
    assert_eq!(db.value("select count(*) from late").await, "0");
}
