# SPDX-License-Identifier: MIT
"""Rows T1 to T8: TensorFlow's tables, checkpoints and graphs that are wrong."""
import os
import struct

import numpy as np

from e2e import case, main, run, same, tempdir
from tf_recipe import (FLOAT, Graph, block, bundle_entry, entry, field,
                       masked, shape, table, varint)

HEADER = entry(b"", field(1, 1))
DATA = struct.pack("<4f", 1, 2, 3, 4)
GOOD = entry(b"v", bundle_entry(1, [4], 0, 16))


def look(index, *path, data=DATA, options=()):
    """modelfs on a checkpoint; --cat of a path in it."""
    with tempdir() as tmp:
        with open(tmp + "/x.index", "wb") as f:
            f.write(index)
        with open(tmp + "/x.data-00000-of-00001", "wb") as f:
            f.write(data)
        return run(*(["--cat"] if path else ["--ls"]), *options,
                   tmp + "/x.index", *path, timeout=20)


def refused(index, data=DATA):
    got = look(index, data=data)
    return (got.returncode, got.stdout) == (1, b"") and \
        got.stderr.count(b"\n") == 1


def unreadable(index, data=DATA):
    """Refused, or listed and an error: never anything else's bytes."""
    got = look(index, "model/v", data=data)
    return (got.returncode, got.stdout) == (1, b"")


# ---- T1 ----

@case(mount=False)
def tables():
    good = table(HEADER + GOOD)
    same(look(good, "model/v").stdout, DATA)
    for size in (1 << 63, (1 << 64) - 1, 1 << 20):
        assert refused(table(HEADER + GOOD, handle=varint(0) + varint(size)))
        assert refused(table(HEADER + GOOD, handle=varint(size) + varint(9)))
    for restarts in (0, 5, 1 << 16, 1 << 31, (1 << 32) - 1):
        got = look(table(HEADER + GOOD, restarts=restarts), "model/v")
        assert got.stdout in (b"", DATA), restarts
    assert refused(table(HEADER + entry(b"v", b"", shared=1)))
    assert refused(table(HEADER + GOOD + entry(b"w", b"", shared=2)))
    assert refused(table(HEADER + GOOD + entry(b"a", b"")))
    assert refused(table(HEADER + GOOD + GOOD))
    assert refused(table(GOOD + HEADER))
    cut = HEADER + varint(0) + varint(1 << 40) + varint(4) + b"v"
    assert refused(table(cut))
    for kind in range(2, 256):
        assert refused(table(HEADER + GOOD, kind)), kind
    wrong = bytearray(good)
    wrong[3] ^= 1
    assert refused(bytes(wrong))
    for n in range(1, 60):
        assert refused(good[:-n]), n


@case(mount=False)
def blocks_that_are_packed():
    """Snappy: a length, then copies of what is there already."""
    body = HEADER + GOOD
    plain = body + bytes(4) + struct.pack("<I", 1)

    def packed(data):
        made = data + b"\x01"
        data = made + struct.pack("<I", masked(made))
        index = block(entry(b"\xff", varint(0) + varint(len(made) - 1)))
        foot = varint(0) * 2 + varint(len(data)) + varint(len(index) - 5)
        return (data + index + foot.ljust(40, b"\0") +
                struct.pack("<Q", 0xdb4775248b80fb57))

    literal = bytes([(60 << 2) & 255, len(plain) - 1]) + plain
    same(look(packed(varint(len(plain)) + literal), "model/v").stdout, DATA)
    for length in (1 << 40, (1 << 32) - 1, (1 << 64) - 1, 0, len(plain) - 1,
                   len(plain) + 1):
        assert refused(packed(varint(length) + literal)), length
    for tail in (b"\x01\x00", b"\x01\xff", b"\xfe\xff\xff", b"\xff\0\0\0\x80",
                 b"\xfc\xff\xff\xff\xff", b"\xf4", b""):
        assert refused(packed(varint(len(plain) + 8) + literal + tail)), tail


