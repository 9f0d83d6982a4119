"""The report of scripts/bench mongo: medians, ratios and verdicts from the measurements of bench_mongo.py, as Markdown.

Owns the targets and the words. Promises that what was missed, and every peer that was faster, stands in the report as
plainly as the rest, and that the text between the two marks in docs/benchmarks-mongo.md, which people write, stays as it is.
"""

from bench_markdown import MIB, Report, run

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
    rows = []
    for name, shown in names:
        if report.has(name):
            key = "stored" if "stored" in report.seen[name][0] else "grown"
            written = f"{report.of(name, key) / MIB:,.1f}"
            rows.append((shown, report.seconds(name), written, f"{report.of(name, 'cpu'):.1f}"))
    report.add("", "## Backup")
    report.table(("what", "seconds: median (range)", "MiB written", "client's CPU seconds"), rows)
    report.add(
        "",
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
    report.add("", "## Restore")
    rows = [(shown, report.seconds(name), f"{report.of(name, 'cpu'):.1f}") for name, shown in names if report.has(name)]
    report.table(("what", "seconds", "client's CPU seconds"), rows)
    stages = list(report.seen["ours, restore"][0]["stages"])
    shown = "; ".join(f"{stage} {report.stage('ours, restore', stage):.1f}" for stage in stages)
    report.add("", f"Ours by stage, in seconds: {shown}.")


def targets(report):
    """Rows of (target, measured, verdict). A target whose peer is missing has no verdict."""
    rows = []

    def faster(what, ours, peer, limit):
        if not report.has(ours, peer):
            rows.append((f"{what} ≥ {limit:g} ×", "not measured", "no verdict"))
            return
        seen = report.of(peer) / report.of(ours)
        rows.append((f"{what} ≥ {limit:g} ×", f"{seen:.2f} ×", "met" if seen >= limit else "**missed**"))

    faster("first backup: faster than `mongodump --archive --gzip` by", "ours, first", GZIP, 2)
    faster("restore: faster than `mongorestore --archive --gzip` by", "ours, restore", BACK_GZIP, 2)
    share = 100 * report.of("ours, again unchanged", "grown") / report.of("ours, first", "stored")
    rows.append(("again, unchanged: added ≤ 0.5 %", f"{share:.2f} %", "met" if share <= 0.5 else "**missed**"))
    peak = max(entry["rss_mib"] for name, runs in report.seen.items() if name.startswith("ours") for entry in runs)
    rows.append(("memory of any run (the largest document here has 255 KiB) ≤ 256 MiB", f"{peak:.0f} MiB", "met" if peak <= 256 else "**missed**"))
    return rows


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
    if report.skipped:
        report.add("", "Not measured:", "")
        report.add(*(f"- {name}: {why}" for name, why in report.skipped.items()))


def write(results, old):
    report = Report(results)
    opening(report)
    report.add("", "## Targets")
    report.table(("target", "measured", "verdict"), targets(report))
    backups(report)
    restores(report)
    rows = [(name, f"{max(entry['rss_mib'] for entry in runs):.0f}") for name, runs in report.seen.items()]
    report.add("", "## Memory", "", "Peak resident memory of the largest process, the highest of all rounds.")
    report.table(("what", "MiB"), rows)
    pairs = [("ours, first", [GZIP, ZSTD, FOLDER]), ("ours, restore", [BACK_GZIP, BACK_ZSTD, BACK_FOLDER])]
    report.add("", "## Where it loses", "", *report.slower(pairs, [GZIP, ZSTD, FOLDER]))
    return report.end(old)


if __name__ == "__main__":
    run(write)
