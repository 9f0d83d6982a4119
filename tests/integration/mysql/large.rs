//! Tables that are large enough to be read by several sessions and to get their indexes late.

use super::{Back, assert_same, everything, on_each_server, server};
use crate::place::Place;
use testkit::servers::Flavour;

/// Two tables of 2^doublings rows with some 1.5 KB each, by text and by bytes, with every kind of index that may wait and every kind that may not.
pub fn by_text_and_by_bytes(doublings: u32) -> String {
    let mut sql = "create table visits (id char(36) character set utf8mb4 not null, part int not null, n int not null auto_increment,
            body varchar(1500) character set latin1 not null, tag varchar(40) character set latin1, primary key (id, part), unique key by_number (n),
            unique key u (part, id), key k1 (tag(10), n) comment 'a, (b)', key k2 (body(20) desc)) engine=InnoDB;
        create table scans (id binary(16) primary key, visit char(36) character set utf8mb4, part int, body varchar(1500) character set latin1 not null,
            key before_it (body(9)), key of_visit (visit, part), key `late, (one` (body(30), part), unique key `late``two` (id, visit),
            constraint f foreign key (visit, part) references visits (id, part)) engine=InnoDB;
        insert into visits (id, part, body) values ('A', 1, 'x');"
        .to_owned();
    for round in 0..doublings {
        sql.push_str(&format!(
            "insert into visits (id, part, body, tag) select concat('V-', left(sha2(concat('{round} ', n), 256), 34)), n % 3, repeat(sha2(rand(), 256), 23), n from visits;",
        ));
    }
    sql.push_str("insert into scans select unhex(left(sha2(n, 256), 32)), id, part, body from visits;");
    sql
}

/// What a backup logged of how many segments it read.
fn segments(outcome: &testkit::Outcome) -> u64 {
    let lines = outcome.stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter_map(|line| line["segments"].as_u64()).max().unwrap()
}

/// Tables with keys of text and bytes are cut, alike each time; nothing is lost between the cuts, and indexes that wait for rows come back in their order.
async fn keys_of_text_and_bytes_are_cut(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    db.exec(&by_text_and_by_bytes(14)).await;
    db.exec("analyze table visits; analyze table scans").await;
    let place = Place::new().await;
    let backup = || place.backup(&db.url()).env("LONGSHORE_LOG", "debug");
    let first = backup().run().await.success();
    let cut = segments(&first);
    assert!((4..40).contains(&cut), "{cut} segments");
    db.exec("analyze table visits; analyze table scans").await;
    let again = backup().run().await.success();
    let (first, again) = (first.json()["added_bytes"].as_u64().unwrap(), again.json()["added_bytes"].as_u64().unwrap());
    assert!(again * 100 <= first, "{again} of {first} bytes for an unchanged database");

    let there = everything(&server, db.name()).await;
    let back = Back::of(&db);
    let restored = place.restore(&back.url).run().await.success().json();
    assert_eq!(restored["proven"], true, "{restored}");
    assert_same(&there, &everything(&server, &back.name).await);
}
on_each_server!(keys_of_text_and_bytes_are_cut);
