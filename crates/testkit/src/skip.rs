//! Owns how a test says that it did not run: one line on stderr, and one in the file that the test script counts.

use std::io::Write as _;

/// Ends the calling test early, visibly: prints `SKIPPED <test>: <reason>`, and appends it to the file named by
/// `LONGSHORE_TEST_SKIPS` when that is set. Use for what the machine cannot do, never for what is not written yet.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        $crate::skipped(&format!($($reason)+));
        return;
    }};
}

/// What an expression found, or `skip!` with the reason why it found nothing.
#[macro_export]
macro_rules! or_skip {
    ($found:expr) => {
        match $found {
            Ok(found) => found,
            Err(why) => $crate::skip!("{why}"),
        }
    };
}

/// What `skip!` prints and records, for helpers that decide themselves how to end.
pub fn skipped(reason: &str) {
    let thread = std::thread::current();
    let line = format!("SKIPPED {}: {reason}", thread.name().unwrap_or("(unnamed test)"));
    eprintln!("{line}");
    let Some(path) = std::env::var_os("LONGSHORE_TEST_SKIPS") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| writeln!(file, "{line}"))
        .unwrap_or_else(|error| panic!("record a skipped test in {}: {error}", path.display()));
}
