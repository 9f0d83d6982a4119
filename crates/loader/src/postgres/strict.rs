//! What text is a value of a column, where the server would take more than that and change it without a word.
//!
//! Owns these rules and the one pass over staging that holds rows against them. Promises that a date or time which is taken is written year first,
//! in full and in figures, with no offset or time of day that its column would lose; and that no value is cut or rounded to the length or scale
//! of its column. Refuses nothing that a cast refuses by itself: those errors are the server's, and `blame` finds their rows. `real`, `double
//! precision` and `money` keep what they can, as everywhere.

use postgres::{StatementError, StatementSession};

use super::staging::{Staged, column};
use super::table::Column;
use crate::BadRow;
use crate::blamed::{MOST, at_place};
use crate::record::Record;

/// A day. Classes and no backslashes, for those mean something else where `standard_conforming_strings` is off.
const DAY: &str = "[0-9]{4,}-[0-9]{2}-[0-9]{2}";
/// A time of day. Second 60 would be another minute; zeros behind the sixth decimal change nothing.
const CLOCK: &str = "[0-9]{2}:[0-9]{2}(:[0-5][0-9]([.][0-9]{1,6}0*)?)?";
const ZONE: &str = " ?([Zz]|UTC|[+-][0-9]{2}(:?[0-9]{2}(:[0-9]{2})?)?)";
/// What a column without a zone may be told of one.
const UTC: &str = " ?([Zz]|UTC|[+]00(:?00)?)";

/// Types whose values a cast to a length or scale cuts or rounds silently.
const FITTED: [&str; 10] = [
    "numeric",
    "character varying",
    "bpchar",
    "\"bit\"",
    "bit varying",
    "interval",
    "timestamp without time zone",
    "timestamp with time zone",
    "time without time zone",
    "time with time zone",
];

/// A condition that holds for cells which are not taken.
struct Rule {
    /// Which of the drop's columns.
    at: usize,
    sql: String,
    why: String,
}

/// Staged rows that would not be in the table as they are written, the first so many and one more.
pub(super) async fn find(
    session: &StatementSession,
    staged: &Staged,
    record: &Record,
) -> Result<Vec<BadRow>, StatementError> {
    let columns = &staged.table.columns;
    let rules: Vec<Rule> = columns.iter().enumerate().flat_map(|(at, is)| rules(at, is)).collect();
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<_> = rules.iter().enumerate().map(|(number, rule)| format!("({number}, {})", rule.sql)).collect();
    let query = format!(
        "SELECT s.f::text, s.l::text, v.rule::text FROM {} s CROSS JOIN LATERAL (VALUES {}) AS v(rule, bad) \
         WHERE v.bad ORDER BY s.n, v.rule LIMIT {}",
        staged.sql,
        values.join(", "),
        MOST + 1
    );
    let rows = session.rows("look for values that would change", &query, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let number = row[2].as_ref().and_then(|number| number.parse::<usize>().ok());
            let rule = number.and_then(|number| rules.get(number));
            let why = rule.map(|rule| rule.why.clone()).unwrap_or_default();
            let column = rule.and_then(|rule| columns.get(rule.at)).map(|column| column.name.clone());
            BadRow { column, ..at_place(record, row[0].as_deref(), row[1].as_deref(), why) }
        })
        .collect())
}

