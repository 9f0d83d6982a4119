"""The measurements of scripts/bench repository: verify, copy and prune, what sealing costs, and restic beside it.

Owns the order. Promises that ours and restic back up the very same files, generation by generation, and that every timed command
starts from the same state (sync, data in the cache). A failure of ours ends the run. Judges nothing: the report does.
"""

import argparse
import json
import os
import shutil
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from bench_outcome import Failed, say, size_of
from bench_run import NUMBER, Runner, processors, version

INSTALL = {
    "restic": "apt-get install restic",
    "minio": "go install github.com/minio/minio@latest, then name the binary in BENCH_MINIO or put it on PATH",
}
# Files and MiB of each, generations, backups and chunks of each for the great prune, the same for counted calls, GB of disk.
SCALES = {
    "full": {"files": 32, "mib": 64, "generations": 4, "many": (1000, 1000), "calls": (100, 1000), "disk": 16},
    "small": {"files": 4, "mib": 16, "generations": 3, "many": (20, 200), "calls": (10, 200), "disk": 1},
}
# Removed, undone no more, condemned, deleted: runs of maintenance that any repository here needs at most.
MOST_RUNS = 40
# Longer than the grace and the undo period that the runs are given, which is a second.
PATIENCE = 1.2


class Bench(Runner):
    """One run: where things are, and what was seen."""

    def __init__(self, args):
        super().__init__(args.work, args.binary, INSTALL)
        self.args = args
        self.measure = str(Path(args.measure).resolve())
        self.scale = SCALES[args.scale]
        self.folder = self.work / "folder"
        self.identity, self.writer = self.work / "identity", self.work / "writer"
        self.plain = self.sealed = self.restic = None
        if "BENCH_S3_PORT" in os.environ:
            # The jobs have names of their own for these; the example asks as any S3 client does.
            self.env |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": os.environ["BENCH_S3_SECRET"]}

    def data(self, generation):
        self.quietly(self.measure, "data", self.folder, self.scale["files"], self.scale["mib"], generation)

    def init(self, repository):
        self.quietly(self.binary, "init", "--repo", repository)
        return repository

    def init_sealed(self, repository):
        """An encrypted repository; its writer's key replaces the one before."""
        if not self.identity.exists():
            self.recipient = self.quietly(self.binary, "keys", "new-identity", "--out", self.identity).strip()
        self.writer = self.fresh("writer")
        self.quietly(self.binary, "init", "--repo", repository, "--recipient", self.recipient, "--writer-key-out", self.writer)
        return repository

    def back_up(self, name, repository, **env):
        self.timed(name, f"'{self.measure}' backup '{repository}' '{self.folder}'", **env)

    def job(self, name, command, **env):
        """One of our jobs; returns what it printed, read as JSON, and the entry."""
        out, _, entry = self.timed(name, f"'{self.binary}' {command} --output json --log-format json", **env)
        return json.loads(out), entry


def local(path):
    return f"file://{path}"


def backups_round(bench, first_round):
    """The first backup of the same files, into a directory."""
    plain, sealed = bench.fresh("plain"), bench.fresh("sealed")
    bench.init(local(plain))
    bench.back_up("ours, backup, plain", local(plain))
    bench.init_sealed(local(sealed))
    bench.back_up("ours, backup, sealed", local(sealed), LONGSHORE_WRITER_KEY_FILE=str(bench.writer))
    restic = None
    if bench.has("restic"):
        restic = bench.fresh("restic")
        bench.quietly("restic", "-q", "-r", restic, "init")
        bench.peer(["restic"], "restic backup", f"restic -q -r '{restic}' backup '{bench.folder}'")
    if bucket := bench.bucket("alone"):
        bench.init(bucket)
        bench.back_up("ours, backup, into MinIO", bucket)
    if first_round:
        bench.plain, bench.sealed, bench.restic, bench.first_writer = plain, sealed, restic, bench.writer


def generations(bench):
    """The backups after that, of files in which a piece has changed."""
    for generation in range(1, bench.scale["generations"]):
        bench.data(generation)
        bench.back_up("ours, next backup, plain", local(bench.plain))
        bench.back_up("ours, next backup, sealed", local(bench.sealed), LONGSHORE_WRITER_KEY_FILE=str(bench.first_writer))
        if bench.restic:
            bench.peer(["restic"], "restic backup, next", f"restic -q -r '{bench.restic}' backup '{bench.folder}'")


def verify_round(bench):
    bench.timed("floor, plain", f"'{bench.measure}' floor '{bench.plain}'")
    verified, entry = bench.job("ours, verify, plain", f"verify --repo '{local(bench.plain)}'")
    entry["stored"], entry["chunks"] = verified["stored_bytes"], verified["chunks"]
    bench.timed("floor, sealed", f"'{bench.measure}' floor '{bench.sealed}'")
    bench.job("ours, verify, sealed, without a key", f"verify --repo '{local(bench.sealed)}'")
    bench.job(
        "ours, verify, sealed, with an identity", f"verify --repo '{local(bench.sealed)}'", LONGSHORE_IDENTITY_FILE=str(bench.identity)
    )
    if bench.restic:
        bench.peer(["restic"], "restic check --read-data", f"restic -q -r '{bench.restic}' check --read-data")


