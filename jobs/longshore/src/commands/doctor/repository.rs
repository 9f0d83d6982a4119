//! The repository: can it be read, with these keys, and how old is what is in it?

use super::Purpose;
use super::report::Check;
use jobkit::format::{age, bytes};
use jobkit::{Exit, Failure, RepoArgs};
use repository::{Repository, SourceName};
use std::collections::BTreeSet;

const PART: &str = "repository";
/// Sources whose newest backup is named; how many more there are is said.
const MOST_SOURCES: usize = 100;

/// Looks at the repository, at what the keys that were given are good for, and at the newest backup of each source.
pub async fn look(place: &RepoArgs, purpose: Purpose, checks: &mut Vec<Check>) {
    let repository = match place.open().await {
        Ok(repository) => repository,
        Err(failure) => return checks.push(Check::bad(PART, "open", failure)),
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
    checks.extend(encryption(&repository, purpose));
    if let Err(failure) = newest(&repository, checks).await {
        checks.push(Check::bad(PART, "backups", failure));
    }
}

/// Whether what is sealed can be opened, and whether it should be; and whether a backup could be sealed.
fn encryption(repository: &Repository, purpose: Purpose) -> Vec<Check> {
    const NAME: &str = "decrypt";
    if !repository.is_encrypted() {
        let advice = "docs/guides/encryption.md; it takes a new repository";
        return vec![Check::warning(PART, NAME, "not encrypted: who can read the store reads the data", advice)];
    }
    let keys = "give an identity of one of its recipients: LONGSHORE_IDENTITY_FILE";
    let opens = match (repository.can_open(), purpose) {
        (true, Purpose::Restore) => Check::good(PART, NAME, "the identity that was given opens it, as a restore must"),
        (true, _) => Check::warning(
            PART,
            NAME,
            format!("the identity that was given opens it, and {} need not", purpose.as_str()),
            "leave the identity away: a backup takes a writer's key, maintenance none",
        ),
        (false, Purpose::Restore) => {
            let failure = Failure::new(Exit::Config, "it is encrypted, and no identity was given that opens it");
            Check::bad(PART, NAME, failure.hint(keys))
        }
        (false, _) => Check::good(
            PART,
            NAME,
            format!("cannot be opened with what was given, as it should be for {}", purpose.as_str()),
        ),
    };
    let writes = (purpose == Purpose::Backup).then(|| match repository.assert_writable() {
        Ok(()) => Check::good(PART, "encrypt", "backups can be sealed and signed"),
        Err(error) => Check::bad(PART, "encrypt", error),
    });
    [Some(opens), writes].into_iter().flatten().collect()
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
