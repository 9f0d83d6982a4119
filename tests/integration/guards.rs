//! G6: into which databases a restore goes, and into which it never does.

use crate::place::{Place, Target, assert_failed, databases_like};
use crate::staging::{Staging, mark};
use testkit::servers::postgres;
use testkit::{Job, Outcome};

/// Refused, nothing made, nothing changed.
async fn refused(staging: &Staging, job: Job, code: i32, says: &str) -> Outcome {
    let outcome = assert_failed(job.run().await, code, says);
    assert!(!outcome.stderr.contains("make the schema"), "refused only after something was made\n{}", outcome.report());
    staging.assert_untouched().await;
    outcome
}

fn elsewhere(staging: &Staging) -> String {
    staging.live.server.url_at("localhost", staging.live.server.port, &staging.live.name)
}

#[tokio::test]
async fn a_database_without_a_mark_is_refused_and_the_way_out_is_printed() {
    let staging = Staging::unmarked(postgres(15).await).await;
    let outcome = refused(&staging, staging.restore(), 77, "not marked").await;
    let hint = outcome.json()["hint"].as_str().unwrap().to_owned();
    assert!(!hint.contains("longshore-test-password"), "{hint}");
    let command: Vec<String> = hint
        .split("longshore ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .map(|word| word.trim_matches('\'').to_owned())
        .collect();
    Job::new(command).env("LONGSHORE_TARGET_PASSWORD", &staging.live.server.password).run().await.success();
    staging.restore().run().await.success();
    assert_eq!(staging.value().await, "new");
}

#[tokio::test]
async fn a_mark_holds_for_one_address_and_one_name() {
    let staging = Staging::new(15).await;
    refused(&staging, staging.restore_by(&elsewhere(&staging)), 77, "made for 127.0.0.1").await;
    let (name, renamed) = (&staging.live.name, format!("{}_renamed", staging.live.name));
    staging.outside(&format!("alter database {name} rename to {renamed}")).await;
    let outcome = staging.restore_by(&staging.live.server.url(&renamed)).run().await;
    staging.outside(&format!("alter database {renamed} rename to {name}")).await;
    assert_failed(outcome, 77, "renamed since, or copied");
    staging.assert_untouched().await;
}

#[tokio::test]
async fn what_is_marked_as_production_is_never_restored_into() {
    for name in ["production", "Prod", "LIVE"] {
        let staging = Staging::unmarked(postgres(15).await).await;
        staging.mark(name).await;
        refused(&staging, staging.restore(), 77, &format!("marked as {name}")).await;
        refused(&staging, staging.restore_by(&elsewhere(&staging)), 77, "nothing is restored").await;
        assert_failed(staging.rollback().run().await, 66, "nothing to roll");
        // Empty or not.
        staging.live.exec("drop table state").await;
        assert_failed(staging.restore().run().await, 77, "nothing is restored");
    }
}

/// What a mark says may come by a variable, as everything else; without it there is none, and nothing is marked.
#[tokio::test]
async fn a_mark_may_be_named_by_a_variable() {
    let staging = Staging::unmarked(postgres(15).await).await;
    let bare = || testkit::Job::new(["mark"]).env("LONGSHORE_TARGET", staging.live.url());
    assert_failed(bare().run().await, 64, "--as NAME or LONGSHORE_AS");
    refused(&staging, staging.restore(), 77, "not marked").await;
    bare().env("LONGSHORE_AS", "staging").run().await.success();
    staging.restore().run().await.success();
}

/// Marked while the copy was being loaded: looked at again under the lock.
#[tokio::test]
async fn a_mark_taken_away_meanwhile_ends_the_restore() {
    let staging = Staging::new(15).await;
    let folder = staging.place.folder.path();
    std::fs::write(folder.join("slow.sql"), "select pg_sleep(3)").unwrap();
    let running = staging.restore().env("LONGSHORE_BEFORE_SWAP", folder.join("slow.sql").display().to_string()).spawn();
    running.wait_for_stderr("before the swap").await;
    staging.mark("production").await;
    assert_failed(running.wait().await, 77, "marked as production");
    staging.assert_untouched().await;
}

#[tokio::test]
async fn the_backups_own_source_is_refused_even_when_it_is_marked() {
    let staging = Staging::new(15).await;
    let (name, url) = (staging.source.name.clone(), staging.source.url());
    for job in [staging.restore_by(&url), staging.restore_by(&url).env("LONGSHORE_TARGET_IS_A_CLONE", "true")] {
        refused(&staging, job, 77, "is the database that this backup was made of").await;
    }
    mark(&url, "staging").run().await.success();
    refused(&staging, staging.restore_by(&url), 77, "is the database that this backup was made of").await;
    // Under another name it is the same database still.
    let renamed = format!("{name}_renamed");
    staging.outside(&format!("alter database {name} rename to {renamed}")).await;
    let url = staging.live.server.url(&renamed);
    mark(&url, "staging").run().await.success();
    let outcome = staging.restore_by(&url).run().await;
    staging.outside(&format!("alter database {renamed} rename to {name}")).await;
    assert_failed(outcome, 77, "is the database that this backup was made of");
    assert_eq!(staging.source.value("select v from state").await, "new");
}

/// A physical clone has the source's identity under another address: only an explicit word lets a restore in.
#[tokio::test]
async fn a_physical_clone_needs_an_explicit_word() {
    let staging = Staging::new(15).await;
    let server = &staging.live.server;
    let url = server.url_at("localhost", server.port, &staging.source.name);
    mark(&url, "staging").run().await.success();
    let outcome = refused(&staging, staging.restore_by(&url), 77, "physical copy").await;
    assert!(outcome.stderr.contains("--target-is-a-clone"), "{}", outcome.report());
    staging.source.exec("update state set v = 'changed'").await;
    staging.restore_by(&url).env("LONGSHORE_TARGET_IS_A_CLONE", "true").run().await.success();
    assert_eq!(staging.source.value("select v from state").await, "new");
}

/// Where the server's identifier cannot be read, the address tells.
#[tokio::test]
async fn the_source_is_known_by_its_address_where_its_identity_cannot_be_read() {
    let staging = Staging::on(std::sync::Arc::new(testkit::servers::own(15, &[]).await)).await;
    staging.outside("create role ann login superuser password 'pw'").await;
    testkit::sql::exec(
        &staging.live.server.url("postgres"),
        "revoke execute on function pg_control_system() from public; alter role ann nosuperuser createdb;
         grant pg_read_all_data to ann",
    )
    .await;
    let name = &staging.source.name;
    staging.outside(&format!("alter database {name} owner to ann")).await;
    let url = format!("postgres://ann:pw@{}:{}/{name}", staging.live.server.host, staging.live.server.port);
    staging.place.backup(&url).run().await.success();
    mark(&url, "staging").run().await.success();
    refused(&staging, staging.restore_by(&url), 77, "is the database that this backup was made of").await;
}

#[tokio::test]
async fn modes_are_what_they_say() {
    let staging = Staging::new(15).await;
    refused(&staging, staging.restore().env("LONGSHORE_MODE", "fresh"), 73, "not empty").await;
    let missing = staging.live.server.url("no_such_database_here");
    refused(&staging, staging.restore_by(&missing).env("LONGSHORE_MODE", "swap"), 66, "no_such_database_here").await;
    refused(&staging, staging.restore_by(&staging.live.server.url("postgres")), 78, "server's own").await;
    let long = "n".repeat(48);
    refused(&staging, staging.restore_by(&staging.live.server.url(&long)), 78, "47 are the most").await;
}

/// The longest name there may be goes all the way, with everything that is added to it.
#[tokio::test]
async fn the_longest_name_is_restored_swapped_and_rolled_back() {
    let staging = Staging::new(15).await;
    let name = format!("{:l<47}", staging.live.name);
    staging.outside(&format!("alter database {} rename to {name}", staging.live.name)).await;
    let url = staging.live.server.url(&name);
    mark(&url, "staging").run().await.success();
    let restored = staging.restore_by(&url).run().await.success().json();
    assert_eq!(restored["replaced"].as_str().unwrap().len(), 63);
    Job::new(["rollback"]).env("LONGSHORE_TARGET", &url).run().await.success();
    let value = testkit::sql::value(&url, "select v from state").await;
    staging.outside(&format!("drop database {name} with (force)")).await;
    assert_eq!(value, "old");
}

#[tokio::test]
async fn an_empty_database_needs_no_mark_and_keeps_the_one_it_has() {
    let db = postgres(15).await.create_database().await;
    let (empty, place) = (db.server.create_database().await, Place::new().await);
    db.exec("create table t (x int)").await;
    place.backup(&db.url()).run().await.success();
    mark(&empty.url(), "staging").run().await.success();
    let restored = place.restore(&empty.url()).run().await.success().json();
    assert_eq!(restored["replaced"], serde_json::Value::Null);
    assert_eq!(databases_like(&db, &empty.name).await, [empty.name.as_str()]);
    // It holds something now, and the mark is there: this one swaps.
    let restored = place.restore(&empty.url()).run().await.success().json();
    assert!(restored["replaced"].is_string(), "{restored}");
}

/// What has no rows and no schema of its own is somebody's work, too: none of it is lost without a mark, least of all at the source.
#[tokio::test]
async fn a_database_of_servers_publications_or_privileges_alone_is_not_empty() {
    let db = postgres(15).await.create_database().await;
    let (user, place) = (format!("fdw_{}", db.name), Place::new().await);
    place.backup(&db.url()).run().await.success();
    let role = format!("create role {user}");
    db.exec(&role).await;
    for (make, holds) in [
        ("create foreign data wrapper w", "foreign-data wrapper"),
        ("create publication p", "publication"),
        (&format!("alter default privileges for role {user} grant select on tables to public"), "default privileges"),
        ("create text search configuration c (parser = pg_catalog.default)", "text search configuration"),
    ] {
        let other = db.server.create_database().await;
        other.exec(make).await;
        assert_failed(place.restore(&other.url()).run().await, 77, holds);
        assert_eq!(databases_like(&db, &other.name).await, [other.name.as_str()], "{make}");
        other.exec("create table still_there (x int)").await;
        other.exec(&format!("drop owned by {user}")).await;
    }
    db.exec("create foreign data wrapper w").await;
    assert_failed(place.restore(&db.url()).run().await, 77, "the database that this backup was made of");
    db.exec(&format!("drop foreign data wrapper w; drop role {user}")).await;
}

/// Whoever marks the wrong database as staging must not take production's protection away by that.
#[tokio::test]
async fn a_mark_as_production_is_taken_away_before_another_is_made() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int)").await;
    mark(&db.url(), "production").run().await.success();
    assert_failed(mark(&db.url(), "staging").run().await, 77, "marked as production");
    let still = mark(&db.url(), "prodution").run().await.success().json();
    assert_eq!((&still["before"], &still["replaceable"]), (&"production".into(), &false.into()));
    Job::new(["mark", "--remove"]).env("LONGSHORE_TARGET", db.url()).run().await.success();
    let now = mark(&db.url(), "staging").run().await.success().json();
    assert_eq!((&now["before"], &now["replaceable"]), (&serde_json::Value::Null, &true.into()));
}

