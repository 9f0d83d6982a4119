//! What is loaded, and what is not: rows, names, constraints, refusals.

use loader::{Done, Error, Mode, Step};
use testkit::servers::{Flavour, TestSchema};

use super::{append, at, own, refused, schemas, schemas_with, target, traces};
use crate::kit::{Hand, Stopping, is_loaded, plan, quick, run, upsert};

#[tokio::test]
async fn a_drop_is_loaded_once() {
    for db in schemas_with("create table t (id int primary key, name text, seen date)").await {
        let drop = Hand::new(&["id", "name", "seen"], &["1|a|2026-01-02", "2||~", "3|~|2026-01-03"])
            .and("b.csv", &["4|\u{1f600}\u{e9}\\N\t'\"\n\r\0\\|~"]);
        let done = append(&db, "t", &drop).await.unwrap();
        let Done::Loaded { record } = &done else { panic!("{done:?}") };
        assert_eq!((record.counts.read, record.counts.inserted, record.files[1].rows), (4, 4, 1));
        assert!(record.started.is_some() && record.finished.is_some() && record.drop.as_ref().unwrap().len() == 64);
        let rows = "select group_concat(concat(id, ',', coalesce(name, 'NULL'), ',', coalesce(seen, 'NULL')) order by id separator ';') from t where id < 4";
        assert_eq!(db.one(rows).await, "1,a,2026-01-02;2,,NULL;3,NULL,2026-01-03");
        assert_eq!(db.one("select hex(name) from t where id = 4").await, "F09F9880C3A95C4E0927220A0D005C");
        let again = append(&db, "t", &drop).await.unwrap();
        assert!(
            matches!(&again, Done::AlreadyLoaded { by, other_options: false } if by.run == record.run),
            "{again:?}"
        );
        assert_eq!((db.one("select count(*) from t").await, traces(&db).await), ("4".into(), ("1".into(), "0".into())));
        let history = loader::history(&db.url(), None, None, 10).await.unwrap();
        assert_eq!(history.len(), 1);
        assert_eq!(&history[0], &**record);
    }
}

#[tokio::test]
async fn another_job_loads_the_same_drop_for_itself_and_a_reload_is_asked_for() {
    for db in schemas_with("create table t (id int)").await {
        let (drop, table) = (Hand::new(&["id"], &["1", "2"]), target(&db, "t", Mode::Append));
        for job in ["one", "other"] {
            assert!(is_loaded(&run(&table, &drop, &plan(job)).await.unwrap()));
        }
        let changed = loader::Plan { options: "other".to_owned(), ..plan("one") };
        assert!(matches!(run(&table, &drop, &changed).await.unwrap(), Done::AlreadyLoaded { other_options: true, .. }));
        assert_eq!(db.one("select count(*) from t").await, "4");
        let reload = loader::Plan { reload: true, ..plan("one") };
        assert!(is_loaded(&run(&table, &drop, &reload).await.unwrap()));
        assert_eq!(db.one("select count(*) from t").await, "6");
        let states = "select group_concat(concat(job, ' ', status) order by job, epoch separator ', ') from longshore_load_ledger";
        assert_eq!(db.one(states).await, "one reloaded, one loaded, other loaded");
    }
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    for db in schemas_with("create table t (id int)").await {
        let dry = loader::Plan { dry_run: true, ..plan("job") };
        let done = run(&target(&db, "t", Mode::Append), &Hand::new(&["id"], &["1", "2"]), &dry).await.unwrap();
        assert!(matches!(&done, Done::DryRun { record } if record.counts.inserted == 2), "{done:?}");
        assert_eq!((db.one("select count(*) from t").await, traces(&db).await), ("0".into(), ("0".into(), "0".into())));
        assert!(is_loaded(&append(&db, "t", &Hand::new(&["id"], &["1", "2"])).await.unwrap()));
    }
}

/// Five hundred good rows and a bad last one.
fn with_last(columns: &[&str], last: &str) -> Hand {
    let good: Vec<String> = (0..500).map(|id| format!("{id}|{id}")).collect();
    let mut rows: Vec<&str> = good.iter().map(String::as_str).collect();
    rows.push(last);
    Hand::new(columns, &rows)
}

