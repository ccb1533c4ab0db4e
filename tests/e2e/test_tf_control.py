# SPDX-License-Identifier: MIT
"""What TensorFlow's graphs choose and repeat: functions (If, Case, While), the
loops and branches of TensorFlow 1, lists of tensors, complex numbers."""
import numpy as np

from e2e import case, main, run, same, tempdir
from tf_recipe import BOOL, FLOAT, INT, Graph, numbers


def double_up(g):
    """cond and body of: while i < n: x = x * 2 + b; i += 1."""
    args = ("i:DT_INT32", "n:DT_INT32", "v:DT_FLOAT", "b:DT_FLOAT")
    cond = g.function("more", *args)
    cond.node("less", "Less", ["i", "n"], T=INT)
    cond.give("less:z:0", types=["DT_BOOL"])
    body = g.function("again", *args)
    body.const("one", 1)
    body.const("two", 2.0)
    body.node("next", "AddV2", ["i", "one:output:0"], T=INT)
    body.node("twice", "Mul", ["v", "two:output:0"], T=FLOAT)
    body.node("sum", "AddV2", ["twice:z:0", "b"], T=FLOAT)
    body.node("kept", "Identity", ["b"], T=FLOAT)
    body.give("next:z:0", "n", "sum:z:0", "kept:output:0",
              types=["DT_INT32", "DT_INT32", "DT_FLOAT", "DT_FLOAT"])
    return {"cond": {"func": "more"}, "body": {"func": "again"}}


@case(mount=False)
def a_function_again_and_again():
    x, b = numbers(2, 3), numbers(3)
    for op in ("While", "StatelessWhile"):
        g = Graph(2, 3)
        g.node("loop", op, [g.const("zero", 0), g.const("n", 3), "x",
                            g.const("b", b)], **double_up(g))
        g.node("y", "Identity", ["loop:2"])
        g.node("i", "Identity", ["loop"])
        g.node("same", "Identity", ["loop:3"])
        g.node("none", op, [g.const("four", 4), "n", "x", "b"],
               **double_up(g))
        g.node("as_it_was", "Identity", ["none:2"])
        g.functions = g.functions[:2]
        want = x
        for _ in range(3):
            want = want * 2 + b
        g.checks(x, {"y": want, "i": np.int32(3), "same": b,
                     "as_it_was": x})


@case(mount=False)
def loops_in_functions_in_loops():
    """The body of a loop calls a function with another loop in it."""
    x = numbers(2)
    g = Graph(2)
    attrs = double_up(g)
    call = g.function("call", "v:DT_FLOAT")
    call.const("from", 0)
    call.const("to", 2)
    call.const("one_more", 1.0)
    call.node("inner", "While", ["from:output:0", "to:output:0", "v",
                                 "one_more:output:0"], **attrs)
    call.give("inner:output:2")
    cond = g.function("outer_more", "i:DT_INT32", "v:DT_FLOAT")
    cond.const("limit", 2)
    cond.node("less_outer", "Less", ["i", "limit:output:0"], T=INT)
    cond.give("less_outer:z:0", types=["DT_BOOL"])
    body = g.function("outer_body", "i:DT_INT32", "v:DT_FLOAT")
    body.const("step", 1)
    body.node("i_next", "AddV2", ["i", "step:output:0"], T=INT)
    body.node("v_next", "PartitionedCall", ["v"], f={"func": "call"})
    body.give("i_next:z:0", "v_next:output:0",
              types=["DT_INT32", "DT_FLOAT"])
    g.node("loop", "While", [g.const("zero", 0), "x"],
           cond={"func": "outer_more"}, body={"func": "outer_body"})
    g.node("y", "Identity", ["loop:1"])
    want = x
    for _ in range(4):
        want = want * 2 + 1
    g.check(x, "y", want)


