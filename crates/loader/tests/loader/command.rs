//! Programs of the user's own: when they are started, what they are told, how they end, and when their work counts.
//!
//! Each program is a line for `/bin/sh`. It writes into `$SCRATCH`, a folder of the test's.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use drops::{Complete, Kind, Source, freeze};
use lease::{Epoch, Job, Lost, RunId};
use loader::{
    Done, DropInput, Ended, Error, Ledger, Permit, Plan, PostgresLedger, Program, Step, Steps, Straight, Terms, load_by,
};
use testkit::programs::{STUBBORN, gone};
use testkit::servers::{TestDatabase, postgres};
use tokio::sync::{mpsc, watch};

use crate::kit::{Gates, always, is_loaded, plan, quick};

/// The longest a test waits for a condition.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database, a drop and a folder for what programs write.
struct Yard {
    db: TestDatabase,
    folder: tempfile::TempDir,
}

impl Yard {
    async fn new() -> Yard {
        let yard = Yard { db: postgres(17).await.create_database().await, folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(yard.drop()).unwrap();
        std::fs::write(yard.drop().join("image.bin"), b"\x00\x01scan").unwrap();
        yard
    }

    fn drop(&self) -> PathBuf {
        self.folder.path().join("drop")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a program wrote into a file, or nothing.
    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn program(&self, script: &str) -> Program {
        let env = [
            ("PATH", std::env::var_os("PATH").unwrap()),
            ("SCRATCH", self.folder.path().into()),
            ("LONGSHORE_TARGET_PASSWORD", "canary-1".into()),
            ("LONGSHORE_LEASE", "redis://:canary-2@h".into()),
        ];
        let env = env.map(|(name, value)| (name.into(), value));
        Program::find("/bin/sh".as_ref(), ["-c", script].map(OsString::from), env).unwrap()
    }

    fn ledger(&self) -> PostgresLedger {
        PostgresLedger::new(postgres::Endpoint::parse(&self.db.url(), None).unwrap(), quick())
    }

    async fn input(&self) -> DropInput {
        let frozen = freeze(&Source::Directory(self.drop()), Complete::Asked).await.unwrap();
        DropInput::new(frozen, "a drop".to_owned(), Terms::default())
    }

    async fn load_as(
        &self,
        program: &Program,
        plan: &Plan,
        permit: &dyn Permit,
        steps: &dyn Steps,
    ) -> Result<Done, Error> {
        let (mut input, folder) = (self.input().await, self.drop());
        load_by(program, &self.ledger(), (&mut input, folder.as_path()), plan, permit, steps).await
    }

    async fn load(&self, script: &str) -> Result<Done, Error> {
        self.load_as(&self.program(script), &plan("job"), &always(), &Straight).await
    }

    /// Runs that the ledger calls loaded, and those that it calls failed.
    async fn noted(&self) -> (String, String) {
        let count = async |status: &str| {
            self.db.value(&format!("select count(*) from longshore.load_ledger where status = '{status}'")).await
        };
        (count("loaded").await, count("failed").await)
    }

    /// A load in a task of its own, with a leash.
    fn start(self: &Arc<Yard>, script: &str) -> (tokio::task::JoinHandle<Result<Done, Error>>, Leash) {
        let (leash, yard, script) = (Leash::default(), Arc::clone(self), script.to_owned());
        let held = leash.clone();
        let task =
            tokio::spawn(async move { yard.load_as(&yard.program(&script), &plan("job"), &held, &Straight).await });
        (task, leash)
    }
}

/// A run that can be told to stop, and whose lease can be lost.
#[derive(Clone)]
struct Leash {
    stopped: watch::Sender<bool>,
    lost: watch::Sender<bool>,
}

impl Default for Leash {
    fn default() -> Leash {
        Leash { stopped: watch::Sender::new(false), lost: watch::Sender::new(false) }
    }
}

fn is_lost() -> Error {
    let lost = Lost { job: Job::parse("job").unwrap(), epoch: Epoch(1), location: "l".into(), why: "w".into() };
    Error::Lease(lease::Error::Lost(lost))
}

#[async_trait]
impl Permit for Leash {
    fn check(&self) -> Result<(), Error> {
        match (*self.lost.borrow(), *self.stopped.borrow()) {
            (true, _) => Err(is_lost()),
            (false, true) => Err(Error::Stopped),
            (false, false) => Ok(()),
        }
    }

    async fn ended(&self) -> Error {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            error = self.lost() => error,
            _ = stopped.wait_for(|stopped| *stopped) => Error::Stopped,
        }
    }

    async fn lost(&self) -> Error {
        let mut lost = self.lost.subscribe();
        lost.wait_for(|lost| *lost).await.unwrap();
        is_lost()
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn both_pids(yard: &Yard) -> [String; 2] {
    until("the program to be at work", || yard.text("leader").ends_with('\n')).await;
    let pids = [yard.text("leader"), yard.text("child")];
    assert!(!gone(&pids[0]) && !gone(&pids[1]));
    pids
}

async fn vanish(pids: &[String]) {
    until("the whole group to be gone", || pids.iter().all(|pid| gone(pid))).await;
}

#[tokio::test]
async fn a_drop_is_loaded_once_and_its_program_started_once() {
    let yard = Yard::new().await;
    let script = "echo run >> $SCRATCH/runs";
    let Done::Loaded { record } = yard.load(script).await.unwrap() else { panic!("not loaded") };
    assert!(record.is_by_program() && record.table == "/bin/sh" && record.finished.is_some());
    assert_eq!((record.files.len(), record.files[0].sha256.as_ref().map(String::len)), (1, Some(64)));
    assert_eq!(record.drop.as_ref().map(String::len), Some(64));
    let again = yard.load(script).await.unwrap();
    assert!(matches!(&again, Done::AlreadyLoaded { by, .. } if by.run == record.run), "{again:?}");
    assert_eq!((yard.text("runs").as_str(), yard.noted().await), ("run\n", ("1".into(), "0".into())));
    let reload = Plan { reload: true, ..plan("job") };
    assert!(is_loaded(&yard.load_as(&yard.program(script), &reload, &always(), &Straight).await.unwrap()));
    assert_eq!((yard.text("runs").as_str(), yard.noted().await.0.as_str()), ("run\nrun\n", "1"));
}

#[tokio::test]
async fn a_program_that_fails_has_loaded_nothing_and_the_next_one_may() {
    let yard = Yard::new().await;
    for (script, ended, said) in [
        ("echo patient-canary; echo patient-canary >&2; exit 3", Ended::Code(3), "/bin/sh ended with exit code 3"),
        ("exit 65", Ended::Code(65), "exit code 65"),
        ("kill -9 $$", Ended::Signal(9), "SIGKILL"),
    ] {
        let error = yard.load(script).await.unwrap_err();
        assert!(matches!(&error, Error::Program { status, .. } if *status == ended), "{error}");
        assert!(error.to_string().contains(said) && !format!("{error:?}").contains("canary"), "{error:?}");
    }
    assert_eq!(yard.noted().await, ("0".into(), "3".into()));
    let rows = yard.db.value("select string_agg(l::text, '|' order by epoch) from longshore.load_ledger l").await;
    assert!(rows.contains("exit code 3") && rows.contains("SIGKILL") && !rows.contains("canary"), "{rows}");
    assert!(is_loaded(&yard.load("exit 0").await.unwrap()));
    assert_eq!(yard.noted().await, ("1".into(), "3".into()));
}

/// The SQL and the grants of the guide.
#[tokio::test]
async fn a_program_is_told_what_its_own_fence_needs_and_no_secret() {
    let yard = Yard::new().await;
    let program = yard.program("pwd > $SCRATCH/pwd; cat; env").keep(yard.path("out")).unwrap();
    assert!(is_loaded(&yard.load_as(&program, &plan("job"), &always(), &Straight).await.unwrap()));
    let out = yard.text("out");
    assert!(!out.contains("canary"), "{out}");
    let told = |name: &str| {
        let found = out.lines().find_map(|line| line.strip_prefix(&format!("LONGSHORE_LOAD_{name}=")));
        found.unwrap_or_else(|| panic!("{name}: {out}")).to_owned()
    };
    let ours: Vec<_> = out.lines().filter(|line| line.starts_with("LONGSHORE_")).collect();
    assert_eq!(ours.len(), 5, "{ours:?}");
    assert_eq!((told("DROP"), told("DROP_ID").len()), (yard.drop().display().to_string(), 64));
    assert_eq!(yard.text("pwd").trim(), std::env::current_dir().unwrap().display().to_string());
    let fence = format!(
        "select 1 from longshore.load_fence where job = '{}' and epoch = {} and run_id = '{}' for update",
        told("JOB"),
        told("EPOCH"),
        told("RUN")
    );
    let role = format!("lab_{}", yard.db.name);
    let grants = format!(
        "create role {role}; grant usage on schema longshore to {role}; grant select, update (minted) on longshore.load_fence to {role}"
    );
    yard.db.exec(&grants).await;
    let holds = format!(
        "set role {role}; begin; do $$ begin perform 1 from ({fence}) f; if not found then raise 'no fence'; end if; end $$; commit"
    );
    yard.db.exec(&holds).await;
    yard.ledger().mint(&Job::parse("job").unwrap(), RunId::generate()).await.unwrap();
    assert_eq!(yard.db.value(&format!("select count(*) from ({fence}) f")).await, "0", "a newer run has taken over");
    yard.db.exec(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn a_lost_lease_kills_the_whole_group_at_once() {
    let yard = Arc::new(Yard::new().await);
    let (task, leash) = yard.start(STUBBORN);
    let pids = both_pids(&yard).await;
    leash.lost.send_replace(true);
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Lease(_)), "{error}");
    vanish(&pids).await;
    assert_eq!(yard.noted().await, ("0".into(), "1".into()));
}

#[tokio::test]
async fn a_lease_that_is_lost_while_a_program_is_asked_to_end_kills_it() {
    let yard = Arc::new(Yard::new().await);
    let (task, leash) = yard.start(&format!("echo $$ > $SCRATCH/pid; {STUBBORN}"));
    let pids = both_pids(&yard).await;
    leash.stopped.send_replace(true);
    // Well before the ten seconds are over, which end it as well.
    leash.lost.send_replace(true);
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Lease(_)), "{error}");
    vanish(&pids).await;
}

#[tokio::test]
async fn a_run_that_is_stopped_lets_its_program_tidy_up_and_counts_nothing() {
    let yard = Arc::new(Yard::new().await);
    let script = "trap 'echo tidy > $SCRATCH/tidy; exit 0' TERM; echo > $SCRATCH/ready; while :; do sleep 0.05; done";
    let (task, leash) = yard.start(script);
    until("the program to be at work", || yard.path("ready").exists()).await;
    leash.stopped.send_replace(true);
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error}");
    assert_eq!((yard.text("tidy").as_str(), yard.noted().await), ("tidy\n", ("0".into(), "1".into())));
}

