//! Owns the one runtime that servers and proxies live on, apart from the runtimes of single tests.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The background runtime. Two threads: it moves bytes and waits for containers, nothing else.
pub(crate) fn runtime() -> &'static Runtime {
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("testkit")
            .enable_all()
            .build()
            .expect("start the testkit runtime")
    })
}

/// Runs `work` there and waits for it from whatever runtime the caller is on. A panic inside is the caller's panic.
pub(crate) async fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match runtime().spawn(work).await {
        Ok(value) => value,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => panic!("background work ended early: {error}"),
    }
}

/// Runs `work` from a `Drop`, on a thread of its own so that no runtime of the caller is blocked on itself. Gives up
/// after `limit`; what it did not finish is left to `scripts/servers down`.
pub(crate) fn run_in_drop(limit: Duration, work: impl Future<Output = ()> + Send + 'static) {
    let worker = std::thread::spawn(move || {
        runtime().block_on(async {
            if tokio::time::timeout(limit, work).await.is_err() {
                eprintln!("testkit: clean-up took longer than {limit:?} and was left");
            }
        });
    });
    if worker.join().is_err() {
        eprintln!("testkit: clean-up panicked and was left");
    }
}

/// Asks `ready` every 50 ms until it gives a value, for at most `limit`; `None` when the time is over.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    limit: Duration,
    mut ready: impl FnMut() -> F,
) -> Option<T> {
    let patient = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            if let Some(value) = ready().await {
                return value;
            }
        }
    };
    tokio::time::timeout(limit, patient).await.ok()
}
