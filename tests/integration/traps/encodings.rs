//! Databases in other encodings than UTF-8, and in none.

use super::{Trip, on_every_version};
use crate::place::assert_failed;
use testkit::servers::postgres;

/// Trap 29: bytes of a database without encoding pass as they are, whatever they would mean elsewhere.
async fn trap_29_sql_ascii_passes_raw(version: u16) {
    let db = postgres(version).await.create_database_with("template template0 encoding 'SQL_ASCII' locale 'C'").await;
    let trip = Trip::with(
        db,
        "create table t (id int primary key, x text, y varchar(9), z text[]);
         insert into t select n, convert_from(decode(lpad(to_hex(n), 2, '0'), 'hex'), 'SQL_ASCII'), 'y', null from generate_series(1, 255) n;
         insert into t values (1000, convert_from('\\xfffe80c328a0e28228', 'SQL_ASCII'), convert_from('\\x5cff0a09ff5c2e', 'SQL_ASCII'),
             array[convert_from('\\xc3', 'SQL_ASCII'), convert_from('\\xff225c7b', 'SQL_ASCII'), null]);
         insert into t values (1001, 'ü ☃', 'plain', null);
         create index on t (x); create table checked (x text check (x <> '')); insert into checked select x from t",
    )
    .await;
    trip.go().await;
    trip.assert_same().await;
    trip.assert("select getdatabaseencoding()", "SQL_ASCII").await;
    trip.assert_equal("select id, encode(convert_to(x, 'SQL_ASCII'), 'hex'), encode(convert_to(y, 'SQL_ASCII'), 'hex') from t order by id").await;
    trip.assert("select encode(convert_to(x, 'SQL_ASCII'), 'hex') from t where id = 1000", "fffe80c328a0e28228").await;
}

/// Trap 29: names that are bytes of no encoding stop a backup before it begins, and are said; once they are renamed, all the rest
/// passes: defaults, comments, code.
async fn trap_29_sql_ascii_names_are_refused_and_the_rest_passes_raw(version: u16) {
    let db = postgres(version).await.create_database_with("template template0 encoding 'SQL_ASCII' locale 'C'").await;
    let trip = Trip::with(
        db,
        "do $$ declare odd text := convert_from('\\x636166e9', 'SQL_ASCII'); begin
             execute format('create table %I (%I int default 5, x text default %L)', odd, odd || '_column', odd);
             execute format('insert into %I select n from generate_series(1, 10) n', odd);
             execute format('comment on table %I is %L', odd, odd);
             execute format('create function code() returns text language sql as %L', format('select %L::text', odd)); end $$;
         create table \"ü ☃\" (x text); insert into \"ü ☃\" values ('known')",
    )
    .await;
    let outcome = assert_failed(trip.backup().run().await, 78, "2 names in it are not UTF-8");
    for said in [trip.db.name.as_str(), "column caf\\xe9_column", "sequence or index caf\\xe9", "rename them"] {
        assert!(outcome.stderr.replace("\\\\", "\\").contains(said), "{said}: {}", outcome.report());
    }
    trip.place.assert_no_manifest();
    trip.exec(
        "do $$ declare odd text := convert_from('\\x636166e9', 'SQL_ASCII'); begin
             execute format('alter table %I rename column %I to a', odd, odd || '_column');
             execute format('alter table %I rename to renamed', odd); end $$",
    )
    .await;
    trip.go().await;
    let dump = |name: &str| {
        trip.server
            .exec(&["sh", "-c", "pg_dump --inserts \"$1\" | grep -v restrict | od -c | md5sum", "sh", name])
            .unwrap()
    };
    assert_eq!(dump(&trip.back.name), dump(&trip.db.name));
    trip.assert("select encode(convert_to(code(), 'SQL_ASCII'), 'hex')", "636166e9").await;
    trip.assert("select encode(convert_to(max(x), 'SQL_ASCII'), 'hex') from renamed", "636166e9").await;
}

/// Trap 29: an encoding of one byte per letter, in rows, names, comments and values of enums.
async fn trap_29_latin1_comes_back(version: u16) {
    let db = postgres(version).await.create_database_with("template template0 encoding 'LATIN1' locale 'C'").await;
    let trip = Trip::with(
        db,
        "create type größe as enum ('klein', 'groß');
         create table \"Übergröße\" (\"schlüssel\" int primary key, x text, g größe default 'groß', check (x <> 'ÿ'));
         insert into \"Übergröße\" select n, chr(n) || 'é', 'groß' from generate_series(1, 255) n;
         comment on table \"Übergröße\" is 'àéîõü'; create function \"é\"() returns text language sql as $$ select 'è' $$;
         create table broad (x text); insert into broad select string_agg(chr(160 + n % 96), '') from generate_series(1, 100000) n",
    )
    .await;
    trip.go().await;
    trip.assert_same().await;
    trip.assert("select getdatabaseencoding()", "LATIN1").await;
    trip.assert("select encode(convert_to(x, 'LATIN1'), 'hex') from \"Übergröße\" where \"schlüssel\" = 255", "ffe9")
        .await;
    trip.assert("select \"é\"()", "è").await;
    trip.assert_equal("select md5(string_agg(x, ',' order by \"schlüssel\")) from \"Übergröße\"").await;
}

/// Trap 29: an encoding of several bytes per letter in which a backslash may be a second byte is no server encoding;
/// those that are come back.
async fn trap_29_encodings_of_several_bytes_come_back(version: u16) {
    for encoding in ["EUC_JP", "EUC_KR", "WIN1251"] {
        let options = format!("template template0 encoding '{encoding}' locale 'C'");
        let db = postgres(version).await.create_database_with(&options).await;
        let word = if encoding == "EUC_KR" {
            "환자"
        } else if encoding == "EUC_JP" {
            "患者"
        } else {
            "пациент"
        };
        let trip = Trip::with(db, &format!("create table \"{word}\" (x text); insert into \"{word}\" select '{word} ' || n from generate_series(1, 500) n")).await;
        trip.go().await;
        trip.assert_same().await;
        trip.assert("select getdatabaseencoding()", encoding).await;
        trip.assert(&format!("select min(x) from \"{word}\""), &format!("{word} 1")).await;
    }
}

/// Trap 29: a view whose statement is not ASCII, between others: each is filled after those it reads from.
async fn trap_29_views_with_names_of_another_encoding_are_filled_in_order(version: u16) {
    let db = postgres(version).await.create_database_with("template template0 encoding 'LATIN1' locale 'C'").await;
    let trip = Trip::with(
        db,
        "create table t (x int); insert into t select generate_series(1, 20);
         create materialized view a as select x from t; create materialized view \"été\" as select count(*) as n from a;
         create view between_them as select n + 1 as n from \"été\"; create materialized view z as select n from between_them;
         create materialized view alone as select max(x) as x from a",
    )
    .await;
    trip.go().await;
    trip.assert_same().await;
    for (query, value) in [("select n from \"été\"", "20"), ("select n from z", "21"), ("select x from alone", "20")]
    {
        trip.assert(query, value).await;
    }
}

on_every_version!(
    trap_29_views_with_names_of_another_encoding_are_filled_in_order,
    trap_29_sql_ascii_passes_raw,
    trap_29_sql_ascii_names_are_refused_and_the_rest_passes_raw,
    trap_29_latin1_comes_back,
    trap_29_encodings_of_several_bytes_come_back,
);