@case(mount=False)
def one_function_or_another():
    x = numbers(4)
    for value, positive in ((1.0, True), (-1.0, False)):
        g = Graph(4)
        yes = g.function("yes", "v:DT_FLOAT", "w:DT_FLOAT")
        yes.node("sum", "AddV2", ["v", "w"], T=FLOAT)
        yes.give("sum:z:0", "v")
        no = g.function("no", "v:DT_FLOAT", "w:DT_FLOAT")
        no.node("difference", "Sub", ["v", "w"], T=FLOAT)
        no.give("difference:z:0", "w")
        g.const("w", [1.5, 2, 3, 4])
        g.node("which", "Greater", [g.const("value", value),
                                    g.const("zero", 0.0)], T=FLOAT)
        for op in ("If", "StatelessIf"):
            g.node(op, op, ["which", "x", "w"], Tcond=BOOL,
                   then_branch={"func": "yes"}, else_branch={"func": "no"})
        g.node("number", "Cast", ["which"], DstT=INT)
        g.node("If2", "If", ["number", "x", "w"], Tcond=INT,
               then_branch={"func": "yes"}, else_branch={"func": "no"})
        g.node("second", "Identity", ["If:1"])
        w = np.array([1.5, 2, 3, 4], "f4")
        want = x + w if positive else x - w
        g.checks(x, {"If": want, "StatelessIf": want, "If2": want,
                     "second": x if positive else w})


@case(mount=False)
def one_function_of_several():
    x = numbers(4)
    for number, power in ((0, 0), (1, 1), (2, 2), (9, 2), (-1, 2)):
        g = Graph(4)
        names = []
        for i in range(3):
            f = g.function("times_%d" % i, "v:DT_FLOAT")
            f.const("factor_%d" % i, float(10 ** i))
            f.node("product", "Mul", ["v", "factor_%d:output:0" % i])
            names.append(f.give("product:z:0").name)
        g.node("y", "Case", [g.const("number", number), "x"],
               branches={"funcs": names})
        g.check(x, "y", x * 10 ** power)


@case(mount=False)
def functions_that_call_themselves_stay_calls():
    """Such a graph is shown; what depends on the call cannot be had."""
    g = Graph(2)
    f = g.function("f", "v:DT_FLOAT")
    f.node("again", "PartitionedCall", ["v"], f={"func": "f"})
    f.give("again:output:0")
    loop = g.function("g", "v:DT_FLOAT")
    loop.node("once_more", "While", ["v"], cond={"func": "g"},
              body={"func": "g"})
    loop.give("once_more:output:0")
    g.node("call", "PartitionedCall", ["x"], f={"func": "f"})
    g.node("loop", "While", ["x"], cond={"func": "g"}, body={"func": "g"})
    g.node("y", "Neg", ["call"])
    g.node("z", "Neg", ["loop"])
    with tempdir() as tmp:
        g.write_text(tmp + "/g.pbtxt")
        np.save(tmp + "/x.npy", np.ones(2, "f4"))
        same(run("--ls", tmp + "/g.pbtxt", "graph").returncode, 0)
        for value in "yz":
            got = run("--in", "x=" + tmp + "/x.npy", "--cat",
                      tmp + "/g.pbtxt", "run/cli/values/%s.npy" % value)
            same(got.returncode, 1, value)
            assert b"not supported" in got.stderr, got.stderr


# ---- loops and branches of TensorFlow 1 ----

def frame(g, name, start, condition, body, constants=()):
    """A loop: start and body give the values that change, by name."""
    attrs = {"frame_name": {"s": name}}
    for c in constants:
        g.node("%s/%s" % (name, c), "Enter", [c], is_constant={"b": True},
               **attrs)
    for k, v in enumerate(start):
        i = "%s/%d" % (name, k)
        g.node(i + "/enter", "Enter", [v], **attrs)
        g.node(i + "/merge", "Merge", [i + "/enter", i + "/next"])
        g.node(i + "/switch", "Switch", [i + "/merge", name + "/LoopCond"])
        g.node(i + "/here", "Identity", [i + "/switch:1"])
        g.node(i, "Exit", [i + "/switch"])
    g.node(name + "/LoopCond", "LoopCond", [condition(name + "/%d/merge")])
    for k, v in enumerate(body(name + "/%d/here")):
        g.node("%s/%d/next" % (name, k), "NextIteration", [v])


