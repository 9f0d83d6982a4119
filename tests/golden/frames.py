"""Frames and the texts that carry their own hash: how every object looks, whatever it holds."""

import hashlib
import json
import re
import struct
import subprocess

import curves

KINDS = dict(zip("chunk list manifest tombstone start beat end hints condemned waits-for evidence pin removed verdict "
                 "accepted lease signers".split(), range(1, 18)))
MOST_PLAIN = 1 << 30
SIGNED = b"longshore signed frame 1\0"


class Damage(Exception):
    status = 65

    def __init__(self, key, what):
        super().__init__(f"{key} {what}")


class Refused(Damage):
    """Nothing is damaged; somebody else's word, or a key that is not held."""
    status = 77


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def parse(key, data):
    try:
        return json.loads(data.decode())
    except ValueError as error:
        raise Damage(key, f"is damaged: {error}") from None


def parse_text(key, data):
    value = parse(key, data)
    stated = value.get("sha256") if isinstance(value, dict) else None
    if not isinstance(stated, str) or not re.fullmatch("[0-9a-f]{64}", stated):
        raise Damage(key, "is damaged: it does not carry its hash")
    if sha256(data.replace(stated.encode(), b"0" * 64)) != stated:
        raise Damage(key, "is damaged: its hash does not match")
    return value


def unzstd(key, stored):
    done = subprocess.run(["zstd", "-q", "-d", "-c"], input=stored, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise Damage(key, "is damaged: it does not decompress")
    return done.stdout


class Frame:
    """A decoded frame that fills `data`. `closed` is None while it is sealed and `keys` cannot open it."""

    def __init__(self, key, data, keys, *kinds):
        def refuse(what):
            raise Damage(key, f"is damaged: {what}")
        if len(data) < 48 or data[:4] != b"LSHR":
            refuse("it does not begin like a frame")
        version, self.kind, codec, flags = data[4:8]
        if version != 1:
            raise Damage(key, f"cannot be read: its version is {version}")
        if self.kind not in [KINDS[kind] for kind in kinds]:
            refuse(f"kind {self.kind} does not belong there")
        plain_a, a, self.closed_len, b = struct.unpack("<IIQQ", data[24:48])
        chunk, seal, signed = self.kind == KINDS["chunk"], flags & 3, flags & 4
        if 48 + a + b + (96 if signed else 0) + (0 if chunk else 32) != len(data) or max(plain_a, self.closed_len) > MOST_PLAIN:
            refuse("its length is not what its header says")
        if not chunk and hashlib.sha256(data[:-32]).digest() != data[-32:]:
            refuse("its hash does not match")
        if flags > 7 or seal == 3:
            raise Damage(key, f"cannot be read: its seal is {flags}")
        if codec > 1:
            refuse(f"unknown codec {codec}")
        end, self.signer = 48 + a + b, None
        if signed:
            self.signer, signature = data[end:end + 32], data[end + 32:end + 96]
            if not curves.ed25519_holds(self.signer, SIGNED + data[:end] + self.signer, signature):
                refuse("its signature is wrong")

        def unpack(section, length):
            plain = unzstd(key, section) if codec and section else section
            if len(plain) != length:
                refuse("a section has another length than its header says")
            return plain
        self.open, closed = unpack(data[48:48 + a], plain_a), data[48 + a:end]
        if seal:
            closed = keys.unseal(key, seal, data[8:24], data[:48 + a], closed)
        self.closed = None if closed is None else unpack(closed, self.closed_len)
