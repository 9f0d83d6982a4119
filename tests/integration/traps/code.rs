//! Code in a database: functions that look for names, triggers, rules, and event triggers that fire at the wrong time.

use super::{Trip, on_every_version};
use crate::place::{assert_failed, assert_nothing_made};
use testkit::sql;

/// Functions that use each other, wherever the server evaluates an expression of a table by itself.
const LOOKUP: &str = "create schema app; set search_path = app, public;
     create function allowed() returns text[] language sql immutable as $$ select '{a,b}'::text[] $$;
     create function known(c text) returns boolean language plpgsql stable $PATH as 'begin return c = any (allowed()); end';
     create function inner_one(x int) returns int language sql immutable as 'select x + 1';
     create function outer_one(x int) returns int language sql immutable $PATH as 'select inner_one(x)';
     create function stamp() returns trigger language plpgsql $PATH as $$ begin
         insert into log values (inner_one(1)); new.note := 'by trigger'; return new; end $$;
     create table log (x int);
     create domain code as text check (known(value));
     create table uses (c text check (known(c)), d code, x int, y int generated always as (outer_one(x)) stored, note text);
     insert into uses (c, d, x) select 'a', 'b', n from generate_series(1, 50) n;
     create trigger stamp before insert or update on uses for each row execute function stamp();
     create index uses_outer on uses (outer_one(x));
     create view seen as select outer_one(x) from uses";

async fn functions_work(trip: &Trip) {
    trip.assert("select sum(y) from app.uses", "1325").await;
    trip.assert("select count(*) from app.log", "0").await;
    let insert = "set search_path = app; insert into uses (c, d, x) values ('b', 'a', 1); update uses set x = 2 where note is not null";
    sql::exec(&trip.back.url, insert).await;
    assert_eq!(sql::value(&trip.back.url, "select count(*) from app.log").await, "2");
    let wrong = sql::connect(&trip.back.url)
        .await
        .batch_execute("set search_path = app; insert into uses (c) values ('z')")
        .await;
    assert!(wrong.is_err(), "the check is asleep");
}

/// Trap 15: functions in checks, domains, generated columns, triggers and indexes that bring their own search_path.
async fn trap_15_functions_with_a_search_path_of_their_own_work(version: u16) {
    let trip = Trip::whole(version, &LOOKUP.replace("$PATH", "set search_path = app")).await;
    functions_work(&trip).await;
}

/// Trap 15: the same functions relying on the database's search_path, as people write them, wherever they are called once
/// the database is there.
async fn trap_15_functions_that_need_the_databases_search_path_work(version: u16) {
    let made = LOOKUP.replace("$PATH", "").replace("create index uses_outer on uses (outer_one(x));", "");
    let made = made.replace("as (outer_one(x)) stored", "as (inner_one(x)) stored");
    let trip = Trip::of(version, "alter database {db} set search_path = app, public").await;
    trip.exec(&made).await;
    trip.go().await;
    trip.assert_same().await;
    functions_work(&trip).await;
}

/// Trap 15: a function whose body the server looks into while it makes a table. The vendor's tools empty the path then: the
/// error names the function, and nothing is left.
async fn trap_15_a_function_that_no_restore_can_call_is_named(version: u16) {
    let trip = Trip::of(version, "alter database {db} set search_path = app, public").await;
    trip.exec(&LOOKUP.replace("$PATH", "").replace("create index uses_outer on uses (outer_one(x));", "")).await;
    trip.backup().run().await.success();
    let outcome = assert_failed(trip.restore().run().await, 78, "ALTER FUNCTION outer_one SET search_path");
    assert!(outcome.stderr.contains("function inner_one(integer) does not exist"), "{}", outcome.report());
    assert_nothing_made(&trip.db, &trip.back.name).await;
    trip.exec("alter function app.outer_one(int) set search_path = app").await;
    trip.go().await;
    functions_work(&trip).await;
}

/// Trap 15: reading a range of a table makes the server look into its indexes. A function there that needs the database's
/// search_path is read with it; where values are written as names, which would depend on it, the table is read as one.
/// From version 17 on no such index can be made, only spoiled later: the backup is whole, and the restore names the function.
async fn trap_15_an_index_that_needs_the_search_path_can_be_read(version: u16) {
    let trip = Trip::of(version, "alter database {db} set search_path = app, public").await;
    trip.exec(
        "create schema app; set search_path = app, public;
         create function inner_one(x int) returns int language sql immutable as 'select x + 1';
         create function outer_one(x int) returns int language sql immutable set search_path = app as 'select inner_one(x)';
         create table t (x int primary key); insert into t select generate_series(1, 20000); create index on t (outer_one(x));
         create index on t (x) where outer_one(x) > 5;
         create table names (n regclass, x int); insert into names select 't', n from generate_series(1, 500) n; create index on names (outer_one(x));
         alter function outer_one(int) reset search_path",
    )
    .await;
    let backup = trip.backup().run().await.success().json();
    assert_eq!(backup["rows"], 20500, "{backup}");
    if version >= 17 {
        assert_failed(trip.restore().run().await, 78, "ALTER FUNCTION outer_one SET search_path");
        return assert_nothing_made(&trip.db, &trip.back.name).await;
    }
    trip.restore().run().await.success();
    trip.assert_same().await;
    trip.assert("select count(*) from app.names where n = 'app.t'::regclass", "500").await;
}

