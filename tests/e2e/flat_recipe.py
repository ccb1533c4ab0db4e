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
    """A model of one subgraph; tensors are known by their numbers."""

    def __init__(self):
        self.f = Flat()
        self.buffers, self.tensors = [np.zeros(0, "i1")], []
        self.operators, self.codes = [], []

    def tensor(self, name, shape, dtype="float32", data=None, scale=None,
               zero=0, axis=0, variable=False):
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
        self.tensors.append(lambda: f.table(fields))
        return len(self.tensors) - 1

    def const(self, name, data, **kw):
        data = np.asarray(data)
        if data.dtype == np.int64 and "keep" not in kw:
            data = data.astype("i4")
        kw.pop("keep", None)
        return self.tensor(name, data.shape, data.dtype.name, data, **kw)

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

    def write(self, path, inputs, outputs):
        f = self.f

        def table(fields):
            return lambda: f.table(fields)
        graph = table({0: f.tables(self.tensors), 1: f.vector("i", inputs),
                       2: f.vector("i", outputs),
                       3: f.tables(self.operators), 4: f.text("main")})
        codes = [table({0: ("b", min(c, 127)), 2: ("i", 1), 3: ("i", c)})
                 for c in self.codes]
        buffers = [table({0: f.vector("B", b.tobytes())} if b.size else {})
                   for b in self.buffers]
        root = f.table({0: ("I", 3), 1: f.tables(codes),
                        2: f.tables([graph]), 4: f.tables(buffers)})
        struct.pack_into("<I", f.data, 0, root)
        with open(path, "wb") as out:
            out.write(bytes(f.data))
