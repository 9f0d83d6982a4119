//! Owns where `mongodump` and `mongorestore` are on a machine, and how a test runs them on a server.
//!
//! Promises that they see a server's password only in a file that is theirs alone, and that a path means the same to a tool on this machine and to one in
//! a container. Refuses to make them: a machine has them or says that it does not.

use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{MongoServer, PASSWORD};
use crate::docker::{self, Images};

/// What stands for the folder in a tool's arguments.
pub const FOLDER: &str = "{folder}";
/// Where a folder is in a container.
const MOUNTED: &str = "/export";

/// The vendor's tools.
#[derive(Debug, Clone)]
pub enum DumpTools {
    /// On this machine, in this folder.
    Here(PathBuf),
    /// In the official image of the server, whose name and tag these are.
    Image(String),
}

impl DumpTools {
    /// Those in the folder that `LONGSHORE_TEST_MONGO_TOOLS` names, else on the path, else in the server's official image where images come from a registry.
    ///
    /// # Errors
    /// Why there are none, and what would help.
    pub fn find() -> Result<DumpTools, String> {
        let named = std::env::var_os("LONGSHORE_TEST_MONGO_TOOLS").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let has = |folder: &PathBuf| ["mongodump", "mongorestore"].iter().all(|tool| folder.join(tool).is_file());
        if let Some(folder) = named.into_iter().chain(std::env::split_paths(&path)).find(has) {
            return Ok(DumpTools::Here(folder));
        }
        if Images::chosen() == Images::Registry {
            return Ok(DumpTools::Image("mongo:6.0".to_owned()));
        }
        Err("there are no mongodump and mongorestore here; install MongoDB's database tools, or name their folder in \
             LONGSHORE_TEST_MONGO_TOOLS"
            .to_owned())
    }

    /// Runs a tool as `root` of the server, and gives what it said. `{folder}` in an argument stands for the folder, which
    /// it may write into.
    ///
    /// # Errors
    /// What it said, when it failed.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn run(&self, server: &MongoServer, tool: &str, folder: &Path, arguments: &[&str]) -> Result<String, String> {
        let (seen, port) = match self {
            DumpTools::Here(_) => (folder.display().to_string(), server.port()),
            DumpTools::Image(_) => (MOUNTED.to_owned(), 27017),
        };
        let settings = folder.join("server.yaml");
        let url = format!("mongodb://root:{PASSWORD}@127.0.0.1:{port}/?authSource=admin&directConnection=true");
        let written = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&settings);
        let written =
            written.and_then(|mut file| std::io::Write::write_all(&mut file, format!("uri: \"{url}\"\n").as_bytes()));
        written.unwrap_or_else(|error| panic!("write {}: {error}", settings.display()));
        let arguments = arguments.iter().map(|argument| argument.replace(FOLDER, &seen));
        let arguments: Vec<String> = [format!("--config={seen}/server.yaml")].into_iter().chain(arguments).collect();
        match self {
            DumpTools::Here(tools) => said(Command::new(tools.join(tool)).args(&arguments)),
            DumpTools::Image(image) => {
                let owner =
                    std::fs::metadata(folder).unwrap_or_else(|error| panic!("look at {}: {error}", folder.display()));
                let (user, network) =
                    (format!("{}:{}", owner.uid(), owner.gid()), format!("container:{}", server.container_id));
                let volume = format!("{}:{MOUNTED}", folder.display());
                let run = [
                    "run",
                    "--rm",
                    "--label",
                    docker::LABEL,
                    "--user",
                    &user,
                    "--network",
                    &network,
                    "--volume",
                    &volume,
                ];
                said(Command::new("docker").args(run).args(["--entrypoint", tool, image]).args(&arguments))
            }
        }
    }
}

fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(said) }
}
