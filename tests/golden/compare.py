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


class Packed:
    """A quantised tensor with several numbers in a byte."""
    def __init__(self, t):
        self.dtype = "uint4" if "4x2" in str(t.dtype) else "uint2"
        self.shape = tuple(t.shape)
        per_byte = 2 if self.dtype == "uint4" else 4
        # What int_repr gives is the storage, perhaps with some bytes more.
        size = (t.numel() + per_byte - 1) // per_byte
        self.data = bytes(t.int_repr().reshape(-1).tolist())[:size]


def torch_parts(name, t):
    """A tensor as (name, tensor) of what it is made of."""
    import torch
    if t.layout == torch.sparse_coo:
        yield name + ".indices", t._indices()
        yield name + ".values", t._values()
    elif t.layout == torch.sparse_csr:
        yield name + ".crow_indices", t.crow_indices()
        yield name + ".col_indices", t.col_indices()
        yield name + ".values", t.values()
    elif t.is_quantized:
        if t.dtype not in (torch.quint4x2, torch.quint2x4):
            yield name, t.int_repr()
        else:
            yield name, Packed(t)
        if t.qscheme() in (torch.per_channel_affine,
                           torch.per_channel_affine_float_qparams):
            yield name + ".scale", t.q_per_channel_scales()
            yield name + ".zero_point", t.q_per_channel_zero_points()
        else:
            yield name + ".scale", torch.tensor(t.q_scale(),
                                                dtype=torch.float64)
            yield name + ".zero_point", torch.tensor(t.q_zero_point())
    else:
        yield name, t


def is_tensor(value):
    return type(value).__module__.split(".")[0] == "torch" and \
        hasattr(value, "is_quantized")


def key_name(value, key):
    """As modelfs tells 5 from "5": where both are there."""
    if not isinstance(key, str) and str(key) in value:
        return "%s(%s)" % (type(key).__name__, key)
    if isinstance(key, tuple):
        return ",".join(map(str, key))
    return str(key)


def walk(value, name=""):
    """The tensors and arrays of nested containers and objects."""
    import numpy
    dot = name + "." if name else ""
    if is_tensor(value):
        yield from torch_parts(name or "tensor", value.detach())
    elif isinstance(value, numpy.ndarray) and value.dtype.kind == "O":
        items = value.reshape(-1)
        if value.ndim == 0:
            yield from walk(items[0], name)
            return
        for i, v in enumerate(items):
            yield from walk(v, "%s%d" % (dot, i))
    elif isinstance(value, (numpy.ndarray, numpy.generic)):
        yield name or "tensor", value
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from walk(v, dot + key_name(value, k))
    elif isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            yield from walk(v, "%s%d" % (dot, i))
    elif type(value).__module__.split(".")[0] not in ("builtins", "torch") \
            and hasattr(value, "__dict__"):
        yield from walk(vars(value), name)


def describe(items):
    """(name, tensor or array) as (name, dtype, shape, bytes)."""
    import numpy
    for name, t in items:
        if isinstance(t, Packed):
            yield name, t.dtype, t.shape, t.data
            continue
        if is_tensor(t):
            dtype = str(t.dtype).replace("torch.", "")
            t = t.resolve_conj().resolve_neg().contiguous()
            if dtype == "bfloat16":
                t = t.view(sys.modules["torch"].int16)
            t = t.cpu().numpy()
        else:
            t = numpy.asarray(t)
            if t.dtype.kind in "mM":
                t = t.view("i8")
            elif t.dtype.kind == "V":
                t = numpy.ascontiguousarray(t)
                t = t.view("u1").reshape(t.shape + (t.dtype.itemsize,))
            if t.dtype.kind not in "biufc":
                continue
            t = t.astype(t.dtype.newbyteorder("<"))
            dtype = t.dtype.name
        yield name, dtype, tuple(t.shape), t.tobytes()


