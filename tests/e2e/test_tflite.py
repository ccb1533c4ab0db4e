# SPDX-License-Identifier: MIT
"""TensorFlow Lite operators against numpy: quantised values, weights that are
quantised alone, and operators that move numbers."""
import io
import os
import struct

import numpy as np

from e2e import case, main, mounted, run, same, tempdir
from flat_recipe import Lite

RNG = np.random.default_rng(13)
ADD, AVERAGE, CONCAT, CONV, DEPTHWISE = 0, 1, 2, 3, 4
DENSE, LOGISTIC, MUL, RELU, RESHAPE = 9, 14, 18, 19, 22
PAD, LSTM, STRIDED, SHAPE, PACK, UNPACK = 34, 44, 45, 77, 83, 88
QUANTIZE, RESIZE_NEAREST, SPACE_TO_BATCH, BATCH_TO_SPACE = 114, 97, 38, 37
DENSIFY, IF, WHILE, LESS, BUCKETIZE = 124, 118, 119, 58, 147
SVDF, TRANSPOSED = 27, 67


def compute(model, inputs, outputs, **arrays):
    """The last output's numbers."""
    with tempdir() as tmp:
        path = tmp + "/m.tflite"
        model.write(path, inputs, outputs)
        args = []
        for name, a in arrays.items():
            np.save("%s/%s.npy" % (tmp, name), a)
            args += ["--in", "%s=%s/%s.npy" % (name, tmp, name)]
        got = run(*args, "--cat", path, "run/cli/out/y.npy")
        assert got.returncode == 0, got.stderr
        return np.load(io.BytesIO(got.stdout))


def integers(*shape):
    return RNG.integers(-127, 128, shape).astype("i1")


def quantise(real, scale, zero, low=-128, high=127):
    return np.clip(np.rint(real / scale) + zero, low, high).astype("i1")


def at_most_one_apart(got, want):
    same(got.dtype, want.dtype)
    same(got.shape, want.shape)
    d = np.abs(got.astype(int) - want.astype(int))
    assert d.max() <= 1 and (d > 0).mean() < 0.05, (d.max(), (d > 0).mean())


@case(mount=False)
def dense_of_integers():
    x, w = integers(4, 16), integers(8, 16)
    b = RNG.integers(-500, 500, 8).astype("i4")
    m = Lite()
    t = [m.tensor("x", (4, 16), "int8", scale=0.05, zero=3),
         m.const("w", w, scale=0.02), m.const("b", b, scale=0.001),
         m.tensor("y", (4, 8), "int8", scale=0.1, zero=-5)]
    m.op(DENSE, t[:3], [t[3]], field0=("b", 1))
    got = compute(m, [0], [3], x=x)
    sums = (x.astype(int) - 3) @ w.T.astype(int) + b
    want = quantise(np.maximum(sums * 0.05 * 0.02, 0), 0.1, -5)
    at_most_one_apart(got, want)


@case(mount=False)
def convolution_with_a_scale_for_each_channel():
    x, w = integers(1, 5, 5, 3), integers(4, 3, 3, 3)
    scales = np.array([0.01, 0.02, 0.03, 0.04], "f4")
    m = Lite()
    t = [m.tensor("x", (1, 5, 5, 3), "int8", scale=0.1, zero=-7),
         m.const("w", w, scale=scales),
         m.tensor("y", (1, 3, 3, 4), "int8", scale=0.5, zero=10)]
    # Padded with the zero point, which stands for 0.
    m.op(CONV, [t[0], t[1], -1], [t[2]], field0=("b", 0), field1=("i", 2),
         field2=("i", 2), field3=("b", 3))
    got = compute(m, [0], [2], x=x)
    p = np.pad(x.astype(int) + 7, ((0, 0), (1, 1), (1, 1), (0, 0)))
    sums = np.zeros((1, 3, 3, 4))
    for i in range(3):
        for j in range(3):
            sums[:, i, j] = np.einsum(
                "nhwc,ohwc->no", p[:, 2 * i:2 * i + 3, 2 * j:2 * j + 3], w)
    want = quantise(np.clip(sums * 0.1 * scales, 0, 6), 0.5, 10)
    at_most_one_apart(got, want)


