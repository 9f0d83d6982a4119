//! What an export says and does by itself: `restore.sh` and `README.txt`.
//!
//! Owns the script that brings an export back with `psql` and a POSIX shell. Promises that it makes nothing before the files' sums, the
//! server's version and roles and the target's emptiness were looked at, that it stops at the first error, that each table's
//! number of rows is what the backup recorded, and that no name, however odd, is anything but a name in it. Refuses to
//! hold or ask for a password: `psql` knows where to look.

use crate::catalog::Catalog;
use crate::connection;
use crate::large_objects;
use crate::scratch;
use crate::tools::Tool;
use engine::ExportOptions;
use std::collections::BTreeSet;

/// How one stream is loaded.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub path: String,
    pub rows: u64,
    /// The statement that reads the rows from its input.
    pub copy: String,
    /// Size of the pieces that become large objects.
    pub pieces: Option<u32>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Loads {
    /// In their order.
    pub most: Vec<Load>,
    /// Those that come when the indexes of most are there.
    pub late: Vec<Load>,
}

/// What the script and the text are about.
pub(crate) struct Restoring<'a> {
    pub catalog: &'a Catalog,
    pub options: &'a ExportOptions,
    pub tool: &'a Tool,
    /// The statement that makes a session look for names where the database's own do.
    pub path: &'a str,
    pub loads: &'a Loads,
    /// Files that there are; what would be empty is left out.
    pub there: BTreeSet<String>,
    pub notes: &'a [String],
}

/// One word for a POSIX shell, whatever is in it.
fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// `restore.sh`.
pub(crate) fn script(it: &Restoring<'_>) -> String {
    let of_tables = || it.loads.most.iter().chain(&it.loads.late).filter(|load| load.pieces.is_none());
    let (rows, tables) = (of_tables().map(|load| load.rows).sum::<u64>(), of_tables().count());
    let facts = [
        ("backup", it.options.backup.clone()),
        ("tables", tables.to_string()),
        ("rows", rows.to_string()),
        ("major", it.catalog.server_major.to_string()),
        ("settings", format!("{} -c lock_timeout=0 -c maintenance_work_mem=256MB", connection::as_options())),
        ("path", it.path.to_owned()),
        ("holds", scratch::HOLDS.to_owned()),
    ];
    let facts: String = facts.iter().map(|(name, value)| format!("{name}={}\n", word(value))).collect();
    let step = |path: &str, what: &str| {
        if it.there.contains(path) { format!("step {path} {}\n", word(what)) } else { String::new() }
    };
    let roles = if it.there.contains("01-roles-needed.sql") { ROLES } else { "" };
    let schema = step("03-schemas.sql", "make schemas") + &step("04-before-data.sql", "make types, tables, functions");
    let loads = |all: &[Load]| all.iter().filter(|load| load.rows > 0).map(load).collect::<String>();
    let mut rest = format!("say 'load rows'\n{}", loads(&it.loads.most));
    rest.push_str(&step("06-indexes.sql", "make indexes"));
    rest.push_str(&loads(&it.loads.late));
    rest.push_str(&step("07-more-indexes.sql", "make the last rows' indexes"));
    rest.push_str(&step("08-after-data.sql", "make keys, triggers, rules"));
    rest.push_str(&step("09-sequences.sql", "set sequences"));
    rest.push_str(&step("10-large-objects.sql", "give large objects their owners, grants and comments"));
    rest.push_str(&step("11-materialized-views.sql", "fill materialized views"));
    rest.push_str(&step("11-more-materialized-views.sql", "fill materialized views named in another encoding"));
    rest.push_str(&step("12-statistics.sql", "gather statistics"));
    rest.push_str(&step("13-event-triggers.sql", "make event triggers"));
    format!("{HEAD}{facts}{CHECKS}{roles}{MAKE}{schema}{rest}{END}")
}

fn load(load: &Load) -> String {
    match load.pieces {
        None => format!("load {} {} {}\n", load.path, load.rows, word(&load.copy)),
        Some(piece_bytes) => {
            let statements = large_objects::import(piece_bytes);
            let statements: String = statements.iter().map(|sql| format!(" \\\n    {}", word(sql))).collect();
            format!("load_large_objects {} {}{statements}\n", load.path, load.rows)
        }
    }
}

const HEAD: &str = r#"#!/bin/sh
# Brings this export back into a PostgreSQL database, with psql and nothing else. README.txt says more.
#
#   sh restore.sh DATABASE
#
# The database is made if it is not there; one that holds anything is refused. Server, user and password are what
# psql is told: PGHOST, PGPORT, PGUSER, PGPASSFILE or PGPASSWORD, PGSSLMODE.
set -eu