def read_script(path):
    import torch
    module = torch.jit.load(path, map_location="cpu")
    state = module.state_dict()
    if state:
        return describe(state.items())
    # A frozen module has no parameters: its constants are the weights.
    _, constants = module.code_with_constants
    found = constants.const_mapping
    return describe(("constants." + k, v) for k, v in found.items())


def read_export(path):
    """The state and the constants of the old layout."""
    import io
    import zipfile
    import torch
    with zipfile.ZipFile(path) as z:
        for name in ("serialized_state_dict", "serialized_constants"):
            for end in (".pt", ".json"):
                if name + end in z.namelist():
                    root = torch.load(io.BytesIO(z.read(name + end)))
                    yield from describe(walk(root))


def read_new_export(path):
    """The archive layout, of weights and their description."""
    import io
    import zipfile
    import torch
    with zipfile.ZipFile(path) as z:
        top = z.namelist()[0].split("/")[0] + "/data/weights/"
        config = json.loads(z.read(top + "model_weights_config.json"))
        for name, item in config["config"].items():
            data = z.read(top + item["path_name"])
            if item["use_pickle"]:
                t = torch.load(io.BytesIO(data))
            else:
                meta = item["tensor_meta"]
                sizes, steps = ([v["as_int"] for v in meta[k]]
                                for k in ("sizes", "strides"))
                t = torch.frombuffer(bytearray(data), dtype=torch.float32)
                t = t.as_strided(sizes, steps, meta["storage_offset"]["as_int"])
            yield from describe(torch_parts(name, t))


def read_package(path):
    import zipfile
    import torch.package
    importer = torch.package.PackageImporter(path)
    with zipfile.ZipFile(path) as z:
        names = [n.split("/", 1)[1] for n in z.namelist()]
    for name in names:
        if name.startswith(".data/") or not name.endswith(".pkl"):
            continue
        folder, _, file = name.rpartition("/")
        value = importer.load_pickle(folder.replace("/", "."), file)
        if isinstance(value, torch.nn.Module):
            value = value.state_dict()
        yield from describe(walk(value, name[:-len(".pkl")]))


def records_of(path):
    import zipfile
    try:
        with zipfile.ZipFile(path) as z:
            return {n.split("/", 1)[-1] for n in z.namelist()}
    except zipfile.BadZipFile:
        return set()


def read_tar(path):
    """torch.save of 0.1, of which today's torch reads less than there is."""
    import io
    import pickle
    import struct
    import tarfile
    import numpy

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            if (module, name) == ("collections", "OrderedDict"):
                return super().find_class(module, name)
            return rebuild if name == "_rebuild_tensor_v2" else name

        def persistent_load(self, key):
            return tensors[key]

    def view(key, first, dims, steps):
        a = storages[key][first:]
        return numpy.lib.stride_tricks.as_strided(
            a, dims, [s * a.itemsize for s in steps])

    def rebuild(storage, first, dims, steps, *_):
        return view(storage[2], first, dims, steps)
    types = {"Float": "<f4", "Double": "<f8", "Long": "<i8", "Int": "<i4",
             "Short": "<i2", "Char": "i1", "Byte": "u1"}
    with tarfile.open(path) as tar:
        parts = {m.name.split("/")[-1]: tar.extractfile(m).read()
                 for m in tar.getmembers() if m.isfile()}
    f, storages, tensors = io.BytesIO(parts["storages"]), {}, {}
    for _ in range(Reader(f).load()):
        key, _, kind = Reader(f).load()
        dtype = numpy.dtype(types[kind[:-len("Storage")]])
        n, = struct.unpack("<q", f.read(8))
        storages[key] = numpy.frombuffer(f.read(n * dtype.itemsize), dtype)
    f = io.BytesIO(parts.get("tensors", pickle.dumps(0)))
    for _ in range(Reader(f).load()):
        key, storage, _ = Reader(f).load()
        rank, = struct.unpack("<i4x", f.read(8))
        dims = struct.unpack("<%dq" % rank, f.read(8 * rank))
        steps = struct.unpack("<%dq" % rank, f.read(8 * rank))
        first, = struct.unpack("<q", f.read(8))
        tensors[key] = view(storage, first, dims, steps)
    return describe(walk(Reader(io.BytesIO(parts["pickle"])).load()))


