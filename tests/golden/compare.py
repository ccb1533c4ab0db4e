#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Compare every parameter that modelfs reads with the reference libraries.

usage: compare.py DUMP FILE...

DUMP is the program built from dump.c.  Prints one line per file; the exit
status is 1 when any differs.  A file whose library is not installed, or that
the library itself refuses, is skipped.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile


class Skip(Exception):
    pass


def ours(dump, path):
    """{full name: [(dtype, dims, bytes or error), ...]}"""
    found = {}
    with tempfile.TemporaryDirectory() as tmp:
        run = subprocess.run([dump, path, tmp], capture_output=True)
        if run.returncode != 0:
            raise ValueError(run.stderr.decode(errors="replace").strip())
        for line in run.stdout.decode(errors="surrogateescape").split("\n"):
            if not line:
                continue
            num, _, name, dtype, dims, _, status, _ = line.split("\t")
            data = status
            if status == "ok":
                with open(os.path.join(tmp, num + ".raw"), "rb") as f:
                    data = f.read()
            shape = tuple(int(d) for d in dims.split())
            found.setdefault(name, []).append((dtype, shape, data))
    return found


# ---- references: yield (name, dtype, shape, bytes) ----

def read_safetensors(path):
    names = {"F64": "float64", "F32": "float32", "F16": "float16",
             "BF16": "bfloat16", "I64": "int64", "I32": "int32",
             "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
             "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        data = f.read()
    for name, t in header.items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        yield name, names[t["dtype"]], tuple(t["shape"]), data[begin:end]


def onnx_bytes(t):
    import numpy
    from onnx import TensorProto, numpy_helper
    if t.data_type == TensorProto.STRING:
        table, text = [0], b""
        for s in t.string_data:
            text += s
            table.append(len(text))
        return struct.pack("<%dQ" % len(table), *table) + text
    if t.raw_data:
        return t.raw_data
    if t.data_type == TensorProto.BFLOAT16:
        return numpy.array(t.int32_data, "<u2").tobytes()
    if t.data_type > 16:
        raise Skip("a type onnx does not know")
    return numpy_helper.to_array(t).tobytes()


ONNX_TYPES = ("none float32 uint8 int8 uint16 int16 int32 int64 string bool "
              "float16 float64 uint32 uint64 complex64 complex128 bfloat16 "
              "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz "
              "uint4 int4").split()


def onnx_tensor(name, t):
    return (name, ONNX_TYPES[t.data_type], tuple(t.dims), onnx_bytes(t))


def onnx_graph(graph, depth=0):
    for t in graph.initializer:
        yield onnx_tensor(t.name, t)
    for node in graph.node:
        for a in node.attribute:
            if node.op_type == "Constant" and a.name == "value":
                yield onnx_tensor(node.output[0], a.t)
            for sub in [a.g] if a.HasField("g") else a.graphs:
                yield from onnx_graph(sub, depth + 1)


def read_onnx(path):
    import onnx
    try:
        model = onnx.load(path)
    except Exception as e:
        raise Skip("onnx: %s" % e)
    if any(f.node for f in model.functions):
        raise Skip("functions are inlined")
    yield from onnx_graph(model.graph)


def torch_walk(value, name, seen):
    import torch
    if isinstance(value, torch.Tensor):
        yield name or "tensor", value
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from torch_walk(v, "%s.%s" % (name, k) if name else str(k),
                                  seen)
    elif isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            yield from torch_walk(v, "%s.%d" % (name, i) if name else str(i),
                                  seen)


def read_torch(path):
    import torch
    try:
        root = torch.load(path, map_location="cpu")
    except Exception as e:
        raise Skip("torch: %s" % str(e).split("\n")[0])
    if isinstance(root, torch.nn.Module):
        root = dict(root.state_dict())
    for name, t in torch_walk(root, "", set()):
        t = t.detach()
        if t.is_sparse or t.is_quantized:
            continue
        dtype = str(t.dtype).replace("torch.", "")
        t = t.contiguous()
        if t.dtype == torch.bfloat16:
            data = t.view(torch.int16)
        else:
            data = t
        yield name, dtype, tuple(t.shape), data.numpy().tobytes()


def reference(path):
    with open(path, "rb") as f:
        head = f.read(16)
    if path.endswith(".onnx"):
        return read_onnx(path)
    if path.endswith(".safetensors"):
        return read_safetensors(path)
    if head[:4] == b"PK\3\4" or head[:1] == b"\x80" or \
            path.endswith((".pt", ".pth", ".bin", ".tar")):
        return read_torch(path)
    raise Skip("no reference")


def compare(dump, path):
    want = list(reference(path))
    got = ours(dump, path)
    for name, dtype, shape, data in want:
        if not name:
            continue
        if (dtype, shape, data) not in got.get(name, []):
            near = [(d, s, len(b)) for d, s, b in got.get(name, [])]
            raise ValueError("%s: want %s %s %d bytes, got %s" %
                             (name, dtype, shape, len(data), near))
    return len(want)


def main():
    dump, failed = sys.argv[1], 0
    for path in sys.argv[2:]:
        try:
            n = compare(dump, path)
            print("ok - %s: %d parameters" % (path, n))
        except Skip as e:
            print("skip - %s (%s)" % (path, e))
        except ImportError as e:
            print("skip - %s (%s)" % (path, e))
        except ValueError as e:
            print("not ok - %s: %s" % (path, e))
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
