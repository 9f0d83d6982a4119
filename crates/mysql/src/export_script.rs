//! What an export says and does by itself: `restore.sh` and `README.txt`.
//!
//! Owns the script that brings an export back with the vendor's client and a POSIX shell. Promises that it makes nothing before the files' sums, the server's product and version, and the
//! target's emptiness were looked at; that it stops at the first error; and that no name is anything but a name in it. Refuses to hold or ask for a password: the client knows where to look.

use crate::catalog::Catalog;
use crate::connection::{Product, Server};
use crate::schema::plain_word;
use engine::{Error, ExportOptions};

/// What the script and the text are about.
pub(crate) struct Facts<'a> {
    pub catalog: &'a Catalog,
    pub options: &'a ExportOptions,
    pub notes: &'a [String],
    pub has_events: bool,
}

impl Facts<'_> {
    fn rows(&self) -> u64 {
        self.options.streams.values().map(|digest| digest.rows).sum()
    }
}

/// One word for a POSIX shell, whatever is in it.
fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// `restore.sh`.
pub(crate) fn script(it: &Facts<'_>) -> Result<String, Error> {
    let (catalog, of) = (it.catalog, Server::parse(&it.catalog.server_version)?);
    let (clients, mariadb) = match catalog.product {
        Product::Mariadb => ("mariadb mysql", "1"),
        Product::Mysql => ("mysql mariadb", "0"),
    };
    let like = &catalog.database;
    let charset = format!("CHARACTER SET {} COLLATE {}", plain_word(&like.charset)?, plain_word(&like.collation)?);
    let facts = [
        ("backup", it.options.backup.clone()),
        ("tables", it.options.streams.len().to_string()),
        ("rows", it.rows().to_string()),
        ("product", catalog.product.name().to_owned()),
        ("mariadb", mariadb.to_owned()),
        ("least", (of.version.0 * 1000 + of.version.1).to_string()),
        ("version", format!("{}.{}", of.version.0, of.version.1)),
        ("clients", clients.to_owned()),
        ("charset", charset),
    ];
    let facts: String = facts.iter().map(|(name, value)| format!("{name}={}\n", word(value))).collect();
    let events = if it.has_events { EVENTS } else { "" };
    Ok(format!("{HEAD}{facts}{CHECKS}{MAKE}{events}{END}"))
}

const HEAD: &str = r#"#!/bin/sh
# Brings this export back into a database of MySQL or MariaDB, with the vendor's client and nothing else. README.txt says more.
#
#   sh restore.sh DATABASE
#
# The database is made if it is not there; one that holds anything is refused. Server, user and password are what the client finds in its option files (~/.my.cnf);
# DEFAULTS_FILE names another one.
set -eu

"#;

const CHECKS: &str = r#"
newline='
'
begun=

