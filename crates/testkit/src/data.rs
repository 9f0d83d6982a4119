//! Owns generated databases: the same content every time, in shapes that a backup must carry. The SQL is a file of its
//! own, `sql/realistic.sql`, because the demo runs it with psql; here its one parameter is replaced in the text.

use crate::servers::TestDatabase;
use crate::sql;

/// The size that tests use, in MB.
pub const TEST_SCALE: u32 = 5;
/// The size that the demo uses, in MB.
pub const DEMO_SCALE: u32 = 300;

const REALISTIC: &str = include_str!("../sql/realistic.sql");

/// The SQL of the realistic database, of about `scale_mb` MB. Needs an empty database and a superuser.
///
/// # Panics
/// When `scale_mb` is 0: rows refer to each other, there must be some.
pub fn realistic_sql(scale_mb: u32) -> String {
    assert!(scale_mb > 0, "the scale is at least 1 MB");
    REALISTIC.replace(":scale", &scale_mb.to_string())
}

/// Fills an empty database: a clinical research system of about `scale_mb` MB with enums, domains, arrays, partitions,
/// generated and dropped columns, foreign keys, many kinds of indexes, views, triggers, odd names and odd values.
pub async fn realistic(db: &TestDatabase, scale_mb: u32) {
    realistic_at(&db.url(), scale_mb).await;
}

/// As `realistic`, for a database by URL.
pub async fn realistic_at(url: &str, scale_mb: u32) {
    sql::exec(url, &realistic_sql(scale_mb)).await;
}

/// A table `rows_only(id, payload)` of `rows` rows of about `width` bytes each, hard to compress, for tests of size and
/// speed.
pub async fn plain_rows(db: &TestDatabase, rows: u64, width: u32) {
    let words = width.div_ceil(32);
    db.exec(&format!(
        "create table plain_rows (id bigint primary key, payload text not null); \
         insert into plain_rows select n, (select string_agg(md5((n * 1000 + w)::text), '') \
         from generate_series(1, {words}) w) from generate_series(1, {rows}) n"
    ))
    .await;
}

/// One row of `bytes` bytes in a table `huge_row(id, payload)`: up to the engine's limit of 1 GB less its overhead.
pub async fn huge_row(db: &TestDatabase, bytes: u64) {
    db.exec(&format!(
        "create table huge_row (id bigint primary key, payload text not null); \
         alter table huge_row alter column payload set storage external; \
         insert into huge_row values (1, repeat('0123456789abcdef', {}))",
        bytes.div_ceil(16)
    ))
    .await;
}
