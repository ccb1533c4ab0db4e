# SPDX-License-Identifier: MIT
"""safetensors, alone and in folders: all types, shards, hostile files."""
import io
import json
import os
import shutil
import struct
import time

import numpy as np

from e2e import (Skip, case, fails_with, main, mounted, read, run, same,
                 tempdir, text)


def good(*args):
    r = run(*args)
    assert r.returncode == 0, (args, r.returncode, r.stderr)
    return r.stdout


def array(path, name):
    return np.load(io.BytesIO(good("--cat", path, "model/%s.npy" % name)))


def pack(header, data=b"", pad=False):
    h = header if isinstance(header, bytes) else json.dumps(header).encode()
    if pad:
        h += b" " * (-len(h) % 8)
    return struct.pack("<Q", len(h)) + h + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def one(dtype="F32", shape=(2,), begin=0, end=8):
    return entry(dtype, list(shape), begin, end)


def put(folder, name, data):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


def refused(data, *words):
    with tempdir() as tmp:
        path = put(tmp, "m.safetensors", data)
        r = run("--ls", path, timeout=30)
        same(r.returncode, 1, repr((data[:60], r.stdout[:80])))
        lines = r.stderr.decode("utf-8", "replace").splitlines()
        same(len(lines), 1, repr(lines))
        for w in words:
            assert w in lines[0], (w, lines)


def accepted(data, *paths):
    with tempdir() as tmp:
        path = put(tmp, "m.safetensors", data)
        out = good("--ls", path)
        for p in paths:
            out = good("--cat", path, p)
        return out


# ---- types ----

@case(mount=False)
def every_type():
    plain = {"BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2",
             "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
             "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
             "C64": "<c8"}
    header, data, want = {}, b"", {}
    for name, descr in plain.items():
        a = np.array([[0, 1], [1, 0]]).astype(descr)
        want[name] = a
        header["x." + name] = entry(name, [2, 2], len(data),
                                    len(data) + a.nbytes)
        data += a.tobytes()
    for pad in [False, True]:
        with tempdir() as tmp:
            # an odd header is how old writers left it: nothing is aligned
            path = put(tmp, "m", pack(header, data, pad))
            for name, a in want.items():
                got = array(path, "x/" + name)
                assert got.dtype == a.dtype and (got == a).all(), name


def small(dtype, codes):
    data = bytes(codes)
    with tempdir() as tmp:
        n = len(data) * (2 if dtype == "F4" else 1)
        path = put(tmp, "m", pack({"x": entry(dtype, [n], 0, len(data))},
                                  data))
        return array(path, "x")


@case(mount=False)
def small_floats():
    x = small("F8_E4M3", range(256))
    same([x[0], x[1], x[0x38], x[0x7e], x[0xb8]],
         [0, 2**-9, 1, 448, -1])
    assert np.isnan(x[0x7f]) and np.isnan(x[0xff])
    same(np.isnan(x).sum(), 2)
    x = small("F8_E5M2", range(256))
    same([x[1], x[0x3c], x[0x7b], x[0x7c], x[0xfc]],
         [2**-16, 1, 57344, np.inf, -np.inf])
    x = small("F8_E4M3FNUZ", range(256))
    same([x[0x40], x[0x7f], np.isnan(x).sum()], [1, 240, 1])
    assert np.isnan(x[0x80])
    x = small("F8_E5M2FNUZ", range(256))
    same([x[0x40], x[0x7f], np.isnan(x).sum()], [1, 57344, 1])
    x = small("F8_E8M0", range(256))
    same([x[0], x[127], x[254]], [2**-127, 1, 2**127])
    assert np.isnan(x[255])
    x = small("F4", [0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe])
    same(x.tolist(), [0, .5, 1, 1.5, 2, 3, 4, 6,
                      -0., -.5, -1, -1.5, -2, -3, -4, -6])
    bits = np.arange(65536, dtype="<u2")
    with tempdir() as tmp:
        path = put(tmp, "m", pack({"x": entry("BF16", [65536], 0, 131072)},
                                  bits.tobytes()))
        same(array(path, "x").view("<u4").tolist(),
             (bits.astype("<u4") << 16).tolist())