say() { printf '%s\n' "$1"; }
die() {
    printf 'restore.sh: %s\n' "$1" >&2
    exit 1
}
ended() {
    code=$?
    trap - EXIT
    if [ "$code" -ne 0 ] && [ -n "$begun" ]; then
        printf 'restore.sh: database %s is not complete; drop it before the next attempt\n' "$target" >&2
    fi
    exit "$code"
}
# The client: ask OPTION...
ask() {
    "$client" ${DEFAULTS_FILE:+"--defaults-extra-file=$DEFAULTS_FILE"} --batch --raw --skip-column-names --comments \
        --binary-mode --default-character-set=utf8mb4 --local-infile=1 "$@"
}
# A file of statements: step FILE WHAT
step() {
    say "$2"
    ask "--database=$target" <"$1" >/dev/null
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
case ${DEFAULTS_FILE-} in
    '' | /*) ;;
    *) DEFAULTS_FILE=$(pwd)/$DEFAULTS_FILE ;;
esac
cd -- "$here"
client=
for one in $clients; do
    if [ -z "$client" ] && command -v "$one" >/dev/null 2>&1; then client=$one; fi
done
[ -n "$client" ] || die "neither of these is installed: $clients"
say "$backup: $tables tables, $rows rows, into database $target"
say 'check the sums of all files'
if command -v sha256sum >/dev/null 2>&1; then
    sums=$(sha256sum -c SHA256SUMS 2>&1) || die "files are damaged or missing:$newline$(printf '%s\n' "$sums" | grep -v ': OK$')"
elif command -v shasum >/dev/null 2>&1; then
    sums=$(shasum -a 256 -c SHA256SUMS 2>&1) || die "files are damaged or missing:$newline$(printf '%s\n' "$sums" | grep -v ': OK$')"
else
    die 'neither sha256sum nor shasum is installed'
fi

there=$(ask -e "SELECT VERSION() LIKE '%MariaDB%'") || die 'the server does not answer; nothing was changed'
[ "$there" = "$mariadb" ] || die "the backup is of $product, and this server is not; nothing was changed"
there=$(ask -e "SELECT SUBSTRING_INDEX(VERSION(), '.', 1) * 1000 + SUBSTRING_INDEX(SUBSTRING_INDEX(VERSION(), '.', 2), '.', -1)")
[ "$there" -ge "$least" ] || die "the backup is of $product $version, and this server is older; nothing was changed"
if [ "$rows" -gt 0 ]; then
    [ "$(ask -e 'SELECT @@local_infile')" = 1 ] ||
        die 'the server takes no files from clients; as an administrator: SET GLOBAL local_infile = 1. Nothing was changed'
fi
"#;

const MAKE: &str = r#"
quoted=$(printf '%s' "$target" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g")
ticked=$(printf '%s' "$target" | sed 's/`/``/g')
held=$(ask -e "SELECT what FROM (
    SELECT CONCAT('table ', TABLE_NAME) AS what FROM information_schema.TABLES WHERE TABLE_SCHEMA = '$quoted'
    UNION ALL SELECT CONCAT('routine ', ROUTINE_NAME) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '$quoted'
    UNION ALL SELECT CONCAT('event ', EVENT_NAME) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '$quoted') held LIMIT 1")
[ -z "$held" ] || die "database $target is not empty: it has the $held; nothing was changed"
begun=1
ask -e "CREATE DATABASE IF NOT EXISTS \`$ticked\` $charset; ALTER DATABASE \`$ticked\` $charset"
step 01-tables.sql 'make tables'
step 03-load.sql 'load rows, and count them'
step 04-programs.sql 'make routines, views and triggers'
"#;

const EVENTS: &str = r#"say 'events were not made: what runs by itself is for you to begin. 05-events.sql makes them, as they were'
"#;

const END: &str = r#"begun=
say "restored $tables tables, $rows rows: each table has as many rows as the backup recorded"
"#;

const ABOUT: &str = "\
This folder is a backup of a MySQL or MariaDB database as plain files. It needs no program of its own: the vendor's client and a shell
bring it back, and every file can be read, searched and used by itself.
";

const FILES: &str = "\
What is what
------------
  restore.sh        brings everything back but events
  tables.tsv        which file holds which table: file, table, rows, bytes, digest (columns between tabs; a tab, line feed or
                    backslash in a name is written \\t, \\n, \\\\)
  SHA256SUMS        sums of all files; check them with: sha256sum -c SHA256SUMS
  01-tables.sql     sequences with their values, and tables
  02-rows/*.tsv     the rows of one table each, as LOAD DATA reads them: columns between tabs, \\N for NULL, backslash escapes, bytes as
                    they are stored; ENUM, SET and BIT as numbers
  03-load.sql       the statement for each of them, and a count of what came in
  04-programs.sql   routines, views, triggers, each with the settings it was made with
  05-events.sql     events, as they were; not run by restore.sh. Often not there

";

const KEEP: &str = "\
Keep it as you keep the database: all of its content is readable here.
";

/// `README.txt`.
pub(crate) fn readme(it: &Facts<'_>) -> String {
    let (options, about) = (it.options, &it.options.about);
    let mut text = format!("{ABOUT}\n");
    let mut fact = |name: &str, value: &str| text.push_str(&format!("{name:<14}{value}\n"));
    fact("backup", &options.backup);
    fact("taken", &options.taken);
    fact("of", &format!("{} at {}, {} {}", about.database, about.server, about.engine, about.version));
    fact("character set", &format!("{}, {}", it.catalog.database.charset, it.catalog.database.collation));
    fact("written by", &options.programs.0);
    fact("exported by", &options.programs.1);
    if options.no_owner {
        fact("left out", "definers (--no-owner)");
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

fn how(it: &Facts<'_>) -> String {
    let owners = if it.options.no_owner {
        "Programs will belong to the user that connects.\n"
    } else {
        "Programs keep their definers, which takes a privileged user (SUPER, SET_USER_ID or SET_ANY_DEFINER). An export made with\n\
         --no-owner does not.\n"
    };
    format!(
        "How to restore\n--------------\n  DEFAULTS_FILE=server.cnf sh restore.sh {}\n\n\
         The database is made if it is not there; one that holds anything is refused, and nothing is changed then. It takes {} {} or\n\
         newer with local_infile switched on. Host, user and password stand in an option file of the client ([client], host=, user=,\n\
         password=): ~/.my.cnf or the one that DEFAULTS_FILE names. The script stops at the first error and says so; drop the database\n\
         then, and start again.\n{owners}\n",
        word(&format!("{}_restored", it.catalog.database.name)),
        it.catalog.product.name(),
        it.catalog.server_version,
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
