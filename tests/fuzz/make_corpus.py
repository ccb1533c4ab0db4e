#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of the fuzz targets: corpus/NAME for fuzz_NAME.

usage: make_corpus.py DIR      (needs torch, onnx, h5py and numpy)

Every seed is a small, valid file, or the beginning of a known attack.
"""
import bz2
import collections
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import sys
import tarfile
import zipfile
import zlib

import numpy
import onnx
import torch
import torch.package
from onnx import TensorProto, helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "golden"))
import export  # noqa: E402
import ggml  # noqa: E402
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "e2e"))
import test_keras as keras  # noqa: E402
import test_tf_control as control  # noqa: E402
import test_tflite as lite  # noqa: E402
import test_weights as weights  # noqa: E402
from flat_recipe import Flat, Lite  # noqa: E402
from tf_recipe import FLOAT, INT, Graph  # noqa: E402

TOP = sys.argv[1]


def put(target, name, data):
    path = os.path.join(TOP, target, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    if target == "tf":
        put("models", name, data[1:])


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
    put("json", "cut", b'{"a":')
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


def seeds_script():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(2, 1)
            self.register_buffer("b", torch.ones(1))

        def forward(self, x):
            return self.fc(x) * self.b
    script = torch.jit.script(Net().eval())
    for name, module in (("script", script),
                         ("frozen", torch.jit.freeze(script))):
        out = io.BytesIO()
        torch.jit.save(module, out)
        # Stored, so that a changed byte is no failed checksum.
        put("pytorch", name, stored(out.getvalue()))
    put("pytorch", "model_json", archive({
        "a/model.json": json.dumps({
            "mainModule": {"name": "M", "submodules": [
                {"name": "fc", "parameters": [
                    {"name": "weight", "tensorId": "0"},
                    {"name": "b", "tensorId": 0, "isBuffer": True}]}]},
            "tensors": [{"dims": ["2"], "strides": ["1"], "offset": "0",
                         "dataType": "FLOAT",
                         "data": {"key": "tensors/0"}}]}).encode(),
        "a/tensors/0": bytes(8), "a/code/M.py": b"class M(Module):\n"}))


def archive(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, data in members.items():
            z.writestr(name, data)
    return out.getvalue()


def stored(data):
    with zipfile.ZipFile(io.BytesIO(data)) as z:
        return archive({n: z.read(n) for n in z.namelist()})


def program():
    def tensor(name):
        return {"as_tensor": {"name": name}}
    meta = {"dtype": 7, "sizes": [{"as_int": 2}, {"as_expr": {
        "expr_str": "s0"}}], "strides": [{"as_int": 1}], "layout": 7}
    return {"graph_module": {"graph": {
        "inputs": [tensor("p"), tensor("x")], "outputs": [tensor("y")],
        "nodes": [{"target": "torch.ops.aten.add.Tensor", "inputs": [
            {"name": "self", "arg": tensor("x")},
            {"name": "other", "arg": tensor("p")},
            {"name": "alpha", "arg": {"as_int": 1}},
            {"name": "dims", "arg": {"as_ints": [1, 2]}},
            {"name": "f", "arg": {"as_floats": [0.5]}},
            {"name": "s", "arg": {"as_string": "a"}},
            {"name": "l", "arg": {"as_tensors": [{"name": "x"}]}},
            {"name": "o", "arg": {"as_optional_tensors": [
                {"as_none": True}, tensor("x")]}}],
            "outputs": [tensor("y")], "metadata": {
                "nn_module_stack": "L,,m.Net;L_fc,L['self'].fc@1,m.Linear"}}],
        "tensor_values": {"x": meta, "y": meta}},
        "signature": {
            "input_specs": [
                {"parameter": {"arg": {"name": "p"},
                               "parameter_name": "fc.weight"}},
                {"user_input": {"arg": tensor("x")}}],
            "output_specs": [{"user_output": {"arg": tensor("y")}}]}},
        "opset_version": {"aten": 10},
        "schema_version": {"major": 8, "minor": 1}}


def seeds_programs():
    """A few calls each of all that is translated."""
    made = []
    for i, (_, op, args, more) in enumerate(export.cases()):
        if i % 16 == 0:
            made.append(export.Program())
        made[-1].call(op, *args, **more)
    for i, one in enumerate(made):
        text = json.dumps(one.root(list(one.values)[-1:]),
                          separators=(",", ":"))
        put("program", "calls%d" % i, text.encode())


def seeds_export():
    text = json.dumps(program()).encode()
    meta = {"dtype": 7, "sizes": [{"as_int": 2}], "strides": [{"as_int": 1}],
            "storage_offset": {"as_int": 0}}
    config = json.dumps({"config": {"fc.weight": {
        "path_name": "weight_0", "is_param": True, "use_pickle": False,
        "tensor_meta": meta}}}).encode()
    put("program", "new", text)
    put("program", "old", json.dumps({"graph_module": {
        "graph": {"nodes": [{"target": "t", "inputs": [], "outputs": [
            {"$type": "as_tensor", "$value": {"name": "y"}}]}]},
        "signature": {"inputs_to_parameters": {"p": "w"},
                      "user_inputs": ["x"], "user_outputs": ["y"]}}}).encode())
    put("pytorch", "pt2", archive({
        "m/archive_format": b"pt2", "m/models/model.json": text,
        "m/data/weights/model_weights_config.json": config,
        "m/data/weights/weight_0": bytes(8)}))
    out = io.BytesIO()
    with torch.package.PackageExporter(out) as package:
        package.save_pickle("res", "w.pkl", {"w": torch.ones(2)})
        package.save_source_string("code", "x = 1\n")
    put("pytorch", "package", out.getvalue())
    put("pytorch", "pt2_old", archive({
        "serialized_exported_program.json": text,
        "serialized_state_dict.pt": torch_bytes({"fc.weight":
                                                 torch.ones(2)})}))


def seeds_tar():
    def dump(*values):
        return b"".join(pickle.dumps(v, 2) for v in values)
    storages = (dump(1) + b"\x80\2(U\0010U\3cpuctorch\nFloatStorage\nt." +
                struct.pack("<q2f", 2, 1, 2) + dump([("1", "0", 1, 1)]))
    tensors = (dump(1) + b"\x80\2(U\0012U\0010ctorch\nFloatTensor\nt." +
               struct.pack("<ii3q", 1, 0, 2, 1, 0))
    obj = b"\x80\2}U\1wU\0012Qs."
    put("tar", "three", tar(storages=storages, tensors=tensors, pickle=obj))
    put("tar", "link", tar(pickle=obj, storages=None))


def tar(**members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            info.size = len(data or b"")
            t.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def seeds_flax():
    array = b"\xc7\x13\1\x93\x91\2\xa7float32\xc4\x08" + bytes(8)
    array = array[:1] + bytes([len(array) - 3]) + array[2:]
    put("flax", "array", b"\x81\xa6params\x81\xa1w" + array)
    put("flax", "chunked", b"\x81\xa1w\x83\xb9__msgpack_chunked_array__\xc3"
        b"\xa5shape\x81\xa10\4\xa6chunks\x82\xa10" + array + b"\xa11" +
        array)
    put("flax", "values", b"\x86\xa1a\xc0\xa1b\xcb" + bytes(8) +
        b"\xa1c\x92\1\xff\xa1d\xd9\1x\xa1e\xcf" + b"\xff" * 8 +
        b"\xa1f\xd6\2" + bytes(4))


def seeds_arrays():
    values = numpy.arange(6, dtype="<f4").reshape(2, 3)
    arrays = {"a": values, "b": numpy.asfortranarray(values).astype(">i2"),
              "c": numpy.array(["x", "yz"]),
              "d": numpy.array([{"w": values}, 1], dtype=object),
              "e": numpy.ones((2, 1), [("a", "u1"), ("b", [
                  ("c", ">f4", (2,)), ("d", "S3"), ("e", "M8[s]")], (2,))])}
    for name, value in arrays.items():
        out = io.BytesIO()
        numpy.save(out, value)
        put("npy", name, out.getvalue())
    out = io.BytesIO()
    numpy.savez(out, **arrays)
    put("npy", "npz", out.getvalue())
    put("jsondict", "layers", json.dumps({"layers": [
        {"name": "fc", "weights": [4, 5, 6], "b": [[1.5, 2], [3, 4]]},
        {"x": [[1], [2, 3]], "n": [1, None], "t": [True]}]}).encode())
    put("compressed", "json", gzip.compress(b'{"a": [1, 2]}', mtime=0))
    put("compressed", "bzip2", bz2.compress(b'{"a": [1, 2]}'))
    put("compressed", "xz", lzma.compress(b'{"a": [1, 2]}'))
    put("compressed", "lzma", lzma.compress(b'{"a": [1, 2]}', lzma.FORMAT_ALONE))
    put("compressed", "zlib", zlib.compress(b'{"a": [1, 2]}'))


def chunk(kind, data):
    return (struct.pack(">I", len(data)) + kind + data +
            struct.pack(">I", zlib.crc32(kind + data)))


def png(colour, depth, interlace, rows, *before):
    head = struct.pack(">IIBBBBB", 3, 2, depth, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(before) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def seeds_image():
    put("image", "rgb.png", png(2, 8, 0, (b"\x01" + bytes(range(9))) * 2))
    put("image", "palette.png", png(
        3, 2, 0, b"\x00\x1b" * 2, chunk(b"PLTE", bytes(range(12)))))
    put("image", "deep.png", png(4, 16, 0, (b"\x04" + bytes(12)) * 2))
    put("image", "interlaced.png", png(0, 8, 1, bytes(30)))
    put("image", "rgb.bmp", b"BM" + struct.pack(
        "<IHHIIiiHHIIiiII", 78, 0, 0, 54, 40, 3, -2, 1, 24, 0, 24, 0, 0, 0,
        0) + bytes(24))
    put("image", "palette.bmp", b"BM" + struct.pack(
        "<IHHIIiiHHIIiiII", 78, 0, 0, 62, 40, 3, 2, 1, 8, 0, 8, 0, 0, 2,
        0) + bytes(8) + bytes(8))
    put("image", "ascii.ppm", b"P3\n# a\n3 1\n255\n" + b"1 2 3 " * 3)
    put("image", "raw.pgm", b"P5 3 2 255\n" + bytes(6))


def seeds_regex():
    for name, pattern, text in [
            ("groups", rb"(a|b)*c{2,3}(?i:X)", b"ababccx"),
            ("classes", rb"[^\d\s_]+[[:alpha:]]\x{41}", b"xyzA"),
            ("anchors", rb"^\bword\B.$", b"words"),
            ("nested", rb"((a{1,9}){1,9}){1,9}", b"a" * 40)]:
        put("regex", name, bytes([len(pattern)]) + pattern + text)


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


# ---- TensorFlow: protobuf and tables by hand ----

def varint(v):
    out = b""
    while v >= 0x80:
        out += bytes([v & 0x7f | 0x80])
        v >>= 7
    return out + bytes([v])


def field(number, value):
    """Bytes and text as such, a number as a varint."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    crc ^= 0xffffffff
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def table(entries, compression=0):
    """entries: [(key, value)], sorted; one block and its index."""
    def block(pairs):
        body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v
                        for k, v in pairs)
        return body + struct.pack("<II", 0, 1)

    def stored(data, kind):
        return data + bytes([kind]) + struct.pack(
            "<I", crc32c(data + bytes([kind])))

    data = block(entries)
    if compression == 1:
        literal = len(data) - 1
        data = varint(len(data)) + b"\xf4" + struct.pack("<H", literal) + data
    file = stored(data, compression)
    handle = varint(0) + varint(len(data))
    index = block([(b"\xff", handle)])
    where = varint(len(file)) + varint(len(index))
    file += stored(index, 0)
    footer = varint(0) + varint(0) + where
    return file + footer.ljust(40, b"\0") + struct.pack(
        "<Q", 0xdb4775248b80fb57)


