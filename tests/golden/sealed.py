"""The keys of a repository: what a reader with an identity, a writer's key or nothing at all can open and believe.

Follows docs/format.md, "Encryption", and knows no more.
"""

import hashlib

import agefile
import ciphers
import curves
from frames import Damage, Frame, Refused, parse

ALGORITHM = "x25519-xchacha20poly1305-1"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
WRITER = "longshore-writer-1-"
INFO = b"longshore closed section 1"


def key_id(key):
    return hashlib.sha256(key).digest()[:16]


class Keys:
    def __init__(self, repository, identity_file, writer_file):
        self.encryption = repository.config.get("encryption")
        self.private = self.id_key = self.hints_key = None
        self.believed, self.derived = set(), {}
        if self.encryption is None:
            if identity_file or writer_file:
                raise Refused("repository.json", "is refused: keys were given, and it is not encrypted")
            return
        if self.encryption["algorithm"] != ALGORITHM:
            raise Damage("repository.json", f"cannot be read: it is encrypted by {self.encryption['algorithm']}")
        self.public, self.root = (bytes.fromhex(self.encryption[name]) for name in ("public_key", "root"))
        self.believed.add(self.root)
        if writer_file:
            self.take_writer(repository, open(writer_file).read().strip())
        if identity_file:
            self.take_identities(repository, open(identity_file).read().split("\n"))
        self.read_signers(repository)

    def take_writer(self, repository, text):
        whole = bytes.fromhex(text[len(WRITER):])
        body, check = whole[:-4], whole[-4:]
        if not text.startswith(WRITER) or len(body) != 176 or hashlib.sha256(body).digest()[:4] != check:
            raise Refused("repository.json", "is refused: the writer's key is not one")
        number = 0
        for character in repository.config["id"]:
            number = number << 5 | CROCKFORD.index(character)
        if body[:80] != number.to_bytes(16, "big") + self.public + self.root:
            raise Refused("repository.json", "is refused: the writer's key is of another repository")
        self.id_key, self.hints_key = body[80:112], body[112:144]
        self.believed.add(curves.ed25519_sign(body[144:], b"")[0])

    def take_identities(self, repository, lines):
        lines = [line.strip() for line in lines]
        identities = [agefile.Identity(line) for line in lines if line and not line.startswith("#")]
        wrapped = repository.keys("keys", r"keys/age1[^/]+")
        for identity in identities:
            key = f"keys/{identity.recipient}"
            if key not in wrapped:
                continue
            try:
                secrets = parse(key, agefile.unwrap(identity, repository.wrapped(key)["age"]))
            except (agefile.NotOpened, ValueError) as error:
                raise Damage(key, f"is damaged: {error}") from None
            self.private, self.id_key, self.hints_key, seed = (
                bytes.fromhex(secrets[name]) for name in ("private_key", "id_key", "hints_key", "root_seed"))
            if curves.x25519_public(self.private) != self.public or curves.ed25519_sign(seed, b"")[0] != self.root:
                raise Refused("repository.json", "is refused: the wrapped keys are not those it is sealed with")
            return
        raise Refused("repository.json", "is refused: the identity is not of a recipient")

    def read_signers(self, repository):
        numbers = [int(key.split("/")[1]) for key in repository.keys("signers", r"signers/[1-9]\d*")]
        if not numbers:
            return
        key = f"signers/{max(numbers)}"
        frame = Frame(key, repository.get(key, "the repository"), self, "signers")
        if frame.signer != self.root:
            raise Refused(key, "is refused: the root has not signed it")
        found = parse(key, frame.open)
        if found["repository"] != repository.config["id"] or found["number"] != max(numbers):
            raise Damage(key, "is damaged: it is another repository's, or another number's")
        self.believed |= {bytes.fromhex(signer["public"]) for signer in found["signers"]}

    def believe(self, key, frame):
        if self.encryption is not None and frame.signer not in self.believed:
            by = f"signed by {frame.signer.hex()}, who is not known" if frame.signer else "not signed"
            raise Refused(key, f"is refused: it is {by}")

    def id_of(self, data):
        """The id of content; None when the key of ids is not held."""
        if self.encryption is None:
            return hashlib.sha256(data).hexdigest()
        return self.id_key and ciphers.hmac_sha256(self.id_key, data).hex()

    def unseal(self, object_key, seal, named, bound, box):
        """The closed section, still compressed; None when its key is not held."""
        held, of = (self.private, self.public) if seal == 1 else (self.hints_key, self.hints_key)
        if held is None:
            return None
        if key_id(of) != named:
            raise Damage(object_key, "is damaged: it is sealed with another key")
        key = held
        if seal == 1:
            key, box = self.session_key(box[:32]), box[32:]
        plain = key and len(box) >= 40 and ciphers.unseal(*ciphers.extended(key, box[:24]), bound, box[24:])
        if not isinstance(plain, bytes):
            raise Damage(object_key, "is damaged: its sealed section does not open")
        return plain

    def session_key(self, ephemeral):
        if ephemeral not in self.derived:
            shared = curves.x25519(self.private, ephemeral) if len(ephemeral) == 32 else b""
            self.derived[ephemeral] = any(shared) and ciphers.hkdf_sha256(ephemeral + self.public, shared, INFO)
        return self.derived[ephemeral]
