//! An export comes back with nothing but what the vendor ships: `psql`, `sh`, `sha256sum`, inside the server's own container,
//! where there is no Longshore. What came back is compared with the source as after a restore.

use crate::place::{Place, Target, assert_same_schema, files};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use testkit::servers::{PostgresServer, TestDatabase, own, postgres};
use testkit::{Job, sql};

/// An export of the newest backup, ready to run.
pub fn export(place: &Place, to: &Path) -> Job {
    let job = place.job(["export", "--from", "app", "--output", "json"]);
    job.env("LONGSHORE_TO", to.display().to_string())
}

/// Runs a command, which must succeed, and gives what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

/// Fails unless the sums of the export are those of its files, and name all of them.
pub fn assert_whole(folder: &Path) {
    run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(folder));
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let named: Vec<&str> = sums.lines().map(|line| line.split_once("  ").unwrap().1).collect();
    let all = files(folder).into_iter().map(|path| path.strip_prefix(folder).unwrap().display().to_string());
    let all: Vec<String> = all.filter(|path| path != "SHA256SUMS").collect();
    assert_eq!(named, all);
}

/// A database, its backup and its export.
struct Exported {
    server: Arc<PostgresServer>,
    db: TestDatabase,
    place: Place,
    folder: PathBuf,
    report: Value,
}

impl Exported {
    async fn of(db: TestDatabase, options: &[(&str, &str)]) -> Self {
        let (server, place) = (Arc::clone(&db.server), Place::new().await);
        place.backup(&db.url()).for_postgres(server.version).run().await.success();
        let folder = place.folder.path().join("exported");
        let job = export(&place, &folder).for_postgres(server.version);
        let job = options.iter().fold(job, |job, (name, value)| job.env(name, *value));
        let report = job.run().await.success().json();
        assert_whole(&folder);
        Self { server, db, place, folder, report }
    }

    /// Runs the export's own script in the server's container; what it said, well or not.
    fn restore(&self, target: &str) -> Result<String, String> {
        self.restore_with(target, &[])
    }

    fn restore_with(&self, target: &str, environment: &[&str]) -> Result<String, String> {
        let inside = format!("/tmp/export-{}", self.db.name);
        self.server.exec_as_root(&["rm", "-rf", &inside]).unwrap();
        let to = format!("{}:{inside}", self.server.container_id);
        run(Command::new("docker").arg("cp").arg(&self.folder).arg(to));
        self.server.exec_as_root(&["chown", "-R", "postgres", &inside]).unwrap();
        let script = format!("{inside}/restore.sh");
        let command = [&["env"], environment, &["sh", &script, target]].concat();
        self.server.exec(&command)
    }

    /// There and back; `apart` is what names of tables that are compared in another way begin with.
    async fn come_back(&self, apart: &str) -> Target {
        let target = Target::of(&self.db);
        let said = self.restore(&target.name).unwrap();
        assert!(said.contains("each table has as many rows as the backup recorded"), "{said}");
        assert_same_schema(&self.server, &target.name, &self.db.name);
        testkit::assert_same_facts(&target.url, &self.db.url()).await;
        let mut content = [sql::content(&target.url).await, sql::content(&self.db.url()).await];
        for rows in &mut content {
            rows.retain(|row| apart.is_empty() || !row[0].as_deref().unwrap_or_default().contains(apart));
        }
        let [back, there] = content;
        assert_eq!(back, there);
        target
    }

    async fn assert_equal(&self, target: &Target, query: &str) {
        let query = query.replace("{db}", &self.db.name);
        let there = sql::rows(&self.db.url(), &query).await;
        assert!(!there.is_empty(), "the test's own premise, some rows: {query}");
        assert_eq!(sql::rows(&target.url, &query).await, there, "{query}");
    }
}

/// Rows that users put into an extension's tables, which refer to each other.
const EXTENSION: &str = "create table longshore_kinds (kind text primary key, built_in boolean not null default false);
     insert into longshore_kinds values ('usual', true);
     create table longshore_entries (id serial primary key, kind text not null references longshore_kinds);
     select pg_catalog.pg_extension_config_dump('longshore_kinds', 'where not built_in');
     select pg_catalog.pg_extension_config_dump('longshore_entries', '');
     select pg_catalog.pg_extension_config_dump('longshore_entries_id_seq', '')";

