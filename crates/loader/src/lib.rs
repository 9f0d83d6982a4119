//! Owns loading: one drop into one table, once, all or nothing; or by a program of the user's own, with less to promise (`command`).
//!
//! A load mints a number in the target itself (the fence), copies the drop's rows into a staging table of that number, and then does
//! everything that others can see in one transaction: it looks whether the number is still the newest, notes the drop in the ledger, merges the
//! rows and commits. `run` is that order, `Target` what a database must be able to do for it, `postgres` how PostgreSQL does it, `mysql`
//! how MySQL and MariaDB do.
//!
//! Promises that a drop is loaded at most once for a job; that of two runs only one commits, even when one of them was stopped past its lease; that
//! a load which failed anywhere has changed no row; and that a commit whose answer was lost is looked up before anything is said about it.
//! Refuses targets where that does not hold: tables that a crash empties, foreign tables, views. It asks for no lease: a lease spares two runs the
//! work of which one is lost, and the caller says when it is over (`Permit`).

mod blamed;
mod command;
mod error;
mod feed;
mod header;
mod input;
mod ledger_row;
mod mysql;
mod names;
mod open;
mod plan;
mod postgres;
mod private;
mod record;
mod run;
mod settle;
mod target;

pub use command::{Ended, Program, load_by};
pub use error::{BadRow, Error, Superseded};
pub use input::{DropInput, Input, InputFile, InputRows, Sinks, Terms};
pub use mysql::{MysqlLedger, MysqlTarget};
pub use open::{history, open, open_ledger};
pub use plan::{Limits, Mode, Plan, TableName};
pub use postgres::{Postgres, PostgresLedger};
pub use private::{has_folder, make_private};
pub use record::{Counts, FileRecord, Record, Status};
pub use run::{Done, Permit, Step, Steps, Straight, load};
pub use target::{Fence, Ledger, Look, Merge, Portion, Ready, Staging, Target, Writer};