@case(mount=False)
def six_bit_types():
    for dtype in ["F6_E2M3", "F6_E3M2"]:
        with tempdir() as tmp:
            path = put(tmp, "m", pack({"x": entry(dtype, [8], 0, 6)},
                                      b"abcdef"))
            same(good("--cat", path, "model/x"), b"abcdef")
        refused(pack({"x": entry(dtype, [2], 0, 2)}, bytes(2)))


# ---- THREATS: S1 to S8 ----

@case(mount=False)
def s1_header_beyond_the_file():
    body = pack({"x": one()}, bytes(8))[8:]
    for n in [2**64 - 1, 2**63, 100000001, 2**64 - 8, len(body) + 1]:
        refused(struct.pack("<Q", n) + body, "header")


@case(mount=False)
def s2_tiny_files():
    for n in range(9):
        refused(bytes(n))
    refused(pack(b"{"))
    refused(pack(b"{}", b"x"))
    accepted(pack(b"{}"))
    accepted(pack({"x": one("F32", (), 0, 4)}, bytes(4)), "model/x.npy")


@case(mount=False)
def s3_shapes_that_overflow():
    refused(pack({"x": one("F32", (2**32, 2**32), 0, 0)}), "overflows")
    refused(pack({"x": one("F64", (2**61,), 0, 0)}))
    refused(pack({"x": one("U8", (2**63,), 0, 0)}))
    refused(pack({"x": one("F4", (2**62, 8), 0, 0)}))
    accepted(pack({"x": one("F32", (0, 2**40), 0, 0)}), "model/x.npy")


@case(mount=False)
def s4_offsets():
    for begin, end in [(8, 0), (-8, 0), (0, 800), (0, 4), (0, 12)]:
        refused(pack({"x": one("F32", (2,), begin, end)}, bytes(8)))
    for text_ in ["[0,8e0]", "[-0,8]", '["0","8"]', "[0,18446744073709551615]",
                  "[0]", "[0,8,8]", "null", "[0.0,8]", "[0,8.0]"]:
        refused(pack(b'{"x":{"dtype":"F32","shape":[2],"data_offsets":%s}}'
                     % text_.encode(), bytes(8)))
    for shape in ["[-2]", "[2.0]", "[true]", '["2"]', "2", "[[2]]"]:
        refused(pack(b'{"x":{"dtype":"F32","shape":%s,"data_offsets":[0,8]}}'
                     % shape.encode(), bytes(8)))


@case(mount=False)
def s5_unknown_types():
    refused(pack({"x": one("F3", (2,), 0, 800)}, bytes(8)))
    with tempdir() as tmp:
        path = put(tmp, "m", pack({"x": one("F3", (2,), 0, 8)}, bytes(8)))
        same(good("--cat", path, "model/x.dtype"), b"F3\n")
        same(good("--cat", path, "model/x.shape"), b"2\n")
        same(run("--cat", path, "model/x.npy").returncode, 1)


@case(mount=False)
def s6_holes_and_overlaps():
    refused(pack({"a": one(), "b": one("F32", (2,), 4, 12)}, bytes(12)))
    refused(pack({"a": one(), "b": one("F32", (2,), 12, 20)}, bytes(20)))
    refused(pack({"a": one("F32", (2,), 8, 16)}, bytes(16)))
    refused(pack({"a": one()}, bytes(9)))
    refused(pack({"a": one()}, bytes(8) + b"PK\5\6" + bytes(18)))
    accepted(pack({"a": one("F32", (2,), 8, 16), "b": one(),
                   "c": one("F32", (0,), 8, 8)}, bytes(16)), "model/a")


@case(mount=False)
def s6_large_headers_are_quick():
    many = b",".join(b'"t%d":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}'
                     % i for i in range(60000))
    data = pack(b"{" + many + b"}", bytes(9))
    start = time.monotonic()
    refused(data, "starts at")
    assert time.monotonic() - start < 10