/// What is odd about tables, names, values and order. `{db}` is the database's name.
const ODD: &str = r#"
     create role {db}_owner; create role "{db} it's" nologin; create schema ext; create schema app;
     create extension longshore_config schema ext;
     insert into ext.longshore_kinds values ('mine'), ('yours');
     insert into ext.longshore_entries (kind) select 'mine' from generate_series(1, 30);
     alter database {db} set search_path = app, "Sch ma", public; alter database {db} connection limit 77;
     alter database {db} set datestyle = 'German'; alter role {db}_owner in database {db} set work_mem = '9MB';
     comment on database {db} is 'it''s \ the "clinic"'; grant temporary on database {db} to {db}_owner with grant option;
     set search_path = app;
     create type mood as enum ('sad', 'ok', 'glad', 'wild');
     create table moods (m mood, n int) partition by hash (m);
     create table moods_0 partition of moods for values with (modulus 2, remainder 0);
     create table moods_1 partition of moods for values with (modulus 2, remainder 1);
     insert into moods select (array['sad', 'ok', 'glad', 'wild']::mood[])[1 + i % 4], i from generate_series(1, 500) i;
     create table made (a int, twice int generated always as (a * 2) stored, id int generated always as identity (start 100 increment 5), b text);
     insert into made (b, a) select E'tab\there\nline\\. and \\N' || n, n from generate_series(1, 200) n;
     create table parent (x int, y text default 'p'); create table child (z int) inherits (parent);
     insert into parent values (1), (2); insert into child values (3, 'c', 4);
     create table left_one (id int primary key, other int); create table right_one (id int primary key, other int references left_one);
     alter table left_one add foreign key (other) references right_one; 
     begin; alter table left_one disable trigger all; insert into left_one values (1, 1); alter table left_one enable trigger all; insert into right_one values (1, 1); commit;
     create function refuse() returns trigger language plpgsql as $$ begin raise exception 'fired'; end $$;
     create table guarded (x int primary key); insert into guarded values (1), (2);
     create trigger fires before insert on guarded for each row execute function refuse();
     create table ruled (x int); insert into ruled values (1); create rule nothing as on insert to ruled do instead nothing;
     create table limits (most int); insert into limits values (100);
     create function allowed(x int) returns boolean language sql stable as 'select x <= (select most from limits)';
     create table a_checked (x int check (allowed(x))); insert into a_checked select generate_series(1, 50);
     create table a_named (n regclass); insert into a_named values ('guarded'), ('guarded_pkey');
     create table by_target (x int[], target int check (array_length(x[1:target], 1) > 0)); insert into by_target values ('{1,2,3}', 2);
     create index on by_target ((array_length(x[1:target], 1)));
     create table none (); insert into none select from generate_series(1, 321);
     create table empty_one (x int primary key);
     create unlogged table scratch (x int); insert into scratch values (1);
     create table secret_rows (id int, who text); insert into secret_rows values (1, 'x'); alter table secret_rows enable row level security;
     alter table secret_rows force row level security; create policy own on secret_rows for select to {db}_owner using (who = current_user);
     create sequence down increment -3 minvalue -100 maxvalue 0 start 0; select nextval('down') from generate_series(1, 5);
     create sequence untouched start 17; create sequence highest start 9223372036854775807; select nextval('highest');
     create materialized view z_first as select x from guarded; create view m_between as select x + 1 as x from z_first;
     create materialized view a_last as select sum(x) as total from m_between; create unique index on a_last (total);
     create materialized view never as select 1 as one with no data;
     create function total() returns bigint language plpgsql set search_path = app as $$ begin return (select sum(x) from guarded); end $$;
     create materialized view by_function as select total() as n;
     create schema "Sch ma"; create schema "new
line;"; create table "Sch ma"."it's ""quoted"" %d /etc/../x" ("a b" int primary key, "c""d" text, "%s" int, "\" text);
     insert into "Sch ma"."it's ""quoted"" %d /etc/../x" select n, '\.', n, '\' from generate_series(1, 20) n;
     create table "new
