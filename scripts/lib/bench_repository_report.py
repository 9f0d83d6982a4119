"""The report of scripts/bench repository: medians, ratios and verdicts from the measurements of bench_repository.py, as Markdown.

Owns the targets and the words. Promises that what was missed, and wherever restic was faster or stores less, stands in the report as
plainly as the rest, and that the text between the two marks in docs/benchmarks-repository.md, which people write, stays as it is.
"""

from bench_markdown import MIB, Report, run

HIGHEST = 256
# How much of the processors' time a copy leaves unused at most, when neither side alone explains its time.
WORKING = 0.85
CALLS = ("list", "get", "head", "create", "delete", "now")


class Measured(Report):
    """The measurements of a repository."""

    def __init__(self, results):
        super().__init__(results)
        self.calls = results["calls"]
        self.sizes = results["sizes"]

    def highest(self, name):
        return f"{max(run['rss_mib'] for run in self.seen[name]):.0f}"

    def ratio(self, name, base):
        return f"{self.of(name) / self.of(base):.2f}" if self.has(name, base) else ""

    def working(self, name):
        return f"{100 * self.of(name, 'working'):.0f} %"

    def total(self, name, key="seconds"):
        return sum(run[key] for run in self.seen[name])

    def swept(self, name, key):
        return [run["swept"][key] for run in self.seen[name]]


def millions(bytes_):
    return f"{bytes_ / MIB:,.0f}"


def backups(report):
    rows = []
    names = [
        ("ours, backup, plain", "**longshore**, first", "ours, backup, plain"),
        ("ours, backup, sealed", "**longshore**, first, sealed", "ours, backup, plain"),
        ("restic backup", "`restic backup`, first (always encrypted)", "ours, backup, plain"),
        ("ours, backup, into MinIO", "**longshore**, first, into MinIO on the same machine", "ours, backup, plain"),
        ("ours, next backup, plain", "**longshore**, a fiftieth changed", "ours, next backup, plain"),
        ("ours, next backup, sealed", "**longshore**, a fiftieth changed, sealed", "ours, next backup, plain"),
        ("restic backup, next", "`restic backup`, a fiftieth changed", "ours, next backup, plain"),
    ]
    for name, shown, base in names:
        if report.has(name):
            rows.append((shown, report.seconds(name), report.ratio(name, base), f"{report.of(name, 'cpu'):.1f}", report.working(name)))
    report.add("", "## Backup: what sealing costs")
    report.table(("what", "seconds: median (range)", "× plain", "CPU seconds", "processors at work"), rows)
    sizes = "; ".join(f"{name} {millions(size)} MiB in {files:,} files" for name, (size, files) in report.sizes.items())
    report.add(
        "",
        "Ours is not the backup job but the session below it, fed with the rows of files: no database takes part. "
        "Sealing is XChaCha20-Poly1305 under a key per session, and ids become HMAC-SHA-256.",
        f"After all generations: {sizes}.",
    )


def verifies(report):
    names = [
        ("floor, plain", "floor: read, SHA-256, decompress, SHA-256, a thread per core", "floor, plain"),
        ("ours, verify, plain", "**longshore verify**", "floor, plain"),
        ("floor, sealed", "floor of the sealed one without a key: read, SHA-256", "floor, sealed"),
        ("ours, verify, sealed, without a key", "**longshore verify**, sealed, without a key", "floor, sealed"),
        ("ours, verify, sealed, with an identity", "**longshore verify**, sealed, opened with an identity", "floor, plain"),
        ("restic check --read-data", "`restic check --read-data`", "floor, plain"),
    ]
    rows = []
    for name, shown, floor in names:
        if report.has(name):
            cpu = f"{report.of(name, 'cpu'):.1f}"
            rows.append((shown, report.seconds(name), report.ratio(name, floor), cpu, report.working(name), report.highest(name)))
    first = report.seen["ours, verify, plain"][0]
    report.add("", "## Verify")
    report.table(("what", "seconds: median (range)", "× its floor", "CPU seconds", "processors at work", "peak MiB"), rows)
    report.add(
        "",
        f"All backups: {first['chunks']:,} chunks, {millions(first['stored'])} MiB stored. `verify` also reads manifests and lists, and records what "
        "it found about each backup; the floor knows nothing of either. The third one's floor is the plain one's: it has the cipher on top.",
    )


def copies(report):
    names = [
        ("ours, one backup, verify", "reading alone: **longshore verify** of that backup"),
        ("ours, one backup, write", "writing alone: the same rows backed up into an empty repository"),
        ("ours, copy", "**longshore copy** into a directory"),
        ("ours, backup, into MinIO", "writing alone, into MinIO"),
        ("ours, copy, into MinIO", "**longshore copy** into MinIO"),
        ("restic copy", "`restic copy` into a directory"),
    ]
    rows = []
    for name, shown in names:
        if report.has(name):
            rows.append((shown, report.seconds(name), f"{report.of(name, 'cpu'):.1f}", report.working(name), report.highest(name)))
    report.add("", "## Copy of one backup into an empty repository")
    report.table(("what", "seconds: median (range)", "CPU seconds", "processors at work", "peak MiB"), rows)
    report.add(
        "",
        "Both sides are on this machine and share its cores, so a copy cannot be as fast as its slower side alone: it has to do the work of "
        "both. It opens, checks, compresses and hashes anew whatever it copies, because the other repository has other keys and "
        "may have another compression.",
    )


