//! Owns the suite that every `Backend` passes: the contract as far as one process can see it.
//!
//! Promises to print each case's name before it runs and to panic where a backend breaks the contract. Each case uses a job of its own.
//! Waits for a TTL to pass where `Harness::expire` has to; asserts nothing about how long anything takes. Behind the feature
//! `conformance`.

#![expect(clippy::panic, clippy::print_stdout, reason = "this is test code that other crates call")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::backend::{Answer, Backend, Grant, Lasts, Refusal};
use crate::{Busy, Claim, Job, RunId, Terms};

/// A future that a harness returns.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the suite needs besides the backend.
pub trait Harness: Sync {
    /// A backend of its own, as another process would have it, on the same server.
    fn backend(&self) -> Later<'_, Arc<dyn Backend>>;

    /// The terms to ask with.
    fn terms(&self) -> Terms;

    /// Returns when a grant of these terms that was asked for before the call has expired at the server.
    fn expire(&self) -> Later<'_, ()>;

    /// Whether a holder is known to others by its name and machine, and not only by its run.
    fn tells_names(&self) -> bool {
        true
    }

    /// Whether others learn when a lease ends that is not renewed. Not where it ends with a session.
    fn tells_end(&self) -> bool {
        true
    }

    /// Whether a run that asks twice is granted its lease twice. Not where no answer can be lost on its way.
    fn grants_again(&self) -> bool {
        true
    }
}

/// Runs at once in the race.
const RIVALS: usize = 8;

/// Runs every case.
///
/// # Panics
/// Where the backend breaks the contract.
pub async fn suite(harness: &dyn Harness) {
    println!("conformance: the server is found fit");
    fit(harness).await;
    println!("conformance: one holder, and the other learns who");
    one_holder(harness).await;
    println!("conformance: jobs do not know each other");
    two_jobs(harness).await;
    println!("conformance: epochs grow over releases");
    epochs(harness).await;
    println!("conformance: eight rivals, one winner");
    rivals(harness).await;
    if harness.grants_again() {
        println!("conformance: a run that never saw its grant asks again");
        again(harness).await;
    }
    println!("conformance: what has expired is given to another, and not touched by the first");
    expired(harness).await;
    println!("conformance: a holder that vanished");
    vanished(harness).await;
}

fn claim(case: &str) -> Claim {
    let run = RunId::generate();
    match Job::parse(&format!("{case}-{run}")) {
        Ok(job) => Claim::new(job, run).named("conformance suite"),
        Err(error) => panic!("{error}"),
    }
}

fn rival(claim: &Claim) -> Claim {
    Claim { run: RunId::generate(), ..claim.clone() }
}

async fn ask(backend: &Arc<dyn Backend>, claim: &Claim, terms: Terms) -> Answer {
    match backend.acquire(claim, terms).await {
        Ok(answer) => answer,
        Err(error) => panic!("acquire {}: {error} ({error:?})", claim.job),
    }
}

async fn granted(backend: &Arc<dyn Backend>, claim: &Claim, terms: Terms) -> Box<dyn Grant> {
    match ask(backend, claim, terms).await {
        Answer::Granted(grant) => grant,
        Answer::Busy(busy) => panic!("{} should have been free: {busy}", claim.job),
    }
}

async fn refused(backend: &Arc<dyn Backend>, claim: &Claim, terms: Terms) -> Busy {
    match ask(backend, claim, terms).await {
        Answer::Busy(busy) => *busy,
        Answer::Granted(grant) => panic!("{} was granted twice, last as {}", claim.job, grant.epoch()),
    }
}

#[track_caller]
fn done(what: &str, result: Result<(), Refusal>) {
    if let Err(refusal) = result {
        panic!("{what}: {refusal:?}");
    }
}

#[track_caller]
fn lost(what: &str, result: Result<(), Refusal>) {
    match result {
        Err(Refusal::Lost(_)) => {}
        other => panic!("{what}: came back with {other:?}"),
    }
}

async fn fit(harness: &dyn Harness) {
    let backend = harness.backend().await;
    match backend.examine().await {
        Ok(notes) => println!("conformance: notes: {notes:?}"),
        Err(error) => panic!("examine: {error} ({error:?})"),
    }
}

