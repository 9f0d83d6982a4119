"""The report of scripts/bench mongo: medians, ratios and verdicts from the measurements of bench_mongo.py, as Markdown.

Owns the targets and the words. Promises that what was missed, and every peer that was faster, stands in the report as
plainly as the rest, and that the text between the two marks in docs/benchmarks-mongo.md, which people write, stays as it is.
"""

from bench_markdown import Report, run

GZIP, ZSTD, FOLDER = "archive, gzip", "archive, zstd", "folder, gzip"
BACK_GZIP, BACK_ZSTD, BACK_FOLDER = "mongorestore, archive, gzip", "mongorestore, archive, zstd", "mongorestore, folder, four by four"


def backups(report):
    names = [
        ("ours, first", "**longshore backup**, first, zstd-3, into a directory"),
        (GZIP, "`mongodump --gzip --archive=FILE`"),
        (ZSTD, "`mongodump --archive \\| zstd -3 -T2` to a file"),
        (FOLDER, "`mongodump --gzip --numParallelCollections=4 --out=FOLDER`"),
        ("ours, again unchanged", "**longshore backup** again, nothing changed"),
        ("ours, newest 1 % changed", "**longshore backup** again, newest 1 % of events updated"),
    ]
    report.backups(
        names,
        "`longshore` reads everything as of one time of the cluster, hashes every document and every chunk, syncs every object and its folder to disk "
        "and compares the definitions again at its end. `mongodump` reads one collection after the other as it is then, and hashes and syncs nothing.",
    )


def restores(report):
    names = [
        ("ours, restore", "**longshore restore**: documents, indexes, every collection counted, held by a majority"),
        ("ours, restore, every document compared", "**longshore restore --prove content**: the same, every document read back and compared"),
        (BACK_GZIP, "`mongorestore --gzip --archive=FILE`: nothing counted"),
        (BACK_ZSTD, "`zstd -dc \\| mongorestore --archive`: nothing counted"),
        (BACK_FOLDER, "`mongorestore --gzip --numParallelCollections=4 --numInsertionWorkersPerCollection=4 --dir=FOLDER`: nothing counted"),
    ]
    report.restores(names)


def targets(report):
    """Rows of (target, measured, verdict). A target whose peer is missing has no verdict."""
    return [
        report.faster("first backup: faster than `mongodump --archive --gzip` by", "ours, first", GZIP, 2),
        report.faster("restore: faster than `mongorestore --archive --gzip` by", "ours, restore", BACK_GZIP, 2),
        report.unchanged(),
        report.memory_target("the largest document here has 255 KiB"),
    ]


def opening(report):
    machine = report.machine
    versions = ", ".join(f"{name} {text}" for name, text in machine["versions"].items() if text)
    report.add(
        "# Benchmarks: MongoDB",
        "",
        "Written by `scripts/bench mongo`, which anybody can run; only the section *Where the time goes* is written by hand. "
        "Compare numbers within this page only: another machine has others.",
        "",
        f"- {machine['date']}; {machine['cores']} cores ({machine['processor']}, {'with' if machine['sha_ni'] else 'without'} "
        f"SHA instructions), {machine['memory_gib']} GiB; server and client on the same machine, over loopback TCP without TLS, data in the cache.",
        f"- MongoDB {machine['version']}, a replica set of one ({machine['settings']}); {versions}.",
        f"- Data at the {machine['scale']} scale: {machine['data_mib']:,} MiB of documents, {machine['index_mib']:,} MiB of indexes. At the full one: "
        "4 M events (numbered, with a document inside; two more indexes), 1 M sessions keyed by random text (one), 50 k documents of 12 KiB (one, over an array), "
        "1 k pieces of files as GridFS makes them, 255 KiB each, that nothing makes smaller (one).",
        f"- Rounds: {machine['rounds']} of backups, {machine['restore_rounds']} of restores, ours and the peers by turns, medians. "
        "Before each run: a sync. What no target is set against runs once.",
        "- `longshore` runs at its default of 4 workers; the peers as shown, at their defaults otherwise.",
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
    pairs = [("ours, first", [GZIP, ZSTD, FOLDER]), ("ours, restore", [BACK_GZIP, BACK_ZSTD, BACK_FOLDER])]
    report.add("", "## Where it loses", "", *report.slower(pairs, [GZIP, ZSTD, FOLDER]))
    return report.end(old)


if __name__ == "__main__":
    run(write)
