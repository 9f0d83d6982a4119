"""ChaCha20-Poly1305 (RFC 8439), XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) and HKDF-SHA-256 (RFC 5869), in plain Python.

Slow, and not safe against somebody who measures time: for reading test data only.
"""

import hashlib
import hmac
import struct

M32 = (1 << 32) - 1


def rotate(word, bits):
    return (word << bits | word >> (32 - bits)) & M32


def quarter(s, a, b, c, d):
    for first, second, last, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[first] = (s[first] + s[second]) & M32
        s[last] = rotate(s[last] ^ s[first], bits)


def rounds(state):
    s = list(state)
    for _ in range(10):
        for a in range(4):
            quarter(s, a, a + 4, a + 8, a + 12)
        for a in range(4):
            quarter(s, a, 4 + (a + 1) % 4, 8 + (a + 2) % 4, 12 + (a + 3) % 4)
    return s


def state(key, last):
    return struct.unpack("<16I", b"expand 32-byte k" + key + last)


def chacha20(key, nonce, counter, data):
    out = bytearray()
    for at in range(0, len(data), 64):
        before = state(key, struct.pack("<I", counter + at // 64) + nonce)
        stream = struct.pack("<16I", *((x + y) & M32 for x, y in zip(before, rounds(before))))
        out += bytes(x ^ y for x, y in zip(data[at:at + 64], stream))
    return bytes(out)


def hchacha20(key, nonce):
    s = rounds(state(key, nonce))
    return struct.pack("<8I", *s[:4], *s[12:])


def poly1305(key, data):
    r, s = (int.from_bytes(key[at:at + 16], "little") for at in (0, 16))
    r &= 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(data), 16):
        total = (total + int.from_bytes(data[at:at + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    return ((total + s) % (1 << 128)).to_bytes(16, "little")


def tag_of(key, nonce, bound, ciphertext):
    def pad(data):
        return data + bytes(-len(data) % 16)
    lengths = struct.pack("<QQ", len(bound), len(ciphertext))
    return poly1305(chacha20(key, nonce, 0, bytes(32)), pad(bound) + pad(ciphertext) + lengths)


def seal(key, nonce, bound, content):  # nonce of 12 bytes: ChaCha20-Poly1305
    ciphertext = chacha20(key, nonce, 1, content)
    return ciphertext + tag_of(key, nonce, bound, ciphertext)


def unseal(key, nonce, bound, sealed):
    """The content, or None when it was changed."""
    if len(sealed) < 16 or not hmac.compare_digest(tag_of(key, nonce, bound, sealed[:-16]), sealed[-16:]):
        return None
    return chacha20(key, nonce, 1, sealed[:-16])


def extended(key, nonce):  # key and nonce of the 12 bytes' cipher for a nonce of 24
    return hchacha20(key, nonce[:16]), bytes(4) + nonce[16:]


def hmac_sha256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf_sha256(salt, secret, info, length=32):
    key, out, last = hmac_sha256(salt, secret), b"", b""
    while len(out) < length:
        last = hmac_sha256(key, last + info + bytes([len(out) // 32 + 1]))
        out += last
    return out[:length]
