#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes files of PyTorch and NumPy in every combination that they can write.

usage: make_torch.py DIR      (needs torch and numpy)

Every dtype, every form of strides, every container; then whole modules,
TorchScript, plain pickles and arrays.  compare.py reads them again.
"""
import collections
import os
import pickle
import sys

import numpy
import torch

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
    for name, how in (("raw", 0), ("zlib", 3), ("gzip", ("gzip", 3))):
        joblib.dump({"a": arrays, "o": objects}, path(name + ".joblib"),
                    compress=how)


os.makedirs(TOP, exist_ok=True)
save_states()
save_modules()
save_arrays()