line;"."; drop table x -- $HOME `id`" ("and
here" int check ("and
here" > 0)); insert into "new
line;"."; drop table x -- $HOME `id`" values (1);
     create sequence "new
line;"."per%cent \ "; select setval('"new
line;"."per%cent \ "', 3);
     create table "ünïcödé ☃ 患者" ("ключ" int, "🦭" text); insert into "ünïcödé ☃ 患者" values (1, '🦭');
     alter table made owner to {db}_owner; alter schema "Sch ma" owner to "{db} it's"; grant select on moods to "{db} it's" with grant option;
     alter default privileges for role {db}_owner in schema app grant select on tables to "{db} it's";
     comment on column made.a is 'it''s $a'; comment on constraint a_checked_x_check on a_checked is 'asks';
     create statistics app.ab (dependencies) on a, b from made; alter table guarded cluster on guarded_pkey; alter table guarded replica identity full;
     select lo_create(4711); select lo_from_bytea(4712, 'hello'); select lo_create(4713); select lo_put(4713, 3000000, 'after the hole');
     select count(lo_from_bytea(100000 + n, convert_to('number ' || n, 'UTF8'))) from generate_series(1, 1500) n;
     alter large object 4712 owner to {db}_owner; grant select on large object 4712 to "{db} it's" with grant option;
     comment on large object 4713 is 'it''s \ sparse'"#;

/// Refuses whatever comes after it.
const WATCH: &str =
    "create function app.watch() returns event_trigger language plpgsql as $$ begin raise exception 'no ddl'; end $$;
     create event trigger watch on ddl_command_start execute function app.watch()";

/// Everything that a traps test makes, at once, on a server of its own.
async fn odd_things_come_back(version: u16) {
    let server = Arc::new(own(version, &[]).await);
    let control = "default_version = '1.0'\nrelocatable = true\n";
    server.install_extension("longshore_config", control, EXTENSION);
    let db = server.create_database().await;
    db.exec(&ODD.replace("{db}", &db.name)).await;
    if version < 17 {
        // From 17 on the server itself empties the path where it makes an index.
        db.exec(
            "create function app.least_of() returns int language sql immutable as 'select 0 from limits limit 0';
             create function app.beyond(x int) returns boolean language plpgsql immutable as 'begin return x > coalesce((select least_of()), 0); end';
             create table app.indexed (x int); insert into app.indexed select generate_series(1, 30);
             create index indexed_part on app.indexed (x) where app.beyond(x); alter table app.indexed add unique (x)",
        )
        .await;
    }
    db.exec(WATCH).await;
    let it = Exported::of(db, &[]).await;
    let back = it.come_back("moods").await;
    it.assert_equal(&back, "select m, n from app.moods order by n").await;
    let objects = "select oid, md5(lo_get(oid)), lomowner::regrole, lomacl::text, obj_description(oid, 'pg_largeobject') \
                   from pg_largeobject_metadata order by 1";
    it.assert_equal(&back, objects).await;
    let database = "select datconnlimit, shobj_description(oid, 'pg_database'), encoding, datcollate, \
                    pg_get_userbyid(datdba), (select array_agg(replace(a::text, '{db}', '') order by a::text) from unnest(datacl) a) \
                    from pg_database where datname = current_database()";
    it.assert_equal(&back, database).await;
    let settings = "select setrole::regrole::text, unnest(setconfig) from pg_db_role_setting where setdatabase = \
                    (select oid from pg_database where datname = current_database()) order by 1, 2";
    it.assert_equal(&back, settings).await;
    assert_eq!(
        sql::value(&back.url, "select string_agg(n::text, ' ' order by n::text) from app.a_named").await,
        "guarded guarded_pkey"
    );
    let analyzed = "select count(*) from pg_stats where schemaname = 'app' and tablename = 'made'";
    assert_ne!(sql::value(&back.url, analyzed).await, "0", "no statistics");
    private_and_without_secrets(&it);
    it.damage_and_refusals_change_nothing(&back).await;
}