def shape_of(*dims):
    return b"".join(field(2, field(1, d)) for d in dims)


def seeds_sstable():
    put("sstable", "plain", table([(b"", b"header"), (b"a", b"1"),
                                   (b"ab", b"2")]))
    put("sstable", "snappy", table([(b"", b"header"), (b"a", b"1")], 1))


def attr(key, value):
    return field(5, field(1, key) + field(2, value))


def const(name, dtype, dims, payload):
    tensor = field(1, dtype) + field(2, shape_of(*dims)) + payload
    return field(1, name) + field(2, "Const") + attr("value",
                                                     field(8, tensor))


def seeds_tf():
    graph = b"".join(field(1, n) for n in (
        field(1, "x") + field(2, "Placeholder") + attr("dtype", field(6, 1)),
        const("d/kernel", 1, [2, 2], field(4, struct.pack("<4f", *range(4)))),
        const("d/bias", 1, [2], field(5, struct.pack("<f", 7))),
        const("s", 7, [2], field(8, "text")),
        const("axes", 3, [1], field(7, bytes([1]))),
        const("big", 1, [1 << 20, 1 << 20], field(5, struct.pack("<f", 1))),
        field(1, "d/MatMul") + field(2, "MatMul") + field(3, "x") +
        field(3, "d/kernel") + attr("transpose_b", field(5, 1)),
        field(1, "d/out") + field(2, "Mean") + field(3, "d/MatMul:0") +
        field(3, "axes") + field(3, "^x"),
        field(1, "call") + field(2, "PartitionedCall") + field(3, "d/out") +
        attr("f", field(10, field(1, "f")))))
    function = field(1, field(1, "f") + field(2, field(1, "a")) +
                     field(3, field(1, "o")))
    function += field(3, field(1, "r") + field(2, "Relu") + field(3, "a"))
    function += field(3, field(1, "again") + field(2, "PartitionedCall") +
                      field(3, "r:activations:0") +
                      attr("f", field(10, field(1, "f"))))
    function += field(4, field(1, "o") + field(2, "again:output:0"))
    graph += field(2, field(1, function))
    info = (field(2, field(1, field(1, "Add"))) + field(4, "serve") +
            field(5, "2.0"))
    out = field(1, "call:0") + field(2, 1)
    signature = field(1, "serving_default") + field(
        2, field(2, field(1, "y") + field(2, out)))
    meta = field(1, info) + field(2, graph) + field(5, signature)
    put("tf", "graph", b"\0" + graph)
    put("tf", "meta", b"\1" + meta)
    put("tf", "saved", b"\2" + field(1, 1) + field(2, meta))
    entry = field(1, 1) + field(2, shape_of(2)) + field(5, 8)
    put("tf", "bundle", b"\3" + table([
        (b"", field(1, 1) + field(3, b"")), (b"w", entry),
        (b"w/m", entry + field(7, field(1, field(1, 0) + field(2, 1))))]))
    tensor = field(1, 1) + field(5, struct.pack("<2f", 1, 2))
    put("tf", "v1", b"\3" + table([
        (b"", field(1, field(1, field(1, "w") + field(2, shape_of(2)) +
                             field(3, 1) + field(4, field(1, b""))))),
        (b"w", field(2, field(1, "w") + field(2, field(1, b"")) +
                     field(3, tensor)))]))