# ---- T2 ----

@case(mount=False)
def bundles():
    for shards in (-1, 0, 10 ** 9):
        assert refused(table(entry(b"", field(1, shards)) + GOOD)), shards
    for dims, offset, size in (([4], -4, 16), ([4], 4, 16), ([4], 0, 12),
                               ([4], 1 << 62, 16), ([4], 0, -16),
                               ([-4], 0, 16), ([1 << 62, 4], 0, 16)):
        what = bundle_entry(1, dims, offset, size)
        assert unreadable(table(HEADER + entry(b"v", what))), (dims, offset)
    for shard in (-1, 1, 1 << 31):
        what = bundle_entry(1, [4], 0, 16) + field(3, shard)
        assert unreadable(table(HEADER + entry(b"v", what))), shard
    unknown = table(HEADER + entry(b"v", bundle_entry(99, [4], 0, 16)))
    same(look(unknown).returncode, 0)
    same(look(unknown, "model/v.shape").stdout, b"4\n")
    assert unreadable(unknown)
    wrong = bundle_entry(1, [4], 0, 16) + varint(6 << 3 | 5) + b"abcd"
    assert unreadable(table(HEADER + entry(b"v", wrong)))
    bad = table(HEADER + entry(b"v", bundle_entry(1, [4], 0, 12)) +
                entry(b"w", bundle_entry(1, [4], 0, 16)))
    got = look(bad, "model/w", options=["-o", "lenient"])
    same(got.stdout, DATA)


# ---- T3 ----