/// Only its user can look into it, and no password is anywhere in it.
fn private_and_without_secrets(it: &Exported) {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&it.folder), mode(&it.folder.join("05-rows"))), (0o700, 0o700));
    for path in files(&it.folder) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_".contains(&c)), "{name}");
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(!text.contains(&it.server.password), "a password is in {}", path.display());
    }
    let readme = std::fs::read_to_string(it.folder.join("README.txt")).unwrap();
    assert!(readme.contains(it.report["backup"].as_str().unwrap()) && readme.contains("sh restore.sh"), "{readme}");
    let index = std::fs::read_to_string(it.folder.join("tables.tsv")).unwrap();
    assert!(index.contains("\t\"new\\nline;\".\"; drop table x -- $HOME `id`\"\t1\t"), "{index}");
}

impl Exported {
    /// A script that refuses has made nothing: where the target holds something, a file is damaged, a role is missing.
    async fn damage_and_refusals_change_nothing(&self, back: &Target) {
        let before = sql::content(&back.url).await;
        let refused = self.restore(&back.name).unwrap_err();
        assert!(refused.contains("is not empty") && refused.contains("nothing was changed"), "{refused}");
        assert_eq!(sql::content(&back.url).await, before);

        let absent = format!("{}_absent", self.db.name);
        let path = self.folder.join("05-rows").read_dir().unwrap().next().unwrap().unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [whole.as_slice(), b"x"].concat()).unwrap();
        let refused = self.restore(&absent).unwrap_err();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(refused.contains("damaged or missing") && refused.contains(name), "{refused}");
        std::fs::write(&path, whole).unwrap();

        self.db
            .exec(&format!(
                "drop event trigger watch; reassign owned by \"{0} it's\" to postgres; drop owned by \"{0} it's\"",
                self.db.name
            ))
            .await;
        sql::exec(&back.url, &format!("drop event trigger watch; reassign owned by \"{0} it's\" to postgres; drop owned by \"{0} it's\"; drop role \"{0} it's\"", self.db.name)).await;
        let refused = self.restore(&absent).unwrap_err();
        assert!(refused.contains("lacks roles") && refused.contains(&format!("{} it's", self.db.name)), "{refused}");
        for bad in ["", "--help"] {
            assert!(self.restore(bad).unwrap_err().contains("usage: "));
        }
        assert!(!self.server.has_database(&absent).await, "a refused restore made a database");
    }
}

#[tokio::test]
async fn odd_things_come_back_by_psql_alone_on_postgresql_15() {
    odd_things_come_back(15).await;
}

#[tokio::test]
async fn odd_things_come_back_by_psql_alone_on_postgresql_17() {
    odd_things_come_back(17).await;
}

#[tokio::test]
async fn odd_things_come_back_by_psql_alone_on_postgresql_18() {
    if std::env::var("LONGSHORE_TEST_SERVERS").as_deref() != Ok("all") {
        return testkit::skipped("PostgreSQL 18 is tested by scripts/test --all");
    }
    odd_things_come_back(18).await;
}

/// An ordinary database, of several chunks, in all of its parts; and what a publication says stays behind, and is said.
#[tokio::test]
async fn a_realistic_database_comes_back_without_its_publication() {
    for version in [15, 17] {
        let db = postgres(version).await.create_database().await;
        testkit::data::realistic(&db, 5).await;
        db.exec(crate::place::LARGE).await;
        db.exec("create publication to_elsewhere for table large").await;
        let it = Exported::of(db, &[]).await;
        let notes = it.report["notes"].to_string();
        let readme = std::fs::read_to_string(it.folder.join("README.txt")).unwrap();
        assert!(notes.contains("publication to_elsewhere") && readme.contains("left out: publication"), "{notes}");
        it.db.exec("drop publication to_elsewhere").await;
        it.come_back("").await;
    }
}