@case(mount=False)
def sums_and_averages_of_integers():
    x, z = integers(1, 4, 4, 2), integers(1, 4, 4, 2)
    m = Lite()
    t = [m.tensor("x", x.shape, "int8", scale=0.1, zero=1),
         m.tensor("z", x.shape, "int8", scale=0.2, zero=2),
         m.tensor("s", x.shape, "int8", scale=0.3, zero=-3),
         m.tensor("y", (1, 2, 2, 2), "int8", scale=0.3, zero=-3)]
    m.op(ADD, [0, 1], [2], field0=("b", 0))
    m.op(AVERAGE, [2], [3], field0=("b", 1), field1=("i", 2),
         field2=("i", 2), field3=("i", 2), field4=("i", 2))
    got = compute(m, [0, 1], [3], x=x, z=z)
    s = quantise((x.astype("f8") - 1) * 0.1 + (z.astype("f8") - 2) * 0.2,
                 0.3, -3).astype("f8")
    mean = s.reshape(1, 2, 2, 2, 2, 2).mean((2, 4))
    # Halves are rounded away from zero.
    want = (np.sign(mean) * np.floor(np.abs(mean) + 0.5)).astype("i1")
    same(t[3], 3)
    at_most_one_apart(got, want)


@case(mount=False)
def a_function_of_integers_and_quantise():
    x = np.linspace(-4, 4, 64).astype("f4")
    m = Lite()
    m.tensor("x", (64,))
    m.tensor("q", (64,), "int8", scale=0.05)
    m.tensor("y", (64,), "int8", scale=1 / 256, zero=-128)
    m.op(QUANTIZE, [0], [1])
    m.op(LOGISTIC, [1], [2])
    q = quantise(x, 0.05, 0)
    at_most_one_apart(compute(m, [0], [2], x=x),
                      quantise(1 / (1 + np.exp(-q * 0.05)), 1 / 256, -128))


@case(mount=False)
def floats_by_integers():
    x = RNG.standard_normal((3, 16)).astype("f4")
    x[1] = 0
    w, b = integers(8, 16), RNG.standard_normal(8).astype("f4")
    m = Lite()
    m.tensor("x", (3, 16))
    m.const("w", w, scale=0.02)
    m.const("b", b)
    m.tensor("y", (3, 8))
    m.op(DENSE, [0, 1, 2], [3], field0=("b", 0))
    got = compute(m, [0], [3], x=x)
    scale = np.maximum(np.abs(x).max(1, keepdims=True), 1e-30) / 127
    want = (np.rint(x / scale) @ w.T.astype("f8")) * scale * 0.02 + b
    assert np.abs(got - want).max() < 1e-5
    # It is not what the same floats give without rounding.
    assert np.abs(x @ (w.T * 0.02) + b - want).max() > 1e-4


@case(mount=False)
def shapes_computed_while_running():
    x = RNG.standard_normal((2, 3, 4)).astype("f4")
    m = Lite()
    m.tensor("x", (2, 3, 4))
    m.tensor("shape", (3,), "int32")
    begin, end = m.const("b", [0]), m.const("e", [1])
    step = m.const("s", [1])
    m.tensor("n", (), "int32")
    rest = m.const("rest", np.int32(-1))
    m.tensor("to", (2,), "int32")
    m.tensor("y", (2, 12))
    m.op(SHAPE, [0], [1])
    m.op(STRIDED, [1, begin, end, step], [5], field4=("i", 1))
    m.op(PACK, [5, rest], [7], field0=("i", 2), field1=("i", 0))
    m.op(RESHAPE, [0, 7], [8])
    same(compute(m, [0], [8], x=x).tolist(), x.reshape(2, 12).tolist())


