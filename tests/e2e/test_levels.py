#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
test_levels - every way to compute a convolution or a product, at every level
of processors (MODELFS_CPU) and for several numbers of threads: the same bits in
whatever order values are read, and close to the other levels.
"""
import os
import subprocess

import numpy as np

from e2e import PROGRAM, case, main, mounted, tempdir
from onnx_recipe import F32, I64, model, node, tensor

U8, I8 = 2, 3
BOOL, F16 = 9, 10
STORED = {F32: "<f4", F16: "<f2"}
LEVELS = ["portable", "avx2", "avx512"]


class Net:
    """A chain of nodes with random parameters."""

    def __init__(self, dtype=F32, quantised=False):
        self.rng = np.random.default_rng(5)
        self.dtype, self.quantised = dtype, quantised
        self.nodes, self.tensors, self.values = [], [], []

    def param(self, *shape, scale=1.0, off=0.0):
        name = "p%d" % len(self.tensors)
        data = self.rng.standard_normal(shape) * scale + off
        return self.keep(name, shape, data)

    def keep(self, name, shape, data):
        data = data.astype(STORED[self.dtype])
        self.tensors.append(tensor(name, self.dtype, shape, data.tobytes()))
        return name

    def scalar(self, v):
        name = "p%d" % len(self.tensors)
        return self.keep(name, [], np.array(v))

    def ints(self, *v):
        name = "p%d" % len(self.tensors)
        self.tensors.append(tensor(name, I64, [len(v)], v))
        return name

    def bools(self, n):
        name = "b%d" % len(self.tensors)
        data = self.rng.integers(0, 2, n, "u1").tobytes()
        self.tensors.append(tensor(name, BOOL, [n], data))
        return name

    def add(self, op, *inputs, **attributes):
        out = "v%02d" % len(self.nodes)
        self.nodes.append(node(op, inputs, [out], out, **attributes))
        self.values.append(out)
        return out

    def conv(self, x, cin, cout, side, stride=1, groups=1, act="Relu",
             residual=None):
        """Convolution, normalisation, addition, activation: one group."""
        w = self.param(cout, cin // groups, side, side,
                       scale=(2 / (cin // groups) / side / side) ** 0.5)
        pad = side // 2
        x = self.add("Conv", x, w, group=groups, strides=[stride, stride],
                     pads=[pad] * 4)
        x = self.add("BatchNormalization", x, self.param(cout, off=1),
                     self.param(cout), self.param(cout),
                     self.positive(cout))
        if residual:
            x = self.add("Add", x, residual)
        if act == "Clip":
            x = self.add("Clip", x, self.scalar(0.0), self.scalar(6.0))
        else:
            x = self.add(act, x)
        return self.through_integers(x) if self.quantised else x

    def through_integers(self, x):
        scale, zero = self.scalar(0.03), "z%d" % len(self.tensors)
        self.tensors.append(tensor(zero, U8, [], b"\3"))
        x = self.add("QuantizeLinear", x, scale, zero)
        return self.add("DequantizeLinear", x, scale, zero)

    def positive(self, n):
        name = "p%d" % len(self.tensors)
        return self.keep(name, [n], self.rng.uniform(0.5, 2, n))

    def linear(self, x, cin, cout, residual=None):
        x = self.add("MatMul", x, self.param(cin, cout, scale=cin ** -0.5))
        x = self.add("Add", self.param(cout), x)
        return self.add("Add", x, residual) if residual else x

    def gelu(self, x):
        e = self.add("Erf", self.add("Div", x, self.scalar(2 ** 0.5)))
        return self.add("Mul", self.add("Mul", x, self.add(
            "Add", e, self.scalar(1.0))), self.scalar(0.5))

    def gelu_tanh(self, x):
        t = self.add("Mul", self.add("Pow", x, self.scalar(3.0)),
                     self.scalar(0.044715))
        t = self.add("Mul", self.add("Add", x, t), self.scalar(0.79788456))
        t = self.add("Add", self.add("Tanh", t), self.scalar(1.0))
        return self.add("Mul", self.add("Mul", t, x), self.scalar(0.5))

    def elementwise(self, x, n):
        """More steps than run as one; rows, columns, choices, limits."""
        x = self.add("Sub", self.param(n), self.add("Sigmoid", x))
        x = self.add("Div", x, self.positive(n))
        x = self.add("Where", self.bools(n), x, self.scalar(-0.5))
        x = self.add("PRelu", self.add("Abs", x), self.param(n))
        x = self.add("Clip", self.add("Neg", x), "", self.scalar(0.75))
        x = self.add("HardSigmoid", self.add("Softplus", x), alpha=0.3)
        for _ in range(3):
            x = self.add("Sub", self.scalar(1.5), x)
            x = self.add("Sqrt", self.add("Abs", x))
            x = self.add("Mul", x, self.param(10, 1, scale=0.3))
            x = self.add("Exp", self.add("Elu", x, alpha=0.5))
        return x

    def layer_norm(self, x, n):
        d = self.add("Sub", x, self.add("ReduceMean", x, axes=[-1]))
        v = self.add("ReduceMean", self.add("Pow", d, self.scalar(2.0)),
                     axes=[-1])
        s = self.add("Sqrt", self.add("Add", v, self.scalar(1e-5)))
        return self.add("Add", self.add("Mul", self.add("Div", d, s),
                                        self.param(n, off=1)), self.param(n))


def images(net):
    x = net.conv("x", 3, 16, 7)			   # few channels
    x = net.conv(x, 16, 16, 3)			   # Winograd, 4 x 4
    x = net.conv(x, 16, 24, 5, stride=2)	   # blocks, long windows
    y = net.conv(x, 24, 72, 1, act="Clip")	   # single elements
    y = net.conv(y, 72, 72, 3, stride=2, groups=72, act="Clip")
    x = net.conv(y, 72, 40, 1, act="Relu")	   # single elements
    y = net.conv(x, 40, 40, 3)			   # Winograd, 2 x 2
    x = net.conv(y, 40, 40, 3, residual=x)
    x = net.conv(x, 40, 56, 3, stride=2)	   # blocks
    x = net.conv(x, 56, 56, 3, groups=56)	   # planes in blocks
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    x = net.conv(x, 56, 100, 1)			   # some pixels
    return net.add("GlobalAveragePool", x)


def words(net):
    x = net.add("Reshape", "t", net.ints(1, 10, 96))
    y = net.layer_norm(x, 96)
    heads = net.ints(1, 10, 4, 24)
    q, k, v = (net.add("Transpose", net.add("Reshape", net.linear(y, 96, 96),
                                            heads), perm=[0, 2, 1, 3])
               for _ in range(3))
    s = net.add("MatMul", q, net.add("Transpose", k, perm=[0, 1, 3, 2]))
    s = net.add("Softmax", net.add("Div", s, net.scalar(24 ** 0.5)))
    y = net.add("Transpose", net.add("MatMul", s, v), perm=[0, 2, 1, 3])
    y = net.add("Reshape", y, net.ints(1, 10, 96))
    x = net.linear(y, 96, 96, residual=x)
    # Two products could take this addition with them; one does.
    x = net.add("Add", net.add("MatMul", x, net.param(96, 96, scale=0.1)),
                net.add("MatMul", y, net.param(96, 96, scale=0.1)))
    y = net.gelu(net.linear(net.layer_norm(x, 96), 96, 600))
    x = net.linear(y, 600, 96, residual=x)
    return net.elementwise(net.gelu_tanh(net.linear(x, 96, 420)), 420)


def make(tmp, *kind):
    net = Net(*kind)
    outputs = [images(net), words(net)]
    path = os.path.join(tmp, "net.onnx")
    with open(path, "wb") as f:
        f.write(model(net.nodes, [("x", net.dtype, [1, 3, 112, 104]),
                                  ("t", net.dtype, [10, 96])],
                      outputs, net.tensors, opset=13))
    for name, shape in ("x", (1, 3, 112, 104)), ("t", (10, 96)):
        np.save(os.path.join(tmp, name),
                net.rng.standard_normal(shape).astype(STORED[net.dtype]))
    return path, net.values, outputs


def read(tmp, path, values, level, threads):
    """These values, in this order, from a run of their own."""
    files = ["run/cli/values/%s" % v for v in values]
    out = subprocess.run(
        [PROGRAM, "-t", str(threads), "--in", "x=%s/x.npy" % tmp, "--in",
         "t=%s/t.npy" % tmp, "--cat", path] + files, check=True,
        capture_output=True, env=dict(os.environ, MODELFS_CPU=level)).stdout
    return out


def sizes_of(tmp, path, values):
    return [len(read(tmp, path, [v], "portable", 1)) for v in values]


def split(data, sizes):
    parts = []
    for n in sizes:
        parts.append(data[:n])
        data = data[n:]
    assert not data
    return parts


def compare_orders(*kind):
    with tempdir() as tmp:
        path, values, outputs = make(tmp, *kind)
        sizes = dict(zip(values, sizes_of(tmp, path, values)))

        def in_order(order, level, threads):
            parts = split(read(tmp, path, order, level, threads),
                          [sizes[v] for v in order])
            return dict(zip(order, parts))

        for level in LEVELS:
            want = in_order(values, level, 1)
            for order, threads in [(values[::-1], 1), (outputs, 1),
                                   (outputs, 2), (values, 3),
                                   (values[::3] + values[::2], 2)]:
                got = in_order(order, level, threads)
                for v in got:
                    assert got[v] == want[v], (level, threads, v)


@case(mount=False)
def the_same_bits_in_any_order():
    compare_orders(F32)


@case(mount=False)
def the_same_bits_in_any_order_of_float16():
    compare_orders(F16)


@case(mount=False)
def the_same_bits_in_any_order_through_integers():
    compare_orders(F32, True)


@case(mount=False)
def a_nan_through_integers():
    """It is the least integer, in a group of nodes as in one alone."""
    with tempdir() as tmp:
        net = Net(F32, True)
        y = net.conv(net.conv("x", 3, 24, 1), 24, 40, 3, act="Clip")
        alone = net.conv(y, 40, 40, 1, act="HardSwish")
        path = os.path.join(tmp, "net.onnx")
        with open(path, "wb") as f:
            f.write(model(net.nodes, [("x", F32, [1, 3, 20, 20]),
                                      ("t", F32, [1])], [alone], net.tensors,
                          opset=14))
        x = net.rng.standard_normal((1, 3, 20, 20)).astype("f4")
        x[0, 1, 7, 3] = np.nan
        np.save(tmp + "/x", x)
        np.save(tmp + "/t", np.zeros(1, "f4"))
        integers = [v for v, n in zip(net.values, net.nodes)
                    if b"DequantizeLinear" in n]
        assert len(integers) == 3
        for level in LEVELS:
            by_groups = read(tmp, path, integers[::-1], level, 1)
            one_by_one = read(tmp, path, net.values + integers[::-1], level, 1)
            assert one_by_one.endswith(by_groups), level
            assert np.isfinite(np.frombuffer(by_groups, "<f4")).all(), level


@case(mount=False)
def levels_agree():
    with tempdir() as tmp:
        path, values, _ = make(tmp)
        sizes = sizes_of(tmp, path, values)
        runs = [[np.frombuffer(p, "<f4") for p in
                 split(read(tmp, path, values, level, 2), sizes)]
                for level in LEVELS]
        for v, first, *others in zip(values, *runs):
            scale = float(np.abs(first).max())
            assert np.isfinite(first).all() and scale > 0, v
            for other in others:
                worst = float(np.abs(first - other).max())
                assert worst < 2e-5 * scale, (v, worst, scale)


def single_nodes(tmp, dtype):
    """Each output is one node's, all parameters as float16 has them."""
    net = Net(dtype)
    keep = net.keep
    net.keep = lambda name, shape, data: keep(name, shape,
                                              data.astype("<f2"))
    row, rows = net.param(300), net.param(37, 1)
    net.add("Softmax", "t")
    net.add("Softmax", "t", axis=0)
    net.add("LogSoftmax", "t")
    net.add("ReduceMean", "t", axes=[-1])
    net.add("ReduceMax", "t", axes=[-1], keepdims=0)
    net.add("ReduceL2", "t", axes=[0])
    net.add("ReduceLogSumExp", "t")
    net.add("LayerNormalization", "t", row, net.param(300))
    net.add("LayerNormalization", "t", row)
    net.add("Sub", rows, "t")
    net.add("Pow", "t", net.scalar(3.0))
    net.add("Erf", "t")
    net.add("Clip", "t", net.scalar(-0.5))
    net.add("Where", net.bools(300), "t", row)
    net.add("MatMul", "t", net.param(300, 130, scale=0.1))
    net.add("MatMul", net.add("Reshape", "t", net.ints(3, 37, 100)),
            net.param(3, 100, 20))
    path = os.path.join(tmp, "single.onnx")
    with open(path, "wb") as f:
        f.write(model(net.nodes, [("t", dtype, [37, 300])], net.values,
                      net.tensors, opset=17))
    return path, net.values


