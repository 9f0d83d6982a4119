//! Replace and upsert: what stays, what goes, and what others see meanwhile.

use loader::{Done, Error, Mode, Step};
use testkit::servers::TestSchema;

use super::{refused, schemas_with, target, traces};
use crate::kit::{Hand, Stopping, is_loaded, plan, run, upsert};

const ALL: &str = "select coalesce(group_concat(concat(id, '=', name) order by id separator ' '), '') from t";

async fn databases(ddl: &str) -> Vec<TestSchema> {
    let table = "create table t (id int primary key, name varchar(20), kept varchar(9) default 'kept') default charset utf8mb4; \
                 insert into t (id, name) values (1, 'old'), (2, 'old')";
    schemas_with(&format!("{table}; {ddl}")).await
}

#[tokio::test]
async fn a_replacement_is_seen_as_a_whole_or_not_at_all() {
    for db in databases("select 1").await {
        let drop = Hand::new(&["id", "name"], &["2|new", "3|new"]);
        let mut load = Stopping::start(target(&db, "t", Mode::Replace), &drop, plan("job"));
        let go = load.until(Step::Merged).await;
        assert_eq!(db.one(ALL).await, "1=old 2=old");
        // Nobody adds a row that would stay.
        let beside = db.exec("insert into t (id, name) values (9, 'beside')");
        tokio::pin!(beside);
        let waits = "select count(*) from information_schema.processlist where db = database() and info like 'insert into t (id, name)%'";
        let waiting = async { while db.one(waits).await == "0" {} };
        tokio::select! {
            () = &mut beside => panic!("a row came in between"),
            () = waiting => {}
        }
        let (done, ()) = tokio::join!(load.end(go), beside);
        let Done::Loaded { record } = done.unwrap() else { panic!("not loaded") };
        assert_eq!((record.counts.deleted, record.counts.inserted), (2, 2));
        assert_eq!(db.one(ALL).await, "2=new 3=new 9=beside");
    }
}

#[tokio::test]
async fn a_replacement_that_fails_leaves_every_row() {
    for db in databases("select 1").await {
        let replacing = target(&db, "t", Mode::Replace);
        let error = refused(&db, &replacing, "t", &Hand::new(&["id", "name"], &["5|a", "6|b", "5|c"])).await;
        assert!(error.to_string().contains("a.csv:4: the key is there already"), "{error}");
        let error = refused(&db, &replacing, "t", &Hand::new(&["id", "name"], &[])).await;
        assert!(error.hint().unwrap().contains("--allow-empty"), "{error}");
        let meant = target(&db, "t", Mode::Replace).allow_empty(true);
        assert!(is_loaded(&run(&meant, &Hand::new(&["id", "name"], &[]), &plan("job")).await.unwrap()));
        assert_eq!((db.one("select count(*) from t").await, traces(&db).await), ("0".into(), ("1".into(), "0".into())));
    }
}

#[tokio::test]
async fn a_replacement_never_takes_rows_of_other_tables_along() {
    let ddl = "create table `odd-child` (id int, constraint taken foreign key (id) references t (id) on delete cascade); insert into `odd-child` values (1)";
    for db in databases(ddl).await {
        let (drop, replacing) = (Hand::new(&["id", "name"], &["1|new"]), target(&db, "t", Mode::Replace));
        let error = refused(&db, &replacing, "t", &drop).await;
        assert!(error.to_string().contains("rows of") && error.to_string().contains("odd-child"), "{error}");
        db.exec("alter table `odd-child` drop foreign key taken").await;
        db.exec("alter table `odd-child` add constraint plain foreign key (id) references t (id)").await;
        let error = refused(&db, &replacing, "t", &drop).await;
        assert!(error.hint().unwrap().contains("upsert"), "{error}");
        assert_eq!(db.one("select count(*) from `odd-child`").await, "1");
        db.exec("drop table `odd-child`; create table own (id int primary key, up int, foreign key (up) references own (id) on delete cascade); insert into own values (1, 1)").await;
        let own = Hand::new(&["id", "up"], &["7|~", "8|7"]);
        assert!(is_loaded(&run(&target(&db, "own", Mode::Replace), &own, &plan("job")).await.unwrap()));
        assert_eq!(db.one("select group_concat(id order by id) from own").await, "7,8");
    }
}

#[tokio::test]
async fn an_upsert_changes_what_is_there_and_adds_the_rest() {
    for db in databases("update t set kept = 'mine' where id = 2").await {
        let drop = Hand::new(&["id", "name"], &["2|new", "03|new"]);
        let done = run(&target(&db, "t", upsert(&["id"])), &drop, &plan("job")).await;
        let Done::Loaded { record } = done.unwrap() else { panic!("not loaded") };
        assert_eq!((record.counts.updated, record.counts.inserted), (1, 1));
        assert_eq!(db.one(ALL).await, "1=old 2=new 3=new");
        assert_eq!(db.one("select group_concat(kept order by id separator ' ') from t").await, "kept mine kept");
        // Rows that change nothing are counted, too.
        let same = Hand::new(&["id", "name"], &["2|new", "1|old", "4|x"]);
        let done = run(&target(&db, "t", upsert(&["id"])), &same, &plan("job")).await;
        let Done::Loaded { record } = done.unwrap() else { panic!("not loaded") };
        assert_eq!((record.counts.updated, record.counts.inserted), (2, 1));
        // A key and nothing else.
        let keys =
            run(&target(&db, "t", upsert(&["id"])), &Hand::new(&["id"], &["4", "5"]), &plan("job")).await.unwrap();
        assert!(is_loaded(&keys));
        assert_eq!((db.one("select count(*) from t").await, traces(&db).await), ("5".into(), ("3".into(), "0".into())));
    }
}

