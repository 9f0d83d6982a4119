"""The measurements of scripts/bench: runs ours and the peers by turns and writes what it saw as JSON.

Owns the order and the clock. Promises that every timed command starts from the same state (checkpoint, sync, data in the
cache), that a peer which fails or is missing is said to be so and never counted, and that a failure of ours ends the run.
Judges nothing: bench_report.py does.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import bench_shapes
from bench_outcome import Failed, say, size_of

# Ranges of the floor: small enough to end together on four connections, large enough to cost no round trips.
FLOOR_PAGES = 2048
FLOOR_CONNECTIONS = 4
# How often a moment is looked at for other work on the machine: ten seconds in all.
MOST_WAITS = 25
NUMBER = r"(\d+\.\d[\w.]*)"
INSTALL = {
    "pg_dump": "apt-get install postgresql-client",
    "pg_restore": "apt-get install postgresql-client",
    "zstd": "apt-get install zstd",
    "restic": "apt-get install restic",
    "pgcopydb": "apt-get install pgcopydb",
    "minio": "go install github.com/minio/minio@latest, then name the binary in BENCH_MINIO or put it on PATH",
}


def idle():
    """How idle the processors are, 0 to 1, over a moment."""
    def ticks():
        numbers = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return numbers[3] + numbers[4], sum(numbers)

    before = ticks()
    time.sleep(0.4)
    after = ticks()
    return (after[0] - before[0]) / max(after[1] - before[1], 1)


class Bench:
    """One run: where things are, and what was seen."""

    def __init__(self, args):
        self.args = args
        self.work = Path(args.work)
        self.binary = str(Path(args.binary).resolve())
        self.seen = {}
        self.skipped = {}
        self.paths = 0
        self.repository = None
        self.dump = None
        url = "postgres://{PGUSER}@{PGHOST}:{PGPORT}".format(**os.environ)
        self.url = lambda database: f"{url}/{database}?sslmode=disable"
        password = os.environ["PGPASSWORD"]
        self.env = {
            **os.environ,
            "LONGSHORE_SOURCE_PASSWORD": password,
            "LONGSHORE_TARGET_PASSWORD": password,
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(self.work / "restic-cache"),
        }
        for name in [name for name in self.env if name.startswith("BENCH_")]:
            del self.env[name]
        if "BENCH_S3_PORT" in os.environ:
            self.env |= {
                "LONGSHORE_S3_ACCESS_KEY": "bench",
                "LONGSHORE_S3_SECRET_KEY": os.environ["BENCH_S3_SECRET"],
            }

    # Running things

    def sql(self, database, *statements):
        command = ["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", database]
        for statement in statements:
            command += ["-c", statement]
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True).stdout.strip()

    def has(self, tool):
        if shutil.which(tool):
            return True
        if tool not in self.skipped:
            self.skipped[tool] = INSTALL[tool]
            say(f"SKIPPED: {tool} is not installed ({INSTALL[tool]})")
        return False

    def settle(self):
        """Whatever an earlier command left to be written is written now, not while the next one is timed; and when the
        machine does something else, that is waited for. Returns whether it stayed busy."""
        self.sql("postgres", "CHECKPOINT")
        os.sync()
        return not any(idle() >= 0.9 for _ in range(MOST_WAITS))

    def fresh(self, name):
        """A path nobody used before. Nothing is deleted in between: ext4 is slow to make files while it still remembers
        the ones just deleted, and whoever comes next would pay for it."""
        self.paths += 1
        return self.work / f"{name}-{self.paths}"

    def timed(self, name, command):
        """Runs a shell command, remembers seconds and the largest process's peak memory; returns its output."""
        busy = self.settle()
        out, err = self.work / "stdout", self.work / "stderr"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            begun = time.monotonic()
            child = subprocess.Popen(["bash", "-o", "pipefail", "-c", command], env=self.env, stdout=stdout, stderr=stderr)
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.monotonic() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        errors = err.read_text(errors="replace")
        if child.returncode != 0:
            raise Failed(f"{name}: exit {child.returncode}: {errors[-2000:]}")
        entry = {"seconds": seconds, "rss_mib": usage.ru_maxrss / 1024, "cpu": usage.ru_utime + usage.ru_stime, "busy": busy}
        self.seen.setdefault(name, []).append(entry)
        say(f"{name}: {seconds:.2f} s, {entry['rss_mib']:.0f} MiB" + (", BEGUN ON A BUSY MACHINE" if busy else ""))
        return out.read_text(errors="replace"), errors, entry

    def peer(self, tools, name, command):
        """A peer that is missing or fails is left out of the report by name; it does not end the run."""
        if not all([self.has(tool) for tool in tools]):
            return None
        try:
            return self.timed(name, command)[2]
        except Failed as error:
            self.skipped[name] = f"failed here: {str(error)[:300]}"
            say(f"SKIPPED: {error}")
            return None

    # Ours

    def init(self, repository):
        subprocess.run(
            [self.binary, "init", "--repo", repository, "--quiet"], env=self.env, check=True, stdout=subprocess.DEVNULL
        )

    def backup(self, name, repository, database="bench", options=""):
        command = (
            f"'{self.binary}' backup --source '{self.url(database)}' --repo '{repository}' --name {database} "
            f"--output json --log-format json {options}"
        )
        out, _, entry = self.timed(name, command)
        entry["summary"] = {
            key: value for key, value in json.loads(out).items() if key in ("rows", "bytes", "added_bytes", "stored_bytes", "chunks", "reused_chunks")
        }
        return entry

    def restore(self, name, repository, options="", database="bench"):
        command = (
            f"'{self.binary}' restore --repo '{repository}' --from {database}@latest --target '{self.url('bench_back')}' "
            f"--output json --log-format json {options}"
        )
        _, log, entry = self.timed(name, command)
        entry["stages"] = stages(log)


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