@case(mount=False)
def a_loop_of_enter_and_exit():
    x, b = numbers(3), numbers(3)
    g = Graph(3)
    g.const("zero", 0)
    g.const("limit", 3)
    g.const("b", b)

    def body(v):
        g.node("l/one", "Const", ["^l/0/here"], dtype=INT,
               value={"tensor": np.int32(1)})
        g.weights["l/one"] = np.int32(1)
        g.node("l/i", "Add", [v % 0, "l/one"], T=INT)
        g.node("l/x", "Mul", [v % 1, "l/b"], T=FLOAT)
        return "l/i", "l/x"

    frame(g, "l", ["zero", "x"],
          lambda v: g.node("l/less", "Less", [v % 0, "l/limit"], T=INT), body,
          ["limit", "b"])
    g.node("y", "Neg", ["l/1"])
    g.checks(x, {"y": -x * b ** 3, "l/0": np.int32(3)})


@case(mount=False)
def a_loop_in_a_loop():
    x = numbers(3)
    g = Graph(3)
    for name, value in (("zero", 0), ("outer_end", 2), ("inner_end", 3),
                        ("one", 1)):
        g.const(name, value)

    def inner(v):
        g.node("m/i", "Add", [v % 0, "m/o/one"], T=INT)
        g.node("m/x", "Add", [v % 1, v % 1], T=FLOAT)
        return "m/i", "m/x"

    def outer(v):
        frame(g, "m", ["o/zero", v % 1], lambda u: g.node(
            "m/less", "Less", [u % 0, "m/o/inner_end"], T=INT), inner,
            ["o/inner_end", "o/one"])
        g.node("o/i", "Add", [v % 0, "o/one"], T=INT)
        return "o/i", "m/1"

    frame(g, "o", ["zero", "x"],
          lambda v: g.node("o/less", "Less", [v % 0, "o/outer_end"], T=INT),
          outer, ["zero", "outer_end", "inner_end", "one"])
    g.node("y", "Identity", ["o/1"])
    g.check(x, "y", x * 2 ** 6)


@case(mount=False)
def rows_of_an_array_in_a_loop():
    """As tf.map_fn and dynamic_rnn do it."""
    x = numbers(4, 2)
    g = Graph(4, 2)
    for name, value in (("zero", 0), ("n", 4), ("one", 1), ("sum0", [0.0, 0]),
                        ("all", [0, 1, 2, 3])):
        g.const(name, value)
    g.node("in", "TensorArrayV3", ["n"], dtype=FLOAT)
    g.node("filled", "TensorArrayScatterV3", ["in", "all", "x", "in:1"],
           T=FLOAT)
    g.node("out", "TensorArrayV3", ["n"], dtype=FLOAT)

    def body(v):
        g.node("r/i", "Add", [v % 0, "r/one"], T=INT)
        g.node("r/row", "TensorArrayReadV3", ["r/in", v % 0, "r/filled"],
               dtype=FLOAT)
        g.node("r/sum", "Add", [v % 1, "r/row"], T=FLOAT)
        g.node("r/write", "TensorArrayWriteV3",
               ["r/out", v % 0, "r/sum", v % 2], T=FLOAT)
        return "r/i", "r/sum", "r/write"

    frame(g, "r", ["zero", "sum0", "out:1"],
          lambda v: g.node("r/less", "Less", [v % 0, "r/n"], T=INT), body,
          ["n", "one", "in", "filled", "out"])
    g.node("y", "TensorArrayGatherV3", ["out", "all", "r/2"], dtype=FLOAT)
    g.node("size", "TensorArraySizeV3", ["out", "r/2"])
    g.checks(x, {"y": np.cumsum(x, 0), "size": np.int32(4)})


