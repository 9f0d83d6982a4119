"""The measurements of scripts/bench mongo: runs ours and the vendor's tools by turns and writes what it saw as JSON.

Owns the order. Promises that every timed command starts from the same state (sync, data in the cache), that passwords stand on no
command line, and that a failure of ours ends the run. Judges nothing: bench_mongo_report.py does.
"""

import json
import os

from bench_jobs import Jobs, described, rounds, run
from bench_outcome import size_of
from bench_run import NUMBER, version

TOOLS = "MongoDB's database tools: https://www.mongodb.com/docs/database-tools/"
INSTALL = {"mongodump": TOOLS, "mongorestore": TOOLS, "zstd": "apt-get install zstd"}
RENAMED = "--nsFrom='bench.*' --nsTo='bench_back.*'"


class Bench(Jobs):
    """One run: where things are, and what was seen."""

    def __init__(self, args):
        password = os.environ["BENCH_MONGO_PASSWORD"]
        super().__init__(args, INSTALL, password)
        address = f"127.0.0.1:{os.environ['BENCH_MONGO_PORT']}"
        self.url = lambda database: f"mongodb://bench@{address}/{database}?authSource=admin&directConnection=true"
        self.config = self.work / "tools.yaml"
        self.config.touch(mode=0o600)
        self.config.write_text(f'uri: "mongodb://bench:{password}@{address}/?authSource=admin&directConnection=true"\n')
        self.env |= {name: os.environ[name] for name in ("BENCH_MONGO_PORT", "BENCH_MONGO_PASSWORD")}
        self.data = os.environ["BENCH_MONGO_DATA"]
        self.dumps = {}

    def dump(self, name, options, path, pipe=""):
        """One run of mongodump, whose result restores read later."""
        tools = ["mongodump", "zstd"] if pipe else ["mongodump"]
        entry = self.peer(tools, name, f"mongodump --config='{self.config}' --quiet --db=bench {options}{pipe}")
        if entry:
            entry["stored"] = size_of(path)[0] if path.is_dir() else path.stat().st_size
            self.dumps[name] = path

    def vendor_restore(self, name, dumped, options, pipe=""):
        """One run of mongorestore from what `dumped` has written."""
        if dumped in self.dumps:
            command = f"mongorestore --config='{self.config}' --quiet {RENAMED} {options}"
            self.peer(["mongorestore"], name, f"{pipe}{command}")
            self.drop_restored()

    def drop_restored(self):
        self.quietly(self.data, "drop", "bench_back")


def backup_round(bench, _first_round):
    directory = bench.fresh("repository")
    bench.repository = f"file://{directory}"
    bench.init(bench.repository)
    entry = bench.backup("ours, first", bench.repository)
    entry["stored"], entry["files"] = size_of(directory)
    archive, piped, folder = bench.fresh("archive.gz"), bench.fresh("archive.zst"), bench.fresh("folder")
    bench.dump("archive, gzip", f"--gzip --archive='{archive}'", archive)
    bench.dump("archive, zstd", "--archive", piped, f" | zstd -q -3 -T2 -o '{piped}'")
    entry = bench.backup("ours, again unchanged", bench.repository)
    entry["grown"] = entry["summary"]["added_bytes"]
    bench.dump("folder, gzip", f"--gzip --numParallelCollections=4 --out='{folder}'", folder)


def restore_round(bench, first_round):
    bench.drop_restored()
    bench.restore("ours, restore", bench.repository)
    bench.drop_restored()
    dumps = bench.dumps
    bench.vendor_restore("mongorestore, archive, gzip", "archive, gzip", f"--gzip --archive='{dumps.get('archive, gzip')}'")
    if first_round:
        bench.restore("ours, restore, every document compared", bench.repository, "--prove content")
        bench.drop_restored()
        unpack = f"zstd -q -dc '{dumps.get('archive, zstd')}' | "
        bench.vendor_restore("mongorestore, archive, zstd", "archive, zstd", "--archive", unpack)
        wide = "--gzip --numParallelCollections=4 --numInsertionWorkersPerCollection=4"
        bench.vendor_restore("mongorestore, folder, four by four", "folder, gzip", f"{wide} --dir='{dumps.get('folder, gzip')}'")


def changes(bench):
    """The next backup after the newest hundredth of the numbered documents changed."""
    bench.quietly(bench.data, "change")
    entry = bench.backup("ours, newest 1 % changed", bench.repository)
    entry["grown"] = entry["summary"]["added_bytes"]


def machine(bench):
    server = json.loads(bench.quietly(bench.data, "describe"))
    tools = {name: version(NUMBER, name, "--version") for name in ("mongodump", "zstd")}
    return described(bench, tools, **server)


def measure(bench):
    rounds(bench, backup_round, restore_round)
    changes(bench)


if __name__ == "__main__":
    run(Bench, machine, measure)
