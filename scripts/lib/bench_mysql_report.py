"""The report of scripts/bench mysql: medians, ratios and verdicts from the measurements of bench_mysql.py, as Markdown.

Owns the targets and the words. Promises that what was missed, and every peer that was faster, stands in the report as
plainly as the rest, and that the text between the two marks in docs/benchmarks-mysql.md, which people write, stays as it is.
"""

from bench_markdown import Report, run

DUMP, COMPRESSED, PLAIN = "mysqldump | zstd -3 -T2", "mydumper -t 2 -c", "mydumper -t 2"


def backups(report):
    names = [
        ("ours, first", "**longshore backup**, first, zstd-3, into a directory"),
        (DUMP, "`mariadb-dump --single-transaction --quick \\| zstd -3 -T2` to a file"),
        (COMPRESSED, "`mydumper -t 2 -c` (gzip)"),
        (PLAIN, "`mydumper -t 2`, not compressed"),
        ("ours, again unchanged", "**longshore backup** again, nothing changed"),
        ("ours, newest 1 % changed", "**longshore backup** again, newest 1 % of events and 1 % of sessions updated"),
    ]
    report.backups(
        names,
        "`longshore` hashes every row and every chunk, syncs every object and its folder to disk and compares the schema again at its end. "
        "The peers hash and sync nothing.",
    )


def restores(report):
    names = [
        ("ours, restore", "**longshore restore**: schema, rows, indexes, every table counted"),
        ("ours, restore, every row compared", "**longshore restore --prove content**: the same, every row read back and compared"),
        ("myloader -t 2", "`myloader -t 2` from `mydumper -c`: nothing counted"),
        ("zstd -dc | mysql", "`zstd -dc \\| mariadb`: nothing counted"),
    ]
    report.restores(names)


def targets(report):
    """Rows of (target, measured, verdict). A target whose peer is missing has no verdict."""
    return [
        report.faster("first backup: faster than `mysqldump \\| zstd` by", "ours, first", DUMP, 1.3),
        report.faster("first backup: faster than `mydumper -t 2 -c` by", "ours, first", COMPRESSED, 1.6),
        report.faster("restore: faster than `myloader -t 2` by", "ours, restore", "myloader -t 2", 1.0),
        report.unchanged(),
        report.memory_target("rows here are small"),
    ]


def slower(report):
    """Peers that beat ours at the same work."""
    pairs = [("ours, first", [DUMP, COMPRESSED, PLAIN]), ("ours, restore", ["myloader -t 2", "zstd -dc | mysql"])]
    return report.slower(pairs, [DUMP, COMPRESSED, PLAIN])


def opening(report):
    machine = report.machine
    versions = ", ".join(f"{name} {text}" for name, text in machine["versions"].items() if text)
    text_gb = report.seen["ours, first"][0]["summary"]["bytes"] / 1e9
    report.add(
        "# Benchmarks: MySQL and MariaDB",
        "",
        "Written by `scripts/bench mysql`, which anybody can run; only the section *Where the time goes* is written by hand. "
        "Compare numbers within this page only: another machine has others.",
        "",
        f"- {machine['date']}; {machine['cores']} cores ({machine['processor']}, {'with' if machine['sha_ni'] else 'without'} "
        f"SHA instructions), {machine['memory_gib']} GiB; server and client on the same machine, over loopback TCP without TLS, data in the cache.",
        f"- MariaDB {machine['server']} ({machine['settings']}); {versions}. MySQL was not measured.",
        f"- Data at the {machine['scale']} scale: {machine['database_mib']} MiB with indexes, {text_gb:.2f} GB as rows of text. At the full one: "
        "3 M events (JSON, decimals, times; two secondary indexes), 6 M accounts of a fixed width, 1 M sessions keyed by random text with one more index, "
        "100 k documents.",
        f"- {machine['rounds']} rounds of backups, {machine['restore_rounds']} of restores, ours and the peers by turns, medians. "
        "Before each run: a sync. What no target is set against runs once.",
        "- `longshore` runs at its default of 4 workers; the peers with 2 threads, one per core, as the targets name them.",
    )
    report.circumstances()
    report.left_out()


def write(results, old):
    report = Report(results)
    opening(report)
    report.add("", "## Targets")
    report.table(("target", "measured", "verdict"), targets(report))
    backups(report)
    restores(report)
    report.memory()
    report.add("", "## Where it loses", "", *slower(report))
    return report.end(old)


if __name__ == "__main__":
    run(write)
