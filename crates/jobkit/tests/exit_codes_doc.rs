//! The table in `docs/exit-codes.md` is the one in code.
//!
//! Owns the comparison, and the way to bring the page up to date: run this test with `LONGSHORE_TEST_UPDATE=1`, which
//! rewrites what stands between the page's two markers and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use longshore_jobkit::{Layout, table};
use std::path::Path;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/exit-codes.md");
const BEGIN: &str = "<!-- exit codes: begin -->\n";
const END: &str = "<!-- exit codes: end -->\n";

/// The page before the table, the table, and the page after it.
fn cut(page: &str) -> (&str, &str, &str) {
    let (before, rest) = page.split_once(BEGIN).expect("the page has no begin marker");
    let (table, after) = rest.split_once(END).expect("the page has no end marker");
    (before, table, after)
}

#[test]
fn the_page_shows_the_table_that_the_program_prints() {
    let page = std::fs::read_to_string(Path::new(PAGE)).expect("read docs/exit-codes.md");
    let (before, shown, after) = cut(&page);
    let printed = table(Layout::Markdown);
    if shown == printed {
        return;
    }
    if std::env::var_os("LONGSHORE_TEST_UPDATE").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{printed}{END}{after}")).expect("write docs/exit-codes.md");
        return;
    }
    panic!(
        "docs/exit-codes.md differs from the program's table.\nthe page:\n{shown}\nthe program:\n{printed}\n\
         bring it up to date: LONGSHORE_TEST_UPDATE=1 cargo test -p longshore-jobkit --test exit_codes_doc"
    );
}

#[test]
fn every_code_has_advice_below_the_table() {
    let page = std::fs::read_to_string(Path::new(PAGE)).expect("read docs/exit-codes.md");
    let (_, shown, after) = cut(&page);
    for row in shown.lines().skip(2) {
        let mut cells = row.split(" | ");
        let code = cells.next().unwrap().trim_start_matches("| ");
        let name = cells.next().unwrap();
        let heading = format!("\n## {code} {name}\n");
        assert!(after.contains(&heading), "docs/exit-codes.md has no {heading:?}");
    }
}