@case(mount=False)
def dilation_by_batches():
    x = RNG.standard_normal((1, 6, 6, 2)).astype("f4")
    m = Lite()
    m.tensor("x", x.shape)
    block = m.const("block", [2, 3])
    pads = m.const("pads", [[0, 0], [0, 0]])
    m.tensor("parts", (6, 3, 2, 2))
    m.tensor("y", x.shape)
    m.op(SPACE_TO_BATCH, [0, block, pads], [3])
    m.op(BATCH_TO_SPACE, [3, block, pads], [4])
    same(compute(m, [0], [4], x=x).tolist(), x.tolist())


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@case(mount=False)
def lstm_with_a_limited_cell():
    x = (RNG.standard_normal((1, 5, 3)) * 4).astype("f4")
    w = [RNG.standard_normal((2, 3)).astype("f4") * 3 for _ in range(4)]
    r = [RNG.standard_normal((2, 2)).astype("f4") for _ in range(4)]
    b = [RNG.standard_normal(2).astype("f4") for _ in range(4)]
    m = Lite()
    m.tensor("x", x.shape)
    inputs = [0] + [m.const("w%d" % i, a) for i, a in enumerate(w)]
    inputs += [m.const("r%d" % i, a) for i, a in enumerate(r)] + [-1] * 3
    inputs += [m.const("b%d" % i, a) for i, a in enumerate(b)] + [-1, -1]
    inputs += [m.tensor("h", (1, 2), variable=True),
               m.tensor("c", (1, 2), variable=True)] + [-1] * 4
    y = m.tensor("y", (1, 5, 2))
    m.op(LSTM, inputs, [y], field0=("b", 4), field1=("f", 1.5))
    got = compute(m, [0], [y], x=x)
    h = c = np.zeros(2)
    want = []
    for t in range(5):
        i, f, g, o = (w[k] @ x[0, t] + r[k] @ h + b[k] for k in range(4))
        c = np.clip(sigmoid(f) * c + sigmoid(i) * np.tanh(g), -1.5, 1.5)
        h = sigmoid(o) * np.tanh(c)
        want.append(h)
    assert np.abs(got[0] - np.array(want)).max() < 1e-5
    assert np.abs(np.array(want)).max() > 0.1


def thinned(shape, dtype, part=0.3):
    a = RNG.integers(1, 100, shape).astype(dtype)
    return np.where(RNG.random(shape) < part, a, 0).astype(dtype)


def in_blocks(dtype):
    return np.kron(thinned((4, 3), dtype, 0.5), np.ones((2, 4))).astype(dtype)


@case(mount=False)
def sparse_tensors():
    m = Lite()
    want = {"rows": thinned((6, 5), "f4"), "columns": thinned((6, 5), "i1"),
            "deep": thinned((4, 3, 5), "i2"), "blocks": in_blocks("f4"),
            "half": in_blocks("f4"), "turned": in_blocks("i1")}
    m.sparse("rows", want["rows"], [0, 1], [1])
    m.sparse("columns", want["columns"], [1, 0], [1], form="B")
    m.sparse("deep", want["deep"], [2, 0, 1], [1, 2], form="H")
    m.sparse("blocks", want["blocks"], [0, 1, 2, 3], [1], [(0, 2), (1, 4)])
    m.sparse("half", want["half"], [0, 1, 2], [0, 1], [(1, 4)])
    m.sparse("turned", want["turned"], [1, 0, 3, 2], [1], [(0, 2), (1, 4)])
    with tempdir() as tmp:
        path = tmp + "/m.tflite"
        m.write(path, [], [])
        for name, a in want.items():
            got = run("--cat", path, "tensors/%s.npy" % name)
            assert got.returncode == 0, (name, got.stderr)
            got = np.load(io.BytesIO(got.stdout))
            same((name, got.dtype.name, got.tolist()),
                 (name, a.dtype.name, a.tolist()))


def read_sparse(**changes):
    """1 where the model cannot be read, the status of cat where it can."""
    m = Lite()
    m.sparse("c", in_blocks("f4"), [0, 1, 2, 3], [1], [(0, 2), (1, 4)],
             change=lambda what, n: changes.get(what, lambda n: n)(n))
    with tempdir() as tmp:
        m.write(tmp + "/m.tflite", [], [])
        if run("--ls", tmp + "/m.tflite").returncode != 0:
            return "refused"
        got = run("--cat", tmp + "/m.tflite", "model/c")
        return "read" if got.returncode == 0 else "broken"