def read_torch(path):
    import tarfile
    import torch
    if tarfile.is_tarfile(path):
        return read_tar(path)
    records = records_of(path)
    if "archive_format" in records:
        return read_new_export(path)
    if path.endswith(".pt2"):
        return read_export(path)
    if ".data/version" in records:
        return read_package(path)
    if "constants.pkl" in records:
        return read_script(path)
    try:
        root = torch.load(path, map_location="cpu")
    except Exception as e:
        raise Skip("torch: %s" % str(e).split("\n")[0])
    if isinstance(root, torch.nn.Module):
        root = dict(root.state_dict())
    return describe(walk(root))


def read_numpy(path):
    import numpy
    loaded = numpy.load(path, allow_pickle=True, encoding="latin1")
    if isinstance(loaded, numpy.ndarray):
        if loaded.dtype.kind != "O":
            stem = os.path.basename(path)
            return describe(fields(loaded, stem[:-4]))
        return describe(walk(loaded))
    slash = any("/" in key for key in loaded.files)
    return describe((k, v) for key in loaded.files
                    for name, a in walk(loaded[key], key)
                    for k, v in fields(a, name, "/" if slash else "."))


def fields(a, name, dot="."):
    """The parts of records, by themselves."""
    if not a.dtype.names:
        yield name, a
        return
    for key in a.dtype.names:
        yield from fields(a[key], name + dot + key)


def open_pickle(f):
    """Reads classes that are not installed as plain objects."""
    import pickle
    import numpy

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            module = module.replace("numpy._core", "numpy.core")
            try:
                return super().find_class(module, name)
            except (ImportError, AttributeError):
                return type(name, (), {"__module__": "absent"})

    return Reader(f, encoding="latin1").load()


def read_pickle(path):
    with open(path, "rb") as f:
        try:
            root = open_pickle(f)
        except Exception as e:
            raise Skip("pickle: %s" % e)
    return describe(walk(root))


def read_joblib(path):
    import joblib
    return describe(walk(joblib.load(path)))


def read_msgpack(path):
    try:
        import msgpack
    except ImportError:
        raise Skip("no msgpack")
    import numpy

    def unpack(code, data):
        shape, dtype, raw = msgpack.unpackb(data, raw=False)
        return numpy.frombuffer(raw, dtype).reshape(shape)

    def names(value, name):
        if isinstance(value, dict):
            for k, v in value.items():
                yield from names(v, name + "/" + k if name else k)
        else:
            yield name, value
    with open(path, "rb") as f:
        root = msgpack.unpackb(f.read(), ext_hook=unpack, raw=False)
    return describe(names(root, ""))


def read_shards(path):
    """pytorch_model.bin.index.json"""
    import torch
    with open(path) as f:
        index = json.load(f)["weight_map"]
    for shard in sorted(set(index.values())):
        state = torch.load(os.path.join(os.path.dirname(path), shard))
        yield from describe((k, v) for k, v in state.items()
                            if index.get(k) == shard)


def keras_names(group, prefix=""):
    """{dataset: name}, as Keras' own attributes say."""
    def texts(at, name):
        if name in at.attrs:
            values = list(at.attrs[name])
        else:
            values, i = [], 0
            while "%s%d" % (name, i) in at.attrs:
                values += list(at.attrs["%s%d" % (name, i)])
                i += 1
        return [v.decode() if isinstance(v, bytes) else str(v)
                for v in values]
    for layer in texts(group, "layer_names"):
        for weight in texts(group[layer], "weight_names"):
            inside = ("/" + weight).find("/" + layer + "/") >= 0
            name = weight if inside else layer + "/" + weight
            yield name, group[layer][weight]


