# SPDX-License-Identifier: MIT
"""Small files that say one thing and name it many times over: what comes out
must not be out of proportion to what is in the file."""
import json
import resource
import struct

from e2e import case, main, run, same, tempdir, write
from flat_recipe import Flat
from onnx_recipe import F32, blob, model, node, number
from tf_recipe import bundle_entry, entry, table
from tf_recipe import field as tf_field

# What a program that takes too much would need is several times this.
MEMORY_KIB = 500 << 10


def is_refused(data, why, name="m", beside=b""):
    with tempdir() as tmp:
        write(tmp + "/" + name, data)
        write(tmp + "/m.data-00000-of-00001", beside)
        got = run("--ls", tmp + "/" + name)
    same(got.returncode, 1, got.stderr)
    assert why in got.stderr, got.stderr
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert used < MEMORY_KIB, used


@case(mount=False)
def a_long_name_before_many():
    is_refused(json.dumps({"k" * 500000: {"w%d" % i: [1.5]
                                          for i in range(20000)}}).encode(),
               b"long names")


@case(mount=False)
def a_long_function_called_often():
    n = 3000
    body = [node("Relu", ["b%d" % i], ["b%d" % (i + 1)]) for i in range(n)]
    function = (blob(1, "F") + blob(4, "b0") + blob(5, "b%d" % n) +
                b"".join(blob(7, b) for b in body) +
                blob(9, blob(1, "") + number(2, 17)) + blob(10, "d"))
    calls = [node("F", ["x"], ["y%d" % i], domain="d") for i in range(n)]
    is_refused(model(calls, [("x", F32, [4])], ["y0"]) +
               blob(8, blob(1, "d") + number(2, 1)) + blob(25, function),
               b"nodes")


def shared(f, fields, n):
    """A vector of n tables that are all one."""
    def write_it():
        f.data += bytes(-len(f.data) % 4)
        pos = len(f.data)
        f.data += struct.pack("<I", n) + bytes(4 * n)
        at = f.table(fields)
        for i in range(n):
            here = pos + 4 + 4 * i
            struct.pack_into("<I", f.data, here, at - here)
        return pos
    return write_it


@case(mount=False)
def one_subgraph_many_times():
    f = Flat()
    tensor = {0: f.vector("i", [1, 2]), 1: ("b", 0), 3: f.text("t")}
    relu = {0: ("I", 0), 1: f.vector("i", [0]), 2: f.vector("i", [1])}
    graph = {0: shared(f, tensor, 3000), 1: f.vector("i", [0]),
             2: f.vector("i", [1]), 3: shared(f, relu, 3000),
             4: f.text("main")}
    root = f.table({0: ("I", 3), 1: shared(f, {0: ("b", 19), 2: ("i", 1)}, 1),
                    2: shared(f, graph, 2000), 3: f.text("d"),
                    4: shared(f, {}, 1)})
    struct.pack_into("<I", f.data, 0, root)
    is_refused(bytes(f.data), b"too much metadata")


@case(mount=False)
def keys_that_share_all_but_their_end():
    long = b"k" * 60000
    body = entry(b"", tf_field(1, 1))
    body += entry(long + b"a000000", bundle_entry(1, [1], 0, 4))
    for i in range(1, 20000):
        body += entry(b"%06d" % i, bundle_entry(1, [1], 0, 4), len(long) + 1)
    is_refused(table(body), b"keys", "m.index", bytes(4))


main()
