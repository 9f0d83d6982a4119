//! `longshore verify --repair-from`: healing damaged backups from a second copy.
//!
//! Owns what happens between two verifications: each hurt backup is replaced by its copy, of which only what is damaged here is read
//! there. Promises that a backup is called repaired only when it was verified whole afterwards, and that one which cannot be
//! healed stays as it is. Takes the permission to delete: a manifest is put anew.

use clap::Args;
use jobkit::{Exit, Failure, Kit, Opening, Secret};
use repository::{
    BackupId, Copied, CopyOptions, Error, Evidence, EvidenceKind, Outcome, Repository, Share, SourceName,
};
use std::time::Instant;

/// Where the second copy is, and how to get in.
#[derive(Debug, Clone, Args)]
pub struct RepairArgs {
    /// Heal damaged backups from this second repository; takes the permission to delete
    #[arg(long, value_name = "URL")]
    repair_from: Option<String>,
    /// S3 access key for it; the usual chain of credentials without it
    #[arg(long, value_name = "KEY")]
    repair_s3_access_key: Option<Secret>,
    /// S3 secret key for it; better given in LONGSHORE_REPAIR_S3_SECRET_KEY_FILE than on the command line
    #[arg(long, value_name = "KEY")]
    repair_s3_secret_key: Option<Secret>,
    /// age identity for it, if it is encrypted
    #[arg(long, value_name = "KEY", help_heading = "Encryption")]
    repair_identity: Option<Secret>,
}

impl RepairArgs {
    /// Opens it, if one was named.
    pub async fn open(&self) -> Result<Option<Repository>, Failure> {
        let Some(url) = &self.repair_from else { return Ok(None) };
        let opening = Opening {
            url,
            s3: [self.repair_s3_access_key.as_ref(), self.repair_s3_secret_key.as_ref()],
            identity: self.repair_identity.as_ref(),
            ..Opening::default()
        };
        let second = opening.repository().await?;
        if !second.can_open() {
            let what = format!("{} is encrypted, and nothing is repaired from what cannot be read", second.location());
            return Err(Failure::new(Exit::Config, what)
                .hint("name the file of its identity in LONGSHORE_REPAIR_IDENTITY_FILE"));
        }
        Ok(Some(second))
    }
}

/// What became of the hurt backups.
#[derive(Debug, Default)]
pub struct Repaired {
    /// `NAME@ID` of those that are whole now.
    pub healed: Vec<String>,
    /// Why the others are not.
    pub not_healed: Vec<String>,
}

/// Replaces each by its copy, and verifies it.
///
/// # Errors
/// The stores', and those of keys. A backup that is damaged in both places, or not there, is no error.
pub async fn heal(
    repository: &Repository,
    second: &Repository,
    hurt: &[(SourceName, BackupId)],
    kit: &Kit,
) -> Result<Repaired, Failure> {
    kit.progress.stage("repair");
    let program = concat!("longshore ", env!("CARGO_PKG_VERSION")).to_owned();
    let options = CopyOptions { compression: 3, program: program.clone(), replace: true };
    let mut repaired = Repaired::default();
    for (source, backup) in hurt {
        let (name, begun) = (format!("{source}@{backup}"), Instant::now());
        let step = |plain: u64| kit.progress.add(0, plain);
        let stop = kit.shutdown.token().cancelled();
        match second.copy_backup(repository, source, *backup, &options, &step, stop).await {
            Ok(Copied::Made(_)) => {}
            Ok(Copied::Nothing) => {
                repaired.not_healed.push(format!("{name} was revoked in {} before it was complete", second.location()));
                continue;
            }
            Ok(Copied::Stopped) => {
                let what = format!("stopped while {name} was repaired; it is as it was");
                return Err(Failure::new(Exit::Interrupted, what).hint("start it again"));
            }
            Err(
                error @ (Error::NotFound { .. } | Error::Damaged { .. } | Error::Missing { .. } | Error::Signer { .. }),
            ) => {
                repaired.not_healed.push(format!("{name} cannot be repaired from {}: {error}", second.location()));
                continue;
            }
            Err(other) => return Err(Failure::from(other).context(format!("repair {name}"))),
        }
        let one = [(source.clone(), *backup)];
        let found = repository.verify(&one, Share::ALL, &|_| {}).await?;
        if found.damaged > 0 || found.backups == 0 {
            repaired.not_healed.push(format!("{name} is still damaged"));
            continue;
        }
        let evidence = Evidence {
            source: source.clone(),
            backup: *backup,
            kind: EvidenceKind::Verify,
            at: repository.now().await?,
            outcome: Outcome::Good,
            share: Evidence::ALL.to_owned(),
            program: program.clone(),
            seconds: begun.elapsed().as_secs(),
            server_version: None,
            rows: None,
            proof: None,
        };
        if let Err(error) = repository.put_all_evidence(&[evidence]).await {
            tracing::warn!(%error, "that it is whole again could not be recorded");
        }
        repaired.healed.push(name);
    }
    Ok(repaired)
}
