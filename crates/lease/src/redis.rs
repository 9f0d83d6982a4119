//! Leases in Redis or Valkey.
//!
//! Owns two keys per job, `longshore:{<job>}:lease` (a hash with a TTL) and `longshore:{<job>}:fence` (a counter that is never deleted),
//! and the three scripts that alone touch them. Promises that each call is one script, so that nobody comes between its looks and its writes;
//! that only the holder's own lease is renewed or removed; and that with replicas no grant counts before each of them has it. Refuses
//! servers that may evict a lease or that are replicas. A failover to a replica that lags, or a restart without a file to
//! read, still forgets a lease: that is what the fence is for.

mod connection;
mod settings;

use async_trait::async_trait;
use jiff::Timestamp;
use redis::{FromRedisValue, RedisError, cmd};
use tokio::sync::Mutex;

use self::connection::{Connection, Target};
use self::settings::Settings;
use crate::backend::{Answer, Backend, Grant, Refusal};
use crate::claim::{Busy, Claim, Epoch, Holder, Job, RunId};
use crate::{Error, Terms};

/// Grants what is free or this run's already. Its answer: 1 and the epoch, or 0, the holder, since when, and the milliseconds left.
/// Keys of one hash slot: in a cluster they live together.
const ACQUIRE: &str = "\
local run = redis.call('HGET', KEYS[1], 'run')
local time = redis.call('TIME')
if run and run ~= ARGV[1] then
  return {0, redis.call('HGET', KEYS[1], 'holder'), redis.call('HGET', KEYS[1], 'since'), redis.call('PTTL', KEYS[1]), time[1]}