# What is measured


def floor(bench):
    """The least that any client can do: four connections copy page ranges out and nobody looks at the rows."""
    rows = bench.sql(
        "bench",
        "SELECT c.oid::regclass, pg_relation_size(c.oid) / current_setting('block_size')::int FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r' AND nspname = 'public' ORDER BY 2 DESC",
    )
    copies = []
    for table, pages in (row.split("|") for row in rows.splitlines()):
        for first in range(0, max(int(pages), 1), FLOOR_PAGES):
            copies.append(
                f"COPY (SELECT * FROM {table} WHERE ctid >= '({first},0)' AND ctid < '({first + FLOOR_PAGES},0)') TO STDOUT;"
            )
    files = []
    for number in range(FLOOR_CONNECTIONS):
        files.append(bench.work / f"floor-{number}.sql")
        share = ["SET enable_seqscan = off;", "SET max_parallel_workers_per_gather = 0;", *copies[number::FLOOR_CONNECTIONS]]
        files[-1].write_text("\n".join(share))
    names = " ".join(str(file) for file in files)
    bench.timed("floor", f"printf '%s\\n' {names} | xargs -P {FLOOR_CONNECTIONS} -n 1 psql -X -q -d bench -o /dev/null -f")


def backup_round(bench, first_round):
    directory, fast = bench.fresh("repository"), bench.fresh("repository")
    floor(bench)
    bench.init(f"file://{directory}")
    entry = bench.backup("ours, first", f"file://{directory}")
    entry["stored"], entry["files"] = size_of(directory)
    entry = bench.backup("ours, again unchanged", f"file://{directory}")
    entry["grown"] = entry["summary"]["added_bytes"]
    piped = bench.fresh("dump.zst")
    peer_size(bench.peer(["pg_dump", "zstd"], "pg_dump | zstd -3 -T2", f"pg_dump bench | zstd -q -3 -T2 -o '{piped}'"), piped)
    bench.init(f"file://{fast}")
    entry = bench.backup("ours, first, zstd-1", f"file://{fast}", options="--compression 1")
    entry["stored"], entry["files"] = size_of(fast)
    if "BENCH_S3_PORT" in os.environ:
        bucket = "s3://bench/r{}?endpoint=http://127.0.0.1:{}&region=us-east-1&path_style=true"
        bucket = bucket.format(len(bench.seen.get("ours, first, into MinIO", [])), os.environ["BENCH_S3_PORT"])
        bench.init(bucket)
        bench.backup("ours, first, into MinIO", bucket)
    elif first_round:
        bench.skipped["minio"] = INSTALL["minio"]
        say(f"SKIPPED: backups into S3, because there is no minio ({INSTALL['minio']})")
    folder = bench.fresh("dump.d")
    peer_size(bench.peer(["pg_dump"], "pg_dump -Fd -j2", f"pg_dump -Fd -j2 -f '{folder}' bench"), folder)
    bench.repository, bench.dump = f"file://{directory}", folder
    if first_round:
        backup_once(bench)


def peer_size(entry, path):
    if entry:
        entry["stored"] = size_of(path)[0] if path.is_dir() else path.stat().st_size


def backup_once(bench):
    """Peers that no target is measured against."""
    custom = bench.fresh("dump.custom")
    peer_size(bench.peer(["pg_dump"], "pg_dump -Fc", f"pg_dump -Fc -f '{custom}' bench"), custom)
    if not bench.has("restic"):
        return
    restic = bench.fresh("restic")
    subprocess.run(["restic", "-q", "-r", restic, "init"], env=bench.env, check=True, stdout=subprocess.DEVNULL)
    command = f"pg_dump bench | restic -q -r '{restic}' backup --stdin --stdin-filename bench.sql"
    peer_size(bench.peer(["pg_dump"], "pg_dump | restic, first", command), restic)
    before = size_of(restic)[0]
    entry = bench.peer(["pg_dump"], "pg_dump | restic, again unchanged", command)
    if entry:
        entry["grown"] = size_of(restic)[0] - before


