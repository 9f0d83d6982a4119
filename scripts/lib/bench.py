"""The measurements of scripts/bench postgres: runs ours and the peers by turns and writes what it saw as JSON.

Owns the order. Promises that every timed command starts from the same state (checkpoint, sync, data in the cache), and
that a failure of ours ends the run. Judges nothing: bench_report.py does.
"""

import os
import subprocess

import bench_shapes
from bench_jobs import Jobs, described, rounds, run
from bench_outcome import size_of
from bench_run import NUMBER, version

# Ranges of the floor: small enough to end together on four connections, large enough to cost no round trips.
FLOOR_PAGES = 2048
FLOOR_CONNECTIONS = 4
INSTALL = {
    "pg_dump": "apt-get install postgresql-client",
    "pg_restore": "apt-get install postgresql-client",
    "zstd": "apt-get install zstd",
    "restic": "apt-get install restic",
    "pgcopydb": "apt-get install pgcopydb",
    "minio": "go install github.com/minio/minio@latest, then name the binary in BENCH_MINIO or put it on PATH",
}


class Bench(Jobs):
    """One run: where things are, and what was seen."""

    def __init__(self, args):
        super().__init__(args, INSTALL, os.environ["PGPASSWORD"])
        self.dump = None
        url = "postgres://{PGUSER}@{PGHOST}:{PGPORT}".format(**os.environ)
        self.url = lambda database: f"{url}/{database}?sslmode=disable"

    # Running things

    def sql(self, database, *statements):
        command = ["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", database]
        for statement in statements:
            command += ["-c", statement]
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True).stdout.strip()

    def settle(self):
        self.sql("postgres", "CHECKPOINT")
        return super().settle()


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
    if bucket := bench.bucket("repository"):
        bench.init(bucket)
        bench.backup("ours, first, into MinIO", bucket)
    elif first_round:
        bench.no_minio("backups into S3")
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


def machine(bench):
    minio = os.environ.get("BENCH_S3_BINARY")
    disk = bench.sql("bench", "SELECT pg_size_pretty(pg_database_size('bench'))")
    tools = {
        "pg_dump": version(NUMBER, "pg_dump", "--version"),
        "zstd": version(NUMBER, "zstd", "--version"),
        "restic": version(NUMBER, "restic", "version"),
        "pgcopydb": version(NUMBER, "pgcopydb", "--version"),
        "minio": version(r"(RELEASE\S+)", minio, "--version") or ("built from source" if minio else None),
    }
    return described(bench, tools, database=disk, server=bench.sql("postgres", "SHOW server_version").split(" ")[0])


def measure(bench):
    # Once through everything unmeasured, so that the first round finds the cache as the others do.
    floor(bench)
    del bench.seen["floor"]
    rounds(bench, backup_round, restore_round)
    changes(bench)
    bench_shapes.measure(bench)


if __name__ == "__main__":
    run(Bench, machine, measure)
