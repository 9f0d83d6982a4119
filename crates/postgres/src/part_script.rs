//! The vendor's script for a part, as a session here can send it.
//!
//! Owns taking away what is not SQL, and settings that not every server has or that this session must not take: it speaks
//! UTF-8. Promises that statements stay as they are, byte for byte: line ends, too, are content of functions and defaults.

/// The vendor's script without what is not SQL, and without settings that not every server has or that this session must
/// not take: it speaks UTF-8.
pub(crate) fn plain(script: &str) -> String {
    let foreign = |line: &&str| {
        ["\\restrict ", "\\unrestrict ", "SET client_encoding = ", "SET transaction_timeout = ", "SET lock_timeout = "]
            .iter()
            .any(|beginning| line.starts_with(beginning))
    };
    // Only before the first statement of its own and after the last: a function's body is never touched.
    // Lines end with a line feed alone: a carriage return before it is content.
    let lines: Vec<&str> = script.split('\n').collect();
    let head = lines.iter().position(|line| line.starts_with("-- Name: ")).unwrap_or(lines.len());
    let mut kept: Vec<&str> = lines[..head].iter().copied().filter(|line| !foreign(line)).collect();
    let tail = lines.iter().rposition(|line| line.starts_with("\\unrestrict ")).filter(|at| *at >= head);
    kept.extend(&lines[head..tail.unwrap_or(lines.len())]);
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_loses_what_is_not_sql_at_its_ends_and_nothing_else() {
        let script = "--\n\\restrict abc\nSET client_encoding = 'LATIN1';\nSET transaction_timeout = 0;\nSET row_security = off;\n--\n\
             -- Name: f; Type: FUNCTION\nCREATE FUNCTION f() AS '\r\nSET client_encoding = 1\n\\restrict x\r\n';\n--\n\\unrestrict abc\n";
        assert_eq!(
            plain(script),
            "--\nSET row_security = off;\n--\n-- Name: f; Type: FUNCTION\nCREATE FUNCTION f() AS '\r\nSET client_encoding = 1\n\\restrict x\r\n';\n--"
        );
    }
}
