//! A lease that is held: renewed in the background, given back at the end, and known to be lost as soon as it may be.
//!
//! Owns the time between a grant and its end. Promises that [`Watch::assert_held`] says no from the local deadline on, for ever, whether or not
//! the server answers; that [`Watch::lost`] returns then; that nothing is sent after a release; and that dropping a lease never
//! blocks. Refuses to promise that nobody else works: a process that is stopped between asking here and acting, or a server that
//! forgets, is what the fence in the target is for.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::backend::{Grant, Lasts, Refusal};
use crate::claim::{Claim, Epoch, RunId};
use crate::{Clock, Error, Lost, Moment, Terms};

/// The longest sleep without a look at the clock: timers stand still while a machine sleeps, the deadline does not.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a release may take.
const RELEASE_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
struct State {
    /// `None` while nothing expires.
    deadline: Option<Moment>,
    lost: Option<Lost>,
    released: bool,
}

/// Looks at a lease that this process holds. Clones look at the same one, and do not keep it.
#[derive(Clone)]
pub struct Watch {
    state: Arc<watch::Sender<State>>,
    clock: Arc<dyn Clock>,
    claim: Arc<Claim>,
    location: Arc<str>,
    epoch: Epoch,
}

impl Watch {
    /// The grant's number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The run that holds it.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.claim.run
    }

    /// Until when it is held without another renewal, by this process's clock; `None` where nothing expires.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.state.borrow().deadline
    }

    /// Whether it is held, without a consequence. For display; work asks [`Watch::assert_held`].
    #[must_use]
    pub fn is_held(&self) -> bool {
        let (state, now) = (self.state.borrow(), self.clock.now());
        state.lost.is_none() && !state.released && state.deadline.is_none_or(|deadline| now < deadline)
    }

    /// Fails when the lease is not held, or its deadline is past; once it has failed it always does.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn assert_held(&self) -> Result<(), Error> {
        self.look();
        let state = self.state.borrow();
        match &state.lost {
            Some(lost) => Err(Error::Lost(lost.clone())),
            None if state.released => Err(Error::Lost(self.as_lost("it was released".to_owned()))),
            None => Ok(()),
        }
    }

    /// Returns when the lease is lost, with how. Never, when it is released.
    pub async fn lost(&self) -> Lost {
        let mut changes = self.state.subscribe();
        loop {
            self.look();
            let state = changes.borrow_and_update().clone();
            if let Some(lost) = state.lost {
                return lost;
            }
            if state.released {
                return std::future::pending().await;
            }
            let time = match state.deadline {
                Some(deadline) => (deadline - self.clock.now()).min(LOOK_EVERY),
                None => LOOK_EVERY,
            };
            tokio::select! {
                // The sender lives as long as this.
                _ = changes.changed() => {}
                () = self.clock.sleep(time) => {}
            }
        }
    }

    /// Notes that the deadline is past, under the lock under which it would be moved: one of both comes first for everybody.
    fn look(&self) {
        self.state.send_if_modified(|state| {
            let late = state.deadline.is_some_and(|deadline| self.clock.now() >= deadline);
            if !late || state.lost.is_some() || state.released {
                return false;
            }
            state.lost = Some(self.as_lost("its server did not confirm it in time".to_owned()));
            true
        });
    }

    /// Moves the deadline, unless the lease is over by now.
    fn renewed(&self, deadline: Option<Moment>) {
        self.look();
        self.state.send_if_modified(|state| {
            let late = state.deadline.is_some_and(|deadline| self.clock.now() >= deadline);
            if late || state.lost.is_some() {
                return false;
            }
            state.deadline = deadline;
            true
        });
        self.look();
    }

    fn lose(&self, why: String) {
        self.state.send_if_modified(|state| {
            let first = state.lost.is_none() && !state.released;
            if first {
                state.lost = Some(self.as_lost(why));
            }
            first
        });
    }

    fn is_lost(&self) -> bool {
        self.look();
        self.state.borrow().lost.is_some()
    }

    fn as_lost(&self, why: String) -> Lost {
        Lost { job: self.claim.job.clone(), epoch: self.epoch, location: self.location.to_string(), why }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Watch { claim, location, epoch, .. } = self;
        f.debug_struct("Watch")
            .field("job", &claim.job)
            .field("epoch", epoch)
            .field("location", location)
            .finish_non_exhaustive()
    }
}

/// A held lease. It is renewed until it is released, lost or dropped.
///
/// Dropping it sends nothing: others wait for the rest of its time, or, where the lease is a session or a locked file, are let in as
/// this ends. So a run that ends well releases.
#[must_use = "a lease that is dropped is not renewed"]
#[derive(Debug)]
pub struct Held {
    watch: Watch,
    /// Who waits for the release; dropped together with `Held`.
    release: oneshot::Sender<oneshot::Sender<Result<(), Error>>>,
}

impl Deref for Held {
    type Target = Watch;

    fn deref(&self) -> &Watch {
        &self.watch
    }
}

