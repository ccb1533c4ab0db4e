# SPDX-License-Identifier: MIT
"""Formats that are mostly weights: Darknet, Core ML, PaddlePaddle."""
import io
import json
import os
import pickle
import struct

import numpy as np

from e2e import case, main, run, same, tempdir

RNG = np.random.default_rng(17)


def put(folder, name, data):
    with open("%s/%s" % (folder, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def listing(path):
    got = run("--ls", path, "tensors")
    assert got.returncode == 0, got.stderr
    return got.stdout.decode().split()


def tensor(path, name):
    got = run("--cat", path, "tensors/%s.npy" % name)
    assert got.returncode == 0, got.stderr
    return np.load(io.BytesIO(got.stdout))


def why_not(path):
    got = run("--ls", path)
    same(got.returncode, 1)
    return got.stderr.decode()


# ---- Darknet ----

CFG = """# a comment
[net]
width = 8
height=6
channels=3

[convolutional]
batch_normalize=1
filters=4
size=3
stride=2
pad=1
activation=leaky

[convolutional]
filters=4
groups=2
size=1
activation=linear

[shortcut]
from=-2

[route]
layers=-1,0
[maxpool]
size=2
stride=2
[lstm]
output=3
[connected]
output=5
activation=linear
"""


def darknet_shapes():
    n = ["layer_0/convolutional/" + k for k in (
        "bias", "scales", "rolling_mean", "rolling_variance")]
    parts = [(k, (4,)) for k in n] + [
        ("layer_0/convolutional/weight", (4, 3, 3, 3)),
        ("layer_1/convolutional/bias", (4,)),
        ("layer_1/convolutional/weight", (4, 2, 1, 1))]
    # 8 x 6 becomes 4 x 3, and 2 x 2 of 8 channels behind the pool.
    for k in ("wi", "wf", "wo", "wg", "ui", "uf", "uo", "ug"):
        parts += [("layer_5/lstm/%s/bias" % k, (3,)),
                  ("layer_5/lstm/%s/weight" % k,
                   (3, 32 if k[0] == "u" else 3))]
    return parts + [("layer_6/connected/bias", (5,)),
                    ("layer_6/connected/weight", (5, 3))]


def darknet_weights(version=2):
    """The file, and the arrays in it."""
    arrays = {k: RNG.standard_normal(s).astype("f4")
              for k, s in darknet_shapes()}
    head = struct.pack("<3iq" if version == 2 else "<4i", 0, version, 0, 9)
    return head + b"".join(a.tobytes() for a in arrays.values()), arrays


@case(mount=False)
def darknet():
    for version in (1, 2):
        data, arrays = darknet_weights(version)
        with tempdir() as tmp:
            put(tmp, "a.cfg", CFG)
            put(tmp, "a.weights", data)
            put(tmp, "a_last_2.weights", data)
            for name in ("a.weights", "a.cfg", "a_last_2.weights"):
                for k, a in arrays.items():
                    got = tensor(tmp + "/" + name, k)
                    same((k, got.shape), (k, a.shape))
                    assert (got == a).all(), k


@case(mount=False)
def darknet_in_parts():
    data, arrays = darknet_weights()
    first = 20 + 4 * (4 * 4 + 4 * 27)  # the first layer alone
    with tempdir() as tmp:
        put(tmp, "a.cfg", CFG)
        got = run("--cat", tmp + "/a.cfg", "model/layer_0/convolutional/bias")
        assert got.returncode == 1 and b"not there" in got.stderr, got.stderr
        put(tmp, "a.weights", data[:first])
        name = "layer_0/convolutional/weight"
        assert (tensor(tmp + "/a.weights", name) == arrays[name]).all()
        got = run("--cat", tmp + "/a.weights", "model/layer_6/connected/bias")
        assert got.returncode == 1 and b"ends before" in got.stderr
        for wrong in (data[:first + 4], data[:-4], data + bytes(4)):
            put(tmp, "a.weights", wrong)
            assert "bytes of weights" in why_not(tmp + "/a.weights")
        put(tmp, "b.weights", data)
        assert ".cfg" in why_not(tmp + "/b.weights")


RUN = """[net]
width=8
height=6
channels=3
[convolutional]
batch_normalize=1
filters=4
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=4
groups=2
size=1
activation=linear
[shortcut]
from=-2
activation=relu
[route]
layers=-1,0
[maxpool]
size=2
stride=2
[upsample]
stride=2
[route]
layers=-1
groups=2
group_id=1
[convolutional]
filters=6
size=1
activation=logistic
[yolo]
mask=0
classes=1
scale_x_y=1.5
"""


def conv(x, w, stride=1, pad=0, groups=1):
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    k, step = w.shape[2], x.shape[1] // groups
    oh, ow = ((n - k) // stride + 1 for n in x.shape[2:])
    y = np.zeros((len(x), len(w), oh, ow))
    for o in range(len(w)):
        part = x[:, o * groups // len(w) * step:][:, :step]
        for i in range(oh):
            for j in range(ow):
                at = part[:, :, i * stride:i * stride + k,
                          j * stride:j * stride + k]
                y[:, o, i, j] = (at * w[o]).sum((1, 2, 3))
    return y


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@case(mount=False)
def darknet_running():
    parts = [("bias", 4), ("scales", 4), ("mean", 4), ("variance", 4),
             ("w0", (4, 3, 3, 3)), ("b1", 4), ("w1", (4, 2, 1, 1)),
             ("b7", 6), ("w7", (6, 4, 1, 1))]
    p = {k: RNG.standard_normal(s).astype("f4") for k, s in parts}
    p["variance"] = np.abs(p["variance"]) + 1
    x = RNG.standard_normal((2, 3, 6, 8)).astype("f4")

    def each(name):
        return p[name][:, None, None]
    a = (conv(x, p["w0"], 2, 1) - each("mean")) / np.sqrt(each("variance"))
    a = a * each("scales") + each("bias")
    a = np.where(a > 0, a, 0.1 * a)
    b = np.maximum(conv(a, p["w1"], groups=2) + each("b1") + a, 0)
    c = np.pad(np.concatenate([b, a], 1), ((0, 0), (0, 0), (0, 1), (0, 1)),
               constant_values=-np.inf)
    c = np.stack([c[:, :, i:i + 3:2, j:j + 4:2] for i in (0, 1)
                  for j in (0, 1)]).max(0)
    d = sigmoid(conv(c.repeat(2, 2).repeat(2, 3)[:, 4:], p["w7"])
                + each("b7"))
    want = sigmoid(d)
    want[:, :2] = want[:, :2] * 1.5 - 0.25
    want[:, 2:4] = d[:, 2:4]
    with tempdir() as tmp:
        put(tmp, "a.cfg", RUN)
        put(tmp, "a.weights", struct.pack("<3iq", 0, 2, 5, 0) + b"".join(
            v.tobytes() for v in p.values()))
        np.save(tmp + "/x.npy", x)
        for layer, y in (("layer_0", a), ("layer_2", b), ("layer_7", d),
                         ("layer_8", want)):
            got = run("--in", "data=%s/x.npy" % tmp, "--cat", tmp + "/a.cfg",
                      "run/cli/values/%s.npy" % layer)
            assert got.returncode == 0, got.stderr
            got = np.load(io.BytesIO(got.stdout))
            same((layer, got.shape), (layer, y.shape))
            assert np.abs(got - y).max() < 1e-4, (layer, got - y)


@case(mount=False)
def darknet_that_is_damaged():
    for text in ("[net]\n[convolutional]\nfilters=-1\n",
                 "[net]\n[convolutional]\nfilters=99999999999\n",
                 "[net]\n[convolutional]\nsize=0\n",
                 "[net]\n[convolutional]\nstride=0\n",
                 "[net]\n[convolutional]\ngroups=0\n",
                 "[net]\n[convolutional]\ngroups=3\nfilters=3\n",
                 "[net]\nchannels=0\n[maxpool]\n",
                 "[net]\nwidth=99999999\n[maxpool]\n",
                 "[net]\n[route]\nlayers=0\n",
                 "[net]\n[route]\nlayers=-9223372036854775808\n",
                 "[net]\n[route]\nlayers=\n",
                 "[net]\n[shortcut]\nfrom=5\n",
                 "[net]\n[reorg]\nstride=0\n",
                 "[net]\n[upsample]\nstride=-9223372036854775808\n",
                 "[net]\n[connected]\noutput=0\n",
                 "[net]\n[no such layer]\n",
                 "[net]\n[\n", "[net]\n[]\n", "[net]\n", "[net]\nwidth\n",
                 "[net]\nwidth=16000000\nheight=16000000\nchannels=16000000\n"
                 "[connected]\noutput=16000000\n",
                 "[net]\n" + "[maxpool]\n" * 10001):
        with tempdir() as tmp:
            put(tmp, "a.cfg", text)
            why_not(tmp + "/a.cfg")


# ---- Core ML ----

def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def message(*fields):
    """(number, value): an int, bytes, text, or an array as packed floats."""
    out = b""
    for k, v in fields:
        if isinstance(v, int):
            out += varint(k << 3) + varint(v)
            continue
        if isinstance(v, np.ndarray):
            v = v.astype("f4").tobytes()
        v = v.encode() if isinstance(v, str) else v
        out += varint(k << 3 | 2) + varint(len(v)) + v
    return out


def packed(*numbers):
    return b"".join(map(varint, numbers))


def network(*layers):
    net = b"".join(message((1, x)) for x in layers)
    return message((1, 4), (2, message((100, message((3, "someone"))))),
                   (500, net))


def coreml_layer(name, kind, params):
    return message((1, name), (2, "x"), (3, "y"), (kind, params))


def quantised(values, bits, *decoding):
    flags = "".join(format(v, "0%db" % bits) for v in values)
    flags += "0" * (-len(flags) % 8)
    raw = bytes(int(flags[i:i + 8], 2) for i in range(0, len(flags), 8))
    return message((30, raw), (40, message((1, bits), *decoding)))


def coreml_arrays():
    return {k: RNG.standard_normal(s).astype("f4") for k, s in (
        ("conv/weights", (4, 2, 3, 1)), ("conv/bias", (4,)),
        ("a/dense/weights", (3, 4)), ("bn/gamma", (4,)), ("bn/mean", (4,)),
        ("l/inputGateWeightMatrix", (3, 4)),
        ("l/outputGateRecursionMatrix", (3, 3)),
        ("l/forgetGateBiasVector", (3,)))}


def coreml_file(w):
    lstm = message(*((n, message((1, w["l/" + k]))) for n, k in (
        (1, "inputGateWeightMatrix"), (23, "outputGateRecursionMatrix"),
        (41, "forgetGateBiasVector"))))
    return network(
        coreml_layer("conv", 100, message(
            (1, 4), (2, 2), (20, packed(3, 1)), (70, 1),
            (90, message((1, w["conv/weights"]))),
            (91, message((1, w["conv/bias"]))))),
        coreml_layer("a/dense", 140, message(
            (1, 4), (2, 3),
            (20, message((2, w["a/dense/weights"].astype("f2").tobytes()))))),
        coreml_layer("bn", 160, message(
            (1, 4), (15, message((1, w["bn/gamma"]))),
            (17, message((1, w["bn/mean"]))))),
        coreml_layer("l", 420, message((1, 4), (2, 3), (20, lstm))),
        coreml_layer("soft", 175, b""))


@case(mount=False)
def coreml_layers():
    w = coreml_arrays()
    with tempdir() as tmp:
        put(tmp, "m.mlmodel", coreml_file(w))
        for k, a in w.items():
            got = tensor(tmp + "/m.mlmodel", k)
            want = a.astype("f2") if k == "a/dense/weights" else a
            same((k, got.dtype, got.shape), (k, want.dtype, want.shape))
            assert (got == want).all(), k
        got = run("--cat", tmp + "/m.mlmodel", "config/author",
                  "model/soft/.module")
        same(got.stdout.splitlines()[:2], [b"someonetype\tsoftmax",
                                           b"input\tx"])


@case(mount=False)
def coreml_integers():
    for bits in range(1, 9):
        values = RNG.integers(0, 2 ** bits, 5000)
        table = RNG.standard_normal(2 ** bits)
        dense = [coreml_layer("d", 140, message((1, 1000), (2, 5), (20, w)))
                 for w in (quantised(values, bits, (102, message((1, table)))),
                           quantised(values, bits, (101, message(
                               (1, np.arange(5.)), (2, np.ones(5))))))]
        with tempdir() as tmp:
            put(tmp, "a.mlmodel", network(dense[0]))
            put(tmp, "b.mlmodel", network(dense[1]))
            for name in "ab":
                got = tensor("%s/%s.mlmodel" % (tmp, name), "d/weights")
                same((got.dtype.name, got.shape), ("uint8", (5, 1000)))
                assert (got.ravel() == values).all(), bits
            got = tensor(tmp + "/a.mlmodel", "d/weights.table")
            same(got.tolist(), table.astype("f4").tolist())
            got = tensor(tmp + "/b.mlmodel", "d/weights.scale")
            same(got.tolist(), list(range(5)))


@case(mount=False)
def coreml_running():
    w = {k: RNG.standard_normal(s).astype("f4") for k, s in (
        ("k", (4, 3, 3, 3)), ("slope", (4,)), ("d", (5, 36)), ("b", (5,)))}
    names = ["image", "a", "b", "c", "f", "d", "y"]
    kinds = [(100, message((1, 4), (2, 3), (20, packed(3, 3)),
                           (30, packed(2, 1)), (51, message((1, 0))),
                           (90, message((1, w["k"]))))),
             (130, message((25, message((1, message((1, w["slope"]))))))),
             (120, message((10, packed(2, 2)), (20, packed(1, 2)),
                           (30, b""))),
             (301, message((1, 1))),
             (140, message((1, 36), (2, 5), (20, message((2, w[
                 "d"].astype("f2").tobytes()))),
                 (21, message((1, w["b"]))))), (175, b"")]
    layers = b"".join(message((1, message(
        (1, "l" + names[i + 1]), (2, names[i]), (3, names[i + 1]), kind)))
        for i, kind in enumerate(kinds))
    scaler = message((2, message((10, b"\x55" + struct.pack("<f", 0.5)
                                  + b"\xa5\1" + struct.pack("<f", 1)
                                  + b"\xad\1" + struct.pack("<f", 2)
                                  + b"\xb5\1" + struct.pack("<f", 3)))))
    image = message((1, "image"), (3, message((4, message(
        (1, 6), (2, 8), (3, 20))))))
    data = message((1, 1), (2, message((1, image), (10, message(
        (1, "y"))))), (500, layers + scaler))
    x = RNG.standard_normal((2, 3, 8, 6)).astype("f4")
    v = x * 0.5 + np.array([3, 2, 1])[:, None, None]
    v = np.pad(v, ((0, 0), (0, 0), (0, 1), (1, 1)))
    a = np.stack([(np.lib.stride_tricks.sliding_window_view(
        v, (3, 3), (2, 3))[:, None, :, ::2] * k[:, None, None]).sum(
            (1, 2, 5, 6)) for k in w["k"]], 1)
    b = np.where(a > 0, a, a * w["slope"][:, None, None])
    c = np.maximum(b[:, :, :-1], b[:, :, 1:])
    c = np.maximum(c[..., ::2], c[..., 1::2])
    f = c.transpose(0, 2, 3, 1).reshape(2, -1)
    d = f @ w["d"].astype("f2").astype("f8").T + w["b"]
    want = np.exp(d - d.max(1, keepdims=True))
    want /= want.sum(1, keepdims=True)
    with tempdir() as tmp:
        put(tmp, "m.mlmodel", data)
        np.save(tmp + "/x.npy", x)
        for name, y in (("a", a), ("c", c), ("y", want[..., None, None])):
            got = run("--in", "image=%s/x.npy" % tmp, "--cat",
                      tmp + "/m.mlmodel", "run/cli/values/%s.npy" % name)
            assert got.returncode == 0, (name, got.stderr)
            got = np.load(io.BytesIO(got.stdout))
            same((name, got.shape), (name, y.shape))
            assert np.abs(got - y).max() < 1e-4, (name, got - y)


def program(*constants):
    """(name, type, shape, offset in the file)"""
    ops = b""
    for name, dtype, shape, off in constants:
        dims = [(3, message((1, message((1, d))))) for d in shape]
        value = message((2, message((1, message((1, dtype), (2, len(shape)),
                                                *dims)))),
                        (5, message((1, "@model_path/weights/weight.bin"),
                                    (2, off))))
        ops += message((3, message(
            (1, "const"), (3, message((1, name))),
            (5, message((1, "val"), (2, value))))))
    function = message((2, "CoreML7"), (3, message((1, "CoreML7"), (2, ops))))
    return message((1, 8), (2, message((11, "x"))), (502, message(
        (1, 1), (2, message((1, "main"), (2, function))))))


def package(tmp, text, weights):
    os.makedirs(tmp + "/m.mlpackage/Data/com.apple.CoreML/weights")
    put(tmp, "m.mlpackage/Manifest.json", json.dumps({
        "rootModelIdentifier": "A", "itemInfoEntries": {
            "A": {"path": "com.apple.CoreML/model.mlmodel"},
            "B": {"path": "com.apple.CoreML/weights"}}}))
    put(tmp, "m.mlpackage/Data/com.apple.CoreML/model.mlmodel", text)
    if weights:
        put(tmp, "m.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
            weights)
    return tmp + "/m.mlpackage"


def entry(code, data, off):
    return struct.pack("<2I2Q40x", 0xdeadbeef, code, len(data), off)


@case(mount=False)
def coreml_packages():
    a, b = RNG.standard_normal((2, 3)).astype("f2"), np.arange(5, dtype="i1")
    weights = (struct.pack("<2I56x", 2, 2) + entry(1, a.tobytes(), 128)
               + a.tobytes() + bytes(52) + entry(4, b.tobytes(), 256)
               + b.tobytes())
    text = program(("a_weight", 10, (2, 3), 64), ("b", 21, (5,), 192))
    with tempdir() as tmp:
        path = package(tmp, text, weights)
        for where in (path, path + "/Data/com.apple.CoreML/model.mlmodel"):
            got = tensor(where, "a_weight")
            same((got.dtype, got.tolist()), (a.dtype, a.tolist()))
            same(tensor(where, "b").tolist(), b.tolist())
    with tempdir() as tmp:
        path = package(tmp, text, None)
        same(run("--ls", path).returncode, 0)
        same(run("--cat", path, "model/b").returncode, 1)
    for constant in (("b", 21, (6,), 192), ("b", 21, (5,), 190),
                     ("b", 21, (5,), 2 ** 40), ("b", 10, (5,), 192)):
        with tempdir() as tmp:
            why_not(package(tmp, program(constant), weights))


@case(mount=False)
def coreml_that_is_damaged():
    w = coreml_arrays()
    whole = coreml_file(w)

    def conv(*fields):
        return network(coreml_layer("c", 100, message(*fields)))
    weight = message((1, np.ones(24)))
    for data in (
            conv((1, 4), (2, 3), (20, packed(3, 1)), (90, weight)),
            conv((1, 2 ** 63), (2, 2 ** 63), (90, weight)),
            conv((1, 4), (2, 2), (20, packed(3, 1)), (90, message(
                (1, b"abc")))),
            network(coreml_layer("d", 140, message((1, 4), (2, 3), (
                20, quantised([1] * 12, 9))))),
            network(coreml_layer("d", 140, message((1, 4), (2, 3), (
                20, quantised([1] * 30, 3))))),
            network(coreml_layer("b", 250, message((1, packed(*[1] * 40)), (
                2, weight)))),
            message((1, 4), (2, b""), (300, b""))):
        with tempdir() as tmp:
            put(tmp, "m.mlmodel", data)
            why_not(tmp + "/m.mlmodel")
    deep = network()
    for _ in range(60):
        deep = message((1, 4), (2, b""), (202, message((1, deep))))
    with tempdir() as tmp:
        put(tmp, "m.mlmodel", deep)
        why_not(tmp + "/m.mlmodel")
        for n in range(0, len(whole), 7):
            put(tmp, "m.mlmodel", whole[:n])
            assert run("--ls", tmp + "/m.mlmodel").returncode in (0, 1)


# ---- PaddlePaddle ----

PADDLE_TYPES = {"float32": 5, "int64": 3, "float16": 4, "int8": 21}


def lod_tensor(a, levels=()):
    desc = message((1, PADDLE_TYPES[a.dtype.name])) + b"".join(
        message((2, d)) for d in a.shape)
    lod = b"".join(struct.pack("<Q", 8 * len(v)) + struct.pack(
        "<%dQ" % len(v), *v) for v in levels)
    return struct.pack("<IQ", 0, len(levels)) + lod + struct.pack(
        "<Ii", 0, len(desc)) + desc + a.tobytes()


def paddle_program(names):
    def var(name, kind, kept, trained=True):
        return message((3, message((1, name), (2, message((1, kind))),
                                   (3, int(kept)), (5, int(trained)))))
    block = message((1, 0), (2, 2 ** 64 - 1)) + var("feed", 9, True)
    block += b"".join(var(n, 7, True, "bn" not in n) for n in names)
    return message((1, block + var("x", 7, False)), (4, message((1, 2005))))


def paddle_arrays():
    return {"conv.w_0": RNG.standard_normal((4, 3, 2, 2)).astype("f4"),
            "bn.w_1": RNG.standard_normal(4).astype("f2"),
            "a.b.w_0": np.arange(6).reshape(2, 3),
            "conv.b_0": np.ones(4, "i1")}


def joined(arrays):
    return b"".join(lod_tensor(arrays[k]) for k in sorted(arrays))


@case(mount=False)
def paddle_models():
    w = paddle_arrays()
    with tempdir() as tmp:
        put(tmp, "m.pdmodel", paddle_program(w))
        put(tmp, "m.pdiparams", joined(w))
        os.mkdir(tmp + "/old")
        put(tmp, "old/__model__", paddle_program(w))
        put(tmp, "old/__params__", joined(w))
        os.mkdir(tmp + "/each")
        put(tmp, "each/__model__", paddle_program(w))
        for k, a in w.items():
            put(tmp, "each/" + k, lod_tensor(a, [[0, 2, 4]]))
        for where in ("m.pdmodel", "m.pdiparams", "old", "each",
                      "old/__params__", "each/__model__"):
            for k, a in w.items():
                got = tensor(tmp + "/" + where, k)
                same((where, k, got.dtype, got.tolist()),
                     (where, k, a.dtype, a.tolist()))
        got = run("--cat", tmp + "/m.pdmodel", "model/bn/.module").stdout
        assert b"kind.w_1\tbuffer" in got, got


@case(mount=False)
def paddle_without_names():
    w = paddle_arrays()
    with tempdir() as tmp:
        put(tmp, "a.pdiparams", joined(w))
        same(tensor(tmp + "/a.pdiparams", "tensor_0").tolist(),
             w["a.b.w_0"].tolist())
        put(tmp, "a.pdmodel", paddle_program(list(w)[:2]))
        same(tensor(tmp + "/a.pdiparams", "tensor_3").tolist(),
             w["conv.w_0"].tolist())
        put(tmp, "fc.w_0", lod_tensor(w["conv.w_0"]))
        same(tensor(tmp + "/fc.w_0", "fc.w_0").tolist(),
             w["conv.w_0"].tolist())


@case(mount=False)
def paddle_that_is_damaged():
    good = lod_tensor(np.ones((2, 3), "f4"))

    def desc(*fields):
        d = message(*fields)
        return struct.pack("<IQIi", 0, 0, 0, len(d)) + d + bytes(24)
    for data in (good[:-1], good + good[:30], good + b"x" * 40,
                 desc((1, 5), (2, 2 ** 63)), desc((1, 5), (2, 2 ** 64 - 2)),
                 desc((1, 5), (2, 2 ** 32), (2, 2 ** 32), (2, 2 ** 32)),
                 desc((1, 99), (2, 6)), desc((1, 5), *[(2, 1)] * 40),
                 struct.pack("<IQIi", 0, 0, 0, 8191) + b"\x08\5" + bytes(99)):
        with tempdir() as tmp:
            put(tmp, "m.pdiparams", data)
            why_not(tmp + "/m.pdiparams")
            os.rename(tmp + "/m.pdiparams", tmp + "/w")
            put(tmp, "__model__", paddle_program(["w"]))
            why_not(tmp)
    with tempdir() as tmp:
        for name in ("w", "../w", "/etc/passwd", "a" * 300):
            put(tmp, "__model__", paddle_program([name]))
            why_not(tmp)


class Named:
    """Pickled as PaddlePaddle does it: tuple((name, array))"""

    def __init__(self, array):
        self.array = array

    def __reduce__(self):
        return tuple, (("linear_0.w_0", self.array),)


@case(mount=False)
def paddle_checkpoints():
    """What paddle.save writes is a pickle."""
    w = RNG.standard_normal((2, 3)).astype("f4")
    state = {"layer.0.weight": w, "layer.1.weight": Named(w),
             "StructuredToParameterName@@": {"layer.0.weight": "linear.w_0"}}
    for protocol in (2, 4):
        with tempdir() as tmp:
            put(tmp, "m.pdparams", pickle.dumps(state, protocol))
            for i in "01":
                got = tensor(tmp + "/m.pdparams", "layer.%s.weight" % i)
                same(got.tolist(), w.tolist())


if __name__ == "__main__":
    main()
