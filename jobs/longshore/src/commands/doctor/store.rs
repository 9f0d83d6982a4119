//! The store: what it can do, and what this credential may do there.
//!
//! Owns what is good for which job. Whatever is tried is tried by `store::examine`.

use super::Purpose;
use super::report::Check;
use jobkit::format::duration;
use jobkit::{Exit, Failure};
use std::time::Duration;
use store::{Clock, Error, Examined, Keeping, Location, Profile, Store, Tried, examine};

const PART: &str = "store";
/// Clocks that differ by more make ages and signatures doubtful.
const SKEW_WARNING: Duration = Duration::from_secs(30);
/// What S3 takes for a signature made at another time.
const SKEW_BAD: Duration = Duration::from_secs(15 * 60);

/// Looks at the store. Returns whether it is any use to go on to the repository in it.
pub async fn look(store: &dyn Store, location: &Location, purpose: Purpose, checks: &mut Vec<Check>) -> bool {
    let found = match examine(store).await {
        Ok(found) => found,
        Err(error) => {
            checks.push(Check::bad(PART, "answer", error));
            return false;
        }
    };
    let Examined { clock, list, absent, profile, replace, delete, keeping, left } = found;
    let took = clock.as_ref().map(|clock| format!("in {} ms", clock.took.as_millis())).unwrap_or_default();
    checks.push(Check::good(PART, "answer", format!("{} {took}", store.location()).trim_end()));
    checks.push(clock_check(clock, location));
    let readable = list.is_ok();
    checks.push(match list {
        Ok(()) => Check::good(PART, "list", "objects can be listed"),
        Err(error) => Check::bad(PART, "list", error),
    });
    // Who may not even list has been told what is wrong.
    checks.extend(absent_check(absent).filter(|_| readable));
    let writable = profile.is_ok();
    checks.push(writes(profile, purpose));
    let place = Place { directory: location.is_directory(), keeping: &keeping, purpose };
    checks.extend(replace.map(|tried| place.replace(tried)));
    if writable || readable {
        checks.push(place.delete(delete, left.as_deref()));
    }
    checks.extend(place.keeps());
    readable
}

fn clock_check(clock: Result<Clock, Error>, location: &Location) -> Check {
    const NAME: &str = "clock";
    let Clock { skew, ahead, .. } = match clock {
        Ok(clock) => clock,
        Err(error) => return Check::tolerated(PART, NAME, error),
    };
    let found =
        format!("this machine's clock is {} {} the store's", duration(skew), if ahead { "ahead of" } else { "behind" });
    let advice = "find out which of the two is wrong, and let it follow a time server";
    if skew <= SKEW_WARNING {
        return Check::good(PART, NAME, "this machine's and the store's agree");
    }
    if skew > SKEW_BAD && !location.is_directory() {
        let more = format!("{found}; S3 refuses requests signed more than 15 minutes away from its time");
        return Check::bad(PART, NAME, Failure::new(Exit::Config, more).hint(advice));
    }
    Check::warning(PART, NAME, found, advice)
}

/// Nothing is said where it is as it should be.
fn absent_check(absent: Result<(), Error>) -> Option<Check> {
    let error = absent.err()?;
    let denied = matches!(error, Error::Denied { .. });
    let failure = Failure::from(error).context("an object that is not there is answered as if it were forbidden");
    let advice =
        "let it list the bucket (s3:ListBucket), or jobs cannot tell what is missing from what they may not see";
    let failure = if denied { failure.hint(advice) } else { failure };
    Some(Check::bad(PART, "missing objects", failure))
}

fn writes(profile: Result<Profile, Error>, purpose: Purpose) -> Check {
    const NAME: &str = "create";
    match profile {
        Ok(Profile { sha256_checksum, .. }) => {
            let hashes = if sha256_checksum { "are checked by the store" } else { "are not checked by this store" };
            Check::good(
                PART,
                NAME,
                format!("create-only puts hold, also at once; parts can be read; hashes of puts {hashes}"),
            )
        }
        Err(error @ Error::Denied { .. }) if purpose == Purpose::Restore => {
            let failure = Failure::from(error).context("this credential creates nothing: drills are not recorded");
            Check::tolerated(
                PART,
                NAME,
                failure.hint("restores work; for drills, `longshore doctor --print-policy restore`"),
            )
        }
        Err(error) => Check::bad(PART, NAME, error),
    }
}

/// Where it was tried, and for what.
struct Place<'a> {
    directory: bool,
    keeping: &'a Keeping,
    purpose: Purpose,
}

