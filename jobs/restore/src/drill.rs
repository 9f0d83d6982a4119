//! The drill: a restore that nobody is to use, done to know that it can be done.
//!
//! Owns choosing the backup, going a restore's own road with the content proven, dropping the database, and recording what was
//! found out as evidence. Promises that nothing is published, that the database is dropped however the drill ends (what a
//! killed one leaves, the next one drops), and that bad evidence is about the backup alone: a server that went away, a missing
//! extension or a signal say nothing about it and leave none.

use crate::args::{DrillArgs, Proof};
use crate::backup::Backup;
use crate::drill_report::{self, Report, Stages};
use crate::road::{self, Proven, Road, Watch};
use databases::Address;
use engine::{Filter, TargetOptions};
use jobkit::{Exit, Failure, Kit, Secret};
use repository::{Evidence, EvidenceKind, Manifest, Outcome, Repository, Selector};
use std::time::Instant;
use ulid::Ulid;

/// Restores one backup into a scratch database, proves it, drops it, and records that.
///
/// # Errors
/// As a restore's; [`Exit::Data`] when the backup is damaged or is not what came back, which is recorded as well.
pub async fn drill(args: DrillArgs, kit: Kit) -> Result<(), Failure> {
    let begun = Instant::now();
    let address = Address::parse(args.target.expose(), args.target_password.as_ref().map(Secret::expose))?;
    let selector = args.from.parse::<Selector>().map_err(Failure::from)?;
    kit.subject.source(&selector.source);
    if args.random && selector.backup.is_some() {
        return Err(Failure::new(Exit::Usage, "--random is given together with a certain backup")
            .hint("name the source alone, or leave --random out"));
    }
    kit.progress.stage("open the repository");
    let repository = args.repo.open().await?;
    let manifest = if args.random { any(&repository, &selector).await? } else { repository.find(&selector).await? };
    let header = manifest.header.clone();
    let evidence = |outcome| Evidence {
        source: header.source.clone(),
        backup: header.backup,
        kind: EvidenceKind::Drill,
        at: header.started,
        outcome,
        share: Evidence::ALL.to_owned(),
        program: concat!("longshore ", env!("CARGO_PKG_VERSION")).to_owned(),
        seconds: 0,
        server_version: None,
        rows: None,
        proof: Some("content".to_owned()),
    };
    match attempt(&args, &kit, &repository, address, manifest).await {
        Ok((mut report, dropped)) => {
            kit.progress.stage("record it");
            let (rows, version) = (Some(report.rows), Some(report.server_version.clone()));
            let evidence = Evidence { rows, server_version: version, ..evidence(Outcome::Good) };
            match record(&repository, evidence, begun).await {
                Ok(key) => report.evidence = Some(key),
                Err(why) => report.notes.push(format!(
                    "this is not recorded in the repository, and `longshore list` will not show it: {why}"
                )),
            }
            // The backup is proven all the same; what is left on the server is a failure of its own.
            dropped.map_err(|failure| {
                failure.context(format!("{} is proven, and its scratch database is still there", report.name()))
            })?;
            kit.progress.finish();
            report.seconds = begun.elapsed().as_secs_f64();
            kit.printer.print(&report, drill_report::text)
        }
        Err(failure) => {
            if failure.exit() == Exit::Data {
                // Said by the log alone: the failure itself matters more than where it is recorded.
                match record(&repository, evidence(Outcome::Bad), begun).await {
                    Ok(key) => tracing::info!("the failed drill is recorded as {key}"),
                    Err(why) => tracing::warn!("the failed drill could not be recorded in the repository: {why}"),
                }
            }
            Err(failure)
        }
    }
}

/// Any full backup of a source, each as likely as the other.
async fn any(repository: &Repository, selector: &Selector) -> Result<Manifest, Failure> {
    let mut ids = repository.backup_ids(Some(&selector.source)).await?;
    while !ids.is_empty() {
        let at = usize::try_from(Ulid::generate().random() % ids.len() as u128).unwrap_or_default();
        let (source, backup) = ids.swap_remove(at);
        match repository.manifest(&source, backup).await? {
            Some(manifest) if manifest.header.scope == "full" => return Ok(manifest),
            _ => {}
        }
    }
    // Says what there is instead.
    Ok(repository.find(selector).await?)
}

/// All of it but the record: the report, and how dropping the database went.
async fn attempt(
    args: &DrillArgs,
    kit: &Kit,
    repository: &Repository,
    address: Address,
    manifest: Manifest,
) -> Result<(Report, Result<(), Failure>), Failure> {
    let mut watch = Watch::start();
    let backup = Backup::read(repository, manifest).await?;
    kit.progress.stage("check the server");
    let server = address.server();
    let mut target = address.open_target(&backup.documents, options(args, &backup)).await?;
    let mut stages = Stages { check: watch.lap(), ..Stages::default() };
    let road = Road { kit, repository, backup: &backup, proof: Proof::Content, loaders: usize::from(args.workers) };
    let whole_way = async {
        let proven = road.go(target.as_mut()).await?;
        let version = target.server_version().await?;
        Ok((proven, version))
    };
    let (proven, version) = match road::until_stopped(kit, "the drill was interrupted", whole_way).await {
        Ok(done) => done,
        Err(failure) => return Err(road::discard_after(target.as_mut(), failure, "drill on this server").await),
    };
    kit.progress.stage("drop the scratch database");
    watch.lap();
    let dropped = road::discard(target.as_mut()).await;
    let Proven { verdicts, notes, seconds } = proven;
    stages.drop = watch.lap();
    stages.road = seconds;
    Ok((Report::new(&backup.manifest, server, version, &verdicts, stages, notes), dropped))
}

/// Owners are left out: a server for drills has none of production's roles, and rows are what is proven.
fn options(args: &DrillArgs, backup: &Backup) -> TargetOptions {
    TargetOptions {
        mode: Some(engine::Mode::Drill),
        part: Filter::default(),
        rename: None,
        before_publish: Vec::new(),
        drop_old: false,
        atomic: false,
        target_is_a_clone: false,
        source_server: backup.source_server(),
        workers: usize::from(args.workers),
        no_owner: true,
        definers: Vec::new(),
        role: None,
        create_missing_roles: false,
        run: road::new_run(),
        tools: args.tools.clone(),
    }
}

/// Writes down what was found out; the key, or why it could not be written.
async fn record(repository: &Repository, evidence: Evidence, begun: Instant) -> Result<String, String> {
    let put = async {
        let at = repository.now().await?;
        repository.put_evidence(&Evidence { at, seconds: begun.elapsed().as_secs(), ..evidence }).await
    };
    put.await.map_err(|error| Failure::from(error).what())
}
