# SPDX-License-Identifier: MIT
"""Operators as users meet them: ONNX's cases through a mount, and numbers."""
import errno
import io
import os
import re
import struct

import numpy as np

from e2e import (Skip, case, fails_with, main, mounted, read, same, tempdir,
                 text, write)
from onnx_recipe import (F32, I64, STRING, blob, graph, model, node, number,
                         tensor)

CASES = "/usr/share/libonnx-testdata/data/node"
# One case of so many; the library's test runs them all.
STEP = 23
F64 = 11
TYPES = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8",
         9: "?", 10: "<f2", 11: "<f8", 12: "<u4", 13: "<u8"}


def fields(data):
    """(number, value) of a message: integers, or bytes."""
    at = 0

    def varint():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at += 1
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                return n
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            size = varint() if key & 7 == 2 else 8 if key & 7 == 1 else 4
            yield key >> 3, data[at:at + size]
            at += size


def tensor_of(data):
    """A TensorProto with raw data, as an array; None for any other."""
    dims, dtype, raw = [], None, None
    for key, value in fields(data):
        if key == 1 and isinstance(value, int):
            dims.append(value)
        elif key == 2:
            dtype = TYPES.get(value)
        elif key == 9:
            raw = value
    if dtype is None or raw is None:
        return None
    return np.frombuffer(raw, dtype).reshape(dims)


def outputs_of(onnx):
    for key, value in fields(onnx):
        if key == 7:
            return [dict(fields(v))[1].decode()
                    for k, v in fields(value) if k == 12]
    return []


def npy(a):
    f = io.BytesIO()
    np.save(f, a)
    return f.getvalue()


def load(*parts):
    return np.load(io.BytesIO(read(*parts)))


def near(got, want, tolerance):
    same(got.shape, want.shape)
    same(got.dtype, want.dtype)
    if want.dtype.kind == "f":
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    else:
        assert (got == want).all()


def check_case(mnt, name):
    """The outputs that could be compared."""
    folder = os.path.join(CASES, name, "test_data_set_0")
    run = os.path.join(mnt, name, "run", "r")
    os.mkdir(run)
    for i in range(64):
        path = os.path.join(folder, "input_%d.pb" % i)
        if not os.path.exists(path):
            break
        same(write(os.path.join(run, "in", "input_%d.pb" % i), read(path)), 0,
             name + ": ")
    names = outputs_of(read(CASES, name, "model.onnx"))
    compared = 0
    for i, out in enumerate(names):
        want = tensor_of(read(folder, "output_%d.pb" % i))
        if want is None or not re.fullmatch(r"\w+", out):
            continue
        got = load(run, "out", out + ".npy")
        same(text(run, "out", out + ".shape").split(),
             [str(n) for n in want.shape], name + ": ")
        near(got, want, 2e-3 if want.dtype == "f2" else 1e-3)
        compared += 1
    return compared


@case
def cases_of_onnx_through_a_mount():
    if not os.path.isdir(CASES):
        raise Skip("libonnx-testdata is not installed")
    odd = re.compile("bfloat|BFLOAT|float16|FLOAT16|random|bernoulli|"
                     "training|gradient|adam|sequence|optional")
    names = [n for n in sorted(os.listdir(CASES)) if not odd.search(n)]
    names = names[::STEP]
    sources = ["%s=%s" % (n, os.path.join(CASES, n, "model.onnx"))
               for n in names]
    compared = 0
    with mounted(*sources) as mnt:
        for n in names:
            compared += check_case(mnt, n)
    assert compared > len(names) // 2, (compared, len(names))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run_of(data, **inputs):
    """What a model makes of its inputs; a context."""
    class Context:
        def __enter__(self):
            self.dir = tempdir()
            path = os.path.join(self.dir.__enter__(), "m.onnx")
            with open(path, "wb") as f:
                f.write(data)
            self.mount = mounted(path)
            run = os.path.join(self.mount.__enter__(), "run", "r")
            os.mkdir(run)
            for name, a in inputs.items():
                same(write(os.path.join(run, "in", name + ".npy"), npy(a)), 0)
            return run

        def __exit__(self, *args):
            self.mount.__exit__(*args)
            self.dir.__exit__(*args)
    return Context()