def prunes(report):
    rows = []
    keep = report.machine["data"]["generations"] // 2
    if report.has("ours, prune"):
        runs = report.seen["ours, prune"]
        longest = max(run["seconds"] for run in runs)
        rows.append((f"**longshore prune**, {len(runs)} runs in all", f"{report.total('ours, prune'):.1f}", f"{longest:.1f}", report.highest("ours, prune"), millions(runs[0]["freed"])))
    if report.has("restic forget --prune"):
        run = report.seen["restic forget --prune"][0]
        rows.append(("`restic forget --prune`", f"{run['seconds']:.1f}", "", report.highest("restic forget --prune"), millions(run["freed"])))
    report.add("", f"## Prune of the files' backups, keeping {keep}")
    report.table(("what", "seconds (once)", "longest run", "peak MiB", "MiB freed"), rows)
    report.add(
        "",
        "A removal takes several runs on purpose: the first marks, which can be undone; a later one condemns what nothing refers to; the one after "
        "that deletes. In production a day lies between two of them, here a second, which is not counted. `restic` deletes at once, "
        "keeps everybody else out meanwhile, and repacks files that are partly used; ours has nothing to repack, as an "
        "object is one chunk.",
    )


def many(report):
    backups, keys = report.machine["data"]["many"]
    runs = report.seen["ours, prune many"]
    report.add("", f"## Prune of {backups:,} backups over {backups * keys:,} chunks, keeping half")
    rows = []
    for number, run in enumerate(runs):
        swept = run["swept"]
        done = [
            f"{value:,} {what}"
            for value, what in (
                (run["marked"], "backups marked"),
                (run["gone"], "manifests deleted"),
                (swept["deleted"], "objects deleted"),
                (swept["condemned"], "condemned"),
            )
            if value
        ]
        rows.append((number + 1, ", ".join(done) or "nothing was left", f"{run['seconds']:.1f}", f"{run['cpu']:.1f}", f"{run['rss_mib']:.0f}"))
    report.table(("run", "did", "seconds", "CPU seconds", "peak MiB"), rows)
    report.add(
        "",
        f"In all {report.total('ours, prune many'):.0f} s; each object is one row, so this measures objects, not bytes. One sweep condemns 100,000 objects at most, "
        "which bounds its memory; the next run goes on. `restic` is not beside it: it packs rows of this size by the ten thousand "
        "into one file, and would show how it deletes a few files.",
    )


def requests(report):
    backups, keys = report.machine["data"]["calls"]
    report.add("", "## Requests of a prune", "", f"{backups:,} backups over {backups * keys:,} chunks, keeping half; calls to the store, each of which is one request to S3.")
    rows = []
    for number, run in enumerate(report.calls):
        swept = run["pruned"]["swept"]
        rows.append((number + 1, f"{swept['deleted']:,}", *(f"{run['calls'].get(call, 0):,}" for call in CALLS)))
    report.table(("run", "objects deleted", *CALLS), rows)
    listed, removed = per_thousand(report)
    report.add(
        "",
        f"Per 1,000 keys: {listed:.2f} requests to list them in each run, {removed:.2f} to delete them; besides, each run reads every manifest (for the "
        "plan and for what is needed: twice) and every list once.",
    )


def per_thousand(report):
    """Requests per 1,000 keys: to list all, in the run that listed most per key; to delete, over all that were deleted."""
    backups, keys = report.machine["data"]["calls"]
    there, listed = backups * keys, 0
    for run in report.calls:
        # What a run deletes it has deleted before it lists.
        there -= run["pruned"]["swept"]["deleted"]
        listed = max(listed, 1000 * run["calls"].get("list", 0) / max(there, 1))
    deleted = sum(run["pruned"]["swept"]["deleted"] for run in report.calls)
    calls = sum(run["calls"].get("delete", 0) for run in report.calls if run["pruned"]["swept"]["deleted"])
    return listed, 1000 * calls / max(deleted, 1)


