"""Containers in a kubelet's place: what a pod's specification says, as Docker's options; and the servers that some of the tests need.

Promises: what is made here is removed at the end, also when a test fails. Refuses to guess: a field of a volume that it does not know is an error.
"""

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from rendered import container, environment, secrets

BINARY = os.environ.get("LONGSHORE_BINARY", "")
PASSWORD = "canary-7b1f"
# A user that no image knows, as OpenShift gives; and where the chart asks for no group, a group like one of OpenShift's.
USER, GROUP = 1000680000, 1000680000
# Only root gives files to other groups; elsewhere the pod's group is our own.
OUR_GROUP = None if os.geteuid() == 0 else os.getegid()
AUTHORITY = Path(__file__).parent / "authority.crt"


def docker(*args: str, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(args)}: {done.stderr}")
    return done


def docker_answers() -> bool:
    if not BINARY:
        return False
    return shutil.which("docker") is not None and docker("info", check=False).returncode == 0


def server_image(name: str) -> str:
    """The one that scripts/servers has made here, or the official one."""
    local = f"longshore-test/{name}"
    return local if docker("images", "--quiet", local).stdout else {"minio:latest": "minio/minio:latest"}.get(name, name)


def program() -> list[str]:
    """Options that put the program into a container, and the image."""
    if BINARY == "none":
        return [os.environ["LONGSHORE_JOB_IMAGE"]]
    image = os.environ.get("LONGSHORE_JOB_IMAGE") or server_image("postgres:17")
    return ["--volume", f"{Path(BINARY).resolve()}:/usr/local/bin/longshore:ro", image]


def longshore(*args: str, folder: Path | None = None) -> str:
    mount = ["--volume", f"{folder}:/mnt"] if folder else []
    us = ["--user", f"{os.geteuid()}:{os.getegid()}"]
    return docker("run", "--rm", "--network", "none", *us, "--entrypoint", "longshore", *mount, *program(), *args).stdout


@dataclass
class Ended:
    code: int
    stderr: str
    # What Kubernetes shows as the container's message.
    message: str


