//! Views: which of them name what.
//!
//! Owns reading a statement for the names in it. Promises an order in which each view comes after those that it reads from, and that no view which reads from something is overlooked; a
//! view may be taken to read from something of which it only names a column. Refuses to understand SQL.

use crate::catalog::Program;
use crate::quote::{name_in, next_token};
use std::collections::BTreeSet;

/// The words of a statement that may be names, in lower case; strings are none.
fn names_in(statement: &[u8]) -> BTreeSet<String> {
    let (mut names, mut rest) = (BTreeSet::new(), statement);
    while let Some((token, after)) = next_token(rest) {
        names.extend(name_in(token).map(|name| String::from_utf8_lossy(&name).to_lowercase()));
        rest = after;
    }
    names
}

/// Whether a view names one of these.
pub(crate) fn names_any(view: &Program, of: &BTreeSet<String>) -> bool {
    let named = names_in(&view.create.0);
    of.iter().any(|name| *name != view.name && named.contains(&name.to_lowercase()))
}

/// Each after those that it names; where they name each other, as they were.
pub(crate) fn in_order(views: Vec<Program>) -> Vec<Program> {
    let mut left: Vec<(Program, BTreeSet<String>)> = views
        .into_iter()
        .map(|view| {
            let named = names_in(&view.create.0);
            (view, named)
        })
        .collect();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waiting: Vec<String> = left.iter().map(|(view, _)| view.name.to_lowercase()).collect();
        let ready = |(at, (_, named)): (usize, &(Program, BTreeSet<String>))| {
            let others = waiting.iter().enumerate().filter(|(other, _)| *other != at);
            !others.into_iter().any(|(_, name)| named.contains(name))
        };
        let at = left.iter().enumerate().position(ready).unwrap_or_default();
        ordered.push(left.remove(at).0);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::ProgramKind;
    use crate::text::Text;

    fn view(name: &str, statement: &str) -> Program {
        Program {
            kind: ProgramKind::View,
            name: name.to_owned(),
            create: Text(statement.as_bytes().to_vec()),
            sql_mode: String::new(),
            charset: "utf8mb4".to_owned(),
            collation: "utf8mb4_bin".to_owned(),
            database_collation: String::new(),
            time_zone: None,
            comment: None,
            broken: false,
        }
    }

    #[test]
    fn each_view_comes_after_those_it_reads_from() {
        let views = vec![
            view("a", "CREATE VIEW `a` AS select `app`.`C`.`x` from `app`.`C`"),
            view("b", "CREATE VIEW `b` AS select 'a' from `t`"),
            view("C", "CREATE VIEW `C` AS select 1 from `b`"),
            view("x", "CREATE VIEW `x` AS select `y`.`i` from `y`"),
            view("y", "CREATE VIEW `y` AS select 1 AS `x`"),
        ];
        let order: Vec<String> = in_order(views).into_iter().map(|view| view.name).collect();
        assert_eq!(order[..3], ["b", "C", "a"]);
        assert_eq!(order.len(), 5);
    }

    #[test]
    fn what_a_view_names_is_seen_and_strings_are_not() {
        let of: BTreeSet<String> = ["Log".to_owned()].into();
        assert!(names_any(&view("v", "select `app`.`log`.`x` from `app`.`log`"), &of));
        assert!(!names_any(&view("v", "select 'log' from `logs`"), &of));
    }
}