impl Place<'_> {
    fn replace(&self, tried: Tried) -> Check {
        const NAME: &str = "replace";
        match tried {
            Tried::Refused(_) => Check::good(PART, NAME, "tried: refused"),
            Tried::NotKnown(error) => Check::tolerated(PART, NAME, Failure::from(error).context("not known")),
            Tried::Can if self.directory => Check::warning(PART, NAME, "tried: this user can replace files", DIRECTORY),
            Tried::Can if self.keeping.versions == Some(true) => Check::good(
                PART,
                NAME,
                "tried: this credential can replace objects, and the bucket keeps what was there",
            ),
            Tried::Can => Check::warning(
                PART,
                NAME,
                "tried: this credential can replace objects, and nothing says that what was there is kept",
                "turn the bucket's versioning on; on AWS, the policy that `longshore doctor --print-policy` prints forbids it",
            ),
        }
    }

    fn delete(&self, tried: Tried, left: Option<&str>) -> Check {
        const NAME: &str = "delete";
        let stay =
            left.map(|folder| format!("; what was tried on stays in {folder}, which no job reads")).unwrap_or_default();
        let job = self.purpose.as_str();
        match (tried, self.purpose) {
            (Tried::Refused(error), Purpose::Maintenance) => {
                let failure = Failure::from(error).context(format!("tried: refused, and prune must{stay}"));
                Check::bad(
                    PART,
                    NAME,
                    failure.hint("give it the policy of `longshore doctor --print-policy maintenance`"),
                )
            }
            (Tried::Refused(_), _) => {
                Check::good(PART, NAME, format!("tried: refused, as it should be for {job}{stay}"))
            }
            (Tried::NotKnown(error), _) => {
                Check::tolerated(PART, NAME, Failure::from(error).context(format!("not known{stay}")))
            }
            (Tried::Can, Purpose::Maintenance) => {
                Check::good(PART, NAME, "tried: this credential can delete, as prune must")
            }
            (Tried::Can, _) if self.directory => {
                Check::warning(PART, NAME, "tried: this user can delete files", DIRECTORY)
            }
            (Tried::Can, _) => Check::warning(
                PART,
                NAME,
                format!("tried: this credential can delete, and {job} need not"),
                format!("give it the policy of `longshore doctor --print-policy {job}`"),
            ),
        }
    }

    /// A directory keeps nothing, and says so above.
    fn keeps(&self) -> Vec<Check> {
        if self.directory {
            return Vec::new();
        }
        let Keeping { versions, lock, retention } = self.keeping;
        let versions = match versions {
            Some(true) => Check::good(
                PART,
                "versions",
                "the bucket keeps what is replaced or deleted, until its own rules remove it",
            ),
            Some(false) => Check::warning(
                PART,
                "versions",
                "the bucket keeps no versions: what is replaced or deleted is gone",
                "turn versioning on, with a rule that removes old versions after some weeks",
            ),
            None => Check::warning(
                PART,
                "versions",
                "not known: this credential may not ask, or the server does not say",
                "let it ask (s3:GetBucketVersioning), or look yourself whether the bucket keeps versions",
            ),
        };
        let lock = match (lock, retention) {
            (Some(true), Some(retention)) => format!("every new object is locked: {retention}"),
            (Some(true), None) => "is on, and locks nothing by default".to_owned(),
            (Some(false), _) => "is off".to_owned(),
            (None, _) => "not known".to_owned(),
        };
        vec![versions, Check::good(PART, "object lock", lock)]
    }
}

const DIRECTORY: &str =
    "who writes a directory can do everything there: keep a second copy where this user cannot get at it";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn shown(check: Check) -> String {
        serde_json::to_string(&check).unwrap()
    }

    #[test]
    fn clocks_are_judged_by_what_s3_takes() {
        let s3 = Location::parse("s3://b?region=eu-central-1").unwrap();
        let judged = |seconds: u64, ahead: bool, at: &Location| {
            let clock = Clock { skew: Duration::from_secs(seconds), ahead, took: Duration::ZERO };
            shown(clock_check(Ok(clock), at))
        };
        assert!(judged(30, true, &s3).contains("\"good\""));
        let warned = judged(31, true, &s3);
        assert!(warned.contains("\"warning\"") && warned.contains("ahead of"), "{warned}");
        assert!(judged(900, false, &s3).contains("behind"));
        let bad = judged(901, false, &s3);
        assert!(bad.contains("\"bad\"") && bad.contains("\"exit\":78"), "{bad}");
        assert!(judged(901, false, &Location::parse("file:///b").unwrap()).contains("\"warning\""));
    }

    #[test]
    fn what_is_good_depends_on_the_job() {
        let refused =
            || Tried::Refused(Error::Denied { what: "delete".into(), location: "s3://b".into(), source: None });
        let keeping = Keeping { versions: Some(true), ..Keeping::default() };
        let place = |purpose| Place { directory: false, keeping: &keeping, purpose };
        let delete = |tried, purpose| shown(place(purpose).delete(tried, Some("probe/X/")));
        assert!(delete(Tried::Can, Purpose::Backup).contains("\"warning\""));
        assert!(delete(Tried::Can, Purpose::Restore).contains("--print-policy restore"));
        assert!(delete(Tried::Can, Purpose::Maintenance).contains("\"good\""));
        let good = delete(refused(), Purpose::Backup);
        assert!(good.contains("\"good\"") && good.contains("stays in probe/X/"), "{good}");
        assert!(delete(refused(), Purpose::Maintenance).contains("\"exit\":77"));
        assert!(shown(place(Purpose::Backup).replace(Tried::Can)).contains("\"good\""), "versions are kept");
        let nothing = Keeping { versions: Some(false), ..Keeping::default() };
        let bare = Place { directory: false, keeping: &nothing, purpose: Purpose::Backup };
        assert!(shown(bare.replace(Tried::Can)).contains("\"warning\""));
        assert!(shown(bare.replace(refused())).contains("\"good\""));
    }
}
