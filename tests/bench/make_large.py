#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
make_large - models as large as the largest there are, of holes.

    make_large.py folder DIR [SHARDS TENSORS]   163 shards, 91,000 tensors
    make_large.py gguf FILE [TENSORS TOKENS]    1,000 tensors, 128,000 tokens
    make_large.py layers DIR [BYTES WIDTH]      m.onnx: products, 2 GiB of weights

The data are holes: files of hundreds of gigabytes take a few megabytes.
"""
import json
import os
import struct
import sys

for there in "golden", "e2e":
    sys.path.insert(0, os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "..", there))
import onnx_recipe as recipe  # noqa: E402


def expert_names(n):
    """Names as a mixture of experts has them, in a few layers of many."""
    names = ["model.embed_tokens.weight", "lm_head.weight"]
    layer = 0
    while len(names) < n:
        at = "model.layers.%d." % layer
        names += [at + "self_attn.%s_proj.weight" % p for p in "qkvo"]
        for expert in range(256):
            for p in ["gate", "up", "down"]:
                name = "%smlp.experts.%d.%s_proj.weight" % (at, expert, p)
                names += [name, name + "_scale_inv"]
        layer += 1
    return names[:n]


def write_shard(path, names):
    header, off = {"__metadata__": {"format": "pt"}}, 0
    for name in names:
        scale = name.endswith("_inv")
        shape = [56, 16] if scale else [7168, 2048]
        size = 4 * 56 * 16 if scale else 7168 * 2048
        header[name] = {"dtype": "F32" if scale else "F8_E4M3",
                        "shape": shape, "data_offsets": [off, off + size]}
        off += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + off)


def folder(path, nshards=163, ntensors=91000):
    os.makedirs(path, exist_ok=True)
    names = expert_names(ntensors)
    per, weight_map = -(-ntensors // nshards), {}
    for i in range(nshards):
        shard = "model-%05d-of-%06d.safetensors" % (i + 1, nshards)
        part = names[i * per:(i + 1) * per]
        write_shard(os.path.join(path, shard), part)
        weight_map.update((n, shard) for n in part)
    for name, data in {
            "model.safetensors.index.json":
            {"metadata": {"total_size": 1}, "weight_map": weight_map},
            "config.json": {"architectures": ["DeepseekV3ForCausalLM"],
                            "model_type": "deepseek_v3"}}.items():
        with open(os.path.join(path, name), "w") as f:
            json.dump(data, f, indent=2)


def gguf(path, ntensors=1000, ntokens=128000):
    from ggml import ARRAY, F32, I32, STRING, Writer
    w = Writer()
    w.key("general.architecture", STRING, "llama")
    w.key("tokenizer.ggml.tokens", ARRAY,
          (STRING, ["token%d" % i for i in range(ntokens)]))
    w.key("tokenizer.ggml.scores", ARRAY,
          (F32, [i / 7 for i in range(ntokens)]))
    w.key("tokenizer.ggml.token_type", ARRAY, (I32, [1] * ntokens))
    size = 4096 * 4096 // 256 * 144
    for i in range(ntensors):
        w.tensor("blk.%d.part%d.weight" % (i // 10, i % 10), 12, (4096, 4096),
                 b"", i * size)
    head = w.bytes()
    head += bytes(-len(head) % 32)
    with open(path, "wb") as f:
        f.write(head)
        f.truncate(len(head) + ntensors * size)


def layers(path, size=2 << 30, width=8192):
    """Products one after the other; their weights lie in a file beside it."""
    os.makedirs(path, exist_ok=True)
    nbytes = 4 * width * width
    count = -(-size // nbytes)
    nodes, weights = [], []
    for i in range(count):
        place = {"location": "weights", "offset": i * nbytes,
                 "length": nbytes}
        weights.append(
            b"".join(recipe.number(1, d) for d in (width, width)) +
            recipe.number(2, recipe.F32) + recipe.blob(8, "w%d" % i) +
            b"".join(recipe.blob(13, recipe.blob(1, k) +
                                 recipe.blob(2, str(v)))
                     for k, v in place.items()) + recipe.number(14, 1))
        nodes.append(recipe.node(
            "MatMul", ["v%d" % i if i else "x", "w%d" % i],
            ["v%d" % (i + 1) if i < count - 1 else "y"], name="n%d" % i))
    with open(os.path.join(path, "m.onnx"), "wb") as f:
        f.write(recipe.model(nodes, [("x", recipe.F32, ["N", width])], ["y"],
                             weights))
    with open(os.path.join(path, "weights"), "wb") as f:
        f.truncate(count * nbytes)


if __name__ == "__main__":
    {"folder": folder, "gguf": gguf, "layers": layers}[sys.argv[1]](
        sys.argv[2], *map(int, sys.argv[3:]))
