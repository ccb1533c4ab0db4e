# SPDX-License-Identifier: MIT
"""Keras models: what the configuration says is computed, by run/.

Most are written as TensorFlow.js writes them, a JSON text and the numbers
behind each other; with h5py there are .h5 and .keras, too.  What is expected
comes from a few lines of numpy.
"""
import errno
import io
import json
import os
import zipfile

import numpy as np

from e2e import (Skip, case, fails_with, main, mounted, read, run, same,
                 tempdir, text, write)

RNG = np.random.default_rng(5)


def numbers(*shape):
    return (RNG.standard_normal(shape) * 0.5).astype("f4")


def layer(cls, name, inbound=None, **config):
    made = {"class_name": cls, "config": dict(config, name=name)}
    if inbound is not None:
        made.update(name=name, inbound_nodes=inbound)
    return made


def take(*names):
    """One call, with these values."""
    return [[n, 0, 0, {}] if isinstance(n, str) else list(n) + [{}]
            for n in names]


def given(name, *shape):
    return layer("InputLayer", name, [], batch_input_shape=[None, *shape],
                 dtype="float32")


def sequential(shape, *layers):
    return {"class_name": "Sequential",
            "config": {"name": "net", "layers": [
                layer("InputLayer", "x", batch_input_shape=[None, *shape],
                      dtype="float32"), *layers]}}


def functional(layers, outputs, inputs=("x",), name="net"):
    return {"class_name": "Functional", "name": name,
            "config": {"name": name, "layers": layers,
                       "input_layers": [[n, 0, 0] for n in inputs],
                       "output_layers": [[n, 0, 0] for n in outputs]}}


def write_js(folder, model, weights):
    specs = [{"name": n, "shape": list(a.shape), "dtype": "float32"}
             for n, a in weights.items()]
    with open(folder + "/w.bin", "wb") as f:
        f.write(b"".join(a.tobytes() for a in weights.values()))
    with open(folder + "/model.json", "w") as f:
        json.dump({"format": "layers-model",
                   "modelTopology": {"keras_version": "2.11.0",
                                     "model_config": model},
                   "weightsManifest": [{"paths": ["w.bin"],
                                        "weights": specs}]}, f)


def compute(model, weights, x, out):
    """Value `out` of run/cli, for input x."""
    with tempdir() as tmp:
        write_js(tmp, model, weights)
        np.save(tmp + "/x.npy", x)
        got = run("--in", "x=%s/x.npy" % tmp, "--cat", tmp, "run/cli/" + out)
        assert got.returncode == 0, got.stderr
        return np.load(io.BytesIO(got.stdout))


def near(got, want, what=""):
    assert got.shape == want.shape, (what, got.shape, want.shape)
    assert got.dtype == np.float32, got.dtype
    err = np.abs(got.astype("f8") - want).max()
    assert err < 1e-5, (what, err)