@case(mount=False)
def s7_strange_headers():
    e = json.dumps(one()).encode()
    refused(pack(b'{"x":%s,"x":%s}' % (e, e), bytes(8)), "twice")
    meta = b'"__metadata__":{"a":"b"}'
    refused(pack(b'{%s,%s,"x":%s}' % (meta, meta, e), bytes(8)), "twice")
    for bad in [b"[]", b'{"a":1}', b'{"a":{}}', b'"x"', e]:
        refused(pack(b'{"__metadata__":%s}' % bad))
    refused(pack(b'\xef\xbb\xbf{"x":%s}' % e, bytes(8)))
    accepted(pack(b' \t\r\n{"x":%s} \n' % e, bytes(8)), "model/x")
    accepted(pack(b'{"a\\u0000b":%s}' % e, bytes(8)), "model/a%00b")
    accepted(pack({"n" * 10**6: one()}, bytes(8)))
    refused(pack(b"[" * 10**6))
    refused(pack(b'{"x":' + b"[" * 10**6))
    refused(pack(b'{"\\ud800":%s}' % e, bytes(8)))
    same(accepted(pack({"__metadata__": {"format": "pt"}}), "config/format"),
         b"pt")


def shards(tmp, weight_map, files):
    for name, data in files.items():
        put(tmp, name, data)
    return put(tmp, "model.safetensors.index.json",
               {"metadata": {"total_size": 1.5}, "weight_map": weight_map})


def tensor_file(*names):
    header = {n: one("F32", (2,), 8 * i, 8 * i + 8)
              for i, n in enumerate(names)}
    return pack(header, b"".join(struct.pack("<2f", i, len(names))
                                 for i in range(len(names))))


@case
def s8_shards():
    names = {"missing": "gone.safetensors", "up": "../up.safetensors",
             "abs": "/etc/passwd", "empty": "", "dot": ".", "sub": "a/../b",
             "link": "link.safetensors", "self":
             "model.safetensors.index.json", "absent": "a.safetensors",
             "elsewhere": "b.safetensors", "ok": "a.safetensors",
             "dir": "folder", "junk": "junk.safetensors",
             "locked": "locked.safetensors"}
    import errno
    want = {"missing": errno.ENOENT, "up": errno.EPERM, "abs": errno.EPERM,
            "empty": errno.EPERM, "dot": errno.EPERM, "sub": errno.EPERM,
            "link": errno.EPERM, "self": errno.EIO, "absent": errno.EIO,
            "dir": errno.EPERM, "junk": errno.EIO}
    with tempdir() as tmp:
        folder = tmp + "/m"
        put(tmp, "up.safetensors", tensor_file("up"))
        shards(folder, names, {
            "a.safetensors": tensor_file("ok", "elsewhere", "extra"),
            "b.safetensors": tensor_file("elsewhere", "extra"),
            "junk.safetensors": b"junk" * 9,
            "locked.safetensors": tensor_file("locked")})
        os.symlink("/etc/passwd", folder + "/link.safetensors")
        os.mkdir(folder + "/folder")
        os.chmod(folder + "/locked.safetensors", 0)
        with mounted(folder) as mnt:
            for name, code in want.items():
                same(text(mnt, "model", name + ".dtype"), "unknown\n")
                fails_with(code, read, mnt, "model", name)
            same(np.load(mnt + "/model/ok.npy").tolist(), [0, 3])
            # the map says which file it is in; what it does not name is extra
            same(np.load(mnt + "/model/elsewhere.npy").tolist(), [0, 2])
            same(np.load(mnt + "/model/extra.npy").tolist(), [2, 3])
            if os.geteuid() != 0:
                fails_with(errno.EACCES, read, mnt, "model/locked")


@case(mount=False)
def s8_indices_that_are_none():
    for bad in [b'{"weight_map": []}', b'{"weight_map": {"a": 1}}',
                b'{"metadata": {"weight_map": 1}}', b'{"weight_map"',
                b'{"weight_map": {"a": "b", "a": "b"}}',
                b'{"weight_map": {"a": "b"}',
                b'{"weight_map": {}, "weight_map": {}}']:
        with tempdir() as tmp:
            path = put(tmp, "model.safetensors.index.json", bad)
            same(run("--ls", path).returncode, 1, bad)
            same(run("--ls", tmp).returncode, 1, bad)