@case
def recurrence_in_float64_is_computed_in_float64():
    rng = np.random.default_rng(7)
    t, b, width, n = 4, 2, 3, 5
    x, w = rng.standard_normal((t, b, width)), rng.standard_normal((1, 4 * n, width))
    r, bias = rng.standard_normal((1, 4 * n, n)), rng.standard_normal((1, 8 * n))
    h, c = np.zeros((b, n)), np.zeros((b, n))
    for step in x:
        g = step @ w[0].T + h @ r[0].T + bias[0, :4 * n] + bias[0, 4 * n:]
        i, o, f, z = np.split(g, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
        h = sigmoid(o) * np.tanh(c)
    lstm = model([node("LSTM", ["x", "w", "r", "b"], ["", "h", "c"],
                       hidden_size=n)],
                 [("x", F64, [t, b, width]), ("w", F64, [1, 4 * n, width]),
                  ("r", F64, [1, 4 * n, n]), ("b", F64, [1, 8 * n])],
                 ["h", "c"])
    with run_of(lstm, x=x, w=w, r=r, b=bias) as run:
        near(load(run, "out/h.npy"), h[None], 1e-13)
        near(load(run, "out/c.npy"), c[None], 1e-13)


@case
def attention_in_float64_is_computed_in_float64():
    rng = np.random.default_rng(8)
    q, k, v = (rng.standard_normal((1, 2, n, 8)) for n in (3, 5, 5))
    s = q @ k.transpose(0, 1, 3, 2) / np.sqrt(8)
    p = np.exp(s - s.max(-1, keepdims=True))
    want = p / p.sum(-1, keepdims=True) @ v
    m = model([node("Attention", ["q", "k", "v"], ["y"])],
              [(n, F64, [1, 2, a.shape[2], 8])
               for n, a in (("q", q), ("k", k), ("v", v))], ["y"], opset=23)
    with run_of(m, q=q, k=k, v=v) as run:
        near(load(run, "out/y.npy"), want, 1e-13)


def sparse(name, dims, values, indices, width=None):
    """A SparseTensorProto; width: numbers of an index, None: flat."""
    n = len(values)
    shape = [n] if width is None else [n, width]
    return (blob(1, tensor(name, F32, [n], values)) +
            blob(2, tensor("", I64, shape, indices)) +
            b"".join(number(3, d) for d in dims))


def sparse_model(s, dims):
    g = graph([node("Identity", ["s"], ["y"]), node("Neg", ["y"], ["z"])], [],
              ["z"])
    return (number(1, 8) + blob(7, g + blob(15, s)) +
            blob(8, blob(1, "") + number(2, 17)))


@case
def sparse_initializers_run():
    want = np.zeros((3, 4), "f4")
    want[0, 1], want[2, 3] = 5, 7
    flat = sparse("s", [3, 4], [5.0, 7.0], [1, 11])
    pairs = sparse("s", [3, 4], [7.0, 5.0], [2, 3, 0, 1], 2)
    for s in (flat, pairs):
        with run_of(sparse_model(s, [3, 4])) as run:
            near(load(run, "out/z.npy"), -want, 0)
    outside = sparse("s", [3, 4], [5.0, 7.0], [1, 12])
    with run_of(sparse_model(outside, [3, 4])) as run:
        fails_with(errno.EIO, read, run, "out/z.npy")


@case
def patterns_match_whole_strings():
    m = model([node("RegexFullMatch", ["x"], ["y"],
                    pattern=r"(?i)[a-c]+(x{2,3}|\d\b)?$")],
              [("x", STRING, ["N"])], ["y"], opset=20)
    words = ["abc", "ABCxx", "abxxxx", "c7", "7", ""]
    with run_of(m, x=np.array(words)) as run:
        same(load(run, "out/y.npy").tolist(),
             [bool(re.fullmatch(r"(?i)[a-c]+(x{2,3}|\d\b)?$", w))
              for w in words])
    bad = model([node("RegexFullMatch", ["x"], ["y"], pattern="a**")],
                [("x", STRING, ["N"])], ["y"], opset=20)
    with run_of(bad, x=np.array(words)) as run:
        fails_with(errno.EIO, read, run, "out/y.npy")
        assert "repetition" in text(run, "status")


if __name__ == "__main__":
    main()
