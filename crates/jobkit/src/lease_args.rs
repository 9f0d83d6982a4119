//! The options that say where a lease is kept, and acquiring it.
//!
//! Owns `--lease` and its company, which every job that must not run beside another has. Promises that a run which is refused says who is at work and
//! since when (exit 75), and that without the lease's server nothing runs (exit 69). What a lost lease means is the job's own.

use std::time::Duration;

use clap::Args;
use lease::{Access, Claim, Held, Job, RunId, Terms};

use crate::failure::Failure;
use crate::limits;
use crate::secret::Secret;

/// Where a lease is kept, and who asks for it.
#[derive(Debug, Clone, Args)]
pub struct LeaseArgs {
    /// Where the lease is kept: file:///DIRECTORY, redis://HOST, postgresql://USER@HOST/DATABASE, s3://BUCKET/PREFIX [default: of a load, a directory of this machine; of a restore, none]
    #[arg(long, value_name = "URL", help_heading = "Lease")]
    pub lease: Option<Secret>,
    /// Password for it; better given in LONGSHORE_LEASE_PASSWORD_FILE than on the command line
    #[arg(long, value_name = "PASSWORD", help_heading = "Lease")]
    pub lease_password: Option<Secret>,
    /// How long a run that died keeps others away
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = limits::duration, help_heading = "Lease")]
    pub lease_ttl: Duration,
    /// Who this is, for those who are refused meanwhile
    #[arg(long, value_name = "TEXT", help_heading = "Lease")]
    pub holder: Option<String>,
}

impl LeaseArgs {
    /// Acquires the lease of a job at `--lease`, else at what `otherwise` says.
    ///
    /// # Errors
    /// [`Exit::Busy`](crate::Exit::Busy) with who holds it; [`Exit::Unavailable`](crate::Exit::Unavailable) without its server; what else
    /// [`lease::open`] and [`lease::Lease::acquire`] say.
    pub async fn acquire(
        &self,
        otherwise: impl FnOnce() -> Result<String, Failure>,
        job: Job,
        run: RunId,
    ) -> Result<Held, Failure> {
        let access = Access { password: self.lease_password.as_ref().map(Secret::expose), s3: None };
        let terms = Terms::new(self.lease_ttl)?;
        let lease = match &self.lease {
            Some(url) => lease::open(url.expose(), access, terms).await?,
            None => lease::open(&otherwise()?, access, terms).await?,
        };
        for note in lease.examine().await? {
            tracing::warn!(lease = lease.location(), "{note}");
        }
        let claim = Claim::new(job.clone(), run);
        let claim = self.holder.as_deref().map_or(claim.clone(), |name| claim.clone().named(name));
        let held = lease.acquire(&claim).await?;
        tracing::info!(%job, %run, epoch = %held.epoch(), "acquired the lease");
        Ok(held)
    }
}
