"""The report of scripts/bench: medians, ratios and verdicts from the measurements of bench.py, as Markdown.

Owns the targets and the words. Promises that what was missed, and every peer that was faster, stands in the report as
plainly as the rest, and that the text between the two marks in docs/benchmarks.md, which people write, stays as it is.
"""

from bench_markdown import MIB, Report, run
from bench_shapes import SHAPES

# As bench-data.sh makes them at full scale.
SKEWED = "ten tables of 200,000 rows beside one of 2,000,000, each with a primary key and one more index"
WIDE = "6,000 values of 1 KiB to 128 KiB that do not compress, kept beside their table, in bytea"


def backups(report):
    floor = report.of("floor")
    names = [
        ("floor", "floor: 4 connections, COPY of page ranges, bytes thrown away"),
        ("ours, first", "**longshore backup**, first, zstd-3, into a directory"),
        ("ours, first, zstd-1", "**longshore backup**, first, zstd-1"),
        ("ours, first, into MinIO", "**longshore backup**, first, zstd-3, into MinIO on the same machine"),
        ("pg_dump | zstd -3 -T2", "`pg_dump \\| zstd -3 -T2` to a file"),
        ("pg_dump | restic, first", "`pg_dump \\| restic backup --stdin`, first"),
        ("pg_dump -Fd -j2", "`pg_dump -Fd -j2`"),
        ("pg_dump -Fc", "`pg_dump -Fc`"),
    ]
    rows = []
    for name, shown in names:
        if report.has(name):
            stored = f"{report.of(name, 'stored') / MIB:,.0f}" if "stored" in report.seen[name][0] else ""
            cpu = f"{report.of(name, 'cpu'):.1f}"
            rows.append((shown, report.seconds(name), f"{report.of(name) / floor:.2f}", stored, cpu))
    report.add("", "## Backup of everything")
    report.table(("what", "seconds: median (range)", "× floor", "MiB stored", "client's CPU seconds"), rows)
    report.add(
        "",
        "`longshore` hashes every row and every chunk, syncs every object and its folder to disk, and compares with the vendor's "
        "own list of tables. `pg_dump` into a folder or file syncs at its end, `zstd` not at all; `restic` hashes, deduplicates and also encrypts.",
    )


def again(report):
    names = [
        ("ours, again unchanged", "**longshore backup**, nothing changed", "floor", "ours, first"),
        ("ours, newest 1 % changed", "**longshore backup**, newest 1 % updated", "floor, newest 1 % changed", "ours, first"),
        ("ours, scattered 1 % changed", "**longshore backup**, every 100th row updated", "floor, scattered 1 % changed", "ours, first"),
        ("pg_dump | restic, again unchanged", "`pg_dump \\| restic`, nothing changed", "floor", "pg_dump | restic, first"),
    ]
    rows = []
    for name, shown, floor, first in names:
        if report.has(name, floor, first):
            share = 100 * report.of(name, "grown") / report.of(first, "stored")
            ratio = report.of(name) / report.of(floor)
            rows.append((shown, report.seconds(name), f"{ratio:.2f}", f"{report.of(name, 'grown') / MIB:.1f}", f"{share:.2f} %"))
    report.add("", "## Backup again")
    report.table(("what", "seconds", "× floor of the same data", "MiB added", "of the first backup"), rows)
    report.add("", "Updated: events and accounts. PostgreSQL writes an updated row anew elsewhere, so both places change.")


