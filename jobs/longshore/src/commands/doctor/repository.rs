//! The repository: can it be read, and how old is what is in it?

use super::report::Check;
use jobkit::Failure;
use jobkit::format::{age, bytes};
use repository::{Repository, SourceName};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::Store;

const PART: &str = "repository";
/// Sources whose newest backup is named; how many more there are is said.
const MOST_SOURCES: usize = 100;

/// Looks at the repository and at the newest backup of each source.
pub async fn look(store: Arc<dyn Store>, checks: &mut Vec<Check>) {
    let repository = match Repository::open(store).await {
        Ok(repository) => repository,
        Err(error) => return checks.push(Check::bad(PART, "open", error)),
    };
    let config = repository.config();
    let sizes = config.chunker.sizes;
    checks.push(Check::good(
        PART,
        "open",
        format!(
            "{}, format {}, made {} UTC, chunks of {} to {}",
            config.id,
            config.format,
            config.created.strftime("%Y-%m-%d %H:%M"),
            bytes(sizes.least as u64),
            bytes(sizes.greatest as u64)
        ),
    ));
    if let Err(failure) = newest(&repository, checks).await {
        checks.push(Check::bad(PART, "backups", failure));
    }
}

async fn newest(repository: &Repository, checks: &mut Vec<Check>) -> Result<(), Failure> {
    let ids = repository.backup_ids(None).await?;
    let sources: BTreeSet<SourceName> = ids.into_iter().map(|(source, _)| source).collect();
    if sources.is_empty() {
        let advice = "make one with `longshore backup`";
        checks.push(Check::warning(PART, "backups", "there is no backup yet", advice));
        return Ok(());
    }
    let now = repository.now().await?;
    for source in sources.iter().take(MOST_SOURCES) {
        let name = format!("newest of {source}");
        checks.push(match repository.latest(source).await {
            Ok(Some(newest)) => {
                let header = &newest.header;
                Check::good(
                    PART,
                    name,
                    format!("{}, {}, its manifest is whole", header.backup, age(now, header.started)),
                )
            }
            Ok(None) => Check::warning(PART, name, "no full backup", format!("longshore backup --name {source}")),
            Err(error) => Check::bad(PART, name, error),
        });
    }
    if sources.len() > MOST_SOURCES {
        checks.push(Check::good(PART, "backups", format!("{} more sources", sources.len() - MOST_SOURCES)));
    }
    Ok(())
}
