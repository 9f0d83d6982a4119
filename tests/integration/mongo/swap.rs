//! A marked database's place: taken, given back, and refused.

use super::{Back, all, assert_same, collections};
use crate::place::{Place, assert_failed, until};
use mongodb::bson::doc;
use std::collections::BTreeMap;
use testkit::Signal;
use testkit::mongo::piece;
use testkit::proxy::{Lost, Tcp};
use testkit::servers::{TestMongo, mongo};

/// Marks a database as staging.
pub async fn marked(place: &Place, url: &str) {
    place.job(["mark", "--as", "staging"]).env("LONGSHORE_TARGET", url).run().await.success();
}

/// Something of an application: two collections, a view on each other's names, functions.
async fn version(db: &TestMongo, number: i32, only: &str) {
    db.run(doc! {"insert": "orders", "documents": [{"_id": number, "version": number}]}).await;
    db.run(doc! {"createIndexes": "orders", "indexes": [{"key": {"version": 1}, "name": format!("v{number}")}]}).await;
    db.run(doc! {"insert": only, "documents": [{"_id": 1}]}).await;
    db.run(doc! {"insert": "system.js", "documents": [{"_id": format!("f{number}"), "value": number}]}).await;
    db.run(doc! {"create": "seen", "viewOn": "orders", "pipeline": [{"$match": {"version": number}}]}).await;
}

/// A source of the second version, backed up.
pub async fn prepared() -> (Place, TestMongo) {
    let server = mongo().await;
    let source = server.database().await;
    version(&source, 2, "new").await;
    let place = Place::new().await;
    place.backup(&source.url()).run().await.success();
    (place, source)
}

fn rollback(place: &Place, url: &str) -> testkit::Job {
    place.job(["rollback"]).env("LONGSHORE_TARGET", url)
}

/// Everything that users see.
pub async fn seen(db: &TestMongo) -> BTreeMap<String, String> {
    all(db, db.name()).await
}

/// G5: a restore takes the place, a rollback gives it back, and another brings the restored data back.
#[tokio::test]
async fn a_place_is_taken_and_given_back() {
    let (place, source) = prepared().await;
    let staging = mongo().await.database().await;
    version(&staging, 1, "old").await;
    marked(&place, &staging.url()).await;
    let (wanted, before) = (seen(&source).await, seen(&staging).await);

    let restored = place.restore(&staging.url()).run().await.success();
    assert!(restored.stdout.contains("exchanged by two renames"), "{}", restored.report());
    assert_same(&wanted, &seen(&staging).await);
    let back = || rollback(&place, &staging.url());
    back().run().await.success();
    assert_same(&before, &seen(&staging).await);
    back().run().await.success();
    assert_same(&wanted, &seen(&staging).await);

    // The next restore drops what was kept; --drop-old keeps nothing.
    place.restore(&staging.url()).env("LONGSHORE_DROP_OLD", "true").run().await.success();
    assert_same(&wanted, &seen(&staging).await);
    assert_eq!(names_like(&staging, "longshore.").await, ["longshore.exchanges", "longshore.mark"]);
    assert_failed(back().run().await, 66, "nothing to go back to");
}

/// In one step each: there is no way back, and nothing is kept.
#[tokio::test]
async fn a_place_is_taken_in_one_step_each() {
    let (place, source) = prepared().await;
    let staging = mongo().await.database().await;
    version(&staging, 1, "old").await;
    marked(&place, &staging.url()).await;
    place.restore(&staging.url()).env("LONGSHORE_ATOMIC", "true").run().await.success();
    assert_same(&seen(&source).await, &seen(&staging).await);
    assert_eq!(names_like(&staging, "longshore.").await, ["longshore.exchanges", "longshore.mark"]);
}