"#;

const CHECKS: &str = r#"
maintenance=${MAINTENANCE_DATABASE:-postgres}
newline='
'
begun=
made=

say() { printf '%s\n' "$1"; }
die() {
    printf 'restore.sh: %s\n' "$1" >&2
    exit 1
}
ended() {
    code=$?
    trap - EXIT
    if [ "$code" -ne 0 ] && [ -n "$begun" ]; then
        printf 'restore.sh: database "%s" is not complete; drop it before the next attempt\n' "$target" >&2
    fi
    exit "$code"
}
# psql in a database: ask DATABASE OPTION...
ask() {
    PGDATABASE=$1
    export PGDATABASE
    shift
    psql -X -w -q -A -t -v ON_ERROR_STOP=1 "$@"
}
# The same with the target's name as a variable; the vendor's files get none.
about() {
    database=$1
    shift
    ask "$database" -v target="$target" "$@"
}
# A file of statements.
step() {
    say "$2"
    ask "$target" -f "$1" >/dev/null
}
# load FILE ROWS STATEMENT: the rows of one table, and as many as there should be.
load() {
    said=$(PGDATABASE=$target psql -X -w -A -t -v ON_ERROR_STOP=1 -c "$path" -c "$3" <"$1") || die "$1 could not be loaded"
    case $said in
        *"COPY $2") ;;
        *) die "$1: the server took another number of rows than $2: $said" ;;
    esac
}
# load_large_objects FILE PIECES STATEMENT...
load_large_objects() {
    said=$(PGDATABASE=$target psql -X -w -A -t -v ON_ERROR_STOP=1 -c "$3" -c "$4" -c "$5" -c "$6" <"$1") ||
        die "$1 could not be loaded"
    case $said in
        *"COPY $2$newline"*) ;;
        *) die "$1: the server took another number of pieces than $2: $said" ;;
    esac
}

case $#:${1-} in
    1:-*) usage=1 ;;
    1:?*) usage= ;;
    *) usage=1 ;;
esac
if [ -n "$usage" ]; then
    printf 'usage: sh restore.sh DATABASE\n' >&2
    exit 64
fi
target=$1
trap ended EXIT
trap 'exit 130' HUP INT TERM

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd -- "$here"
command -v psql >/dev/null 2>&1 || die 'psql is not installed'
say "$backup: $tables tables, $rows rows, into database $target"
say 'check the sums of all files'
if command -v sha256sum >/dev/null 2>&1; then
    sums=$(sha256sum -c SHA256SUMS 2>&1) || die "files are damaged or missing:$newline$(printf '%s\n' "$sums" | grep -v ': OK$')"
elif command -v shasum >/dev/null 2>&1; then
    sums=$(shasum -a 256 -c SHA256SUMS 2>&1) || die "files are damaged or missing:$newline$(printf '%s\n' "$sums" | grep -v ': OK$')"
else
    die 'neither sha256sum nor shasum is installed'
fi

PGOPTIONS="${PGOPTIONS-} $settings"
PGCLIENTENCODING=UTF8
export PGOPTIONS PGCLIENTENCODING
version=$(ask "$maintenance" -c 'SHOW server_version_num') || die 'the server does not answer; nothing was changed'
[ "$version" -ge "${major}0000" ] || die "the backup is of PostgreSQL $major, and this server is older; nothing was changed"
if [ "$version" -ge 170000 ]; then
    PGOPTIONS="$PGOPTIONS -c transaction_timeout=0"
fi
printf '\\restrict x\n\\unrestrict x\n' | ask "$maintenance" >/dev/null 2>&1 ||
    die 'this psql does not know \restrict: use one of August 2025 or newer; nothing was changed'
"#;

const ROLES: &str = r#"
missing=$(ask "$maintenance" -f 01-roles-needed.sql)
[ -z "$missing" ] || die "the server lacks roles that own or were granted something; make them first, or export with --no-owner:$newline$missing"
"#;

const MAKE: &str = r#"
there=$(printf "SELECT count(*) FROM pg_catalog.pg_database WHERE datname = :'target'" | about "$maintenance")
if [ "$there" = 1 ]; then
    held=$(ask "$target" -c "$holds")
    [ -z "$held" ] || die "database $target is not empty: it has $held; nothing was changed"
    begun=1
else
    say 'make the database'
    begun=1
    made=1
    about "$maintenance" -f 02-create-database.sql
fi
"#;