/// Trap 15: a check that looks into another table holds only when that one is loaded first. The vendor's manual advises
/// against it and people do it all the same.
async fn trap_15_a_check_that_looks_into_another_table_holds(version: u16) {
    let trip = Trip::whole(
        version,
        "create table z_allowed (code text primary key); insert into z_allowed select 'c' || n from generate_series(1, 100) n;
         create function known(c text) returns boolean language sql stable set search_path = public
             as 'select exists (select from z_allowed where code = c)';
         create table a_uses (c text check (known(c))); insert into a_uses select 'c' || (1 + n % 100) from generate_series(1, 20000) n",
    )
    .await;
    trip.assert("select count(*) from a_uses", "20000").await;
}

/// Trap 17: event triggers come last and fire at nothing a restore does, neither at its DDL nor at its sessions.
async fn trap_17_event_triggers_come_back_and_do_not_fire(version: u16) {
    let trip = Trip::of(
        version,
        "create table audit (what text);
         create function no_ddl() returns event_trigger language plpgsql as $$ begin
             if current_setting('my.ddl', true) = 'yes' then return; end if; raise exception 'no DDL here'; end $$;
         create function note_ddl() returns event_trigger language plpgsql as $$ begin insert into public.audit values (tg_tag); end $$;
         create table t (x int); insert into t values (1); create index on t (x);
         create event trigger z_forbids on ddl_command_start execute function no_ddl();
         set my.ddl = 'yes';
         create event trigger b_disabled on ddl_command_end execute function note_ddl(); alter event trigger b_disabled disable;
         create event trigger c_always on sql_drop when tag in ('DROP TABLE', 'DROP VIEW') execute function note_ddl();
         alter event trigger c_always enable always;
         create event trigger d_replica on table_rewrite execute function note_ddl(); alter event trigger d_replica enable replica;
         comment on event trigger z_forbids is 'migrations only'",
    )
    .await;
    trip.go().await;
    trip.assert_same().await;
    trip.assert(
        "select string_agg(evtname || evtenabled::text, ' ' order by evtname) from pg_event_trigger",
        "b_disabledD c_alwaysA d_replicaR z_forbidsO",
    )
    .await;
    trip.assert("select count(*) from audit", "0").await;
    assert!(sql::connect(&trip.back.url).await.batch_execute("create table forbidden (x int)").await.is_err());
}

/// Trap 17: from version 17 on a session's beginning is an event, too: one that writes must not spoil what is compared.
async fn trap_17_login_triggers_do_not_spoil_a_restore(version: u16) {
    let trip = Trip::of(
        version,
        "create table logins (at timestamptz default now(), application text);
         create table t (x int); insert into t values (1);
         create function on_login() returns event_trigger language plpgsql as $$ begin
             insert into public.logins (application) values (current_setting('application_name')); end $$;
         create event trigger greets on login execute function on_login(); alter event trigger greets enable always",
    )
    .await;
    trip.go().await;
    let quiet = |url: &str| format!("{url}?options=-c%20event_triggers%3Doff");
    let (back, there) = (quiet(&trip.back.url), quiet(&trip.db.url()));
    assert_eq!(sql::value(&back, "select evtenabled from pg_event_trigger").await, "A");
    let logins = "select count(*) from logins where application like 'longshore%'";
    let (before, after) = (sql::value(&there, logins).await, sql::value(&back, logins).await);
    assert!(
        after.parse::<u32>().unwrap() <= before.parse::<u32>().unwrap(),
        "the restore's own sessions are among the rows"
    );
}