/// G6: no mark, another's mark, production, the source itself, time series: refused, and nothing changes.
#[tokio::test]
async fn what_is_not_marked_for_it_is_refused() {
    let server = mongo().await;
    let (source, other) = (server.database().await, server.database().await);
    version(&source, 2, "new").await;
    version(&other, 1, "old").await;
    let place = Place::new().await;
    place.backup(&source.url()).run().await.success();
    let there = seen(&other).await;
    assert_failed(place.restore(&other.url()).run().await, 77, "is not marked");
    assert_failed(place.restore(&source.url()).run().await, 77, "that this backup was made of");
    let mark = |name: &str| place.job(["mark", "--as", name]).env("LONGSHORE_TARGET", other.url());
    mark("eu-prod").run().await.success();
    assert_failed(place.restore(&other.url()).run().await, 77, "eu-prod");
    assert_failed(mark("staging").run().await, 77, "eu-prod");
    place.job(["mark", "--remove"]).env("LONGSHORE_TARGET", other.url()).run().await.success();
    // A mark that was copied from another database means nothing here.
    let copied = doc! {"_id": 1, "environment": "staging", "server": format!("{}:{}", server.host(), server.port()), "database": "elsewhere"};
    other.run(doc! {"insert": "longshore.mark", "documents": [copied]}).await;
    assert_failed(place.restore(&other.url()).run().await, 77, "elsewhere");
    other.run(doc! {"drop": "longshore.mark"}).await;
    mark("staging").run().await.success();
    other.run(doc! {"create": "measured", "timeseries": {"timeField": "t"}}).await;
    assert_failed(place.restore(&other.url()).run().await, 78, "time series");
    other.run(doc! {"drop": "measured"}).await;
    assert_same(&there, &seen(&other).await);
    assert_eq!(names_like(&other, "longshore.new").await, Vec::<String>::new());
}

/// A marked database behind a proxy, with the URL by way of it.
pub async fn proxied(place: &Place) -> (TestMongo, Tcp, String) {
    let server = mongo().await;
    let staging = server.database().await;
    version(&staging, 1, "old").await;
    let proxy = Tcp::start(server.host(), server.port()).await;
    let url = format!("{}&serverSelectionTimeoutMS=2000", staging.url_at_port(proxy.port()));
    marked(place, &url).await;
    (staging, proxy, url)
}

pub async fn names_like(db: &TestMongo, beginning: &str) -> Vec<String> {
    let names = collections(db, db.name()).await;
    names.into_iter().filter(|name| name.starts_with(beginning)).collect()
}

/// G5: whatever a step of the exchange meets on its way, the target is as it was.
#[tokio::test]
async fn connections_cut_while_exchanging_leave_one_or_the_other() {
    let place = prepared().await;
    // Renames aside and in, a view that goes, one that comes, and the journal's last word.
    let steps =
        [".longshore.old", ".longshore.new", "drop\0\u{5}\0\0\0seen\0", "create\0\u{5}\0\0\0seen\0", "settled\0\u{1}"];
    for (lost, step) in [Lost::Answer, Lost::Words].into_iter().flat_map(|lost| steps.map(|step| (lost, step))) {
        let (staging, proxy, url) = proxied(&place.0).await;
        let before = seen(&staging).await;
        let words = if step.starts_with('.') { format!("{}{step}", staging.name()) } else { step.to_owned() };
        proxy.cut_at(&words, lost);
        let outcome = place.0.restore(&url).run().await;
        assert!(!proxy.waits_for_words(), "nothing was cut at {step:?}\n{}", outcome.report());
        assert_failed(outcome, 69, "everything was taken back");
        assert_same(&before, &seen(&staging).await);
        assert_eq!(names_like(&staging, "longshore.old").await, Vec::<String>::new(), "{step:?}");
        place.0.restore(&url).run().await.success();
        assert_same(&seen(&place.1).await, &seen(&staging).await);
    }
}

/// Whoever exchanged names or restored here has said nothing for long.
pub async fn age(staging: &TestMongo) {
    let past = doc! {"$set": {"beat": mongodb::bson::DateTime::from_millis(0)}};
    let documents = names_like(staging, "longshore.run.").await.into_iter().map(|name| (name, doc! {}));
    for (name, which) in documents.chain([("longshore.exchanges".to_owned(), doc! {"_id": "open"})]) {
        staging.run(doc! {"update": name, "updates": [{"q": which, "u": past.clone()}]}).await;
    }
}

/// Holds a job at words of its, and kills it there.
pub async fn killed_at(proxy: &Tcp, words: &str, job: testkit::Job) {
    proxy.hold_at(words);
    let running = job.spawn();
    until("it is under way", async || !proxy.waits_for_words()).await;
    running.signal(Signal::Kill);
    running.wait().await;
    proxy.cut();
    proxy.pass();
}

