//! What names of staging tables say: the job, by a hash of its name, and the run's number.
//!
//! Promises that a table's number is read only where it is this job's.

use lease::{Epoch, Job};
use sha2::{Digest, Sha256};

/// What all staging tables of a job have in common, in 20 bytes; the number stands behind it.
pub(crate) fn family(job: &Job) -> String {
    let hash = Sha256::digest(job.as_str().as_bytes());
    let digits: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("__stg_{digits}_")
}

/// The number in a staging table's name, when it is of this job.
pub(crate) fn number_in(name: &str, job: &Job) -> Option<Epoch> {
    let (_, number) = name.rsplit_once(&family(job))?;
    number.parse().ok().map(Epoch)
}