def restore_round(bench, first_round):
    dump, repository = bench.dump, bench.repository
    drop = "DROP DATABASE IF EXISTS bench_back WITH (FORCE)"

    def empty():
        bench.sql("postgres", drop, "CREATE DATABASE bench_back TEMPLATE template0")

    bench.sql("postgres", drop)
    bench.restore("ours, restore", repository)
    if bench.has("pg_restore") and dump.exists():
        empty()
        bench.peer(["pg_restore"], "pg_restore -j2", f"pg_restore -j2 -d bench_back '{dump}'")
        empty()
        subprocess.run(["pg_restore", "--section=pre-data", "-d", "bench_back", dump], env=bench.env, check=True)
        bench.peer(["pg_restore"], "pg_restore -j2, data only", f"pg_restore -j2 --section=data -d bench_back '{dump}'")
        if first_round:
            empty()
            memory = "PGOPTIONS='-c maintenance_work_mem=256MB -c synchronous_commit=off'"
            name = "pg_restore -j2, with the memory for indexes that ours asks for"
            bench.peer(["pg_restore"], name, f"{memory} pg_restore -j2 -d bench_back '{dump}'")
    if first_round:
        bench.sql("postgres", drop)
        bench.restore("ours, restore, every row compared", repository, "--prove content")
        empty()
        copydb = bench.fresh("pgcopydb")
        source, copy = ("postgres://{PGUSER}@{PGHOST}:{PGPORT}/".format(**os.environ) + name for name in ("bench", "bench_back"))
        bench.peer(
            ["pgcopydb"],
            "pgcopydb clone",
            f"pgcopydb clone --dir '{copydb}' --source '{source}' --target '{copy}' --table-jobs 2 --index-jobs 2 >/dev/null",
        )
    bench.sql("postgres", drop)


def changes(bench):
    """The next backup after the newest hundredth of the rows changed, and after every hundredth row did."""
    repository = bench.repository
    events, accounts = bench.sql("bench", "SELECT (SELECT max(id) FROM events), (SELECT max(aid) FROM pgbench_accounts)").split("|")
    update_events = "UPDATE events SET amount = amount + 1, payload = payload || '{\"changed\": true}' WHERE id "
    update_accounts = "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid "
    newest = [f"> {int(events) * 99 // 100}", f"> {int(accounts) * 99 // 100}"]
    for name, (where_events, where_accounts) in {
        "ours, newest 1 % changed": newest,
        "ours, scattered 1 % changed": ["% 100 = 7", "% 100 = 7"],
    }.items():
        bench.sql("bench", update_events + where_events, update_accounts + where_accounts)
        bench.sql("bench", "VACUUM ANALYZE")
        # Reads what the vacuum touched back into the cache.
        bench.sql("bench", "SELECT count(*) FROM events WHERE amount IS NULL", "SELECT count(*) FROM pgbench_accounts WHERE filler IS NULL")
        floor_name = name.replace("ours", "floor")
        floor(bench)
        bench.seen.setdefault(floor_name, []).append(bench.seen["floor"].pop())
        entry = bench.backup(name, repository)
        entry["grown"] = entry["summary"]["added_bytes"]


# What was measured on


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


def machine(bench):
    cpu = Path("/proc/cpuinfo").read_text()
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    model = re.search(r"model name\s*:\s*(.*)", cpu)
    minio = os.environ.get("BENCH_S3_BINARY")
    disk = bench.sql("bench", "SELECT pg_size_pretty(pg_database_size('bench'))")
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "processor": model[1].strip() if model else "unknown",
        "sha_ni": " sha_ni " in cpu,
        "memory_gib": round(memory / 1024 / 1024),
        "database": disk,
        "server": bench.sql("postgres", "SHOW server_version").split(" ")[0],
        "settings": bench.args.settings,
        "scale": bench.args.scale,
        "rounds": bench.args.rounds,
        "restore_rounds": bench.args.restore_rounds,
        "versions": {
            "longshore": version(NUMBER, bench.binary, "--version"),
            "pg_dump": version(NUMBER, "pg_dump", "--version"),
            "zstd": version(NUMBER, "zstd", "--version"),
            "restic": version(NUMBER, "restic", "version"),
            "pgcopydb": version(NUMBER, "pgcopydb", "--version"),
            "minio": version(r"(RELEASE\S+)", minio, "--version") or ("built from source" if minio else None),
        },
    }


def main():
    parser = argparse.ArgumentParser()
    for name in ("binary", "work", "scale", "settings", "results"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--restore-rounds", type=int, required=True)
    args = parser.parse_args()
    bench = Bench(args)
    facts = machine(bench)
    try:
        # Once through everything unmeasured, so that the first round finds the cache as the others do.
        floor(bench)
        del bench.seen["floor"]
        for number in range(args.rounds):
            say(f"backups, round {number + 1} of {args.rounds}")
            backup_round(bench, number == 0)
        for number in range(args.restore_rounds):
            say(f"restores, round {number + 1} of {args.restore_rounds}")
            restore_round(bench, number == 0)
        changes(bench)
        bench_shapes.measure(bench)
    except Failed as error:
        sys.exit(f"bench: error: {error}")
    results = {"machine": facts, "seen": bench.seen, "skipped": bench.skipped}
    Path(args.results).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