/// A run that is killed between two renames is put right by a rollback, and nothing is replaced before that.
#[tokio::test]
async fn an_exchange_that_was_killed_is_taken_back() {
    let (place, source) = prepared().await;
    let (staging, proxy, url) = proxied(&place).await;
    let before = seen(&staging).await;
    // Most names are exchanged by then; the functions' old ones are about to be set aside.
    let words = format!("{}.longshore.js.", staging.name());
    killed_at(&proxy, &words, place.restore(&url)).await;
    assert_ne!(seen(&staging).await, before);
    // It may live.
    assert_failed(place.restore(&url).run().await, 73, "exchanges names");
    assert_failed(rollback(&place, &url).run().await, 73, "exchanges names");
    age(&staging).await;
    assert_failed(place.restore(&url).run().await, 77, "longshore rollback puts it back");
    rollback(&place, &url).run().await.success();
    assert_same(&before, &seen(&staging).await);
    place.restore(&url).run().await.success();
    assert_same(&seen(&source).await, &seen(&staging).await);
}

/// One that is killed while it takes everything back, after the journal's last word was heard and not answered.
#[tokio::test]
async fn a_killed_return_is_taken_back_too() {
    let (place, _source) = prepared().await;
    let (staging, proxy, url) = proxied(&place).await;
    let before = seen(&staging).await;
    proxy.cut_at("settled\0\u{1}", Lost::Answer);
    killed_at(&proxy, "wants_after\0\0", place.restore(&url)).await;
    age(&staging).await;
    rollback(&place, &url).run().await.success();
    assert_same(&before, &seen(&staging).await);
    assert_eq!(names_like(&staging, "longshore.old").await, Vec::<String>::new());
}

/// A rollback that is killed is carried on by the next one, and both sides are still there after it.
#[tokio::test]
async fn a_killed_rollback_is_carried_on() {
    let (place, source) = prepared().await;
    let (staging, proxy, url) = proxied(&place).await;
    let before = seen(&staging).await;
    place.restore(&url).run().await.success();
    killed_at(&proxy, &format!("{}.longshore.js.old", staging.name()), rollback(&place, &url)).await;
    age(&staging).await;
    assert_failed(place.restore(&url).run().await, 77, "longshore rollback puts it back");
    rollback(&place, &url).run().await.success();
    assert_same(&before, &seen(&staging).await);
    rollback(&place, &url).run().await.success();
    assert_same(&seen(&source).await, &seen(&staging).await);
    rollback(&place, &url).run().await.success();
    assert_same(&before, &seen(&staging).await);
}

/// A restore that is killed when all is exchanged, a rollback, and another restore: none takes another's way back for something left over.
#[tokio::test]
async fn nobodys_way_back_is_a_leftover() {
    let (place, source) = prepared().await;
    let (staging, proxy, url) = proxied(&place).await;
    let before = seen(&staging).await;
    // All is done and the turn given back; its own document is about to go.
    killed_at(&proxy, "drop\0\u{19}\0\0\0longshore.run.", place.restore(&url)).await;
    age(&staging).await;
    rollback(&place, &url).run().await.success();
    assert_same(&before, &seen(&staging).await);
    // Refused, and it has looked for leftovers before.
    let refused = place.restore(&url).env("LONGSHORE_MODE", "fresh");
    assert_failed(refused.run().await, 73, "holds something");
    rollback(&place, &url).run().await.success();
    assert_same(&seen(&source).await, &seen(&staging).await);
}

/// What was made, dropped and made anew since a restore goes aside with it, and comes back with it.
#[tokio::test]
async fn what_has_changed_since_comes_back_too() {
    let (place, _source) = prepared().await;
    let (staging, _proxy, url) = proxied(&place).await;
    let before = seen(&staging).await;
    place.restore(&url).run().await.success();
    staging.run(doc! {"drop": "orders"}).await;
    staging.run(doc! {"insert": "orders", "documents": [{"_id": "anew"}]}).await;
    staging.run(doc! {"drop": "new"}).await;
    staging.run(doc! {"insert": "old", "documents": [{"_id": "made since"}]}).await;
    staging.run(doc! {"drop": "seen"}).await;
    staging.run(doc! {"create": "seen", "viewOn": "orders", "pipeline": [{"$match": {"_id": "anew"}}]}).await;
    staging.run(doc! {"insert": "besides", "documents": [{"_id": 1}]}).await;
    let after = seen(&staging).await;
    let besides = |all: BTreeMap<String, String>| -> BTreeMap<String, String> {
        all.into_iter().filter(|(key, _)| !key.contains("besides")).collect()
    };
    let back = rollback(&place, &url).run().await.success();
    assert!(back.report().contains("besides"), "{}", back.report());
    assert_same(&before, &besides(seen(&staging).await));
    rollback(&place, &url).run().await.success();
    assert_same(&after, &seen(&staging).await);
}

