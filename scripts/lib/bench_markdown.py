"""What every report of scripts/bench shares: medians from the measurements, tables, the circumstances of the runs, the page's end.

Owns the form of the pages. Promises that the text between the two marks, which people write, stays as it is when a page is
written anew. Says nothing about what was measured: bench_report.py and bench_repository_report.py do.
"""

import argparse
import json
from pathlib import Path
from statistics import median

BEGIN, END = "<!-- written by hand: begin -->", "<!-- written by hand: end -->"
MIB = 1024 * 1024


class Report:
    """The measurements, and the lines written so far."""

    def __init__(self, results):
        self.machine = results["machine"]
        self.seen = results["seen"]
        self.skipped = results["skipped"]
        self.lines = []

    def add(self, *lines):
        self.lines += [*lines]

    def has(self, *names):
        return all(name in self.seen for name in names)

    def of(self, name, key="seconds"):
        return median(entry[key] for entry in self.seen[name])

    def stage(self, name, stage):
        return median(entry["stages"][stage] for entry in self.seen[name])

    def seconds(self, name):
        runs = sorted(entry["seconds"] for entry in self.seen[name])
        spread = f" ({runs[0]:.1f}–{runs[-1]:.1f})" if len(runs) > 1 else " (once)"
        return f"{median(runs):.1f}{spread}"

    def table(self, head, rows):
        self.add("", "| " + " | ".join(head) + " |", "|---" * len(head) + "|")
        self.add(*("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows))

    def backups(self, names, words):
        """How long each of (name, shown) took and what it wrote, and `words` on what is not the same work."""
        rows = []
        for name, shown in names:
            if self.has(name):
                key = "stored" if "stored" in self.seen[name][0] else "grown"
                rows.append((shown, self.seconds(name), f"{self.of(name, key) / MIB:,.1f}", f"{self.of(name, 'cpu'):.1f}"))
        self.add("", "## Backup")
        self.table(("what", "seconds: median (range)", "MiB written", "client's CPU seconds"), rows)
        self.add("", words)

    def restores(self, names):
        """How long each of (name, shown) took, and the stages of ours."""
        rows = [(shown, self.seconds(name), f"{self.of(name, 'cpu'):.1f}") for name, shown in names if self.has(name)]
        self.add("", "## Restore")
        self.table(("what", "seconds", "client's CPU seconds"), rows)
        stages = list(self.seen["ours, restore"][0]["stages"])
        shown = "; ".join(f"{stage} {self.stage('ours, restore', stage):.1f}" for stage in stages)
        self.add("", f"Ours by stage, in seconds: {shown}.")

    def faster(self, what, ours, peer, limit):
        """A target's row: by how much ours is faster than a peer. Without the peer there is no verdict."""
        if not self.has(ours, peer):
            return (f"{what} ≥ {limit:g} ×", "not measured", "no verdict")
        seen = self.of(peer) / self.of(ours)
        return (f"{what} ≥ {limit:g} ×", f"{seen:.2f} ×", "met" if seen >= limit else "**missed**")

    def unchanged(self):
        """A target's row: what a backup adds that finds nothing changed."""
        share = 100 * self.of("ours, again unchanged", "grown") / self.of("ours, first", "stored")
        return ("again, unchanged: added ≤ 0.5 %", f"{share:.2f} %", "met" if share <= 0.5 else "**missed**")

    def peak_of_ours(self):
        """The most memory that any run of ours took, in MiB."""
        return max(entry["rss_mib"] for name, runs in self.seen.items() if name.startswith("ours") for entry in runs)

    def memory_target(self, rows_are):
        """A target's row: memory, with a word on how large rows are."""
        peak = self.peak_of_ours()
        return (f"memory of any run ({rows_are}) ≤ 256 MiB", f"{peak:.0f} MiB", "met" if peak <= 256 else "**missed**")

    def memory(self):
        rows = [(name.replace("|", "\\|"), f"{max(entry['rss_mib'] for entry in runs):.0f}") for name, runs in self.seen.items()]
        self.add("", "## Memory", "", "Peak resident memory of the largest process, the highest of all rounds.")
        self.table(("what", "MiB"), rows)

    def left_out(self):
        """What was not measured, and why."""
        if self.skipped:
            self.add("", "Not measured:", "")
            self.add(*(f"- {name}: {why}" for name, why in self.skipped.items()))

    def circumstances(self):
        """Whether anything else was at work, and whether the figures mean anything at all."""
        runs = [entry for entries in self.seen.values() for entry in entries]
        busy = sum(entry["busy"] for entry in runs)
        if busy == 0:
            self.add(f"- All {len(runs)} runs began on an idle machine; what came in between would show in the ranges.")
        else:
            self.add(f"- **{busy} of {len(runs)} runs began while the machine was busy with something else.**")
        if self.machine["scale"] != "full":
            self.add("", "**This is the small scale, for trying the script out: it says nothing about speed.**")

    def slower(self, pairs, stored):
        """Peers that beat ours at the same work: by pairs of ours and its peers in seconds, and of those named in bytes."""
        lines = []
        for ours, peers in pairs:
            for peer in peers:
                if self.has(ours, peer) and self.of(peer) < self.of(ours):
                    lines.append(f"- `{peer}` takes {self.of(peer):.1f} s, “{ours}” {self.of(ours):.1f} s.")
        ours = self.of("ours, first", "stored")
        for peer in stored:
            if self.has(peer) and self.of(peer, "stored") < ours:
                lines.append(f"- `{peer}` stores {self.of(peer, 'stored') / MIB:,.0f} MiB, ours {ours / MIB:,.0f} MiB.")
        return lines or ["- No peer measured here was faster, or stored less, at the same work."]

    def end(self, old):
        """The whole page, with what people wrote in `old`, the page as it stands."""
        by_hand = old.split(BEGIN, 1)[1].split(END, 1)[0] if BEGIN in old and END in old else "\n"
        self.add("", "## Where the time goes", "", BEGIN + by_hand + END)
        return "\n".join(self.lines) + "\n"


def run(write):
    """The command of a report: reads the measurements, and writes or prints what `write` makes of them and of the old page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", required=True)
    parser.add_argument("--docs", help="where to write; printed without it")
    args = parser.parse_args()
    docs = Path(args.docs) if args.docs else None
    old = docs.read_text() if docs and docs.exists() else ""
    text = write(json.loads(Path(args.results).read_text()), old)
    if docs:
        docs.parent.mkdir(parents=True, exist_ok=True)
        docs.write_text(text)
    else:
        print(text)
