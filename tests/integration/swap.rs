//! A restore takes the place of a marked database, and a rollback gives it back.

use crate::application::Application;
use crate::place::{assert_failed, databases_like};
use crate::staging::{Staging, wait_for};
use std::sync::Arc;
use testkit::servers::own;
use testkit::sql;

/// G5: whoever uses the database meanwhile sees the old data, then the new, and nothing else; there and back again.
async fn there_and_back(version: u16) {
    let staging = Staging::new(version).await;
    let application = Application::start(&staging.live.url());
    application.is_answered().await;
    let restored = staging.restore().run().await.success().json();
    application.is_answered().await;
    assert_eq!(staging.value().await, "new");
    let asides = staging.asides().await;
    assert_eq!((&asides.len(), &restored["replaced"]), (&1, &asides[0].clone().into()));
    assert_eq!(restored["proven"], true);
    let notes = restored["notes"].to_string();
    assert!(notes.contains("ended 1 session in the replaced database: 1 of postgres"), "{notes}");
    let closed = sql::try_connect(&staging.live.server.url(&asides[0])).await.unwrap_err();
    assert_eq!(closed.code().map(|code| code.code()), Some("55000"), "the replaced database is open");

    staging.rollback().run().await.success();
    application.is_answered().await;
    assert_eq!(staging.value().await, "old");
    assert_ne!(staging.asides().await, asides);
    staging.rollback().run().await.success();
    application.is_answered().await;
    assert_eq!(staging.value().await, "new");

    let seen = application.stop().await;
    assert_eq!(seen.values, ["old", "new", "old", "new"], "{seen:?}");
    assert!(seen.wrong.is_empty(), "{seen:?}");
    assert!(seen.failed.len() <= 3, "more than one failed connection for each exchange: {seen:?}");
}

#[tokio::test]
async fn an_application_sees_the_old_data_then_the_new_on_postgresql_15() {
    there_and_back(15).await;
}

#[tokio::test]
async fn an_application_sees_the_old_data_then_the_new_on_postgresql_17() {
    there_and_back(17).await;
}

#[tokio::test]
async fn an_application_sees_the_old_data_then_the_new_on_postgresql_18() {
    if std::env::var("LONGSHORE_TEST_SERVERS").as_deref() != Ok("all") {
        return testkit::skipped("PostgreSQL 18 is tested by scripts/test --all");
    }
    there_and_back(18).await;
}

/// Everything that belongs to the database and not to what is in it, as one text.
async fn properties(staging: &Staging) -> Vec<sql::Row> {
    let query = format!(
        "select pg_get_userbyid(datdba), datconnlimit, datallowconn, shobj_description(d.oid, 'pg_database'), t.spcname,
           (select array_agg(a order by a::text) from unnest(datacl) a),
           (select array_agg(coalesce(r.rolname, '-') || ' ' || c order by c) from pg_db_role_setting s
            left join pg_roles r on r.oid = setrole, unnest(setconfig) c where setdatabase = d.oid)
         from pg_database d join pg_tablespace t on t.oid = dattablespace where datname = '{}'",
        staging.live.name
    );
    sql::rows(&staging.live.server.url("postgres"), &query).await
}

async fn properties_survive(version: u16) {
    let server = Arc::new(own(version, &[]).await);
    server.exec(&["mkdir", "-p", "/tmp/elsewhere"]).unwrap();
    let staging = Staging::on(server).await;
    let name = &staging.live.name;
    staging.outside("create role app_owner; create role reader login; create role writer login").await;
    staging.outside("create tablespace elsewhere location '/tmp/elsewhere'").await;
    staging.outside(&format!("alter database {name} set tablespace elsewhere")).await;
    let mark = "(select shobj_description(oid, 'pg_database') from pg_database where datname = current_database())";
    staging
        .live
        .exec(&format!(
            "do $$ begin execute format('comment on database {name} is %L', E'owned by billing\\n' || {mark}); end $$;
             alter database {name} connection limit 77; alter database {name} owner to app_owner;
             revoke all on database {name} from public; grant connect on database {name} to reader;
             grant all on database {name} to writer with grant option;
             alter database {name} set search_path = app, \"odd name\", public; alter database {name} set work_mem = '7MB';
             alter database {name} set app.colour = 'it''s \"green\"';
             alter role reader in database {name} set statement_timeout = '3s'"
        ))
        .await;
    let before = properties(&staging).await;
    assert!(format!("{before:?}").contains("billing") && format!("{before:?}").contains("elsewhere"), "{before:?}");
    staging.restore().run().await.success();
    assert_eq!(staging.live.value("select v from public.state").await, "new");
    assert_eq!(properties(&staging).await, before);
    // Marked as before: the next one needs no new word.
    staging.restore().run().await.success();
    staging.rollback().run().await.success();
    assert_eq!(properties(&staging).await, before);
}