/// While a restore exchanges nobody else does, and what an application makes anew is not lost when it all goes back.
#[tokio::test]
async fn two_runs_never_exchange_at_once() {
    let (place, source) = prepared().await;
    let (staging, proxy, url) = proxied(&place).await;
    let direct = staging.url_at_port(staging.server.port());
    proxy.hold_at(&format!("{}.longshore.js.", staging.name()));
    let running = place.restore(&url).spawn();
    until("the exchange is under way", async || !proxy.waits_for_words()).await;
    // The mark is of the proxy's address; this one comes by another.
    let mark =
        doc! {"q": {}, "u": {"$set": {"server": format!("{}:{}", staging.server.host(), staging.server.port())}}};
    staging.run(doc! {"update": "longshore.mark", "updates": [mark]}).await;
    assert_failed(rollback(&place, &direct).run().await, 73, "another run exchanges names");
    assert_failed(place.restore(&direct).run().await, 73, "another run exchanges names");
    proxy.pass();
    running.wait().await.success();
    assert_same(&seen(&source).await, &seen(&staging).await);
}

/// Somebody who replaces a collection while the backup is loaded stops the exchange before it begins.
#[tokio::test]
async fn somebody_who_was_here_stops_the_exchange() {
    let (place, _source) = prepared().await;
    let (staging, proxy, url) = proxied(&place).await;
    proxy.hold_at("longshore.new");
    let running = place.restore(&url).spawn();
    until("the load begins", async || !proxy.waits_for_words()).await;
    staging.run(doc! {"drop": "old"}).await;
    staging.run(doc! {"insert": "old", "documents": [{"_id": "theirs"}]}).await;
    let theirs = seen(&staging).await;
    proxy.pass();
    assert_failed(running.wait().await, 73, "old was made, dropped or replaced");
    assert_same(&theirs, &seen(&staging).await);
    assert_eq!(names_like(&staging, "longshore.new").await, Vec::<String>::new());
}

/// What somebody writes to a name while it stands for nothing is in nobody's way, is kept for a while, and is told.
#[tokio::test]
async fn what_is_written_between_two_renames_is_told() {
    let server = mongo().await;
    let source = server.database().await;
    source.run(doc! {"insert": "orders", "documents": [{"_id": 2}]}).await;
    let place = Place::new().await;
    place.backup(&source.url()).run().await.success();
    let (staging, proxy, url) = proxied(&place).await;
    let before = seen(&staging).await;
    proxy.hold_at(&format!("{}.longshore.new", staging.name()));
    let running = place.restore(&url).spawn();
    until("the old one is aside", async || !proxy.waits_for_words()).await;
    staging.run(doc! {"insert": "orders", "documents": [{"_id": "meanwhile"}]}).await;
    proxy.pass();
    let outcome = running.wait().await.success();
    assert!(outcome.stdout.contains("somebody wrote to names while they were exchanged"), "{}", outcome.report());
    assert_same(&seen(&source).await, &seen(&staging).await);
    let kept = names_like(&staging, "longshore.written.").await;
    assert_eq!(staging.run(doc! {"count": &kept[0]}).await.get_i32("n").unwrap(), 1);
    rollback(&place, &url).run().await.success();
    assert_same(&before, &seen(&staging).await);
    place.restore(&url).run().await.success();
    assert_eq!(names_like(&staging, "longshore.written.").await, Vec::<String>::new());
}

/// Documents whose empty timestamps an insert would change come back as they were.
#[tokio::test]
async fn empty_timestamps_come_back() {
    let server = mongo().await;
    let db = server.database().await;
    testkit::mongo::make(&db.db().await, &[piece("an empty timestamp at the top")]).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = Back::of(&db);
    place.restore(&back.url).run().await.success();
    assert_same(&seen(&db).await, &all(&db, &back.name).await);
}