def targets(report):
    """Rows of (target, measured, met). A target whose peer is missing has no verdict."""
    of, has = report.of, report.has
    rows = []

    def judge(what, needed, value, limit, unit="×", at_least=False, digits=2):
        if all(has(name) for name in needed):
            seen = value()
            met = seen >= limit if at_least else seen <= limit
            rows.append((f"{what} {'≥' if at_least else '≤'} {limit:g} {unit}", f"{seen:.{digits}f} {unit}", "met" if met else "**missed**"))
        else:
            rows.append((what, "not measured", "no verdict"))

    over = lambda name, floor: lambda: of(name) / of(floor)
    judge("verify: time over hashing and decompressing on all cores", [], over("ours, verify, plain", "floor, plain"), 1.25)
    judge("verify, sealed, without a key: time over hashing on all cores", [], over("ours, verify, sealed, without a key", "floor, sealed"), 1.25)
    judge("verify: faster than `restic check --read-data` by", ["restic check --read-data"], over("restic check --read-data", "ours, verify, plain"), 1, at_least=True)
    backups, keys = report.machine["data"]["many"]
    judge(f"prune of {backups:,} backups, {backups * keys:,} chunks: memory", [], lambda: max(run["rss_mib"] for run in report.seen["ours, prune many"]), HIGHEST, "MiB", digits=0)
    listed, removed = per_thousand(report)
    judge("prune: requests to list 1,000 keys, in one run", [], lambda: listed, 1.5, "requests")
    judge("prune: requests to delete 1,000 keys", [], lambda: removed, 1.5, "requests")
    judge("prune: faster than `restic forget --prune`, all runs together, by", ["restic forget --prune"], lambda: report.total("restic forget --prune") / report.total("ours, prune"), 1, at_least=True)
    for name, writing, where in (("ours, copy", "ours, one backup, write", "directory"), ("ours, copy, into MinIO", "ours, backup, into MinIO", "MinIO")):
        def saturation(name=name, writing=writing):
            slower = max(of(writing), of("ours, one backup, verify"))
            return 100 * max(slower / of(name), of(name, "working"))

        judge(f"copy into a {where}: its slower side, or the processors, at work".replace("a MinIO", "MinIO"), [name, writing], saturation, 100 * WORKING, "%", at_least=True, digits=0)
    judge("copy: faster than `restic copy` by", ["restic copy"], over("restic copy", "ours, copy"), 1, at_least=True)
    return rows


def slower(report):
    """Where restic beats ours at the same work."""
    pairs = [
        ("ours, backup, sealed", "restic backup"),
        ("ours, next backup, sealed", "restic backup, next"),
        ("ours, verify, plain", "restic check --read-data"),
        ("ours, verify, sealed, with an identity", "restic check --read-data"),
        ("ours, copy", "restic copy"),
    ]
    lines = [
        f"- `{peer}` takes {report.of(peer):.1f} s, “{ours}” {report.of(ours):.1f} s."
        for ours, peer in pairs
        if report.has(ours, peer) and report.of(peer) < report.of(ours)
    ]
    if report.has("ours, prune", "restic forget --prune"):
        ours, theirs = report.total("ours, prune"), report.total("restic forget --prune")
        if theirs < ours:
            lines.append(f"- `restic forget --prune` takes {theirs:.1f} s, “ours, prune” {ours:.1f} s in all of its runs.")
    restic = report.sizes.get("restic")
    for name in ("plain", "sealed"):
        if restic and restic[0] < report.sizes[name][0]:
            lines.append(f"- `restic` stores {millions(restic[0])} MiB, ours ({name}) {millions(report.sizes[name][0])} MiB.")
    return lines or ["- `restic` was not faster, and did not store less, at anything measured here."]


def opening(report):
    machine, data = report.machine, report.machine["data"]
    versions = ", ".join(f"{name} {text}" for name, text in machine["versions"].items() if text)
    report.add(
        "# Benchmarks of the repository",
        "",
        "Written by `scripts/bench repository`, which anybody can run; only the section *Where the time goes* is written by hand. "
        "Compare numbers within this page only: another machine has others. What a database takes part in is in [benchmarks.md](benchmarks.md).",
        "",
        f"- {machine['date']}; {machine['cores']} cores ({machine['processor']}, {'with' if machine['sha_ni'] else 'without'} "
        f"SHA instructions), {machine['memory_gib']} GiB; everything on one disk of one machine, data in the cache.",
        f"- {versions}; both compress with zstd (ours at 3, `restic` at its default) and encrypt unless “plain” is said, which only ours can.",
        f"- Data at the {machine['scale']} scale: {data['files']} files of rows, {millions(machine['bytes'])} MiB, in {data['generations']} generations, each with a "
        "contiguous fiftieth of every file changed. The rows are made up, and the same everywhere.",
        f"- {machine['rounds']} rounds, ours and `restic` by turns, medians; prunes and the {data['generations'] - 1} later generations once. Before each run: a sync.",
    )
    report.circumstances()
    report.add(
        "",
        "Not measured:",
        "",
        *(f"- {name}: {why}" for name, why in report.skipped.items()),
        "- a cold cache, a disk that is slower than the processors, a network with latency;",
        "- more than one machine's cores: on two of them everything here is bound by the processors;",
        "- the great prune against a real object store: its requests are counted, not timed.",
    )


def write(results, old):
    report = Measured(results)
    opening(report)
    report.add("", "## Targets")
    report.table(("target", "measured", "verdict"), targets(report))
    for section in (verifies, backups, copies, prunes, many, requests):
        section(report)
    report.add("", "## Where it loses", "", *slower(report))
    return report.end(old)


if __name__ == "__main__":
    run(write)
