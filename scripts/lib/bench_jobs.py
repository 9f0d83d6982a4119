"""What every measurement of databases shares: our own jobs as timed commands, the rounds, and the command line of a measurement.

Owns how ours is run, and in which order. Promises that what ours says of itself (rows, bytes, stages) is kept beside its seconds, and that a failure of
ours ends the run without results. Judges nothing.
"""

import argparse
import json
import sys
from datetime import datetime, timezone
from pathlib import Path

from bench_outcome import Failed, say
from bench_run import NUMBER, Runner, processors, stages, version

SUMMARY = ("rows", "bytes", "added_bytes", "stored_bytes", "chunks", "reused_chunks")


class Jobs(Runner):
    """Ours against databases; who inherits says `url(database)`."""

    def __init__(self, args, install, password):
        super().__init__(args.work, args.binary, install)
        self.args = args
        self.repository = None
        self.env |= {"LONGSHORE_SOURCE_PASSWORD": password, "LONGSHORE_TARGET_PASSWORD": password}

    def init(self, repository):
        self.quietly(self.binary, "init", "--repo", repository, "--quiet")

    def backup(self, name, repository, database="bench", options=""):
        command = (
            f"'{self.binary}' backup --source '{self.url(database)}' --repo '{repository}' --name {database} "
            f"--output json --log-format json {options}"
        )
        out, _, entry = self.timed(name, command)
        entry["summary"] = {key: value for key, value in json.loads(out).items() if key in SUMMARY}
        return entry

    def restore(self, name, repository, options="", database="bench"):
        command = (
            f"'{self.binary}' restore --repo '{repository}' --from {database}@latest --target '{self.url('bench_back')}' "
            f"--output json --log-format json {options}"
        )
        _, log, entry = self.timed(name, command)
        entry["stages"] = stages(log)


def described(bench, tools, **facts):
    """What there was to measure with, for the report: the machine, `facts` of the server and its data, and the versions of `tools`."""
    given = {name: getattr(bench.args, name) for name in ("settings", "scale", "rounds", "restore_rounds")}
    versions = {"longshore": version(NUMBER, bench.binary, "--version"), **tools}
    return {"date": datetime.now(timezone.utc).strftime("%Y-%m-%d"), **processors(), **facts, **given, "versions": versions}


def rounds(bench, backup_round, restore_round):
    """All rounds; each is told whether it is the first of its kind."""
    for kind, many, one in (("backups", bench.args.rounds, backup_round), ("restores", bench.args.restore_rounds, restore_round)):
        for number in range(many):
            say(f"{kind}, round {number + 1} of {many}")
            one(bench, number == 0)


def run(make, machine, measure):
    """The command of a measurement: makes the bench, measures, and writes what was seen."""
    parser = argparse.ArgumentParser()
    for name in ("binary", "work", "scale", "settings", "results"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--restore-rounds", type=int, required=True)
    args = parser.parse_args()
    bench = make(args)
    facts = machine(bench)
    try:
        measure(bench)
    except Failed as error:
        sys.exit(f"bench: error: {error}")
    results = {"machine": facts, "seen": bench.seen, "skipped": bench.skipped}
    Path(args.results).write_text(json.dumps(results, indent=1))