class Kubelet:
    """Runs pods in a network, with the content of Secrets and ConfigMaps that the test knows; of others there is something of the right form."""

    def __init__(self, network: str, known: dict[tuple[str, str], str] | None = None, config: dict[str, str] | None = None):
        self.network, self.known, self.config = network, known or {}, config or {}

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="longshore-chart-"))
        self.folder.chmod(0o755)
        keys = self.folder / "keys"
        keys.mkdir()
        recipient = longshore("keys", "new-identity", "--out", "/mnt/identity", "--quiet", folder=keys)
        recipient = next(word for word in recipient.split() if word.startswith("age1"))
        (keys / "repository").mkdir()
        longshore("init", "--quiet", "--repo", "file:///mnt/repository", "--recipient", recipient, "--writer-key-out", "/mnt/writer", folder=keys)
        self.keys = {"identity": (keys / "identity").read_text(), "writer": (keys / "writer").read_text()}
        return self

    def __exit__(self, *_):
        # What pods have written belongs to their user.
        opened = ["--user", "0:0", "--entrypoint", "chmod", "--volume", f"{self.folder}:/mnt", program()[-1], "-R", "a+rwX", "/mnt"]
        docker("run", "--rm", "--network", "none", *opened, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, pod: dict) -> Ended:
        spec, only = pod["spec"], container(pod)
        place = Path(tempfile.mkdtemp(dir=self.folder))
        place.chmod(0o755)
        group = OUR_GROUP if OUR_GROUP is not None else spec["securityContext"].get("fsGroup", GROUP)
        log = place / "termination-log"
        log.touch()
        log.chmod(0o666)
        options = ["--rm", "--network", self.network, "--user", f"{spec['securityContext'].get('runAsUser', USER)}:0", "--group-add", str(group)]
        options += ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", memory(only["resources"]["limits"]["memory"])]
        options += ["--volume", f"{log}:{only['terminationMessagePath']}", "--entrypoint", only["command"][0]]
        for name, value in environment(pod).items():
            options += ["--env", f"{name}={value}"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for mount in only["volumeMounts"]:
            options += self.mount(volumes[mount["name"]], mount, pod, place, group)
        done = docker("run", *options, *program(), *only["command"][1:], *only["args"], check=False)
        return Ended(done.returncode, done.stderr, log.read_text())

    def claim(self, name: str, group: int = GROUP) -> Path:
        """What is on a volume; it is there from its first use on."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        os.chown(folder, -1, group if OUR_GROUP is None else OUR_GROUP)
        folder.chmod(0o2775)
        return folder

    def mount(self, volume: dict, mount: dict, pod: dict, place: Path, group: int) -> list[str]:
        (kind,) = volume.keys() - {"name"}
        path, folder = mount["mountPath"], place / volume["name"]
        if kind == "emptyDir":
            return ["--tmpfs", f"{path}:mode=1777,size=64m"]
        if kind in ("persistentVolumeClaim", "nfs"):
            folder = self.claim(volume[kind].get("claimName", "nfs"), group)
            return ["--volume", f"{folder}:{path}{':ro' if mount.get('readOnly') else ''}"]
        folder.mkdir()
        if kind == "projected":
            for file, source in secrets(pod).items():
                write(folder / Path(file).name, self.secret(Path(file).name, source), volume[kind]["defaultMode"], group)
        elif kind in ("configMap", "secret"):
            items = [item["path"] for item in volume[kind].get("items", [])] or ["ca.crt"]
            for item in items:
                write(folder / item, self.config.get(item) or AUTHORITY.read_text(), 0o644, group)
        else:
            raise AssertionError(f"a volume of a kind that this test does not know: {volume}")
        return ["--volume", f"{folder}:{path}:ro"]

    def secret(self, file: str, source: tuple[str, str]) -> str:
        """What a Secret holds: as the test says, or something of the right form."""
        forms = {"source": f"postgres://u:{PASSWORD}@db/app", "target": f"postgres://u:{PASSWORD}@db/app"}
        forms |= {"lease": f"redis://u:{PASSWORD}@valkey", "webhook": f"https://hooks.example.org/{PASSWORD}", "ping": f"https://hc.example.org/{PASSWORD}"}
        forms |= {"identity": self.keys["identity"], "to-identity": self.keys["identity"], "writer-key": self.keys["writer"], "to-writer-key": self.keys["writer"]}
        return self.known.get(source) or forms.get(file, PASSWORD)


def write(path: Path, text: str, mode: int, group: int) -> None:
    path.write_text(text)
    os.chown(path, -1, group)
    path.chmod(mode)


def memory(quantity: str) -> str:
    """512Mi is 512m for Docker."""
    return quantity.removesuffix("i").lower()


class Servers:
    """Two PostgreSQL servers, `db` and `staging`, and a MinIO, `store`, with a bucket `backups`."""

    def __enter__(self):
        self.network = f"longshore-chart-{uuid.uuid4().hex[:12]}"
        self.names = []
        try:
            docker("network", "create", self.network)
            for host in ("db", "staging"):
                self.start(host, ["--env", f"POSTGRES_PASSWORD={PASSWORD}"], server_image("postgres:17"))
            self.start("store", ["--env", "MINIO_ROOT_USER=longshore", "--env", f"MINIO_ROOT_PASSWORD={PASSWORD}"], server_image("minio:latest"), "server", "/data")
            for host in ("db", "staging"):
                self.until(lambda host=host: self.sql(host, "postgres", "SELECT 1") == "1", f"{host} answers")
            self.until(self.bucket, "the store has a bucket")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in self.names:
            docker("rm", "--force", "--volumes", name, check=False)
        docker("network", "rm", self.network, check=False)

    def start(self, host: str, options: list[str], image: str, *args: str) -> None:
        name = f"{self.network}-{host}"
        self.names.append(name)
        docker("run", "--detach", "--name", name, "--network", self.network, "--network-alias", host, *options, image, *args)

    def bucket(self) -> bool:
        name = f"{self.network}-store"
        alias = docker("exec", name, "mc", "--quiet", "alias", "set", "here", "http://127.0.0.1:9000", "longshore", PASSWORD, check=False)
        return alias.returncode == 0 and docker("exec", name, "mc", "--quiet", "mb", "--ignore-existing", "here/backups", check=False).returncode == 0

    def sql(self, host: str, database: str, statement: str) -> str:
        """The rows, as psql prints them bare; over TCP, so that a server that is still being set up does not count."""
        argv = ["exec", "--env", f"PGPASSWORD={PASSWORD}", f"{self.network}-{host}", "psql", "-h", "127.0.0.1", "-U", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1"]
        done = docker(*argv, "-d", database, "-c", statement, check=False)
        if done.returncode != 0 and statement != "SELECT 1":
            raise AssertionError(f"{host}: {done.stderr}")
        return done.stdout.strip()

    def until(self, holds, what: str) -> None:
        """Waits until something is so, for a minute at most."""
        for _ in range(240):
            if holds():
                return
            time.sleep(0.25)
        raise AssertionError(f"not within a minute: {what}")
