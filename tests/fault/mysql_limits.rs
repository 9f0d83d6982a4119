//! MariaDB and MySQL with little room, rows that are large, and settings that nobody would expect.

use crate::integration::mysql::road::{large, odd, pieces};
use crate::integration::mysql::{Back, assert_same, everything, on_each_server, schemas_like, server};
use crate::place::{Place, assert_failed};
use std::sync::Arc;
use testkit::servers::{Flavour, MysqlServer, own_mysql};

/// G1: what a server's administrator sets for everybody changes neither what is read nor what is written.
async fn settings_of_the_server_change_nothing(flavour: Flavour) {
    if !flavour.is_tested() {
        return;
    }
    let server = Arc::new(own_mysql(flavour, &[]).await);
    let db = server.database_with("character set latin1 collate latin1_german2_ci").await;
    odd(&db, &pieces(flavour)).await;
    let there = everything(&server, db.name()).await;
    let mut settings = vec![
        "sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,IGNORE_SPACE,STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,NO_ZERO_DATE,NO_ZERO_IN_DATE'",
        "wait_timeout = 1",
        "net_read_timeout = 1",
        "net_write_timeout = 1",
        "lock_wait_timeout = 1",
        "innodb_lock_wait_timeout = 1",
        "sql_select_limit = 1",
        "max_join_size = 1",
        "sql_big_selects = 0",
        "group_concat_max_len = 4",
        "time_zone = '+05:30'",
        "sql_quote_show_create = 0",
        "sql_safe_updates = 1",
        "default_storage_engine = 'MyISAM'",
        "max_error_count = 0",
        "div_precision_increment = 0",
        "completion_type = 'CHAIN'",
        "autocommit = 0",
    ];
    if flavour.is_mariadb() {
        settings.extend(["max_statement_time = 0.3", "idle_transaction_timeout = 1", "tx_isolation = 'SERIALIZABLE'"]);
    } else if flavour == Flavour::MySql9 {
        settings.extend([
            "max_execution_time = 300",
            "transaction_isolation = 'SERIALIZABLE'",
            "explain_format = 'JSON'",
        ]);
    }
    let admin = server.database().await;
    let mut before = Vec::new();
    for setting in &settings {
        let name = setting.split(' ').next().unwrap();
        let value = admin.one(&format!("select @@global.{name}")).await;
        let value = if value.parse::<f64>().is_ok() { value } else { format!("'{value}'") };
        before.push(format!("set global {name} = {value}"));
    }
    for setting in &settings {
        admin.exec(&format!("set global {setting}")).await;
    }
    let (place, back) = (Place::new().await, Back::of(&db));
    place.backup(&db.url()).run().await.success();
    place.restore(&back.url).run().await.success();
    for setting in &before {
        admin.exec(setting).await;
    }
    assert_same(&there, &everything(&server, db.name()).await);
    assert_same(&there, &everything(&server, &back.name).await);
}
on_each_server!(settings_of_the_server_change_nothing);

/// A server for rows of 64 MiB.
async fn roomy(flavour: Flavour) -> Arc<MysqlServer> {
    let mut settings = vec!["--max-allowed-packet=256M"];
    if flavour == Flavour::MySql5 {
        // It takes a tenth of its log for a value, at most.
        settings.push("--innodb-log-file-size=768M");
    }
    Arc::new(own_mysql(flavour, &settings).await)
}

/// G3: memory stays within 256 MiB and three times the largest row, and such a row comes back.
async fn a_row_of_64_mib_comes_back_in_bounded_memory(flavour: Flavour) {
    if !flavour.is_tested() {
        return;
    }
    let server = roomy(flavour).await;
    let db = server.database().await;
    // All bytes, those that have to be escaped among them.
    db.exec(
        "create table scans (id int primary key, taken datetime not null, image longblob) engine=InnoDB;
         insert into scans values (1, now(), repeat(concat(unhex('00095c0a0d1a2227'), unhex(sha2(rand(), 256)), unhex(sha2(rand(), 256))), 15000));
         update scans set image = concat(image, reverse(image));
         insert into scans select 2, now(), concat(image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image, image) from scans;
         insert into scans values (3, now(), '')",
    )
    .await;
    let largest: u64 = db.one("select max(length(image)) from scans").await.parse().unwrap();
    assert!(largest >= 64 << 20, "{largest}");
    let place = Place::new().await;
    // A ninth of the bytes or so has two where it is a row.
    let most = (256 << 20) + 3 * (largest + largest / 9);
    let within = |outcome: testkit::Outcome| {
        let outcome = outcome.success();
        let memory = outcome.max_rss.unwrap_or_default();
        assert!(memory < most, "{memory} bytes of memory; {most} are allowed\n{}", outcome.report());
    };
    within(place.backup(&db.url()).run().await);
    let back = Back::of(&db);
    within(place.restore(&back.url).run().await);
    assert_same(&everything(&server, db.name()).await, &everything(&server, &back.name).await);
}
on_each_server!(a_row_of_64_mib_comes_back_in_bounded_memory);

/// G5: a target without room for the rows says so, and has nothing afterwards.
async fn a_target_that_is_full_publishes_nothing(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    db.exec(&large(6)).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let settings = ["--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:12M:autoextend:max:24M"];
    let small = Arc::new(own_mysql(flavour, &settings).await);
    assert_failed(place.restore(&small.root_url("back")).run().await, 69, "free space on the database server's disk");
    assert!(!small.has_database("back").await);
    assert_eq!(schemas_like(&small.database().await, "back").await, Vec::<String>::new());
}
on_each_server!(a_target_that_is_full_publishes_nothing);

/// A row that no statement may be large enough for: by a file it comes in, by `INSERT` it is refused by its table's name, and nothing is left.
async fn a_row_larger_than_the_targets_packets(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    db.exec(
        "create table scans (id int primary key, image longblob, note longtext) engine=InnoDB;
        insert into scans values (1, repeat(unhex('0a5c00ff'), 500000), repeat('x', 2000000))",
    )
    .await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let small = ["--max-allowed-packet=1M", "--local-infile=1"];
    let by_file = Arc::new(own_mysql(flavour, &small).await);
    let outcome = place.restore(&by_file.root_url("back")).run().await;
    match outcome.code {
        Some(0) => {
            // The server's own functions yield NULL for what is larger than a packet.
            let digests = "select concat_ws(' ', id, length(image), sha2(image, 256), sha2(note, 256)) from scans";
            let back = by_file.database().await.one(&digests.replace("scans", "back.scans")).await;
            assert_eq!(back, db.one(digests).await);
        }
        _ => {
            assert_failed(outcome, 69, "max_allowed_packet");
            assert!(!by_file.has_database("back").await);
        }
    }
    let by_insert = Arc::new(own_mysql(flavour, &["--max-allowed-packet=1M", "--local-infile=0"]).await);
    let refused = assert_failed(place.restore(&by_insert.root_url("back")).run().await, 78, "max_allowed_packet");
    assert!(refused.stderr.contains("scans"), "{}", refused.report());
    assert!(!by_insert.has_database("back").await);
}
on_each_server!(a_row_larger_than_the_targets_packets);
