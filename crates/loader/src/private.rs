//! New files that hold what is nobody else's business: rows that were left out, what a program wrote.
//!
//! Promises that nothing there before is overwritten, that only its owner reads such a file, and that its name outlives a crash of the machine.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use drops::Kind;

/// The directory that a file's name stands in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a file of mode 0600, which must not be there. `purpose` is what it is for: "rows that are left out".
///
/// # Errors
/// [`Kind::Exists`] when it is there, [`Kind::Config`] when its directory is not, [`Kind::Refused`] and [`Kind::Unavailable`] by the system's word.
pub fn make_private(path: &Path, purpose: &str) -> Result<File, drops::Error> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = made.map_err(|error| unmade(path, purpose, error))?;
    let named = File::open(folder(path)).and_then(|folder| folder.sync_all());
    match named {
        Ok(()) => Ok(file),
        Err(error) => {
            // Made a moment ago, and empty: the next run is not to find it in its way.
            drop(std::fs::remove_file(path));
            Err(unmade(path, purpose, error))
        }
    }
}

/// Looks whether there is a directory for such a file.
///
/// # Errors
/// [`Kind::Config`].
pub fn has_folder(path: &Path, purpose: &str) -> Result<(), drops::Error> {
    if folder(path).is_dir() {
        return Ok(());
    }
    let what = format!("{}, the file for {purpose}, has no directory to be in", path.display());
    Err(failed(Kind::Config, what, "make the directory first; nothing was loaded"))
}

fn failed(kind: Kind, what: String, hint: &str) -> drops::Error {
    drops::Error { kind, what, hint: Some(hint.to_owned()), rejects: Vec::new(), source: None }
}

fn unmade(path: &Path, purpose: &str, error: io::Error) -> drops::Error {
    let shown = path.display();
    let failed = match error.kind() {
        io::ErrorKind::AlreadyExists => failed(
            Kind::Exists,
            format!("{shown}, the file for {purpose}, is there already"),
            "move it away, for it may be all that is left of an earlier run, or name another file; nothing was loaded",
        ),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => failed(
            Kind::Config,
            format!("could not make {shown} for {purpose}"),
            "make the directory first; nothing was loaded",
        ),
        io::ErrorKind::PermissionDenied => failed(
            Kind::Refused,
            format!("no permission to make {shown} for {purpose}"),
            "let the user that runs the job write there, or name another file; nothing was loaded",
        ),
        _ => failed(
            Kind::Unavailable,
            format!("could not make {shown} for {purpose}"),
            "look at the disk or the mount that it is on, then start again; nothing was loaded",
        ),
    };
    drops::Error { source: Some(Box::new(error)), ..failed }
}