def read_hdf5(path):
    import io
    import zipfile
    import h5py
    import numpy
    file = path
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as z:
            file = io.BytesIO(z.read("model.weights.h5"))
    with h5py.File(file, "r") as f:
        root = f["model_weights"] if "model_weights" in f else f
        found = list(keras_names(root))
        if "layer_names" not in root.attrs and \
                "layer_names0" not in root.attrs:
            f.visititems(lambda name, item: found.append((name, item))
                         if isinstance(item, h5py.Dataset) else None)
        for name, item in found:
            if item.dtype.kind not in "fiub":
                continue
            data = numpy.ascontiguousarray(item[()])
            yield (name, data.dtype.name, item.shape,
                   data.astype(data.dtype.newbyteorder("<")).tobytes())


def table_blocks(data):
    """[(key, value)] of a table whose blocks are not compressed."""
    def varint(at):
        v = shift = 0
        while True:
            v |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                return v, at

    def entries(off, size):
        count, = struct.unpack_from("<I", data, off + size - 4)
        end, at, key = off + size - 4 - 4 * count, off, b""
        while at < end:
            shared, at = varint(at)
            added, at = varint(at)
            length, at = varint(at)
            key = key[:shared] + data[at:at + added]
            at += added + length
            yield key, at - length, length
    at = len(data) - 48
    for _ in range(2):
        _, at = varint(at)
    off, at = varint(at)
    size, at = varint(at)
    for _, handle, _ in list(entries(off, size)):
        start, handle = varint(handle)
        length, handle = varint(handle)
        for key, value, n in entries(start, length):
            yield key, data[value:value + n]


def message(data):
    """{field: [values]} of protobuf."""
    at, found = 0, {}

    def varint():
        nonlocal at
        v = shift = 0
        while True:
            v |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                return v
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7)
            size = varint() if size is None else size
            value, at = data[at:at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


TF_TYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 6: "int8",
            9: "int64", 10: "bool", 14: "bfloat16", 19: "float16"}


def read_bundle(path):
    with open(path, "rb") as f:
        pairs = list(table_blocks(f.read()))
    if pairs[0][1][:1] == b"\n":
        raise Skip("a checkpoint of version 1")
    nshards = message(pairs[0][1])[1][0]
    shards = []
    for i in range(nshards):
        name = "%s.data-%05d-of-%05d" % (path[:-6], i, nshards)
        with open(name, "rb") as f:
            shards.append(f.read())
    for key, value in pairs[1:]:
        e = message(value)
        dtype = TF_TYPES.get(e.get(1, [0])[0])
        if not dtype or 7 in e:
            continue
        dims = message(e.get(2, [b""])[0]).get(2, [])
        shape = tuple(message(d).get(1, [0])[0] for d in dims)
        off, size = e.get(4, [0])[0], e.get(5, [0])[0]
        yield (key.decode(), dtype, shape,
               shards[e.get(3, [0])[0]][off:off + size])


def typed_values(t, dtype):
    """The elements of a TensorProto without tensor_content, as bytes."""
    import numpy
    field = {"float32": 5, "float64": 6, "int64": 10, "bool": 11,
             "float16": 13, "bfloat16": 13}.get(dtype, 7)
    values = []
    for v in t.get(field, []):
        if not isinstance(v, bytes):
            values.append(v - (v >> 63 << 64))
        elif field in (5, 6):
            values += numpy.frombuffer(v, "<f%d" % (4 * (field - 4))).tolist()
        else:
            at = 0
            while at < len(v):
                n = shift = 0
                while True:
                    n |= (v[at] & 127) << shift
                    shift, at = shift + 7, at + 1
                    if v[at - 1] < 128:
                        break
                values.append(n - (n >> 63 << 64))
    if field == 13:
        return numpy.array(values, "<u2")
    return numpy.array(values, dtype)


def graph_constant(node):
    """A Const of a GraphDef as (name, dtype, shape, bytes); None for others."""
    import numpy
    if node.get(2) != [b"Const"]:
        return None
    for entry in map(message, node.get(5, [])):
        if entry.get(1) != [b"value"]:
            continue
        t = message(message(entry[2][0])[8][0])
        dtype = TF_TYPES.get(t.get(1, [0])[0])
        dims = message(t.get(2, [b""])[0]).get(2, [])
        shape = tuple(message(d).get(1, [0])[0] for d in dims)
        if not dtype:
            return None
        data = t.get(4, [b""])[0]
        if not data:
            values = typed_values(t, dtype)
            n = int(numpy.prod(shape, dtype="i8"))
            last = values[-1:] if len(values) else numpy.zeros(
                1, values.dtype)
            data = numpy.concatenate(
                [values, last.repeat(max(n - len(values), 0))])[:n].tobytes()
        return node[1][0].decode(), dtype, shape, data
    return None


def read_graph(path):
    """A frozen GraphDef: its constants."""
    with open(path, "rb") as f:
        data = f.read()
    if data[:1] != b"\n":
        raise Skip("no GraphDef")
    for node in message(data).get(1, []):
        found = graph_constant(message(node))
        if found:
            yield found


def packed_varints(values):
    found = []
    for v in values:
        if not isinstance(v, bytes):
            found.append(v)
            continue
        n = shift = 0
        for byte in v:
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                found.append(n)
                n = shift = 0
    return found


def read_caffe(path):
    """Blobs of layers, as (layer/number, ...): names are ours."""
    names = {b"BatchNorm": ("mean", "variance", "scale_factor"),
             b"PReLU": ("slope",)}
    with open(path, "rb") as f:
        net = message(f.read())
    for layer in map(message, net.get(100, [])):
        kind = names.get(layer[2][0], ("weight", "bias"))
        for i, blob in enumerate(map(message, layer.get(7, []))):
            shape = packed_varints(message(blob[7][0]).get(1, []))
            yield (layer[1][0].decode() + "/" + kind[i], "float32",
                   tuple(shape), blob[5][0])


def read_coreml(path):
    """Convolutions and dense layers of a neural network, as float32."""
    with open(path, "rb") as f:
        model = message(f.read())
    network = next(model[k][0] for k in (303, 403, 500) if k in model)
    for layer in map(message, message(network)[1]):
        name = layer[1][0].decode()
        if 100 in layer:
            p = message(layer[100][0])
            shape = (p[1][0], p[2][0]) + tuple(p[20][0])
            weight, bias = p[90][0], p.get(91)
        elif 140 in layer:
            p = message(layer[140][0])
            shape, weight, bias = (p[2][0], p[1][0]), p[20][0], p.get(21)
        else:
            continue
        yield name + "/weights", "float32", shape, message(weight)[1][0]
        if bias:
            yield name + "/bias", "float32", shape[:1], message(bias[0])[1][0]


TFLITE_TYPES = ("float32 float16 int32 uint8 int64 string bool int16 "
                "complex64 int8 float64").split()


class Table:
    """A table of a FlatBuffer."""

    def __init__(self, data, at):
        self.data, self.at = data, at

    def number(self, form, at):
        return struct.unpack_from("<" + form, self.data, at)[0]

    def field(self, k):
        vtable = self.at - self.number("i", self.at)
        if 4 + 2 * k >= self.number("H", vtable):
            return 0
        off = self.number("H", vtable + 4 + 2 * k)
        return self.at + off if off else 0

    def scalar(self, k, form):
        return self.number(form, self.field(k)) if self.field(k) else 0

    def vector(self, k):
        """Number of elements and where the first is."""
        at = self.field(k)
        if not at:
            return 0, 0
        at += self.number("I", at)
        return self.number("I", at), at + 4

    def tables(self, k):
        n, at = self.vector(k)
        return [Table(self.data, p + self.number("I", p))
                for p in range(at, at + 4 * n, 4)]