/// The rules of one column; most have none.
fn rules(at: usize, is: &Column) -> Vec<Rule> {
    let (kind, many) = is.cast.strip_suffix("[]").map_or((is.cast.as_str(), false), |kind| (kind, true));
    let cell = format!("s.{}", column(at));
    let mut rules = Vec::new();
    if let Some((form, why)) = form(kind) {
        let sql = match many {
            true => format!(
                "EXISTS (SELECT FROM pg_catalog.unnest(({cell})::text[]) AS e(value) WHERE e.value !~ '^({form})$')"
            ),
            false => format!("{cell} !~ '^({form})$'"),
        };
        rules.push(Rule { at, sql, why: why.to_owned() });
    }
    let declared = &is.declared;
    let why = || format!("it does not fit {declared} without being cut or rounded");
    if kind == "interval" {
        // Of all of its text, and so of arrays, too: more than six decimals are rounded by every column.
        rules.push(Rule { at, sql: format!("{cell} ~ '[.,][0-9]{{6}}[0-9]*[1-9]'"), why: why() });
    }
    if FITTED.contains(&kind) && is.cast != *declared {
        let value = format!("({cell})::{}", is.cast);
        rules.push(Rule { at, sql: format!("({value}) <> (({value})::{declared})"), why: why() });
    }
    if ["name", "\"char\""].contains(&kind) {
        // Both cut what is too long, even without a length in their names.
        let text = if many { "text[]" } else { "text" };
        rules.push(Rule { at, sql: format!("({cell})::{text} <> (({cell})::{})::{text}", is.cast), why: why() });
    }
    rules
}

/// How the values of a type of dates or times are written, and what is said of one that is not. Infinity and years before Christ are as the vendor writes
/// them.
fn form(kind: &str) -> Option<(String, &'static str)> {
    let date = || format!("({DAY}( BC)?|-?infinity)");
    let moment = |zone: &str| format!("({DAY}([Tt ]{CLOCK}({zone})?)?( BC)?|-?infinity)");
    let range = |value: String| format!("(empty|[[(](\"?{value}\"?)?,(\"?{value}\"?)?[])])");
    let ranges = |range: String| format!("[{{]({range}(, ?{range})*)?[}}]");
    let form = match kind {
        "date" => date(),
        "timestamp without time zone" => moment(UTC),
        "timestamp with time zone" => moment(ZONE),
        "time without time zone" => CLOCK.to_owned(),
        "time with time zone" => format!("{CLOCK}({ZONE})?"),
        "daterange" => range(date()),
        "tsrange" => range(moment(UTC)),
        "tstzrange" => range(moment(ZONE)),
        "datemultirange" => ranges(range(date())),
        "tsmultirange" => ranges(range(moment(UTC))),
        "tstzmultirange" => ranges(range(moment(ZONE))),
        _ => return None,
    };
    let why = match kind {
        "date" => "not a valid date: it is written as 2026-11-23, and nothing else",
        "timestamp without time zone" => {
            "not a valid timestamp: it is written as 2026-11-23 10:00:00; an offset would be lost"
        }
        "timestamp with time zone" => "not a valid timestamp: it is written as 2026-11-23 10:00:00+02:00",
        "time without time zone" => "not a valid time: it is written as 10:00:00; an offset or a day would be lost",
        "time with time zone" => "not a valid time: it is written as 10:00:00+02:00",
        _ => "not a valid range: its ends are written as 2026-11-23 or 2026-11-23 10:00:00",
    };
    Some((form, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(declared: &str, cast: &str) -> Vec<String> {
        let (declared, cast) = (declared.to_owned(), cast.to_owned());
        let is = Column { name: "c".to_owned(), declared, cast, not_null: false };
        rules(3, &is).into_iter().map(|rule| rule.sql).collect()
    }

    #[test]
    fn only_types_that_change_values_have_rules() {
        for free in ["text", "integer", "double precision", "character varying", "numeric", "jsonb", "text[]"] {
            assert!(of(free, free).is_empty(), "{free}");
        }
        assert_eq!(of("numeric(6,2)", "numeric"), ["((s.c3)::numeric) <> (((s.c3)::numeric)::numeric(6,2))"]);
        // What may stand there, and what it may be rounded to.
        assert_eq!(of("timestamp(0) without time zone", "timestamp without time zone").len(), 2);
        assert_eq!(of("date[]", "date[]").len(), 1);
        assert_eq!(of("name[]", "name[]"), ["(s.c3)::text[] <> ((s.c3)::name[])::text[]"]);
    }

    #[test]
    fn no_rule_has_what_a_servers_setting_could_read_otherwise() {
        for kind in ["date", "timestamp with time zone", "time without time zone", "tsmultirange", "daterange[]"] {
            assert!(of(kind, kind).iter().all(|sql| !sql.contains('\\')), "{kind}");
        }
    }
}
