#!/usr/bin/env python3
"""Makes `broken/`: repositories that somebody has tampered with, each a few objects over an intact one, and what is to be said.

    forge.py          writes tests/golden/broken anew; the same bytes each time

`broken/<name>/said.json`: `of`, the intact repository; `copied` {to: from} and `cut` {key: bytes}, what to do with it; then the
files of `objects/` go over it. `without_keys` and `with_identity`: what both readers say, as `<kind> <key>` or `nothing`.
"""

import hashlib
import json
import os
import shutil
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import agefile  # noqa: E402
import ciphers  # noqa: E402
import curves  # noqa: E402
import frames  # noqa: E402
import reader  # noqa: E402
import sealed  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
PLACE = os.path.join(HERE, "v1-sealed")
OUT = os.path.join(HERE, "broken")
STRANGER = hashlib.sha256(b"a signer that nobody knows").digest()


def drawn(name, length):
    """Bytes that look random and are the same each time: fit for forgeries, not for secrets."""
    return hashlib.sha512(b"forged " + name.encode()).digest()[:length]


def finish(content, seed):
    if seed is not None:
        public, _ = curves.ed25519_sign(seed, b"")
        content += public + curves.ed25519_sign(seed, frames.SIGNED + content + public)[1]
    return content + hashlib.sha256(content).digest()


class Forge:
    def __init__(self):
        identity = os.path.join(PLACE, "ops.identity")
        self.repository = reader.Repository(os.path.join(PLACE, "repository"), identity=identity)
        self.public = self.repository.held.public
        opener = agefile.Identity(open(identity).read().split("\n")[2])
        secrets = json.loads(agefile.unwrap(opener, self.repository.text(f"keys/{opener.recipient}")["age"]))
        self.root = bytes.fromhex(secrets["root_seed"])
        self.nightly = bytes.fromhex(open(os.path.join(PLACE, "nightly.writer")).read().strip()[len(sealed.WRITER):])[144:176]
        found = [(key, manifest) for key, manifest in self.repository.manifests() if manifest]
        (self.first, _), (self.second, _), (self.key, self.manifest) = found

    def frame(self, kind, content, closed=b"", seal=1, flags=None, seed=None, name=""):
        """A frame as anybody can make it who has the public key, signed if there is a seed."""
        text = json.dumps(content).encode()
        flags = (seal | (4 if seed else 0)) if flags is None else flags
        length = len(closed) + (72 if seal else 0)
        header = b"LSHR" + bytes([1, kind, 0, flags]) + (sealed.key_id(self.public) if seal else bytes(16))
        bound = header + struct.pack("<IIQQ", len(text), len(text), len(closed), length) + text
        if seal:
            secret, nonce = drawn(name + " key", 32), drawn(name + " nonce", 24)
            ephemeral = curves.x25519_public(secret)
            key = ciphers.hkdf_sha256(ephemeral + self.public, curves.x25519(secret, self.public), sealed.INFO)
            closed = ephemeral + nonce + ciphers.seal(*ciphers.extended(key, nonce), bound, closed)
        return finish(bound + closed, seed)

    def as_manifest(self, name, changed=None, kind=3, seal=1, flags=None, seed=None):
        """The third backup's manifest, made anew."""
        manifest = dict(changed or self.manifest)
        about = json.dumps(manifest.pop("about")).encode()
        return {self.key: self.frame(kind, manifest, about, seal, flags, seed, name)}

    def changed(self):
        return json.loads(json.dumps(self.manifest))

    def document(self, manifest, name):
        return next(document["refs"][0] for document in manifest["documents"] if document["name"] == name)

    def moved_chunk(self):
        """The bytes of one document under the name of another, with the hashes and lengths that fit."""
        manifest = self.changed()
        target, source = self.document(manifest, "catalog.json"), self.document(self.manifest, "schema.pgdump")
        to, origin = (f"chunks/{ref['object'][:2]}/{ref['object']}" for ref in (target, source))
        manifest["totals"]["stored_bytes"] += source["stored_len"] - target["stored_len"]
        target.update({name: source[name] for name in ("offset", "stored_len", "plain_len", "stored_sha256")})
        return to, origin, self.as_manifest("moved", manifest, seed=self.nightly)

    def mixed_list(self):
        """One list's open section and another's closed one, with a manifest that fits."""
        manifest = self.changed()
        one, other = manifest["lists"][0], manifest["lists"][1]
        stored = [self.repository.get(f"lists/{ref['object'][:2]}/{ref['object']}", "forge.py") for ref in (one, other)]
        lengths = [struct.unpack("<IIQQ", data[24:48]) for data in stored]
        header = stored[0][:32] + stored[1][32:48]
        begin = 48 + lengths[1][1]
        closed = stored[1][begin:begin + lengths[1][3]]
        frame = finish(header + stored[0][48:48 + lengths[0][1]] + closed, None)
        name = f"{hashlib.sha256(frame).hexdigest()}-{manifest['session']}"
        one.update({"object": name, "stored_len": len(frame), "plain_len": lengths[0][0] + lengths[1][2],
                    "stored_sha256": hashlib.sha256(frame).hexdigest()})
        key = f"lists/{name[:2]}/{name}"
        return key, {key: frame, **self.as_manifest("mixed", manifest, seed=self.root)}

    def newer_format(self):
        text = open(os.path.join(PLACE, "repository", "repository.json")).read().replace('"format": 1', '"format": 2')
        text = text.replace(json.loads(text)["sha256"], "0" * 64)
        return {"repository.json": text.replace("0" * 64, frames.sha256(text.encode())).encode()}


