# SPDX-License-Identifier: MIT
"""
ggml - GGML's quantised types and GGUF files, written from their description
and independent of the C code: element by element, in float32, in the order
in which GGML computes.  Slow and plain on purpose.

    decode("Q4_K", blocks) -> float32 array;  blocks: uint8 array [n, bytes]
    Writer(...): makes GGUF files of any version and byte order
"""
import os
import re
import struct

import numpy as np

F = np.float32
TOP = os.environ.get("top_srcdir") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# name: number in files, elements, bytes, members wider than a byte
TYPES = {
    "Q4_0": (2, 32, 18, [(0, 2, 1)]),
    "Q4_1": (3, 32, 20, [(0, 2, 2)]),
    "Q5_0": (6, 32, 22, [(0, 2, 1), (2, 4, 1)]),
    "Q5_1": (7, 32, 24, [(0, 2, 2), (4, 4, 1)]),
    "Q8_0": (8, 32, 34, [(0, 2, 1)]),
    "Q2_K": (10, 256, 84, [(80, 2, 2)]),
    "Q3_K": (11, 256, 110, [(108, 2, 1)]),
    "Q4_K": (12, 256, 144, [(0, 2, 2)]),
    "Q5_K": (13, 256, 176, [(0, 2, 2)]),
    "Q6_K": (14, 256, 210, [(208, 2, 1)]),
    "IQ2_XXS": (16, 256, 66, [(0, 2, 33)]),
    "IQ2_XS": (17, 256, 74, [(0, 2, 33)]),
    "IQ3_XXS": (18, 256, 98, [(0, 2, 1), (66, 4, 8)]),
    "IQ1_S": (19, 256, 50, [(0, 2, 1), (34, 2, 8)]),
    "IQ4_NL": (20, 32, 18, [(0, 2, 1)]),
    "IQ3_S": (21, 256, 110, [(0, 2, 1)]),
    "IQ2_S": (22, 256, 82, [(0, 2, 1)]),
    "IQ4_XS": (23, 256, 136, [(0, 2, 2)]),
    "IQ1_M": (29, 256, 56, [(48, 2, 4)]),
    "TQ1_0": (34, 256, 54, [(52, 2, 1)]),
    "TQ2_0": (35, 256, 66, [(64, 2, 1)]),
    "MXFP4": (39, 32, 17, []),
    "NVFP4": (40, 64, 36, []),
    "Q1_0": (41, 128, 18, [(0, 2, 1)]),
    "Q2_0": (42, 64, 18, [(0, 2, 1)]),
}
PLAIN = {"F32": (0, "<f4"), "F16": (1, "<f2"), "I8": (24, "|i1"),
         "I16": (25, "<i2"), "I32": (26, "<i4"), "I64": (27, "<i8"),
         "F64": (28, "<f8")}

NL = [-127, -104, -83, -65, -49, -35, -22, -10,
      1, 13, 25, 38, 53, 69, 89, 113]
FP4 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]


