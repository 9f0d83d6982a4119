//! Programs that a job starts, and whether they are gone.
//!
//! Owns the one that does not want to end. Refuses to end anything by itself.

/// A line for `sh` that ignores SIGTERM, as its child does; both write their process ids into `$SCRATCH`: `leader` and `child`.
pub const STUBBORN: &str = "trap '' TERM; sleep 1000 & echo $! > $SCRATCH/child; echo $$ > $SCRATCH/leader; wait; wait";

/// Whether a process is not there, or is only waiting for somebody to reap it. `pid` is text as a shell writes it.
#[must_use]
pub fn gone(pid: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => true,
    }
}
