#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
Trains the small network that modelfs ships as its example, and writes it in
three formats together with an input and what every module hands out for it.

    ./train_digits.py [DIRECTORY]

Needs Debian's python3-torch, python3-onnx and python3-sklearn (whose data
set of 1,797 handwritten digits, 8x8 pixels, it learns).  A few seconds
are enough.  The same machine gives the same files; other versions of the
libraries give slightly different weights, which is why the files are kept
beside the script.
"""
import json
import os
import struct
import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

EPOCHS = 40
TRAIN = 1437  # of 1797 images, in the order of the data set


class Block(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, n):
        super().__init__()
        self.conv1 = nn.Conv2d(n, n, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n)
        self.conv2 = nn.Conv2d(n, n, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n)
        self.relu = nn.ReLU()

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + x)


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(2)
        self.layer1 = nn.Sequential(Block(12))
        self.fc = nn.Linear(12 * 4 * 4, 10)

    def forward(self, image):
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        x = self.layer1(x)
        logits = self.fc(torch.flatten(x, 1))
        return logits, F.softmax(logits, dim=1)


def load():
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(digits.target)
    return (x[:TRAIN], y[:TRAIN]), (x[TRAIN:], y[TRAIN:])


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        return (net(x)[0].argmax(1) == y).float().mean().item()


def train(net, x, y):
    opt = torch.optim.Adam(net.parameters(), lr=3e-3, weight_decay=1e-4)
    order = torch.Generator().manual_seed(1)
    for epoch in range(EPOCHS):
        net.train()
        if epoch == EPOCHS * 3 // 4:
            opt.param_groups[0]["lr"] = 3e-4
        for batch in torch.randperm(len(x), generator=order).split(64):
            opt.zero_grad()
            F.cross_entropy(net(x[batch])[0], y[batch]).backward()
            opt.step()


SAFETENSORS = {torch.float32: "F32", torch.int64: "I64"}


def save_safetensors(path, state):
    """The container: u64 length, JSON padded to 8 bytes, then the data."""
    header, blobs, off = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(state):
        data = state[name].contiguous().numpy().tobytes()
        header[name] = {
            "dtype": SAFETENSORS[state[name].dtype],
            "shape": list(state[name].shape),
            "data_offsets": [off, off + len(data)],
        }
        blobs.append(data)
        off += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def save_onnx(path, net, image):
    torch.onnx.export(
        net, image, path, opset_version=13,
        # Else BatchNorm would be folded away; it is worth looking at.
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        input_names=["image"], output_names=["logits", "prob"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"},
                      "prob": {0: "N"}})


def activations(net, image):
    """What every module hands out, by its dotted name."""
    found, hooks = {}, []
    for name, module in net.named_modules():
        if name:
            hooks.append(module.register_forward_hook(
                lambda m, i, o, name=name: found.setdefault(
                    name, []).append(o.numpy().copy())))
    with torch.no_grad():
        logits, prob = net(image)
    for hook in hooks:
        hook.remove()
    # A module called more than once (relu) has no single output.
    found = {k: v[0] for k, v in found.items() if len(v) == 1}
    return {**found, "logits": logits.numpy(), "prob": prob.numpy()}


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(
        os.path.abspath(__file__))
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    net = Digits()
    (x, y), (test_x, test_y) = load()
    train(net, x, y)
    print("accuracy on %d unseen images: %.3f"
          % (len(test_x), accuracy(net, test_x, test_y)))
    net.eval()
    state = net.state_dict()
    torch.save(state, os.path.join(out, "digits.pt"))
    save_safetensors(os.path.join(out, "digits.safetensors"), state)
    image = test_x[:1]
    save_onnx(os.path.join(out, "digits.onnx"), net, image)
    np.save(os.path.join(out, "image.npy"), image.numpy())
    np.savez(os.path.join(out, "expected.npz"), **activations(net, image))
    print("the image shows a %d" % test_y[0].item())


main()