@case(mount=False)
def sparse_tensors_that_are_damaged():
    same(read_sparse(), "read")
    for order in ([0, 1, 2], [0, 1, 2, 2], [0, 1, 2, 9], [0, 0, 2, 3],
                  [-1, 1, 2, 3], [], list(range(100))):
        same((order, read_sparse(order=lambda n: order)), (order, "refused"))
    for blocks in ([0], [1, 0], [0, 0], [0, 2], [-1, 0], [0, 1, 2]):
        same((blocks, read_sparse(blocks=lambda n: blocks)),
             (blocks, "refused"))
    for extent in (0, -1, 3, 2 ** 31 - 1):
        same(read_sparse(extent=lambda n: [extent]), "refused")
    same(read_sparse(starts=lambda n: n + [n[-1]]), "refused")
    same(read_sparse(starts=lambda n: []), "refused")
    same(read_sparse(places=lambda n: n[:-1]), "refused")
    for change in (lambda n: [1] + n[1:], lambda n: n[:-1] + [2 ** 31 - 1],
                   lambda n: n[:-1] + [n[-1] - 1], lambda n: n[:1] + n[-1:]
                   + n[1:-1], lambda n: [-5] + n[1:]):
        same(read_sparse(starts=change), "broken")
    for place in (3, -1, 2 ** 31 - 1):
        same(read_sparse(places=lambda n: [place] + n[1:]), "broken")


@case(mount=False)
def a_product_with_a_sparse_kernel():
    x, w = RNG.standard_normal((3, 8)).astype("f4"), thinned((4, 8), "f4")
    m = Lite()
    m.tensor("x", x.shape)
    m.sparse("stored", w, [0, 1], [1])
    m.tensor("w", w.shape)
    m.tensor("y", (3, 4))
    m.op(DENSIFY, [1], [2])
    m.op(DENSE, [0, 2, -1], [3], field0=("b", 0))
    assert np.abs(compute(m, [0], [3], x=x) - x @ w.T).max() < 1e-3


def one_of_two(m):
    """y = c ? x + x : x * x"""
    t = [m.tensor("c", (), "bool"), m.tensor("x", (3,)), m.tensor("y", (3,))]
    m.op(IF, t[:2], t[2:], field0=("i", 1), field1=("i", 2))
    m.end("main", t[:2], t[2:])
    for code, name in ((ADD, "double"), (MUL, "square")):
        t = [m.tensor("x", (3,)), m.tensor("y", (3,))]
        m.op(code, [0, 0], [1], field0=("b", 0))
        m.end(name, [0], [1])


@case(mount=False)
def branches():
    x = np.array([1, 2, 3], "f4")
    for c, want in ((True, [2, 4, 6]), (False, [1, 4, 9])):
        m = Lite()
        one_of_two(m)
        same(compute(m, [], [], c=np.array(c), x=x).tolist(), want)


def counted(m, n, name="count"):
    """i, y = 0, x; while i < n: i, y = i + 1, y * y"""
    t = [m.const("i", np.int32(0)), m.tensor("x", (3,)),
         m.tensor(name, (), "int32"), m.tensor("y", (3,))]
    m.op(WHILE, t[:2], t[2:], field0=("i", 1), field1=("i", 2))
    m.end("main", [1], [3])
    m.tensor("i", (), "int32"), m.tensor("x", (3,))
    m.const("n", np.int32(n)), m.tensor("more", (), "bool")
    m.op(LESS, [0, 2], [3])
    m.end("again", [0, 1], [3])
    m.tensor("i", (), "int32"), m.tensor("x", (3,))
    m.const("one", np.int32(1)), m.tensor("next", (), "int32")
    m.tensor("squared", (3,))
    m.op(ADD, [0, 2], [3], field0=("b", 0))
    m.op(MUL, [1, 1], [4], field0=("b", 0))
    m.end("step", [0, 1], [3, 4])


@case(mount=False)
def loops():
    x = np.array([1, 2, 3], "f4")
    for n, power in ((0, 1), (1, 2), (2, 4)):
        m = Lite()
        counted(m, n)
        same(compute(m, [], [], x=x).tolist(), (x ** power).tolist())


@case
def a_loop_named_after_several_values():
    """The loop and what its condition computes are modules of their own."""
    m = Lite()
    counted(m, 2, "a;b")
    with tempdir() as tmp:
        m.write(tmp + "/m.tflite", [], [])
        with mounted(tmp + "/m.tflite") as mnt:
            os.mkdir(mnt + "/run/x")
            np.save(mnt + "/run/x/in/x.npy", np.ones(3, "f4"))
            names = []
            for folder, _, files in os.walk(mnt + "/run/x/values"):
                names += [os.path.join(folder, f) for f in files]
            for name in names:
                os.lstat(name)
            assert any(n.endswith("more.npy") for n in names), names