def codebooks():
    """The published rows, from the table that the program is built from."""
    path = os.path.join(TOP, "src", "data", "quant_codebooks.c")
    with open(path) as f:
        text = f.read()
    books = {}
    for width, name, body in re.findall(
            r"uint(\d+)_t quant_(\w+)\[\d+\] = \{(.*?)\};", text, re.S):
        rows = [int(v, 16) for v in re.findall(r"0x[0-9a-f]+", body)]
        books[name] = [[np.int8((r >> 8 * i & 255) - (r >> 8 * i & 128) * 2)
                        for i in range(int(width) // 8)] for r in rows]
    return books


BOOKS = codebooks()


def half(b, off):
    return F(np.frombuffer(bytes(b[off:off + 2]), "<f2")[0])


def u16(b, off):
    return struct.unpack_from("<H", b, off)[0]


def u32(b, off):
    return struct.unpack_from("<I", b, off)[0]


def nib(x, hi):
    return x >> 4 if hi else x & 15


def sign7(i):
    return i | (bin(i).count("1") & 1) << 7


def signed(v, signs, j):
    return F(-v) if signs >> j & 1 else F(v)


def pm(s, e):
    """K-quants: scale and minimum of group e // 32."""
    g = e // 32
    if g < 4:
        return s[g] & 63, s[g + 4] & 63
    return ((s[g + 4] & 15) | (s[g - 4] >> 6) << 4,
            (s[g + 4] >> 4) | (s[g] >> 6) << 4)


def q4_0(b, e):
    return F(nib(b[2 + e % 16], e >= 16) - 8) * half(b, 0)


def q4_1(b, e):
    return F(nib(b[4 + e % 16], e >= 16)) * half(b, 0) + half(b, 2)


def q5_0(b, e):
    q = nib(b[6 + e % 16], e >= 16) | (u32(b, 2) >> e & 1) << 4
    return F(q - 16) * half(b, 0)


def q5_1(b, e):
    q = nib(b[8 + e % 16], e >= 16) | (u32(b, 4) >> e & 1) << 4
    return F(q) * half(b, 0) + half(b, 2)


def q8_0(b, e):
    return F(struct.unpack_from("b", b, 2 + e)[0]) * half(b, 0)


def q2_k(b, e):
    h, j, l = e // 128, e % 128 // 32, e % 32
    sc = b[8 * h + 2 * j + l // 16]
    q = b[16 + 32 * h + l] >> 2 * j & 3
    return half(b, 80) * F(sc & 15) * F(q) - half(b, 82) * F(sc >> 4)


def q3_k(b, e):
    h, j, l = e // 128, e % 128 // 32, e % 32
    s, k = b[96:108], 8 * h + 2 * j + l // 16
    low = s[k] & 15 if k < 8 else s[k - 8] >> 4
    scale = (low | (s[8 + k % 4] >> 2 * (k // 4) & 3) << 4) - 32
    q = (b[32 + 32 * h + l] >> 2 * j & 3) - (
        0 if b[l] & 1 << (4 * h + j) else 4)
    return half(b, 108) * F(scale) * F(q)


def q4_k(b, e):
    sc, mn = pm(b[4:16], e)
    q = nib(b[16 + 32 * (e // 64) + e % 32], e // 32 & 1)
    return half(b, 0) * F(sc) * F(q) - half(b, 2) * F(mn)


def q5_k(b, e):
    sc, mn = pm(b[4:16], e)
    q = nib(b[48 + 32 * (e // 64) + e % 32], e // 32 & 1)
    q += 16 * (b[16 + e % 32] >> e // 32 & 1)
    return half(b, 0) * F(sc) * F(q) - half(b, 2) * F(mn)


def q6_k(b, e):
    h, g, l = e // 128, e % 128 // 32, e % 32
    lo = nib(b[64 * h + 32 * (g & 1) + l], g >= 2)
    q = (lo | (b[128 + 32 * h + l] >> 2 * g & 3) << 4) - 32
    sc = struct.unpack_from("b", b, 192 + 8 * h + 2 * g + l // 16)[0]
    return half(b, 208) * F(sc) * F(q)


def iq2_xxs(b, e):
    g, l, j = e // 32, e % 32 // 8, e % 8
    w0, w1 = u32(b, 2 + 8 * g), u32(b, 6 + 8 * g)
    db = half(b, 0) * (F(0.5) + F(w1 >> 28)) * F(0.25)
    row = BOOKS["iq2xxs"][w0 >> 8 * l & 255]
    return db * signed(row[j], sign7(w1 >> 7 * l & 127), j)


def iq2_xs(b, e):
    g, l, j = e // 32, e % 32 // 8, e % 8
    w = u16(b, 2 + 2 * (4 * g + l))
    db = half(b, 0) * (F(.5) + F(nib(b[66 + g], l // 2))) * F(.25)
    return db * signed(BOOKS["iq2xs"][w & 511][j], sign7(w >> 9), j)


def iq2_s(b, e):
    g, l, j = e // 32, e % 32 // 8, e % 8
    idx = b[2 + 4 * g + l] | (b[66 + g] >> 2 * l & 3) << 8
    db = half(b, 0) * (F(.5) + F(nib(b[74 + g], l // 2))) * F(.25)
    return db * signed(BOOKS["iq2s"][idx][j], b[34 + 4 * g + l], j)


def iq3_xxs(b, e):
    g, l, j = e // 32, e % 32 // 8, e % 8
    w = u32(b, 66 + 4 * g)
    db = half(b, 0) * (F(.5) + F(w >> 28)) * F(.5)
    row = BOOKS["iq3xxs"][b[2 + 8 * g + 2 * l + j // 4]]
    return db * signed(row[j % 4], sign7(w >> 7 * l & 127), j)


def iq3_s(b, e):
    g, l, j = e // 32, e % 32 // 8, e % 8
    db = half(b, 0) * F(1 + 2 * nib(b[106 + g // 2], g & 1))
    k = 2 * l + j // 4
    idx = b[2 + 8 * g + k] | (b[66 + g] >> k & 1) << 8
    return db * signed(BOOKS["iq3s"][idx][j % 4], b[74 + 4 * g + l], j)


def iq1_s(b, e):
    g, l, j = e // 32, e % 32 // 8, e % 8
    q = u16(b, 34 + 2 * g)
    dl = half(b, 0) * F(2 * (q >> 12 & 7) + 1)
    delta = F(-.125) if q & 0x8000 else F(.125)
    row = BOOKS["iq1s"][b[2 + 4 * g + l] | (q >> 3 * l & 7) << 8]
    return dl * (F(row[j]) + delta)


def iq1_m(b, e):
    g, l, j = e // 32, e % 32 // 8, e % 8
    s = [u16(b, 48 + 2 * i) for i in range(4)]
    bits = (s[0] >> 12 | s[1] >> 8 & 0xf0 | s[2] >> 4 & 0xf00 |
            s[3] & 0xf000)
    d = half(struct.pack("<H", bits), 0)
    n = nib(b[32 + 2 * g + l // 2], l & 1)
    s3 = s[g // 2] >> (6 * (g & 1) + 3 * (l // 2)) & 7
    row = BOOKS["iq1s"][b[4 * g + l] | (n & 7) << 8]
    return d * F(2 * s3 + 1) * (F(row[j]) + F(-.125 if n & 8 else .125))


def iq4_nl(b, e):
    return half(b, 0) * F(NL[nib(b[2 + e % 16], e >= 16)])


def iq4_xs(b, e):
    g = e // 32
    ls = nib(b[4 + g // 2], g & 1) | (u16(b, 2) >> 2 * g & 3) << 4
    q = NL[nib(b[8 + 16 * g + e % 16], e % 32 >= 16)]
    return half(b, 0) * F(ls - 32) * F(q)


def trit(v, n):
    return F(((v * 3 ** n & 255) * 3 >> 8) - 1)


def tq1_0(b, e):
    if e < 160:
        t = trit(b[e % 32], e // 32)
    elif e < 240:
        t = trit(b[32 + (e - 160) % 16], (e - 160) // 16)
    else:
        t = trit(b[48 + (e - 240) % 4], (e - 240) // 4)
    return t * half(b, 52)


def tq2_0(b, e):
    q = b[32 * (e // 128) + e % 32] >> 2 * (e % 128 // 32) & 3
    return F(q - 1) * half(b, 64)


def mxfp4(b, e):
    scale = F(2.0) ** F(int(b[0]) - 128)
    return F(FP4[nib(b[1 + e % 16], e >= 16)]) * scale


def nvfp4(b, e):
    sub = e // 16
    x = b[sub] & 127
    if x == 127:
        d = F(0)
    elif x < 8:
        d = F(x) * F(2.0) ** F(-9)
    else:
        d = F(8 + x % 8) / F(8) * F(2.0) ** F(x // 8 - 7)
    q = FP4[nib(b[4 + 8 * sub + e % 8], e % 16 >= 8)]
    return F(q) * (d / F(2))


def q1_0(b, e):
    return half(b, 0) if b[2 + e // 8] >> e % 8 & 1 else -half(b, 0)


def q2_0(b, e):
    return F((b[2 + e // 4] >> 2 * (e % 4) & 3) - 1) * half(b, 0)


def decode(name, blocks):
    """blocks: bytes; returns a flat float32 array."""
    _, elems, width, _ = TYPES[name]
    one = globals()[name.lower()]
    out = []
    with np.errstate(all="ignore"):
        for at in range(0, len(blocks), width):
            b = blocks[at:at + width]
            out += [one(b, e) for e in range(elems)]
    return np.array(out, F)


def swap(name, blocks):
    """The same blocks as a big-endian machine writes them."""
    _, _, width, members = TYPES[name]
    out = bytearray(blocks)
    for at in range(0, len(blocks), width):
        for off, size, count in members:
            for i in range(count):
                p = at + off + size * i
                out[p:p + size] = out[p:p + size][::-1]
    return bytes(out)


# ---- files ----

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = \
    range(13)
CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f",
         BOOL: "B", U64: "Q", I64: "q", F64: "d"}


class Writer:
    """Nothing is checked: broken files are made with it, too."""

    def __init__(self, version=3, big=False, magic=b"GGUF", align=32):
        self.version, self.magic, self.align = version, magic, align
        self.order = ">" if big else "<"
        self.big = big
        self.keys, self.infos, self.data = [], [], b""
        self.nkeys = self.ntensors = None  # or what the header says

    def pack(self, code, *v):
        return struct.pack(self.order + code, *v)

    def count(self, n):
        return self.pack("I" if self.version == 1 else "Q",
                         n & (2**32 - 1 if self.version == 1 else 2**64 - 1))

    def string(self, s):
        s = s.encode() if isinstance(s, str) else s
        return self.count(len(s)) + s

    def value(self, kind, v):
        if kind == STRING:
            return self.string(v)
        if kind == ARRAY:
            elem, items = v
            return (self.pack("I", elem) + self.count(len(items)) +
                    b"".join(self.value(elem, i) for i in items))
        return self.pack(CODES[kind], v)

    def key(self, name, kind, v):
        self.raw_key(self.string(name) + self.pack("I", kind) +
                     self.value(kind, v))

    def raw_key(self, data):
        self.keys.append(data)

    def tensor(self, name, number, dims, data, off=None):
        """dims: fastest first, as in the file."""
        self.data += bytes(-len(self.data) % self.align)
        if off is None:
            off = len(self.data)
        dim = "I" if self.version == 1 else "Q"
        self.infos.append(
            self.string(name) + self.pack("I", len(dims)) +
            b"".join(self.pack(dim, d) for d in dims) +
            self.pack("IQ", number, off))
        self.data += data

    def array(self, name, a, kind):
        """A NumPy array of a plain type."""
        number, descr = PLAIN[kind]
        a = np.ascontiguousarray(a, descr.replace("<", self.order))
        self.tensor(name, number, a.shape[::-1], a.tobytes())

    def blocks(self, name, kind, rows, blocks):
        number, elems, width, _ = TYPES[kind]
        cols = len(blocks) // width // rows * elems
        self.tensor(name, number, (cols, rows),
                    swap(kind, blocks) if self.big else blocks)

    def bytes(self):
        n = len(self.infos) if self.ntensors is None else self.ntensors
        k = len(self.keys) if self.nkeys is None else self.nkeys
        head = (self.magic + self.pack("I", self.version) + self.count(n) +
                self.count(k) + b"".join(self.keys) + b"".join(self.infos))
        if not self.data:
            return head
        return head + bytes(-len(head) % self.align) + self.data
