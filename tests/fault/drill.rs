//! A drill that goes wrong leaves no database, or one that the next drill knows as its own; and says nothing bad about a backup
//! that is whole.

use crate::integration::drill::{drill, left, server};
use crate::place::{LARGE, Place, assert_failed};
use crate::staging::wait_for;
use std::sync::Arc;
use testkit::Signal;
use testkit::servers::{PostgresServer, TestDatabase};

async fn setting() -> (Arc<PostgresServer>, TestDatabase, Place) {
    let server = server(15).await;
    let db = server.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    (server, db, place)
}

/// The server needs a moment to notice that a killed client is gone; a database in use is nobody's leftover.
async fn wait_for_no_session(db: &TestDatabase) {
    wait_for(db, "select count(*) from pg_stat_activity where application_name like 'longshore%'", "0").await;
}

#[tokio::test]
async fn what_a_killed_drill_leaves_the_next_one_removes_and_nothing_else() {
    let (server, db, place) = setting().await;
    // No mark; somebody else's words; the mark of another run; of another target; a name that only begins like one.
    let run = "longshore scratch database, run";
    let others = [
        ("longshore_drill__new_aaaaaaaaaa", None),
        ("longshore_drill__new_bbbbbbbbbb", Some("keep this".to_owned())),
        ("longshore_drill__new_cccccccccc", Some(format!("{run} dddddddddd for longshore_drill"))),
        ("longshore_drill__new_eeeeeeeeee", Some(format!("{run} eeeeeeeeee for longshoreXdrill"))),
        ("longshore_drills", Some(format!("{run} ffffffffff for longshore_drill"))),
    ];
    for (name, comment) in &others {
        testkit::sql::exec(&server.url("postgres"), &format!("create database {name}")).await;
        if let Some(comment) = comment {
            testkit::sql::exec(&server.url("postgres"), &format!("comment on database {name} is '{comment}'")).await;
        }
    }
    let theirs: Vec<&str> = others.iter().map(|(name, _)| *name).collect();
    let before = testkit::sql::content(&db.url()).await;
    for moment in ["load rows", "add constraints", "read everything back"] {
        let outcome = drill(&place, &server).run_and_signal(moment, Signal::Kill).await;
        assert_eq!(outcome.signal, Some(9), "{}", outcome.report());
        wait_for_no_session(&db).await;
        let there = left(&db).await;
        assert_eq!(there.len(), theirs.len() + 1, "{moment}: {there:?}");
        assert_eq!(place.objects("evidence").len(), 0, "a killed drill shows nothing");
    }
    // Each began by dropping what the one before had left; so does this one, and it leaves none.
    let result = drill(&place, &server).run().await.success().json();
    assert!(result["notes"].to_string().contains("which an earlier run left behind"), "{result}");
    assert!(result["notes"].to_string().contains("longshore_drill__new_aaaaaaaaaa is called like"), "{result}");
    assert_eq!(left(&db).await, theirs);
    assert_eq!(testkit::sql::content(&db.url()).await, before, "the source is as it was");
}

#[tokio::test]
async fn a_drill_of_a_damaged_backup_fails_is_recorded_as_bad_and_leaves_nothing() {
    let (server, db, place) = setting().await;
    drill(&place, &server).run().await.success();
    let good = place.objects("evidence");
    for object in [place.objects("chunks").remove(2), place.objects("lists").remove(0)] {
        let whole = std::fs::read(&object).unwrap();
        let mut bytes = whole.clone();
        bytes[99] ^= 4;
        std::fs::write(&object, bytes).unwrap();
        let known = place.objects("evidence");
        let name = object.strip_prefix(place.path()).unwrap().display().to_string();
        assert_failed(drill(&place, &server).run().await, 65, &name);
        std::fs::write(&object, whole).unwrap();
        let new: Vec<_> = place.objects("evidence").into_iter().filter(|path| !known.contains(path)).collect();
        assert!(new.len() == 1 && new[0].to_string_lossy().ends_with("-drill-bad"), "{new:?}");
        assert_eq!(left(&db).await, Vec::<String>::new());
        let listed = place.listed().await.remove(0);
        assert!(listed["failed"].is_string() && listed["drilled"].is_string(), "{listed}");
    }
    let text = place.job(["list"]).run().await.success().stdout;
    assert!(text.contains("FAILED 20"), "{text}");
    assert_eq!(good.len(), 1);
}

/// A signal says nothing about the backup, nor does a server that went away.
#[tokio::test]
async fn a_drill_that_is_stopped_or_loses_its_server_leaves_no_database_and_no_evidence() {
    let (server, db, place) = setting().await;
    for (signal, moment) in [
        (Signal::Terminate, "check the server"),
        (Signal::Terminate, "load rows"),
        (Signal::Interrupt, "add constraints"),
        (Signal::Terminate, "read everything back"),
    ] {
        let outcome = drill(&place, &server).run_and_signal(moment, signal).await;
        assert_failed(outcome, 74, "interrupted");
        assert_eq!(left(&db).await, Vec::<String>::new(), "{moment}");
        assert_eq!(place.objects("evidence").len(), 0, "{moment}");
    }
    let running = drill(&place, &server).spawn();
    running.wait_for_stderr("load rows").await;
    server.kill();
    let outcome = running.wait().await.expect_code(69);
    server.start().await;
    assert_eq!(place.objects("evidence").len(), 0, "{}", outcome.report());
    drill(&place, &server).run().await.success();
    assert_eq!(left(&db).await, Vec::<String>::new());
}