#[tokio::test]
async fn what_a_program_leaves_in_its_group_ends_with_it_and_holds_nobody_up() {
    let yard = Yard::new().await;
    assert!(is_loaded(&yard.load("sleep 1000 & echo $! > $SCRATCH/child").await.unwrap()));
    vanish(&[yard.text("child")]).await;
}

#[tokio::test]
async fn a_drop_that_changed_under_the_program_is_not_loaded() {
    let yard = Yard::new().await;
    for script in ["echo more >> $LONGSHORE_LOAD_DROP/image.bin", "echo new > $LONGSHORE_LOAD_DROP/other"] {
        let error = yard.load(script).await.unwrap_err();
        assert!(matches!(&error, Error::Drop(error) if error.kind == Kind::Changed), "{error}");
    }
    assert_eq!(yard.noted().await, ("0".into(), "2".into()));
    // As it is now, it is a drop like any other.
    assert!(is_loaded(&yard.load("true").await.unwrap()));
}

#[tokio::test]
async fn a_run_that_was_overtaken_while_its_program_ran_counts_nothing() {
    let yard = Arc::new(Yard::new().await);
    let script = "echo > $SCRATCH/ready; while [ ! -e $SCRATCH/go ]; do sleep 0.02; done";
    let (task, _leash) = yard.start(script);
    until("the program to be at work", || yard.path("ready").exists()).await;
    let newer = yard.ledger().mint(&Job::parse("job").unwrap(), RunId::generate()).await.unwrap();
    std::fs::write(yard.path("go"), "").unwrap();
    let error = task.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, Error::Superseded(by) if by.newer.as_ref().is_some_and(|(epoch, _)| *epoch == newer.epoch)),
        "{error}"
    );
    assert_eq!(yard.noted().await.0, "0");
}