@case(mount=False)
def float16_is_float32_rounded():
    with tempdir() as tmp:
        t = np.random.default_rng(7).standard_normal((37, 300)).astype("<f2")
        outs = []
        for level in LEVELS:
            for dtype in F32, F16:
                np.save(tmp + "/t", t.astype(STORED[dtype]))
                path, values = single_nodes(tmp, dtype)
                outs.append([np.frombuffer(subprocess.run(
                    [PROGRAM, "--in", "t=%s/t.npy" % tmp, "--cat", path,
                     "run/cli/values/" + v], check=True, capture_output=True,
                    env=dict(os.environ, MODELFS_CPU=level)).stdout,
                    STORED[dtype]) for v in values])
            for v, wide, narrow in zip(values, *outs[-2:]):
                assert (wide.astype("<f2") == narrow).all(), (level, v)


def stored_narrow(tmp):
    """Weights that nodes widen, for images of any size."""
    net = Net()
    w = net.rng.integers(-100, 100, (40, 24, 3, 3), "i1").tobytes()
    net.tensors.append(tensor("w", I8, [40, 24, 3, 3], w))
    net.tensors.append(tensor("zero", I8, [40], bytes(40)))
    scale = net.positive(40)
    wide = net.add("DequantizeLinear", "w", scale, "zero", axis=0)
    out = net.add("Relu", net.add("Conv", "x", wide, pads=[1] * 4))
    path = os.path.join(tmp, "narrow.onnx")
    with open(path, "wb") as f:
        f.write(model(net.nodes, [("x", F32, [1, 24, "h", "w"])], [out],
                      net.tensors, opset=13))
    return path, net, wide, out


@case
def a_widened_weight_is_kept_as_long_as_it_fits():
    with tempdir() as tmp:
        path, net, wide, out = stored_narrow(tmp)
        images = [net.rng.standard_normal((1, 24, n, n)).astype("<f4")
                  for n in (20, 6, 120)]

        def result(mnt, name, image):
            run = os.path.join(mnt, "run", name)
            os.mkdir(run)
            np.save(run + "/in/x.npy", image)
            return np.load(run + "/out/" + out + ".npy"), run

        want = []
        for image in images:
            with mounted(path) as mnt:
                want.append(result(mnt, "a", image)[0])
        with mounted(path) as mnt:
            # Each size wants the weights in another form.
            for i, k in enumerate([0, 0, 1, 1, 0, 2, 2, 0]):
                got, run = result(mnt, "r%d" % i, images[k])
                assert (got == want[k]).all(), (i, k)
            weights = np.load(run + "/values/" + wide + ".npy")
            assert weights.shape == (40, 24, 3, 3) and weights.any()


main()