def write(name, about, said, objects=None, blind=None, **recipe):
    folder = os.path.join(OUT, name)
    for key, data in (objects or {}).items():
        path = os.path.join(folder, "objects", key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "said.json"), "w") as file:
        json.dump({"of": "v1-sealed", "about": about, **recipe, "without_keys": blind or said, "with_identity": said},
                  file, indent=2)
        file.write("\n")


def main():
    forge = Forge()
    key, anew = forge.key, forge.as_manifest
    shutil.rmtree(OUT, ignore_errors=True)
    write("manifest-of-an-unknown-signer", "signed well, by a key that nobody wrote down", f"refused {key}",
          anew("unknown", seed=STRANGER))
    write("manifest-without-signature", "sealed to the public key, which everybody can do", f"refused {key}", anew("unsigned"))
    write("manifest-in-the-clear", "neither signed nor sealed", f"refused {key}", anew("clear", seal=0))
    broken = bytearray(anew("changed", seed=forge.nightly)[key][:-32])
    broken[-1] ^= 1
    write("manifest-with-a-wrong-signature", "one bit of the signature, and a hash that fits", f"damaged {key}",
          {key: finish(bytes(broken), None)})
    other = forge.changed()
    other["repository"] = "01K00000000000000000000000"
    write("manifest-of-another-repository", "signed by the root", f"damaged {key}", anew("other", other, seed=forge.root))
    write("manifest-of-another-backup", "an older one in its place", f"damaged {forge.second}",
          copied={forge.second: forge.first})
    write("unknown-kind", "99, signed", f"damaged {key}", anew("kind", kind=99, seed=forge.root))
    write("unknown-seal", "3, signed", f"unreadable {key}", anew("seal", flags=7, seed=forge.root))
    write("newer-format", "2, with a hash that fits", "unreadable repository.json", forge.newer_format())
    signers = {"repository": forge.repository.config["id"], "number": 4, "signers": [
        {"public": curves.ed25519_sign(STRANGER, b"")[0].hex(), "name": "stranger", "added": "2026-11-22T00:00:00Z"}]}
    write("signers-signed-by-a-writer", "a known one, that is not the root", "refused signers/4",
          {"signers/4": forge.frame(17, signers, seal=0, seed=forge.nightly)})
    write("signers-not-signed", "whom the thief would like to be known", "refused signers/4",
          {"signers/4": forge.frame(17, signers, seal=0)})
    write("signers-of-older-number", "signed by the root, when it was the first", "damaged signers/4",
          copied={"signers/4": "signers/1"})
    recipients = forge.repository.keys("keys", r"keys/age1[^/]+")
    safe = agefile.Identity(open(os.path.join(PLACE, "safe.identity")).read().split("\n")[2]).recipient
    ops = next(wrapped for wrapped in recipients if wrapped != f"keys/{safe}")
    write("keys-wrapped-for-another", "one recipient's under the other's name", f"damaged {ops}", copied={ops: f"keys/{safe}"})
    to, origin, objects = forge.moved_chunk()
    write("chunk-under-anothers-name", "with hashes and lengths that fit; its id does not", f"damaged {to}", objects,
          blind="nothing", copied={to: origin})
    place, objects = forge.mixed_list()
    write("list-with-anothers-closed-section", "with hashes that fit; the seal does not", f"damaged {place}", objects,
          blind="nothing")
    beyond = forge.changed()
    forge.document(beyond, "catalog.json")["offset"] = 1 << 40
    chunk = forge.document(beyond, "catalog.json")["object"]
    write("ref-beyond-its-object", "a terabyte beyond", f"damaged chunks/{chunk[:2]}/{chunk}",
          anew("beyond", beyond, seed=forge.nightly))
    refs = [ref for _, _, refs in forge.repository.segments(key, forge.manifest) for ref in refs]
    last = max((ref for ref in refs if ref["offset"]), key=lambda ref: ref["offset"])
    bundle = f"chunks/{last['object'][:2]}/{last['object']}"
    write("bundle-cut-short", "by the last byte of its last chunk", f"damaged {bundle}",
          cut={bundle: last["offset"] + last["stored_len"] - 1})


if __name__ == "__main__":
    main()
