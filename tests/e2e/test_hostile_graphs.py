# SPDX-License-Identifier: MIT
"""Graphs that ask for too much, for nonsense, or never end."""
import contextlib
import errno
import os
import signal
import struct
import subprocess
import time

from e2e import (case, fails_with, main, mounted, read, run, same, status,
                 tempdir, text, wait_until, write)
from onnx_recipe import (BOOL, F32, I64, blob, endless, graph, model, node,
                         number, tensor)

HUGE = 1 << 40


@contextlib.contextmanager
def run_of(data, **inputs):
    """A run of this model, with raw bytes as inputs; a small budget."""
    with tempdir() as tmp:
        path = tmp + "/m.onnx"
        write(path, data)
        with mounted(path, options=["-m", "64M"]) as mnt:
            run = mnt + "/run/x"
            os.mkdir(run)
            for name, raw in inputs.items():
                same(write(run + "/in/" + name, raw), 0)
            yield run


def first_bytes(*parts):
    """What is declared to be huge is not to be asked for as a whole."""
    fd = os.open(os.path.join(*parts), os.O_RDONLY)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def floats(*v):
    return struct.pack("<%df" % len(v), *v)


def ints(name, *v):
    return tensor(name, I64, [len(v)], list(v))


def shape(name, *v):
    """An initializer for a shape."""
    return ints(name, *v)


ONE_INPUT = [("x", F32, [1])]


@case
def outputs_beyond_the_budget():
    graphs = {
        "ConstantOfShape": ([node("ConstantOfShape", ["s"], ["y"])],
                            [shape("s", HUGE)]),
        "Expand": ([node("Expand", ["x", "s"], ["y"])], [shape("s", HUGE)]),
        "Tile": ([node("Tile", ["x", "s"], ["y"])], [shape("s", HUGE)]),
        "Range": ([node("Range", ["a", "b", "c"], ["y"])],
                  [tensor("a", I64, [], [0]), tensor("b", I64, [], [HUGE]),
                   tensor("c", I64, [], [1])]),
        "OneHot": ([node("OneHot", ["i", "d", "v"], ["y"])],
                   [ints("i", 1), tensor("d", I64, [], [HUGE]),
                    tensor("v", F32, [2], [0.0, 1.0])]),
        "Pad": ([node("Pad", ["x", "s"], ["y"])], [shape("s", 0, HUGE)]),
        "RandomNormal": ([node("RandomNormal", [], ["y"],
                               shape=[HUGE])], []),
    }
    for name, (nodes, tensors) in graphs.items():
        with run_of(model(nodes, ONE_INPUT, ["y"], tensors),
                    x=floats(1)) as run:
            fails_with(errno.EFBIG, first_bytes, run, "out/y")
            os.stat(run + "/out/y")
            same(status(run)["state"], "failed", name)


@case
def products_that_wrap():
    for dims in [(1 << 32, 1 << 32), (1 << 62, 1 << 62), (-1, 4)]:
        nodes = [node("ConstantOfShape", ["s"], ["y"])]
        with run_of(model(nodes, [], ["y"], [shape("s", *dims)])) as run:
            try:
                first_bytes(run, "out/y")
            except OSError as e:
                assert e.errno in (errno.EFBIG, errno.EIO), e
            else:
                raise AssertionError(dims)


@case
def attributes_that_make_no_sense():
    image = [("x", F32, [1, 1, 4, 4])]
    w = tensor("w", F32, [1, 1, 3, 3], [1.0] * 9)
    zero = tensor("z", I64, [], [0])
    bad = {
        "stride 0": [node("Conv", ["x", "w"], ["y"], strides=[0, 0])],
        "dilation 0": [node("Conv", ["x", "w"], ["y"], dilations=[0, 1])],
        "group 0": [node("Conv", ["x", "w"], ["y"], group=0)],
        "kernel 0": [node("MaxPool", ["x"], ["y"], kernel_shape=[0, 0])],
        "negative pads": [node("AveragePool", ["x"], ["y"],
                               kernel_shape=[2, 2], pads=[-9, -9, -9, -9])],
        "block 0": [node("SpaceToDepth", ["x"], ["y"], blocksize=0)],
        "axis": [node("Softmax", ["x"], ["y"], axis=99)],
        "lowest axis": [node("Concat", ["x", "x"], ["y"], axis=-1 << 63)],
        "permutation": [node("Transpose", ["x"], ["y"], perm=[0, 0, 1, 9])],
        "index": [node("Gather", ["x", "z9"], ["y"])],
        "step 0": [node("Slice", ["x", "i0", "i1", "i0", "i0"], ["y"])],
        "two -1": [node("Reshape", ["x", "m1"], ["y"])],
        "split": [node("Split", ["x", "m1"], ["y", "y2"], axis=2)],
        "k": [node("TopK", ["x", "neg"], ["y", "i"])],
        "range by 0": [node("Range", ["z", "z", "z"], ["y"])],
        "no inputs": [node("Add", [], ["y"])],
        "too many": [node("Relu", ["x"] * 5, ["y"])],
    }
    tensors = [w, zero, tensor("z9", I64, [], [9]), ints("i0", 0),
               ints("i1", 1), ints("m1", -1, -1), ints("neg", -5)]
    worked = []
    for name, nodes in bad.items():
        with run_of(model(nodes, image, ["y"], tensors),
                    x=floats(*range(16))) as run:
            try:
                read(run, "out/y")
            except OSError as e:
                same(e.errno, errno.EIO, name)
                assert "node " in status(run)["error"], name
            else:
                worked.append(name)
    same(worked, [])


