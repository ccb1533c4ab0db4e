# SPDX-License-Identifier: MIT
"""TensorFlow graphs: each operator against numpy."""
import io

import numpy as np

from e2e import case, main, run, same, tempdir
from tf_recipe import Graph, numbers


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
