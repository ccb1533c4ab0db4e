# SPDX-License-Identifier: MIT
"""GGUF: every type against formulas in Python, hostile and split files."""
import glob
import io
import json
import os
import random
import struct
import sys

import numpy as np

from e2e import (Skip, TOP, case, fails_with, main, mounted, read, run, same,
                 tempdir, text, write)

sys.path.insert(0, os.path.join(TOP, "tests", "golden"))
import ggml  # noqa: E402
from ggml import (ARRAY, BOOL, F32, F64, I8, I32, I64, STRING, U8, U16,  # noqa
                  U32, U64, Writer)


def good(*args):
    r = run(*args)
    assert r.returncode == 0, (args, r.returncode, r.stderr)
    return r.stdout


def put(folder, name, data):
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.write(data.bytes() if isinstance(data, Writer) else data)
    return path


def cat(path, name):
    return good("--cat", path, name)


def array(path, name):
    return np.load(io.BytesIO(cat(path, "tensors/%s.npy" % name)))


def same_bits(got, want, what):
    assert got.shape == want.shape, (what, got.shape, want.shape)
    bad = np.flatnonzero(got.reshape(-1).view("u1").reshape(-1) !=
                         want.reshape(-1).view("u1").reshape(-1))
    assert bad.size == 0, (what, bad[:4], got.flat[bad[0] // 4],
                           want.flat[bad[0] // 4])


def sane_blocks(kind, n, seed):
    """Random bytes; float16 scales that are numbers."""
    _, _, width, _ = ggml.TYPES[kind]
    rng = random.Random(seed)
    out = bytearray(rng.randrange(256) for _ in range(n * width))
    halves = {"Q2_K": [80, 82], "Q3_K": [108], "Q6_K": [208], "TQ1_0": [52],
              "TQ2_0": [64], "Q4_1": [0, 2], "Q5_1": [0, 2], "Q4_K": [0, 2],
              "Q5_K": [0, 2], "IQ1_M": [], "MXFP4": [],
              "NVFP4": []}.get(kind, [0])
    for b in range(n):
        for off in halves:
            out[b * width + off + 1] = rng.choice(
                [0x2c, 0xac, 0x3c, 0x00, 0x80, 0x53])
    return bytes(out)


def all_types(version=3, big=False, magic=b"GGUF"):
    w = Writer(version, big, magic)
    w.key("general.architecture", STRING, "test")
    want = {}
    for kind in ggml.TYPES:
        blocks = sane_blocks(kind, 6, kind)
        w.blocks("a.%s.weight" % kind, kind, 2, blocks)
        want["a.%s.weight" % kind] = (
            kind, blocks, ggml.decode(kind, blocks).reshape(2, -1))
    for kind, (_, descr) in ggml.PLAIN.items():
        a = np.arange(-3, 9).astype(descr).reshape(3, 4)
        w.array("p." + kind, a, kind)
        want["p." + kind] = (None, a.tobytes(), a)
    return w, want


def check_all_types(w, want):
    with tempdir() as tmp:
        path = put(tmp, "m.gguf", w)
        for name, (kind, raw, a) in want.items():
            if kind != "IQ1_M":  # its scale is spread: may be NaN
                assert not np.isnan(a).any(), name
            same_bits(array(path, name), a, name)
            same(cat(path, "tensors/" + name), raw, name)
            if kind:
                same(cat(path, "tensors/%s.dtype" % name).decode(),
                     kind + "\n")


@case(mount=False)
def every_type():
    check_all_types(*all_types())


@case(mount=False)
def every_type_big_endian():
    check_all_types(*all_types(big=True))


@case(mount=False)
def old_versions_and_the_other_magic():
    for args in [(1,), (2,), (2, True), (3, True, b"FUGG")]:
        w, want = all_types(*args)
        with tempdir() as tmp:
            path = put(tmp, "m", w)
            for name in ["a.Q4_K.weight", "p.F32"]:
                same_bits(array(path, name), want[name][2], name)
            same(json.loads(cat(path, "info.json"))["version"], str(args[0]))


@case(mount=False)
def bfloat16():
    w = Writer()
    bits = np.arange(0, 65536, 7, dtype="<u2")
    w.tensor("x", 30, (len(bits),), bits.tobytes())
    with tempdir() as tmp:
        same_bits(array(put(tmp, "m", w), "x"),
                  (bits.astype("<u4") << 16).view("<f4"), "bf16")


@case(mount=False)
def types_that_are_raw_only_or_unknown():
    w = Writer()
    w.tensor("packed", 31, (32, 2), bytes(range(36)))
    w.tensor("removed", 4, (32,), bytes(20))
    w.tensor("new", 99, (5,), bytes(20))
    with tempdir() as tmp:
        path = put(tmp, "m", w)
        same(cat(path, "tensors/packed"), bytes(range(36)))
        same(cat(path, "model/packed.dtype"), b"Q4_0_4_4\n")
        same(cat(path, "model/new.shape"), b"5\n")
        same(cat(path, "model/removed.dtype"), b"Q4_2\n")
        for name in ["packed.npy", "removed", "new", "new.npy"]:
            r = run("--cat", path, "model/" + name)
            same(r.returncode, 1, name)
            assert b"model/" in r.stderr, r.stderr


@case(mount=False)
def keys():
    w = Writer()
    w.key("s", STRING, b"a\nb\0\xff")
    w.key("u8", U8, 200)
    w.key("i8", I8, -3)
    w.key("u64", U64, 2**64 - 1)
    w.key("i64", I64, -2**63)
    w.key("yes", BOOL, 1)
    w.key("f32", F32, 0.1)
    w.key("f64", F64, 0.1)
    w.key("nan", F32, float("nan"))
    w.key("tokens", ARRAY, (STRING, [b"a", b"", b"x\ny", b"back\\slash",
                                     b"\xff\xfe", b"z" * 1000]))
    w.key("ints", ARRAY, (I32, [1, -2, 3]))
    w.key("none", ARRAY, (F32, []))
    w.key("deep", ARRAY, (ARRAY, [(U8, [1, 2]), (U8, [])]))
    want = {"s": b"a\nb\0\xff", "u8": b"200\n", "i8": b"-3\n",
            "u64": b"18446744073709551615\n",
            "i64": b"-9223372036854775808\n", "yes": b"true\n",
            "f32": b"0.1\n", "f64": b"0.1\n", "nan": b"nan\n",
            "tokens": b"a\n\nx\\ny\nback\\\\slash\n\xff\xfe\n" +
                      b"z" * 1000 + b"\n",
            "ints": b"1\n-2\n3\n", "none": b"", "deep": b"1\n2\n"}
    for big in [False, True]:
        w.big, w.order = big, ">" if big else "<"
        with tempdir() as tmp:
            path = put(tmp, "m", w if not big else rebuilt_big(w))
            same(sorted(good("--ls", path, "config").decode().split()),
                 sorted(want))
            for name, text_ in want.items():
                same(cat(path, "config/" + name), text_, name)


def rebuilt_big(w):
    big = Writer(big=True)
    big.key("s", STRING, b"a\nb\0\xff")
    for name, kind, v in [("u8", U8, 200), ("i8", I8, -3),
                          ("u64", U64, 2**64 - 1), ("i64", I64, -2**63),
                          ("yes", BOOL, 1), ("f32", F32, 0.1),
                          ("f64", F64, 0.1), ("nan", F32, float("nan"))]:
        big.key(name, kind, v)
    big.key("tokens", ARRAY, (STRING, [b"a", b"", b"x\ny", b"back\\slash",
                                       b"\xff\xfe", b"z" * 1000]))
    big.key("ints", ARRAY, (I32, [1, -2, 3]))
    big.key("none", ARRAY, (F32, []))
    big.key("deep", ARRAY, (ARRAY, [(U8, [1, 2]), (U8, [])]))
    return big


def named(name):
    w = Writer()
    w.tensor(name, 0, (1,), bytes(4))
    return w


@case(mount=False)
def strange_names():
    with tempdir() as tmp:
        for name, place in [(b"a/b.c", "a%2Fb/c"), (b"..", "%/%/%"),
                            (b"\0x", "%00x"), (b"n" * 65, "n" * 65),
                            (b"..x", "%/%/x"), (b"a\nb", "a%0Ab")]:
            path = put(tmp, "m", named(name))
            same(cat(path, "model/%s.shape" % place), b"1\n", name)
        put(tmp, "long", named(b"n" * 4096))
        good("--ls", tmp + "/long", "model")


# ---- THREATS: G1 to G13 ----

def refused(data, *words):
    with tempdir() as tmp:
        path = put(tmp, "m.gguf", data)
        r = run("--ls", path, timeout=20)
        same(r.returncode, 1, repr((words, r.stdout[:80])))
        lines = r.stderr.decode("utf-8", "replace").splitlines()
        same(len(lines), 1, repr(lines))
        assert "gguf" in lines[0], lines
        for w in words:
            assert w in lines[0], lines


def accepted(data, *paths):
    with tempdir() as tmp:
        path = put(tmp, "m.gguf", data)
        good("--ls", path)
        for p in paths:
            cat(path, p)


def header(**kw):
    w = Writer()
    w.key("k", U8, 1)
    w.tensor("t", 0, (2,), bytes(8))
    for k, v in kw.items():
        setattr(w, k, v)
    return w


@case(mount=False)
def g1_counts_beyond_the_file():
    for n in [2**63, 2**32, 10**9, 2**64 - 1, 3]:
        refused(header(nkeys=n))
        refused(header(ntensors=n))


@case(mount=False)
def g2_lengths_beyond_the_file():
    for n in [2**64 - 1, 2**63, 10**6]:
        w = Writer()
        w.raw_key(struct.pack("<Q", n) + b"key" + bytes(8))
        refused(w)
        w = Writer()
        w.raw_key(w.string("key") + struct.pack("<IQ", STRING, n) + bytes(9))
        refused(w, "key")
    for name in [b"", b"k" * 70000]:
        w = Writer()
        w.key(name, U8, 1)
        refused(w)
    w = Writer()
    w.raw_key(w.string("key") + struct.pack("<IQ", STRING, 2**31))
    refused(w)


@case(mount=False)
def g3_arrays():
    for elem, n in [(U64, 2**61), (STRING, 2**61), (U8, 2**64 - 1), (13, 1),
                    (2**32 - 1, 1), (ARRAY, 2**60)]:
        w = Writer()
        w.raw_key(w.string("key") + struct.pack("<IIQ", ARRAY, elem, n) +
                  bytes(64))
        refused(w, "key")
    w = Writer()
    w.raw_key(w.string("key") + struct.pack("<I", ARRAY) +
              struct.pack("<IQ", ARRAY, 1) * 100000)
    refused(w, "key")
    w = Writer()
    w.raw_key(w.string("key") + struct.pack("<I", 13) + bytes(64))
    refused(w, "key")


@case(mount=False)
def g4_shapes():
    for dims in [(1,) * 5, (2**32, 2**32), (2**63,), (2**64 - 1,),
                 (2**62, 2, 2), (2**61,)]:
        w = Writer()
        w.tensor("t", 0, dims, bytes(64))
        refused(w, "t")
    w = Writer()
    w.infos.append(w.string("t") + struct.pack("<I", 2**32 - 1) + bytes(99))
    refused(w, "t")
    for dims in [(31,), (33, 2), (16, 2), ()]:
        w = Writer()
        w.tensor("t", 2, dims, bytes(64))
        refused(w, "t")
    w = Writer()
    w.tensor("none", 0, (0, 2**40), b"")
    w.tensor("one", 0, (), bytes(4))
    accepted(w, "model/none.npy", "model/one.npy")


@case(mount=False)
def g5_types_without_a_size():
    for number in [4, 5, 43, 133, 2**31, 2**32 - 1]:
        w = Writer()
        w.tensor("t", number, (32,), bytes(64))
        accepted(w, "model/t.shape", "model/t.dtype")
    for number in [31, 32, 33, 36, 37, 38]:
        w = Writer()
        w.tensor("t", number, (32,), bytes(18))
        accepted(w, "model/t")


@case(mount=False)
def g6_alignment():
    for kind, v in [(U32, 0), (U32, 3), (U32, 2**31), (U32, 2**32 - 1),
                    (U32, 2**21), (U64, 32), (STRING, "32"), (I32, 32)]:
        w = Writer()
        w.key("general.alignment", kind, v)
        w.tensor("t", 0, (2,), bytes(8))
        refused(w, "alignment")
    w = Writer()
    w.key("general.alignment", U32, 32)
    w.key("general.alignment", U32, 32)
    refused(w, "twice")
    for v in [1, 8, 4096, 2**20]:
        w = Writer(align=v)
        w.key("general.alignment", U32, v)
        w.tensor("a", 0, (1,), bytes(4))
        w.tensor("b", 0, (1,), b"abcd")
        accepted(w, "model/b")


@case(mount=False)
def g7_places():
    def two(off, data=bytes(64)):
        w = Writer()
        w.tensor("a", 0, (8,), bytes(32))
        w.tensor("b", 0, (8,), data, off)
        return w
    refused(two(4), "b:")
    refused(two(0), "overlap")
    refused(two(96), "beyond")
    refused(two(2**63), "b:")
    refused(two(2**64 - 32), "b:")
    accepted(two(32, bytes(32)), "model/b")
    accepted(two(64, bytes(64)), "model/b")
    w = Writer()
    w.tensor("a", 0, (3,), b"x" * 12)
    same(len(w.bytes()) % 32, 12)
    accepted(w, "model/a")
    refused(w.bytes()[:-1], "beyond")
    refused(w.bytes()[:60], "")
    with tempdir() as tmp:
        path = put(tmp, "m", two(0))
        same(run("--ls", "-o", "lenient", path).returncode, 0)
        same(run("--cat", "-o", "lenient", path, "model/a").returncode, 0)
        assert b"overlap" in run("--cat", "-o", "lenient", path,
                                 "model/b").stderr


@case(mount=False)
def g8_names():
    w = Writer()
    w.tensor("t", 0, (1,), bytes(4))
    w.tensor("t", 0, (1,), bytes(4))
    refused(w, "twice")
    refused(named(b"n" * 4097))


@case(mount=False)
def g9_versions():
    for v in [0, 4, 0x01000000 + 7, 2**32 - 1]:
        w = header(version=v)
        refused(w, "version")
    refused(b"GGUF")
    refused(b"GGUF\3\0\0\0")
    accepted(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    accepted(b"FUGG" + struct.pack(">IQQ", 3, 0, 0))


@case(mount=False)
def g10_texts_are_bytes():
    jinja = b"{{ ''.__class__ }}\x1b[31m" * 100000
    w = Writer()
    w.key("tokenizer.chat_template", STRING, jinja)
    with tempdir() as tmp:
        path = put(tmp, "m", w)
        same(cat(path, "config/tokenizer.chat_template"), jinja)


def shard(no, count, ntensors, total=2, extra=None):
    w = Writer()
    if extra:
        w.key(*extra)
    w.key("split.no", U16, no)
    w.key("split.count", U16, count)
    w.key("split.tensors.count", I32, total)
    for i in range(ntensors):
        w.tensor("t.%d.%d" % (no, i), 0, (2,), struct.pack("<2f", no, i))
    return w


def put_shards(tmp, shards, prefix="m", n=None):
    n = n or len(shards)
    return [put(tmp, "%s-%05d-of-%05d.gguf" % (prefix, i + 1, n), s)
            for i, s in enumerate(shards)]


@case(mount=False)
def split_files():
    with tempdir() as tmp:
        paths = put_shards(tmp, [
            shard(0, 3, 0, extra=("general.architecture", STRING, "x")),
            shard(1, 3, 1), shard(2, 3, 1)])
        for path in paths:
            same(array(path, "t.2.0").tolist(), [2.0, 0.0])
            same(array(path, "t.1.0").tolist(), [1.0, 0.0])
            same(cat(path, "config/general.architecture"), b"x")
        same(json.loads(cat(paths[0], "info.json"))["tensors"], 2)


@case(mount=False)
def g11_split_files_that_lie():
    def bad(shards, *words, named_=0, **kw):
        with tempdir() as tmp:
            path = put_shards(tmp, shards, **kw)[named_]
            r = run("--ls", path)
            same(r.returncode, 1, repr(words))
            for w in words:
                assert w.encode() in r.stderr, r.stderr
    bad([shard(0, 2, 1), shard(0, 2, 1)], "part")
    bad([shard(0, 2, 1), shard(5, 2, 1)], "part")
    bad([shard(0, 2, 1), shard(1, 3, 1)], "part")
    bad([shard(0, 2, 1), Writer()], "split.no")
    bad([shard(0, 2, 1), shard(1, 2, 2)], "tensors")
    bad([shard(7, 2, 1), shard(1, 2, 1)], "split.no")
    bad([shard(0, 65535, 1), shard(1, 65535, 1)], "name")
    bad([shard(0, 65535, 1)], n=65535)
    bad([shard(0, 2, 1)], "00002", n=2)
    twice = shard(1, 2, 0)
    twice.tensor("t.0.0", 0, (2,), bytes(8))
    bad([shard(0, 2, 1), twice], "twice")
    with tempdir() as tmp:
        path = put(tmp, "other.gguf", shard(0, 2, 1))
        same(run("--ls", path).returncode, 1)
        path = put(tmp, "x-00001-of-00002.gguf", shard(0, 2, 1))
        os.symlink("/etc/passwd", tmp + "/x-00002-of-00002.gguf")
        r = run("--ls", path)
        same(r.returncode, 1)
        assert b"outside" in r.stderr, r.stderr
        os.unlink(tmp + "/x-00002-of-00002.gguf")
        r = run("--cat", "-o", "lenient", path, "model/t/0/0")
        same(r.returncode, 0)


@case
def g12_g13_bytes_of_the_file_and_nothing_else():
    w = Writer()
    w.tensor("q", 12, (256,), b"\xff" * 144)
    w.tensor("i", 19, (256,), b"\xff" * 50)
    with tempdir() as tmp:
        path = put(tmp, "m.gguf", w)
        assert np.isnan(array(path, "q")).all()
        assert np.isnan(array(path, "i")).all()
        with mounted(path) as mnt:
            os.truncate(path, os.path.getsize(path) - 60)
            fails_with_one_of(mnt + "/model/i")
            fails_with_one_of(mnt + "/model/i.npy")


def fails_with_one_of(path):
    try:
        read(path)
    except OSError as e:
        import errno
        assert e.errno in (errno.EIO, errno.ESTALE), e
        return
    raise AssertionError("read data that is gone")


@case(mount=False)
def damaged_files_are_survived():
    w, _ = all_types()
    w.key("tokens", ARRAY, (STRING, [b"a", b"bc"]))
    data = w.bytes()
    end = len(data) - len(w.data)
    rng = random.Random(4)
    with tempdir() as tmp:
        for i in range(120):
            b = bytearray(data)
            for _ in range(rng.randrange(1, 4)):
                b[rng.randrange(end)] = rng.randrange(256)
            if i % 3 == 0:
                b = b[:rng.randrange(end)]
            path = put(tmp, "m", bytes(b))
            r = run("--ls", path, "model")
            assert r.returncode in (0, 1), (i, r)


# ---- a mount ----

@case
def mounted_gguf():
    w, want = all_types()
    with tempdir() as tmp, mounted(put(tmp, "m.gguf", w)) as mnt:
        for name, (_, raw, a) in want.items():
            path = mnt + "/model/" + name.replace(".", "/")
            same_bits(np.load(path + ".npy"), a, name)
            m = np.load(path + ".npy", mmap_mode="r")
            same_bits(np.array(m[-1]), a[-1], name)
            del m
            same(read(path), raw)
        same(text(mnt, "config/general.architecture"), "test")
        fails_with(30, write, mnt + "/config/general.architecture", b"x")
        with open(mnt + "/model/a/Q6_K/weight.npy", "rb") as f:
            f.seek(1000)
            part = f.read(777)
        same(part, read(mnt, "model/a/Q6_K/weight.npy")[1000:1777])


# ---- relatives ----

def llama2c(dim=8, hidden=12, layers=2, heads=2, kv=1, vocab=5, seq=6):
    n = abs(vocab)
    d = dim // heads * kv
    sizes = [n * dim, layers * dim, layers * dim * dim, layers * d * dim,
             layers * d * dim, layers * dim * dim, layers * dim] + [
                 layers * dim * hidden] * 3 + [dim] + [
                     seq * dim // heads // 2] * 2
    if vocab < 0:
        sizes.append(n * dim)
    return struct.pack("<7i", dim, hidden, layers, heads, kv, vocab, seq) + \
        np.arange(sum(sizes), dtype="<f4").tobytes()


@case(mount=False)
def llama2_c():
    with tempdir() as tmp:
        path = put(tmp, "m", llama2c(vocab=-5))
        same(array(path, "tok_embeddings.weight").ravel().tolist(),
             list(range(40)))
        wk = array(path, "layers.attention.wk.weight")
        same(wk.shape, (2, 4, 8))
        same(wk[0, 0, 0], 40 + 16 + 128)
        same(array(path, "output.weight")[-1, -1] * 4 + 4 + 28,
             os.path.getsize(path))
        for bad in [llama2c()[:-1], llama2c() + b"x",
                    struct.pack("<7i", *[2**31 - 1] * 7) + bytes(99),
                    struct.pack("<7i", 8, 8, 1, 3, 1, 5, 6) + bytes(99)]:
            same(run("--ls", put(tmp, "m", bad)).returncode, 1)


@case(mount=False)
def files_before_gguf():
    with tempdir() as tmp:
        r = run("--ls", put(tmp, "m", b"tjgg" + bytes(100)))
        same(r.returncode, 1)
        assert b"ggjt" in r.stderr and b"GGUF" in r.stderr, r.stderr


@case(mount=False)
def llama2_c_of_the_corpus():
    """The same weights as the GGUF, layers stacked."""
    path, = corpus("llama2c", "stories260K.bin")
    gguf, = corpus("gguf", "stories260K.gguf")
    same_bits(array(path, "tok_embeddings.weight"),
              array(gguf, "token_embd.weight"), "embedding")
    same_bits(array(path, "layers.feed_forward.w2.weight")[3],
              array(gguf, "blk.3.ffn_down.weight"), "w2")


# ---- real files ----

def corpus(*parts):
    top = os.environ.get("MODELFS_CORPUS")
    if not top:
        raise Skip("MODELFS_CORPUS is not set")
    found = sorted(glob.glob(os.path.join(top, *parts)))
    if not found:
        raise Skip("not in the corpus: " + "/".join(parts))
    return found


@case(mount=False)
def quantised_files_of_the_corpus():
    original, = corpus("gguf", "stories260K.gguf")
    names = [n.split(".shape")[0] for n in
             good("--ls", original, "tensors").decode().split()
             if n.endswith(".shape")]
    for path in corpus("generated", "gguf", "stories260K-*.gguf"):
        for name in names[:6] + names[-3:]:
            kind = cat(path, "tensors/%s.dtype" % name).decode().strip()
            got = array(path, name)
            if kind in ggml.TYPES:
                want = ggml.decode(kind, cat(path, "tensors/" + name))
                same_bits(got, want.reshape(got.shape), name)
            # and close to what it was made from
            before = array(original, name)
            error = np.abs(got.astype("f4") - before).mean()
            assert error < 0.12 * np.abs(before).mean() + 1e-6, (
                path, name, kind, error)


@case(mount=False)
def vocabularies_of_the_corpus():
    for path in corpus("gguf", "vocab*", "*.gguf*"):
        if path.endswith((".inp", ".out")):
            continue
        tokens = cat(path, "config/tokenizer.ggml.tokens").split(b"\n")
        assert len(tokens) > 30000, path
        info = json.loads(cat(path, "info.json"))
        same(info["tensors"], 0)


main()
