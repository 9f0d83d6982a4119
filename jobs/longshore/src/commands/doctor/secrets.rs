//! Files that hold secrets: who can read them?

use super::report::Check;
use jobkit::Vars;
use std::os::unix::fs::PermissionsExt;

const PART: &str = "secrets";
/// A variable whose name has one of these names a file with a secret. Others name files that are written.
const SECRETS: [&str; 11] =
    ["IDENTITY", "PASSWORD", "PASSPHRASE", "SECRET", "KEY", "TOKEN", "SOURCE", "TARGET", "SERVER", "PING", "WEBHOOK"];

/// Looks at every file that a `LONGSHORE_…_FILE` variable names. Nothing of their content is read.
pub fn look(vars: &Vars) -> Check {
    let (mut looked, mut open) = (0, Vec::new());
    for (name, path) in vars.files().filter(|(name, _)| SECRETS.iter().any(|secret| name.contains(secret))) {
        let Ok(meta) = std::fs::metadata(path) else { continue };
        looked += 1;
        let mode = meta.permissions().mode() & 0o777;
        if mode & 0o004 != 0 {
            open.push(format!("{name} names {}, mode {mode:04o}", path.display()));
        }
    }
    match (open.is_empty(), looked) {
        (true, 0) => Check::good(PART, "files", "none is given in a file"),
        (true, _) => Check::good(PART, "files", format!("{looked} looked at, everybody may read none of them")),
        (false, _) => Check::warning(
            PART,
            "files",
            format!("everybody on this machine may read: {}", open.join("; ")),
            "chmod 0400 them; in Kubernetes, defaultMode: 0400 on the secret's volume",
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn only_secrets_that_everybody_may_read_are_named() {
        let folder = std::env::temp_dir().join(format!("longshore-secrets-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, mode: u32| {
            let path = folder.join(name);
            std::fs::write(&path, "canary").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let (private, public) = (file("private", 0o640), file("public", 0o644));
        let vars = |one: &std::path::Path| -> Vars {
            let result = ("LONGSHORE_RESULT_FILE", public.clone());
            [("LONGSHORE_SOURCE_PASSWORD_FILE", one.to_owned()), result].into_iter().collect()
        };
        let text = |check: Check| serde_json::to_string(&check).unwrap();
        let (good, warned) = (text(look(&vars(&private))), text(look(&vars(&public))));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(good.contains("\"good\"") && good.contains("1 looked at"), "{good}");
        assert!(warned.contains("\"warning\"") && warned.contains("mode 0644"), "{warned}");
        assert!(!warned.contains("RESULT") && !warned.contains("canary"), "{warned}");
    }
}
