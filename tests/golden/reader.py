#!/usr/bin/env python3
"""A reader of repositories of format 1 that follows docs/format.md and knows no more. Python 3 and the `zstd` program.

    reader.py list <folder>                          backups and tombstones
    reader.py verify <folder>                        reads and checks everything
    reader.py json <folder>                          the same, and says what it found as JSON
    reader.py extract <folder> <source>@<id> <stream>  the rows of one stream, as COPY's text

Exit status: 0; 65 when an object is damaged or missing (its key is the first word on stderr); 64 when called wrongly.
"""

import hashlib
import json
import os
import re
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from xxh3 import xxh3_128  # noqa: E402

ULID = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"
KINDS = dict(zip("chunk list manifest tombstone start beat end hints condemned waits-for".split(), range(1, 11)))
MOST_PLAIN = 1 << 30


class Damage(Exception):
    def __init__(self, key, what):
        super().__init__(f"{key} {what}")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def parse(key, data):
    try:
        return json.loads(data.decode())
    except ValueError as error:
        raise Damage(key, f"is damaged: {error}") from None


def unzstd(key, stored):
    done = subprocess.run(["zstd", "-q", "-d", "-c"], input=stored, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise Damage(key, "is damaged: it does not decompress")
    return done.stdout


class Frame:
    """A decoded frame that fills `data`."""

    def __init__(self, key, data, *kinds):
        def refuse(what):
            raise Damage(key, f"is damaged: {what}")
        if len(data) < 48 or data[:4] != b"LSHR":
            refuse("it does not begin like a frame")
        version, self.kind, codec, seal = data[4:8]
        if version != 1 or seal != 0:
            raise Damage(key, f"cannot be read: version {version}, seal {seal}")
        if self.kind not in [KINDS[kind] for kind in kinds]:
            refuse(f"kind {self.kind} does not belong there")
        plain_a, a, plain_b, b = struct.unpack("<IIQQ", data[24:48])
        chunk = self.kind == KINDS["chunk"]
        if 48 + a + b + (0 if chunk else 32) != len(data) or max(plain_a, plain_b) > MOST_PLAIN:
            refuse("its length is not what its header says")
        if not chunk and hashlib.sha256(data[:-32]).digest() != data[-32:]:
            refuse("its hash does not match")
        if codec > 1:
            refuse(f"unknown codec {codec}")
        sections = [data[48:48 + a], data[48 + a:48 + a + b]]
        if codec:
            sections = [unzstd(key, section) if section else b"" for section in sections]
        if list(map(len, sections)) != [plain_a, plain_b]:
            refuse("a section has another length than its header says")
        self.open, self.closed = sections


class Repository:
    def __init__(self, root):
        self.root = root
        self.config = self.text("repository.json")
        if self.config["format"] != 1:
            raise Damage("repository.json", f"has format {self.config['format']}")

    def get(self, key, needed_by):
        try:
            with open(os.path.join(self.root, key), "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise Damage(key, f"is missing, and {needed_by} needs it") from None

    def text(self, key):
        data = self.get(key, "the repository")
        value = parse(key, data)
        stated = value.get("sha256") if isinstance(value, dict) else None
        if not isinstance(stated, str) or not re.fullmatch("[0-9a-f]{64}", stated):
            raise Damage(key, "is damaged: it does not carry its hash")
        if sha256(data.replace(stated.encode(), b"0" * 64)) != stated:
            raise Damage(key, "is damaged: its hash does not match")
        return value

    def keys(self, folder, pattern):
        found = []
        for at, _, names in os.walk(os.path.join(self.root, folder)):
            found += [os.path.relpath(os.path.join(at, name), self.root) for name in names]
        return sorted(key for key in found if re.fullmatch(pattern, key))

    def manifests(self):  # key, and manifest or None for a tombstone
        for key in self.keys("manifests", rf"manifests/[a-z0-9][a-z0-9._-]{{0,62}}/{ULID}"):
            frame = Frame(key, self.get(key, "the listing"), "manifest", "tombstone")
            if frame.kind == KINDS["tombstone"]:
                yield key, None
                continue
            manifest = parse(key, frame.open)
            if manifest["format"] != 1:
                raise Damage(key, f"has format {manifest['format']}")
            place = f"manifests/{manifest['source']}/{manifest['backup']}"
            if manifest["repository"] != self.config["id"] or place != key:
                raise Damage(key, "is damaged: it is another backup's manifest")
            manifest["about"] = parse(key, frame.closed)
            yield key, manifest

    def follow(self, ref, kind, needed_by):
        """The key and the frame a ref leads to, checked."""
        if not re.fullmatch(rf"[0-9a-f]{{64}}-{ULID}", ref["object"]):
            raise Damage(needed_by, f"is damaged: {ref['object']!r} is not an object's name")
        key = f"{kind}s/{ref['object'][:2]}/{ref['object']}"
        data = self.get(key, needed_by)[ref["offset"]:ref["offset"] + ref["stored_len"]]
        if len(data) != ref["stored_len"] or sha256(data) != ref["stored_sha256"]:
            raise Damage(key, f"is damaged: the bytes at {ref['offset']} are not those that were stored")
        frame = Frame(key, data, kind)
        plain = frame.closed if kind == "chunk" else frame.open + frame.closed
        if len(plain) != ref["plain_len"] or sha256(plain) != ref["id"]:
            raise Damage(key, f"is damaged: its content is not {ref['id']}")
        return key, frame

    def join(self, refs, needed_by):
        return b"".join(self.follow(ref, "chunk", needed_by)[1].closed for ref in refs)

    def segments(self, key, manifest):
        """Every segment with its refs, in order; all that lists promise is checked."""
        last = None
        for ref in manifest["lists"]:
            place, frame = self.follow(ref, "list", key)
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
    for name, value in found.items():
        if manifest["totals"][name] != value:
            raise Damage(key, f"is damaged: it counts {manifest['totals'][name]} {name}, and there are {value}")
    return {
        "source": manifest["source"], "backup": manifest["backup"], "about": manifest["about"], "rows": found["rows"],
        "streams": {name: {"rows": s["rows"], "bytes": len(s["data"]), "sha256": sha256(s["data"]),
                           "digest": f"{s['rows']}:{s['sum']:032x}"} for name, s in streams.items()},
        "documents": documents, "reused_chunks": manifest["totals"]["reused_chunks"] > 0,
    }


def read_all(repository):  # backups, and the objects that no backup needs
    backups, tombstones = [], []
    for key, manifest in repository.manifests():
        if manifest is None:
            tombstones.append(key)
        else:
            backups.append(read_backup(repository, key, manifest))
    for key in repository.keys("settings", r"settings/\d+"):
        repository.text(key)
    for key in repository.keys("hints", r"hints/.*"):
        parse(key, Frame(key, repository.get(key, "the listing"), "hints").closed)
    for folder in ("sessions", "gc"):
        for key in repository.keys(folder, rf"{folder}/{ULID}/(start|beat-\d+|end|condemned|waits-for)"):
            kind = re.sub(r"-\d+$", "", key.split("/")[2])
            parse(key, Frame(key, repository.get(key, "the listing"), kind).open)
    return {"format": 1, "repository": repository.config["id"], "backups": backups, "tombstones": tombstones}


def main(arguments):
    command, folder, rest = arguments[0], arguments[1], arguments[2:]
    repository = Repository(folder)
    if command == "list" and not rest:
        for key, manifest in repository.manifests():
            print(key, "revoked" if manifest is None else f"{manifest['started']} {manifest['totals']['rows']} rows")
    elif command == "verify" and not rest:
        for backup in read_all(repository)["backups"]:
            print(f"{backup['source']}@{backup['backup']}")
            for name, stream in backup["streams"].items():
                print(f"  {name}: {stream['rows']} rows, digest {stream['digest']} holds")
    elif command == "json" and not rest:
        print(json.dumps(read_all(repository)))
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
        sys.exit(65)
    except IndexError:
        print(__doc__, file=sys.stderr)
        sys.exit(64)
