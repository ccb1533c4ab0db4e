# SPDX-License-Identifier: MIT
"""TensorFlow graphs, written as JSON (TensorFlow.js) and as text (.pbtxt),
and what each of their values must be; checkpoints, byte by byte."""
import base64
import io
import json
import os
import struct

import numpy as np

from e2e import run, same, tempdir

RNG = np.random.default_rng(7)
TYPES = {"float32": ("DT_FLOAT", "float_val"), "int32": ("DT_INT32", "int_val"),
         "int64": ("DT_INT64", "int64_val"), "bool": ("DT_BOOL", "bool_val")}
FLOAT, INT, BOOL = ({"type": t} for t in ("DT_FLOAT", "DT_INT32", "DT_BOOL"))


def numbers(*shape):
    return RNG.standard_normal(shape).astype("f4")


class Nodes:
    """Nodes of a graph or of a function."""

    def __init__(self):
        self.nodes, self.weights = [], {}

    def node(self, name, op, inputs, **attrs):
        self.nodes.append((name, op, inputs, attrs))
        return name

    def const(self, name, value):
        value = np.asarray(value)
        if value.dtype == np.int64:
            value = value.astype("i4")
        if value.dtype == np.float64:
            value = value.astype("f4")
        self.weights[name] = value
        return self.node(name, "Const", [],
                         dtype={"type": TYPES[value.dtype.name][0]},
                         value={"tensor": value})


class Function(Nodes):
    """A function: names and types of arguments; results, by node."""

    def __init__(self, name, args, results=()):
        super().__init__()
        self.name, self.args, self.results = name, args, list(results)

    def give(self, *refs, types=None):
        types = types or ["DT_FLOAT"] * len(refs)
        self.results = list(zip(refs, types))
        return self

    def json(self, graph):
        return {"signature": {
            "name": self.name,
            "inputArg": [{"name": a, "type": t} for a, t in self.args],
            "outputArg": [{"name": "r%d" % i, "type": t}
                          for i, (_, t) in enumerate(self.results)]},
            "nodeDef": graph.json_nodes(self.nodes),
            "ret": {"r%d" % i: r for i, (r, _) in enumerate(self.results)}}

    def text(self, graph):
        out = ['library { function { signature { name: "%s"' % self.name]
        for a, t in self.args:
            out.append('input_arg { name: "%s" type: %s }' % (a, t))
        for i, (_, t) in enumerate(self.results):
            out.append('output_arg { name: "r%d" type: %s }' % (i, t))
        out.append("}\n" + graph.text_nodes(self.nodes, "node_def"))
        for i, (r, _) in enumerate(self.results):
            out.append('ret { key: "r%d" value: "%s" }' % (i, r))
        return "\n".join(out) + "\n} }\n"


