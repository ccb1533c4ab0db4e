# SPDX-License-Identifier: MIT
"""TensorFlow graphs: each operator against numpy."""
import io
import json
import math
import os
import struct

import numpy as np

from e2e import case, main, run, same, tempdir
from tf_recipe import (RNG, Graph, bundle_entry, entry, field, masked, numbers,
                       table, varint)


@case(mount=False)
def parts_of_an_array():
    x = numbers(4, 5, 3)
    g = Graph(4, 5, 3)
    three = [g.const("b", [1, 0, -1]), g.const("e", [4, 3, 0]),
             g.const("s", [2, 1, 1])]
    g.node("part", "StridedSlice", ["x"] + three, begin_mask={"i": 2},
           end_mask={"i": 2}, shrink_axis_mask={"i": 4})
    g.check(x, "part", x[1:4:2, :, -1])
    g.node("back", "StridedSlice",
           ["x", g.const("b1", [-1]), g.const("e1", [0]),
            g.const("s1", [-1])], end_mask={"i": 1})
    g.check(x, "back", x[::-1])
    g.node("slice", "Slice", ["x", g.const("sb", [1, 0, 1]),
                              g.const("ss", [2, -1, 1])])
    g.check(x, "slice", x[1:3, :, 1:2])
    g.node("unpacked", "Unpack", ["x"], axis={"i": 2}, num={"i": 3})
    g.node("sum", "AddV2", ["unpacked", "unpacked:2"])
    g.check(x, "sum", x[:, :, 0] + x[:, :, 2])
    g.node("parts", "SplitV", ["x", g.const("sizes", [1, 4]),
                               g.const("axis", 1)])
    g.node("second", "Identity", ["parts:1"])
    g.check(x, "second", x[:, 1:])


@case(mount=False)
def filling_and_counting():
    x = numbers(2, 3)
    g = Graph(2, 3)
    g.node("fill", "Fill", [g.const("dims", [2, 2]), g.const("v", 1.5)])
    g.check(x, "fill", np.full((2, 2), 1.5, "f4"))
    g.node("tile", "Tile", ["x", g.const("times", [1, 2])])
    g.check(x, "tile", np.tile(x, (1, 2)))
    g.node("range", "Range", [g.const("r0", 1), g.const("r1", 8),
                              g.const("r2", 3)])
    g.check(x, "range", np.array([1, 4, 7], "i4"))
    g.node("rank", "Rank", ["x"])
    g.check(x, "rank", np.int32(2))
    g.node("size", "Size", ["x"], out_type={"type": "DT_INT32"})
    g.check(x, "size", np.int32(6))
    g.node("ones", "OnesLike", ["x"], T={"type": "DT_FLOAT"})
    g.check(x, "ones", np.ones((2, 3), "f4"))
    g.node("hot", "OneHot", [g.const("i", [0, -1, 2]), g.const("d", 3),
                             g.const("on", 2.0), g.const("off", -1.0)])
    want = np.full((3, 3), -1, "f4")
    want[0, 0] = want[2, 2] = 2
    g.check(x, "hot", want)
    g.node("top", "TopKV2", ["x", g.const("k", 2)])
    g.node("which", "Identity", ["top:1"])
    g.check(x, "top", -np.sort(-x)[:, :2])
    g.check(x, "which", np.argsort(-x)[:, :2].astype("i4"))
    g.node("least", "ArgMin", ["x", g.const("one", 1)],
           output_type={"type": "DT_INT32"})
    g.check(x, "least", x.argmin(1).astype("i4"))