def copy_round(bench, first_round):
    """The newest backup into an empty repository, and each side of that road alone."""
    bench.job("ours, one backup, verify", f"verify folder --repo '{local(bench.plain)}'")
    alone = bench.init(local(bench.fresh("alone")))
    bench.back_up("ours, one backup, write", alone)
    copy = bench.init(local(bench.fresh("copy")))
    bench.job("ours, copy", f"copy folder --repo '{local(bench.plain)}' --to '{copy}'")
    if bucket := bench.bucket("copy"):
        bench.init(bucket)
        bench.job("ours, copy, into MinIO", f"copy folder --repo '{local(bench.plain)}' --to '{bucket}'")
    elif first_round:
        bench.no_minio("what goes into S3")
    if bench.restic:
        copy = bench.fresh("restic-copy")
        bench.quietly("restic", "-q", "-r", copy, "init", "--from-repo", bench.restic, "--copy-chunker-params", RESTIC_FROM_PASSWORD="bench")
        command = f"restic -q -r '{copy}' copy --from-repo '{bench.restic}' latest"
        bench.peer(["restic"], "restic copy", command, RESTIC_FROM_PASSWORD="bench")


def prune(bench, name, repository, keep):
    """Maintenance, run after run, until there is nothing left to do."""
    for _ in range(MOST_RUNS):
        pruned, entry = bench.job(
            name, f"prune --repo '{local(repository)}' --keep-last {keep} --undo-period 1s --grace 1s --silent 1h"
        )
        entry["swept"], entry["marked"], entry["gone"] = pruned["swept"], pruned["marked"], len(pruned["gone"])
        swept = pruned["swept"]
        if not any([entry["marked"], entry["gone"], swept["unreferenced"], swept["waiting"], swept["deleted"]]):
            return
        time.sleep(PATIENCE)
    raise Failed(f"{name}: there is no end to it")


def prune_files(bench):
    """Half of the generations go, from ours and from restic's."""
    keep = bench.scale["generations"] // 2
    before = size_of(bench.plain)[0]
    prune(bench, "ours, prune", bench.plain, keep)
    bench.seen["ours, prune"][0]["freed"] = before - size_of(bench.plain)[0]
    if bench.restic:
        before = size_of(bench.restic)[0]
        command = f"restic -q -r '{bench.restic}' forget --keep-last {keep} --prune"
        entry = bench.peer(["restic"], "restic forget --prune", command)
        if entry:
            entry["freed"] = before - size_of(bench.restic)[0]


def prune_many(bench):
    """Half of many backups go, each with chunks of its own."""
    backups, keys = bench.scale["many"]
    many = bench.fresh("many")
    say(f"making {backups * keys:,} chunks of a row each (minutes at full scale)")
    begun = time.monotonic()
    bench.quietly(bench.measure, "many", many, backups, keys)
    say(f"made in {time.monotonic() - begun:.0f} s")
    prune(bench, "ours, prune many", many, backups // 2)


def count_calls(bench):
    """The same, smaller, with every call to the store counted."""
    backups, keys = bench.scale["calls"]
    counted = bench.fresh("counted")
    bench.quietly(bench.measure, "many", counted, backups, keys)
    lines = bench.quietly(bench.measure, "calls", counted, backups // 2).splitlines()
    return [json.loads(line) for line in lines]


def facts(bench):
    minio = os.environ.get("BENCH_S3_BINARY")
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        **processors(),
        "scale": bench.args.scale,
        "rounds": bench.args.rounds,
        "data": {key: value for key, value in bench.scale.items() if key != "disk"},
        "bytes": size_of(bench.folder)[0],
        "versions": {
            "longshore": version(NUMBER, bench.binary, "--version"),
            "restic": version(NUMBER, "restic", "version"),
            "minio": version(r"(RELEASE\S+)", minio, "--version") or ("built from source" if minio else None),
        },
    }


def measure(bench):
    """Everything; returns the results."""
    bench.data(0)
    machine = facts(bench)
    for number in range(bench.args.rounds):
        say(f"backups, round {number + 1} of {bench.args.rounds}")
        backups_round(bench, number == 0)
    generations(bench)
    # Once through everything unmeasured, so that the first round finds the cache as the others do.
    for repository in (bench.plain, bench.sealed):
        bench.quietly(bench.measure, "floor", repository)
    for number in range(bench.args.rounds):
        say(f"verify and copy, round {number + 1} of {bench.args.rounds}")
        verify_round(bench)
        copy_round(bench, number == 0)
    sizes = {name: size_of(path) for name, path in (("plain", bench.plain), ("sealed", bench.sealed), ("restic", bench.restic)) if path}
    prune_files(bench)
    calls = count_calls(bench)
    prune_many(bench)
    return {"machine": machine, "seen": bench.seen, "skipped": bench.skipped, "calls": calls, "sizes": sizes}


def main():
    parser = argparse.ArgumentParser()
    for name in ("binary", "measure", "work", "scale", "results"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    bench = Bench(parser.parse_args())
    free = shutil.disk_usage(bench.work).free / 1e9
    if free < bench.scale["disk"]:
        sys.exit(f"bench: error: {bench.scale['disk']} GB of disk are needed below {bench.work}, {free:.0f} are free")
    try:
        results = measure(bench)
    except Failed as error:
        sys.exit(f"bench: error: {error}")
    Path(bench.args.results).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