def put_text(name, g):
    put("tf", name, b"\4" + (g.text_nodes(g.nodes, "node") + "".join(
        f.text(g) for f in g.functions)).encode())


def seeds_tf_control():
    g = Graph(2)
    g.node("loop", "While", [g.const("zero", 0), g.const("n", 3), "x",
                             g.const("b", 1.0)], **control.double_up(g))
    f = g.function("pick", "v:DT_FLOAT")
    f.node("twice", "Add", ["v", "v"])
    f.give("twice:z:0")
    g.node("if", "If", ["x", "loop:2"], Tcond=FLOAT,
           then_branch={"func": "pick"}, else_branch={"func": "pick"})
    g.node("case", "Case", ["n", "if"], branches={"funcs": ["pick", "pick"]})
    put_text("functions", g)
    g = Graph(2)
    g.const("zero", 0)
    g.const("one", 1)
    g.const("p", True)
    control.frame(g, "l", ["zero", "x"], lambda v: g.node(
        "l/less", "Less", [v % 0, "l/one"], T=INT), lambda v: (
            g.node("l/i", "Add", [v % 0, "l/one"], T=INT),
            g.node("l/y", "Mul", [v % 1, v % 1])), ["one"])
    control.branches(g, "c", "p")
    g.node("y", "Add", ["c/Merge", "l/1"])
    put_text("frames", g)
    g = Graph(3, 2)
    g.const("s", [2])
    g.node("rows", "TensorListFromTensor", ["x", "s"], element_dtype=FLOAT)
    g.node("all", "TensorListStack", ["rows", "s"], element_dtype=FLOAT)
    g.node("f", "RFFT", ["all", "s"])
    g.node("y", "ComplexAbs", ["f"])
    put_text("lists", g)