def restores(report):
    names = [
        ("ours, restore", "**longshore restore**: schema, rows, indexes, statistics, every table counted"),
        ("ours, restore, every row compared", "**longshore restore --prove content**: the same, every row read back and compared"),
        ("pg_restore -j2", "`pg_restore -j2` from `-Fd`: no statistics, nothing counted"),
        ("pg_restore -j2, with the memory for indexes that ours asks for", "the same with maintenance_work_mem=256MB, as ours asks for"),
        ("pgcopydb clone", "`pgcopydb clone`, 2 + 2 jobs, straight from the source"),
    ]
    rows = [(shown, report.seconds(name)) for name, shown in names if report.has(name)]
    report.add("", "## Restore")
    report.table(("what", "seconds"), rows)
    stages = list(report.seen["ours, restore"][0]["stages"])
    report.add("", "Ours by stage, in seconds: " + "; ".join(f"{stage} {report.stage('ours, restore', stage):.1f}" for stage in stages) + ".")
    if report.has("pg_restore -j2, data only"):
        report.add(f"`pg_restore -j2 --section=data` alone: {report.seconds('pg_restore -j2, data only')}.")


def limits(report):
    names = ["ours, first", "ours, first, into MinIO", "ours, again unchanged", "ours, restore", "ours, restore, every row compared", "ours, 2,000 small tables"]
    rows = [(name, f"{max(run['rss_mib'] for run in report.seen[name]):.0f}") for name in names if report.has(name)]
    report.add("", "## Memory", "", "Peak resident memory of the process at its 4 workers, the highest of all rounds.")
    report.table(("what", "MiB"), rows)


def shapes(report):
    report.add(
        "",
        "## Databases of other shapes",
        "",
        f"2,000 tables of 20 rows; {SKEWED}; {WIDE}. The restores include indexes; ours also counts and gathers statistics.",
    )
    rows = []
    for shape in SHAPES.values():
        for name, shown in [
            (f"ours, {shape}", "**longshore backup**, first"),
            (f"ours, {shape}, again", "**longshore backup**, nothing changed"),
            (f"pg_dump -Fd -j2, {shape}", "`pg_dump -Fd -j2`"),
            (f"ours, restore, {shape}", "**longshore restore**"),
            (f"pg_restore -j2, {shape}", "`pg_restore -j2`"),
        ]:
            if report.has(name):
                wrote = "grown" in report.seen[name][0]
                stored = f"{report.of(name, 'grown') / MIB:,.1f}" if wrote else ""
                objects = f"{report.of(name, 'files'):,.0f}" if wrote else ""
                highest = max(run["rss_mib"] for run in report.seen[name])
                rows.append((shape, shown, report.seconds(name), stored, objects, f"{highest:.0f}"))
    report.table(("database", "what", "seconds", "MiB written", "objects written", "peak MiB of memory"), rows)


def targets(report):
    """Rows of (target, measured, met). A target whose peer is missing has no verdict."""
    of, has = report.of, report.has
    floor, first = of("floor"), of("ours, first")
    rows = []

    def judge(what, needed, value, limit, at_least=False, unit="×"):
        if all(has(name) for name in needed):
            seen = value()
            met = seen >= limit if at_least else seen <= limit
            rows.append((f"{what} {'≥' if at_least else '≤'} {limit:g} {unit}", f"{seen:.2f} {unit}", "met" if met else "**missed**"))
        else:
            rows.append((what, "not measured", "no verdict"))

    judge("first backup: faster than `pg_dump -Fd -j2` by", ["pg_dump -Fd -j2"], lambda: of("pg_dump -Fd -j2") / first, 2.2, True)
    judge("first backup: time over `pg_dump \\| zstd -3 -T2`", ["pg_dump | zstd -3 -T2"], lambda: first / of("pg_dump | zstd -3 -T2"), 1.0)
    judge("first backup at zstd-1: time over the floor", [], lambda: of("ours, first, zstd-1") / floor, 1.8)
    judge("first backup into MinIO: time over the directory's", ["ours, first, into MinIO"], lambda: of("ours, first, into MinIO") / first, 1.3)
    share = lambda name: 100 * of(name, "grown") / of("ours, first", "stored")
    over = lambda name: of(name) / of(name.replace("ours", "floor"))
    judge("again, unchanged: time over the floor", [], lambda: of("ours, again unchanged") / floor, 1.4)
    judge("again, unchanged: added", [], lambda: share("ours, again unchanged"), 0.5, unit="%")
    judge("again, newest 1 % changed: time over the floor", [], lambda: over("ours, newest 1 % changed"), 1.4)
    judge("again, newest 1 % changed: added", [], lambda: share("ours, newest 1 % changed"), 5, unit="%")
    judge("restore: faster than `pg_restore -j2` by", ["pg_restore -j2"], lambda: of("pg_restore -j2") / of("ours, restore"), 1.2, True)
    # Ours builds indexes while it loads: there is no stage of rows alone to compare.
    rows.append(("restore, loading of rows: faster by ≥ 1.5 ×", "part of a stage with the indexes", "no verdict"))
    judge("memory of any run (rows here are small)", [], report.peak_of_ours, 256, unit="MiB")
    judge("2,000 small tables: objects", [], lambda: of("ours, 2,000 small tables", "files"), 60, unit="objects")
    return rows


