# SPDX-License-Identifier: MIT
"""Weights that are larger than the memory there is: the same bits."""
import os
import sys

import numpy as np

from e2e import TOP, case, main, run, same, short, tempdir
from onnx_recipe import BOOL, F32, I64, graph, model, node, tensor

sys.path.insert(0, os.path.join(TOP, "tests", "golden"))
import ggml  # noqa: E402

F16, U8, I8 = 10, 2, 3
AMPLE = "256M"


def random(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(
        shape, "<f4") / 16


def f32(name, a):
    return tensor(name, F32, a.shape, a.astype("<f4").tobytes())


def f16(name, a):
    return tensor(name, F16, a.shape, a.astype("<f2").tobytes())


def compute(path, budget, x, level, names=("x", "y")):
    with tempdir() as tmp:
        np.save(tmp + "/x.npy", x)
        env = dict(os.environ, MODELFS_CPU=level) if level else None
        return run("-m", budget, "--in", "%s=%s/x.npy" % (names[0], tmp),
                   "--cat", path, "run/cli/out/%s.npy" % names[1], env=env)


def check(data, budget, *inputs, levels=(None,), names=("x", "y")):
    """The same file whatever the budget."""
    with tempdir() as tmp:
        path = tmp + "/model"
        with open(path, "wb") as f:
            f.write(data)
        for x in inputs:
            for level in levels:
                few, many = (compute(path, b, x, level, names)
                             for b in (budget, AMPLE))
                same((few.returncode, few.stderr), (0, b""))
                same(short(few.stdout), short(many.stdout),
                     "%s, %s" % (x.shape, level))


def dense(weights, nodes, k, opset=13):
    return model(nodes, [("x", F32, ["N", k])], ["y"], weights, opset=opset)


@case(mount=False)
def products_at_every_level():
    """In rows and in columns; few rows of x take another way than many."""
    w = random(500, 3001)
    rows = np.concatenate([w] * 4, 1)
    for name, at in ("MatMul", {}), ("Gemm", {}), ("Gemm", {"transB": 1}):
        for weight, budget, inputs in [(w, "3M", [4, 40]),
                                       (rows, "12M", [1, 3])]:
            data = dense([f32("w", weight.T if at else weight),
                          f32("b", random(weight.shape[1]))],
                         [node(name, ["x", "w"] + ["b"] * (name == "Gemm"),
                               ["y"], **at)], 500)
            check(data, budget, *[random(n, 500) for n in inputs],
                  levels=("portable", "avx2", "avx512"))


@case(mount=False)
def what_follows_a_product_is_done_with_it():
    w = random(400, 2000)
    data = dense([f32("w", w), f32("b", random(2000)), f32("c", random(2000))],
                 [node("MatMul", ["x", "w"], ["p"]),
                  node("Add", ["p", "b"], ["s"]),
                  node("Relu", ["s"], ["r"]),
                  node("Mul", ["r", "c"], ["y"])], 400)
    check(data, "2M", random(3, 400), random(25, 400))


@case(mount=False)
def stacks_of_matrices():
    w = random(6, 200, 900)
    data = model([node("MatMul", ["x", "w"], ["y"])],
                 [("x", F32, [6, "N", 200])], ["y"], [f32("w", w)])
    check(data, "2M", random(6, 5, 200))


@case(mount=False)
def weights_in_16_bits():
    w = random(600, 2000)
    data = model([node("MatMul", ["x", "w"], ["y"])],
                 [("x", F16, ["N", 600])], ["y"], [f16("w", w)])
    check(data, "2M", random(1, 600).astype("<f2"),
          random(20, 600).astype("<f2"))


def between(steps, weights, stored, inputs, k):
    """A product with what these nodes make of weight w."""
    out = "w"
    nodes = []
    for i, (op, more, at) in enumerate(steps):
        nodes.append(node(op, [out] + more, ["t%d" % i], name="t%d" % i, **at))
        out = "t%d" % i
    nodes.append(node("MatMul", ["x", out], ["y"]))
    data = dense([stored] + weights, nodes, k)
    check(data, "2M", *[x for x in inputs if len(x) >= 4])
    check(data, "16M", *inputs)


@case(mount=False)
def turned_widened_and_scaled_weights():
    """None of them is made as a whole: each would be 12 MB at least."""
    k, n = 1100, 2800
    w = random(k, n)
    small = np.round(w * 100).clip(-127, 127).astype("i1")
    turn = ("Transpose", [], {"perm": [1, 0]})
    widen = ("Cast", [], {"to": F32})
    scales = [f32("s", random(n)), tensor("z", I8, [n], bytes(range(40)) * 70)]
    inputs = [random(1, k), random(12, k)]
    i8 = tensor("w", I8, [k, n], small.tobytes())
    i8t = tensor("w", I8, [n, k], np.ascontiguousarray(small.T).tobytes())
    one = [f32("s", np.array([0.25])), tensor("z", I8, [1], b"\3")]
    dequantize = "DequantizeLinear", ["s", "z"]
    between([turn], [], f32("w", np.ascontiguousarray(w.T)), inputs, k)
    between([("Identity", [], {}), turn, turn, turn], [],
            f32("w", np.ascontiguousarray(w.T)), inputs, k)
    between([widen], [], f16("w", w), inputs, k)
    between([widen, turn], [], f16("w", np.ascontiguousarray(w.T)), inputs, k)
    between([turn, widen], [], f16("w", np.ascontiguousarray(w.T)), inputs, k)
    between([(*dequantize, {"axis": 1})], scales, i8, inputs, k)
    between([(*dequantize, {"axis": 0}), turn], scales, i8t, inputs, k)
    between([turn, (*dequantize, {"axis": 1})], scales, i8t, inputs, k)
    between([(*dequantize, {}), turn], one, i8t, inputs, k)
    between([("Reshape", ["shape"], {})],
            [tensor("shape", I64, [2], [k, n])],
            f32("w", w.reshape(-1)), inputs, k)


@case(mount=False)
def a_table_that_is_also_the_last_weight():
    """As in GPT-2: rows of it are read, and it is turned for the product."""
    table = random(9000, 300)
    data = model([node("Gather", ["table", "x"], ["rows"]),
                  node("Transpose", ["table"], ["t"], perm=[1, 0]),
                  node("MatMul", ["rows", "t"], ["y"])],
                 [("x", I64, ["N"])], ["y"], [f32("table", table)])
    check(data, "3M", np.array([5, 8999, 0, 17], "<i8"))
    check(data, "12M", np.array([8999], "<i8"))


@case(mount=False)
def convolutions_at_every_level():
    """Windows of every way there is, in a chain that adds and limits."""
    cin, cout = 200, 250
    for kernel, side, stride, dtype in [(3, 11, 1, F32), (3, 24, 1, F16),
                                        (3, 9, 2, F32), (1, 12, 1, F32),
                                        (5, 4, 1, F32), (3, 2, 1, F32)]:
        keep = f32 if dtype == F32 else f16
        at = {"pads": [kernel // 2] * 4}
        data = model(
            [node("Conv", ["x", "a", "b"], ["p"], name="first",
                  strides=[stride] * 2, **at),
             node("Relu", ["p"], ["r"]),
             node("Conv", ["r", "c"], ["q"], name="second", **at),
             node("Add", ["q", "r"], ["s"]),
             node("Relu", ["s"], ["y"], name="last")],
            [("x", dtype, ["N", cin, side, side])], ["y"],
            [keep("a", random(cout, cin, kernel, kernel)),
             keep("b", random(cout)),
             keep("c", random(cout, cout, kernel, kernel))])
        x = random(2, cin, side, side)
        check(data, "10M" if side > 20 else "3M" if kernel > 1 else "1M",
              x if dtype == F32 else x.astype("<f2"),
              levels=("portable", "avx2", "avx512"))


@case(mount=False)
def a_matrix_that_is_turned_and_then_another():
    w = random(700, 1200)
    nodes = [node("Transpose", ["w"], ["t"], perm=[1, 0]),
             node("Reshape", ["t", "shape"], ["r"]),
             node("MatMul", ["x", "r"], ["y"])]
    data = dense([f32("w", w), tensor("shape", I64, [2], [600, 1400])], nodes,
                 600)
    check(data, "2M", random(5, 600))


@case(mount=False)
def integers():
    """Their products take eight times the memory of the weights, and more."""
    k, n = 300, 1500
    rng = np.random.default_rng(4)
    w = rng.integers(-128, 128, (k, n), "i1")
    zero = tensor("z", I8, [n], rng.integers(-9, 9, n, "i1").tobytes())
    for nodes, weight in [
            ([], tensor("w", I8, [k, n], w.tobytes())),
            ([node("Transpose", ["t"], ["w"], perm=[1, 0])],
             tensor("t", I8, [n, k], w.T.tobytes()))]:
        for zeros in [], ["", "z"]:
            data = model(
                nodes + [node("MatMulInteger", ["x", "w"] + zeros, ["y"])],
                [("x", U8, ["N", k])], ["y"], [weight, zero])
            check(data, "1500K", rng.integers(0, 255, (1, k), "u1"),
                  rng.integers(0, 255, (9, k), "u1"))


@case(mount=False)
def branches_and_loops():
    """Four weights of 1.4 MB in either branch, and one in a loop."""
    n = 600
    weights = [f32("w%d" % i, random(n, n) + np.float32(i / 1e3))
               for i in range(4)]

    def branch(order, body=()):
        names = ["x"] + ["%s%d" % (order[0], i) for i in order]
        return graph([node("MatMul", [names[i], "w%d" % w], [names[i + 1]],
                           name="%s%d" % (order, i))
                      for i, w in enumerate(order)], outputs=[names[-1]],
                     tensors=body)

    body = graph([node("MatMul", ["v", "w0"], ["m"], name="m"),
                  node("Add", ["m", "inner"], ["u"], name="u"),
                  node("Identity", ["go"], ["on"], name="on")],
                 [("i", I64, []), ("go", BOOL, []), ("v", F32, ["N", n])],
                 ["on", "u"], [f32("inner", random(1, n))])
    data = model(
        [node("ReduceSum", ["x"], ["sum"], keepdims=0),
         node("Greater", ["sum", "null"], ["cond"]),
         node("If", ["cond"], ["b"], then_branch=branch([0, 1, 2, 3]),
              else_branch=branch([3, 2, 1, 0])),
         node("Loop", ["three", "", "b"], ["l"], body=body),
         node("If", ["cond"], ["t"], name="pick",
              then_branch=graph([], outputs=["w1"]),
              else_branch=graph([], outputs=["w2"])),
         node("MatMul", ["l", "t"], ["y"], name="last")],
        [("x", F32, ["N", n])], ["y"],
        weights + [tensor("null", F32, [], [0.0]),
                   tensor("three", I64, [], [3])], opset=13)
    x = np.abs(random(6, n))
    check(data, "2200K", x, -x)


@case(mount=False)
def projections_of_an_attention():
    d = 400
    data = model([node("Attention", ["x", "w", "b"], ["y"], num_heads=8,
                       domain="com.microsoft")],
                 [("x", F32, [1, "N", d])], ["y"],
                 [f32("w", random(d, 3 * d)), f32("b", random(3 * d))])
    check(data, "1500K", random(1, 40, d))


def llama(d=256, hidden=512, tokens=3000):
    """A model without a graph of its own, in blocks of 8 bits."""
    rng = np.random.default_rng(8)
    w = ggml.Writer()
    w.key("general.architecture", ggml.STRING, "llama")
    for name, v in {"block_count": 2, "attention.head_count": 8,
                    "attention.head_count_kv": 2}.items():
        w.key("llama." + name, ggml.U32, v)
    w.key("llama.attention.layer_norm_rms_epsilon", ggml.F32, 1e-5)

    def matrix(name, rows, cols):
        blocks = rng.integers(0, 256, (rows * cols // 32, 34), "u1")
        blocks[:, :2] = np.array([0.001], "<f2").view("u1")
        w.tensor(name, ggml.TYPES["Q8_0"][0], (cols, rows), blocks.tobytes())

    matrix("token_embd.weight", tokens, d)
    matrix("output.weight", tokens, d)
    w.array("output_norm.weight", np.ones(d, "f4"), "F32")
    for i in range(2):
        for norm in "attn_norm", "ffn_norm":
            w.array("blk.%d.%s.weight" % (i, norm), np.ones(d, "f4"), "F32")
        for name, rows, cols in [
                ("attn_q", d, d), ("attn_k", d // 4, d), ("attn_v", d // 4, d),
                ("attn_output", d, d), ("ffn_gate", hidden, d),
                ("ffn_up", hidden, d), ("ffn_down", d, hidden)]:
            matrix("blk.%d.%s.weight" % (i, name), rows, cols)
    return w.bytes()


@case(mount=False)
def a_llama_in_blocks():
    """The table alone would be 3 MB as floats."""
    check(llama(), "800K", np.array([7], "<i8"),
          np.array([5, 2999, 0, 17, 31, 8], "<i8"),
          names=("tokens", "logits"))


@case(mount=False)
def an_activation_that_does_not_fit_is_named():
    with tempdir() as tmp:
        with open(tmp + "/model", "wb") as f:
            f.write(llama())
        r = compute(tmp + "/model", "50K", np.arange(40), None,
                    ("tokens", "logits"))
        same((r.returncode, r.stdout), (1, b""))
        for word in b"node ", b" bytes; of the budget of 51200, ":
            assert word in r.stderr, r.stderr


@case(mount=False)
def a_chain_of_layers():
    """12 MB of weights: none is kept for the next run, and none is missed."""
    n = 700
    nodes, weights = [], []
    for i in range(6):
        weights.append(f32("w%d" % i, random(n, n) + np.float32(i / 1e3)))
        nodes.append(node("MatMul", ["v%d" % i if i else "x", "w%d" % i],
                          ["v%d" % (i + 1) if i < 5 else "y"], name="n%d" % i))
    check(dense(weights, nodes, n), "1M", random(4, n), random(9, n))


if __name__ == "__main__":
    main()