def seeds_hdf5():
    import h5py
    for name, version in (("old", "earliest"), ("new", "latest")):
        file = io.BytesIO()
        with h5py.File(file, "w", libver=version) as f:
            f.attrs["layer_names"] = numpy.array([b"d"])
            g = f.create_group("d")
            g.attrs["weight_names"] = numpy.array([b"d/k:0", b"d/c"])
            g["d/k:0"] = numpy.ones((2, 2), "<f4")
            if name == "old":
                g.create_dataset("d/c", data=numpy.arange(9.), chunks=(4,),
                                 compression="gzip", shuffle=True,
                                 fletcher32=True)
        put("hdf5", name, file.getvalue())
    file = io.BytesIO()
    with h5py.File(file, "w", libver="latest") as f:
        for i in range(10):
            f.attrs["a%d" % i] = "x"
            f["link%d" % i] = numpy.zeros(1, "i1")
    put("hdf5", "heap", file.getvalue())
    for name, most in (("fixed", (9, 2)), ("growing", (None, 2)),
                       ("btree", (None, None))):
        file = io.BytesIO()
        with h5py.File(file, "w", libver="latest") as f:
            f.create_dataset("d", data=numpy.zeros((9, 2), "i1"),
                             chunks=(2, 1), maxshape=most)
        put("hdf5", name, file.getvalue())
    file = io.BytesIO()
    with h5py.File(file, "w") as f:
        f.attrs["note"] = "text of variable length"
        f["t"] = numpy.array(["a", "bc"], h5py.string_dtype())
        f["g/loop"] = f["/"]
        f["soft"] = h5py.SoftLink("/t")
        f["c"] = numpy.array([1 + 2j], "<c8")
        f["b"] = numpy.array([True])
    put("hdf5", "tree", file.getvalue())