@case
def integers_at_their_edges():
    low = -1 << 63
    for op in ["Div", "Mod"]:
        for a, b in [(low, -1), (7, 0), (low, 0)]:
            with run_of(model([node(op, ["a", "b"], ["y"])], [], ["y"],
                              [ints("a", a), ints("b", b)])) as run:
                try:
                    same(len(read(run, "out/y")), 8)
                except OSError as e:
                    same(e.errno, errno.EIO, op)


@case
def unknown_operators_spoil_only_what_needs_them():
    nodes = [node("Relu", ["x"], ["good"]),
             node("ReadFile", ["x"], ["bad"], domain="evil.example"),
             node("Relu", ["bad"], ["worse"])]
    with run_of(model(nodes, ONE_INPUT, ["good", "worse"]),
                x=floats(-1)) as run:
        same(read(run, "out/good"), floats(0))
        fails_with(errno.EOPNOTSUPP, read, run, "out/worse")
        assert "evil.example.ReadFile" in status(run)["error"]


@case
def graphs_that_are_none():
    loops = [
        [node("Relu", ["y"], ["y"])],
        [node("Relu", ["a"], ["b"], "n1"), node("Relu", ["b"], ["a"], "n2"),
         node("Relu", ["a"], ["y"], "n3")],
        [node("Relu", ["nowhere"], ["y"])],
        [node("Relu", ["x"], ["y"], "n1"), node("Relu", ["x"], ["y"], "n2")],
    ]
    for nodes in loops:
        with run_of(model(nodes, ONE_INPUT, ["y"]), x=floats(1)) as run:
            fails_with(errno.EIO, read, run, "out/y")
            assert status(run)["error"]
            for name in os.listdir(run + "/values"):
                os.lstat(os.path.join(run, "values", name))
            assert not os.path.lexists(run + "/values/nowhere")
            assert "Relu" in text(run, "../../graph/nodes.tsv")


@case
def a_long_chain():
    n = 50000
    nodes = [node("Relu", ["v%d" % i], ["v%d" % (i + 1)], "n%d" % i)
             for i in range(n)]
    with run_of(model(nodes, [("v0", F32, [1])], ["v%d" % n]),
                v0=floats(3)) as run:
        same(read(run, "out/v%d" % n), floats(3))


@case(mount=False)
def a_branch_that_reads_much():
    """What nobody makes, too, but not once for each of the others."""
    names = ["v%d" % i for i in range(300000)]
    branch = graph([node("Sum", names, ["z"])], [], ["z"])
    data = model([node("If", ["c"], ["y"], then_branch=branch,
                       else_branch=branch)], [("c", BOOL, [])], ["y"])
    with tempdir() as tmp:
        write(tmp + "/m.onnx", data)
        same(run("--ls", tmp + "/m.onnx", timeout=30).returncode, 0)


@case(mount=False)
def messages_in_many_parts():
    """protobuf puts what is one message together from as many as there are."""
    for parts, code in [(2, 0), (300000, 1)]:
        dims = blob(2, blob(1, number(1, 1)))
        data = (number(1, 8) +
                blob(7, graph([node("Relu", ["x"], ["y"])], [], ["y"]) +
                     blob(11, blob(1, "x") +
                          blob(2, blob(1, number(1, F32) + dims * parts)))) +
                blob(8, blob(1, "") + number(2, 17)))
        with tempdir() as tmp:
            write(tmp + "/m.onnx", data)
            same(run("--ls", tmp + "/m.onnx").returncode, code)


@case(mount=False)
def a_long_name_that_is_read_often():
    n = 20000
    nodes = [node("Relu", ["x"], ["y"], name="n" * 300000)]
    nodes += [node("Relu", ["y"], ["z%d" % i]) for i in range(n)]
    with tempdir() as tmp:
        write(tmp + "/m.onnx", model(nodes, [("x", F32, [1])], ["z0"]))
        out = run("--cat", tmp + "/m.onnx", "graph/graph.dot").stdout
    same(out.count(b" -> "), n + 1)
    assert len(out) < 100 << 20, len(out)


@case
def an_endless_loop_can_be_interrupted():
    with run_of(endless(), x=floats(0)) as run:
        for sig in [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]:
            reader = subprocess.Popen(["cat", run + "/out/y"],
                                      stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
            wait_until(lambda: status(run)["state"] == "running")
            start = time.monotonic()
            reader.send_signal(sig)
            reader.wait(10)
            assert time.monotonic() - start < 5
            wait_until(lambda: status(run)["state"] != "running")
        # Interrupted is not failed.
        assert status(run)["state"] == "ready", status(run)


@case
def unmounting_ends_an_endless_loop():
    with run_of(endless(), x=floats(0)) as run:
        reader = subprocess.Popen(["cat", run + "/out/y"],
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        wait_until(lambda: status(run)["state"] == "running")
        reader.kill()
    reader.wait(10)


main()