#[tokio::test]
async fn what_was_set_up_for_the_live_database_survives_on_postgresql_15() {
    properties_survive(15).await;
}

#[tokio::test]
async fn what_was_set_up_for_the_live_database_survives_on_postgresql_17() {
    properties_survive(17).await;
}

#[tokio::test]
async fn the_next_restore_drops_what_was_replaced_and_drop_old_does_at_once() {
    let staging = Staging::new(15).await;
    staging.restore().run().await.success();
    let first = staging.asides().await;
    let restored = staging.restore().run().await.success().json();
    let second = staging.asides().await;
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
    assert!(restored["notes"].to_string().contains(&format!("dropped {}", first[0])), "{restored}");
    // Somebody looks at it: it is theirs for as long as it is open.
    staging.outside(&format!("alter database {} allow_connections true", second[0])).await;
    let restored = staging.restore().env("LONGSHORE_DROP_OLD", "true").run().await.success().json();
    assert_eq!(staging.asides().await, second);
    assert!(restored["notes"].to_string().contains("opened again"), "{restored}");
    assert_eq!(restored["replaced"], serde_json::Value::Null);
    assert_failed(staging.rollback().run().await, 77, "by another database");
    staging.outside(&format!("drop database {}", second[0])).await;
    assert_failed(staging.rollback().run().await, 66, "nothing to roll");
    assert_eq!(staging.value().await, "new");
}

/// A database that only looks like a replaced one is nobody's to drop or to roll back to.
#[tokio::test]
async fn a_database_that_only_looks_replaced_is_neither_dropped_nor_rolled_back_to() {
    let staging = Staging::new(15).await;
    let theirs = format!("{}__old_abcdefghij", staging.live.name);
    staging.outside(&format!("create database {theirs} allow_connections false")).await;
    assert_failed(staging.rollback().run().await, 66, "nothing to roll");
    let restored = staging.restore().run().await;
    let there = databases_like(&staging.live, &theirs).await;
    staging.outside(&format!("drop database {theirs}")).await;
    restored.success();
    assert_eq!(there, [theirs]);
}

/// When the live database is gone, what it replaced may be all there is.
#[tokio::test]
async fn an_old_database_is_kept_when_its_successor_is_gone() {
    let staging = Staging::new(15).await;
    staging.restore().run().await.success();
    let old = staging.asides().await;
    staging.outside(&format!("drop database {} with (force)", staging.live.name)).await;
    assert_failed(staging.rollback().run().await, 66, &old[0]);
    staging.restore().run().await.success();
    assert_eq!(staging.asides().await, old);
    assert_failed(staging.rollback().run().await, 77, "by another database");
}

/// Slots and subscriptions belong to the database, not to its name: said, and no obstacle.
#[tokio::test]
async fn slots_and_subscriptions_stay_with_the_old_database_and_are_named() {
    let server = Arc::new(own(15, &[("wal_level", "logical")]).await);
    let staging = Staging::on(Arc::clone(&server)).await;
    staging.live.exec("create publication everything for all tables").await;
    staging.live.exec("select pg_create_logical_replication_slot('cdc', 'pgoutput')").await;
    let create = "create subscription inbound connection 'host=127.0.0.1 port=1 dbname=x' publication p \
                  with (connect = false, slot_name = 'x')";
    staging.live.exec(create).await;
    staging.live.exec("alter subscription inbound enable").await;
    let restored = staging.restore().run().await.success().json();
    let old = staging.asides().await[0].clone();
    let notes = restored["notes"].to_string();
    assert!(notes.contains(&format!("replication slot cdc stays with {old}")), "{notes}");
    assert!(notes.contains(&format!("subscription inbound stays with {old}")), "{notes}");
    assert!(notes.contains(&format!("publication everything stays with {old}")), "{notes}");
    assert_eq!(staging.value().await, "new");
    // It cannot be dropped for its subscription: the next restore says so, and works.
    let restored = staging.restore().run().await.success().json();
    assert!(restored["notes"].to_string().contains(&format!("{old} is kept, closed")), "{restored}");
    staging.rollback().run().await.success();
}