@case(mount=False)
def loops_within_themselves():
    m = Lite()
    for name in ("main", "a", "b"):
        t = [m.tensor("c", (), "bool"), m.tensor("y", (), "bool")]
        for _ in range(50):
            m.op(WHILE, t[:1], t[1:], field0=("i", 1), field1=("i", 2))
        m.end(name, t[:1], t[1:])
    with tempdir() as tmp:
        m.write(tmp + "/m.tflite", [], [])
        assert run("--ls", tmp + "/m.tflite").returncode == 0
        got = run("--cat", tmp + "/m.tflite", "run/cli/out/y.npy")
        assert got.returncode == 1


def signal_window(m):
    """A custom operator, {"shift": 12, "gains": [1.5, 2.5]} behind it."""
    names = b"gains\0shift\0"
    gains = struct.pack("<I2f", 2, 1.5, 2.5)  # at 16
    keys = bytes([2, 25 - 0, 26 - 6])  # at 25
    flex = names + gains + keys + bytes([
        27 - 25, 1, 2,  # where the keys are, how wide, how many
        30 - 16, 12, 13 << 2 | 2, 1 << 2,  # a list of floats, a number
        34 - 30, 9 << 2, 1])  # the map
    t = [m.tensor("x", (3,)), m.tensor("y", (3,))]
    m.custom("SignalWindow", t[:1], t[1:], flex)


@case(mount=False)
def what_operators_are_told():
    m = Lite()
    signal_window(m)
    m.tensor("z", (3,))
    m.op(BUCKETIZE, [1], [2], field0=m.f.vector("f", [0.5, 1.5]))
    with tempdir() as tmp:
        m.write(tmp + "/m.tflite", [0], [2])
        got = run("--cat", tmp + "/m.tflite", "graph/nodes.tsv").stdout
    rows = [line.split("\t") for line in got.decode().splitlines()[1:]]
    same([(r[1], r[-1]) for r in rows],
         [("SignalWindow", "gains=1.5,2.5 shift=12"),
          ("BUCKETIZE", "boundaries=0.5,1.5")])


@case(mount=False)
def models_beside_the_first():
    x = np.array([1, 2, 3], "f4")
    m = Lite()
    for code, name in ((ADD, "double"), (MUL, "square")):
        m.tensor("x", (3,)), m.tensor("y", (3,))
        m.op(code, [0, 0], [1], field0=("b", 0))
        m.end(name, [0], [1])
    with tempdir() as tmp:
        m.write(tmp + "/m.tflite", [], [])
        np.save(tmp + "/x.npy", x)
        for which, want in (("", x + x), ("square/", x * x)):
            got = run("--in", which + "x=%s/x.npy" % tmp, "--cat",
                      tmp + "/m.tflite", "run/cli/out/%sy.npy" % which)
            assert got.returncode == 0, got.stderr
            same(np.load(io.BytesIO(got.stdout)).tolist(), want.tolist())


def one(code, x, want, *constants, first=True, **options):
    """An operator of x and of constants, or of these and x."""
    m = Lite()
    t = [m.tensor("x", x.shape, x.dtype.name)] if first else []
    t += [m.const("c%d" % i, c) for i, c in enumerate(constants)]
    if not first:
        t.append(m.tensor("x", x.shape, x.dtype.name))
    at = t[0] if first else t[-1]
    y = m.tensor("y", want.shape, want.dtype.name)
    m.op(code, t, [y], **options)
    got = compute(m, [at], [y], x=x)
    same((code, got.dtype, got.shape), (code, want.dtype, want.shape))
    assert np.abs(got.astype("f8") - want).max() < 1e-5, (code, got, want)


