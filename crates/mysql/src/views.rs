//! Views: which of them name what.
//!
//! Owns reading a statement for the names in it: the server writes the schema's name before each of them. Promises an order in which each view comes after those that it reads from, and that no view which
//! reads from something is overlooked. Refuses to understand SQL.

use crate::catalog::Program;
use crate::quote::{name_in, next_token};
use std::collections::BTreeSet;

/// What stands after the schema's name and a dot, in lower case; strings are no names.
fn names_in(statement: &[u8], schema: &str) -> BTreeSet<String> {
    let (mut names, mut rest) = (BTreeSet::new(), statement);
    while let Some((token, after)) = next_token(rest) {
        rest = after;
        if !name_in(token).is_some_and(|name| name.eq_ignore_ascii_case(schema.as_bytes())) {
            continue;
        }
        let next = after.strip_prefix(b".").and_then(next_token);
        names.extend(
            next.and_then(|(token, _)| name_in(token)).map(|name| String::from_utf8_lossy(&name).to_lowercase()),
        );
    }
    names
}

/// Whether a view names one of these.
pub(crate) fn names_any(view: &Program, schema: &str, of: &BTreeSet<String>) -> bool {
    let named = names_in(&view.create.0, schema);
    of.iter().any(|name| *name != view.name && named.contains(&name.to_lowercase()))
}

/// Each after those that it names; where they name each other, as they were.
pub(crate) fn in_order(views: Vec<Program>, schema: &str) -> Vec<Program> {
    let mut left: Vec<(Program, BTreeSet<String>)> = views
        .into_iter()
        .map(|view| {
            let named = names_in(&view.create.0, schema);
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
            of_table: None,
            broken: false,
        }
    }

    #[test]
    fn each_view_comes_after_those_it_reads_from() {
        let views = vec![
            view("a", "CREATE VIEW `app`.`a` AS select `app`.`C`.`x` AS `b` from `app`.`C`"),
            view("b", "CREATE VIEW `app`.`b` AS select 'app.a' AS `a` from `app`.`t`"),
            view("C", "CREATE VIEW `app`.`C` AS select 1 from `app`.`b`"),
            view("totals", "CREATE VIEW `app`.`totals` AS select 1 AS `customers` from `app`.`t`"),
            view("customers", "CREATE VIEW `app`.`customers` AS select `app`.`totals`.`customers` from `app`.`totals`"),
        ];
        let order: Vec<String> = in_order(views, "app").into_iter().map(|view| view.name).collect();
        assert_eq!(order, ["b", "C", "a", "totals", "customers"]);
    }

    #[test]
    fn what_a_view_names_is_seen_and_strings_are_not() {
        let of: BTreeSet<String> = ["Log".to_owned()].into();
        assert!(names_any(&view("v", "select `app`.`log`.`x` from `app`.`log`"), "app", &of));
        assert!(!names_any(&view("v", "select 'app.log', `app`.`logs`.`log` from `app`.`logs`"), "app", &of));
    }
}
