"""Running what scripts/bench measures: one command after the other, each from the same state.

Owns the clock. Promises that every timed command begins with what came before written to disk and on a machine that is idle, or
is said to have begun on a busy one; that a peer which fails or is missing is said to be so and never counted. Judges nothing.
"""

import json
import os
import re
import shutil
import subprocess
import time
from datetime import datetime
from pathlib import Path

from bench_outcome import Failed, say

NUMBER = r"(\d+\.\d[\w.]*)"
# How often a moment is looked at for other work on the machine: ten seconds in all.
MOST_WAITS = 25


def ticks():
    """Idle and all ticks of the processors since they were started."""
    numbers = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return numbers[3] + numbers[4], sum(numbers)


def idle(before):
    """How idle the processors have been since then, 0 to 1."""
    now = ticks()
    return (now[0] - before[0]) / max(now[1] - before[1], 1)


def idle_now():
    before = ticks()
    time.sleep(0.4)
    return idle(before)


def version(pattern, *command):
    """The first version number that a command prints, or None."""
    if None in command:
        return None
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(pattern, text)
    return found[1] if found else None


def processors():
    """What there is to compute with, for the report."""
    cpu = Path("/proc/cpuinfo").read_text()
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    model = re.search(r"model name\s*:\s*(.*)", cpu)
    return {
        "cores": os.cpu_count(),
        "processor": model[1].strip() if model else "unknown",
        "sha_ni": " sha_ni " in cpu,
        "memory_gib": round(memory / 1024 / 1024),
    }


def stages(log):
    """Seconds per stage, from the times of our own JSON log lines: a stage lasts until the next one begins."""
    stage, since, found = None, None, {}
    for line in log.splitlines():
        try:
            line = json.loads(line)
        except ValueError:
            continue
        if line.get("message") not in ("stage begins", "stage ends"):
            continue
        moment = datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
        if stage:
            found[stage] = (moment - since).total_seconds()
        if line["message"] == "stage begins":
            stage, since = line["stage"], moment
    return found


class Runner:
    """Where things are, and what was seen."""

    def __init__(self, work, binary, install):
        self.work = Path(work)
        self.binary = str(Path(binary).resolve())
        self.install = install
        self.seen = {}
        self.skipped = {}
        self.paths = 0
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BENCH_")},
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(self.work / "restic-cache"),
        }
        if "BENCH_S3_PORT" in os.environ:
            self.env |= {
                "LONGSHORE_S3_ACCESS_KEY": "bench",
                "LONGSHORE_S3_SECRET_KEY": os.environ["BENCH_S3_SECRET"],
            }

    def has(self, tool):
        if shutil.which(tool):
            return True
        if tool not in self.skipped:
            self.skipped[tool] = self.install[tool]
            say(f"SKIPPED: {tool} is not installed ({self.install[tool]})")
        return False

    def settle(self):
        """Whatever an earlier command left to be written is written now, not while the next one is timed; and when the
        machine does something else, that is waited for. Returns whether it stayed busy."""
        os.sync()
        return not any(idle_now() >= 0.9 for _ in range(MOST_WAITS))

    def fresh(self, name):
        """A path nobody used before. Nothing is deleted in between: ext4 is slow to make files while it still remembers
        the ones just deleted, and whoever comes next would pay for it."""
        self.paths += 1
        return self.work / f"{name}-{self.paths}"

    def bucket(self, name):
        """A place in the MinIO that nobody used before; None when there is no MinIO."""
        if "BENCH_S3_PORT" not in os.environ:
            return None
        self.paths += 1
        port = os.environ["BENCH_S3_PORT"]
        return f"s3://bench/{name}-{self.paths}?endpoint=http://127.0.0.1:{port}&region=us-east-1&path_style=true"

    def no_minio(self, what):
        self.skipped["minio"] = self.install["minio"]
        say(f"SKIPPED: {what}, because there is no minio ({self.install['minio']})")

    def timed(self, name, command, **env):
        """Runs a shell command, remembers seconds and the largest process's peak memory; returns its output."""
        busy = self.settle()
        out, err = self.work / "stdout", self.work / "stderr"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            before, begun = ticks(), time.monotonic()
            child = subprocess.Popen(["bash", "-o", "pipefail", "-c", command], env=self.env | env, stdout=stdout, stderr=stderr)
            _, status, usage = os.wait4(child.pid, 0)
            seconds, working = time.monotonic() - begun, 1 - idle(before)
        child.returncode = os.waitstatus_to_exitcode(status)
        errors = err.read_text(errors="replace")
        if child.returncode != 0:
            raise Failed(f"{name}: exit {child.returncode}: {errors[-2000:]}")
        entry = {
            "seconds": seconds,
            "rss_mib": usage.ru_maxrss / 1024,
            "cpu": usage.ru_utime + usage.ru_stime,
            "working": working,
            "busy": busy,
        }
        self.seen.setdefault(name, []).append(entry)
        say(f"{name}: {seconds:.2f} s, {entry['rss_mib']:.0f} MiB" + (", BEGUN ON A BUSY MACHINE" if busy else ""))
        return out.read_text(errors="replace"), errors, entry

    def peer(self, tools, name, command, **env):
        """A peer that is missing or fails is left out of the report by name; it does not end the run."""
        if not all([self.has(tool) for tool in tools]):
            return None
        try:
            return self.timed(name, command, **env)[2]
        except Failed as error:
            self.skipped[name] = f"failed here: {str(error)[:300]}"
            say(f"SKIPPED: {error}")
            return None

    def quietly(self, *command, **env):
        """Runs what is not measured; a failure ends the run."""
        done = subprocess.run([str(part) for part in command], env=self.env | env, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"{command[0]} {command[1]}: exit {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout
