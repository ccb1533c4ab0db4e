#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Run torch's operators through modelfs, and through torch.

usage: export.py MODELFS       (needs torch and numpy)

Each case is a program of one call, written as torch.export writes it: the
schema of the operator names the arguments.  What modelfs computes in run/ must
be what torch computes.
"""
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile

import numpy
import torch

TYPES = {torch.uint8: 1, torch.int8: 2, torch.int16: 3, torch.int32: 4,
         torch.int64: 5, torch.float16: 6, torch.float32: 7, torch.float64: 8,
         torch.bool: 12}


def meta(t):
    sizes, steps = ([{"as_int": i} for i in v]
                    for v in (t.shape, t.stride()))
    return {"dtype": TYPES[t.dtype], "sizes": sizes, "strides": steps,
            "requires_grad": False, "device": {"type": "cpu"},
            "storage_offset": {"as_int": 0}, "layout": 7}


class Program:
    def __init__(self):
        self.inputs, self.values, self.nodes = {}, {}, []

    def name(self, t):
        name = "x%d" % len(self.values)
        self.values[name] = t
        return name

    def value(self, t):
        for name, known in self.values.items():
            if known is t:
                return name
        name = self.name(t)
        self.inputs[name] = t
        return name

    def union(self, v, kind):
        if v is None:
            return {"as_none": True}
        if isinstance(v, torch.Tensor):
            return {"as_tensor": {"name": self.value(v)}}
        if isinstance(v, bool):
            return {"as_bool": v}
        if isinstance(v, int):
            return {"as_int": v}
        if isinstance(v, float):
            return {"as_float": v}
        if isinstance(v, str):
            return {"as_string": v}
        if isinstance(v, torch.dtype):
            return {"as_scalar_type": TYPES[v]}
        if "Optional[Tensor]" in kind or "Tensor?" in kind:
            return {"as_optional_tensors": [
                {"as_none": True} if t is None else
                {"as_tensor": {"name": self.value(t)}} for t in v]}
        if v and isinstance(v[0], torch.Tensor):
            return {"as_tensors": [{"name": self.value(t)} for t in v]}
        if v and isinstance(v[0], float):
            return {"as_floats": list(v)}
        return {"as_ints": list(v)}

    def call(self, op, *args, **more):
        """Adds the call, and makes it."""
        schema, inputs = op._schema, []
        for a, v in zip(schema.arguments, args):
            inputs.append({"name": a.name,
                           "arg": self.union(v, str(a.type))})
        for a in schema.arguments:
            if a.name in more:
                inputs.append({"name": a.name, "arg": self.union(
                    more[a.name], str(a.type))})
        out = op(*args, **more)
        outputs = []
        if isinstance(out, (list, tuple)) and len(schema.returns) == 1:
            outputs = [{"as_tensors": [{"name": self.name(t)} for t in out]}]
        else:
            for t in out if isinstance(out, tuple) else (out,):
                outputs.append({"as_tensor": {"name": self.name(t)}})
        self.nodes.append({
            "target": "torch.ops.%s" % op, "inputs": inputs,
            "outputs": outputs, "metadata": {
                "nn_module_stack": "a,,m.Net;b,layer,torch.nn.Layer"}})
        return out

    def root(self, names):
        """The program, which hands out these values."""
        graph = {
            "inputs": [{"as_tensor": {"name": n}} for n in self.inputs],
            "outputs": [{"as_tensor": {"name": n}} for n in names],
            "nodes": self.nodes,
            "tensor_values": {n: meta(t) for n, t in self.values.items()}}
        signature = {
            "input_specs": [{"user_input": {"arg": {"as_tensor": {
                "name": n}}}} for n in self.inputs],
            "output_specs": [{"user_output": {"arg": {"as_tensor": {
                "name": n}}}} for n in names]}
        return {"graph_module": {"graph": graph, "signature": signature},
                "opset_version": {"aten": 10},
                "schema_version": {"major": 8, "minor": 2}}

    def save(self, path, outputs):
        names = [self.value(t) for t in outputs]
        root = self.root(names)
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("m/archive_format", "pt2")
            z.writestr("m/models/model.json", json.dumps(root))
        return names


def ours(modelfs, program, tmp, outputs):
    names = program.save(os.path.join(tmp, "m.pt2"), outputs)
    command = [modelfs]
    for name, t in program.inputs.items():
        file = os.path.join(tmp, name + ".npy")
        numpy.save(file, t.numpy())
        command += ["--in", "%s=%s" % (name, file)]
    got = []
    for name in names:
        run = subprocess.run(command + [
            "--cat", os.path.join(tmp, "m.pt2"),
            "run/cli/out/%s.npy" % name], capture_output=True)
        if run.returncode:
            raise ValueError(run.stderr.decode().strip())
        got.append(numpy.load(io.BytesIO(run.stdout)))
    return got


def close(got, want):
    if got.dtype != want.dtype or got.shape != want.shape:
        return "%s %s, not %s %s" % (got.dtype, got.shape, want.dtype,
                                     want.shape)
    if got.dtype.kind == "f":
        scale = 1e-2 if got.dtype == "f2" else 2e-5
        if not numpy.allclose(got, want, scale, scale, equal_nan=True):
            return "off by %g" % numpy.nanmax(numpy.abs(
                got.astype("f8") - want))
    elif not (got == want).all():
        return "%s, not %s" % (got.reshape(-1)[:8], want.reshape(-1)[:8])
    return None


A = torch.ops.aten


def cases():
    torch.manual_seed(3)
    x = torch.randn(2, 3, 8, 6)
    y = torch.randn(4, 5)
    i = torch.randint(-5, 9, (4, 5))
    b = y > 0
    pos = torch.rand(4, 5) + 0.1
    for name in ("abs acos asin atan ceil cos cosh erf exp floor hardswish "
                 "log logical_not mish neg reciprocal relu rsqrt selu sigmoid "
                 "sign silu sin sinh sqrt tan tanh hardsigmoid relu6 isnan "
                 "clone alias detach t round atanh asinh acosh").split():
        op = getattr(A, name).default
        arg = {"log": pos, "sqrt": pos, "rsqrt": pos, "acos": pos - 0.6,
               "asin": pos - 0.6, "atanh": pos - 0.6, "acosh": pos + 1,
               "logical_not": b}.get(name, y)
        yield name, op, (arg,), {}
    yield "exp of integers", A.exp.default, (i,), {}
    yield "leaky_relu", A.leaky_relu.default, (y, 0.2), {}
    yield "leaky_relu default", A.leaky_relu.default, (y,), {}
    yield "elu", A.elu.default, (y, 0.5), {}
    yield "gelu", A.gelu.default, (y,), {}
    yield "gelu tanh", A.gelu.default, (y,), {"approximate": "tanh"}
    yield "clamp", A.clamp.default, (y, -0.5, 0.7), {}
    yield "clamp min", A.clamp.default, (y, -0.5), {}
    yield "clamp integers", A.clamp.default, (i, 0, 3), {}
    yield "hardtanh", A.hardtanh.default, (y,), {}
    yield "dropout", A.dropout.default, (y, 0.5, False), {}
    yield "_to_copy", A._to_copy.default, (y,), {"dtype": torch.int64}
    yield "_to_copy bool", A._to_copy.default, (b,), {"dtype": torch.float32}
    for name in ("add", "sub", "mul", "div"):
        op = getattr(A, name).Tensor
        yield name, op, (y, y[1:2]), {}
        yield name + " number", op, (y, 3), {}
        yield name + " mixed", op, (y, i), {}
        yield name + " integers", op, (i, i + 20), {}
        yield name + " half", op, (y.half(), 2.5), {}
    yield "add alpha", A.add.Tensor, (y, y * y), {"alpha": 2}
    yield "sub alpha", A.sub.Tensor, (i, i), {"alpha": 3}
    yield "rsub", A.rsub.Scalar, (y, 1), {}
    yield "div floor", A.div.Tensor_mode, (y, y[0]), {
        "rounding_mode": "floor"}
    yield "pow", A.pow.Tensor_Scalar, (pos, 2.5), {}
    yield "pow integer", A.pow.Tensor_Scalar, (y, 2), {}
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        yield name, getattr(A, name).Tensor, (i, i.flip(0)), {}
        yield name + " number", getattr(A, name).Scalar, (y, 0), {}
        yield name + " mixed", getattr(A, name).Scalar, (i, 2.5), {}
    yield "maximum", A.maximum.default, (y, y.flip(0)), {}
    yield "logical_and", A.logical_and.default, (b, b.flip(0)), {}
    yield "bitwise_and", A.bitwise_and.Tensor, (b, b.flip(0)), {}
    yield "where", A.where.self, (b, y, y * 2), {}
    yield "masked_fill", A.masked_fill.Scalar, (y, b, -7.5), {}
    yield "mean", A.mean.default, (y,), {}
    yield "mean dim", A.mean.dim, (x, [-1, -2], True), {}
    yield "sum", A.sum.default, (y,), {}
    yield "sum dim", A.sum.dim_IntList, (x, [1]), {}
    yield "sum bool", A.sum.default, (b,), {}
    yield "amax", A.amax.default, (x, [1, 3]), {}
    yield "argmax", A.argmax.default, (y, 1), {}
    yield "_softmax", A._softmax.default, (x, 1, False), {}
    yield "softmax", A.softmax.int, (y, -1), {}
    yield "_log_softmax", A._log_softmax.default, (y, 1, False), {}
    yield "mm", A.mm.default, (y, y.t()), {}
    yield "bmm", A.bmm.default, (x[0], x[1].transpose(1, 2)), {}
    yield "matmul", A.matmul.default, (x, x.transpose(2, 3)), {}
    yield "addmm", A.addmm.default, (y[0, :4], y, y.t()), {
        "beta": 0.5, "alpha": 2}
    yield "baddbmm", A.baddbmm.default, (
        torch.ones(3, 8, 8), x[0], x[1].transpose(1, 2)), {}
    yield "linear", A.linear.default, (y, torch.randn(7, 5),
                                       torch.randn(7)), {}
    yield "linear of more", A.linear.default, (x, torch.randn(7, 6),
                                               torch.randn(7)), {}
    yield "linear plain", A.linear.default, (x, torch.randn(7, 6)), {}
    yield from arrays(x, y, i, b)
    yield from layers(x, y)


def arrays(x, y, i, b):
    yield "view", A.view.default, (x, [2, -1]), {}
    yield "reshape", A.reshape.default, (x, [6, 48]), {}
    yield "flatten", A.flatten.using_ints, (x, 1), {}
    yield "unsqueeze", A.unsqueeze.default, (y, 1), {}
    yield "squeeze", A.squeeze.dim, (y[:1], 0), {}
    yield "squeeze all", A.squeeze.default, (x[:1, :, :1],), {}
    yield "expand", A.expand.default, (y[:, :1], [3, -1, 5]), {}
    yield "transpose", A.transpose.int, (x, 1, -1), {}
    yield "permute", A.permute.default, (x, [0, 2, 3, 1]), {}
    yield "cat", A.cat.default, ([y, y + 1], -1), {}
    yield "cat mixed", A.cat.default, ([y, i],), {}
    yield "stack", A.stack.default, ([y, y + 1], 1), {}
    yield "split", A.split.Tensor, (x, 4, 2), {}
    yield "split_with_sizes", A.split_with_sizes.default, (x, [1, 2], 1), {}
    yield "chunk", A.chunk.default, (x, 3, 3), {}
    yield "slice", A.slice.Tensor, (x, 2, 1, -2, 2), {}
    yield "slice to the end", A.slice.Tensor, (x, 3, 2,
                                               9223372036854775807), {}
    yield "select", A.select.int, (x, 1, -1), {}
    yield "gather", A.gather.default, (y, 1, i.abs() % 5), {}
    yield "index_select", A.index_select.default, (
        y, 0, torch.tensor([3, 0, 0])), {}
    yield "index", A.index.Tensor, (x, [None, torch.tensor([2, 0])]), {}
    yield "embedding", A.embedding.default, (y, i.abs() % 4), {}
    yield "repeat", A.repeat.default, (y, [2, 1, 3]), {}
    yield "full", A.full.default, ([2, 3], 1.5), {}
    yield "zeros_like", A.zeros_like.default, (y,), {}
    yield "ones", A.ones.default, ([2],), {"dtype": torch.int64}
    yield "arange", A.arange.default, (5,), {}
    yield "arange step", A.arange.start_step, (1.0, 2.0, 0.25), {}
    yield "tril", A.tril.default, (y, 1), {}
    yield "triu", A.triu.default, (y, -1), {}
    yield "cumsum", A.cumsum.default, (i, 1), {}
    yield "topk", A.topk.default, (y, 2), {}
    yield "pad", A.constant_pad_nd.default, (x, [1, 2, 0, 3], 4.0), {}


def layers(x, y):
    w, bias = torch.randn(4, 3, 3, 3), torch.randn(4)
    yield "conv2d", A.conv2d.default, (x, w, bias), {}
    yield "conv2d all", A.conv2d.default, (x, w, bias, [2, 1], [1, 2],
                                           [1, 2]), {}
    yield "conv2d groups", A.conv2d.default, (
        x, torch.randn(6, 1, 3, 3), None, [1, 1], [1, 1], [1, 1], 3), {}
    yield "conv2d same", A.conv2d.padding, (x, torch.randn(4, 3, 4, 3), bias,
                                            [1, 1], "same"), {}
    yield "convolution", A.convolution.default, (
        x, w, bias, [2, 2], [1, 1], [1, 1], False, [0, 0], 1), {}
    yield "convolution turned", A.convolution.default, (
        x, torch.randn(3, 2, 3, 3), None, [2, 2], [1, 1], [1, 1], True,
        [1, 1], 1), {}
    yield "conv1d", A.conv1d.default, (x[0], torch.randn(5, 8, 3)), {}
    yield "max_pool2d", A.max_pool2d.default, (x, [3, 2], [2, 2], [1, 1]), {}
    yield "max_pool2d default", A.max_pool2d.default, (x, [2]), {}
    yield "max_pool2d ceil", A.max_pool2d.default, (
        x, [3, 3], [2, 2], [0, 0], [1, 1], True), {}
    yield "max_pool2d_with_indices", A.max_pool2d_with_indices.default, (
        x, [2, 2]), {}
    yield "avg_pool2d", A.avg_pool2d.default, (x, [3, 3], [2, 2], [1, 1]), {}
    yield "avg_pool2d without", A.avg_pool2d.default, (
        x, [3, 3], [2, 2], [1, 1], False, False), {}
    yield "adaptive_avg_pool2d", A.adaptive_avg_pool2d.default, (
        x, [1, 1]), {}
    yield "adaptive_avg_pool2d parts", A._adaptive_avg_pool2d.default, (
        x, [4, 3]), {}
    n = (torch.randn(3), torch.randn(3), torch.randn(3), torch.rand(3))
    yield "batch_norm", A.batch_norm.default, (
        x, *n, False, 0.1, 1e-5, False), {}
    yield "batch_norm plain", A.native_batch_norm.default, (
        x, None, None, n[2], n[3], False, 0.1, 1e-3), {}
    yield "batch_norm training", A.native_batch_norm.default, (
        x, n[0], n[1], n[2].clone(), n[3].clone(), True, 0.1, 1e-5), {}
    yield "layer_norm", A.layer_norm.default, (
        x, [8, 6], torch.randn(8, 6), torch.randn(8, 6)), {}
    yield "layer_norm plain", A.layer_norm.default, (x, [6]), {}
    yield "native_layer_norm", A.native_layer_norm.default, (
        x, [6], torch.randn(6), None, 1e-6), {}
    yield "group_norm", A.group_norm.default, (
        torch.randn(2, 4, 5), 2, torch.randn(4), torch.randn(4)), {}
    q = torch.randn(2, 3, 5, 8)
    if hasattr(A, "scaled_dot_product_attention"):
        op = A.scaled_dot_product_attention.default
        yield "attention", op, (q, q + 1, q * 2), {}
    yield "nearest", A.upsample_nearest2d.default, (x, [16, 12]), {}
    yield "bilinear", A.upsample_bilinear2d.default, (x, [16, 9], False), {}
    yield "bilinear aligned", A.upsample_bilinear2d.default, (
        x, [16, 9], True), {}
    yield "pixel_shuffle", A.pixel_shuffle.default, (
        torch.randn(2, 8, 3, 3), 2), {}
    yield "prelu", A.prelu.default, (x, torch.rand(3)), {}


def run_case(modelfs, op, args, more):
    program = Program()
    out = program.call(op, *args, **more)
    outs = list(out) if isinstance(out, (list, tuple)) else [out]
    if len(op._schema.returns) > 1 and op not in (A.topk.default,):
        outs = outs[:1]
    with tempfile.TemporaryDirectory() as tmp:
        for got, want in zip(ours(modelfs, program, tmp, outs), outs):
            wrong = close(got, want.numpy())
            if wrong:
                return wrong
    return None


def main():
    modelfs, failed = sys.argv[1], 0
    for name, op, args, more in cases():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        try:
            wrong = run_case(modelfs, op, args, more)
        except (ValueError, RuntimeError) as e:
            wrong = str(e).split("\n")[0]
        if wrong:
            failed += 1
        print("%s - export.py: %s%s" % ("not ok" if wrong else "ok", name,
                                        ": " + wrong if wrong else ""))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
