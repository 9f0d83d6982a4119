//! The drop's column names, where the table does not have them.
//!
//! Promises that names of the drop are shown only where some are columns: else they may be somebody's data.

use engine::{Error, Kind};

/// How many names an error repeats, and how much of each.
const NAMES: usize = 20;
const NAME_CHARS: usize = 63;

/// Something that a person has to change before the table can be loaded.
pub(crate) fn config(what: String, hint: &str) -> Error {
    Error::new(Kind::Config, what).hint(hint)
}

/// The drop has columns that the table lacks: these, of so many; the table has those that are `there`.
pub(crate) fn unknown(table: &str, missing: &[&str], of: usize, there: &str) -> Error {
    if missing.len() == of {
        let what = format!("none of the drop's column names ({of} in all) is a column of {table}: it has {there}");
        let hint = "does the file begin with a header? Its first line is not shown, for it may be a row; \
                    names are compared as they are written, capital letters included";
        return config(what, hint);
    }
    let shown = |name: &&str| name.chars().take(NAME_CHARS).flat_map(char::escape_debug).collect::<String>();
    let mut names: Vec<_> = missing.iter().take(NAMES).map(shown).collect();
    if missing.len() > NAMES {
        names.push(format!("and {} more", missing.len() - NAMES));
    }
    config(
        format!("{table} has no column {}: it has {there}", names.join(", ")),
        "the drop's columns are found in the table by their names, as they are written; add or rename them",
    )
}
