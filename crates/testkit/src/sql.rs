//! Owns the few words of SQL plumbing that tests need: connect, run, read as text, dump a schema to compare it.
//! Refuses to be a driver: what the product reads and writes is tested against this, never through it.

use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use crate::servers::PostgresServer;

/// A row as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// Connects. The connection is driven on the caller's runtime and ends with the client.
///
/// # Errors
/// What the server or the network said.
pub async fn try_connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        // How a connection ends is for its client to notice: every pending call gets the same error.
        drop(connection.await);
    });
    Ok(client)
}

/// Connects, or ends the test.
pub async fn connect(url: &str) -> Client {
    match try_connect(url).await {
        Ok(client) => client,
        Err(error) => panic!("connect to the test database: {error}{}", cause(&error)),
    }
}

/// Runs statements on a connection of their own.
pub async fn exec(url: &str, statements: &str) {
    let client = connect(url).await;
    if let Err(error) = client.batch_execute(statements).await {
        panic!("run SQL: {error}{}\n{}", cause(&error), excerpt(statements));
    }
}

/// All rows of a query, as text.
pub async fn rows(url: &str, query: &str) -> Vec<Row> {
    rows_on(&connect(url).await, query).await
}

/// All rows of a query on an open connection, as text.
pub async fn rows_on(client: &Client, query: &str) -> Vec<Row> {
    let messages = match client.simple_query(query).await {
        Ok(messages) => messages,
        Err(error) => panic!("run SQL: {error}{}\n{}", cause(&error), excerpt(query)),
    };
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect()).collect()
}

/// The first column of the only row, as text; NULL is the empty text.
pub async fn value(url: &str, query: &str) -> String {
    let rows = rows(url, query).await;
    assert_eq!(rows.len(), 1, "one row expected of: {query}");
    rows[0][0].clone().unwrap_or_default()
}

/// A database's schema as the server's own `pg_dump --schema-only` writes it, for comparison before and after: without
/// comment lines, `\restrict` lines (a new random word each time) and repeated empty lines; nothing else is touched.
///
/// # Panics
/// When `pg_dump` fails.
pub fn canonical_dump(server: &PostgresServer, db: &str) -> String {
    let dump = server.exec(&["pg_dump", "--schema-only", "--dbname", db]);
    let dump = dump.unwrap_or_else(|error| panic!("dump the schema of {db}: {error}"));
    let mut lines: Vec<&str> = dump
        .lines()
        .filter(|line| !line.starts_with("--") && !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect();
    lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
    lines.join("\n")
}

/// A digest of the rows of every table and filled materialized view, in the order of their names: equal databases give
/// equal text, in whatever order their columns are. Partitions and children count for themselves, so nothing is counted
/// twice. Slow and simple on purpose (the server hashes the text of each row), and independent of the product's digests.
pub async fn content(url: &str) -> Vec<Row> {
    let client = connect(url).await;
    client.batch_execute("set time zone 'UTC'; set extra_float_digits = 3").await.expect("pin the settings");
    let tables = "select format('%I.%I', n.nspname, c.relname), (select coalesce(string_agg(format('%I', a.attname), ', ' \
                  order by a.attname), '') from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 \
                  and not a.attisdropped) from pg_class c \
                  join pg_namespace n on n.oid = c.relnamespace \
                  where c.relkind in ('r', 'm') and c.relpersistence <> 't' and c.relispopulated \
                  and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' order by 1";
    let mut all = Vec::new();
    for table in rows_on(&client, tables).await {
        let (name, columns) = (table[0].clone().unwrap_or_default(), table[1].clone().unwrap_or_default());
        let digest = format!(
            "select '{}', count(*), coalesce(sum(('x' || substr(md5(row({columns})::text), 1, 15))::bit(60)::bigint), 0) from only {name}",
            name.replace('\'', "''")
        );
        all.extend(rows_on(&client, &digest).await);
    }
    all
}

fn cause(error: &Error) -> String {
    std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default()
}

fn excerpt(statements: &str) -> String {
    statements.chars().take(400).collect()
}
