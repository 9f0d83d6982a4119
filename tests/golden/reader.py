#!/usr/bin/env python3
"""A reader of repositories of format 1 that follows docs/format.md and knows no more. Python 3 and the `zstd` program.

    reader.py <command> <folder> … [--identity <file>] [--writer <file>]

    reader.py list <folder>                          backups and tombstones
    reader.py verify <folder>                        reads and checks everything that the keys open; the stored bytes at least
    reader.py json <folder>                          the same, and says what it found as JSON
    reader.py extract <folder> <source>@<id> <stream>  the rows of one stream, as COPY's text

Exit status: 0; 65 when an object is damaged, missing or of another version (its key is the first word on stderr); 77 when a key
is wanted or something is signed by nobody known; 64 when called wrongly.
"""

import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from frames import KINDS, Damage, Frame, Refused, parse, parse_text, sha256  # noqa: E402
from sealed import Keys  # noqa: E402
from xxh3 import xxh3_128  # noqa: E402

ULID = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"


class Repository:
    def __init__(self, root, identity=None, writer=None):
        self.root = root
        self.config = self.text("repository.json")
        if self.config["format"] != 1:
            raise Damage("repository.json", f"cannot be read: it has format {self.config['format']}")
        self.held = Keys(self, identity, writer)

    def frame(self, key, *kinds):
        return Frame(key, self.get(key, "the listing"), self.held, *kinds)

    def wrapped(self, key):
        value = self.text(key)
        if key != f"keys/{value['recipient']}":
            raise Damage(key, f"is damaged: it is wrapped for {value['recipient']}")
        return value

    def get(self, key, needed_by):
        try:
            with open(os.path.join(self.root, key), "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise Damage(key, f"is missing, and {needed_by} needs it") from None

    def text(self, key):
        return parse_text(key, self.get(key, "the repository"))

    def keys(self, folder, pattern):
        found = []
        for at, _, names in os.walk(os.path.join(self.root, folder)):
            found += [os.path.relpath(os.path.join(at, name), self.root) for name in names]
        return sorted(key for key in found if re.fullmatch(pattern, key))

    def manifests(self):  # key, and manifest or None for a tombstone
        for key in self.keys("manifests", rf"manifests/[a-z0-9][a-z0-9._-]{{0,62}}/{ULID}"):
            frame = self.frame(key, "manifest", "tombstone")
            if frame.kind == KINDS["tombstone"]:
                yield key, None
                continue
            self.held.believe(key, frame)
            manifest = parse(key, frame.open)
            if manifest["format"] != 1:
                raise Damage(key, f"cannot be read: it has format {manifest['format']}")
            place = f"manifests/{manifest['source']}/{manifest['backup']}"
            if manifest["repository"] != self.config["id"] or place != key:
                raise Damage(key, "is damaged: it is another backup's manifest")
            manifest["about"] = None if frame.closed is None else parse(key, frame.closed)
            yield key, manifest

    def follow(self, ref, kind, needed_by):
        """The key and the frame a ref leads to, checked."""
        if not re.fullmatch(rf"[0-9a-f]{{64}}-{ULID}", ref["object"]):
            raise Damage(needed_by, f"is damaged: {ref['object']!r} is not an object's name")
        key = f"{kind}s/{ref['object'][:2]}/{ref['object']}"
        data = self.get(key, needed_by)[ref["offset"]:ref["offset"] + ref["stored_len"]]
        if len(data) != ref["stored_len"] or sha256(data) != ref["stored_sha256"]:
            raise Damage(key, f"is damaged: the bytes at {ref['offset']} are not those that were stored")
        frame = Frame(key, data, self.held, kind)
        found = None if frame.closed is None else self.held.id_of(frame.open + frame.closed)
        if len(frame.open) + frame.closed_len != ref["plain_len"] or found not in (None, ref["id"]):
            raise Damage(key, f"is damaged: its content is not {ref['id']}")
        return key, frame

    def read(self, ref, kind, needed_by):
        """The same, opened."""
        key, frame = self.follow(ref, kind, needed_by)
        if frame.closed is None:
            raise Refused(key, "is refused: it is sealed, and no identity was given")
        return key, frame

    def join(self, refs, needed_by):
        return b"".join(self.read(ref, "chunk", needed_by)[1].closed for ref in refs)

    def segments(self, key, manifest):
        """Every segment with its refs, in order; all that lists promise is checked."""
        last = None
        for ref in manifest["lists"]:
            place, frame = self.read(ref, "list", key)
            refs, used = parse(place, frame.open)["refs"], 0
            for segment in parse(place, frame.closed)["segments"]:
                first, number = segment["refs"]
                own = refs[first:first + number]
                if first != used or len(own) != number or sum(r["plain_len"] for r in own) != segment["bytes"]:
                    raise Damage(place, f"is damaged: the refs of {segment['stream']} do not fit")
                here = (segment["stream"].encode(), segment["at"])
                if last is not None and here <= last:
                    raise Damage(place, f"is damaged: {segment['stream']} {segment['at']} is out of order")
                used, last = used + number, here
                yield place, segment, own
            if used != len(refs):
                raise Damage(place, "is damaged: it has refs of no segment")


def check_totals(key, manifest, found):
    for name, value in found.items():
        if manifest["totals"][name] != value:
            raise Damage(key, f"is damaged: it counts {manifest['totals'][name]} {name}, and there are {value}")


def verify_stored(repository, key, manifest):
    """Compares the stored bytes of a backup that cannot be opened."""
    refs = [ref for document in manifest["documents"] for ref in document["refs"]]
    for ref in manifest["lists"]:
        place, frame = repository.follow(ref, "list", key)
        refs += parse(place, frame.open)["refs"]
    for ref in refs:
        repository.follow(ref, "chunk", key)
    check_totals(key, manifest, {"chunks": len(refs), "stored_bytes": sum(ref["stored_len"] for ref in refs)})
    return {"source": manifest["source"], "backup": manifest["backup"], "rows": manifest["totals"]["rows"]}


def digest(data):
    rows = data.split(b"\n")[:-1]
    return len(rows), sum(map(xxh3_128, rows)) % (1 << 128)


def read_backup(repository, key, manifest):
    """Reads all of a backup; what it holds by stream and document."""
    streams, count, chunks = {}, 0, []
    for place, segment, refs in repository.segments(key, manifest):
        data = repository.join(refs, place)
        rows, total = digest(data)
        if data[-1:] not in (b"", b"\n") or f"{rows}:{total:032x}" != segment["digest"]:
            raise Damage(place, f"is damaged: the digest of {segment['stream']} {segment['range']} is {rows}:{total:032x}")
        stream = streams.setdefault(segment["stream"], {"rows": 0, "sum": 0, "data": b""})
        stream["rows"] += rows
        stream["sum"] = (stream["sum"] + total) % (1 << 128)
        stream["data"] += data
        count += 1
        chunks += refs
    documents = {}
    for document in manifest["documents"]:
        documents[document["name"]] = sha256(repository.join(document["refs"], key))
        chunks += document["refs"]
    rows, size = (sum(len(s["data"]) if what else s["rows"] for s in streams.values()) for what in (False, True))
    found = {"streams": len(streams), "segments": count, "rows": rows, "bytes": size, "chunks": len(chunks),
             "stored_bytes": sum(ref["stored_len"] for ref in chunks)}
    check_totals(key, manifest, found)
    return {
        "source": manifest["source"], "backup": manifest["backup"], "about": manifest["about"], "rows": found["rows"],
        "streams": {name: {"rows": s["rows"], "bytes": len(s["data"]), "sha256": sha256(s["data"]),
                           "digest": f"{s['rows']}:{s['sum']:032x}"} for name, s in streams.items()},
        "documents": documents, "reused_chunks": manifest["totals"]["reused_chunks"] > 0,
    }


def read_all(repository, one):  # each backup by `one`, and the objects that no backup needs
    backups, tombstones, held = [], [], repository.held
    for key, manifest in repository.manifests():
        if manifest is None:
            tombstones.append(key)
        else:
            backups.append(one(repository, key, manifest))
    for key in repository.keys("settings", r"settings/\d+"):
        repository.text(key)
    wrapped = repository.keys("keys", r"keys/age1[^/]+")
    if held.encryption is not None and not wrapped:
        raise Damage("keys/", "is damaged: no wrapped key is left")
    for key in wrapped:
        repository.wrapped(key)
    for key in repository.keys("hints", r"hints/.*"):
        hints = repository.frame(key, "hints")
        if hints.closed is not None:
            parse(key, hints.closed)
    for key in repository.keys("evidence", rf"evidence/{ULID}/{ULID}-[a-z]+-[a-z]+"):
        parse(key, repository.frame(key, "evidence").open)
    for folder in ("sessions", "gc"):
        for key in repository.keys(folder, rf"{folder}/{ULID}/(start|beat-\d+|end|condemned|waits-for)"):
            kind = re.sub(r"-\d+$", "", key.split("/")[2])
            frame = repository.frame(key, kind)
            if kind in ("start", "beat"):
                held.believe(key, frame)
            parse(key, frame.open)
    return {"format": 1, "repository": repository.config["id"], "backups": backups, "tombstones": tombstones}


def options(arguments):
    """Takes `--identity <file>` and `--writer <file>` out of the arguments."""
    found = {}
    for name in ("identity", "writer"):
        if f"--{name}" in arguments:
            at = arguments.index(f"--{name}")
            found[name] = arguments[at + 1]
            del arguments[at:at + 2]
    return found


def main(arguments):
    given = options(arguments)
    command, folder, rest = arguments[0], arguments[1], arguments[2:]
    repository = Repository(folder, **given)
    if command == "list" and not rest:
        for key, manifest in repository.manifests():
            print(key, "revoked" if manifest is None else f"{manifest['started']} {manifest['totals']['rows']} rows")
    elif command == "verify" and not rest:
        blind = repository.held.encryption is not None and repository.held.private is None
        for backup in read_all(repository, verify_stored if blind else read_backup)["backups"]:
            print(f"{backup['source']}@{backup['backup']}: {backup['rows']} rows")
            for name, stream in backup.get("streams", {}).items():
                print(f"  {name}: {stream['rows']} rows, digest {stream['digest']} holds")
    elif command == "json" and not rest:
        print(json.dumps(read_all(repository, read_backup)))
    elif command == "extract" and len(rest) == 2:
        wanted = "manifests/" + rest[0].replace("@", "/")
        for key, manifest in repository.manifests():
            if key == wanted and manifest is not None:
                for place, segment, refs in repository.segments(key, manifest):
                    if segment["stream"] == rest[1]:
                        sys.stdout.buffer.write(repository.join(refs, place))
    else:
        raise IndexError


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Damage as damage:
        print(damage, file=sys.stderr)
        sys.exit(damage.status)
    except IndexError:
        print(__doc__, file=sys.stderr)
        sys.exit(64)