def seeds_tflite():
    f = Flat()

    def table(fields):
        return lambda: f.table(fields)

    quantization = table({2: f.vector("f", [0.5]), 3: f.vector("q", [3])})
    graph = table({
        0: f.tables([
            table({0: f.vector("i", [1, 2]), 1: ("b", 0), 3: f.text("x")}),
            table({0: f.vector("i", [2, 2]), 1: ("b", 9), 2: ("I", 1),
                   3: f.text("d/kernel;d/MatMul"), 4: quantization}),
            table({0: f.vector("i", [1, 2]), 1: ("b", 0), 3: f.text("d/y")}),
            table({0: f.vector("i", [1]), 1: ("b", 5), 2: ("I", 2),
                   3: f.text("s")})]),
        1: f.vector("i", [0]), 2: f.vector("i", [2]),
        3: f.tables([table({0: ("I", 0), 1: f.vector("i", [0, 1, -1]),
                            2: f.vector("i", [2])})]),
        4: f.text("main")})
    text = struct.pack("<3i", 1, 12, 14) + b"hi"
    root = f.table({
        0: ("I", 3), 1: f.tables([table({0: ("b", 9), 2: ("i", 1)})]),
        2: f.tables([graph]), 3: f.text("a seed"),
        4: f.tables([table({}), table({0: f.vector("B", b"\1\2\3\4")}),
                     table({0: f.vector("B", text)})]),
        6: f.tables([table({0: f.text("m"), 1: ("I", 1)})])})
    struct.pack_into("<I", f.data, 0, root)
    put("tflite", "quantised", bytes(f.data))


def put_lite(name, m, *ends):
    path = os.path.join(TOP, "tflite", name)
    m.write(path, *(ends or ([], [])))


def seeds_tflite_parts():
    m = Lite()
    lite.one_of_two(m)
    put_lite("branches", m)
    m = Lite()
    lite.counted(m, 2)
    put_lite("loop", m)
    m = Lite()
    m.sparse("c", lite.in_blocks("f4"), [0, 1, 2, 3], [1], [(0, 2), (1, 4)],
             form="B")
    put_lite("sparse", m)
    m = Lite()
    lite.signal_window(m)
    put_lite("custom", m)


def seeds_darknet():
    put("darknet", "layers", weights.CFG.encode())


def seeds_paddle():
    w = weights.paddle_arrays()
    put("paddle", "program", weights.paddle_program(w))
    put("paddle", "tensors", weights.joined(w))


def seeds_coreml():
    put("coreml", "layers", weights.coreml_file(weights.coreml_arrays()))
    put("coreml", "program", weights.program(("b", 21, (5,), 192)))
    put("coreml", "bits", weights.network(weights.coreml_layer(
        "d", 140, weights.message((1, 4), (2, 2), (20, weights.quantised(
            range(8), 3, (102, weights.message((1, numpy.ones(8))))))))))


seeds_safetensors()
seeds_coreml()
seeds_darknet()
seeds_paddle()
seeds_hdf5()
seeds_sstable()
seeds_tf()
seeds_tf_control()
def layers_model(model, **weights):
    """As TensorFlow.js writes it, without the numbers."""
    return json.dumps({
        "modelTopology": {"keras_version": "2.11", "model_config": model},
        "weightsManifest": [{"paths": ["w.bin"], "weights": [
            {"name": n.replace("__", "/"), "shape": list(s),
             "dtype": "float32"} for n, s in weights.items()]}]}).encode()


def seeds_text():
    put("tf", "text", b"\4node { name: \"x\" op: 'Placeholder' attr { key: "
        b"\"dtype\" value { type: DT_FLOAT } } }\n# y\nnode < name: \"y\" "
        b"op: \"Neg\" input: [\"x\"] attr { key: 'i' value { list { "
        b"i: [1, -2] f: 1e3 } } } >\nversions { producer: 0x21 }\n")
    blob = field(5, struct.pack("<2f", 1, 2)) + field(7, field(1, b"\2"))
    put("tf", "caffe", b"\5" + field(1, b"net") + field(
        100, field(1, b"c/dw") + field(2, b"Convolution") + field(7, blob)))


def seeds_tfjs():
    conv = keras.sequential((5, 5, 3), keras.layer(
        "Conv2D", "c", kernel_size=[3, 3], padding="same",
        activation="relu"), keras.layer("BatchNormalization", "b", axis=[3]),
        keras.layer("GlobalAveragePooling2D", "g"))
    put("tfjs", "conv", layers_model(conv, c__kernel=(3, 3, 3, 4),
                                     b__moving_mean=(4,),
                                     b__moving_variance=(4,)))
    inner = keras.layer("LSTM", "l", units=2, return_sequences=True)
    both = keras.sequential((6, 3), keras.layer(
        "Bidirectional", "b", layer=inner, merge_mode="concat"))
    names = {"b__%s_l__%s" % (way, n): s for way in ("forward", "backward")
             for n, s in (("kernel", (3, 8)), ("recurrent_kernel", (2, 8)),
                          ("bias", (8,)))}
    put("tfjs", "lstm", layers_model(both, **names))
    put("tfjs", "shared", layers_model(keras.shared_model(),
                                       inner__d__kernel=(3, 3)))
    put("tfjs", "attention", layers_model(
        keras.attention_model(),
        **{"heads__%s__kernel" % n: (6, 2, 4)
           for n in ("query", "key", "value")},
        heads__attention_output__kernel=(2, 4, 6)))


# ---- whole models, for mutants ----

def h5(**datasets):
    import h5py
    out = io.BytesIO()
    with h5py.File(out, "w") as f:
        for name, data in datasets.items():
            f[name.replace("__", "/")] = data
    return out.getvalue()


def seeds_keras():
    model = keras.sequential((2,), keras.layer("Dense", "d", units=2))
    files = {"config.json": json.dumps(model),
             "metadata.json": json.dumps({"keras_version": "3.0.0"}),
             "model.weights.h5": h5(layers__d__vars__0=numpy.eye(2, dtype="f4"),
                                    layers__d__vars__1=numpy.ones(2, "f4"))}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, data in files.items():
            z.writestr(name, data)
            put("models/keras", name,
                data if isinstance(data, bytes) else data.encode())
    put("models", "m.keras", out.getvalue())


def seeds_hf():
    shards = {}
    for i in (1, 2):
        name = "model-%05d-of-00002.safetensors" % i
        shards["a.%d" % i] = name
        put("models/hf", name, safetensors(
            {"a.%d" % i: {"dtype": "F16", "shape": [2],
                          "data_offsets": [0, 4]}}, bytes(4)))
    put("models/hf", "model.safetensors.index.json", json.dumps(
        {"metadata": {"total_size": 8}, "weight_map": shards}).encode())
    put("models/hf", "config.json", b'{"model_type": "x", "layers": 2}')


def seeds_split():
    for i in range(2):
        w = ggml.Writer()
        w.key("split.no", ggml.U16, i)
        w.key("split.count", ggml.U16, 2)
        w.key("split.tensors.count", ggml.I32, 2)
        w.array("t%d" % i, numpy.arange(4), "I16")
        put("models/m-00001-of-00002.gguf.files",
            "m-%05d-of-00002.gguf" % (i + 1), w.bytes())


def seeds_llama2c():
    dim, hidden, layers, heads, vocab, positions = 4, 6, 1, 2, 5, 3
    n = (vocab * dim + layers * (2 * dim + 4 * dim * dim + 3 * dim * hidden) +
         dim + 2 * positions * (dim // heads // 2))
    put("models", "llama2c.bin", struct.pack(
        "<7i", dim, hidden, layers, heads, heads, vocab, positions) +
        numpy.arange(n, dtype="<f4").tobytes())
    put("models", "ggml.bin", b"lmgg" + struct.pack("<8I", *range(8)))


def seeds_bundle():
    entries = [(b"", field(1, 1) + field(3, b""))]
    for i, name in enumerate((b"w", b"w/m")):
        entries.append((name, field(1, 1) + field(2, shape_of(2)) +
                        field(4, 8 * i) + field(5, 8)))
    index, data = table(entries), struct.pack("<4f", 1, 2, 3, 4)
    with open(os.path.join(TOP, "models", "saved"), "rb") as f:
        saved = f.read()
    with open(os.path.join(TOP, "models", "meta"), "rb") as f:
        meta = f.read()
    put("models/saved_model", "saved_model.pb", saved)
    put("models/ck.meta.files", "ck.meta", meta)
    for stem in ("saved_model/variables/variables", "checkpoint/variables",
                 "ck.meta.files/ck"):
        put("models", stem + ".index", index)
        put("models", stem + ".data-00000-of-00001", data)


def seeds_external():
    e = helper.make_tensor("e", TensorProto.FLOAT, [2], [1, 2])
    e.ClearField("float_data")
    e.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "e.bin"), ("offset", "4"),
                       ("length", "8")):
        e.external_data.add(key=key, value=value)
    folder = "models/m.onnx.files"
    put(folder, "m.onnx", onnx_model(
        [helper.make_node("Add", ["x", "e"], ["y"])], [e]))
    put(folder, "e.bin", bytes(12))


def seeds_js():
    folder = os.path.join(TOP, "models", "js")
    os.makedirs(folder, exist_ok=True)
    keras.write_js(folder, keras.sequential(
        (2,), keras.layer("Dense", "d", units=2)), {
            "d/kernel": numpy.eye(2, dtype="f4"),
            "d/bias": numpy.ones(2, "f4")})


def seeds_models():
    seeds_keras()
    seeds_hf()
    seeds_split()
    seeds_llama2c()
    seeds_bundle()
    seeds_external()
    seeds_js()


seeds_text()
seeds_models()
seeds_tfjs()
seeds_tflite()
seeds_gguf()
seeds_dtype()
seeds_json()
seeds_onnx()
seeds_op()
seeds_torch()
seeds_pickle()
seeds_zip()
seeds_script()
seeds_programs()
seeds_export()
seeds_tar()
seeds_flax()
seeds_arrays()
seeds_image()
seeds_regex()