/// A mark is of one place: a backup of a marked database brings its comment along and not the mark.
#[tokio::test]
async fn a_backup_carries_no_mark() {
    let db = postgres(15).await.create_database().await;
    db.exec(&format!("create table t (x int); comment on database {} is 'owned by billing'", db.name)).await;
    mark(&db.url(), "staging").run().await.success();
    let comment = "select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()";
    assert!(db.value(comment).await.starts_with("owned by billing\nlongshore {"));
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
    assert_eq!(testkit::sql::value(&target.url, comment).await, "owned by billing");
    assert_failed(place.restore(&target.url).run().await, 77, "not marked");
}

#[tokio::test]
async fn mark_says_what_it_marked_and_takes_it_back() {
    let db = postgres(15).await.create_database().await;
    db.exec(&format!("create table t (x int); create table u (x int); comment on database {} is 'mine'", db.name))
        .await;
    let marked = mark(&db.url(), "staging").run().await.success().json();
    assert_eq!((&marked["marked_as"], &marked["tables"]), (&"staging".into(), &2.into()));
    assert!(marked["bytes"].as_u64().unwrap() > 1_000_000, "{marked}");
    let text = Job::new(["mark", "--as", "qa"]).env("LONGSHORE_TARGET", db.url()).run().await.success();
    assert!(text.stdout.contains("as qa; it was staging") && text.stdout.contains("2 tables"), "{}", text.report());
    Job::new(["mark", "--remove"]).env("LONGSHORE_TARGET", db.url()).run().await.success();
    let comment = "select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()";
    assert_eq!(db.value(comment).await, "mine");
    Job::new(["mark", "--as", "bad name"]).env("LONGSHORE_TARGET", db.url()).run().await.expect_code(64);
    Job::new(["mark"]).env("LONGSHORE_TARGET", db.url()).run().await.expect_code(64);
    assert_failed(mark(&db.server.url("no_such_database"), "staging").run().await, 66, "no_such_database");
}
