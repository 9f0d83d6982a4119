#!/usr/bin/env python3
"""Each primitive of the reader against the published vectors of its RFC. Exit status 1 and the name of what differs, or 0."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import agefile  # noqa: E402
import ciphers  # noqa: E402
import curves  # noqa: E402

TEXT = (b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.")
KEY, BOUND = bytes(range(0x80, 0xA0)), bytes.fromhex("50515253c0c1c2c3c4c5c6c7")


def h(text):
    return bytes.fromhex(text)


def cases():
    yield "X25519, RFC 7748 5.2", curves.x25519(
        h("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
        h("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
    ), h("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    u = k = (9).to_bytes(32, "little")
    yield "X25519 once, RFC 7748 5.2", curves.x25519(k, u), h(
        "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")
    for count in range(1000):
        k, u = curves.x25519(k, u), k
    yield "X25519 a thousand times, RFC 7748 5.2", k, h("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")
    nonce = h("070000004041424344454647")
    sealed = ciphers.seal(KEY, nonce, BOUND, TEXT)
    yield "ChaCha20-Poly1305, RFC 8439 2.8.2", sealed[:16] + sealed[-16:], h(
        "d31a8d34648e60db7b86afbc53ef7ec21ae10b594f09e26a7e902ecbd0600691")
    yield "ChaCha20-Poly1305 opened", ciphers.unseal(KEY, nonce, BOUND, sealed), TEXT
    for at in (0, len(TEXT), len(sealed) - 1):
        changed = bytearray(sealed)
        changed[at] ^= 1
        yield "ChaCha20-Poly1305 changed", ciphers.unseal(KEY, nonce, BOUND, bytes(changed)), None
    yield "Poly1305, RFC 8439 2.5.2", ciphers.poly1305(
        h("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b"), b"Cryptographic Forum Research Group",
    ), h("a8061dc1305136c6c22b8baf0c0127a9")
    yield "HChaCha20, draft-irtf-cfrg-xchacha-03 2.2.1", ciphers.hchacha20(
        bytes(range(32)), h("000000090000004a0000000031415927"),
    ), h("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")
    key, nonce = ciphers.extended(KEY, bytes(range(0x40, 0x58)))
    sealed = ciphers.seal(key, nonce, BOUND, TEXT)
    yield "XChaCha20-Poly1305, the draft's A.3.1", sealed[:16] + sealed[-16:], h(
        "bd6d179d3e83d43b9576579493c0e939c0875924c1c7987947deafd8780acf49")
    yield "HMAC-SHA-256, RFC 4231 4.2", ciphers.hmac_sha256(b"\x0b" * 20, b"Hi There"), h(
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
    yield "HKDF-SHA-256, RFC 5869 A.1", ciphers.hkdf_sha256(
        bytes(range(13)), b"\x0b" * 22, bytes(range(0xF0, 0xFA)), 42,
    ), h("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
    for seed, public, message, signature in (
        ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
        ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ):
        yield "Ed25519 signs, RFC 8032 7.1", curves.ed25519_sign(h(seed), h(message)), (h(public), h(signature))
        yield "Ed25519 holds, RFC 8032 7.1", curves.ed25519_holds(h(public), h(message), h(signature)), True
        yield "Ed25519, another message", curves.ed25519_holds(h(public), h(message) + b"\0", h(signature)), False
        larger = (int.from_bytes(h(signature)[32:], "little") + curves.ORDER).to_bytes(32, "little")
        yield "Ed25519, s not reduced", curves.ed25519_holds(h(public), h(message), h(signature)[:32] + larger), False
    for text in ("a12uel5l", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"):
        prefix, data = agefile.from_bech32(text.upper())
        yield "bech32, BIP 173", agefile.to_bech32(prefix, data), text


if __name__ == "__main__":
    number = 0
    for name, found, wanted in cases():
        number += 1
        if found != wanted:
            print(f"{name}: {found!r} instead of {wanted!r}", file=sys.stderr)
            sys.exit(1)
    print(f"{number} vectors hold")
