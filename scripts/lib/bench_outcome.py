"""What the measurements of scripts/bench have in common: how a failure is told, and how large something became."""

import sys
from pathlib import Path


class Failed(Exception):
    """A command that was to be measured did not succeed."""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def size_of(path):
    """Bytes and number of the files below a folder."""
    files = [file for file in Path(path).rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files), len(files)
