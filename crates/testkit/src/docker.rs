//! Owns the containers of this test process: starts them through `testcontainers`, remembers them, and removes all of
//! them when the process ends, however its tests ended. What a killed process left behind, the next one removes.
//!
//! Which images: `LONGSHORE_TEST_IMAGES` (`registry` or `local`), or what `scripts/servers up` wrote down.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use testcontainers::core::{ContainerPort, IntoContainerPort as _};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _};

use crate::background;

/// The label that every container of a test carries; `scripts/servers down` removes by it.
pub(crate) const LABEL: &str = "longshore-test";
/// How long a process may take to freeze.
const FREEZE_LIMIT: Duration = Duration::from_secs(90);
const OWNER_LABEL: &str = "longshore-test.owner";
const ADVICE: &str = "run the tests with scripts/test, or run `scripts/servers up` first";

static LIVE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Where images come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Images {
    /// Official ones, pulled when needed.
    Registry,
    /// Those that `scripts/servers` made.
    Local,
}

impl Images {
    /// What the environment says, else what `scripts/servers up` found out for this machine, else official ones.
    pub(crate) fn chosen() -> Images {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-servers.env");
        let choice = std::env::var("LONGSHORE_TEST_IMAGES").ok().or_else(|| {
            let text = std::fs::read_to_string(file).ok()?;
            text.lines().find_map(|line| line.strip_prefix("LONGSHORE_TEST_IMAGES=").map(str::to_owned))
        });
        match choice.as_deref() {
            Some("local") => Images::Local,
            Some("registry") | None => Images::Registry,
            Some(other) => panic!("LONGSHORE_TEST_IMAGES is {other:?}; it is registry or local"),
        }
    }

    /// Name and tag of an image that has one name in a registry and another when made here.
    pub(crate) fn pick(self, registry: (&str, &str), local: (&str, &str)) -> (String, String) {
        let (name, tag) = if self == Images::Registry { registry } else { local };
        (name.to_owned(), tag.to_owned())
    }
}

/// A running container; removed, with its volumes, when dropped or when the process ends.
#[derive(Debug)]
pub(crate) struct Container {
    handle: Option<ContainerAsync<GenericImage>>,
    /// The container's full id.
    pub(crate) id: String,
    /// The port on 127.0.0.1 that leads to the container's; stays the same over a stop and a start.
    pub(crate) port: u16,
}