def conv2d(x, k, stride):
    """SAME padding, channels last."""
    n, h, w, _ = x.shape
    kh, kw, _, co = k.shape
    oh, ow = -(-h // stride), -(-w // stride)
    ph = max((oh - 1) * stride + kh - h, 0)
    pw = max((ow - 1) * stride + kw - w, 0)
    x = np.pad(x, ((0, 0), (ph // 2, ph - ph // 2),
                   (pw // 2, pw - pw // 2), (0, 0)))
    y = np.zeros((n, oh, ow, co))
    for i in range(oh):
        for j in range(ow):
            at = x[:, i * stride:i * stride + kh, j * stride:j * stride + kw]
            y[:, i, j] = np.einsum("nhwc,hwco->no", at, k)
    return y


@case(mount=False)
def convolution_and_its_activation():
    x, k, b = numbers(2, 7, 6, 3), numbers(3, 3, 3, 4), numbers(4)
    model = sequential((7, 6, 3), layer(
        "Conv2D", "block1_conv1", strides=[2, 2], padding="same",
        kernel_size=[3, 3], activation="relu"),
        layer("Flatten", "flat"))
    weights = {"block1_conv1/kernel": k, "block1_conv1/bias": b}
    want = np.maximum(conv2d(x, k, 2) + b, 0)
    near(compute(model, weights, x, "act/block1_conv1/output.npy"), want)
    near(compute(model, weights, x, "out/flat.npy"), want.reshape(2, -1))


@case(mount=False)
def depthwise_with_a_multiplier():
    x, k = numbers(1, 5, 5, 2), numbers(2, 2, 2, 3)
    model = sequential((5, 5, 2), layer(
        "DepthwiseConv2D", "deep", kernel_size=[2, 2], padding="same",
        depth_multiplier=3, use_bias=False))
    dense = np.zeros((2, 2, 2, 6))
    for c in range(2):
        dense[:, :, c, 3 * c:3 * c + 3] = k[:, :, c]
    near(compute(model, {"deep/depthwise_kernel": k}, x, "out/deep.npy"),
         conv2d(x, dense, 1))


@case(mount=False)
def normalisation_over_any_axis():
    x = numbers(2, 4, 3)
    g, b, m = numbers(4), numbers(4), numbers(4)
    v = np.abs(numbers(4)) + 0.1
    model = sequential(
        (4, 3), layer("BatchNormalization", "bn", axis=[1], epsilon=0.01),
        layer("LayerNormalization", "ln", axis=[1], epsilon=0.02))
    weights = {"bn/gamma": g, "bn/beta": b, "bn/moving_mean": m,
               "bn/moving_variance": v, "ln/gamma": g, "ln/beta": b}

    def over(a):
        return a[None, :, None].astype("f8")
    y = (x - over(m)) / np.sqrt(over(v) + 0.01) * over(g) + over(b)
    z = (y - y.mean(1, keepdims=True)) / np.sqrt(
        y.var(1, keepdims=True) + 0.02) * over(g) + over(b)
    near(compute(model, weights, x, "act/bn/output.npy"), y)
    near(compute(model, weights, x, "out/ln.npy"), z)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, k, r, b):
    n = r.shape[0]
    h = c = np.zeros((x.shape[0], n))
    steps = []
    for t in range(x.shape[1]):
        z = x[:, t] @ k + h @ r + b
        i, f, g, o = (z[:, j * n:(j + 1) * n] for j in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        steps.append(h)
    return np.stack(steps, 1)


@case(mount=False)
def lstm_both_ways():
    x = numbers(2, 6, 3)
    w = [{"kernel": numbers(3, 8), "recurrent_kernel": numbers(2, 8),
          "bias": numbers(8)} for _ in range(2)]
    inner = layer("LSTM", "lstm", units=2, activation="tanh",
                  recurrent_activation="sigmoid", return_sequences=True)
    model = sequential((6, 3), layer("Bidirectional", "both", layer=inner,
                                     merge_mode="concat"))
    weights = {"both/%s_lstm/lstm_cell/%s" % (way, n): a
               for way, part in zip(("forward", "backward"), w)
               for n, a in part.items()}
    want = np.concatenate(
        [lstm(x, *w[0].values()), lstm(x[:, ::-1], *w[1].values())[:, ::-1]],
        -1)
    near(compute(model, weights, x, "out/both.npy"), want)


@case(mount=False)
def gru_that_resets_after():
    x, k, r, b = numbers(1, 5, 3), numbers(3, 6), numbers(2, 6), numbers(2, 6)
    model = sequential((5, 3), layer(
        "GRU", "gru", units=2, activation="tanh", reset_after=True,
        recurrent_activation="sigmoid"))
    h = np.zeros((1, 2))
    for t in range(5):
        a, s = x[:, t] @ k + b[0], h @ r + b[1]
        z, reset = sigmoid(a[:, :2] + s[:, :2]), sigmoid(a[:, 2:4] + s[:, 2:4])
        h = z * h + (1 - z) * np.tanh(a[:, 4:] + reset * s[:, 4:])
    near(compute(model, {"gru/kernel": k, "gru/recurrent_kernel": r,
                         "gru/bias": b}, x, "out/gru.npy"), h)


def skipping_lstm(x, mask, k, r, b, zero=False):
    """Steps that do not count change nothing; the result before is handed
    out again, or zeros."""
    n = r.shape[0]
    out = np.zeros((x.shape[0], x.shape[1], n))
    for row in range(x.shape[0]):
        keep = np.flatnonzero(mask[row])
        if len(keep) == 0:
            continue
        made = lstm(x[row:row + 1, keep], k, r, b)[0]
        for t in range(x.shape[1]):
            last = np.searchsorted(keep, t, "right") - 1
            if last >= 0 and (mask[row, t] or not zero):
                out[row, t] = made[last]
    return out


def words(*rows):
    return np.array(rows, "f4")


WORDS = words([1, 2, 3, 0, 0], [0, 0, 4, 5, 1], [2, 0, 3, 0, 4], [0] * 5,
              [5, 4, 3, 2, 1])


def masked_model(*layers):
    return sequential((5,), layer("Embedding", "rows", input_dim=6,
                                  output_dim=3, mask_zero=True), *layers)


def lstm_layer(name, **config):
    return layer("LSTM", name, units=2, activation="tanh",
                 recurrent_activation="sigmoid", **config)


def lstm_weights(name, width=3):
    return {"%s/kernel" % name: numbers(width, 8),
            "%s/recurrent_kernel" % name: numbers(2, 8),
            "%s/bias" % name: numbers(8)}


@case(mount=False)
def sequences_with_steps_left_out():
    table, mask = numbers(6, 3), WORDS != 0
    x = table[WORDS.astype(int)]
    for config in ({"return_sequences": True}, {},
                   {"return_sequences": True, "go_backwards": True},
                   {"go_backwards": True},
                   {"return_sequences": True, "zero_output_for_mask": True}):
        w = lstm_weights("lstm")
        turn = slice(None, None, -1 if "go_backwards" in config else 1)
        want = skipping_lstm(x[:, turn], mask[:, turn], *w.values(),
                             zero="zero_output_for_mask" in config)
        if "return_sequences" not in config:
            want = want[:, -1]
        got = compute(masked_model(lstm_layer("lstm", **config)),
                      {"rows/embeddings": table, **w}, WORDS, "out/lstm.npy")
        near(got, want, config)


@case(mount=False)
def masks_go_from_layer_to_layer():
    table, mask = numbers(6, 3), WORDS != 0
    w = [lstm_weights("first"), lstm_weights("second", 4)]
    dense = numbers(2, 4)
    model = masked_model(
        lstm_layer("first", return_sequences=True), layer("Dropout", "drop"),
        layer("Dense", "dense", units=4, use_bias=False, activation="linear"),
        layer("Masking", "again", mask_value=9.0),
        lstm_layer("second", return_sequences=True),
        layer("GlobalAveragePooling1D", "mean"))
    h = skipping_lstm(table[WORDS.astype(int)], mask, *w[0].values()) @ dense
    # Masking makes a mask of its own: no step is all nines.
    h = skipping_lstm(h, np.ones_like(mask), *w[1].values())
    weights = {"rows/embeddings": table, "dense/kernel": dense}
    near(compute(model, {**weights, **w[0], **w[1]}, WORDS, "out/mean.npy"),
         h.mean(1))


@case(mount=False)
def an_average_of_the_steps_that_count():
    table, mask = numbers(6, 3), WORDS[:3] != 0
    x = table[WORDS[:3].astype(int)] * mask[..., None]
    got = compute(masked_model(layer("GlobalAveragePooling1D", "mean")),
                  {"rows/embeddings": table}, WORDS[:3], "out/mean.npy")
    near(got, x.sum(1) / mask.sum(1, keepdims=True))


@case(mount=False)
def masks_both_ways():
    """Of both ways, steps left out are zeros."""
    x = numbers(3, 5, 3)
    x[0, 3:] = x[1, :2] = x[2, 1] = 0.5
    mask = (x != 0.5).any(-1)
    inner = lstm_layer("lstm", return_sequences=True)
    w = [lstm_weights("both/%s_lstm/lstm_cell" % way)
         for way in ("forward", "backward")]
    model = sequential((5, 3), layer("Masking", "mask", mask_value=0.5),
                       layer("Bidirectional", "both", layer=inner,
                             merge_mode="concat"))
    back = skipping_lstm(x[:, ::-1], mask[:, ::-1], *w[1].values(), zero=True)
    want = np.concatenate([skipping_lstm(x, mask, *w[0].values(), zero=True),
                           back[:, ::-1]], -1)
    near(compute(model, {**w[0], **w[1]}, x, "out/both.npy"), want)


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def attending(config, cls="Attention"):
    return functional([
        given("x", 5),
        layer("Embedding", "rows", take("x"), input_dim=6, output_dim=3,
              mask_zero=True),
        layer(cls, "mixed", [take("rows", "rows")], **config)], ["mixed"])


@case(mount=False)
def attention_of_one_head():
    table, mask = numbers(6, 3), WORDS[:3] != 0
    v = table[WORDS[:3].astype(int)].astype("f8")
    low = np.where(mask[:, None], 0, -1e9)
    scale = np.float32(0.7)
    weights = {"rows/embeddings": table, "mixed/scale": scale}

    def want(scores):
        return (softmax(scores + low) @ v) * mask[..., None]
    scores = v @ v.transpose(0, 2, 1)
    near(compute(attending({"use_scale": True}), weights, WORDS[:3],
                 "out/mixed.npy"), want(scores * scale))
    causal = np.where(np.tri(5), 0, -1e9)
    near(compute(attending({"causal": True}), weights, WORDS[:3],
                 "out/mixed.npy"), want(np.minimum(scores + causal, scores)))
    pairs = v[:, :, None] + v[:, None]
    weights["mixed/scale"] = numbers(3)
    near(compute(attending({}, "AdditiveAttention"), weights, WORDS[:3],
                 "out/mixed.npy"),
         want((weights["mixed/scale"] * np.tanh(pairs)).sum(-1)))
    weights["mixed/concat_score_weight"] = np.float32(1.3)
    near(compute(attending({"score_mode": "concat"}), weights, WORDS[:3],
                 "out/mixed.npy"), want(1.3 * np.tanh(pairs).sum(-1)))


def conv_same(x, k):
    return conv2d(x, k, 1)


@case(mount=False)
def an_lstm_of_convolutions():
    x, f = numbers(2, 3, 4, 5, 2), 3
    k, r, b = numbers(3, 3, 2, 4 * f), numbers(3, 3, f, 4 * f), numbers(4 * f)
    weights = {"cl/kernel": k, "cl/recurrent_kernel": r, "cl/bias": b}
    for config in ({"return_sequences": True}, {"go_backwards": True}):
        model = sequential((3, 4, 5, 2), layer(
            "ConvLSTM2D", "cl", filters=f, kernel_size=[3, 3],
            padding="same", activation="tanh", **config,
            recurrent_activation="sigmoid"))
        h = c = np.zeros((2, 4, 5, f))
        steps = []
        for t in range(3)[::-1 if "go_backwards" in config else 1]:
            z = conv_same(x[:, t], k) + conv_same(h, r) + b
            i, o = sigmoid(z[..., :f]), sigmoid(z[..., 3 * f:])
            c = sigmoid(z[..., f:2 * f]) * c + i * np.tanh(
                z[..., 2 * f:3 * f])
            h = o * np.tanh(c)
            steps.append(h)
        near(compute(model, weights, x, "out/cl.npy"),
             np.stack(steps, 1) if "return_sequences" in config else h)


@case(mount=False)
def a_layer_for_each_step():
    x, k = numbers(2, 3, 5, 6, 2), numbers(3, 3, 2, 4)
    inner = layer("Conv2D", "conv", kernel_size=[3, 3], padding="same",
                  strides=[2, 2], use_bias=False, activation="relu")
    model = sequential(x.shape[1:], layer("TimeDistributed", "each",
                                          layer=inner))
    want = np.stack([np.maximum(conv2d(x[:, t], k, 2), 0)
                     for t in range(3)], 1)
    near(compute(model, {"each/kernel": k}, x, "out/each.npy"), want)
    inner = lstm_layer("lstm")
    w = lstm_weights("each")
    model = sequential((4, 5, 3), layer("TimeDistributed", "each",
                                        layer=inner))
    x = numbers(2, 4, 5, 3)
    want = lstm(x.reshape(8, 5, 3), *w.values())[:, -1].reshape(2, 4, 2)
    near(compute(model, w, x, "out/each.npy"), want)


@case(mount=False)
def a_cell_in_a_recurrent_layer():
    x, w = numbers(2, 5, 3), lstm_weights("rnn/lstm_cell")
    cell = {"class_name": "LSTMCell", "config": {
        "name": "lstm_cell", "units": 2, "activation": "tanh",
        "recurrent_activation": "sigmoid"}}
    model = sequential((5, 3), layer("RNN", "rnn", cell=cell,
                                     return_sequences=True))
    near(compute(model, w, x, "out/rnn.npy"), lstm(x, *w.values()))


@case(mount=False)
def normalisation_of_groups():
    x, g, b = numbers(2, 3, 4, 6), numbers(6), numbers(6)
    for groups in (2, 3, -1):
        model = sequential((3, 4, 6), layer(
            "GroupNormalization", "gn", groups=groups, axis=-1,
            epsilon=0.01))
        n = 6 if groups == -1 else groups
        v = x.astype("f8").reshape(2, 12, n, 6 // n)
        v = (v - v.mean((1, 3), keepdims=True)) / np.sqrt(
            v.var((1, 3), keepdims=True) + 0.01)
        near(compute(model, {"gn/gamma": g, "gn/beta": b}, x, "out/gn.npy"),
             v.reshape(x.shape) * g + b)
        near(compute(model, {"gn/beta": b}, x, "out/gn.npy"),
             v.reshape(x.shape) + b)
    model = sequential((3, 4, 6), layer("RMSNormalization", "rms", axis=-1,
                                        epsilon=1e-6))
    near(compute(model, {"rms/scale": g}, x, "out/rms.npy"),
         x / np.sqrt((x ** 2).mean(-1, keepdims=True) + 1e-6) * g)


@case(mount=False)
def products_of_two_values():
    x = numbers(2, 3, 4)

    def dot(axes):
        return functional([given("x", 3, 4), layer(
            "Dot", "dot", [take("x", "x")], axes=axes, normalize=False)],
            ["dot"])
    near(compute(dot(-1), {}, x, "out/dot.npy"),
         np.einsum("abs,acs->abc", x, x))
    near(compute(dot([1, 1]), {}, x, "out/dot.npy"),
         np.einsum("asb,asc->abc", x, x))
    flat = functional([given("x", 4), layer(
        "Dot", "dot", [take("x", "x")], axes=1, normalize=False)], ["dot"])
    near(compute(flat, {}, x[0], "out/dot.npy"),
         (x[0] ** 2).sum(1, keepdims=True))


def scattered(x, k, stride, same, size):
    """What a convolution of this stride would have been made from."""
    n, h, w, _ = x.shape
    kh, kw, co, _ = k.shape
    full = np.zeros((n, (h - 1) * stride + kh + stride,
                     (w - 1) * stride + kw + stride, co))
    for i in range(h):
        for j in range(w):
            full[:, i * stride:i * stride + kh,
                 j * stride:j * stride + kw] += np.einsum(
                     "nc,hwoc->nhwo", x[:, i, j], k)
    cut = [max((a - 1) * stride + b - s, 0) // 2 if same else 0
           for a, b, s in zip((h, w), (kh, kw), size)]
    return full[:, cut[0]:cut[0] + size[0], cut[1]:cut[1] + size[1]]


@case(mount=False)
def transposed_convolution_and_its_padding():
    x, k = numbers(1, 4, 5, 2), numbers(3, 3, 3, 2)
    for padding, more, size in (
            ("same", None, (8, 10)), ("valid", None, (9, 11)),
            ("same", [1, 1], (8, 10)), ("same", [0, 1], (7, 10)),
            ("valid", [1, 0], (10, 11))):
        model = sequential((4, 5, 2), layer(
            "Conv2DTranspose", "up", kernel_size=[3, 3], strides=[2, 2],
            padding=padding, output_padding=more, use_bias=False,
            activation="linear"))
        near(compute(model, {"up/kernel": k}, x, "out/up.npy"),
             scattered(x, k, 2, padding == "same", size), (padding, more))


@case(mount=False)
def sizes_of_images():
    x = numbers(1, 4, 6, 2)

    def at(size, to, kind):
        p = (np.arange(to) + 0.5) * size / to - (kind == "bilinear") * 0.5
        if kind == "nearest":
            return np.eye(size)[np.floor(p).astype(int)]
        p = np.clip(p, 0, size - 1)
        low = np.floor(p).astype(int)
        high = np.minimum(low + 1, size - 1)
        return (np.eye(size)[low] * (1 - (p - low))[:, None]
                + np.eye(size)[high] * (p - low)[:, None])
    for kind in ("nearest", "bilinear"):
        want = np.einsum("ah,bw,nhwc->nabc", at(4, 7, kind), at(6, 9, kind),
                         x)
        model = sequential((4, 6, 2), layer("Resizing", "r", height=7,
                                            width=9, interpolation=kind))
        near(compute(model, {}, x, "out/r.npy"), want, kind)


def shared_model():
    """A model called twice in a model, and a number as an argument."""
    inner = functional([given("z", 3), layer("Dense", "d", [take("z")],
                                             activation="linear")],
                       ["d"], ["z"], "inner")
    inner["inbound_nodes"] = [take("x"), take(("inner", 0, 0))]
    return functional(
        [given("x", 3), inner,
         layer("TFOpLambda", "half",
               [["inner", 1, 0, {"y": 0.5, "name": None}]],
               function="math.multiply"),
         layer("Add", "sum", [take("half", ("inner", 0, 0))])], ["sum"])


@case(mount=False)
def models_in_models():
    x, k, b = numbers(2, 3), numbers(3, 3), numbers(3)
    weights = {"inner/d/kernel": k, "inner/d/bias": b}
    once = x @ k + b
    twice = once @ k + b
    near(compute(shared_model(), weights, x, "out/sum.npy"),
         twice * 0.5 + once)
    near(compute(shared_model(), weights, x, "values/inner/d.npy"), once)
    near(compute(shared_model(), weights, x, "values/inner#1/d.npy"), twice)
    near(compute(shared_model(), weights, x,
                 "act/inner/call_1/d/output.npy"), twice)


@case
def what_nobody_knows_is_not_computed():
    model = sequential((3,), layer("Dense", "one", activation="linear"),
                       layer("Lambda", "custom", function=["4wEAAA==", None]),
                       layer("Activation", "last", activation="relu"))
    k = numbers(3, 2)
    with tempdir() as tmp:
        write_js(tmp, model, {"one/kernel": k})
        with mounted(tmp) as mnt:
            os.mkdir(mnt + "/run/r")
            x = numbers(1, 3)
            f = io.BytesIO()
            np.save(f, x)
            same(write(mnt + "/run/r/in/x.npy", f.getvalue()), 0)
            near(np.load(mnt + "/run/r/values/one.npy"), x @ k)
            fails_with(errno.EOPNOTSUPP, read, mnt + "/run/r/values/last.npy")
            assert "Lambda" in text(mnt, "graph/nodes.tsv")


@case(mount=False)
def too_many_calls_are_no_graph():
    # Each level calls the one below ten times.
    model = functional([given("x", 3), layer("Activation", "a", [take("x")],
                                             activation="relu")], ["a"])
    for i in range(8):
        model = dict(model, name="m", inbound_nodes=[take("x")] * 10)
        model["config"] = dict(model["config"], name="m")
        model = functional([given("x", 3), model], ["m"])
    with tempdir() as tmp:
        write_js(tmp, model, {})
        info = json.loads(run("--cat", tmp, "info.json").stdout)
        assert "calls of layers" in info["graph"], info
        assert "graph" not in run("--ls", tmp).stdout.decode().split()


@case(mount=False)
def a_cycle_is_shown_and_not_run():
    model = functional([given("x", 3),
                        layer("Add", "a", [take("x", "b")]),
                        layer("Activation", "b", [take("a")],
                              activation="relu")], ["b"])
    with tempdir() as tmp:
        write_js(tmp, model, {})
        same(run("--cat", tmp, "graph/nodes.tsv").returncode, 0)
        np.save(tmp + "/x.npy", numbers(1, 3))
        got = run("--in", "x=%s/x.npy" % tmp, "--cat", tmp,
                  "run/cli/out/b.npy")
        assert got.returncode != 0 and got.stdout == b""


@case(mount=False)
def odd_configurations_do_no_harm():
    odd = [None, 7, [], {}, "x", [[]], [["x"]], [["x", -1, 0]], {"a": {}},
           [["x", 0, 0, {"y": [[[[["x", 0, 0]]]]]}]], [["x", 1 << 40, 3]]]
    for value in odd:
        for key in ("inbound_nodes", "config", "name", "class_name"):
            bad = layer("Dense", "d", [take("x")], activation="linear")
            bad[key] = value
            with tempdir() as tmp:
                write_js(tmp, functional([given("x", 3), bad], ["d"]),
                         {"d/kernel": numbers(3, 2)})
                assert run("--ls", tmp, "graph").returncode in (0, 1)
        for key in ("activation", "units", "kernel_size", "strides",
                    "padding", "data_format", "axis", "layers", "name"):
            bad = layer("Conv2D", "c", [take("x")], kernel_size=[1, 1],
                        padding="same")
            bad["config"][key] = value
            with tempdir() as tmp:
                write_js(tmp, functional([given("x", 4, 4, 3), bad], ["c"]),
                         {"c/kernel": numbers(1, 1, 3, 2)})
                assert run("--ls", tmp, "graph").returncode in (0, 1)


def h5_module():
    try:
        import h5py
    except ImportError:
        raise Skip("no h5py")
    return h5py


@case(mount=False)
def hdf5_of_keras_2():
    h5py = h5_module()
    x, k, b = numbers(2, 3), numbers(3, 3), numbers(3)
    with tempdir() as tmp:
        with h5py.File(tmp + "/m.h5", "w") as f:
            f.attrs["keras_version"] = "2.11.0"
            f.attrs["model_config"] = json.dumps(shared_model())
            top = f.create_group("model_weights")
            top.attrs["layer_names"] = [b"x", b"inner", b"half", b"sum"]
            for name in ("x", "inner", "half", "sum"):
                group = top.create_group(name)
                group.attrs["weight_names"] = np.zeros(0)
            top["inner"].attrs["weight_names"] = [b"d/kernel:0", b"d/bias:0"]
            top["inner"]["d/kernel:0"] = k
            top["inner"]["d/bias:0"] = b
        same(run("--cat", tmp + "/m.h5", "model/inner/d/kernel").stdout,
             k.tobytes())
        np.save(tmp + "/x.npy", x)
        got = run("--in", "x=%s/x.npy" % tmp, "--cat", tmp + "/m.h5",
                  "run/cli/out/sum.npy")
        near(np.load(io.BytesIO(got.stdout)),
             (x @ k + b) @ k * 0.5 + b * 0.5 + x @ k + b)


@case(mount=False)
def folders_and_shards():
    h5py = h5_module()
    x, k, b = numbers(1, 3), numbers(3, 4), numbers(4)
    k2 = numbers(4, 2)
    model = sequential((3,), layer("Dense", "first", activation="relu"),
                       layer("Dense", "second", activation="linear",
                             use_bias=False))
    with tempdir() as tmp:
        with open(tmp + "/config.json", "w") as f:
            json.dump(model, f)
        with open(tmp + "/metadata.json", "w") as f:
            f.write('{"keras_version": "3.10.0"}')
        with h5py.File(tmp + "/model_00000.weights.h5", "w") as f:
            f["layers/dense/vars/0"], f["layers/dense/vars/1"] = k, b
        with h5py.File(tmp + "/model_00001.weights.h5", "w") as f:
            f["layers/dense_1/vars/0"] = k2
        index = {"/layers/dense/vars": "model_00000.weights.h5",
                 "/layers/dense_1/vars": ["model_00001.weights.h5"]}
        with open(tmp + "/model.weights.json", "w") as f:
            json.dump({"metadata": {}, "weight_map": index}, f)
        np.save(tmp + "/x.npy", x)
        same(run("--cat", tmp, "model/second/kernel").stdout, k2.tobytes())
        got = run("--in", "x=%s/x.npy" % tmp, "--cat", tmp,
                  "run/cli/out/second.npy")
        near(np.load(io.BytesIO(got.stdout)), np.maximum(x @ k + b, 0) @ k2)
        # A shard that is missing, or that would lie elsewhere.
        for name in ("absent.h5", "../model_00000.weights.h5", "/etc/passwd"):
            index["/layers/dense/vars"] = name
            with open(tmp + "/model.weights.json", "w") as f:
                json.dump({"weight_map": index}, f)
            same(run("--ls", tmp).returncode, 1)


def tensor_3(name, node=0):
    return {"class_name": "__keras_tensor__",
            "config": {"shape": [None, 6], "dtype": "float32",
                       "keras_history": [name, node, 0]}}


def attention_model():
    """Keras 3: query, value and key are the same three steps."""
    x = tensor_3("x")
    return {"class_name": "Functional", "config": {"name": "net", "layers": [
        {"class_name": "InputLayer", "name": "x", "inbound_nodes": [],
         "config": {"batch_shape": [None, 3, 6], "dtype": "float32",
                    "name": "x"}},
        {"class_name": "MultiHeadAttention", "name": "heads",
         "config": {"name": "heads", "num_heads": 2, "key_dim": 4},
         "inbound_nodes": [{"args": [x, x], "kwargs": {"key": x}}]}],
        "input_layers": [["x", 0, 0]], "output_layers": ["heads", 0, 0]}}


@case(mount=False)
def attention_in_an_archive_of_keras_3():
    h5py = h5_module()
    x = numbers(1, 3, 6)
    w = {n: (numbers(6, 2, 4), numbers(2, 4)) for n in "qkv"}
    w["o"] = numbers(2, 4, 6), numbers(6)
    groups = {"q": "query_dense", "k": "key_dense", "v": "value_dense",
              "o": "output_dense"}
    with tempdir() as tmp:
        with h5py.File(tmp + "/w.h5", "w") as f:
            for n, group in groups.items():
                at = f.create_group(
                    "layers/multi_head_attention/%s/vars" % group)
                at["0"], at["1"] = w[n]
        with zipfile.ZipFile(tmp + "/m.keras", "w") as z:
            z.writestr("metadata.json", '{"keras_version": "3.8.0"}')
            z.writestr("config.json", json.dumps(attention_model()))
            z.write(tmp + "/w.h5", "model.weights.h5")
        np.save(tmp + "/x.npy", x)
        got = run("--in", "x=%s/x.npy" % tmp, "--cat", tmp + "/m.keras",
                  "run/cli/out/heads.npy")
        assert got.returncode == 0, got.stderr
    q, k, v = (np.einsum("btc,chd->bthd", x, w[n][0]) + w[n][1]
               for n in "qkv")
    s = np.einsum("bthd,bshd->bhts", q, k) / 2
    p = np.exp(s) / np.exp(s).sum(-1, keepdims=True)
    mixed = np.einsum("bhts,bshd->bthd", p, v)
    near(np.load(io.BytesIO(got.stdout)),
         np.einsum("bthd,hdc->btc", mixed, w["o"][0]) + w["o"][1])


if __name__ == "__main__":
    main()