def branches(g, name, pred, inner=None):
    """abs(x) or x + x, as tf.cond made it."""
    g.node(name + "/pick", "Switch", [pred, pred])
    g.node(name + "/t", "Identity", [name + "/pick:1"])
    g.node(name + "/f", "Identity", [name + "/pick"])
    g.node(name + "/a", "Switch", ["x", pred])
    g.node(name + "/b", "Switch", ["x", pred])
    g.node(name + "/abs", "Abs", [name + "/a:1"])
    last = inner(name + "/b") if inner else name + "/b"
    g.node(name + "/sum", "Add", [last, name + "/b"], T=FLOAT)
    return g.node(name + "/Merge", "Merge",
                  [name + "/sum", name + "/abs"])


@case(mount=False)
def a_branch_of_switch_and_merge():
    x = numbers(5)
    for value in (True, False):
        g = Graph(5)
        g.const("p", value)
        branches(g, "c", "p")
        g.node("index", "Identity", ["c/Merge:1"])
        # A constant that only a control edge ties to its branch.
        g.node("k1", "Const", ["^c/t"], dtype=FLOAT,
               value={"tensor": np.float32(1)})
        g.node("k0", "Const", ["^c/f"], dtype=FLOAT,
               value={"tensor": np.float32(0)})
        g.weights.update(k1=np.float32(1), k0=np.float32(0))
        g.node("k", "Merge", ["k0", "k1"])
        g.checks(x, {"c/Merge": np.abs(x) if value else x + x,
                     "index": np.int32(value), "k": np.float32(value)})


@case(mount=False)
def a_branch_in_a_branch():
    x = numbers(5)
    for outer in (True, False):
        for inner in (True, False):
            g = Graph(5)
            g.const("p", outer)
            g.const("q", inner)

            def nested(v):
                g.node("d/q", "Switch", ["q", "p"])
                g.node("d/a", "Switch", [v, "d/q"])
                g.node("d/neg", "Neg", ["d/a:1"])
                return g.node("d/Merge", "Merge", ["d/a", "d/neg"])

            branches(g, "c", "p", nested)
            want = np.abs(x) if outer else x - x if inner else x + x
            g.check(x, "c/Merge", want)


@case(mount=False)
def only_one_branch_is_computed():
    """The other one has an operator that nobody knows."""
    g = Graph(2)
    g.const("p", True)
    g.node("s", "Switch", ["x", "p"])
    g.node("odd", "NoSuchOperator", ["s"])
    g.node("even", "Neg", ["s:1"])
    g.node("y", "Merge", ["odd", "even"])
    g.check(np.ones(2, "f4"), "y", -np.ones(2, "f4"))


@case(mount=False)
def only_one_branch_of_a_loop_is_computed():
    """In each round another one; what is wrong is on neither's way."""
    x = numbers(2)
    g = Graph(2)
    for name, value in (("zero", 0), ("end", 4), ("one", 1), ("two", 2)):
        g.const(name, value)

    def body(v):
        g.node("l/i", "Add", [v % 0, "l/one"], T=INT)
        g.node("l/odd", "FloorMod", [v % 0, "l/two"], T=INT)
        g.node("l/p", "Equal", ["l/odd", "l/one"], T=INT)
        g.node("l/s", "Switch", [v % 1, "l/p"])
        g.node("l/neg", "Neg", ["l/s:1"])
        g.node("l/twice", "Add", ["l/s", "l/s"])
        g.node("l/m", "Merge", ["l/twice", "l/neg"])
        g.node("l/never", "Less", [v % 0, "l/zero"], T=INT)
        g.node("l/t", "Switch", ["l/m", "l/never"])
        g.node("l/wrong", "NoSuchOperator", ["l/t:1"])
        g.node("l/n", "Merge", ["l/t", "l/wrong"])
        # Two paths to the same value.
        g.node("l/sum", "Add", ["l/n", "l/m"])
        g.node("l/y", "Sub", ["l/sum", "l/n"])
        return "l/i", "l/y"

    frame(g, "l", ["zero", "x"],
          lambda v: g.node("l/less", "Less", [v % 0, "l/end"], T=INT), body,
          ["zero", "end", "one", "two"])
    g.node("y", "Identity", ["l/1"])
    g.check(x, "y", x * 4)