impl Held {
    /// Takes over a grant that was asked for at `sent`, and renews it from now on.
    pub(crate) fn start(
        grant: Box<dyn Grant>,
        claim: &Claim,
        location: &str,
        terms: Terms,
        sent: Moment,
        clock: Arc<dyn Clock>,
    ) -> Held {
        let deadline = (grant.lasts() == Lasts::UntilItExpires).then(|| terms.deadline(sent));
        let state = State { deadline, lost: None, released: false };
        let watch = Watch {
            state: Arc::new(watch::Sender::new(state)),
            clock,
            claim: Arc::new(claim.clone()),
            location: location.into(),
            epoch: grant.epoch(),
        };
        let (release, released) = oneshot::channel();
        let keeper = Keeper { grant, watch: watch.clone(), terms, next: sent + terms.renew_after() };
        tokio::spawn(keeper.keep(released));
        Held { watch, release }
    }

    /// Something that looks at this lease from elsewhere.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Gives the lease back. Whatever comes of it, this run holds it no longer.
    ///
    /// # Errors
    /// [`Error::Lost`] when it was not held any more; `Unavailable` when the server does not confirm within 5 s: then others wait
    /// until it expires.
    pub async fn release(self) -> Result<(), Error> {
        let (reply, done) = oneshot::channel();
        let gone =
            || Err(self.watch.assert_held().err().unwrap_or_else(|| Error::config("the lease's task has ended")));
        if self.release.send(reply).is_err() {
            return gone();
        }
        done.await.unwrap_or_else(|_| gone())
    }
}

/// The task that renews.
struct Keeper {
    grant: Box<dyn Grant>,
    watch: Watch,
    terms: Terms,
    /// When to renew next.
    next: Moment,
}

/// What ends a wait.
enum Woken {
    Time,
    Ended(String),
    /// Somebody waits for a release; nobody does when the lease was dropped.
    Over(Option<oneshot::Sender<Result<(), Error>>>),
}

impl Keeper {
    async fn keep(mut self, mut orders: oneshot::Receiver<oneshot::Sender<Result<(), Error>>>) {
        loop {
            if self.watch.is_lost() {
                return self.say_lost();
            }
            let pause = self.pause();
            let woken = tokio::select! {
                biased;
                order = &mut orders => Woken::Over(order.ok()),
                why = self.grant.ended() => Woken::Ended(why),
                () = self.watch.clock.sleep(pause) => Woken::Time,
            };
            let woken = match woken {
                Woken::Time if self.watch.clock.now() >= self.next && !self.watch.is_lost() => tokio::select! {
                    biased;
                    order = &mut orders => Woken::Over(order.ok()),
                    () = Self::renew(&mut self.grant, &self.watch, self.terms, &mut self.next) => Woken::Time,
                },
                other => other,
            };
            match woken {
                Woken::Time => {}
                Woken::Ended(why) => self.watch.lose(why),
                Woken::Over(Some(reply)) => return self.release(reply).await,
                Woken::Over(None) => {
                    let Watch { claim, location, .. } = &self.watch;
                    self.watch.lose("it was dropped".to_owned());
                    return tracing::warn!(job = %claim.job, %location, "a lease was dropped without a release");
                }
            }
        }
    }

    /// Until the next renewal or the deadline, and never longer than a look at the clock may wait.
    fn pause(&self) -> Duration {
        let now = self.watch.clock.now();
        let until = self.watch.deadline().map_or(self.next, |deadline| deadline.min(self.next));
        (until - now).min(LOOK_EVERY)
    }

    /// Asks for another TTL, and stops waiting for the answer at the deadline.
    async fn renew(grant: &mut Box<dyn Grant>, watch: &Watch, terms: Terms, next: &mut Moment) {
        let (sent, lasts) = (watch.clock.now(), grant.lasts());
        let asked = tokio::select! {
            biased;
            _ = watch.lost() => return,
            asked = grant.renew() => asked,
        };
        match asked {
            Ok(()) => {
                *next = sent + terms.renew_after();
                watch.renewed((lasts == Lasts::UntilItExpires).then(|| terms.deadline(sent)));
            }
            Err(Refusal::Lost(why)) => watch.lose(why),
            Err(Refusal::Failed(error)) => {
                *next = watch.clock.now() + terms.retry_after();
                let Watch { claim, location, .. } = watch;
                tracing::warn!(job = %claim.job, %location, %error, "the lease could not be renewed; trying again until its deadline");
            }
        }
    }

    async fn release(mut self, reply: oneshot::Sender<Result<(), Error>>) {
        let result = if self.watch.is_lost() { self.watch.assert_held() } else { self.give_back().await };
        // Whoever asked may have stopped waiting.
        drop(reply.send(result));
    }

    async fn give_back(&mut self) -> Result<(), Error> {
        // First: nothing may begin under a lease that is being given back.
        self.watch.state.send_modify(|state| state.released = true);
        let asked = tokio::select! {
            asked = self.grant.release() => asked,
            () = self.watch.clock.sleep(RELEASE_PATIENCE) => {
                let Watch { claim, location, .. } = &self.watch;
                Err(Error::unavailable(format!("release the lease of {}", claim.job), location, "no answer in time").into())
            }
        };
        match asked {
            Ok(()) => Ok(()),
            Err(Refusal::Failed(error)) => Err(error),
            Err(Refusal::Lost(why)) => Err(Error::Lost(self.watch.as_lost(why))),
        }
    }

    fn say_lost(&self) {
        if let Some(lost) = &self.watch.state.borrow().lost {
            tracing::warn!("{lost}");
        }
    }
}

#[cfg(test)]
mod tests;