#[tokio::test]
async fn a_run_that_was_overtaken_while_it_hashed_starts_no_program() {
    let yard = Arc::new(Yard::new().await);
    let (tell, mut stands) = mpsc::unbounded_channel();
    let other = Arc::clone(&yard);
    let task = tokio::spawn(async move {
        other.load_as(&other.program("echo run >> $SCRATCH/runs"), &plan("job"), &always(), &Gates(tell)).await
    });
    let (there, go) = stands.recv().await.expect("the load ended before it had a number");
    assert_eq!(there, Step::Minted);
    yard.ledger().mint(&Job::parse("job").unwrap(), RunId::generate()).await.unwrap();
    go.send(()).unwrap();
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Superseded(_)), "{error}");
    assert_eq!((yard.text("runs").as_str(), yard.noted().await.0.as_str()), ("", "0"));
}

/// What the guide says of it: at least once.
#[tokio::test]
async fn a_run_that_dies_before_it_is_noted_starts_its_program_again() {
    let yard = Arc::new(Yard::new().await);
    let script = "echo run >> $SCRATCH/runs";
    for step in [Step::Staged, Step::Merged] {
        let (tell, mut stands) = mpsc::unbounded_channel();
        let other = Arc::clone(&yard);
        let task =
            tokio::spawn(
                async move { other.load_as(&other.program(script), &plan("job"), &always(), &Gates(tell)).await },
            );
        loop {
            let (there, go) = stands.recv().await.expect("the load ended before that step");
            if there == step {
                break;
            }
            go.send(()).unwrap();
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    assert_eq!((yard.text("runs").as_str(), yard.noted().await.0.as_str()), ("run\nrun\n", "0"));
    assert!(is_loaded(&yard.load(script).await.unwrap()));
    assert_eq!((yard.text("runs").as_str(), yard.noted().await.0.as_str()), ("run\nrun\nrun\n", "1"));
}

#[tokio::test]
async fn all_that_a_program_writes_is_kept_for_its_owner_alone_and_nothing_is_overwritten() {
    let yard = Yard::new().await;
    let path = yard.path("out");
    let load = async |script: &str, plan: Plan| {
        let program = yard.program(script).keep(path.clone()).unwrap();
        yard.load_as(&program, &plan, &always(), &Straight).await
    };
    let error = load("head -c 200000 /dev/zero; printf 'a\\377' >&2; exit 9", plan("job")).await.unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    let kept = std::fs::read(&path).unwrap();
    let zeros = kept.iter().filter(|byte| **byte == 0).count();
    assert_eq!((kept.len(), zeros), (200_002, 200_000));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let error = load("echo > $SCRATCH/ran", plan("job")).await.unwrap_err();
    assert!(matches!(&error, Error::Drop(error) if error.kind == Kind::Exists), "{error}");
    assert!(!yard.path("ran").exists() && std::fs::read(&path).unwrap() == kept);
    std::fs::remove_file(&path).unwrap();
    assert!(is_loaded(&load("true", plan("job")).await.unwrap()));
    std::fs::remove_file(&path).unwrap();
    // A drop that is loaded has no program that writes.
    assert!(matches!(load("true", plan("job")).await, Ok(Done::AlreadyLoaded { .. })));
    assert!(!path.exists());
}

#[tokio::test]
async fn what_cannot_be_started_is_told_before_anything_is_asked_or_leaves_no_file() {
    let yard = Yard::new().await;
    let find = |name: &str| Program::find(name.as_ref(), [], []);
    std::fs::write(yard.path("plain"), "#!/bin/sh\n").unwrap();
    for name in ["/nowhere/load", "longshore-no-such-program", "", yard.path("plain").to_str().unwrap()] {
        assert!(matches!(find(name), Err(Error::Unstartable { .. })), "{name}");
    }
    let odd = yard.path("odd");
    std::fs::write(&odd, "#!/nowhere/interpreter\n").unwrap();
    std::fs::set_permissions(&odd, PermissionsExt::from_mode(0o755)).unwrap();
    assert!(find(odd.to_str().unwrap()).unwrap().keep(yard.path("absent/out")).is_err());
    let program = find(odd.to_str().unwrap()).unwrap().keep(yard.path("out")).unwrap();
    let error = yard.load_as(&program, &plan("job"), &always(), &Straight).await.unwrap_err();
    assert!(matches!(error, Error::Unstartable { .. }), "{error}");
    assert_eq!((yard.path("out").exists(), yard.noted().await), (false, ("0".into(), "1".into())));
    let dry = Plan { dry_run: true, ..plan("job") };
    assert!(yard.load_as(&yard.program("echo > $SCRATCH/ran"), &dry, &always(), &Straight).await.is_err());
    assert!(!yard.path("ran").exists());
}
