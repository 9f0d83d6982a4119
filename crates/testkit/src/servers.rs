//! Owns the real servers of a test process: one of each kind and version, started at first use and shared by all tests;
//! and private ones for tests that kill them. What keeps tests apart is a database or a bucket each.

mod mongo;
mod mysql;
mod objects;
mod pooler;
mod postgres;
mod redis;
mod standby;

pub use mongo::{
    DumpTools, MongoServer, MongoSet, TestMongo, mongo, own_mongo, standalone_mongo, three_mongos,
    try_connect as try_connect_mongo,
};
pub use mysql::{Flavour, MysqlServer, TestSchema, mysql, own_mysql, try_connect as try_connect_mysql};
pub use objects::{ACCESS_KEY, ObjectServer, SECRET_KEY, garage, minio};
pub use pooler::{Pooler, pooler};
pub(crate) use postgres::image as postgres_image;
pub use postgres::{PostgresServer, TestDatabase, own, postgres};
pub use redis::{RedisProduct, RedisServer, own_redis, redis, valkey};
pub use standby::standby_of;

use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other test of this or another process uses: at most 40 characters of `[a-z0-9_-]`.
fn unique_name(prefix: &str, separator: char) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}{separator}{}{separator}{next}", std::process::id())
}