#[tokio::test]
async fn a_bad_last_row_changes_nothing_and_is_named() {
    let ddl = "create table t (id int primary key, n varchar(6) not null, unique (n)); \
               create table child (id int, constraint of_t foreign key (id) references t (id)); insert into t values (-1, 'x'); \
               create trigger picky before insert on t for each row begin if new.n = 'picky' then signal sqlstate '45000' set message_text = 'canary'; end if; end";
    for db in schemas_with(ddl).await {
        let table = target(&db, "t", Mode::Append);
        for (last, said) in [
            ("12canary|1", "a.csv:502: column id: not an integer"),
            ("99999999999|1", "a.csv:502: column id: out of the range"),
            ("501|~", "a.csv:502: column n: null"),
            ("501|picky", "a.csv:502: a trigger of the table refuses it"),
            ("501|secret-canary", "a.csv:502: column n: too long"),
            ("-1|y", "a.csv:502: the key is there already (PRIMARY)"),
            ("501|499", "a.csv:502: the key is there already (n)"),
        ] {
            let text = refused(&db, &table, "t", &with_last(&["id", "n"], last)).await.to_string();
            assert!(text.contains(said), "{last}: {text}");
            assert!(!text.contains("canary") && !text.contains("99999999999"), "{text}");
        }
        assert_eq!(
            db.one("select count(*) from longshore_load_ledger where error rlike 'canary|99999999999'").await,
            "0"
        );
        let failed = "select count(*) from longshore_load_ledger where status = 'failed' and error <> '' and drop_id is not null and loaded_drop is null";
        assert_eq!(db.one(failed).await, "7");
        assert!(is_loaded(&append(&db, "t", &with_last(&["id", "n"], "501|x y")).await.unwrap()));
        let child = Hand::new(&["id"], &["1", "2", "1000", "3"]);
        let text = append(&db, "child", &child).await.unwrap_err().to_string();
        assert_eq!(
            (db.one("select count(*) from child").await, traces(&db).await),
            ("0".into(), ("1".into(), "0".into()))
        );
        assert!(text.contains("a.csv:4: refers to a row that is not there (of_t)"), "{text}");
    }
}

#[tokio::test]
async fn a_check_of_the_table_is_named_with_its_row() {
    for db in schemas_with("create table t (id int, constraint positive check (id > 0))").await {
        // MySQL 5.6 reads a check and forgets it.
        if db.server.flavour == Flavour::MySql5 {
            continue;
        }
        let text = refused(&db, &target(&db, "t", Mode::Append), "t", &Hand::new(&["id"], &["1", "2", "-3"])).await;
        assert!(text.to_string().contains("a.csv:4: violates the check positive"), "{text}");
    }
}

#[tokio::test]
async fn all_bad_rows_are_listed_up_to_a_number() {
    for db in schemas_with("create table t (id int, n int)").await {
        let rows: Vec<String> =
            (0..60).map(|id| if id % 2 == 0 { "x|y".to_owned() } else { format!("{id}|1") }).collect();
        let drop = Hand::new(&["id", "n"], &rows.iter().map(String::as_str).collect::<Vec<_>>());
        let error = refused(&db, &target(&db, "t", Mode::Append), "t", &drop).await;
        let Error::Rows { rows, more: true, .. } = &error else { panic!("{error}") };
        let lines: Vec<u64> = rows.iter().map(|row| row.line).collect();
        assert_eq!(lines, [2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14, 16, 16, 18, 18, 20, 20], "{error}");
    }
}

#[tokio::test]
async fn a_drop_goes_in_without_files_of_clients() {
    let server = own(Flavour::MariaDb10, &["--local-infile=0"]).await;
    let db = server.database().await;
    db.exec("create table t (id int primary key, name text)").await;
    let drop = Hand::new(&["id", "name"], &["1|a", "2|~", "3|\\N\t'\"\n\0\u{1f600}"]);
    assert!(is_loaded(&append(&db, "t", &drop).await.unwrap()));
    assert_eq!(
        db.one("select group_concat(coalesce(hex(name), '-') order by id) from t").await,
        "61,-,5C4E0927220A00F09F9880"
    );
    let text = refused(&db, &target(&db, "t", Mode::Append), "t", &Hand::new(&["id", "name"], &["4|a", "5x|b"])).await;
    assert!(text.to_string().contains("a.csv:3: column id: not an integer"), "{text}");
    db.exec("set global read_only = 1").await;
    let error = append(&db, "t", &Hand::new(&["id"], &["9"])).await.unwrap_err();
    assert!(error.to_string().contains("is read-only"), "{error}");
    db.exec("set global read_only = 0").await;
    assert_eq!((db.one("select count(*) from t").await, traces(&db).await), ("3".into(), ("1".into(), "0".into())));
}