def slower(report):
    """Peers that beat ours at the same work."""
    pairs = [
        ("ours, first", ["pg_dump | zstd -3 -T2", "pg_dump -Fd -j2", "pg_dump -Fc", "pg_dump | restic, first"]),
        ("ours, again unchanged", ["pg_dump | restic, again unchanged"]),
        ("ours, restore", ["pg_restore -j2", "pg_restore -j2, with the memory for indexes that ours asks for", "pgcopydb clone"]),
    ]
    for shape in SHAPES.values():
        pairs.append((f"ours, {shape}", [f"pg_dump -Fd -j2, {shape}"]))
        pairs.append((f"ours, restore, {shape}", [f"pg_restore -j2, {shape}"]))
    return report.slower(pairs, ["pg_dump -Fd -j2", "pg_dump -Fc", "pg_dump | zstd -3 -T2", "pg_dump | restic, first"])


def opening(report):
    machine = report.machine
    versions = ", ".join(f"{name} {text}" for name, text in machine["versions"].items() if text)
    report.add(
        "# Benchmarks",
        "",
        "Written by `scripts/bench postgres`, which anybody can run; only the section *Where the time goes* is written by hand. "
        "Compare numbers within this page only: another machine has others. Verifying, copying, pruning and what encryption costs are in "
        "[benchmarks-repository.md](benchmarks-repository.md), MariaDB in [benchmarks-mysql.md](benchmarks-mysql.md), MongoDB in [benchmarks-mongo.md](benchmarks-mongo.md).",
        "",
        f"- {machine['date']}; {machine['cores']} cores ({machine['processor']}, {'with' if machine['sha_ni'] else 'without'} "
        f"SHA instructions), {machine['memory_gib']} GiB; server, client and store on the same machine, over loopback TCP, "
        "data in the cache.",
        f"- PostgreSQL {machine['server']} ({machine['settings']}); {versions}.",
        f"- Data at the {machine['scale']} scale: {machine['database']}. At the full one: `pgbench -i -s 60` (6 M accounts), 3 M events (jsonb, numeric, timestamptz; a primary "
        "key, a btree and a GIN index), 200 k text documents. "
        f"As COPY text: {report.of('ours, first', 'summary_bytes') / 1e9:.2f} GB.",
        f"- {machine['rounds']} rounds of backups, {machine['restore_rounds']} of restores, ours and the peers by turns, medians. "
        "Before each run: a checkpoint and a sync. Peers that no target is set against run once.",
        "- `longshore` runs at its default of 4 workers; the peers with 2 jobs, one per core, as the targets name them.",
    )
    report.circumstances()
    report.left_out()


def write(results, old):
    report = Report(results)
    for entries in report.seen.values():
        for entry in entries:
            entry["summary_bytes"] = entry.get("summary", {}).get("bytes", 0)
    opening(report)
    report.add("", "## Targets")
    report.table(("target", "measured", "verdict"), targets(report))
    backups(report)
    again(report)
    restores(report)
    limits(report)
    shapes(report)
    report.add("", "## Where it loses", "", *slower(report))
    return report.end(old)


if __name__ == "__main__":
    run(write)