@case(mount=False)
def s8_many_shards():
    with tempdir() as tmp:
        path = shards(tmp, {"t%d" % i: "f%d" % i for i in range(30000)}, {})
        assert b"t29999" in good("--ls", path, "model")


# ---- folders ----

@case
def folder_with_shards():
    with tempdir() as tmp:
        shards(tmp, {"model.layers.0.mlp.up_proj.weight": "1.safetensors",
                     "model.norm.weight": "2.safetensors"},
               {"1.safetensors": tensor_file(
                   "model.layers.0.mlp.up_proj.weight"),
                "2.safetensors": tensor_file("model.norm.weight"),
                "config.json": {"architectures": ["LlamaForCausalLM"],
                                "model_type": "llama"},
                "tokenizer.json": {"x": [1]}, "notes.md": b"no"})
        for source in [tmp, tmp + "/model.safetensors.index.json"]:
            with mounted(source) as mnt:
                same(sorted(os.listdir(mnt + "/config")),
                     ["config.json", "tokenizer.json"])
                same(read(mnt, "config/config.json"),
                     read(tmp, "config.json"))
                layer = mnt + "/model/model/layers/0"
                same(os.getxattr(layer, "user.modelfs.type"),
                     b"LlamaDecoderLayer")
                same(os.getxattr(layer + "/mlp/up_proj", "user.modelfs.type"),
                     b"Linear")
                same(np.load(mnt + "/tensors/model.norm.weight.npy").tolist(),
                     [0, 1])
                same(json.loads(text(mnt, "info.json"))["architecture"],
                     "LlamaForCausalLM")


@case
def hub_cache():
    """snapshots/REV/NAME are links to ../../blobs/HASH."""
    with tempdir() as tmp:
        repo = tmp + "/models--a--b"
        snap = repo + "/snapshots/0123"
        os.makedirs(snap)
        for i, (name, data) in enumerate({
                "1.safetensors": tensor_file("x"),
                "config.json": b'{"model_type": "llama"}',
                "model.safetensors.index.json": json.dumps(
                    {"weight_map": {"x": "1.safetensors",
                                    "y": "evil.safetensors"}}).encode()
                }.items()):
            put(repo, "blobs/%d" % i, data)
            os.symlink("../../blobs/%d" % i, snap + "/" + name)
        put(tmp, "outside", tensor_file("y"))
        os.symlink("../../../outside", snap + "/evil.safetensors")
        for source in [snap, snap + "/model.safetensors.index.json"]:
            with mounted(source) as mnt:
                same(np.load(mnt + "/model/x.npy").tolist(), [0, 1])
                same(read(mnt, "config/config.json"),
                     b'{"model_type": "llama"}')
                fails_with(1, read, mnt, "model/y")


@case(mount=False)
def one_file_in_a_folder():
    with tempdir() as tmp:
        put(tmp, "model.safetensors", tensor_file("a.b"))
        put(tmp, "config.json", b"not json")
        same(array(tmp, "a/b").tolist(), [0, 1])
        same(good("--cat", tmp, "config/config.json"), b"not json")


@case(mount=False)
def shards_of_the_corpus():
    top = os.environ.get("MODELFS_CORPUS")
    if not top:
        raise Skip("MODELFS_CORPUS is not set")
    one_, two = [os.path.join(top, "generated", "hf-llama-stories260K-" + n)
                 for n in ("bf16-sharded", "bin-sharded")]
    names = [n[:-6] for n in good("--ls", one_, "tensors").decode().split()
             if n.endswith(".shape")]
    same(len(names), 48)
    for name in names:
        a = np.load(io.BytesIO(good("--cat", one_, "tensors/%s.npy" % name)))
        b = np.load(io.BytesIO(good("--cat", two, "tensors/%s.npy" % name)))
        same(a.shape, b.shape)
        assert np.abs(a - b).max() <= np.abs(b).max() / 256, name


main()