@case(mount=False)
def loops_that_are_none():
    """Parts of loops that do not fit together are shown, or refused."""
    for broken in ("enter", "next", "cond", "cycle"):
        g = Graph(2)
        g.const("zero", 0)
        frame(g, "l", ["zero"], lambda v: g.node("l/less", "Less",
                                                 [v % 0, v % 0], T=INT),
              lambda v: [v % 0])
        nodes = {n: (n, op, i, a) for n, op, i, a in g.nodes}
        if broken == "enter":
            nodes["l/0/enter"][2].clear()
        if broken == "next":
            nodes["l/0/next"][2].clear()
        if broken == "cond":
            nodes["l/LoopCond"][2].clear()
        if broken == "cycle":
            nodes["l/0/enter"][2][0] = "l/0/here"
        with tempdir() as tmp:
            g.write_text(tmp + "/g.pbtxt")
            got = run("--ls", tmp + "/g.pbtxt", "graph")
            assert got.returncode in (0, 1), got.stderr


# ---- lists ----

@case(mount=False)
def lists_of_tensors():
    x = numbers(3, 2)
    g = Graph(3, 2)
    g.const("shape", [2])
    g.const("any", -1)
    of = {"element_dtype": FLOAT}
    g.node("rows", "TensorListFromTensor", ["x", "shape"], **of)
    g.node("n", "TensorListLength", ["rows"])
    g.node("row", "TensorListGetItem", ["rows", g.const("two", 2), "shape"],
           **of)
    g.node("all", "TensorListStack", ["rows", "shape"], **of)
    g.node("some", "TensorListGather", ["rows", g.const("which", [2, 0]),
                                        "any"], **of)
    g.node("more", "TensorListPushBack", ["rows", "row"], **of)
    g.node("grown", "TensorListStack", ["more", "any"], **of)
    g.node("popped", "TensorListPopBack", ["more", "any"], **of)
    g.node("last", "Identity", ["popped:1"])
    g.node("rest", "TensorListStack", ["popped", "any"], **of)
    g.node("new", "TensorListReserve", ["any", g.const("three", 3)], **of)
    g.node("set", "TensorListSetItem", ["new", g.const("one", 1), "row"],
           **of)
    g.node("zeros", "TensorListStack", ["set", "any"], **of)
    g.node("cut", "TensorListResize", ["rows", "one"], **of)
    g.node("first", "TensorListStack", ["cut", "shape"], **of)
    g.node("joined", "TensorListConcatV2", ["rows", "any", "which"], **of)
    g.node("lengths", "Identity", ["joined:1"])
    g.node("parts", "TensorListSplit", ["x", "any", g.const("sizes", [1, 2])],
           **of)
    g.node("part", "TensorListGetItem", ["parts", "one", "any"], **of)
    g.node("strewn", "TensorListScatterV2", ["x", g.const("to", [2, 0, 4]),
                                             "shape", "any"], **of)
    g.node("five", "TensorListStack", ["strewn", "shape"], **of)
    g.node("none", "EmptyTensorList", ["shape", "three"], **of)
    g.node("nothing", "TensorListStack", ["none", "shape"], **of)
    zero = np.zeros(2, "f4")
    g.checks(x, {"n": np.int32(3), "row": x[2], "all": x, "some": x[[2, 0]],
                 "grown": x[[0, 1, 2, 2]], "last": x[2], "rest": x,
                 "zeros": np.stack([zero, x[2], zero]), "first": x[:1],
                 "joined": x.reshape(-1), "lengths": np.array([2, 2, 2]),
                 "part": x[1:], "nothing": np.zeros((0, 2), "f4"),
                 "five": np.stack([x[1], zero, x[0], zero, x[2]])})