@case(mount=False)
def operators_of_a_few_others():
    x = RNG.standard_normal((2, 3, 4)).astype("f4")
    n = RNG.integers(-9, 9, 7).astype("i4")
    table = RNG.standard_normal((6, 3)).astype("f4")
    rows = np.array([1, 5, 0], "i4")
    one(130, x, np.broadcast_to(x, (2, 2, 3, 4)).copy(), [2, 2, 3, 4])
    one(95, x, np.mod(x, np.float32(0.3)), np.float32(0.3))
    one(95, n, np.mod(n, 4), np.int32(4))
    one(7, rows, table[rows], table)
    one(94, np.float32(2.5), np.full((2, 3), 2.5, "f4"), [2, 3], first=False)
    one(110, x, np.int32(3))
    one(93, x, x * 0)
    one(93, n, n * 0)
    one(152, x, np.clip(x, 0, 1))
    one(91, x > 1, (x > 1).any(1), [1], field0=("b", 0))
    one(140, x > -1, (x > -1).all((0, 2), keepdims=True), [0, 2],
        field0=("b", 1))
    one(60, x, np.pad(x, ((1, 0), (0, 2), (0, 0)), constant_values=7),
        [[1, 0], [0, 2], [0, 0]], np.float32(7))


@case(mount=False)
def operators_that_look_at_places():
    x = RNG.standard_normal((2, 3, 4)).astype("f4")
    sums = np.cumsum(x[:, ::-1], 1)[:, ::-1]
    one(128, x, sums - x, np.int32(1), field0=("b", 1), field1=("b", 1))
    one(85, np.array([1, -1, 3], "i4"),
        np.array([[-1, 2, -1, -1], [-1] * 4, [-1, -1, -1, 2]], "f4"),
        np.int32(4), np.float32(2), np.float32(-1), field0=("i", -1))
    turned = x.copy()
    turned[1, :3] = x[1, 2::-1]
    one(112, x, turned, np.array([1, 3], "i4"), field0=("i", 1),
        field1=("i", 0))
    m = Lite()
    t = [m.const("at", [[1], [3], [1]]), m.tensor("x", (3,)),
         m.const("size", [5]), m.tensor("y", (5,))]
    m.op(122, t[:3], t[3:])
    got = compute(m, [1], [3], x=np.array([1, 2, 3], "f4"))
    same(got.tolist(), [0, 4, 0, 2, 0])
    image = RNG.standard_normal((1, 2, 3, 6)).astype("f4")
    square = np.pad(image ** 2, ((0, 0),) * 3 + ((2, 2),))
    near = sum(square[..., i:i + 6] for i in range(5))
    one(13, image, image / (1.5 + 0.3 * near) ** 0.75, field0=("i", 2),
        field1=("f", 1.5), field2=("f", 0.3), field3=("f", 0.75))
    m = Lite()
    t = [m.tensor("x", (2, 3, 4)), m.const("k", np.int32(2)),
         m.tensor("v", (2, 3, 2)), m.tensor("y", (2, 3, 2), "int32")]
    m.op(48, t[:2], t[2:])
    same(compute(m, [0], t[2:], x=x).tolist(),
         np.argsort(-x, -1)[..., :2].tolist())


def filters(x, feature, time, bias, rank):
    """The newest result counts; what came before it was zeros."""
    made = (x @ feature.T) * time[:, -1]
    return made.reshape(len(x), -1, rank).sum(-1) + bias


@case(mount=False)
def filters_in_time():
    x = RNG.standard_normal((2, 5)).astype("f4")
    feature = RNG.standard_normal((6, 5)).astype("f4")
    time = RNG.standard_normal((6, 3)).astype("f4")
    bias = RNG.standard_normal(3).astype("f4")
    m = Lite()
    t = [m.tensor("x", x.shape), m.const("f", feature), m.const("t", time),
         m.const("b", bias), m.tensor("state", (2, 18), variable=True),
         m.tensor("y", (2, 3))]
    m.op(SVDF, t[:5], t[5:], field0=("i", 2), field1=("b", 1))
    want = np.maximum(filters(x, feature, time, bias, 2), 0)
    assert np.abs(compute(m, [0], [5], x=x) - want).max() < 1e-5