def number(v):
    """util/ordered_code: a length, then the bytes."""
    body = v.to_bytes((v.bit_length() + 7) // 8, "big")
    return bytes([len(body)]) + body


def slice_key(name, start, length):
    return (number(0) + name + b"\0\1" + number(1) + bytes([0x80 ^ start]) +
            bytes([0x80 ^ length]))


def extent(start, length):
    return field(1, field(1, start) + field(2, length))


def sliced(parts, stored=None):
    """v of four floats in these parts: start, length."""
    rows = {slice_key(b"v", s, n): bundle_entry(1, [n], 4 * s, 4 * n)
            for s, n in (parts if stored is None else stored)
            if 0 <= s < 64 and 0 <= n < 64}
    whole = field(1, 1) + field(2, shape(4)) + b"".join(
        field(7, extent(s, n)) for s, n in parts)
    return table(HEADER + b"".join(entry(k, rows[k]) for k in sorted(rows)) +
                 entry(b"v", whole))


@case(mount=False)
def slices():
    same(look(sliced([(0, 1), (1, 3)]), "model/v").stdout, DATA)
    for parts in ([(0, 2), (3, 1)], [(0, 2)], [(2, 2)]):
        assert unreadable(sliced(parts)), parts  # not covered: nothing leaks
    for parts in ([(0, 5)], [(-1, 2), (0, 4)], [(0, 2), (2, -1)],
                  [(3, 1 << 40)], [((1 << 63) - 1, 2)]):
        assert unreadable(sliced(parts)), parts
    assert unreadable(sliced([(0, 2), (2, 2)], stored=[(0, 2)]))
    # Where two overlap, both are the file's.
    got = look(sliced([(0, 3), (1, 3)]), "model/v")
    assert got.stdout in (b"", DATA)
    # A slice of a slice, and very many of them.
    inner = field(1, 1) + field(2, shape(4)) + field(7, extent(0, 4))
    loop = table(HEADER + entry(slice_key(b"v", 0, 4), inner) +
                 entry(b"v", inner))
    assert unreadable(loop)
    many = field(1, 1) + field(2, shape(4)) + field(7, extent(0, 1)) * 10 ** 6
    assert unreadable(table(HEADER + entry(b"v", many)))
    # Keys of slices that are none stay out of sight.
    for key in (b"\0", b"\0v", b"\0v\0\1\1", b"\0\xff\xff\xff"):
        got = look(table(HEADER + entry(key, bundle_entry(1, [4], 0, 16)) +
                         GOOD), "model/v")
        same(got.stdout, DATA, key)


# ---- T4 ----

def strings(data, n=2, size=None):
    size = len(data) if size is None else size
    return table(HEADER + entry(b"v", bundle_entry(7, [n], 0, size))), data


@case(mount=False)
def strings_of_a_bundle():
    lengths = struct.pack("<II", 1, 2)
    good = b"\1\2" + struct.pack("<I", masked(lengths)) + b"abc"
    index, data = strings(good)
    got = look(index, "model/v.npy", data=data)
    assert "a".encode("utf-32-le") in got.stdout, got.stderr
    for bad in (b"\1\x7f" + good[2:], b"\xff" * 20, good[:2], good[:5], b"",
                b"\xff" * 9 + b"\1" + good[1:], good[:-1],
                b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01" * 2 + good[2:]):
        index, data = strings(bad)
        assert unreadable(index, data), bad
    for n in (1 << 40, 1 << 62, 3, 1 << 20):
        index, data = strings(good, n)
        assert unreadable(index, data), n
    index, data = strings(good[:4], 1 << 40)
    assert unreadable(index, data)


# ---- T5, T7 ----

def graph_of(text, *path, **inputs):
    with tempdir() as tmp:
        with open(tmp + "/g.pbtxt", "w") as f:
            f.write(text)
        args = []
        for name, value in inputs.items():
            np.save("%s/%s.npy" % (tmp, name), value)
            args += ["--in", "%s=%s/%s.npy" % (name, tmp, name)]
        return run(*args, "--cat" if path else "--ls", tmp + "/g.pbtxt",
                   *path, timeout=20)


@case(mount=False)
def constants_that_fill():
    node = ('node { name: "c" op: "Const" attr { key: "value" value { tensor '
            '{ dtype: DT_INT8 tensor_shape { %s } int_val: 7 } } } }\n'
            'node { name: "y" op: "Neg" input: "c" }')
    big = node % ("dim { size: 2147483648 } " * 2)
    same(graph_of(big, "model/c.shape").stdout, b"2147483648 2147483648\n")
    # As many floats are more bytes than a file can have.
    same(graph_of(big.replace("INT8", "FLOAT")).returncode, 1)
    got = graph_of(big, "run/cli/out/y.npy")
    same((got.returncode, got.stdout), (1, b""))
    assert b"budget" in got.stderr, got.stderr
    for dims in (["4294967296"] * 4, ["-1"], ["9223372036854775807", "2"]):
        dims = "".join("dim { size: %s } " % d for d in dims)
        same(graph_of(node % dims).returncode, 1, dims)


@case(mount=False)
def nodes_that_lead_nowhere():
    x = 'node { name: "x" op: "Placeholder" }\n'
    for name in ("nobody", "x:2147483647", "x:99999999999999999999", "x:-1",
                 "", ":", "x:0:0:0"):
        got = graph_of(x + 'node { name: "y" op: "Neg" input: "%s" }' % name)
        assert got.returncode in (0, 1), (name, got)
    got = graph_of(x + 'node { name: "y" op: "Neg" input: "y" }', "README")
    same(got.returncode, 0)
    got = graph_of(x + 'node { name: "x" op: "Neg" }')
    same(got.returncode, 1)


@case(mount=False)
def functions_that_never_end():
    """One that calls itself, two that call each other, and a long chain."""
    g = Graph(2)
    for name, callee in (("f", "f"), ("a", "b"), ("b", "a")):
        f = g.function(name, "v:DT_FLOAT")
        f.node("n_" + name, "PartitionedCall", ["v"], f={"func": callee})
        f.give("n_%s:output:0" % name)
    for i in range(200):
        f = g.function("c%d" % i, "v:DT_FLOAT")
        f.node("d%d" % i, "c%d" % (i + 1), ["v"])
        f.give("d%d:r0:0" % i)
    for name in ("f", "a", "c0"):
        g.node("call_" + name, "PartitionedCall", ["x"], f={"func": name})
    g.node("branch", "If", ["x", "x"], then_branch={"func": "f"},
           else_branch={"func": "a"}, Tcond=FLOAT)
    with tempdir() as tmp:
        g.write_text(tmp + "/g.pbtxt")
        np.save(tmp + "/x.npy", np.ones(2, "f4"))
        same(run("--ls", tmp + "/g.pbtxt", timeout=20).returncode, 0)
        for name in ("call_f", "call_a", "call_c0", "branch"):
            got = run("--in", "x=" + tmp + "/x.npy", "--cat",
                      tmp + "/g.pbtxt", "run/cli/out/%s.npy" % name,
                      timeout=20)
            same((got.returncode, got.stdout), (1, b""), name)


@case(mount=False)
def loops_nested_too_deep():
    """Frames within frames, 40 of them."""
    nodes = ['node { name: "x" op: "Placeholder" }']

    def node(name, op, *inputs, frame=None):
        nodes.append('node { name: "%s" op: "%s" %s %s }' % (
            name, op, " ".join('input: "%s"' % i for i in inputs),
            'attr { key: "frame_name" value { s: "%s" } }' % frame
            if frame else ""))

    value = "x"
    for i in range(40):
        node("e%d" % i, "Enter", value, frame="f%d" % i)
        node("m%d" % i, "Merge", "e%d" % i, "n%d" % i)
        node("l%d" % i, "LoopCond", "m%d" % i)
        node("s%d" % i, "Switch", "m%d" % i, "l%d" % i)
        value = "s%d:1" % i
    for i in reversed(range(40)):
        node("n%d" % i, "NextIteration", value)
        node("q%d" % i, "Exit", "s%d" % i)
        value = "q%d" % i
    got = graph_of("\n".join(nodes))
    assert got.returncode in (0, 1), got


# ---- T6: objects ----

@case(mount=False)
def objects():
    """Very many children, and a chain of a hundred thousand."""
    many = field(1, b"".join(field(1, field(1, i % 3) + field(2, b".."))
                             for i in range(10 ** 5)))
    chain = b"".join(field(1, field(1, field(1, i + 1) + field(2, b"c")))
                     for i in range(10 ** 5))
    for graph in (many + field(1, b"") * 2, chain):
        crc = masked(struct.pack("<I", len(graph)))
        data = varint(len(graph)) + struct.pack("<I", crc) + graph
        rows = entry(b"_CHECKPOINTABLE_OBJECT_GRAPH",
                     bundle_entry(7, [], 0, len(data)))
        rows += entry(b"v", bundle_entry(1, [4], len(data), 16))
        got = look(table(HEADER + rows), "model/v", data=data + DATA)
        same(got.stdout, DATA, got.stderr)


# ---- T8 ----

@case(mount=False)
def paths_in_texts():
    """Neither a checkpoint's state nor an asset leads out of the folder."""
    with tempdir() as tmp:
        os.makedirs(tmp + "/m")
        with open(tmp + "/secret", "w") as f:
            f.write("do not read this")
        with open(tmp + "/m/checkpoint", "w") as f:
            f.write('model_checkpoint_path: "%s/secret"\n' % tmp)
        got = run("--ls", tmp + "/m")
        same((got.returncode, got.stdout), (1, b""))
        with open(tmp + "/m/saved_model.pbtxt", "w") as f:
            f.write('saved_model_schema_version: 1 meta_graphs { '
                    'asset_file_def { filename: "../secret" } '
                    'asset_file_def { filename: "%s/secret" } '
                    'graph_def { node { name: "x" op: "Placeholder" } } }'
                    % tmp)
        got = run("--extract", tmp + "/m", "config", tmp + "/out")
        for folder, _, files in os.walk(tmp + "/out"):
            for name in files:
                with open(os.path.join(folder, name), "rb") as f:
                    assert b"do not read" not in f.read(), name


if __name__ == "__main__":
    main()