@case(mount=False)
def lists_that_are_asked_too_much():
    g = Graph(2, 2)
    of = {"element_dtype": FLOAT}
    g.const("any", -1)
    g.const("many", 2 ** 30)
    g.const("below", -5)
    g.node("rows", "TensorListFromTensor", ["x", "any"], **of)
    g.node("huge", "TensorListReserve", ["any", "many"], **of)
    g.node("beyond", "TensorListGetItem", ["rows", "many", "any"], **of)
    g.node("before", "TensorListGetItem", ["rows", "below", "any"], **of)
    g.node("set", "TensorListSetItem", ["rows", "many", "x"], **of)
    g.node("unknown", "TensorListReserve", ["any", g.const("two", 2)], **of)
    g.node("what", "TensorListStack", ["unknown", "any"], **of)
    g.node("cut", "TensorListSplit", ["x", "any", g.const("sizes", [5, -3])],
           **of)
    with tempdir() as tmp:
        g.write_js(tmp)
        np.save(tmp + "/x.npy", np.ones((2, 2), "f4"))
        for value in ("beyond", "before", "what"):
            got = run("--in", "x=" + tmp + "/x.npy", "--cat", tmp,
                      "run/cli/values/%s.npy" % value)
            same((got.returncode, got.stdout), (1, b""), value)
        for value in ("huge", "set", "cut"):
            got = run("--in", "x=" + tmp + "/x.npy", "--ls", tmp,
                      "run/cli/values/" + value)
            same((got.returncode, got.stdout), (1, b""), value)


# ---- complex numbers ----

@case(mount=False)
def fourier_transforms():
    x = numbers(2, 6, 8)
    g = Graph(2, 6, 8)
    for n in (8, 5, 11):
        g.node("f%d" % n, "RFFT", ["x", g.const("n%d" % n, [n])])
        g.node("b%d" % n, "IRFFT", ["f8", "n%d" % n])
    g.node("whole", "Cast", ["x"], SrcT=FLOAT, DstT={"type": "DT_COMPLEX64"})
    for op in ("FFT", "IFFT", "FFT2D", "IFFT2D"):
        g.node(op, op, ["whole"])
    g.node("two", "RFFT2D", ["x", g.const("n2", [4, 8])])
    g.node("back", "IRFFT2D", ["two", "n2"])
    half = np.fft.rfft(x)
    g.checks(x, {
        **{"f%d" % n: np.fft.rfft(x, n) for n in (8, 5, 11)},
        **{"b%d" % n: np.fft.irfft(half, n) for n in (8, 5, 11)},
        "FFT": np.fft.fft(x), "IFFT": np.fft.ifft(x),
        "FFT2D": np.fft.fft2(x), "IFFT2D": np.fft.ifft2(x),
        "two": np.fft.rfft2(x, (4, 8)),
        "back": np.fft.irfft2(np.fft.rfft2(x, (4, 8)), (4, 8))})


@case(mount=False)
def complex_arithmetic():
    x = numbers(2, 3)
    g = Graph(2, 3)
    c = {"T": {"type": "DT_COMPLEX64"}}
    g.node("z", "Complex", ["x", g.const("im", numbers(2, 3))], T=FLOAT)
    g.node("w", "Complex", [g.const("re", numbers(3) + 3),
                            g.const("im2", numbers(3))], T=FLOAT)
    z, w = x + 1j * g.weights["im"], g.weights["re"] + 1j * g.weights["im2"]
    unary = {"Neg": -z, "Exp": np.exp(z), "Square": z * z, "Conj": z.conj(),
             "Sqrt": np.sqrt(z), "Log": np.log(z), "Reciprocal": 1 / z,
             "ComplexAbs": abs(z), "Angle": np.angle(z), "Real": z.real,
             "Imag": z.imag, "Sin": np.sin(z), "Cos": np.cos(z),
             "Tanh": np.tanh(z), "Rsqrt": 1 / np.sqrt(z)}
    binary = {"Add": z + w, "Sub": z - w, "Mul": z * w, "RealDiv": z / w,
              "AddV2": z + w, "Pow": z ** w}
    for op in unary:
        g.node(op, op, ["z"], **c)
    for op in binary:
        g.node(op, op, ["z", "w"], **c)
    g.node("turned", "Transpose", ["z", g.const("perm", [1, 0])], **c)
    g.node("real", "Cast", ["z"], SrcT=c["T"], DstT=FLOAT)
    g.checks(x, {**unary, **binary, "turned": z.T, "real": x})


if __name__ == "__main__":
    main()