async fn one_holder(harness: &dyn Harness) {
    let (one, two, terms) = (harness.backend().await, harness.backend().await, harness.terms());
    let first = claim("one");
    let mut grant = granted(&one, &first, terms).await;
    for backend in [&one, &two] {
        let busy = refused(backend, &rival(&first), terms).await;
        let Some(holder) = busy.holder else { panic!("nobody is named as the holder") };
        assert_eq!((busy.job, holder.run), (first.job.clone(), first.run));
        assert!(holder.since.is_some(), "since when is not told");
        assert_eq!(busy.until.is_some(), grant.lasts() == Lasts::UntilItExpires && harness.tells_end());
        if harness.tells_names() {
            assert_eq!((holder.name.as_deref(), holder.host.as_ref()), (Some("conformance suite"), Some(&first.host)));
        }
    }
    done("renew", grant.renew().await);
    refused(&two, &rival(&first), terms).await;
    done("release", grant.release().await);
    done("release what was free", granted(&two, &rival(&first), terms).await.release().await);
}

async fn two_jobs(harness: &dyn Harness) {
    let (backend, terms) = (harness.backend().await, harness.terms());
    let (one, two) = (claim("this"), claim("that"));
    let (mut first, mut second) = (granted(&backend, &one, terms).await, granted(&backend, &two, terms).await);
    done("release", first.release().await);
    done("renew the other", second.renew().await);
    refused(&backend, &rival(&two), terms).await;
    done("release the other", second.release().await);
}

async fn epochs(harness: &dyn Harness) {
    let (backend, terms, mut last) = (harness.backend().await, harness.terms(), None);
    let first = claim("epochs");
    for _ in 0..4 {
        let mut grant = granted(&backend, &rival(&first), terms).await;
        assert!(last < Some(grant.epoch()), "after {last:?} came {}", grant.epoch());
        last = Some(grant.epoch());
        done("renew", grant.renew().await);
        assert_eq!(last, Some(grant.epoch()), "a renewal changed the epoch");
        done("release", grant.release().await);
    }
}

async fn rivals(harness: &dyn Harness) {
    let (terms, first) = (harness.terms(), claim("rivals"));
    let mut backends = Vec::new();
    for _ in 0..RIVALS {
        backends.push(harness.backend().await);
    }
    for round in 0..3 {
        let asked = backends.iter().map(|backend| {
            let claim = rival(&first);
            async move { ask(backend, &claim, terms).await }
        });
        let answers = join_all(asked).await;
        let mut winners: Vec<_> = answers
            .into_iter()
            .filter_map(|answer| match answer {
                Answer::Granted(grant) => Some(grant),
                Answer::Busy(_) => None,
            })
            .collect();
        assert_eq!(winners.len(), 1, "round {round}");
        for winner in &mut winners {
            done("release", winner.release().await);
        }
    }
}

async fn again(harness: &dyn Harness) {
    let (one, two, terms) = (harness.backend().await, harness.backend().await, harness.terms());
    let first = claim("again");
    let unseen = granted(&one, &first, terms).await.epoch();
    let mut grant = granted(&one, &first, terms).await;
    assert!(grant.epoch() >= unseen);
    done("renew", grant.renew().await);
    refused(&two, &rival(&first), terms).await;
    done("release", grant.release().await);
}

async fn expired(harness: &dyn Harness) {
    let (one, two, terms) = (harness.backend().await, harness.backend().await, harness.terms());
    let first = claim("expired");
    let mut old = granted(&one, &first, terms).await;
    if old.lasts() == Lasts::WithTheProcess {
        println!("conformance: (nothing expires there)");
        return done("release", old.release().await);
    }
    harness.expire().await;
    let second = rival(&first);
    let mut new = granted(&two, &second, terms).await;
    assert!(new.epoch() > old.epoch());
    lost("renew what another has", old.renew().await);
    lost("release what another has", old.release().await);
    drop(old);
    let busy = refused(&one, &rival(&first), terms).await;
    assert_eq!(busy.holder.map(|holder| holder.run), Some(second.run));
    done("renew", new.renew().await);
    done("release", new.release().await);
}

async fn vanished(harness: &dyn Harness) {
    let (one, two, terms) = (harness.backend().await, harness.backend().await, harness.terms());
    let first = claim("vanished");
    let old = granted(&one, &first, terms).await;
    let epoch = old.epoch();
    drop(old);
    harness.expire().await;
    let mut new = granted(&two, &rival(&first), terms).await;
    assert!(new.epoch() > epoch);
    done("release", new.release().await);
}
