//! Which names a file of a drop may have.
//!
//! Owns the check that each path passes, whether a manifest or a directory gives it. Promises that what passes stays below the drop, shows whole in a
//! log line and is one name on every system. Refuses to mend a name: a file under another name would be another file.

/// The longest path within a drop, in bytes.
pub const MAX_PATH_BYTES: usize = 1024;
/// The longest name in a path, in bytes: what common file systems take.
pub const MAX_NAME_BYTES: usize = 255;

/// What is wrong with a path, if anything.
pub(crate) fn fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > MAX_PATH_BYTES {
        return Some("it is longer than 1024 bytes");
    }
    if path.starts_with('/') {
        return Some("it is absolute; names are relative to the drop");
    }
    if path.contains(|c: char| c.is_control() || DECEPTIVE.contains(&c)) {
        return Some("it holds a control character");
    }
    if path.contains('\\') {
        return Some("it holds a backslash");
    }
    path.split('/').find_map(|name| match name {
        "" => Some("it holds an empty name, such as //"),
        "." | ".." => Some("it holds . or .. as a name"),
        _ if name.len() > MAX_NAME_BYTES => Some("it holds a name of more than 255 bytes"),
        _ => None,
    })
}

/// Turns text around in a terminal, so that one name looks like another.
const DECEPTIVE: [char; 11] = [
    '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}',
    '\u{2068}', '\u{2069}',
];

/// A name for an error: whatever it holds, it stays on one line and short.
pub(crate) fn shown(path: &str) -> String {
    let mut text: String = path.chars().take(120).flat_map(char::escape_debug).collect();
    if path.chars().nth(120).is_some() {
        text.push('…');
    }
    text
}

/// Whether a name is passed over: hidden, or by its end not finished.
pub(crate) fn passed_over(name: &str) -> Option<Passed> {
    let ends_in = |ends: &[&str]| ends.iter().any(|end| name.to_ascii_lowercase().ends_with(end));
    match name {
        _ if name.starts_with('.') => Some(Passed::Hidden),
        _ if ends_in(&[".tmp", ".part", ".inprogress"]) => Some(Passed::Unfinished),
        _ => None,
    }
}

/// Why a name is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passed {
    /// It begins with a dot.
    Hidden,
    /// It ends in `.tmp`, `.part` or `.inprogress`: somebody is still writing it, or died doing so.
    Unfinished,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = format!("a/{}", "b".repeat(256));
        let longer = "a/".repeat(600);
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/..",
            "a/../../b",
            ".",
            "a/./b",
            "a//b",
            "a/",
            "a\0b",
            "a\nb",
            "a\\b",
            "\u{202e}vsc.a",
            &long,
            &longer,
        ] {
            assert!(fault(path).is_some(), "{path:?}");
        }
        for path in ["a", "a/b.csv", "…/ä ö.csv", "..a", "a..", "-rf", "a b", "'"] {
            assert_eq!(fault(path), None, "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn what_passes_stays_below(path in "[./\\\\a\\PC]{0,12}") {
            if fault(&path).is_none() {
                let parts: Vec<_> = Path::new(&path).components().collect();
                prop_assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))), "{:?}", parts);
                prop_assert_eq!(parts.len(), path.split('/').count());
            }
        }
    }

    #[test]
    fn what_is_unfinished_is_known_by_its_name() {
        assert_eq!(passed_over(".a.csv"), Some(Passed::Hidden));
        assert_eq!(passed_over("a.csv.PART"), Some(Passed::Unfinished));
        assert_eq!(passed_over("a.inprogress"), Some(Passed::Unfinished));
        assert_eq!(passed_over("part.csv"), None);
    }
}
