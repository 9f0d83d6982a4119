//! Which program, and what it is told.
//!
//! Owns the words of its environment. Promises that of ours it gets those named here and no other: each `LONGSHORE_` variable of the caller may be a
//! secret, or a URL with one. Refuses what is no executable file before anything is asked of anybody.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::output::{Output, shown};
use crate::Error;
use crate::private::{has_folder, make_private};
use crate::target::Fence;

/// What the names of our own variables begin with.
const OURS: &str = "LONGSHORE_";
/// What the file is for, in errors about it.
const PURPOSE: &str = "what the program writes";

/// A program that loads drops.
#[derive(Debug)]
pub struct Program {
    /// As it was asked for, fit to be shown.
    name: String,
    file: String,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    keep: Option<PathBuf>,
}

/// What it is told of the load.
pub(crate) struct Told<'a> {
    /// The drop's directory, absolute.
    pub folder: &'a Path,
    /// The drop's identity.
    pub drop: &'a str,
    /// Job, number and run.
    pub fence: &'a Fence,
}

impl Program {
    /// The program, by its path or its name on `PATH`, with its arguments and the caller's environment.
    ///
    /// # Errors
    /// [`Error::Unstartable`] when there is no such executable file.
    pub fn find(
        program: &OsStr,
        args: impl IntoIterator<Item = OsString>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Program, Error> {
        let name = shown(program.as_encoded_bytes());
        let unstartable = |why: &str| Error::Unstartable { program: name.clone(), why: why.to_owned() };
        let file = program.to_str().ok_or_else(|| unstartable("its name is not UTF-8"))?.to_owned();
        if process::find(&file).is_none() {
            return Err(unstartable("there is no executable file of this name"));
        }
        let theirs = |name: &OsString| !name.as_encoded_bytes().starts_with(OURS.as_bytes());
        let env = env.into_iter().filter(|(name, _)| theirs(name)).collect();
        Ok(Program { name, file, args: args.into_iter().collect(), env, keep: None })
    }

    /// Keeps what it writes in a new file, which is made when it is started.
    ///
    /// # Errors
    /// [`Error::Drop`] when there is no directory for it.
    pub fn keep(mut self, path: PathBuf) -> Result<Program, Error> {
        has_folder(&path, PURPOSE)?;
        self.keep = Some(path);
        Ok(self)
    }

    /// As it was asked for, fit to be shown. Holds no argument, which may be a secret.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where what it writes is to be found, for people.
    pub(super) fn kept(&self) -> String {
        match &self.keep {
            Some(path) => format!("what it wrote is in {}", path.display()),
            None => "what it wrote was not kept (--output-file does that), and is in this run's log at most".to_owned(),
        }
    }

    /// Starts it.
    pub(super) fn start(&self, told: &Told<'_>) -> Result<process::Child, Error> {
        let file = self.keep.as_deref().map(|path| make_private(path, PURPOSE)).transpose()?;
        let mut output = Output::new(Path::new(&self.name), file);
        let command = process::Command::new(&self.file)
            .args(self.args.iter().cloned())
            .whole_env(self.env.iter().cloned())
            .env("LONGSHORE_LOAD_DROP", told.folder)
            .env("LONGSHORE_LOAD_DROP_ID", told.drop)
            .env("LONGSHORE_LOAD_JOB", told.fence.job.as_str())
            .env("LONGSHORE_LOAD_EPOCH", told.fence.epoch.to_string())
            .env("LONGSHORE_LOAD_RUN", told.fence.run.to_string())
            .on_output(move |stream, piece| output.take(stream, piece));
        command.spawn().map_err(|error| {
            self.take_back();
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Error::Unstartable { program: self.name.clone(), why }
        })
    }

    /// Removes the file of a program that was not started.
    fn take_back(&self) {
        let Some(path) = &self.keep else { return };
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(%error, path = %path.display(), "could not remove the empty file for what the program writes");
        }
    }
}