impl Container {
    /// Starts `image` with its `port` published on a free one of this machine. `request` adds the rest.
    pub(crate) async fn start(
        image: (String, String),
        port: u16,
        request: impl Fn(ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage> + Send + Sync + 'static,
    ) -> Container {
        Container::start_by(None, image, port, request).await
    }

    /// The same with a program in place of the image's own entry point, where there is one.
    pub(crate) async fn start_by(
        entrypoint: Option<&'static str>,
        image: (String, String),
        port: u16,
        request: impl Fn(ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage> + Send + Sync + 'static,
    ) -> Container {
        background::run(async move {
            prepare();
            // Another process may take the free port between our look and docker's bind: try again, five times.
            for attempt in 1..=5 {
                let host_port = free_port();
                let mut plain = GenericImage::new(&image.0, &image.1);
                if let Some(entrypoint) = entrypoint {
                    plain = plain.with_entrypoint(entrypoint);
                }
                match launch(plain, port.tcp(), host_port, &request).await {
                    Ok(container) => return container,
                    Err(error) if attempt < 5 && format!("{error:?}").contains("already") => {}
                    Err(error) => {
                        panic!("start a container of {}:{}: {error} ({error:?}); {ADVICE}", image.0, image.1)
                    }
                }
            }
            unreachable!("the last attempt returns or panics")
        })
        .await
    }

    /// Ends its process as a crash does: SIGKILL, nothing flushed or said. Waits until it is gone.
    pub(crate) fn kill(&self) {
        self.told(&["kill", "--signal", "KILL"]);
        self.told(&["wait"]);
    }

    /// Ends its process as an administrator does. Waits until it is gone, for `seconds` at most before it is killed.
    pub(crate) fn stop(&self, seconds: u32) {
        self.told(&["stop", "-t", &seconds.to_string()]);
    }

    /// Starts it again on its data and its port.
    pub(crate) fn start_again(&self) {
        self.told(&["start"]);
    }

    /// Freezes its process: connections stay open, nobody answers. By a signal: `docker pause` gives up on a busy machine
    /// whose cgroups are of the old kind ("unable to freeze").
    pub(crate) fn freeze(&self) {
        self.told(&["kill", "--signal", "STOP"]);
        // Thread by thread: one that still runs could give a last answer.
        let began = Instant::now();
        while !self.is_frozen() {
            assert!(began.elapsed() < FREEZE_LIMIT, "container {} does not freeze", self.id);
        }
    }

    /// Lets it go on after `freeze`.
    pub(crate) fn thaw(&self) {
        self.told(&["kill", "--signal", "CONT"]);
    }

    fn is_frozen(&self) -> bool {
        let status = self.exec("root", &["sh", "-c", "cat /proc/1/task/*/status"]);
        let status = status.unwrap_or_else(|error| panic!("container {}: {error}", self.id));
        let mut states = status.lines().filter_map(|line| line.strip_prefix("State:"));
        states.all(|state| state.trim_start().starts_with('T'))
    }

    fn told(&self, command: &[&str]) {
        run(&[command, &[&self.id]].concat()).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Whether the container's process is running.
    pub(crate) fn is_running(&self) -> bool {
        run(&["inspect", "-f", "{{.State.Running}}", &self.id]).is_ok_and(|output| output.trim() == "true")
    }

    /// The container's address on docker's default network; it may change with a stop and a start.
    pub(crate) fn inner_address(&self) -> String {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        let addresses = run(&["inspect", "-f", format, &self.id]).unwrap_or_else(|error| panic!("{error}"));
        let address = addresses.split_whitespace().next().map(str::to_owned);
        address.unwrap_or_else(|| panic!("container {} has no address of its own", self.id))
    }

    /// The end of the container's log, for messages.
    pub(crate) fn log_tail(&self) -> String {
        let output = Command::new("docker").args(["logs", "--tail", "40", &self.id]).output();
        output.map_or_else(
            |error| format!("(no log: {error})"),
            |output| format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        )
    }

    /// Runs a command in the container as its `user` and gives its standard output.
    pub(crate) fn exec(&self, user: &str, command: &[&str]) -> Result<String, String> {
        let mut arguments = vec!["exec", "-u", user, &self.id];
        arguments.extend(command);
        run(&arguments)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            let id = self.id.clone();
            background::run_in_drop(Duration::from_secs(30), async move {
                if let Err(error) = handle.rm().await {
                    eprintln!("testkit: remove container {id}: {error}");
                }
            });
        }
        lock_live().retain(|id| *id != self.id);
    }
}

async fn launch(
    image: GenericImage,
    port: ContainerPort,
    host_port: u16,
    request: &(impl Fn(ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage> + Send + Sync + 'static),
) -> Result<Container, testcontainers::TestcontainersError> {
    let plain = image
        .with_mapped_port(host_port, port)
        .with_label(LABEL, "1")
        .with_label(OWNER_LABEL, owner(std::process::id()))
        .with_shm_size(256 << 20)
        .with_startup_timeout(Duration::from_secs(120));
    let handle = request(plain).start().await?;
    let id = handle.id().to_owned();
    lock_live().push(id.clone());
    Ok(Container { handle: Some(handle), id, port: host_port })
}

/// Runs the docker client and gives its standard output; the error is its standard error.
pub(crate) fn run(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("start docker: {error}; {ADVICE}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("docker {} ended with {}: {}", arguments[0], output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Whether an image is on this machine.
pub(crate) fn has_image(image: &(String, String)) -> bool {
    run(&["image", "inspect", "-f", "{{.Id}}", &format!("{}:{}", image.0, image.1)]).is_ok()
}

/// The `--label` values that mark a container as this process's.
pub(crate) fn labels() -> [String; 2] {
    [format!("{LABEL}=1"), format!("{OWNER_LABEL}={}", owner(std::process::id()))]
}

/// Once per process: checks that docker answers, removes what dead test processes left, registers our own end.
fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = run(&["version", "-f", "{{.Server.Version}}"]) {
            panic!("docker does not answer: {ADVICE} ({})", error.trim());
        }
        remove_leftovers();
        // SAFETY: `at_exit` takes no arguments, does not unwind (it only runs a child and ignores its result) and
        // stays valid until the process ends, which is all that atexit asks of a handler.
        #[expect(unsafe_code, reason = "statics are never dropped: only libc tells us that the process ends")]
        let registered = unsafe { libc::atexit(at_exit) };
        assert_eq!(registered, 0, "register the removal of containers at exit");
    });
}

extern "C" fn at_exit() {
    let ids = LIVE.lock().map(|ids| ids.clone()).unwrap_or_default();
    if !ids.is_empty() {
        let removed = Command::new("docker")
            .args(["rm", "-f", "-v"])
            .args(ids)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        drop(removed);
    }
}

/// Containers whose owner ran on this machine and is gone. Those of another machine's socket are left alone.
fn remove_leftovers() {
    let format = format!("{{{{.ID}}}} {{{{.Label \"{OWNER_LABEL}\"}}}}");
    let list = run(&["ps", "-a", "--filter", &format!("label={LABEL}"), "--format", &format]).unwrap_or_default();
    for line in list.lines() {
        let Some((id, mark)) = line.split_once(' ') else { continue };
        let Some(pid) = mark.rsplit('/').next().and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        let gone = !Path::new(&format!("/proc/{pid}")).exists();
        if cfg!(target_os = "linux") && mark == owner(pid) && gone {
            drop(run(&["rm", "-f", "-v", id]));
        }
    }
}

fn owner(pid: u32) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{pid}", host.trim())
}

pub(crate) fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("find a free port");
    socket.local_addr().expect("read the port").port()
}

fn lock_live() -> std::sync::MutexGuard<'static, Vec<String>> {
    LIVE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
