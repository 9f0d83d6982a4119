"""XXH3-128 with seed 0, in plain Python: slow, and plain to compare with the published specification."""

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
MX1, MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def u32(data, at):
    return int.from_bytes(data[at:at + 4], "little")


def u64(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def secret(at):
    return u64(SECRET, at)


def swap(value, size):
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def fold(a, b):
    product = a * b
    return (product & M64) ^ (product >> 64)


def avalanche(h):
    h = (h ^ h >> 37) * MX1 & M64
    return h ^ h >> 32


def avalanche64(h):
    h = (h ^ h >> 33) * P2 & M64
    h = (h ^ h >> 29) * P3 & M64
    return h ^ h >> 32


def join(high, low):
    return high << 64 | low


def up_to_16(data):
    n = len(data)
    if n == 0:
        return join(avalanche64(secret(80) ^ secret(88)), avalanche64(secret(64) ^ secret(72)))
    if n <= 3:
        low = data[0] << 16 | data[n >> 1] << 24 | data[-1] | n << 8
        high = swap(low, 4)
        high = (high << 13 | high >> 19) & M32
        low ^= u32(SECRET, 0) ^ u32(SECRET, 4)
        high ^= u32(SECRET, 8) ^ u32(SECRET, 12)
        return join(avalanche64(high), avalanche64(low))
    if n <= 8:
        keyed = (u32(data, 0) | u32(data, n - 4) << 32) ^ secret(16) ^ secret(24)
        product = keyed * (P1 + (n << 2))
        low, high = product & M64, product >> 64 & M64
        high = high + (low << 1) & M64
        low ^= high >> 3
        low = (low ^ low >> 35) * MX2 & M64
        return join(avalanche(high), low ^ low >> 28)
    first, last = u64(data, 0), u64(data, n - 8)
    product = (first ^ last ^ secret(32) ^ secret(40)) * P1
    low, high = (product & M64) + (n - 1 << 54) & M64, product >> 64
    last ^= secret(48) ^ secret(56)
    high = high + last + (last & M32) * (P32_2 - 1) & M64
    low ^= swap(high, 8)
    product = low * P2
    return join(avalanche((product >> 64) + high * P2 & M64), avalanche(product & M64))


def up_to_240(data):
    n = len(data)
    low, high = n * P1 & M64, 0

    def mix16(at, key):
        return fold(u64(data, at) ^ secret(key), u64(data, at + 8) ^ secret(key + 8))

    def mix32(a, b, key):
        nonlocal low, high
        low = (low + mix16(a, key) & M64) ^ (u64(data, b) + u64(data, b + 8) & M64)
        high = (high + mix16(b, key + 16) & M64) ^ (u64(data, a) + u64(data, a + 8) & M64)

    if n <= 128:
        for i in reversed(range((n - 1) // 32 + 1)):
            mix32(16 * i, n - 16 * (i + 1), 32 * i)
    else:
        for i in range(4):
            mix32(32 * i, 32 * i + 16, 32 * i)
        low, high = avalanche(low), avalanche(high)
        for i in range(4, n // 32):
            mix32(32 * i, 32 * i + 16, 3 + 32 * (i - 4))
        mix32(n - 16, n - 32, 136 - 17 - 16)
    mixed = low * P1 + high * P4 + n * P2 & M64
    return join(-avalanche(mixed) & M64, avalanche(low + high & M64))


def long(data):
    n = len(data)
    acc = [P32_3, P1, P2, P3, P4, P32_2, P5, P32_1]
    stripes = (len(SECRET) - 64) // 8

    def accumulate(at, key):
        for i in range(8):
            value = u64(data, at + 8 * i)
            keyed = value ^ secret(key + 8 * i)
            acc[i ^ 1] = acc[i ^ 1] + value & M64
            acc[i] = acc[i] + (keyed & M32) * (keyed >> 32) & M64

    blocks = (n - 1) // (64 * stripes)
    for block in range(blocks):
        for i in range(stripes):
            accumulate((block * stripes + i) * 64, 8 * i)
        for i in range(8):
            acc[i] = (acc[i] ^ acc[i] >> 47 ^ secret(len(SECRET) - 64 + 8 * i)) * P32_1 & M64
    begin = blocks * stripes * 64
    for i in range((n - 1 - begin) // 64):
        accumulate(begin + i * 64, 8 * i)
    accumulate(n - 64, len(SECRET) - 64 - 7)

    def merge(key, start):
        parts = (fold(acc[2 * i] ^ secret(key + 16 * i), acc[2 * i + 1] ^ secret(key + 16 * i + 8)) for i in range(4))
        return avalanche(start + sum(parts) & M64)

    return join(merge(len(SECRET) - 64 - 11, ~(n * P2) & M64), merge(11, n * P1 & M64))


def xxh3_128(data):
    """The hash as a number of 128 bits."""
    if len(data) <= 16:
        return up_to_16(data)
    return up_to_240(data) if len(data) <= 240 else long(data)
