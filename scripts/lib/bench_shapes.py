"""Databases of other shapes than the main one of scripts/bench: there and back, ours and the vendor's parallel tools by turns.

Owns which shapes there are and what is run on each. Promises the same work on both sides: everything out, everything
back, indexes included. Judges nothing.
"""

from bench_outcome import say, size_of

# Database, and how the report calls it.
SHAPES = {
    "many": "2,000 small tables",
    "skewed": "one table ten times the others",
    "wide": "wide values",
}


def measure(bench):
    for database, shape in SHAPES.items():
        say(f"a database of another shape: {shape}")
        repository, dump = there(bench, database, shape)
        for _ in range(bench.args.restore_rounds):
            back(bench, database, shape, repository, dump)


def there(bench, database, shape):
    """Backups. Returns where ours and the peer's are."""
    repository = bench.fresh(f"repository-{database}")
    bench.init(f"file://{repository}")
    for name in (f"ours, {shape}", f"ours, {shape}, again"):
        before = size_of(repository)
        entry = bench.backup(name, f"file://{repository}", database)
        after = size_of(repository)
        entry["grown"], entry["files"] = after[0] - before[0], after[1] - before[1]
    dump = bench.fresh(f"{database}.d")
    entry = bench.peer(["pg_dump"], f"pg_dump -Fd -j2, {shape}", f"pg_dump -Fd -j2 -f '{dump}' {database}")
    if entry:
        entry["grown"], entry["files"] = size_of(dump)
    return f"file://{repository}", dump


def back(bench, database, shape, repository, dump):
    drop = "DROP DATABASE IF EXISTS bench_back WITH (FORCE)"
    bench.sql("postgres", drop)
    bench.restore(f"ours, restore, {shape}", repository, database=database)
    if bench.has("pg_restore") and dump.exists():
        bench.sql("postgres", drop, "CREATE DATABASE bench_back TEMPLATE template0")
        bench.peer(["pg_restore"], f"pg_restore -j2, {shape}", f"pg_restore -j2 -d bench_back '{dump}'")
    bench.sql("postgres", drop)