/// Bytes of another encoding in rows, names and statements; and a target whose name breaks who does not quote.
#[tokio::test]
async fn a_latin1_database_comes_back_under_an_odd_name() {
    for version in [15, 17] {
        let server = postgres(version).await;
        let db = server.create_database_with("template template0 encoding 'LATIN1' locale 'C'").await;
        db.exec(
            "create type größe as enum ('klein', 'groß');
             create table \"Übergröße\" (\"schlüssel\" int primary key, x text, g größe default 'groß', check (x <> 'ÿ'));
             insert into \"Übergröße\" select n, chr(n) || 'é', 'groß' from generate_series(1, 255) n;
             create materialized view \"Ä\" as select count(*) as n from \"Übergröße\" where x <> 'ÿé';
             create sequence \"zähler\"; select setval('\"zähler\"', 9);
             comment on table \"Übergröße\" is 'àéîõü'; create function \"é\"() returns text language sql as $$ select 'è' $$",
        )
        .await;
        let it = Exported::of(db, &[]).await;
        let back = it.come_back("").await;
        assert_eq!(sql::value(&back.url, "select getdatabaseencoding()").await, "LATIN1");
        assert_eq!(sql::value(&back.url, "select \"é\"() || last_value from \"zähler\"").await, "è9");

        let odd = format!("{} it's \"odd\" = %s \\ ü", it.db.name);
        let said = it.restore(&odd);
        let ask = |sql: &str| {
            it.server.exec(&["env", "PGCLIENTENCODING=UTF8", &format!("PGDATABASE={odd}"), "psql", "-XAtc", sql])
        };
        let rows = ask("select count(*) from \"Übergröße\"");
        let quoted = odd.replace('"', "\"\"");
        sql::exec(&it.server.url("postgres"), &format!("drop database if exists \"{quoted}\"")).await;
        said.unwrap();
        assert_eq!(rows.unwrap().trim(), "255");
    }
}

/// Without owners an export needs no role, goes into a database that is there and empty, and leaves that its own settings.
#[tokio::test]
async fn without_owners_it_goes_into_an_empty_database_of_an_ordinary_role() {
    let db = postgres(15).await.create_database().await;
    let name = db.name.clone();
    db.exec(&format!(
        "create role {name}_gone; create role {name}_user login; create table t (x int primary key); insert into t values (1), (2);
         alter table t owner to {name}_gone; grant select on t to {name}_gone; alter database {name} set work_mem = '7MB'"
    ))
    .await;
    let it = Exported::of(db, &[("LONGSHORE_NO_OWNER", "true")]).await;
    it.db
        .exec(&format!("reassign owned by {name}_gone to postgres; drop owned by {name}_gone; drop role {name}_gone"))
        .await;
    let target = Target::of(&it.db);
    sql::exec(&it.server.url("postgres"), &format!("create database {} owner {name}_user", target.name)).await;
    let user = format!("PGUSER={name}_user");
    let said = it.restore_with(&target.name, &[&user]).unwrap();
    assert!(said.contains("keeps its own settings"), "{said}");
    assert_eq!(sql::value(&target.url, "select sum(x) from t").await, "3");
    let owner = sql::value(&target.url, "select relowner::regrole from pg_class where oid = 't'::regclass").await;
    assert_eq!(owner, format!("{name}_user"));
    assert_ne!(sql::value(&target.url, "show work_mem").await, "7MB");
    drop(target);
    it.db.exec(&format!("drop role {name}_user")).await;
}

/// A part says that it is one, and comes back without what it lacks.
#[tokio::test]
async fn a_part_comes_back_as_the_part_it_is() {
    let db = postgres(15).await.create_database().await;
    db.exec(
        "create schema a; create schema b; create table b.far (id int primary key); insert into b.far values (1);
         create table a.near (id int primary key, far int references b.far); insert into a.near values (1, 1), (2, null)",
    )
    .await;
    let place = Place::new().await;
    let backup = place.backup(&db.url()).env("LONGSHORE_INCLUDE_TABLE", "a.near").run().await.success().json();
    let folder = place.folder.path().join("exported");
    let from = format!("app@{}", backup["id"].as_str().unwrap());
    let job = place.job(["export", "--output", "json"]).env("LONGSHORE_FROM", from);
    let report = job.env("LONGSHORE_TO", folder.display().to_string()).run().await.success().json();
    assert!(report["notes"].to_string().contains("because the backup is of a part"), "{report}");
    let readme = std::fs::read_to_string(folder.join("README.txt")).unwrap();
    assert!(readme.contains("only a part   only tables a.near"), "{readme}");
    let it = Exported { server: Arc::clone(&db.server), db, place, folder, report };
    let target = Target::of(&it.db);
    it.restore(&target.name).unwrap();
    assert_eq!(sql::value(&target.url, "select count(*) from a.near").await, "2");
    drop(it.place);
}