const END: &str = r#"if [ -n "$made" ]; then
    say "give the database its settings, grants, comment and owner"
    about "$maintenance" -f 14-database.sql >/dev/null
else
    say "database $target was there: it keeps its own settings, grants, comment and owner; 14-database.sql has the backup's"
fi
begun=
say "restored $tables tables, $rows rows: each table has as many rows as the backup recorded"
"#;

const ABOUT: &str = "\
This folder is a backup of a PostgreSQL database as plain files. It needs no program of its own: psql and a shell bring it
back, and every file can be read, searched and used by itself.
";

const FILES: &str = "\
What is what
------------
  restore.sh                  brings everything back
  tables.tsv                  which file holds which table: file, table, rows, bytes, digest (columns between tabs; a tab,
                              line feed or backslash in a name is written \\t, \\n, \\\\)
  SHA256SUMS                  sums of all files; check them with: sha256sum -c SHA256SUMS
  01-roles-needed.sql         asks which of the roles that the database needs a server lacks
  02-create-database.sql      makes the database: encoding and locale
  03-schemas.sql              what the next file expects (often not needed)
  04-before-data.sql          types, functions, tables, views: as pg_restore writes them
  05-rows/*.copy              the rows of one table each, as COPY table (columns) FROM STDIN reads them; restore.sh has the
                              statement for each. Large objects are in one of these, in pieces, as object, piece, bytes
  06-indexes.sql              indexes and keys of most tables
  07-more-indexes.sql         those of tables whose rows name indexes or ask other tables: loaded after the file before
  08-after-data.sql           foreign keys, other constraints, triggers, rules, policies: as pg_restore writes them
  09-sequences.sql            where sequences stand
  10-large-objects.sql        their owners, grants and comments
  11-materialized-views.sql   fills them, each after those it reads from
  11-more-materialized-views.sql  the same, where names are written in another encoding; often not there
  12-statistics.sql           ANALYZE
  13-event-triggers.sql       last, because they would fire
  14-database.sql             the database's own settings, grants, comment and owner
A file that would be empty is not there.

";

const KEEP: &str = "\
Keep it as you keep the database. All of its content is readable here, and with it whatever people put there: rows, and
also passwords in user mappings of foreign servers, if it has some.
";

/// `README.txt`.
pub(crate) fn readme(it: &Restoring<'_>) -> String {
    let (options, about) = (it.options, &it.options.about);
    let mut text = format!("{ABOUT}\n");
    let mut fact = |name: &str, value: &str| text.push_str(&format!("{name:<14}{value}\n"));
    fact("backup", &options.backup);
    fact("taken", &options.taken);
    fact("of", &format!("{} at {}, {} {}", about.database, about.server, about.engine, about.version));
    fact("encoding", &it.catalog.database.encoding);
    fact("written by", &options.programs.0);
    fact("exported by", &format!("{}, with pg_restore {}", options.programs.1, it.tool.major));
    if !about.filter.is_empty() {
        fact("only a part", &about.filter.to_string());
    }
    if options.no_owner {
        fact("left out", "owners and grants (--no-owner)");
    }
    text.push('\n');
    text.push_str(&how(it));
    text.push_str(FILES);
    text.push_str(KEEP);
    let notes: Vec<&String> = about.notes.iter().chain(it.notes).collect();
    if !notes.is_empty() {
        text.push_str("\nTo know\n-------\n");
        notes.iter().for_each(|note| text.push_str(&format!("- {note}\n")));
    }
    text
}

fn how(it: &Restoring<'_>) -> String {
    let (major, database) = (it.catalog.server_major, &it.catalog.database.name);
    let owners = if it.options.no_owner {
        "Everything will belong to the user that connects.\n"
    } else {
        "The user has to be a superuser, because things are given to their owners; the roles must be there (01-roles-needed.sql\n\
         names them). An export made with --no-owner needs neither.\n"
    };
    format!(
        "How to restore\n--------------\n  PGHOST=db.example.org PGUSER=postgres sh restore.sh {}\n\n\
         The database is made if it is not there; one that holds anything is refused, and nothing is changed then. It takes a\n\
         server of PostgreSQL {major} or newer with the extensions that the database uses, and psql of August 2025 or newer; not by\n\
         way of a pooler. A password is given by PGPASSFILE or PGPASSWORD; nothing asks for it. The script stops at the first\n\
         error and says so; drop the database then, and start again. Publications and subscriptions are left out.\n{owners}\n",
        word(&format!("{database}_restored"))
    )
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn a_word_is_one_word() {
        assert_eq!(word("it's $HOME `x` \\"), "'it'\\''s $HOME `x` \\'");
    }
}