def read_tflite(path):
    with open(path, "rb") as f:
        data = f.read()
    model = Table(data, struct.unpack_from("<I", data)[0])
    buffers = model.tables(4)
    for i, graph in enumerate(model.tables(2)):
        n, at = graph.vector(4)
        prefix = data[at:at + n].decode() or "subgraph_%d" % i
        for t in graph.tables(0):
            n, at = t.vector(3)
            name = data[at:at + n].decode()
            size, start = buffers[t.scalar(2, "I")].vector(0)
            rank, dims = t.vector(0)
            kind = t.scalar(1, "b")
            if not size or not name or t.field(6) or \
                    kind >= len(TFLITE_TYPES) or kind == 5:
                continue
            yield (name if i == 0 else prefix + "/" + name,
                   TFLITE_TYPES[kind],
                   struct.unpack_from("<%di" % rank, data, dims),
                   data[start:start + size])


def sections(text):
    """[(type, options)] of a network of Darknet."""
    found = []
    for line in text.splitlines():
        line = "".join(line.split())
        if line.startswith("["):
            found.append((line[1:-1], {}))
        elif line and line[0] not in "#;":
            key, value = line.split("=", 1)
            found[-1][1].setdefault(key, value)
    return found


def read_darknet(path):
    """Convolutions, which must be all of the file."""
    cfg = os.path.splitext(path)[0] + ".cfg"
    if not os.path.exists(cfg):
        raise Skip("no .cfg")
    with open(path, "rb") as f:
        data = f.read()
    at, channels, outs = 20, 3, []
    with open(cfg) as f:
        layers = sections(f.read())[1:]
    for i, (kind, o) in enumerate(layers):
        if kind == "convolutional":
            n, size = int(o["filters"]), int(o["size"])
            shape = (n, channels // int(o.get("groups", 1)), size, size)
            parts = [("bias", (n,))]
            if int(o.get("batch_normalize", 0)):
                parts += [(k, (n,)) for k in ("scales", "rolling_mean",
                                              "rolling_variance")]
            for name, shape in parts + [("weight", shape)]:
                size = 4
                for d in shape:
                    size *= d
                yield ("layer_%d/convolutional/%s" % (i, name), "float32",
                       shape, data[at:at + size])
                at += size
            channels = n
        elif kind == "route":
            refs = [int(r) for r in o["layers"].split(",")]
            channels = sum(outs[r if r >= 0 else i + r] for r in refs)
            channels //= int(o.get("groups", 1))
        outs.append(channels)
    if at != len(data):
        raise ValueError("%d of %d bytes" % (at, len(data)))


def reference(path):
    with open(path, "rb") as f:
        head = f.read(16)
    if path.endswith(".onnx"):
        return read_onnx(path)
    if path.endswith(".safetensors"):
        return read_safetensors(path)
    for end, read in ((".npy", read_numpy), (".npz", read_numpy),
                      (".pkl", read_pickle), (".joblib", read_joblib),
                      (".msgpack", read_msgpack),
                      (".bin.index.json", read_shards)):
        if path.endswith(end):
            return read(path)
    if path.endswith(".keras") or head[:8] == b"\x89HDF\r\n\x1a\n":
        return read_hdf5(path)
    if path.endswith(".index"):
        return read_bundle(path)
    if path.endswith(".caffemodel"):
        return read_caffe(path)
    if path.endswith(".mlmodel"):
        return read_coreml(path)
    if path.endswith(".weights"):
        return read_darknet(path)
    if path.endswith(".tflite"):
        return read_tflite(path)
    if path.endswith(".pb"):
        return read_graph(path)
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
