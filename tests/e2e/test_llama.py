# SPDX-License-Identifier: MIT
"""Models that carry no graph but whose architecture is known: Llama."""
import glob
import io
import json
import os
import struct
import sys

import numpy as np

from e2e import Skip, TOP, case, main, mounted, run, same, tempdir, text, write

sys.path.insert(0, os.path.join(TOP, "tests", "golden"))
from ggml import F32, STRING, U32, Writer  # noqa: E402

V, D, H, K, HD, HID, L = 20, 16, 4, 2, 4, 24, 2
EPS, BASE = 1e-5, 500.0
TOKENS = np.array([3, 1, 4, 1, 5, 9, 2], "<i8")


def good(*args):
    r = run(*args)
    assert r.returncode == 0, (args, r.returncode, r.stderr)
    return r.stdout


def weights(bias=False, tied=False):
    """By GGUF's names."""
    rng = np.random.default_rng(7)

    def make(*shape):
        return rng.standard_normal(shape).astype("f4") * np.float32(0.3)
    w = {"token_embd.weight": make(V, D), "output_norm.weight": make(D)}
    if not tied:
        w["output.weight"] = make(V, D)
    for i in range(L):
        p = "blk.%d." % i
        for name, shape in {"attn_norm": (D,), "ffn_norm": (D,),
                            "attn_q": (H * HD, D), "attn_k": (K * HD, D),
                            "attn_v": (K * HD, D), "attn_output": (D, H * HD),
                            "ffn_gate": (HID, D), "ffn_up": (HID, D),
                            "ffn_down": (D, HID)}.items():
            w[p + name + ".weight"] = make(*shape)
        if bias:
            for name, n in [("attn_q", H * HD), ("attn_k", K * HD),
                            ("attn_v", K * HD)]:
                w[p + name + ".bias"] = make(n)
    return w