#[tokio::test]
async fn odd_names_are_names() {
    for db in schemas_with(
        "create table `ta``b;--le` (`Sel``ect` int, `a b` varchar(9), c0 text, k0 int, primary key (`a b`))",
    )
    .await
    {
        let table = "\"ta`b;--le\"";
        let drop = Hand::new(&["c0", "Sel`ect", "a b"], &["'; drop table x; --|1|$1", "\\|2|\""]);
        for mode in [Mode::Append, upsert(&["a b"]), Mode::Replace] {
            let plan = loader::Plan { reload: true, ..plan("job") };
            let done = run(&target(&db, table, mode.clone()), &drop, &plan).await;
            assert!(is_loaded(&done.unwrap()), "{mode}");
            let rows = "select group_concat(concat(`Sel``ect`, ',', `a b`, ',', c0) order by 1 separator ';') from `ta``b;--le`";
            assert_eq!(db.one(rows).await, "1,$1,'; drop table x; --;2,\",\\");
        }
    }
}

#[tokio::test]
async fn what_cannot_keep_its_word_is_refused_by_name() {
    let ddl = "create table t (id int auto_increment primary key, name text, rounds float(7, 2), place point); \
               create table myisam (id int) engine = myisam; create view v as select 1 as id; create table untouched (id int)";
    for db in schemas_with(ddl).await {
        let flavour = db.server.flavour;
        for (table, column, said) in [
            ("nowhere", "id", "there is no table nowhere"),
            ("T", "name", "there is no table T"),
            ("t", "nome", "none of the drop's column names (1 in all) is a column of"),
            ("t", "Name", "none of the drop's column names (1 in all) is a column of"),
            ("t", "rounds", "float(7,2)"),
            ("t", "place", "may cut, round or rewrite unseen: point"),
            ("myisam", "id", "is a table of the engine MyISAM"),
            ("v", "id", "is a view"),
        ] {
            let error =
                refused(&db, &target(&db, table, Mode::Append), "untouched", &Hand::new(&[column], &["1", "2"])).await;
            assert!(error.to_string().contains(said) && error.hint().is_some(), "{flavour} {table}: {error}");
        }
        assert_eq!(
            (db.one("select count(*) from myisam").await, db.one("select count(*) from t").await),
            ("0".into(), "0".into())
        );
        if flavour != Flavour::MySql5 {
            db.exec("create table computed (id int, twice int generated always as (id * 2) virtual)").await;
            let error = append(&db, "computed", &Hand::new(&["id", "twice"], &["1|2"])).await.unwrap_err();
            assert!(
                error.to_string().contains("column twice") && error.to_string().contains("is generated"),
                "{error}"
            );
        }
        if flavour == Flavour::MySql9 {
            db.exec("create table documents (it json)").await;
            let error = append(&db, "documents", &Hand::new(&["it"], &["{}"])).await.unwrap_err();
            assert!(error.to_string().contains("rewrite unseen: json"), "{error}");
        }
    }
}

