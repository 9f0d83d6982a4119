"""The measurements of scripts/bench mysql: runs ours and the peers by turns and writes what it saw as JSON.

Owns the order. Promises that every timed command starts from the same state (sync, data in the cache), and that a failure of
ours ends the run. Judges nothing: bench_mysql_report.py does.
"""

import os

from bench_jobs import Jobs, described, rounds, run
from bench_outcome import size_of
from bench_run import NUMBER, version

INSTALL = {
    "mariadb-dump": "apt-get install mariadb-client",
    "mydumper": "apt-get install mydumper",
    "zstd": "apt-get install zstd",
}


class Bench(Jobs):
    """One run: where things are, and what was seen."""

    def __init__(self, args):
        super().__init__(args, INSTALL, os.environ["BENCH_MYSQL_PASSWORD"])
        self.client = os.environ["BENCH_MYSQL_CLIENT"]
        address = f"mysql://bench@127.0.0.1:{os.environ['BENCH_MYSQL_PORT']}"
        self.url = lambda database: f"{address}/{database}?ssl-mode=disabled"
        self.dumps = {}

    def sql(self, text):
        return self.quietly("mariadb", f"--defaults-file={self.client}", "-Ne", text).strip()


def backup_round(bench, _first_round):
    directory = bench.fresh("repository")
    bench.repository = f"file://{directory}"
    bench.init(bench.repository)
    entry = bench.backup("ours, first", bench.repository)
    entry["stored"], entry["files"] = size_of(directory)
    piped = bench.fresh("dump.sql.zst")
    dump = f"mariadb-dump --defaults-file='{bench.client}' --single-transaction --quick bench"
    stored(bench.peer(["mariadb-dump", "zstd"], "mysqldump | zstd -3 -T2", f"{dump} | zstd -q -3 -T2 -o '{piped}'"), piped)
    entry = bench.backup("ours, again unchanged", bench.repository)
    entry["grown"] = entry["summary"]["added_bytes"]
    for name, options in {"mydumper -t 2 -c": "-c", "mydumper -t 2": ""}.items():
        folder = bench.fresh("mydumper")
        command = f"mydumper --defaults-file '{bench.client}' -B bench -t 2 {options} --trx-consistency-only -o '{folder}'"
        stored(bench.peer(["mydumper"], name, command), folder)
        bench.dumps[name] = folder
    bench.dumps["pipe"] = piped


def stored(entry, path):
    if entry:
        entry["stored"] = size_of(path)[0] if path.is_dir() else path.stat().st_size


def restore_round(bench, first_round):
    drop = "DROP DATABASE IF EXISTS bench_back"
    bench.sql(drop)
    bench.restore("ours, restore", bench.repository)
    bench.sql(drop)
    folder = bench.dumps["mydumper -t 2 -c"]
    if folder.exists():
        command = f"myloader --defaults-file '{bench.client}' -d '{folder}' -t 2 -B bench_back -o"
        bench.peer(["mydumper"], "myloader -t 2", command)
        bench.sql(drop)
    if first_round:
        bench.restore("ours, restore, every row compared", bench.repository, "--prove content")
        bench.sql(f"{drop}; CREATE DATABASE bench_back")
        command = f"zstd -q -dc '{bench.dumps['pipe']}' | mariadb --defaults-file='{bench.client}' bench_back"
        bench.peer(["mariadb-dump", "zstd"], "zstd -dc | mysql", command)
        bench.sql(drop)


def changes(bench):
    """The next backup after the newest hundredth of the numbered rows changed, and some of those keyed by text."""
    newest = "UPDATE bench.events SET amount = amount + 1 WHERE id > (SELECT MAX(id) * 99 DIV 100 FROM (SELECT id FROM bench.events) AS e)"
    bench.sql(f"{newest}; UPDATE bench.sessions SET seen = NOW() WHERE id < '03'")
    entry = bench.backup("ours, newest 1 % changed", bench.repository)
    entry["grown"] = entry["summary"]["added_bytes"]


def machine(bench):
    sizes = "SELECT ROUND(SUM(DATA_LENGTH + INDEX_LENGTH) / 1048576) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'bench'"
    tools = {
        "mariadb-dump": version(r"(\d+\.\d+\.\d+)", "mariadb-dump", "--version"),
        "mydumper": version(NUMBER, "mydumper", "--version"),
        "zstd": version(NUMBER, "zstd", "--version"),
    }
    return described(bench, tools, database_mib=bench.sql(sizes), server=bench.sql("SELECT VERSION()").split("-")[0])


def measure(bench):
    rounds(bench, backup_round, restore_round)
    changes(bench)


if __name__ == "__main__":
    run(Bench, machine, measure)