@case(mount=False)
def whole_numbers_are_divided_downwards():
    x = np.array([-7, 7, -8, 8], "i4")
    g = Graph(4, dtype="DT_INT32")
    g.const("y", [2, -2, 3, -3])
    g.node("div", "FloorDiv", ["x", "y"], T={"type": "DT_INT32"})
    g.node("mod", "FloorMod", ["x", "y"], T={"type": "DT_INT32"})
    y = np.array([2, -2, 3, -3], "i4")
    g.check(x, "div", x // y)
    g.check(x, "mod", x % y)


@case(mount=False)
def truth_along_axes():
    x = numbers(3, 4)
    g = Graph(3, 4)
    g.node("less", "Less", ["x", g.const("zero", 0.0)])
    g.node("all", "All", ["less", g.const("a", [1])])
    g.node("any", "Any", ["less", "a"], keep_dims={"b": True})
    g.check(x, "all", (x < 0).all(1))
    g.check(x, "any", (x < 0).any(1, keepdims=True))


@case(mount=False)
def fused_by_an_optimiser():
    x, k, b = numbers(1, 4, 4, 2), numbers(1, 1, 2, 3), numbers(3)
    g = Graph(1, 4, 4, 2)
    g.node("conv", "_FusedConv2D", ["x", g.const("k", k), g.const("b", b)],
           strides={"ints": [1, 2, 2, 1]}, padding={"s": "SAME"},
           data_format={"s": "NHWC"}, fused_ops={"texts": ["BiasAdd",
                                                           "Relu6"]})
    want = np.einsum("nhwc,co->nhwo", x[:, ::2, ::2], k[0, 0]) + b
    g.check(x, "conv", np.clip(want, 0, 6))
    g.node("flat", "Reshape", ["conv", g.const("shape", [1, -1])])
    w, c = numbers(12, 2), numbers(2)
    g.node("dense", "_FusedMatMul", ["flat", g.const("w", w),
                                     g.const("c", c)],
           fused_ops={"texts": ["BiasAdd"]})
    g.check(x, "dense", np.clip(want, 0, 6).reshape(1, -1) @ w + c)


# ---- images ----

def conv(x, k, stride=1, before=(0, 0), after=(0, 0)):
    """x: n h w c, k: h w c o."""
    x = np.pad(x, ((0, 0), (before[0], after[0]), (before[1], after[1]),
                   (0, 0)))
    h = (x.shape[1] - k.shape[0]) // stride + 1
    w = (x.shape[2] - k.shape[1]) // stride + 1
    out = np.zeros((x.shape[0], h, w, k.shape[3]))
    for i in range(h):
        for j in range(w):
            part = x[:, i * stride:i * stride + k.shape[0],
                     j * stride:j * stride + k.shape[1]]
            out[:, i, j] = np.einsum("nhwc,hwco->no", part, k)
    return out


def first(x):
    return np.moveaxis(x, -1, 1)


@case(mount=False)
def channels_first():
    x, k, b = numbers(2, 3, 5, 6), numbers(3, 3, 3, 4), numbers(4)
    d = numbers(2, 2, 3, 1)
    g = Graph(2, 3, 5, 6)
    nchw = {"data_format": {"s": "NCHW"}}
    one = {"strides": {"ints": [1, 1, 1, 1]}}
    two = {"strides": {"ints": [1, 1, 2, 2]}}
    g.node("conv", "Conv2D", ["x", g.const("k", k)], padding={"s": "SAME"},
           **one, **nchw)
    g.node("biased", "BiasAdd", ["conv", g.const("b", b)], **nchw)
    g.node("pads", "Conv2D", ["x", "k"], padding={"s": "EXPLICIT"},
           explicit_paddings={"ints": [0, 0, 0, 0, 1, 0, 2, 1]}, **two,
           **nchw)
    g.node("depth", "DepthwiseConv2dNative", ["x", g.const("d", d)],
           padding={"s": "VALID"}, **one, **nchw)
    g.node("pool", "MaxPool", ["x"], ksize={"ints": [1, 1, 2, 2]},
           padding={"s": "VALID"}, **two, **nchw)
    stats = [g.const(n, abs(numbers(3)) + .1) for n in ("s", "o", "m", "v")]
    g.node("norm", "FusedBatchNormV3", ["x"] + stats,
           epsilon={"f": 0.001}, is_training={"b": False}, **nchw)
    last = np.moveaxis(x, 1, -1)
    want = conv(last, k, 1, (1, 1), (1, 1))
    s, o, m, v = (g.weights[n] for n in ("s", "o", "m", "v"))
    pool = last[:, :4].reshape(2, 2, 2, 3, 2, 3).max((2, 4))
    wide = np.zeros((2, 2, 3, 3))
    wide[:, :, range(3), range(3)] = d[..., 0]
    g.checks(x, {"conv": first(want), "biased": first(want + b),
                 "pads": first(conv(last, k, 2, (1, 2), (0, 1))),
                 "depth": first(conv(last, wide)), "pool": first(pool),
                 "norm": first((last - m) / np.sqrt(v + .001) * s + o)})


@case(mount=False)
def convolutions_backwards():
    x, k = numbers(1, 3, 4, 2), numbers(3, 3, 5, 2)
    g = Graph(1, 3, 4, 2)
    g.const("k", k)
    two = {"strides": {"ints": [1, 2, 2, 1]}}
    for name, size, padding in (("same", (6, 8), "SAME"),
                                ("odd", (5, 7), "SAME"),
                                ("valid", (7, 9), "VALID")):
        g.node(name, "Conv2DBackpropInput",
               [g.const("size_" + name, [1, *size, 5]), "k", "x"],
               padding={"s": padding}, **two)
    g.node("shape", "Shape", ["x"])
    g.node("computed", "Mul", ["shape", g.const("times", [1, 2, 2, 1])])
    g.node("size", "AddV2", ["computed", g.const("plus", [0, 0, 0, 3])])
    g.node("guessed", "Conv2DBackpropInput", ["size", "k", "x"],
           padding={"s": "SAME"}, **two)
    whole = np.zeros((1, 7, 9, 5))
    for i in range(3):
        for j in range(4):
            whole[:, 2 * i:2 * i + 3, 2 * j:2 * j + 3] += np.einsum(
                "nc,hwoc->nhwo", x[:, i, j], k)
    g.checks(x, {"same": whole[:, :6, :8], "odd": whole[:, 1:6, 1:8],
                 "valid": whole, "guessed": whole[:, :6, :8]})


@case(mount=False)
def pictures_that_are_none():
    x = np.zeros((0, 4, 4, 8), "f4")
    g = Graph(0, 4, 4, 8)
    g.node("pool", "MaxPool", ["x"], ksize={"ints": [1, 2, 2, 1]},
           strides={"ints": [1, 2, 2, 1]}, padding={"s": "VALID"})
    g.node("conv", "Conv2D", ["x", g.const("k", numbers(3, 3, 8, 8))],
           strides={"ints": [1, 1, 1, 1]}, padding={"s": "SAME"})
    g.checks(x, {"pool": np.zeros((0, 2, 2, 8)), "conv": x})


@case(mount=False)
def convolutions_with_holes():
    """Blocks go to batches, are convolved there, and come back."""
    x, k = numbers(2, 5, 7, 2), numbers(2, 2, 2, 3)
    g = Graph(2, 5, 7, 2)
    g.node("apart", "SpaceToBatchND",
           ["x", g.const("block", [2, 3]), g.const("pads", [[1, 2], [0, 2]])])
    g.node("conv", "Conv2D", ["apart", g.const("k", k)],
           strides={"ints": [1, 1, 1, 1]}, padding={"s": "VALID"})
    g.node("back", "BatchToSpaceND", ["conv", "block",
                                      g.const("crops", [[0, 1], [0, 0]])])
    g.node("row", "SpaceToBatchND", ["x", g.const("seven", [7, 1]),
                                     g.const("more", [[9, 0], [0, 0]])])
    padded = np.pad(x, ((0, 0), (1, 2), (0, 2), (0, 0)))
    apart = padded.reshape(2, 4, 2, 3, 3, 2).transpose(2, 4, 0, 1, 3, 5)
    want = sum(padded[:, 2 * i:2 * i + 6, 3 * j:3 * j + 6] @ k[i, j]
               for i in range(2) for j in range(2))
    row = np.pad(x, ((0, 0), (9, 0), (0, 0), (0, 0)))
    row = row.reshape(2, 2, 7, 7, 2).transpose(2, 0, 1, 3, 4)
    g.checks(x, {"apart": apart.reshape(12, 4, 3, 2),
                 "back": want[:, :5], "row": row.reshape(14, 2, 7, 2)})


@case(mount=False)
def three_extents():
    x, k = numbers(1, 3, 4, 4, 2), numbers(1, 2, 2, 2, 3)
    g = Graph(1, 3, 4, 4, 2)
    ones = {"strides": {"ints": [1, 1, 1, 1, 1]}}
    g.node("conv", "Conv3D", ["x", g.const("k", k)], padding={"s": "VALID"},
           **ones)
    g.node("pool", "MaxPool3D", ["x"], ksize={"ints": [1, 1, 2, 2, 1]},
           strides={"ints": [1, 1, 2, 2, 1]}, padding={"s": "SAME"})
    g.checks(x, {"conv": conv(x[0], k[0])[None],
                 "pool": x.reshape(1, 3, 2, 2, 2, 2, 2).max((3, 5))})


@case(mount=False)
def other_sizes():
    x = numbers(1, 3, 4, 2)
    g = Graph(1, 3, 4, 2)
    g.const("size", [6, 6])

    def places(n, m, kind):
        i = np.arange(m)
        if kind == "corners":
            return i * (n - 1) / (m - 1)
        return (i + .5) * n / m - .5 if kind == "half" else i * n / m

    def linear(v, axis, m, kind):
        n = v.shape[axis]
        at = np.clip(places(n, m, kind), 0, n - 1)
        low = np.floor(at).astype(int)
        part = (at - low).reshape([-1 if a == axis else 1
                                   for a in range(v.ndim)])
        return (np.take(v, low, axis) * (1 - part) +
                np.take(v, np.minimum(low + 1, n - 1), axis) * part)

    def nearest(v, axis, m, kind):
        n = v.shape[axis]
        at = places(n, m, kind) + (.5 if kind == "half" else 0)
        at = np.floor(at + .5) if kind == "corners" else np.floor(at)
        return np.take(v, np.minimum(at.astype(int), n - 1), axis)

    wants = {}
    for kind in ("plain", "half", "corners"):
        attrs = {"half_pixel_centers": {"b": kind == "half"},
                 "align_corners": {"b": kind == "corners"}}
        for op, how in (("ResizeBilinear", linear),
                        ("ResizeNearestNeighbor", nearest)):
            g.node(op + kind, op, ["x", "size"], **attrs)
            wants[op + kind] = how(how(x, 1, 6, kind), 2, 6,
                                   kind).astype("f4")
    g.checks(x, wants)


@case(mount=False)
def extents_and_channels():
    x = numbers(1, 4, 6, 8)
    g = Graph(1, 4, 6, 8)
    g.node("deep", "SpaceToDepth", ["x"], block_size={"i": 2})
    g.node("wide", "DepthToSpace", ["x"], block_size={"i": 2})
    g.node("norm", "LRN", ["x"], depth_radius={"i": 2}, bias={"f": 1.0},
           alpha={"f": 0.5}, beta={"f": 0.75})
    deep = x.reshape(1, 2, 2, 3, 2, 8).transpose(0, 1, 3, 2, 4, 5)
    wide = x.reshape(1, 4, 6, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5)
    power = np.pad(x ** 2, ((0, 0),) * 3 + ((2, 2),))
    power = sum(power[..., i:i + 8] for i in range(5))
    g.checks(x, {"deep": deep.reshape(1, 2, 3, 32),
                 "wide": wide.reshape(1, 8, 12, 2),
                 "norm": x / (1 + .5 * power) ** .75})


# ---- the rest ----

@case(mount=False)
def parts_that_are_computed():
    x = numbers(4, 5, 3)
    g = Graph(4, 5, 3)
    g.const("one", 1)
    g.node("shape", "Shape", ["x"])
    g.node("half", "FloorDiv", ["shape", g.const("two", [2, 2, 2])],
           T={"type": "DT_INT32"})
    g.const("b", [1, 0, 0])
    g.const("s", [1, 1, 1])
    g.node("some", "StridedSlice", ["x", "half", "shape", "s"])
    g.node("dots", "StridedSlice",
           ["x", g.const("b2", [0, 0, 1]), g.const("e2", [0, 0, 2]), "s"],
           ellipsis_mask={"i": 1}, new_axis_mask={"i": 2},
           shrink_axis_mask={"i": 4})
    g.node("middle", "StridedSlice",
           ["x", g.const("b3", [-1, 0, 0]), g.const("e3", [0, 0, 2]), "s"],
           shrink_axis_mask={"i": 1}, ellipsis_mask={"i": 2})
    g.node("slice", "Slice", ["x", "half", g.const("size", [-1, 2, 1])])
    g.node("order", "Range", [g.const("from", 2), g.const("to", -1),
                              g.const("down", -1)])
    g.node("turned", "Transpose", ["x", "order"])
    g.node("axes", "Range", [g.const("a0", 0), g.const("a1", 2), "one"])
    g.node("mean", "Mean", ["x", "axes"])
    g.node("most", "Max", ["x", "axes"], keep_dims={"b": True})
    g.node("axis", "Sub", ["one", "one"], T={"type": "DT_INT32"})
    g.node("wide", "ExpandDims", ["x", "axis"])
    g.node("back", "ReverseV2", ["x", g.const("r", [0, -1])])
    g.node("first_of_split", "Split", ["one", "x"], num_split={"i": 5})
    g.node("first_of_unpack", "Unpack", ["x"], num={"i": 4}, axis={"i": 0})
    g.node("parts", "SplitV", ["x", g.const("sizes", [1, -1, 2]), "one"],
           num_split={"i": 3})
    g.node("rest", "Identity", ["parts:1"])
    g.node("inverse", "InvertPermutation", [g.const("p", [2, 0, 1])])
    g.node("band", "MatrixBandPart", ["x", g.const("low", 1),
                                      g.const("up", 0)])
    band = np.tril(x) - np.tril(x, -2)
    g.checks(x, {"some": x[2:, 2:, 1:], "dots": x[..., None, 1],
                 "middle": x[-1, :, :2], "slice": x[2:, 2:4, 1:2],
                 "turned": x.transpose(2, 1, 0), "mean": x.mean((0, 1)),
                 "most": x.max((0, 1), keepdims=True), "wide": x[None],
                 "back": x[::-1, :, ::-1], "first_of_split": x[:, :1],
                 "first_of_unpack": x[0], "band": band, "rest": x[:, 1:3],
                 "inverse": np.array([1, 2, 0], "i4")})


@case(mount=False)
def edges():
    x = numbers(3, 4)
    g = Graph(3, 4)
    g.const("by", [[1, 0], [2, 1]])
    g.node("zero", "Pad", ["x", "by"])
    g.node("value", "PadV2", ["x", "by", g.const("v", 1.5)])
    g.node("mirror", "MirrorPad", ["x", "by"], mode={"s": "REFLECT"})
    g.node("twice", "Mul", ["by", g.const("one", 1)])
    g.node("computed", "Pad", ["x", "twice"])
    by = ((1, 0), (2, 1))
    g.checks(x, {"zero": np.pad(x, by), "computed": np.pad(x, by),
                 "value": np.pad(x, by, constant_values=1.5),
                 "mirror": np.pad(x, by, mode="reflect")})


@case(mount=False)
def products_of_turned_matrices():
    x = numbers(2, 3, 4)
    y, z = numbers(2, 5, 4), numbers(2, 3, 5)
    g = Graph(2, 3, 4)
    g.node("y", "BatchMatMulV2", ["x", g.const("a", y)], adj_y={"b": True})
    g.node("z", "BatchMatMulV2", ["x", g.const("b", z)], adj_x={"b": True})
    g.checks(x, {"y": x @ y.swapaxes(1, 2), "z": x.swapaxes(1, 2) @ z})


@case(mount=False)
def places_and_elements():
    x = numbers(3, 4)
    g = Graph(3, 4)
    g.node("more", "Greater", ["x", g.const("nil", 0.0)])
    g.node("where", "Where", ["more"])
    g.const("at", [[0], [2], [0]])
    g.const("rows", numbers(3, 4))
    g.node("sums", "ScatterNd", ["at", "rows", g.const("shape", [4, 4])])
    for op in ("Update", "Add", "Max", "Min"):
        g.node(op, "TensorScatter" + op, ["x", g.const("i" + op, [[2], [0]]),
                                          g.const("v" + op, numbers(2, 4))])
    g.node("batch", "GatherV2", ["x", g.const("j", [[0, 3], [1, 1], [2, 0]]),
                                 g.const("axis", 1)], batch_dims={"i": 1})
    g.node("turned", "ReverseSequence", ["x", g.const("n", [1, 2, 4])],
           seq_dim={"i": 1}, batch_dim={"i": 0})
    w = g.weights
    sums = np.zeros((4, 4), "f4")
    np.add.at(sums, [0, 2, 0], w["rows"])
    wants = {"Update": x.copy(), "Add": x.copy(), "Max": x.copy(),
             "Min": x.copy()}
    wants["Update"][[2, 0]] = w["vUpdate"]
    wants["Add"][[2, 0]] += w["vAdd"]
    wants["Max"][[2, 0]] = np.maximum(x[[2, 0]], w["vMax"])
    wants["Min"][[2, 0]] = np.minimum(x[[2, 0]], w["vMin"])
    turned = x.copy()
    turned[1, :2] = x[1, :2][::-1]
    turned[2] = x[2, ::-1]
    g.checks(x, {"where": np.argwhere(x > 0), "sums": sums,
                 "batch": np.take_along_axis(x, w["j"], 1), "turned": turned,
                 **wants})


@case(mount=False)
def boxes_that_overlap():
    boxes = np.array([[0, 0, 1, 1], [0, .1, 1, 1.1], [0, 2, 1, 3],
                      [1, 3, 0, 2.05], [5, 5, 6, 6]], "f4")
    scores = np.array([.9, .75, .6, .95, .3], "f4")
    g = Graph(5, 4)
    for name, value in (("scores", scores), ("n", 4), ("iou", .5),
                        ("least", .5), ("soft", 0.0), ("two", 2)):
        g.const(name, value)
    g.node("v1", "NonMaxSuppression", ["x", "scores", "n"],
           iou_threshold={"f": .5})
    g.node("v2", "NonMaxSuppressionV2", ["x", "scores", "n", "iou"])
    g.node("v3", "NonMaxSuppressionV3", ["x", "scores", "two", "iou",
                                         "least"])
    for name, pads in (("v4", False), ("padded", True)):
        g.node(name, "NonMaxSuppressionV4", ["x", "scores", "n", "iou",
                                             "least"],
               pad_to_max_output_size={"b": pads})
        g.node(name + "_count", "Identity", [name + ":1"])
    g.node("v5", "NonMaxSuppressionV5", ["x", "scores", "n", "iou", "least",
                                         "soft"])
    g.node("v5_scores", "Identity", ["v5:1"])
    g.node("v5_count", "Identity", ["v5:2"])
    i = lambda *v: np.array(v, "i4")
    g.checks(boxes, {"v1": i(3, 0, 4), "v2": i(3, 0, 4), "v3": i(3, 0),
                     "v4": i(3, 0), "v4_count": np.int32(2),
                     "padded": i(3, 0, 0, 0), "padded_count": np.int32(2),
                     "v5": i(3, 0), "v5_scores": scores[[3, 0]],
                     "v5_count": np.int32(2)})


@case(mount=False)
def arithmetic():
    x = np.array([0, 1, -2, 3.5], "f4")
    g = Graph(4)
    y = np.array([0, 0, 4, -1], "f4")
    g.const("y", y)
    with np.errstate(all="ignore"):
        wants = {"DivNoNan": np.where(y == 0, 0, x / y),
                 "MulNoNan": np.where(y == 0, 0, x * y),
                 "Xdivy": np.where(x == 0, 0, x / np.where(y == 0, 1, y))}
    g.const("y1", np.where(y == 0, 1, y))
    for op in wants:
        g.node(op, op, ["x", "y1" if op == "Xdivy" else "y"])
    g.node("Xlogy", "Xlogy", ["x", g.const("z", [0, 1, 2, 3.0])])
    g.node("IsFinite", "IsFinite", ["Xlogy"])
    g.node("L2Loss", "L2Loss", ["x"])
    g.node("Mod", "Mod", ["x", g.const("m", [2, 2, 1.5, -2.0])])
    g.node("LinSpace", "LinSpace", [g.const("a", 1.0), g.const("b", 3.0),
                                    g.const("n", 5)])
    g.node("many", "IdentityN", ["x", "y"])
    g.node("second", "Identity", ["many:1"])
    g.node("or_else", "PlaceholderWithDefault", ["y"])
    g.node("IsInf", "IsInf", ["x"])
    g.node("any", "RandomUniform", [g.const("shape", [2, 3])],
           dtype={"type": "DT_FLOAT"})
    g.node("floor", "Floor", ["any"])
    g.checks(x, {**wants, "Xlogy": np.array([0, 0, -2 * np.log(2),
                                             3.5 * np.log(3)], "f4"),
                 "IsFinite": np.ones(4, bool), "IsInf": np.zeros(4, bool),
                 "L2Loss": (x * x).sum() / 2,
                 "Mod": np.fmod(x, [2, 2, 1.5, -2]).astype("f4"),
                 "LinSpace": np.linspace(1, 3, 5).astype("f4"),
                 "second": y, "or_else": y, "floor": np.zeros((2, 3), "f4")})


@case(mount=False)
def more_exact_than_put_together():
    x = np.array([1e-6, .5, 3, -.25], "f4")
    g = Graph(4)
    for op in ("Log1p", "Expm1", "Erfc", "Lgamma"):
        g.node(op, op, ["x"])
    g.node("Atan2", "Atan2", ["x", g.const("y", [-1.0, 2, 0, -3])])
    d = x.astype("f8")
    with tempdir() as tmp:
        g.write_text(tmp + "/g.pbtxt")
        np.save(tmp + "/x.npy", x)
        for op, want in (("Log1p", np.log1p(d)), ("Expm1", np.expm1(d)),
                         ("Erfc", [math.erfc(v) for v in d]),
                         ("Lgamma", [math.lgamma(v) for v in d]),
                         ("Atan2", np.arctan2(d, [-1, 2, 0, -3]))):
            got = run("--in", "x=%s/x.npy" % tmp, "--cat", tmp + "/g.pbtxt",
                      "run/cli/values/%s.npy" % op)
            got = np.load(io.BytesIO(got.stdout))
            assert np.allclose(got, want, rtol=2e-7, atol=0), (op, got, want)


@case(mount=False)
def chosen_by_rows():
    x = numbers(3, 2)
    g = Graph(3, 2)
    g.const("rows", [True, False, True])
    g.const("y", numbers(3, 2))
    g.node("by_rows", "Select", ["rows", "x", "y"])
    g.node("each", "Greater", ["x", "y"])
    g.node("by_each", "Select", ["each", "x", "y"])
    y = g.weights["y"]
    g.checks(x, {"by_rows": np.where([[1], [0], [1]], x, y),
                 "by_each": np.maximum(x, y)})


@case(mount=False)
def quantised_for_training():
    x = np.linspace(-2, 2, 24, dtype="f4").reshape(2, 4, 3)
    g = Graph(2, 4, 3)
    low, high = [-1.0, -.5, 0], [1.0, .7, 1.5]
    g.node("one", "FakeQuantWithMinMaxVars",
           ["x", g.const("l", -1.1), g.const("h", 0.9)], num_bits={"i": 8})
    g.node("args", "FakeQuantWithMinMaxArgs", ["x"], min={"f": -1.1},
           max={"f": 0.9}, num_bits={"i": 4}, narrow_range={"b": True})
    g.node("each", "FakeQuantWithMinMaxVarsPerChannel",
           ["x", g.const("low", low), g.const("high", high)],
           num_bits={"i": 8})

    def fake(v, lo, hi, bits=8, first=0):
        last = 2 ** bits - 1
        scale = np.float32((hi - lo) / (last - first))
        zero = np.clip(np.round(first - lo / scale), first, last)
        lo, hi = (first - zero) * scale, (last - zero) * scale
        return np.floor((np.clip(v, lo, hi) - lo) / scale + .5) * scale + lo

    g.checks(x, {"one": fake(x, -1.1, .9), "args": fake(x, -1.1, .9, 4, 1),
                 "each": np.stack([fake(x[..., i], low[i], high[i])
                                   for i in range(3)], -1)})


def wav(samples, rate, channels=1):
    data = samples.astype("<i2").tobytes()
    return (b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " +
            struct.pack("<IHHIIHH", 16, 1, channels, rate,
                        2 * channels * rate, 2 * channels, 16) +
            b"LIST" + struct.pack("<I", 3) + b"abc\0" +
            b"data" + struct.pack("<I", len(data)) + data)


def features(x, rate, window, stride, bands, count):
    """What speech_commands of TensorFlow is trained with."""
    points = 1 << (window - 1).bit_length()
    hann = .5 - .5 * np.cos(2 * np.pi * np.arange(window) / window)
    frames = np.stack([x[i:i + window] * hann for i in range(
        0, len(x) - window + 1, stride)])
    power = np.abs(np.fft.rfft(frames, points)) ** 2
    mel = lambda hz: 1127 * np.log1p(hz / 700)
    edges = np.linspace(mel(20), mel(4000), bands + 2)
    hz = np.arange(points // 2 + 1) * rate / points
    weights = np.zeros((len(hz), bands))
    for i in range(int(1.5 + 20 * points / rate),
                   int(4000 * points / rate) + 1):
        for b in range(bands):
            up = (mel(hz[i]) - edges[b]) / (edges[b + 1] - edges[b])
            down = (edges[b + 2] - mel(hz[i])) / (edges[b + 2] - edges[b + 1])
            weights[i, b] = max(0, min(up, down))
    log = np.log(np.maximum(np.sqrt(power) @ weights, 1e-12))
    angles = np.arange(count)[:, None] * (np.arange(bands) + .5)
    return power, np.sqrt(2 / bands) * log @ np.cos(np.pi / bands * angles).T


@case(mount=False)
def sound():
    """From the bytes of a file to what a speech model looks at."""
    samples = (np.sin(np.arange(4000) * .17) * 9000 +
               RNG.standard_normal(4000) * 300).astype("i2")
    g = Graph(dtype="DT_STRING")
    g.node("wav", "DecodeWav", ["x"], desired_channels={"i": 1},
           desired_samples={"i": 4096})
    g.node("rate", "Identity", ["wav:1"])
    g.node("power", "AudioSpectrogram", ["wav"], window_size={"i": 640},
           stride={"i": 320}, magnitude_squared={"b": True})
    g.node("mfcc", "Mfcc", ["power", "wav:1"],
           dct_coefficient_count={"i": 10})
    x = np.pad(samples / 32768, (0, 96)).astype("f4")
    power, mfcc = features(x, 16000, 640, 320, 40, 10)
    with tempdir() as tmp:
        g.write_text(tmp + "/g.pbtxt")
        with open(tmp + "/x.wav", "wb") as f:
            f.write(wav(samples, 16000))
        got = run("--in", "x=%s/x.wav" % tmp, "--cat", tmp + "/g.pbtxt",
                  *("run/cli/values/%s.npy" % v
                    for v in ("wav", "rate", "power", "mfcc")))
        assert got.returncode == 0, got.stderr
        stream = io.BytesIO(got.stdout)
        same(np.load(stream)[:, 0].tolist(), x.tolist())
        same(np.load(stream).item(), 16000)
        for want in (power, mfcc):
            value = np.load(stream)
            same(value.shape, (1,) + want.shape)
            assert np.allclose(value[0], want, rtol=1e-4, atol=1e-4)


@case(mount=False)
def sound_that_is_broken():
    whole = wav(np.arange(100), 8000)
    g = Graph(dtype="DT_STRING")
    g.node("wav", "DecodeWav", ["x"])
    g.node("rate", "Identity", ["wav:1"])
    g.node("power", "AudioSpectrogram", ["wav"], window_size={"i": 1 << 40},
           stride={"i": 1})
    with tempdir() as tmp:
        g.write_text(tmp + "/g.pbtxt")
        for bad in (b"", b"RIFF", whole[:20], whole[:44], whole[:80],
                    whole.replace(b"WAVE", b"wave"),
                    whole[:22] + b"\0\0" + whole[24:],
                    whole[:34] + b"\x08\0" + whole[36:],
                    whole[:16] + b"\xff\xff\xff\xff" + whole[20:]):
            with open(tmp + "/x.wav", "wb") as f:
                f.write(bad)
            got = run("--in", "x=%s/x.wav" % tmp, "--cat", tmp + "/g.pbtxt",
                      "run/cli/values/rate.npy")
            same((got.returncode, got.stdout), (1, b""), bad[:40])
        with open(tmp + "/x.wav", "wb") as f:
            f.write(whole)
        got = run("--in", "x=%s/x.wav" % tmp, "--cat", tmp + "/g.pbtxt",
                  "run/cli/values/power.npy")
        same((got.returncode, got.stdout), (1, b""))


# ---- SavedModels ----

def info(name, *dims):
    return 'name: "%s" dtype: DT_FLOAT tensor_shape { %s }' % (
        name, "".join("dim { size: %d } " % d for d in dims))


def write_saved(folder, graph, inputs, outputs):
    with open(folder + "/saved_model.pbtxt", "w") as f:
        f.write("saved_model_schema_version: 1 meta_graphs { meta_info_def { "
                'tags: "serve" } graph_def { %s } signature_def { '
                'key: "serving_default" value { ' % graph)
        for side, ends in (("inputs", inputs), ("outputs", outputs)):
            for key, text in ends.items():
                f.write('%s { key: "%s" value { %s } } ' % (side, key, text))
        f.write("} } }")


@case(mount=False)
def what_a_signature_tells():
    """Shapes that no node tells, and inputs that nothing reads."""
    graph = ('node { name: "a" op: "Placeholder" attr { key: "dtype" value { '
             'type: DT_FLOAT } } } node { name: "b" op: "Placeholder" } '
             'node { name: "y" op: "NobodyKnows" input: "a" }')
    with tempdir() as tmp:
        write_saved(tmp, graph, {"first": info("a:0", 2, -1),
                                 "second": info("b:0", 3)},
                    {"result": info("y:0", -1, 5)})
        got = run("--cat", tmp, "run/cli/in/a.shape", "run/cli/in/b.shape",
                  "run/cli/in/b.dtype", "config/signatures/serving_default")
        same(got.stdout.decode().splitlines(), [
            "2 ?", "3", "float32", "input\tfirst\ta:0\tfloat32\t2 ?",
            "input\tsecond\tb:0\tfloat32\t3",
            "output\tresult\ty:0\tfloat32\t? 5"])
        got = json.loads(run("--cat", tmp, "info.json").stdout)
        same(got["outputs"], [{"name": "y", "dtype": "float32",
                               "shape": ["?", 5]}])


@case(mount=False)
def variables_of_one_name():
    """The graph knows which of the two each node is."""
    keys = ["%s/.ATTRIBUTES/VARIABLE_VALUE" % k for k in "ab"]
    objects = b"".join(field(1, field(2, field(1, b"VARIABLE_VALUE") +
                                      field(2, b"cell/state") +
                                      field(3, k.encode()))) for k in keys)
    data = varint(len(objects)) + struct.pack(
        "<I", masked(struct.pack("<I", len(objects)))) + objects
    rows = entry(b"", field(1, 1)) + entry(
        b"_CHECKPOINTABLE_OBJECT_GRAPH", bundle_entry(7, [], 0, len(data)))
    for i, k in enumerate(keys):
        rows += entry(k.encode(), bundle_entry(1, [2], len(data) + 8 * i, 8))
    # In the graph they are the other way around.
    graph = ""
    for name, key in (("cell/state", 1), ("cell/state_1", 0)):
        graph += ('node { name: "%s" op: "VarHandleOp" attr { key: '
                  '"shared_name" value { s: "%s" } } } ' % (name, name))
        graph += ('node { name: "load%d" op: "Identity" input: "restore:%d" }'
                  'node { name: "set%d" op: "AssignVariableOp" input: "%s" '
                  'input: "load%d" } ' % (key, key, key, name, key))
    graph += ('node { name: "keys" op: "Const" attr { key: "value" value { '
              'tensor { dtype: DT_STRING tensor_shape { dim { size: 2 } } '
              'string_val: "%s" string_val: "%s" } } } } '
              'node { name: "restore" op: "RestoreV2" input: "file" '
              'input: "keys" input: "slices" } '
              'node { name: "x" op: "ReadVariableOp" input: "cell/state" } '
              'node { name: "y" op: "ReadVariableOp" input: "cell/state_1" }'
              % tuple(keys))
    with tempdir() as tmp:
        os.mkdir(tmp + "/variables")
        with open(tmp + "/variables/variables.index", "wb") as f:
            f.write(table(rows))
        with open(tmp + "/variables/variables.data-00000-of-00001",
                  "wb") as f:
            f.write(data + struct.pack("<4f", 1, 2, 3, 4))
        write_saved(tmp, graph, {}, {"x": info("x:0", 2),
                                     "y": info("y:0", 2)})
        got = run("--cat", tmp, "run/cli/out/x", "run/cli/out/y",
                  *("tensors/" + k for k in keys),
                  "model/cell/state", "model/cell/state%1")
        same(struct.unpack("<12f", got.stdout),
             (3, 4, 1, 2) + (1, 2, 3, 4) * 2, got.stderr)


@case(mount=False)
def texts_that_are_broken():
    bad = ['node {', 'node { name: "x', 'node { name: 7 }', "node { x: [1, ",
           'node { attr { value { i: "a" } } }', "node: }", "node { \x00 }",
           "node " + "{ a " * 300, 'node { op: "a\\', "node { attr: 1 }"]
    for text in bad:
        with tempdir() as tmp:
            with open(tmp + "/g.pbtxt", "w") as f:
                f.write(text)
            got = run("--ls", tmp + "/g.pbtxt")
            same(got.returncode, 1, text)
            assert b"line 1" in got.stderr, (text, got.stderr)


@case(mount=False)
def unknown_fields_of_a_text_are_passed_over():
    g = Graph(2)
    g.node("y", "Neg", ["x"])
    with tempdir() as tmp:
        path = tmp + "/g.pbtxt"
        g.write_text(path)
        with open(path, "a") as f:
            f.write("new_field { a: [1, 2] b { c: 'd' } } [other.ext]: 7;\n"
                    "versions { producer: 21 new: -inf }\n")
        np.save(tmp + "/x.npy", np.ones(2, "f4"))
        got = run("--in", "x=%s/x.npy" % tmp, "--cat", path,
                  "run/cli/out/y.npy")
        same(list(np.load(io.BytesIO(got.stdout))), [-1, -1])


if __name__ == "__main__":
    main()
