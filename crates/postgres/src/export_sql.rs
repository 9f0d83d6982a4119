//! The vendor's statements as text.
//!
//! Owns running `pg_restore` with a file instead of a server for its target. Promises the same statements, in the same order, that it
//! would send: owners, grants, comments and encoding included, without publications and subscriptions. Refuses to write
//! schema by itself; the one line that is taken out is a setting that the server which the backup came from does not know.

use crate::archive::private_folder;
use crate::failure::from_tool;
use crate::tools::Tool;
use engine::{Error, Kind};

/// What `pg_restore` 17 and newer begin with, whatever the server.
const NOT_KNOWN_BEFORE_17: &[u8] = b"SET transaction_timeout = 0;\n";
/// Where that may stand, at most: before the first entry.
const HEAD: usize = 4096;

/// An archive that statements can be had of.
pub(crate) struct Statements {
    tool: Tool,
    folder: tempfile::TempDir,
    server_major: u32,
    no_owner: bool,
}

impl Statements {
    /// Puts the archive where the tool finds it, in a folder that goes with this.
    pub async fn open(tool: Tool, archive: &[u8], server_major: u32, no_owner: bool) -> Result<Self, Error> {
        let folder = private_folder()?;
        let written = tokio::fs::write(folder.path().join("schema"), archive).await;
        written.map_err(|e| Error::new(Kind::Config, format!("write the schema to a temporary folder: {e}")))?;
        Ok(Self { tool, folder, server_major, no_owner })
    }

    /// The tool that writes them.
    pub fn tool(&self) -> &Tool {
        &self.tool
    }

    /// The statements of these entries, given in the archive's order; nothing for none.
    pub async fn of(&mut self, entries: &[i32]) -> Result<Vec<u8>, Error> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let (list, out) = (self.folder.path().join("entries"), self.folder.path().join("statements"));
        let lines: String = entries.iter().map(|id| format!("{id};\n")).collect();
        let failed = |e| Error::new(Kind::Config, format!("write statements to a temporary folder: {e}"));
        tokio::fs::write(&list, lines).await.map_err(failed)?;
        let mut command = process::Command::new(&self.tool.program)
            .args(["--no-publications", "--no-subscriptions", "--file"])
            .arg(&out)
            .arg("--use-list")
            .arg(&list);
        if self.no_owner {
            command = command.args(["--no-owner", "--no-acl"]);
        }
        let what = "write the schema as statements";
        let mut child =
            command.arg(self.folder.path().join("schema")).spawn().map_err(|error| from_tool(what, error))?;
        child.wait().await.map_err(|error| from_tool(what, error))?;
        let statements = tokio::fs::read(&out).await.map_err(failed)?;
        Ok(if self.server_major < 17 { without(statements, NOT_KNOWN_BEFORE_17) } else { statements })
    }
}

/// The text without that line, if it is in its head.
fn without(mut text: Vec<u8>, line: &[u8]) -> Vec<u8> {
    let head = text.get(..HEAD.min(text.len())).unwrap_or_default();
    if let Some(at) = head.windows(line.len()).position(|window| window == line) {
        text.drain(at..at + line.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_head_is_looked_at() {
        let head = [b"SET lock_timeout = 0;\n", NOT_KNOWN_BEFORE_17, b"SELECT 1;\n"].concat();
        assert_eq!(without(head, NOT_KNOWN_BEFORE_17), b"SET lock_timeout = 0;\nSELECT 1;\n");
        let body = [vec![b'\n'; HEAD], NOT_KNOWN_BEFORE_17.to_vec()].concat();
        assert_eq!(without(body.clone(), NOT_KNOWN_BEFORE_17), body);
    }
}