class Graph(Nodes):
    """A whole graph; `x` is the input."""

    def __init__(self, *shape, dtype="DT_FLOAT"):
        super().__init__()
        self.functions = []
        self.node("x", "Placeholder", [], dtype={"type": dtype},
                  shape={"shape": list(shape)})

    def function(self, name, *args):
        """Arguments: "name:DT_TYPE"."""
        self.functions.append(Function(name, [a.split(":") for a in args]))
        return self.functions[-1]

    def all_weights(self):
        out = dict(self.weights)
        for f in self.functions:
            out.update(f.weights)
        return out

    # ---- JSON ----

    def json_attr(self, attr):
        (kind, v), = attr.items()
        if kind == "s":
            return {"s": base64.b64encode(v.encode()).decode()}
        if kind == "i":
            return {"i": str(v)}
        if kind == "shape":
            return {"shape": {"dim": [{"size": str(d)} for d in v]}}
        if kind == "tensor":
            return {"tensor": {"dtype": TYPES[v.dtype.name][0],
                               "tensorShape": {"dim": [{"size": str(d)}
                                                       for d in v.shape]}}}
        if kind == "ints":
            return {"list": {"i": [str(i) for i in v]}}
        if kind == "types":
            return {"list": {"type": v}}
        if kind == "func":
            return {"func": {"name": v}}
        if kind == "funcs":
            return {"list": {"func": [{"name": f} for f in v]}}
        if kind == "texts":
            return {"list": {"s": [base64.b64encode(t.encode()).decode()
                                   for t in v]}}
        return {kind: v}

    def json_nodes(self, nodes):
        return [{"name": n, "op": op, "input": inputs,
                 "attr": {k: self.json_attr(a) for k, a in attrs.items()}}
                for n, op, inputs, attrs in nodes]

    def write_js(self, folder):
        weights = self.all_weights()
        with open(folder + "/w.bin", "wb") as f:
            f.write(b"".join(w.tobytes() for w in weights.values()))
        specs = [{"name": n, "shape": list(w.shape), "dtype": w.dtype.name}
                 for n, w in weights.items()]
        topology = {"node": self.json_nodes(self.nodes)}
        if self.functions:
            topology["library"] = {"function": [f.json(self)
                                                for f in self.functions]}
        with open(folder + "/model.json", "w") as f:
            json.dump({"format": "graph-model",
                       "modelTopology": topology,
                       "weightsManifest": [{"paths": ["w.bin"],
                                            "weights": specs}]}, f)

    # ---- text ----

    @staticmethod
    def text_attr(attr):
        (kind, v), = attr.items()
        if kind == "s":
            return 's: "%s"' % v
        if kind == "shape":
            return "shape { %s }" % " ".join("dim { size: %d }" % d
                                             for d in v)
        if kind == "tensor":
            dtype, field = TYPES[v.dtype.name]
            return "tensor < dtype: %s tensor_shape { %s } %s >" % (
                dtype, " ".join("dim { size: %d }" % d for d in v.shape),
                " ".join("%s: %s" % (field, str(e).lower())
                         for e in v.reshape(-1)))
        if kind == "ints":
            return "list { i: [%s] }" % ", ".join(str(i) for i in v)
        if kind == "types":
            return "list { type: [%s] }" % ", ".join(v)
        if kind == "func":
            return 'func { name: "%s" }' % v
        if kind == "funcs":
            return "list { %s }" % " ".join('func { name: "%s" }' % f
                                            for f in v)
        if kind == "texts":
            return "list { %s }" % " ".join('s: "%s"' % t for t in v)
        return "%s: %s" % (kind, str(v).lower() if kind == "b" else v)

    def text_nodes(self, nodes, field):
        out = []
        for name, op, inputs, attrs in nodes:
            out.append('%s {\n  name: "%s"\n  op: \'%s\'' % (field, name, op))
            out += ['  input: "%s" ""' % i for i in inputs]
            out += ['  attr { key: "%s" value { %s } }' % (
                k, self.text_attr(a)) for k, a in attrs.items()]
            out.append("}")
        return "\n".join(out) + "\n"

    def write_text(self, path):
        with open(path, "w") as f:
            f.write("# a graph\n" + self.text_nodes(self.nodes, "node"))
            for function in self.functions:
                f.write(function.text(self))

    def check(self, x, out, want):
        """Both forms compute it."""
        self.checks(x, {out: want})

    def checks(self, x, wants):
        with tempdir() as tmp:
            self.write_js(tmp)
            os.mkdir(tmp + "/text")
            self.write_text(tmp + "/text/graph.pbtxt")
            np.save(tmp + "/x.npy", x)
            for source in (tmp, tmp + "/text/graph.pbtxt"):
                got = run("--in", "x=%s/x.npy" % tmp, "--cat", source,
                          *("run/cli/values/%s.npy" % out for out in wants))
                assert got.returncode == 0, (list(wants), got.stderr)
                stream = io.BytesIO(got.stdout)
                for out, want in wants.items():
                    compare(np.load(stream), np.asarray(want), out)


def compare(got, want, what):
    same(got.shape, want.shape, what)
    same(got.dtype.kind, want.dtype.kind, what)
    if want.size:
        error = np.abs(got.astype("c16") - want).max()
        assert error < 1e-5, (what, error, got, want)


# ---- checkpoints ----

CRC = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
    CRC.append(n)


def masked(data):
    c = 0xffffffff
    for byte in data:
        c = CRC[(c ^ byte) & 255] ^ c >> 8
    c ^= 0xffffffff
    return ((c >> 15 | c << 17) + 0xa282ead8) & 0xffffffff


def varint(v):
    v &= (1 << 64) - 1
    out = b""
    while v >= 128:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def field(number, value):
    """A number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def entry(key, value, shared=0):
    return (varint(shared) + varint(len(key)) + varint(len(value)) + key +
            value)


def block(body, kind=0, restarts=1):
    body += bytes(4 * min(restarts, 4)) + struct.pack("<I", restarts)
    body += bytes([kind])
    return body + struct.pack("<I", masked(body))


def table(body, kind=0, restarts=1, handle=None):
    """One block of entries; handle: of that, for its index."""
    data = block(body, kind, restarts)
    size = len(data) - 5
    index = block(entry(b"\xff", handle or varint(0) + varint(size)))
    foot = varint(0) * 2 + varint(len(data)) + varint(len(index) - 5)
    return (data + index + foot.ljust(40, b"\0") +
            struct.pack("<Q", 0xdb4775248b80fb57))


def shape(*dims):
    return b"".join(field(2, field(1, d)) for d in dims)


def bundle_entry(dtype, dims, offset, size, slices=()):
    return (field(1, dtype) + field(2, shape(*dims)) + field(4, offset) +
            field(5, size) + b"".join(field(7, s) for s in slices))