@case(mount=False)
def filters_in_time_of_integers():
    x, feature = integers(2, 5), integers(6, 5)
    time = RNG.integers(-30000, 30000, (6, 3)).astype("i2")
    bias = RNG.integers(-3000, 3000, 6).astype("i4")
    m = Lite()
    t = [m.tensor("x", x.shape, "int8", scale=0.05, zero=3),
         m.const("f", feature, scale=0.02), m.const("t", time, scale=1e-4),
         m.const("b", bias, scale=1e-6),
         m.tensor("state", (2, 18), "int16", scale=0.01, variable=True),
         m.tensor("y", (2, 6), "int8", scale=0.3, zero=-20)]
    m.op(SVDF, t[:5], t[5:], field0=("i", 1), field1=("b", 1))
    kept = np.rint((x.astype(int) - 3) @ feature.T.astype(int) * 0.1)
    sums = kept * time[:, -1].astype(int) + bias
    at_most_one_apart(compute(m, [0], [5], x=x),
                      quantise(sums * 1e-6, 0.3, -20))


@case(mount=False)
def lstm_of_integers():
    x = integers(1, 4, 3)
    w, r = ([integers(2, n) for _ in range(4)] for n in (3, 2))
    b = [RNG.integers(-900, 900, 2).astype("i4") for _ in range(4)]
    m = Lite()
    m.tensor("x", x.shape, "int8", scale=0.02, zero=-5)
    inputs = [0] + [m.const("w%d" % i, a, scale=0.01)
                    for i, a in enumerate(w)]
    inputs += [m.const("r%d" % i, a, scale=0.02)
               for i, a in enumerate(r)] + [-1] * 3
    inputs += [m.const("b%d" % i, a, scale=2e-4)
               for i, a in enumerate(b)] + [-1, -1]
    inputs += [m.tensor("h", (1, 2), "int8", scale=1 / 128, variable=True),
               m.tensor("c", (1, 2), "int16", scale=2 ** -11,
                        variable=True)] + [-1] * 4
    y = m.tensor("y", (1, 4, 2), "int8", scale=1 / 128)
    m.op(LSTM, inputs, [y], field0=("b", 4))
    got = compute(m, [0], [y], x=x)
    h = c = np.zeros(2)
    want = []
    for t in range(4):
        i, f, g, o = (w[k] * 0.01 @ ((x[0, t].astype(int) + 5) * 0.02)
                      + r[k] * 0.02 @ h + b[k] * 2e-4 for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        want.append(h)
    at_most_one_apart(got[0], quantise(np.array(want), 1 / 128, 0))


@case(mount=False)
def transposed_convolution_of_integers():
    x, w = integers(1, 3, 3, 2), integers(4, 2, 2, 2)
    scales = np.array([0.01, 0.02, 0.03, 0.04], "f4")
    b = RNG.integers(-500, 500, 4).astype("i4")
    m = Lite()
    t = [m.const("shape", [1, 6, 6, 4]), m.const("w", w, scale=scales),
         m.tensor("x", x.shape, "int8", scale=0.1, zero=4),
         m.const("b", b, scale=scales * 0.1),
         m.tensor("y", (1, 6, 6, 4), "int8", scale=0.7, zero=9)]
    m.op(TRANSPOSED, t[:4], t[4:], field0=("b", 1), field1=("i", 2),
         field2=("i", 2))
    sums = np.einsum("nhwc,oijc->nhiwjo", x.astype(int) - 4, w.astype(int))
    want = (sums.reshape(1, 6, 6, 4) + b) * scales * 0.1
    at_most_one_apart(compute(m, [2], [4], x=x), quantise(want, 0.7, 9))


@case(mount=False)
def scales_that_do_not_fit():
    for scale in (0.0, -1.0, float("nan"), float("inf"), 1e-45, [0.1, 0.2]):
        m = Lite()
        m.tensor("x", (4, 16), "int8", scale=0.05)
        m.const("w", integers(8, 16), scale=0.02)
        m.tensor("y", (4, 8), "int8", scale=scale)
        m.op(DENSE, [0, 1, -1], [2], field0=("b", 0))
        with tempdir() as tmp:
            m.write(tmp + "/m.tflite", [0], [2])
            np.save(tmp + "/x.npy", integers(4, 16))
            assert run("--ls", tmp + "/m.tflite").returncode in (0, 1)
            got = run("--in", "x=%s/x.npy" % tmp, "--cat",
                      tmp + "/m.tflite", "run/cli/out/y.npy")
            assert got.returncode in (0, 1), got.stderr


if __name__ == "__main__":
    main()