/// What is one key is the collation's business, and that of a type: `A` and `a`, `1.50` and `1.5`.
#[tokio::test]
async fn keys_are_the_same_where_the_table_says_so() {
    let ddl = "create table k (code varchar(9) collate utf8mb4_general_ci, n decimal(4, 2), at datetime(3), b binary(2), e enum('x', 'y'), f bit(3), note varchar(9), \
               primary key (code, n, at, b, e, f)) default charset utf8mb4; \
               insert into k values ('\u{c4}b', 1.5, '2026-01-02 03:04:05.600', 'zz', 'y', b'101', 'old')";
    for db in databases(ddl).await {
        let columns = ["f", "e", "code", "n", "at", "b", "note"];
        let by_key = target(&db, "k", upsert(&["code", "n", "at", "b", "e", "f"]));
        let drop = Hand::new(
            &columns,
            &["101|y|\u{e4}B|1.50|2026-01-02T03:04:05.6Z|zz|new", "101|x|\u{e4}B|1.50|2026-01-02|zz|other"],
        );
        let done = run(&by_key, &drop, &plan("job")).await;
        let Done::Loaded { record } = done.unwrap() else { panic!("not loaded") };
        assert_eq!((record.counts.updated, record.counts.inserted), (1, 1));
        assert_eq!(
            db.one("select group_concat(concat(note, hex(code)) order by note) from k").await,
            "newC38462,otherC3A442"
        );
        let twice = Hand::new(
            &columns,
            &["101|y|q|1|2026-01-02|zz|a", "101|y|r|1|2026-01-02|zz|b", "101|y|Q|1.0|2026-01-02 00:00|zz|c"],
        );
        let text = refused(&db, &by_key, "k", &twice).await.to_string();
        assert!(
            text.contains("a.csv:4: its key (code, n, at, b, e, f) is on an earlier line, too")
                && !text.contains("a.csv:3"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_key_that_is_twice_in_the_drop_or_null_is_named_with_its_lines() {
    for db in databases("create table n (a int, b int, unique (a, b))").await {
        let drop = Hand::new(&["id", "name"], &["7|a", "8|b", "07|c"]).and("b.csv", &["8|d"]);
        let text = refused(&db, &target(&db, "t", upsert(&["id"])), "t", &drop).await.to_string();
        for place in ["a.csv:4: its key (id)", "b.csv:2: its key (id)"] {
            assert!(text.contains(place), "{text}");
        }
        let nulls = Hand::new(&["a", "b"], &["1|2", "1|~"]);
        let text = refused(&db, &target(&db, "n", upsert(&["b", "a"])), "n", &nulls).await.to_string();
        assert!(text.contains("a.csv:3: column b: its key is null"), "{text}");
    }
}

#[tokio::test]
async fn an_upsert_touches_no_row_that_another_index_finds() {
    for db in databases("create table two (id int auto_increment primary key, code varchar(9), note varchar(9), unique (code)); insert into two values (1, 'a', 'old'), (2, 'b', 'old')").await {
        let by_id = target(&db, "two", upsert(&["id"]));
        let text = refused(&db, &by_id, "two", &Hand::new(&["id", "code", "note"], &["1|a|new", "3|b|new"])).await.to_string();
        assert!(text.contains("a.csv:3: the key is there already (code)"), "{text}");
        let text = refused(&db, &by_id, "two", &Hand::new(&["id", "code", "note"], &["3|c|new", "1|b|new"])).await.to_string();
        assert!(text.contains("a.csv:3: the key is there already (code)"), "{text}");
        let by_code = target(&db, "two", upsert(&["code"]));
        assert!(is_loaded(&run(&by_code, &Hand::new(&["code", "note"], &["b|new"]), &plan("job")).await.unwrap()));
        assert_eq!(db.one("select group_concat(concat(id, code, note) order by id) from two").await, "1aold,2bnew");
    }
}

#[tokio::test]
async fn an_upsert_needs_an_index_of_its_key() {
    for db in databases(
        "update t set name = id; create unique index beginnings on t (name(3)); create index plain on t (kept)",
    )
    .await
    {
        for key in [&["name"][..], &["kept"], &["id", "name"], &["absent"]] {
            let drop = Hand::new(&["id", "name", "kept"], &["1|a|b"]);
            let error = refused(&db, &target(&db, "t", upsert(key)), "t", &drop).await;
            assert!(error.to_string().contains("unique index") || error.to_string().contains("absent"), "{error}");
            assert!(matches!(error, Error::Target(_)), "{error}");
        }
    }
}
