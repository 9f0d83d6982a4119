//! Values of every type, under settings that change how they are written and read; and the tools of other versions.

use super::{Trip, on_every_version};
use crate::place::{Target, assert_failed, assert_nothing_made};
use std::sync::Arc;
use testkit::servers::{own, postgres};
use testkit::{Job, sql};

/// Committed before it is used: version 15 wants that of a value that was added.
const MOOD: &str =
    "create type mood as enum ('sad', 'o''k', 'a,b\"c', ''); alter type mood add value 'first' before 'sad'";

/// One table per family of types, with the values at their edges.
const VALUES: &str = "create extension if not exists hstore; create extension if not exists citext; create extension if not exists cube;
     create table numbers (a smallint, b int, c bigint, d numeric, e numeric(10, 3), f real, g double precision, h oid, i money);
     insert into numbers values (-32768, -2147483648, -9223372036854775808, 'NaN', -1234567.891, 'NaN', 'Infinity', 4294967295, '-92233720368547758.08'),
         (32767, 2147483647, 9223372036854775807, 'Infinity', 0.001, '-Infinity', '-0', 0, '92233720368547758.07'),
         (0, 0, 0, '-Infinity', 0, 1e-45, 5e-324, 1, 0), (1, 1, 1, ('1' || repeat('0', 3000) || '.' || repeat('3', 200))::numeric, 1, 3.4028235e38, 1.7976931348623157e308, 1, '1,234.56'),
         (1, 1, 1, 0.1, 1, 0.1, 0.1, 1, 1), (1, 1, 1, 1e-1000, 1, 1.17549435e-38, 0.30000000000000004, 1, 1);
     create table times (a date, b timestamp, c timestamptz, d time, e timetz, f interval);
     insert into times values ('infinity', 'infinity', 'infinity', '24:00', '23:59:60+15:59', '-178000000 years'), ('-infinity', '-infinity', '-infinity', '00:00', '00:00-15:59', '178000000 years -11 mons 5 days'),
         ('4713-01-01 BC', '4713-01-01 00:00:00 BC', '4713-01-01 00:00:00+00 BC', '12:34:56.789012', '12:34:56.789012+05:45', '1 day -00:00:01'),
         ('5874897-12-31', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '23:59:59.999999', '00:00+00', '-1 mons +25 hours -0.000001 sec'),
         ('0001-12-31 BC', '2024-02-29 12:00', '1883-11-18 12:03:58-07', '00:00:00.000001', '01:02:03-03:30', '-2147483648 days');
     create table texts (a text, b varchar(5), c char(4), d name, e bytea, f \"char\", g citext, h bit(5), i varbit, j xml, k json, l jsonb, m tsvector, n tsquery, o hstore);
     insert into texts values ('', '', '', '', '', '', '', '00000', '', '', '{}', '{}', '', '', ''), ('\\N', '\\.', '\\t', '\\', '\\\\000', '\\', 'MiXed', '10101', '1', '<a/><b/>', '{\"b\": 1, \"a\": [1.0, 1e5, null], \"a\": 2}', '{\"b\": 1.10, \"a\": \"\\u00fc\"}', 'a:1A,2 b', 'a & !b <-> c:*B', '\"a b\"=>\"c\", d=>NULL'),
         (E'tab\\t nl\\n cr\\r bs\\b ff\\f vt\\x0b back\\\\ end', E'\\r\\n', 'ab', 'x', decode('00ff5c0a0d09275c2e', 'hex'), 'q', 'ß', '11111', repeat('10', 500)::varbit, 'plain <!-- c --> text', '\"x\"', '\"\\\\u0000 not\"', E'''it''''s'':1', '''x y''', E'\"k\\\\\"\"=>\"v\\\\\\\\\"'),
         (repeat('long ', 5000), 'ü☃患', '☃', '🦭', decode(repeat('5c', 9000), 'hex'), 'x', 'X', '00001', '0', '<?xml version=\"1.0\"?><d>ü</d>', '[1,   2]', '[1]', '', '', '');
     insert into texts (a) values (null);
     create table shapes (a point, b line, c lseg, d box, e path, f path, g polygon, h circle, i cube);
     insert into shapes values ('(NaN,Infinity)', '{1,-1,0.1}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1))', '((0,0),(1,1),(1e300,-0))', '<(0,0),1e-300>', '(1,2),(3,4)');
     create table nets (a inet, b cidr, c macaddr, d macaddr8, e uuid, f pg_lsn, g txid_snapshot, h pg_snapshot, i tid, j xid, k cid, l xid8);
     insert into nets values ('::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'FFFFFFFF/FFFFFFFF', '1:5:2,3', '1:5:2,3', '(4294967295,65535)', '4294967295', '7', '18446744073709551615');
     create type pair as (x int, y text, z mood[]); create domain positive as int check (value > 0); create domain pairs as pair check ((value).x > 0);
     create type span as range (subtype = float8, subtype_diff = float8mi, multirange_type_name = spans); create type nested as (p pair, d positive, s spans);
     create table made (a mood, b mood[], c pair, d pairs, e pairs[], f nested, g span, h spans, i positive[]);
     insert into made values ('first', '{sad,\"a,b\\\"c\",NULL,\"\"}', row(1, 'a\"b\\c,(', '{sad}'), row(1, null, null), array[row(2, '', '{}')::pairs, null], row(row(null, 'NULL', null), 5, '{[1,2),(3,)}'), 'empty', '{}', '{1,2}');
     create table arrays (a int[], b text[], c int[][][], d timestamptz[], e bytea[], f numeric[], g jsonb[], h int4multirange, i tstzrange, j daterange, k nummultirange, l int8range[]);
     insert into arrays values ('{}', '{NULL,\"NULL\",\"\",\" \",\"\\\\\\\\\",\"{}\",\",\"}', '[-1:0][5:5][2:3]={{{1,NULL}},{{3,4}}}', '{infinity,\"2024-03-31 02:30:00+02\"}', array['\\x00'::bytea, '\\x5c'], '{NaN,Infinity,1.10}', array['{\"a\": null}'::jsonb, null], '{[1,3),[5,)}', '[-infinity,infinity]', '(,2024-01-01)', '{(-Infinity,0.5]}', '{empty,\"[1,2)\"}');
     create table codes_of (a regclass, b regproc, c regprocedure, d regtype, e regrole, f regnamespace, g regconfig, h regdictionary, i regoper, j regoperator, k regcollation);
     create function overloaded(int) returns int language sql as 'select 1'; create function overloaded(text) returns int language sql as 'select 1';
     insert into codes_of values ('numbers', 'now', 'overloaded(text)', 'pair[]', 'postgres', 'public', 'english', 'simple', '||/', '+(int4,int4)', '\"C\"'), ('4294967290', null, null, 'timestamp(3) with time zone', null, null, null, null, null, null, null)";

/// Trap 6: NaN, infinities, years before Christ, intervals with mixed signs, arrays that begin elsewhere, names of things.
async fn trap_06_values_at_the_edges_of_every_type_come_back(version: u16) {
    let trip = Trip::of(version, MOOD).await;
    trip.exec(VALUES).await;
    trip.go().await;
    trip.assert_same().await;
    trip.assert("select count(*) from numbers where f = 'NaN' and g = 'Infinity'", "1").await;
    trip.assert("select c[-1][5][2] || ' ' || array_ndims(c) || ' ' || (b[1] is null) from arrays", "1 3 true").await;
}

/// Trap 6: a server, a database and a role with settings that write and read values in another way.
async fn trap_06_settings_change_neither_what_is_read_nor_what_is_loaded(version: u16) {
    let settings = [
        ("datestyle", "SQL, DMY"),
        ("intervalstyle", "sql_standard"),
        ("timezone", "Asia/Kathmandu"),
        ("extra_float_digits", "-10"),
        ("bytea_output", "escape"),
        ("xmlbinary", "hex"),
        ("xmloption", "document"),
        ("array_nulls", "off"),
        ("default_transaction_isolation", "serializable"),
        ("default_transaction_deferrable", "on"),
        ("row_security", "on"),
        ("standard_conforming_strings", "off"),
        ("escape_string_warning", "off"),
        ("quote_all_identifiers", "on"),
        ("transform_null_equals", "on"),
        ("search_path", "nowhere"),
        ("idle_in_transaction_session_timeout", "5min"),
        ("default_toast_compression", "lz4"),
        ("session_replication_role", "origin"),
        ("enable_seqscan", "off"),
        ("check_function_bodies", "on"),
        ("client_min_messages", "debug1"),
    ];
    let server = Arc::new(own(version, &settings).await);
    let db = server.create_database().await;
    let client = sql::connect(&db.url()).await;
    let plain = "set standard_conforming_strings = on; set array_nulls = on; set xmloption = content; set search_path = public; set datestyle = iso;";
    client.batch_execute(plain).await.unwrap();
    client.batch_execute(MOOD).await.unwrap();
    client.batch_execute(VALUES).await.unwrap();
    drop(client);
    let trip = Trip::with(db, "select 1").await;
    trip.exec("comment on database {db} is E'back\\\\slash and ''quote'''").await;
    trip.exec("alter database {db} set datestyle = 'German'; alter database {db} set extra_float_digits = -15; alter database {db} set lc_monetary = 'C'").await;
    trip.go().await;
    trip.assert_same().await;
    trip.assert("select b[1] is null from public.arrays", "t").await;
    trip.assert_equal(
        "select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()",
    )
    .await;
}

/// Trap 6 and what it leads to: a name of an index in a `regclass` column cannot be read before indexes are there.
async fn a_column_that_names_an_index_comes_back(version: u16) {
    let trip = Trip::whole(version, "create table t (x int primary key); create table names (n regclass); insert into names values ('t'), ('t_pkey')").await;
    trip.assert("select string_agg(n::text, ' ' order by n::text) from names", "t t_pkey").await;
}

/// Trap 6: a name that no order of loading makes readable fails for good, says why, and leaves nothing.
async fn a_column_that_names_its_own_tables_index_is_refused_for_good(version: u16) {
    let trip =
        Trip::of(version, "create table names (n regclass primary key); insert into names values ('names_pkey')").await;
    trip.backup().run().await.success();
    assert_failed(trip.restore().run().await, 78, "what is made after the rows");
    assert_nothing_made(&trip.db, &trip.back.name).await;
}

/// Trap 25: tools that do not fit are refused before anything is made, whichever side is older.
async fn trap_25_tools_of_another_version_are_refused_or_fit(version: u16) {
    let server = postgres(version).await;
    let db = server.create_database().await;
    let trip = Trip::with(db, "create table t (x int); insert into t values (1)").await;
    let source = trip.db.url();
    let inside = |job: Job, tools: u16| job.inside_postgres(tools).run();
    for older in [15, 17].into_iter().filter(|tools| *tools < version) {
        assert_failed(inside(trip.place.backup(&source), older).await, 78, "too old");
    }
    if version == 15 {
        assert_failed(inside(trip.place.backup(&source), 17).await, 78, "cannot be restored");
    }
    trip.place.assert_no_manifest();
    trip.backup().run().await.success();
    let target = Target::of(&trip.db);
    if version == 15 {
        // From version 17 on the tools send a setting that older servers do not know.
        assert_failed(inside(trip.place.restore(&target.url), 17).await, 78, "client tools");
    } else {
        assert_failed(inside(trip.place.restore(&target.url), 15).await, 78, "too old");
    }
    assert_nothing_made(&trip.db, &target.name).await;
    trip.restore().run().await.success();
    assert_eq!(sql::value(&target.url, "select x from t").await, "1");
}

on_every_version!(
    trap_06_values_at_the_edges_of_every_type_come_back,
    trap_06_settings_change_neither_what_is_read_nor_what_is_loaded,
    a_column_that_names_an_index_comes_back,
    a_column_that_names_its_own_tables_index_is_refused_for_good,
    trap_25_tools_of_another_version_are_refused_or_fit,
);
