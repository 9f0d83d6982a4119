//! Functions that look for names along a search path which is not there.
//!
//! Owns recognising them in what the server says, so that an error names the function and what to do about it: dumps and restores
//! work with an empty path, and a function that names tables or functions without their schema finds nothing then. Promises to take
//! nothing but the function's name from the server's context, which may quote rows.

use engine::{Error, Kind};
use tokio_postgres::error::{DbError, SqlState};

/// The kind and the hint of an error that was raised inside of such a function.
pub(crate) fn explain(error: Error, message: &str, context: &str) -> Error {
    let Some(function) = is_about_a_name(message).then(|| function_in(context)).flatten() else { return error };
    let hint = format!(
        "{function} looks for names along a search_path that is not there: at the source, ALTER FUNCTION {function} SET search_path = …, \
         or write the schemas into it; then back up again"
    );
    Error { kind: Kind::Config, ..error }.hint(hint)
}

/// The same for a value that was not accepted because it names what is made later, or not at all.
pub(crate) fn explain_value(error: Error, db: Option<&DbError>) -> Error {
    let missing = [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_OBJECT, SqlState::UNDEFINED_FUNCTION];
    if error.kind == Kind::Config || !db.is_some_and(|db| missing.contains(db.code())) {
        return error;
    }
    Error { kind: Kind::Config, ..error }.hint(
        "a value (of type regclass or its like) names what is made after the rows, such as an index of a partitioned table or of the \
         table itself: store such names as text at the source, then back up again",
    )
}

fn is_about_a_name(message: &str) -> bool {
    ["does not exist", "no schema has been selected"].iter().any(|said| message.contains(said))
}

/// The function in the first line of the server's context that names one: `SQL function "f" during inlining`,
/// `PL/pgSQL function app.f(integer) line 3 at IF`.
fn function_in(context: &str) -> Option<String> {
    context.lines().find_map(|line| {
        let line = line.trim_start().trim_start_matches("CONTEXT:").trim_start();
        if let Some(rest) = line.strip_prefix("SQL function \"") {
            return rest.split_once("\" ").map(|(name, _)| name.to_owned());
        }
        let (language, rest) = line.split_once(" function ")?;
        let signature = rest.split_once(") line ").map(|(start, _)| format!("{start})"))?;
        (!language.contains(' ')).then_some(signature)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_function_is_named_and_nothing_else_of_the_context() {
        let tool = "pg_restore: error: could not execute query: ERROR:  function inner_one(integer) does not exist\n\
             LINE 1: select inner_one(x)\nCONTEXT:  SQL function \"outer_one\" during inlining\nCommand was: CREATE TABLE";
        let error = explain(Error::new(Kind::Internal, "restore"), tool, tool);
        assert_eq!(error.kind, Kind::Config);
        assert!(error.hint.unwrap().contains("ALTER FUNCTION outer_one SET search_path"));
        let context = "PL/pgSQL function app.known(text) line 1 at RETURN\nCOPY uses, line 1: \"Jane Doe\"";
        let error = explain(Error::new(Kind::Changed, "load"), "relation \"t\" does not exist", context);
        let hint = error.hint.unwrap();
        assert!(hint.contains("app.known(text)") && !hint.contains("Jane"), "{hint}");
        for context in
            ["COPY t, line 1, column n: \"function x) line 1\"", "", "PL/pgSQL function inline_code_block line 1"]
        {
            assert_eq!(explain(Error::new(Kind::Changed, "load"), "x does not exist", context).hint, None, "{context}");
        }
        assert_eq!(
            explain(Error::new(Kind::Data, "load"), "division by zero", "SQL function \"f\" during startup").hint,
            None
        );
    }
}