/// Triggers and rules in every state; none of them acts on rows that are loaded.
async fn triggers_and_rules_come_back_in_their_state_and_do_not_act(version: u16) {
    let trip = Trip::whole(
        version,
        "create table log (x text); create table t (id int, x text);
         create function act() returns trigger language plpgsql as $$ begin insert into public.log values (tg_name); return new; end $$;
         insert into t select n, 'x' from generate_series(1, 20) n;
         create trigger origin before insert on t for each row execute function act();
         create trigger disabled after insert on t for each row when (new.id > 5) execute function act(); alter table t disable trigger disabled;
         create trigger always after insert on t for each row execute function act(); alter table t enable always trigger always;
         create trigger replica after update of x on t for each statement execute function act(); alter table t enable replica trigger replica;
         create constraint trigger late after insert on t deferrable initially deferred for each row execute function act();
         create trigger moved after update on t referencing old table as o new table as n for each statement execute function act();
         create rule logged as on insert to t do also insert into log values ('rule');
         create rule never as on delete to t do instead nothing; alter table t disable rule never;
         create rule always_rule as on update to t where old.id < 0 do instead nothing; alter table t enable always rule always_rule;
         create view v as select id, x from t; create rule v_insert as on insert to v do instead insert into t values (new.id, new.x) returning *;
         create function v_act() returns trigger language plpgsql as $$ begin return null; end $$;
         create trigger instead instead of delete on v for each row execute function v_act();
         comment on trigger origin on t is 'acts'; comment on rule never on t is 'asleep'",
    )
    .await;
    trip.assert("select count(*) from log", "0").await;
    trip.assert("select string_agg(tgname || tgenabled::text, ' ' order by tgname) from pg_trigger where tgrelid = 't'::regclass", "alwaysA disabledD lateO movedO originO replicaR").await;
    trip.assert("select string_agg(rulename || ev_enabled::text, ' ' order by rulename) from pg_rewrite where ev_class = 't'::regclass", "always_ruleA loggedO neverD").await;
}

/// Functions of every kind, aggregates, operators, casts, and views that depend on each other in circles.
async fn functions_operators_casts_and_views_come_back(version: u16) {
    let trip = Trip::whole(
        version,
        "create type money_of as (amount numeric, unit text);
         create function as_text(m money_of) returns text language sql immutable as $$ select m.amount || ' ' || m.unit $$;
         create cast (money_of as text) with function as_text(money_of) as assignment;
         create function add_up(a money_of, b money_of) returns money_of language sql immutable as $$ select row(a.amount + b.amount, a.unit)::money_of $$;
         create operator + (leftarg = money_of, rightarg = money_of, function = add_up, commutator = +);
         create aggregate total(money_of) (sfunc = add_up, stype = money_of, initcond = '(0,EUR)');
         create procedure p(in a int, inout b int default 5) language plpgsql as $$ begin b := a; commit; end $$;
         create function many(variadic a int[], out n int, out m int) returns setof record language sql stable strict leakproof parallel safe cost 7 rows 3
             set work_mem = '5MB' as $$ select 1, 2 $$;
         create function atomic(x int) returns int language sql immutable begin atomic select x * 2; end;
         create function w() returns bigint window language internal as 'window_row_number';
         create collation german (provider = icu, locale = 'de-u-kn-true', deterministic = false);
         create text search configuration own (copy = simple); create text search dictionary words (template = simple, stopwords = english);
         alter text search configuration own alter mapping for word with words;
         create operator class reversed for type int4 using btree as operator 1 >, operator 2 >=, operator 3 =, operator 4 <=, operator 5 <, function 1 btint4cmp(int4, int4);
         create table prices (p money_of, name text collate german, unique (name)); insert into prices values (row(1.5, 'EUR'), 'ä'), (row(2, 'EUR'), 'z');
         create view first as select 1 as n; create view second as select n from first; create or replace view first as select 1 as n, 2 as m;
         create recursive view counting (n) as values (1) union all select n + 1 from counting where n < 5;
         create view checked with (security_invoker = true, check_option = cascaded) as select * from prices where name > 'a';
         create view updated as select p, name from prices with local check option; alter view updated alter column name set default 'x'",
    )
    .await;
    trip.assert("select total(p)::text from prices", "3.5 EUR").await;
    trip.assert("select max(n) from counting", "5").await;
    trip.assert("select atomic(21)", "42").await;
}

on_every_version!(
    trap_15_a_function_that_no_restore_can_call_is_named,
    trap_15_an_index_that_needs_the_search_path_can_be_read,
    trap_15_functions_with_a_search_path_of_their_own_work,
    trap_15_functions_that_need_the_databases_search_path_work,
    trap_15_a_check_that_looks_into_another_table_holds,
    trap_17_event_triggers_come_back_and_do_not_fire,
    triggers_and_rules_come_back_in_their_state_and_do_not_act,
    functions_operators_casts_and_views_come_back,
);

#[tokio::test]
async fn trap_17_login_triggers_do_not_spoil_a_restore_on_postgresql_17() {
    trap_17_login_triggers_do_not_spoil_a_restore(17).await;
}

#[tokio::test]
async fn trap_17_login_triggers_do_not_spoil_a_restore_on_postgresql_18() {
    if super::has_18() {
        trap_17_login_triggers_do_not_spoil_a_restore(18).await;
    }
}
