//! What a run tells people and machines: a result file, the container's termination log, metrics, pings, a webhook.
//!
//! Owns every word of it and every way it takes. Promises that nothing here changes how a run ends: whatever cannot be told is
//! handed back as a [`Missed`], and all of it together takes no longer than the caller allows; that a URL, which may be a
//! secret, shows as its scheme and host alone; that settings which cannot work are found before the run. Refuses to follow
//! redirects, and to read what servers answer beyond the status.

mod document;
mod endpoint;
mod files;
mod gateway;
mod http;
mod metrics;
mod ping;
mod run;
mod settings;
mod template;
mod termination;
mod textfile;
mod webhook;

pub use run::{Ended, Failed, Missed, Run};
pub use settings::{On, Plan, Problem, Settings};

mod signals;
pub use signals::{MOST, Signals};
