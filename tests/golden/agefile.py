"""Opens armored age files (age-encryption.org/v1) that are wrapped for an X25519 recipient; other stanzas are passed over."""

import base64
import re

import ciphers
import curves

CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
PIECE = 64 * 1024


class NotOpened(Exception):
    pass


def checksum(values):
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check


def spread(prefix):
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def from_bech32(text):
    """Prefix and bytes."""
    if text != text.lower() and text != text.upper():
        raise NotOpened("a key in mixed case")
    prefix, _, rest = text.lower().rpartition("1")
    values = [CHARACTERS.find(c) for c in rest]
    if len(values) < 6 or not prefix or -1 in values or checksum(spread(prefix) + values) != 1:
        raise NotOpened("not a key, or one with a slip")
    number, bits = 0, 5 * (len(values) - 6)
    for value in values[:-6]:
        number = number << 5 | value
    if bits % 8 > 4 or number & (1 << bits % 8) - 1:
        raise NotOpened("a key with bits left over")
    return prefix, (number >> bits % 8).to_bytes(bits // 8, "big")


def to_bech32(prefix, data):
    bits = -len(data) * 8 % 5
    number, count = int.from_bytes(data, "big") << bits, (len(data) * 8 + bits) // 5
    values = [number >> 5 * at & 31 for at in range(count - 1, -1, -1)]
    check = checksum(spread(prefix) + values + [0] * 6) ^ 1
    return prefix + "1" + "".join(CHARACTERS[v] for v in values + [check >> 5 * at & 31 for at in range(5, -1, -1)])


class Identity:
    def __init__(self, text):
        prefix, self.secret = from_bech32(text)
        if prefix != "age-secret-key-" or len(self.secret) != 32:
            raise NotOpened("not an identity")
        self.public = curves.x25519_public(self.secret)
        self.recipient = to_bech32("age", self.public)


def unbase64(text):  # without padding
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def file_key_of(identity, header):
    """The 16 bytes a stanza holds for this identity; None without one."""
    for share, body in re.findall(r"^-> X25519 (\S+)\n(\S+)\n", header, re.MULTILINE):
        share = unbase64(share)
        shared = curves.x25519(identity.secret, share)
        if len(share) != 32 or not any(shared):
            raise NotOpened("a share that gives no secret")
        key = ciphers.hkdf_sha256(share + identity.public, shared, b"age-encryption.org/v1/X25519")
        found = ciphers.unseal(key, bytes(12), b"", unbase64(body))
        if found is not None and len(found) == 16:
            return found
    return None


def unwrap(identity, armored):
    """The content of the file."""
    match = re.fullmatch(r"-----BEGIN AGE ENCRYPTED FILE-----\n([A-Za-z0-9+/=\n]+?)\n-----END AGE ENCRYPTED FILE-----\s*",
                         armored.replace("\r\n", "\n"))
    if not match:
        raise NotOpened("not an armored age file")
    data = base64.b64decode(match[1].replace("\n", ""), validate=True)
    at = data.find(b"\n--- ") + 4
    end = data.find(b"\n", at)
    if not data.startswith(b"age-encryption.org/v1\n") or at < 4 or end < 0:
        raise NotOpened("not an age file of version 1")
    header, mac = data[:at], unbase64(data[at + 1:end].decode())
    file_key = file_key_of(identity, header.decode())
    if file_key is None:
        raise NotOpened("it is wrapped for others")
    if ciphers.hmac_sha256(ciphers.hkdf_sha256(b"", file_key, b"header"), header) != mac:
        raise NotOpened("its header was changed")
    return payload(file_key, data[end + 1:])


def payload(file_key, data):
    key = ciphers.hkdf_sha256(data[:16], file_key, b"payload")
    data, out, number = data[16:], b"", 0
    while True:
        piece, data = data[:PIECE + 16], data[PIECE + 16:]
        nonce = number.to_bytes(11, "big") + (b"\0" if data else b"\1")
        plain = ciphers.unseal(key, nonce, b"", piece)
        if plain is None or (not plain and number):
            raise NotOpened("its content was changed or cut")
        out, number = out + plain, number + 1
        if not data:
            return out
