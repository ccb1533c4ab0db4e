#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes files of PyTorch and NumPy in every combination that they can write.

usage: make_torch.py DIR      (needs torch and numpy)

Every dtype, every form of strides, every container; then whole modules,
TorchScript, plain pickles and arrays.  compare.py reads them again.
"""
import collections
import io
import json
import os
import pickle
import sys
import zipfile

import numpy
import torch
import torch.package

TOP = sys.argv[1]

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16,
          torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
          torch.bool, torch.complex64, torch.complex128]


def base(dtype):
    t = torch.arange(-12, 12).reshape(2, 3, 4)
    if dtype.is_complex:
        return torch.complex(t.double(), t.double() / 3).to(dtype)
    if dtype.is_floating_point:
        return (t.double() / 7).to(dtype)
    return t.abs().to(dtype) if dtype == torch.uint8 else t.to(dtype)


FORMS = {
    "whole": lambda t: t,
    "transposed": lambda t: t.transpose(0, 2),
    "permuted": lambda t: t.permute(1, 2, 0),
    "slice": lambda t: t[:, 1:, 1:3],
    "row": lambda t: t[1, 2],
    "step": lambda t: t[:, ::2, ::3],
    "element": lambda t: t[1, 1, 1],
    "expanded": lambda t: t[:, :1, :1].expand(2, 5, 3),
    "empty": lambda t: t[:, :0],
    "overlap": lambda t: t.as_strided((5, 4), (2, 1), 3),
    "channels_last": lambda t: t[None].contiguous(
        memory_format=torch.channels_last),
}


def path(name):
    return os.path.join(TOP, name)


def save_states():
    for dtype in DTYPES:
        name = str(dtype).split(".")[1]
        state = collections.OrderedDict()
        shared = base(dtype)
        for form, view in FORMS.items():
            state["own." + form] = view(base(dtype))
            state["shared." + form] = view(shared)
        torch.save(state, path(name + ".zip.pt"))
        torch.save(state, path(name + ".legacy.pt"),
                   _use_new_zipfile_serialization=False)
        for protocol in (3, 4, 5):
            torch.save(state, path("%s.protocol%d.pt" % (name, protocol)),
                       pickle_protocol=protocol)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, stride=2)
        self.bn = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4, 2, bias=False)
        self.tied = torch.nn.Linear(4, 2, bias=False)
        self.tied.weight = self.fc.weight
        self.register_buffer("scale", torch.tensor([2.0]))

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x))).mean((2, 3))
        return self.fc(x) * self.scale + self.tied(x)


def save_modules():
    torch.manual_seed(1)
    layers = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 3),
                                 torch.nn.BatchNorm1d(3), torch.nn.LSTM(3, 4))
    torch.save(layers, path("module.pt"))
    torch.save(layers, path("module.legacy.pt"),
               _use_new_zipfile_serialization=False)
    net = Net().eval()
    script = torch.jit.script(net)
    torch.jit.save(script, path("script.jit"))
    torch.jit.save(torch.jit.trace(net, torch.ones(1, 3, 8, 8)),
                   path("trace.jit"))
    torch.jit.save(torch.jit.freeze(script), path("frozen.jit"))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    torch.save({"model": net.state_dict(), "epoch": 7, "lr": 0.5,
                "optimizer": optimizer.state_dict(), "names": ["a", "b"],
                5: torch.ones(1), "5": torch.zeros(1)},
               path("checkpoint.pt"))


def save_quantized():
    x = torch.arange(-12, 12).reshape(4, 6).float() / 7
    state = {}
    for dtype in (torch.quint8, torch.qint8, torch.qint32):
        name = str(dtype).split(".")[1]
        t = torch.quantize_per_tensor(x, 0.1, 3, dtype)
        state[name] = t
        state[name + "_t"] = t.t()
        state[name + "_channel"] = torch.quantize_per_channel(
            x, torch.rand(4).double() + 0.1, torch.zeros(4).long(), 0, dtype)
    state["float_zero"] = torch.quantize_per_channel(
        x, torch.rand(4) + 0.1, torch.rand(4), 0, torch.quint8)
    for dtype in (torch.quint4x2, torch.quint2x4):
        state[str(dtype).split(".")[1]] = torch.quantize_per_channel(
            x, torch.rand(4) + 0.1, torch.zeros(4), 0, dtype)
    save_both(state, "quantized")


def save_both(value, name):
    torch.save(value, path(name + ".pt"))
    torch.save(value, path(name + ".legacy.pt"),
               _use_new_zipfile_serialization=False)


def save_sparse():
    save_both({
        "eye": torch.eye(5).to_sparse(),
        "twice": torch.sparse_coo_tensor([[0, 0], [1, 1]], [1., 2.], (2, 3)),
        "hybrid": torch.sparse_coo_tensor([[0, 2]], torch.ones(2, 4), (3, 4)),
        "csr": torch.eye(6).to_sparse_csr()}, "sparse")


def save_forms():
    """Parameters, complex views, and optimisers of every kind."""
    tagged = torch.nn.Parameter(torch.ones(2))
    tagged.tag, tagged.more = "hello", torch.ones(5)
    save_both({"tagged": tagged,
               "list": torch.nn.ParameterList([torch.ones(2),
                                               torch.zeros(3)]).state_dict(),
               "dict": torch.nn.ParameterDict({"a": torch.ones(2)})
               .state_dict()}, "parameters")
    x = torch.arange(-12, 12).reshape(4, 6).float() / 7
    z = torch.complex(x, x)
    save_both({"z": z, "conj": z.conj(), "t": z.t()}, "complex")
    save_both({"imag": z.imag, "neg": z.conj().imag}, "negative")
    keys = {1: torch.ones(1), (1, 2): torch.ones(2), None: torch.ones(3),
            2.5: torch.ones(5), "..": torch.ones(7), "a/b": torch.ones(9),
            "A": torch.ones(1), "a": torch.ones(2), "z" * 300: torch.ones(2),
            "w": torch.ones(1), "w.npy": torch.ones(2)}
    save_both(keys, "keys")
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    net(torch.ones(1, 3)).sum().backward()
    states = {}
    for kind, more in (("SGD", {"lr": 0.1, "momentum": 0.9}), ("Adam", {}),
                       ("Adamax", {}), ("RMSprop", {"momentum": 0.1})):
        optimizer = getattr(torch.optim, kind)(net.parameters(), **more)
        optimizer.step()
        states[kind] = optimizer.state_dict()
    states["scaler"] = torch.cuda.amp.GradScaler().state_dict()
    average = torch.optim.swa_utils.AveragedModel(net)
    states["average"] = average.state_dict()
    states["numbers"] = {"f": numpy.float32(1.5), "i": numpy.int64(7)}
    states["queue"] = collections.deque([1, torch.ones(2)])
    states["default"] = collections.defaultdict(list, q=[torch.ones(2)])
    save_both(states, "states")


def save_packages():
    with torch.package.PackageExporter(path("package.pt")) as package:
        package.extern("**")
        net = torch.nn.Sequential(torch.nn.Linear(3, 4))
        package.save_pickle("res", "state.pkl", net.state_dict())
        package.save_pickle("res.deep", "net.pkl", net)
        package.save_text("res", "note.txt", "hello")
    one = {"type": "cpu"}

    def meta(t):
        ints = [[{"as_int": i} for i in v] for v in (t.shape, t.stride())]
        return {"dtype": 7, "sizes": ints[0], "strides": ints[1],
                "storage_offset": {"as_int": t.storage_offset()},
                "requires_grad": False, "device": one, "layout": 7}
    flat, turned = torch.arange(6.0), torch.arange(6.0).reshape(2, 3).t()
    config, records = {}, {"archive_format": b"pt2", "archive_version": b"0"}
    for i, (name, t, pickled) in enumerate((
            ("a.w", flat, False), ("a.t", turned, False),
            ("a.q", flat[2:], True), ("b", torch.eye(3).to_sparse(), True))):
        out = io.BytesIO()
        torch.save(t, out)
        records["data/weights/weight_%d" % i] = out.getvalue() if pickled \
            else numpy.array(t.storage().tolist(), "<f4").tobytes()
        config[name] = {"path_name": "weight_%d" % i, "is_param": i == 0,
                        "use_pickle": pickled, "tensor_meta": meta(flat)
                        if pickled else meta(t)}
    records["data/weights/model_weights_config.json"] = json.dumps(
        {"config": config}).encode()
    with zipfile.ZipFile(path("new.pt2"), "w") as z:
        for name, data in records.items():
            z.writestr("new/" + name, data)


def save_records():
    kind = numpy.dtype([("id", "<i4"), ("box", ">f4", (2, 2)), ("s", "S5"),
                        ("in", [("x", "<f8"), ("y", ">i2", (3,)),
                                ("deep", [("q", "?")])], (2,)),
                        ("t", "M8[ns]"), ("v", "V3"), (("title", "b"), "u1")])
    raw = (numpy.arange(12 * kind.itemsize) % 97).astype("u1")
    a = numpy.frombuffer(raw.tobytes(), kind).reshape(4, 3).copy()
    a["in"]["deep"]["q"] = a["id"][..., None] % 2
    aligned = numpy.ones(5, numpy.dtype([("a", "u1"), ("b", "<f8")],
                                        align=True))
    numpy.save(path("records.npy"), a)
    numpy.save(path("records_f.npy"), numpy.asfortranarray(a))
    numpy.save(path("dates.npy"), numpy.array(["2020-01-01"], "M8[D]"))
    numpy.save(path("void.npy"), numpy.frombuffer(b"abcdef", "V2"))
    numpy.savez(path("records.npz"), k=a, none=a[:0], aligned=aligned)
    numpy.savez_compressed(path("records_slash.npz"),
                           **{"a/k": a, "a/o": numpy.array(
                               {"w": numpy.ones(2)}, dtype=object)})
    with open(path("dates.pkl"), "wb") as f:
        pickle.dump({"d": numpy.array(["2020-01-01"], "M8[D]"),
                     "v": numpy.frombuffer(b"abcdef", "V2"),
                     "u": numpy.array(["a", "bc"])}, f)


def save_arrays():
    arrays = {}
    for descr in ("?", "<i1", "<u1", "<i2", ">i2", "<u2", "<i4", ">i4", "<u4",
                  "<i8", "<u8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8",
                  "<c8", ">c8", "<c16"):
        a = numpy.arange(24).reshape(2, 3, 4).astype(descr)
        name = numpy.dtype(descr).str.strip("<|").replace(">", "big_")
        arrays[name] = a
        arrays[name + "_f"] = numpy.asfortranarray(a)
        arrays[name + "_scalar"] = a[1, 1, 1]
        arrays[name + "_empty"] = a[:, :0]
        numpy.save(path(name + ".npy"), numpy.asfortranarray(a))
    numpy.savez(path("stored.npz"), **arrays)
    numpy.savez_compressed(path("deflated.npz"), **arrays)
    for protocol in range(6):
        with open(path("arrays%d.pkl" % protocol), "wb") as f:
            pickle.dump({"deep": {"list": [arrays, 1, "x"]}}, f, protocol)
    objects = numpy.array([{"w": arrays["f4"]}, numpy.ones(2)], dtype=object)
    numpy.save(path("objects.npy"), objects)
    with open(path("version3.npy"), "wb") as f:
        numpy.lib.format.write_array(f, arrays["f4"], (3, 0))
    with open(path("version2.npy"), "wb") as f:
        numpy.lib.format.write_array(f, arrays["f4"], (2, 0))
    try:
        import joblib
    except ImportError:
        return
    for name, how in (("raw", 0), ("zlib", 3), ("gzip", ("gzip", 3)),
                      ("bz2", ("bz2", 3)), ("xz", ("xz", 3)),
                      ("lzma", ("lzma", 3))):
        joblib.dump({"a": arrays, "o": objects}, path(name + ".joblib"),
                    compress=how)


os.makedirs(TOP, exist_ok=True)
save_states()
save_modules()
save_quantized()
save_sparse()
save_forms()
save_packages()
save_records()
save_arrays()