def forward(w, tokens, interleaved, factors=None):
    """The same in float64, with nothing in common but the formulas."""
    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * w[name]

    def linear(x, name):
        return x @ w[name + ".weight"].T.astype("f8") + w.get(
            name + ".bias", 0)

    n = len(tokens)
    freq = BASE ** (-np.arange(0, HD, 2) / HD)
    if factors is not None:
        freq = freq / factors
    angle = np.arange(n)[:, None, None] * freq
    c, s = np.cos(angle), np.sin(angle)

    def rotate(x):
        if interleaved:
            a, b = x[..., 0::2], x[..., 1::2]
            return np.stack([a * c - b * s, a * s + b * c],
                            -1).reshape(x.shape)
        a, b = x[..., :HD // 2], x[..., HD // 2:]
        return np.concatenate([a * c - b * s, a * s + b * c], -1)

    x = w["token_embd.weight"][tokens].astype("f8")
    for i in range(L):
        p = "blk.%d." % i
        h = norm(x, p + "attn_norm.weight")
        q = rotate(linear(h, p + "attn_q").reshape(n, H, HD))
        k = rotate(linear(h, p + "attn_k").reshape(n, K, HD))
        v = linear(h, p + "attn_v").reshape(n, K, HD)
        k, v = k.repeat(H // K, 1), v.repeat(H // K, 1)
        score = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(HD)
        score[:, np.triu(np.ones((n, n), bool), 1)] = -np.inf
        e = np.exp(score - score.max(-1, keepdims=True))
        o = np.einsum("hqk,khd->qhd", e / e.sum(-1, keepdims=True), v)
        x = x + linear(o.reshape(n, -1), p + "attn_output")
        h = norm(x, p + "ffn_norm.weight")
        g = linear(h, p + "ffn_gate")
        x = x + linear(g / (1 + np.exp(-g)) * linear(h, p + "ffn_up"),
                       p + "ffn_down")
    x = norm(x, "output_norm.weight")
    head = w.get("output.weight", w["token_embd.weight"])
    return x @ head.T.astype("f8")


def gguf(path, w, arch="llama", **extra):
    f = Writer()
    f.key("general.architecture", STRING, arch)
    for name, v in dict({"block_count": L, "attention.head_count": H,
                         "attention.head_count_kv": K}, **extra).items():
        f.key("%s.%s" % (arch, name), U32, v)
    f.key(arch + ".attention.layer_norm_rms_epsilon", F32, EPS)
    f.key(arch + ".rope.freq_base", F32, BASE)
    for name, a in w.items():
        f.array(name, a, "F32")
    with open(path, "wb") as out:
        out.write(f.bytes())


def logits(source, tmp):
    np.save(tmp + "/tokens.npy", TOKENS)
    return np.load(io.BytesIO(good(
        "--in", "tokens=" + tmp + "/tokens.npy", "--cat", source,
        "run/cli/out/logits.npy")))


def close(got, want):
    same(got.shape, want.shape)
    assert np.abs(got - want).max() < 1e-4, np.abs(got - want).max()


@case(mount=False)
def llama():
    with tempdir() as tmp:
        for tied in [False, True]:
            w = weights(tied=tied)
            gguf(tmp + "/m", w)
            close(logits(tmp + "/m", tmp), forward(w, TOKENS, True))


@case(mount=False)
def qwen2_has_biases_and_halves():
    with tempdir() as tmp:
        w = weights(bias=True)
        gguf(tmp + "/m", w, "qwen2")
        close(logits(tmp + "/m", tmp), forward(w, TOKENS, False))


@case(mount=False)
def factors_of_frequencies():
    with tempdir() as tmp:
        w = weights()
        w["rope_freqs.weight"] = np.array([1, 8], "f4")
        gguf(tmp + "/m", w)
        close(logits(tmp + "/m", tmp), forward(w, TOKENS, True, [1, 8]))


HF = {"token_embd": "model.embed_tokens", "output_norm": "model.norm",
      "output": "lm_head", "attn_norm": "input_layernorm",
      "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
      "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
      "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
      "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def hf_folder(tmp, w, **config):
    header, data = {}, b""
    for name, a in w.items():
        *at, module, leaf = name.split(".")
        full = HF[module] + "." + leaf
        if at:
            full = "model.layers.%s.%s" % (at[1], full)
        header[full] = {"dtype": "F32", "shape": list(a.shape),
                        "data_offsets": [len(data), len(data) + a.nbytes]}
        data += a.tobytes()
    text_ = json.dumps(header).encode()
    with open(tmp + "/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text_)) + text_ + data)
    with open(tmp + "/config.json", "w") as f:
        json.dump(dict({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "num_hidden_layers": L, "num_attention_heads": H,
            "num_key_value_heads": K, "rms_norm_eps": EPS,
            "rope_theta": BASE, "hidden_act": "silu"}, **config), f)


@case(mount=False)
def folder_of_transformers():
    with tempdir() as tmp:
        w = weights(bias=True)
        hf_folder(tmp, w)
        close(logits(tmp, tmp), forward(w, TOKENS, False))


@case(mount=False)
def no_graph_where_it_would_be_wrong():
    with tempdir() as tmp:
        hf_folder(tmp, weights(), rope_scaling={"type": "linear"})
        assert "run/" not in good("--ls", tmp).decode().split()
        hf_folder(tmp, weights(), hidden_act="gelu")
        assert "run/" not in good("--ls", tmp).decode().split()
        w = weights()
        del w["blk.1.ffn_up.weight"]
        gguf(tmp + "/m", w)
        assert "run/" not in good("--ls", tmp + "/m").decode().split()
        info = json.loads(good("--cat", tmp + "/m", "info.json"))
        assert "blk.1.ffn_up.weight" in info["no_graph"], info
        for name, value in [("attention.head_count", 0), ("block_count", 0),
                            ("attention.head_count", 3),
                            ("attention.key_length", 3),
                            ("block_count", 2**31),
                            ("attention.head_count_kv", 0)]:
            gguf(tmp + "/m", weights(), **{name: value})
            assert "run/" not in good("--ls", tmp + "/m").decode().split()


@case
def a_run_in_a_mount():
    with tempdir() as tmp:
        w = weights()
        gguf(tmp + "/m", w)
        with mounted(tmp + "/m") as mnt:
            os.mkdir(mnt + "/run/x")
            same(text(mnt, "run/x/in/tokens.shape"), "n\n")
            same(text(mnt, "run/x/in/tokens.dtype"), "int64\n")
            write(mnt + "/run/x/in/tokens", TOKENS.tobytes())
            want = forward(w, TOKENS, True)
            close(np.load(mnt + "/run/x/out/logits.npy"), want)
            same(np.load(mnt + "/run/x/act/token_embd/output.npy").tolist(),
                 w["token_embd.weight"][TOKENS].tolist())
            x = np.load(mnt + "/run/x/act/blk/1/output.npy")
            same(x.shape, (7, D))
            q = np.load(mnt + "/run/x/act/blk/0/attn_q/output.npy")
            same(q.shape, (7, H * HD))
            # a token too many
            write(mnt + "/run/x/in/tokens", np.array([V], "<i8").tobytes())
            try:
                np.load(mnt + "/run/x/out/logits.npy")
                raise AssertionError("no such token")
            except OSError:
                pass


@case(mount=False)
def real_models():
    """ "Once upon a time" is followed by a comma. """
    top = os.environ.get("MODELFS_CORPUS")
    if not top:
        raise Skip("MODELFS_CORPUS is not set")
    paths = glob.glob(top + "/gguf/stories260K.gguf")
    if not paths:
        raise Skip("no stories260K in the corpus")
    paths += glob.glob(top + "/generated/gguf/stories260K-*.gguf")
    paths += glob.glob(top + "/generated/hf-llama-stories260K-*")
    with tempdir() as tmp:
        np.save(tmp + "/t.npy", np.array([1, 403, 407, 261, 378], "<i8"))
        for path in paths:
            out = np.load(io.BytesIO(good(
                "--in", "tokens=" + tmp + "/t.npy", "--cat", path,
                "run/cli/out/logits.npy")))[-1]
            p = np.exp(out - out.max())
            p /= p.sum()
            same(int(p.argmax()), 432)
            exact = path.endswith(("stories260K.gguf", "bin-sharded"))
            assert abs(p[432] - 0.968795) < (2e-6 if exact else 0.05), (
                path, p[432])


main()