end
local epoch = run and redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
  epoch = redis.call('INCR', KEYS[2])
  redis.call('HSET', KEYS[1], 'run', ARGV[1], 'epoch', epoch, 'holder', ARGV[3], 'since', time[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1, tostring(epoch), false, 0, time[1]}";

const RENEW: &str = "\
if redis.call('HGET', KEYS[1], 'run') == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0";

const RELEASE: &str = "\
if redis.call('HGET', KEYS[1], 'run') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";

/// What `ACQUIRE` answers.
type Acquired = (i64, Option<String>, Option<String>, i64, String);

/// A server of Redis or Valkey.
#[derive(Debug, Clone)]
pub struct Redis {
    inner: std::sync::Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    target: Target,
    /// Made at first use, and again after trouble.
    connection: Mutex<Option<Connection>>,
}

impl Redis {
    /// Parses `redis://[user[:password]@]host[:port][/database]`, or `rediss://` with TLS and, when the server's authority is not one of
    /// the system's, `?ca=/path.pem`. `password` overrides the URL's. Talks to nobody.
    ///
    /// # Errors
    /// [`Error::Config`] naming what is wrong, never repeating the URL.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Redis, Error> {
        let target = Target::parse(url, password)?;
        Ok(Redis { inner: std::sync::Arc::new(Inner { target, connection: Mutex::new(None) }) })
    }

    /// Does something on the connection. One that failed is not used again.
    async fn with<T>(
        &self,
        what: &str,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, Error> {
        let mut connection = self.inner.connection.lock().await;
        // Taken out: when this future is dropped in the middle, nobody gets a connection with a stranger's answer in it.
        let mut used = match connection.take() {
            Some(used) if used.is_alive() => used,
            _ => self.inner.target.connect().await?,
        };
        let done = work(&mut used).await;
        if !done.as_ref().is_err_and(connection::is_broken) {
            *connection = Some(used);
        }
        done.map_err(|error| self.inner.target.failed(what, error))
    }

    async fn settings(&self) -> Result<Settings, Error> {
        let asked = self
            .with("read its settings", async |connection| connection.ask::<String>(cmd("INFO").arg("default")).await);
        match asked.await {
            Ok(text) => Ok(Settings::read(&text)),
            Err(Error::Denied { .. }) => Ok(Settings::refused()),
            Err(other) => Err(other),
        }
    }

    /// Runs a script. Returns its answer, and whether all replicas have what it did.
    async fn script<T: FromRedisValue>(
        &self,
        verb: &str,
        script: &str,
        job: &Job,
        arguments: &[&str],
    ) -> Result<(T, Result<(), Error>), Error> {
        let what = format!("{verb} the lease of {job}");
        let mut command = cmd("EVAL");
        command.arg(script).arg(2).arg(format!("longshore:{{{job}}}:lease")).arg(format!("longshore:{{{job}}}:fence"));
        for argument in arguments {
            command.arg(*argument);
        }
        let asked = self.with(&what, async |connection| {
            let answer = connection.ask(&command).await?;
            // On the same connection: on another one WAIT would not know what to wait for.
            let replicas = match connection.ask::<String>(cmd("INFO").arg("replication")).await {
                Ok(text) => Settings::read(&text).replicas,
                Err(error) if connection::is_broken(&error) => return Err(error),
                // Not allowed; `examine` has said so.
                Err(_) => 0,
            };
            let have = match replicas {
                0 => 0,
                _ => connection.ask(cmd("WAIT").arg(replicas).arg(REPLICAS_PATIENCE_MS)).await?,
            };
            Ok((answer, have, replicas))
        });
        let (answer, have, replicas): (T, u64, u64) = asked.await?;
        let confirmed = if have >= replicas {
            Ok(())
        } else {
            Err(Error::unavailable(what, self.location(), format!("{have} of {replicas} replicas confirmed it")))
        };
        Ok((answer, confirmed))
    }
}

/// How long replicas may take to confirm a write, in milliseconds; less than a connection waits for any answer.
const REPLICAS_PATIENCE_MS: u64 = 2000;

#[async_trait]
impl Backend for Redis {
    fn location(&self) -> &str {
        self.inner.target.location()
    }

    async fn examine(&self) -> Result<Vec<String>, Error> {
        self.settings().await?.judge(self.location())
    }

    async fn acquire(&self, claim: &Claim, terms: Terms) -> Result<Answer, Error> {
        let (run, ttl) = (claim.run.to_string(), terms.ttl().as_millis().to_string());
        let holder = serde_json::to_string(&claim.holder(None)).map_err(|error| Error::config(error.to_string()))?;
        let (acquired, confirmed): (Acquired, _) =
            self.script("acquire", ACQUIRE, &claim.job, &[&run, &ttl, &holder]).await?;
        if acquired.0 == 1 && confirmed.is_err() {
            // Nobody may be kept away by a grant that does not count. Where this is not heard either, it ends by itself.
            self.script::<i64>("release", RELEASE, &claim.job, &[&run]).await.ok();
            confirmed?;
        }
        match acquired {
            (1, Some(epoch), ..) => {
                let what = || format!("acquire the lease of {}", claim.job);
                let epoch =
                    epoch.parse().map_err(|_| Error::unavailable(what(), self.location(), "it gave no number"))?;
                let granted = Granted {
                    server: self.clone(),
                    job: claim.job.clone(),
                    run: claim.run,
                    terms,
                    epoch: Epoch(epoch),
                };
                Ok(Answer::Granted(Box::new(granted)))
            }
            (_, holder, since, left, now) => Ok(Answer::Busy(Box::new(busy(&claim.job, holder, since, left, &now)))),
        }
    }
}

fn busy(job: &Job, holder: Option<String>, since: Option<String>, left: i64, now: &str) -> Busy {
    let second = |text: &str| text.parse().ok().and_then(|second| Timestamp::from_second(second).ok());
    let mut holder: Option<Holder> = holder.and_then(|text| serde_json::from_str(&text).ok());
    if let Some(holder) = &mut holder {
        holder.since = since.as_deref().and_then(second);
    }
    let until = second(now).filter(|_| left >= 0);
    let until = until.and_then(|now| Timestamp::from_second(now.as_second().saturating_add(left / 1000 + 1)).ok());
    Busy { job: job.clone(), holder, until }
}

#[derive(Debug)]
struct Granted {
    server: Redis,
    job: Job,
    run: RunId,
    terms: Terms,
    epoch: Epoch,
}

fn gone() -> Refusal {
    Refusal::Lost("it has expired or was removed, or another run has it".to_owned())
}

#[async_trait]
impl Grant for Granted {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    async fn renew(&mut self) -> Result<(), Refusal> {
        let ttl = self.terms.ttl().as_millis().to_string();
        let (renewed, confirmed): (i64, _) =
            self.server.script("renew", RENEW, &self.job, &[&self.run.to_string(), &ttl]).await?;
        if renewed != 1 {
            return Err(gone());
        }
        Ok(confirmed?)
    }

    async fn release(&mut self) -> Result<(), Refusal> {
        // What a replica has not heard of ends by itself.
        let (removed, _): (i64, _) =
            self.server.script("release", RELEASE, &self.job, &[&self.run.to_string()]).await?;
        if removed == 1 { Ok(()) } else { Err(gone()) }
    }
}
