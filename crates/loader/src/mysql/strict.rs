//! Text that a column's character set does not have, or has no room for.
//!
//! Owns the one pass over staging that asks the server, which alone knows its character sets. Promises that a character which would come back as another, or as a question mark, is refused,
//! and so is text that is longer there than its column in bytes, blanks at its end included: those are cut with no more than a note. Columns of `utf8mb4` that are long enough for all text of the drop cost
//! nothing.

use mysql::{StatementError, StatementSession, ident};

use super::staging::{Staged, column};
use super::table::Column;
use crate::BadRow;
use crate::blamed::{MOST, at_place};
use crate::record::Record;

/// A condition that holds for cells which are not taken.
struct Rule {
    /// Which of the drop's columns.
    at: usize,
    sql: String,
    why: &'static str,
}

/// Staged rows that would not be in the table as they are written, the first so many and one more.
pub(super) async fn find(
    session: &mut StatementSession,
    staged: &Staged,
    record: &Record,
) -> Result<Vec<BadRow>, StatementError> {
    let columns = &staged.table.columns;
    let rules: Vec<Rule> = columns.iter().enumerate().flat_map(|(at, is)| rules(at, is)).collect();
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let each = rules.iter().enumerate().map(|(number, rule)| {
        format!(
            "(SELECT s.f, s.l, s.n, {number} FROM {} s WHERE {} ORDER BY s.n LIMIT {})",
            staged.sql,
            rule.sql,
            MOST + 1
        )
    });
    let each: Vec<String> = each.collect();
    let query = format!("{} ORDER BY 3, 4 LIMIT {}", each.join(" UNION ALL "), MOST + 1);
    let rows = session.rows("look for values that would change", &query).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let number = row[3].as_ref().and_then(|number| number.parse::<usize>().ok());
            let rule = number.and_then(|number| rules.get(number));
            let why = rule.map(|rule| rule.why.to_owned()).unwrap_or_default();
            let column = rule.and_then(|rule| columns.get(rule.at)).map(|column| column.name.clone());
            BadRow { column, ..at_place(record, row[0].as_deref(), row[1].as_deref(), why) }
        })
        .collect())
}

/// Nothing of a drop is longer: it is the protocol's largest packet, in bytes.
const LONGEST: u64 = 1 << 30;

/// The rules of one column; most have none.
fn rules(at: usize, is: &Column) -> Vec<Rule> {
    let cell = format!("s.{}", column(at));
    let mut rules = Vec::new();
    let there = match &is.charset {
        Some(charset) => {
            let there = format!("CONVERT({cell} USING {})", ident(charset));
            let back = format!("CONVERT({there} USING utf8mb4)");
            // As bytes: letters may be alike in one language and not in another, and blanks at the end never count.
            let sql = format!("CAST({back} AS BINARY) <> CAST({cell} AS BINARY)");
            rules.push(Rule { at, sql, why: "it holds a character that the column's character set does not have" });
            there
        }
        None => cell,
    };
    if let Some(octets) = is.octets.filter(|octets| *octets < LONGEST) {
        rules.push(Rule { at, sql: format!("LENGTH({there}) > {octets}"), why: "too long for its column" });
    }
    rules
}
