# SPDX-License-Identifier: MIT
"""flat_recipe - FlatBuffers, and small TensorFlow Lite models made of them.

Numbers of fields are those of tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""
import struct

import numpy as np


class Flat:
    """A FlatBuffer written front to back: children follow their table."""

    def __init__(self):
        self.data = bytearray(b"\0\0\0\0TFL3")
        self.fixes = []

    def table(self, fields):
        """fields: {id: (format, value) or a function that writes a child}"""
        size = 4 + 8 * len(fields)
        last = max(fields, default=-1) + 1
        self.data += bytes(-len(self.data) % 4)
        vtable = len(self.data)
        self.data += struct.pack("<HH", 4 + 2 * last, size)
        for i in range(last):
            order = sorted(fields)
            at = 4 + 8 * order.index(i) if i in fields else 0
            self.data += struct.pack("<H", at)
        self.data += bytes(-len(self.data) % 4)
        pos = len(self.data)
        self.data += bytes(size)
        struct.pack_into("<i", self.data, pos, pos - vtable)
        for k, i in enumerate(sorted(fields)):
            at, value = pos + 4 + 8 * k, fields[i]
            if callable(value):
                self.child(at, value)
            else:
                struct.pack_into("<" + value[0], self.data, at, value[1])
        return pos

    def child(self, at, write):
        struct.pack_into("<I", self.data, at, write() - at)

    def vector(self, form, values):
        def write():
            self.data += bytes(-len(self.data) % 4)
            pos = len(self.data)
            self.data += struct.pack("<I%d%s" % (len(values), form),
                                     len(values), *values)
            return pos
        return write

    def text(self, s):
        return self.vector("B", s.encode())

    def tables(self, writers):
        def write():
            self.data += bytes(-len(self.data) % 4)
            pos = len(self.data)
            self.data += struct.pack("<I", len(writers)) + bytes(
                4 * len(writers))
            for i, w in enumerate(writers):
                self.child(pos + 4 + 4 * i, w)
            return pos
        return write


TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "bool": 6,
         "int16": 7, "int8": 9}


class Lite:
    """A model; tensors are known by their numbers in their subgraph."""

    def __init__(self):
        self.f = Flat()
        self.buffers, self.tensors = [np.zeros(0, "i1")], []
        self.operators, self.codes, self.graphs = [], [], []

    def end(self, name, inputs, outputs):
        """The subgraph is done; what comes now is the next one's."""
        f = self.f
        made = {0: f.tables(self.tensors), 1: f.vector("i", inputs),
                2: f.vector("i", outputs), 3: f.tables(self.operators),
                4: f.text(name)}
        self.graphs.append(lambda: f.table(made))
        self.tensors, self.operators = [], []

    def tensor(self, name, shape, dtype="float32", data=None, scale=None,
               zero=0, axis=0, variable=False, sparsity=None):
        f, buffer = self.f, 0
        if data is not None:
            buffer = len(self.buffers)
            self.buffers.append(np.ascontiguousarray(data))
        fields = {0: f.vector("i", list(shape)), 1: ("b", TYPES[dtype]),
                  2: ("I", buffer), 3: f.text(name)}
        if scale is not None:
            scales = np.atleast_1d(scale)
            zeros = np.broadcast_to(zero, scales.shape)
            q = {2: f.vector("f", [float(v) for v in scales]),
                 3: f.vector("q", [int(v) for v in zeros]),
                 6: ("i", axis)}
            fields[4] = lambda: f.table(q)
        if variable:
            fields[5] = ("b", 1)
        if sparsity:
            fields[6] = sparsity
        self.tensors.append(lambda: f.table(fields))
        return len(self.tensors) - 1

    def const(self, name, data, **kw):
        data = np.asarray(data)
        if data.dtype == np.int64 and "keep" not in kw:
            data = data.astype("i4")
        kw.pop("keep", None)
        return self.tensor(name, data.shape, data.dtype.name, data, **kw)

    def sparse(self, name, dense, order, compressed, blocks=(), form="i",
               change=lambda what, numbers: numbers):
        """A constant without its zeros.  order: extents as they are walked,
        those behind the tensor's own are blocks; compressed: which of them
        have lists of indices; blocks: (extent, size); form: of the lists;
        change: what to write instead."""
        f, rank, sizes = self.f, dense.ndim, dict(blocks)
        split = []
        for d in range(rank):
            split += [dense.shape[d] // sizes.get(d, 1), sizes.get(d, 1)]
        parts = dense.reshape(split)
        whole = [2 * d for d in range(rank)] + [2 * d + 1 for d, _ in blocks]
        rest = [2 * d + 1 for d in range(rank) if d not in sizes]
        walk = parts.transpose([whole[d] for d in order] + rest)
        walk = walk.reshape(walk.shape[:len(order)])
        levels, rows = [], [()]
        for i in range(len(order)):
            if i not in compressed:
                extent = change("extent", [walk.shape[i]])[0]
                levels.append({0: ("b", 0), 1: ("i", extent)})
                rows = [r + (k,) for r in rows for k in range(walk.shape[i])]
                continue
            starts, places, below = [0], [], []
            for r in rows:
                here = [k for k in range(walk.shape[i])
                        if np.any(walk[r + (k,)])]
                below += [r + (k,) for k in here]
                places += here
                starts.append(len(places))
            levels.append({
                0: ("b", 1), **self.list(2, change("starts", starts), form),
                **self.list(4, change("places", places), form)})
            rows = below
        split = [d for d, _ in blocks]
        made = {0: f.vector("i", change("order", order)),
                1: f.vector("i", change("blocks", split)),
                2: f.tables([lambda x=x: f.table(x) for x in levels])}
        return self.tensor(name, dense.shape, dense.dtype.name,
                           np.array([walk[r] for r in rows], dense.dtype),
                           sparsity=lambda: f.table(made))

    def list(self, field, numbers, form):
        f = self.f
        table = {0: f.vector(form, numbers)}
        return {field: ("b", {"i": 1, "H": 2, "B": 3}[form]),
                field + 1: lambda: f.table(table)}

    def op(self, code, inputs, outputs, **options):
        """options: field0=("b", 1), ..."""
        f = self.f
        if code not in self.codes:
            self.codes.append(code)
        fields = {0: ("I", self.codes.index(code)),
                  1: f.vector("i", inputs), 2: f.vector("i", outputs)}
        if options:
            made = {int(k[5:]): v for k, v in options.items()}
            fields[3] = ("B", 1)
            fields[4] = lambda: f.table(made)
        self.operators.append(lambda: f.table(fields))

    def custom(self, name, inputs, outputs, options=b""):
        f = self.f
        self.codes.append(name)
        fields = {0: ("I", len(self.codes) - 1), 1: f.vector("i", inputs),
                  2: f.vector("i", outputs), 5: f.vector("B", options)}
        self.operators.append(lambda: f.table(fields))

    def write(self, path, inputs, outputs):
        f = self.f

        def table(fields):
            return lambda: f.table(fields)
        if self.tensors:
            self.end("main", inputs, outputs)
        codes = [table({0: ("b", 32), 1: f.text(c), 2: ("i", 1)})
                 if isinstance(c, str) else
                 table({0: ("b", min(c, 127)), 2: ("i", 1), 3: ("i", c)})
                 for c in self.codes]
        buffers = [table({0: f.vector("B", b.tobytes())} if b.size else {})
                   for b in self.buffers]
        root = f.table({0: ("I", 3), 1: f.tables(codes),
                        2: f.tables(self.graphs), 4: f.tables(buffers)})
        struct.pack_into("<I", f.data, 0, root)
        with open(path, "wb") as out:
            out.write(bytes(f.data))
