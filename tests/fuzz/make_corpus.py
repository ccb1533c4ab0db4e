#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of the fuzz targets: corpus/NAME for fuzz_NAME.

usage: make_corpus.py DIR      (needs torch, onnx and numpy)

Every seed is a small, valid file, or the beginning of a known attack.
"""
import collections
import io
import json
import os
import pickle
import struct
import sys
import zipfile

import numpy
import onnx
import torch
from onnx import TensorProto, helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "golden"))
import ggml  # noqa: E402

TOP = sys.argv[1]


def put(target, name, data):
    folder = os.path.join(TOP, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def safetensors(header, data):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def seeds_safetensors():
    put("safetensors", "two", safetensors(
        {"__metadata__": {"format": "pt"},
         "a.b": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
         "a.c": {"dtype": "BF16", "shape": [], "data_offsets": [8, 10]}},
        bytes(10)))
    put("safetensors", "empty", safetensors({}, b""))
    put("safetensors", "small_floats", safetensors(
        {"f4": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]},
         "f6": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [2, 5]},
         "zero": {"dtype": "F64", "shape": [0], "data_offsets": [5, 5]}},
        bytes(5)))
    put("safetensors", "unknown_type", safetensors(
        {"x": {"dtype": "F3", "shape": [1], "data_offsets": [0, 3]}},
        bytes(3)))


def seeds_gguf():
    w = ggml.Writer()
    w.key("general.architecture", ggml.STRING, "x")
    w.key("general.alignment", ggml.U32, 32)
    w.key("tokens", ggml.ARRAY, (ggml.STRING, ["a", "b"]))
    w.key("deep", ggml.ARRAY, (ggml.ARRAY, [(ggml.F32, [1.5])]))
    w.blocks("a.q", "Q4_0", 1, bytes(18))
    w.tensor("new", 99, (1,), bytes(4))
    w.array("b", numpy.arange(4).reshape(2, 2), "I16")
    put("gguf", "v3", w.bytes())
    for name, args in {"v1": (1,), "big": (3, True),
                       "fugg": (3, True, b"FUGG")}.items():
        w = ggml.Writer(*args)
        w.key("k", ggml.I32, -1)
        w.blocks("a.q", "Q5_1", 1, bytes(24))
        put("gguf", name, w.bytes())
    w = ggml.Writer()
    w.key("split.no", ggml.U16, 0)
    w.key("split.count", ggml.U16, 2)
    put("gguf", "split", w.bytes())


def seeds_dtype():
    for number in range(11, 61):
        put("dtype", "type%d" % number, bytes([number]) + bytes(
            (i * 37 + number) % 256 for i in range(300)))


def seeds_op():
    # Two bytes choose the operator, the rest is attributes and inputs.
    for number in range(0, 320, 8):
        state = number + 1
        data = []
        for _ in range(160):
            state = (state * 1103515245 + 12345) % 2 ** 31
            data.append(state >> 16 & 255)
        put("op", "op%d" % number, bytes(divmod(number, 256)) + bytes(data))


def seeds_json():
    put("json", "config", json.dumps(
        {"a": [1, -2.5, True, None, "\u00e9\n"], "b": {"c": {}}}).encode())
    put("json", "python", b'{"x": NaN, "y": [-Infinity, Infinity]}')
    put("json", "big", b'[123456789012345678901234567890, 1e999, -0]')
    put("json", "deep", b"[" * 99 + b"]" * 99)
    put("json", "escape", b'{"\\u0000\\ud83d\\ude00": "\\\\"}')


def onnx_model(nodes, inits=(), functions=(), outs=("y",)):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, ["N", 2])],
        [value(o, TensorProto.FLOAT, None) for o in outs], list(inits))
    model = helper.make_model(
        graph, producer_name="fuzz", functions=list(functions),
        opset_imports=[helper.make_opsetid("", 17),
                       helper.make_opsetid("local", 1)])
    model.metadata_props.add(key="k", value="v")
    return model.SerializeToString()


def seeds_onnx():
    tensor = helper.make_tensor
    node = helper.make_node
    inits = [tensor("fc.weight", TensorProto.FLOAT, [2, 2], [1, 2, 3, 4]),
             tensor("onnx::Add_3", TensorProto.FLOAT, [2],
                    struct.pack("<2f", 5, 6), raw=True),
             tensor("h", TensorProto.FLOAT16, [2], [1, 2]),
             tensor("s", TensorProto.STRING, [2], [b"a", b"bc"])]
    put("onnx", "gemm", onnx_model(
        [node("Gemm", ["x", "fc.weight"], ["t"], name="/fc/fc.0/Gemm"),
         node("Add", ["t", "onnx::Add_3"], ["y"], name="/fc/Add"),
         node("Identity", ["fc.weight"], ["fc2.weight"])], inits))
    put("onnx", "constant", onnx_model(
        [node("Constant", [], ["/c/c_output_0"],
              value=tensor("v", TensorProto.INT64, [2], [-1, 2])),
         node("Reshape", ["x", "/c/c_output_0"], ["y"], name="r")]))
    branch = helper.make_graph(
        [node("Relu", ["x"], ["z"])], "then",
        [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [tensor("w", TensorProto.FLOAT, [1], [1])])
    put("onnx", "branches", onnx_model(
        [node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)],
        [tensor("c", TensorProto.BOOL, [], [1])]))
    inner = node("Mul", ["a", "k"], ["m"])
    const = node("Constant", [], ["k"])
    const.attribute.add(name="value_float", ref_attr_name="alpha",
                        type=onnx.AttributeProto.FLOAT)
    function = helper.make_function(
        "local", "F", ["a"], ["m"], [const, inner],
        [helper.make_opsetid("", 17)], ["alpha"])
    put("onnx", "function", onnx_model(
        [node("F", ["x"], ["t"], domain="local", alpha=2.0, name="one"),
         node("F", ["t"], ["y"], domain="local", alpha=3.0)],
        functions=[function]))
    external = tensor("e", TensorProto.FLOAT, [2], [1, 2])
    external.ClearField("float_data")
    external.data_location = TensorProto.EXTERNAL
    external.external_data.add(key="location", value="../secret")
    external.external_data.add(key="offset", value="8")
    put("onnx", "external", onnx_model(
        [node("Add", ["x", "e"], ["y"])], [external]))
    put("protobuf", "model", onnx_model(
        [node("Add", ["x", "onnx::Add_3"], ["y"])], inits))
    put("protobuf", "tensor", inits[0].SerializeToString())
    put("protobuf", "ints", tensor(
        "i", TensorProto.INT8, [3], [-1, 2, 3]).SerializeToString())
    put("protobuf", "group", b"\x0b\x13\x08\x01\x14\x0c\x08\x01")
    put("protobuf", "merge", b"\x3a\x04\x0a\x02\x1a\x00\x3a\x03\x12\x01g")
    put("protobuf", "cut", b"\xcacd\x00\x8a\x3f\x01\x4a\x04abcd\x10\x01")


def torch_bytes(obj, legacy=False):
    out = io.BytesIO()
    torch.save(obj, out, _use_new_zipfile_serialization=not legacy)
    return out.getvalue()


def seeds_torch():
    base = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    state = collections.OrderedDict(
        [("a.weight", base), ("a.t", base.t()), ("b", base[1]),
         ("h", torch.ones(2, dtype=torch.bfloat16)),
         ("i", torch.tensor(5)), ("e", torch.ones(1).expand(1000, 1000))])
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    put("pytorch", "state_dict", torch_bytes(state))
    put("pytorch", "checkpoint", torch_bytes(
        {"epoch": 3, "state_dict": {"w": torch.ones(1)},
         "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}},
         5: [1, 2.5, None], "args": (1, "x", b"y")}))
    put("pytorch", "module", torch_bytes(torch.nn.Sequential(
        torch.nn.Linear(2, 1, bias=False), torch.nn.BatchNorm1d(1))))
    put("pytorch", "parts", torch_bytes(
        {"s": torch.eye(2).to_sparse(), "q": torch.quantize_per_tensor(
            torch.ones(2), 0.5, 1, torch.qint8)}))
    put("pytorch", "legacy", torch_bytes({"w": torch.ones(2)}, legacy=True))


def seeds_pickle():
    value = {"a": [1, 2 ** 70, -1, 1.5, None, True], b"b": ("x", {1, 2}),
             3: collections.OrderedDict(k="v"), "n": numpy.arange(3)}
    value["self"] = value
    for protocol in range(6):
        put("pickle", "protocol%d" % protocol,
            pickle.dumps(value, protocol))
    put("pickle", "call", b"cposix\nsystem\n(S'touch /tmp/x'\ntR.")
    put("pickle", "object", b"(c__main__\nC\nI01\noS'\\x41'\nb.")
    put("pickle", "inst", b"(I1\nL22L\nF1.5\ni__main__\nC\n.")
    put("pickle", "text", b"(V\\u20ac\np0\ng0\nP7\n(dl.")
    put("pickle", "two", pickle.dumps(1) + pickle.dumps([2]) + b"junk")
    laughs = b"]q\0" + b"".join(
        b"]q%c(h%ch%ce" % (i + 1, i, i) for i in range(60)) + b"."
    put("pickle", "laughs", laughs)


def seeds_zip():
    for name, method in (("stored", zipfile.ZIP_STORED),
                         ("deflated", zipfile.ZIP_DEFLATED)):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as z:
            z.writestr("a/b", b"hello" * 9)
            z.writestr("a/", b"")
            z.writestr("../c", b"")
            z.comment = b"PK\5\6"
        put("zip", name, out.getvalue())


seeds_safetensors()
seeds_gguf()
seeds_dtype()
seeds_json()
seeds_onnx()
seeds_op()
seeds_torch()
seeds_pickle()
seeds_zip()
