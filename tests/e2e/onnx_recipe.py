# SPDX-License-Identifier: MIT
"""
onnx_recipe - ONNX files written by hand, good or bad on purpose.

	model([node("Relu", ["x"], ["y"])], inputs=[("x", F32, [2])],
	      outputs=["y"])

Field numbers are those of onnx.proto.
"""
import struct

F32, I64, STRING, BOOL = 1, 7, 8, 9

ML = "ai.onnx.ml"


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, n):
    return varint(field << 3) + varint(n)


def blob(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name, dtype, dims, data):
    """data: bytes, or numbers of the type."""
    if not isinstance(data, bytes):
        code = {F32: "f", I64: "q", BOOL: "?"}[dtype]
        data = struct.pack("<%d%s" % (len(data), code), *data)
    return (b"".join(number(1, d) for d in dims) + number(2, dtype) +
            blob(8, name) + blob(9, data))


def attribute(name, value):
    out = blob(1, name)
    if isinstance(value, float):
        return out + varint(2 << 3 | 5) + struct.pack("<f", value) + \
            number(20, 1)
    if isinstance(value, int):
        return out + number(3, value) + number(20, 2)
    if isinstance(value, str):
        return out + blob(4, value) + number(20, 3)
    if isinstance(value, Graph):
        return out + blob(6, value) + number(20, 5)
    if value and isinstance(value[0], str):
        return out + b"".join(blob(9, v) for v in value) + number(20, 8)
    return out + b"".join(number(8, v) for v in value) + number(20, 7)


class Graph(bytes):
    """A graph as an attribute."""


def node(op, inputs, outputs, name=None, domain="", **attributes):
    return (b"".join(blob(1, i) for i in inputs) +
            b"".join(blob(2, o) for o in outputs) +
            blob(3, op.lower() if name is None else name) + blob(4, op) +
            b"".join(blob(5, attribute(k, v))
                     for k, v in attributes.items()) + blob(7, domain))


def value_info(name, dtype, dims):
    if isinstance(dims, bytes):
        return blob(1, name) + blob(2, dims)
    shape = b"".join(blob(1, blob(2, d) if isinstance(d, str)
                          else number(1, d)) for d in dims)
    return blob(1, name) + blob(2, blob(1, number(1, dtype) +
                                        blob(2, shape)))


def sequence_of(dtype):
    """A type, in the place of extents: ("x", F32, sequence_of(F32))."""
    return blob(4, blob(1, blob(1, number(1, dtype))))


def map_of(key, dtype):
    return blob(5, number(1, key) + blob(2, blob(1, number(1, dtype))))


def graph(nodes, inputs=(), outputs=(), tensors=()):
    return Graph(b"".join(blob(1, n) for n in nodes) + blob(2, "g") +
                 b"".join(blob(5, t) for t in tensors) +
                 b"".join(blob(11, value_info(*i)) for i in inputs) +
                 b"".join(blob(12, blob(1, o)) for o in outputs))


def model(nodes, inputs=(), outputs=(), tensors=(), opset=17):
    return (number(1, 8) + blob(7, graph(nodes, inputs, outputs, tensors)) +
            blob(8, blob(1, "") + number(2, opset)) +
            blob(8, blob(1, ML) + number(2, 3)))


def endless():
    """y is x doubled, over and over."""
    body = graph([node("Identity", ["go"], ["again"]),
                  node("Add", ["v", "v"], ["w"])],
                 [("i", I64, []), ("go", BOOL, []), ("v", F32, [1])],
                 ["again", "w"])
    return model([node("Loop", ["n", "go0", "x"], ["y"], body=body)],
                 [("x", F32, [1])], ["y"],
                 [tensor("n", I64, [], [(1 << 63) - 1]),
                  tensor("go0", BOOL, [], [True])])