/// A user with these rights on the schema, and a target as that user.
pub(super) async fn user(db: &TestSchema, rights: &str, mode: Mode) -> (String, loader::MysqlTarget) {
    let name = format!("u_{}", &db.name()[db.name().len() - 10..]);
    db.exec(&format!("create user {name}@'%' identified by 'x'; grant {rights} on {}.* to {name}@'%'", db.name()))
        .await;
    let url = db.url().replace(&format!("root:{}@", db.server.password()), &format!("{name}:x@"));
    (name, at(&url, "t", mode, quick()))
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    for db in schemas_with("create table t (id int primary key)").await {
        let drop = Hand::new(&["id"], &["1"]);
        let (name, as_user) = user(&db, "select, insert", Mode::Append).await;
        let error = run(&as_user, &drop, &plan("job")).await.unwrap_err();
        assert!(error.hint().unwrap().contains("GRANT CREATE"), "{error}");
        db.exec(&format!("grant create, drop, update on {}.* to {name}@'%'", db.name())).await;
        assert!(is_loaded(&run(&as_user, &drop, &plan("job")).await.unwrap()));
        db.exec(&format!("grant delete on {}.* to {name}@'%'", db.name())).await;
        let replacing = at(
            &db.url().replace(&format!("root:{}@", db.server.password()), &format!("{name}:x@")),
            "t",
            Mode::Replace,
            quick(),
        );
        let drop = Hand::new(&["id"], &["2"]);
        let error = refused(&db, &replacing, "t", &drop).await;
        assert!(error.hint().unwrap().contains("GRANT PROCESS"), "{error}");
        db.exec(&format!("grant process on *.* to {name}@'%'")).await;
        assert!(is_loaded(&run(&replacing, &drop, &plan("job")).await.unwrap()));
        assert_eq!(db.one("select group_concat(id) from t").await, "2");
        db.exec(&format!("drop user {name}@'%'")).await;
    }
}

/// What a cell was held against must be what it is put into.
#[tokio::test]
async fn a_table_that_is_altered_while_the_drop_is_staged_takes_nothing() {
    let ddl = "create table t (id int primary key, at datetime(3), code varchar(9)) default charset utf8mb4";
    let changes = ["modify at datetime", "modify code char(9)", "engine = MyISAM"];
    for change in changes {
        for db in schemas_with(ddl).await {
            let drop = Hand::new(&["id", "at", "code"], &["1|2026-01-02 03:04:05.678|x"]);
            let mut load = Stopping::start(target(&db, "t", Mode::Append), &drop, plan("job"));
            let go = load.until(Step::Staged).await;
            db.exec(&format!("alter table t {change}")).await;
            let error = load.end(go).await.unwrap_err();
            assert!(
                error.to_string().contains("while the drop was staged") || error.to_string().contains("MyISAM"),
                "{error}"
            );
            assert_eq!(
                (db.one("select count(*) from t").await, traces(&db).await),
                ("0".into(), ("0".into(), "0".into()))
            );
            // Asked for again, it is held against the table of now.
            if change != "modify code char(9)" {
                refused(&db, &target(&db, "t", Mode::Append), "t", &drop).await;
            }
        }
    }
}

/// From the look in the merge to the commit nobody alters it.
#[tokio::test]
async fn a_table_is_not_altered_between_the_merge_and_the_commit() {
    for db in schemas_with("create table t (id int primary key, note varchar(9)) default charset utf8mb4").await {
        let drop = Hand::new(&["id", "note"], &["1|x"]);
        let mut load = Stopping::start(target(&db, "t", Mode::Append), &drop, plan("job"));
        let go = load.until(Step::Merged).await;
        let alter = db.exec("alter table t modify note char(3)");
        tokio::pin!(alter);
        let waits =
            "select count(*) from information_schema.processlist where db = database() and info like 'alter table t%'";
        let waiting = async { while db.one(waits).await == "0" {} };
        tokio::select! {
            () = &mut alter => panic!("it was altered in between"),
            () = waiting => {}
        }
        let (done, ()) = tokio::join!(load.end(go), alter);
        assert!(is_loaded(&done.unwrap()));
        assert_eq!(db.one("select note from t").await, "x");
    }
}

/// One ledger for a table, whatever URL is given.
#[tokio::test]
async fn a_table_of_another_database_is_refused() {
    for (db, other) in schemas_with("create table t (id int primary key)").await.into_iter().zip(schemas().await) {
        let elsewhere = format!("{}.t", db.name());
        let drop = Hand::new(&["id"], &["1"]);
        let error = run(&target(&other, &elsewhere, Mode::Append), &drop, &plan("job")).await.unwrap_err();
        assert!(error.to_string().contains("another database than the one that --target names"), "{error}");
        assert_eq!(db.one("select count(*) from t").await, "0");
        assert!(is_loaded(&run(&target(&db, &elsewhere, Mode::Append), &drop, &plan("job")).await.unwrap()));
    }
}