/// Changes that are streamed out of the old database end with its sessions.
#[tokio::test]
async fn a_client_that_streams_changes_is_no_obstacle() {
    let server = Arc::new(own(15, &[("wal_level", "logical")]).await);
    let staging = Staging::on(Arc::clone(&server)).await;
    staging.live.exec("select pg_create_logical_replication_slot('cdc', 'test_decoding')").await;
    let stream = format!("pg_recvlogical -d {} --slot cdc --start -f /dev/null >/dev/null 2>&1 &", staging.live.name);
    server.exec(&["sh", "-c", &stream]).unwrap();
    wait_for(&staging.source, "select count(*) from pg_stat_replication", "1").await;
    staging.restore().run().await.success();
    assert_eq!(staging.value().await, "new");
}

/// Closed in an emergency, the live database must still be one to go back from.
#[tokio::test]
async fn a_closed_database_can_be_rolled_back() {
    let staging = Staging::new(15).await;
    staging.restore().run().await.success();
    staging.outside(&format!("alter database {} allow_connections false", staging.live.name)).await;
    let rolled_back = staging.rollback().run().await.success().json();
    assert!(rolled_back["notes"].to_string().contains("publications"), "{rolled_back}");
    assert_eq!(staging.value().await, "old");
}

/// The server's own workers are sent away by the server.
#[tokio::test]
async fn an_autovacuum_worker_is_no_obstacle() {
    let settings = [
        ("autovacuum_naptime", "1s"),
        ("autovacuum_vacuum_cost_delay", "100ms"),
        ("autovacuum_vacuum_cost_limit", "1"),
    ];
    let staging = Staging::on(Arc::new(own(15, &settings).await)).await;
    staging
        .live
        .exec("create table big as select i, md5(i::text) t from generate_series(1, 200000) i; update big set i = i")
        .await;
    let workers = format!(
        "select count(*) > 0 from pg_stat_activity where backend_type = 'autovacuum worker' and datname = '{}'",
        staging.live.name
    );
    wait_for(&staging.source, &workers, "t").await;
    staging.restore().run().await.success();
    assert_eq!(staging.value().await, "new");
}

/// An ordinary role that owns its database does all of it.
#[tokio::test]
async fn an_ordinary_owner_marks_swaps_and_rolls_back() {
    let staging = Staging::unmarked(Arc::new(own(15, &[]).await)).await;
    let (server, name) = (&staging.live.server, &staging.live.name);
    staging.outside("create role ann login createdb password 'pw'").await;
    staging.outside(&format!("alter database {name} owner to ann")).await;
    staging.live.exec("alter table state owner to ann; alter schema public owner to ann").await;
    let url = format!("postgres://ann:pw@{}:{}/{name}", server.host, server.port);
    crate::staging::mark(&url, "staging").run().await.success();
    let restore = || staging.restore_by(&url).env("LONGSHORE_NO_OWNER", "true");
    // Somebody else's session, which an ordinary role may not end.
    let theirs = sql::connect(&staging.live.url()).await;
    let refused = assert_failed(restore().run().await, 77, "GRANT pg_signal_backend TO \\\"ann\\\"");
    assert!(refused.stderr.contains("of postgres"), "{}", refused.report());
    staging.assert_untouched().await;
    theirs.simple_query("select 1").await.unwrap();
    drop(theirs);
    let mine = sql::connect(&url).await;
    restore().run().await.success();
    assert!(mine.simple_query("select 1").await.is_err());
    assert_eq!(sql::value(&url, "select v from state").await, "new");
    let rollback = testkit::Job::new(["rollback"]).env("LONGSHORE_TARGET", &url);
    rollback.run().await.success();
    assert_eq!(staging.value().await, "old");
}
