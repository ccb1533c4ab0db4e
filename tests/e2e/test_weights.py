# SPDX-License-Identifier: MIT
"""Files of weights that are not read by a library of ours: Darknet."""
import io
import struct

import numpy as np

from e2e import case, main, run, same, tempdir

RNG = np.random.default_rng(17)


def put(folder, name, data):
    with open("%s/%s" % (folder, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def listing(path):
    got = run("--ls", path, "tensors")
    assert got.returncode == 0, got.stderr
    return got.stdout.decode().split()


def tensor(path, name):
    got = run("--cat", path, "tensors/%s.npy" % name)
    assert got.returncode == 0, got.stderr
    return np.load(io.BytesIO(got.stdout))


def why_not(path):
    got = run("--ls", path)
    same(got.returncode, 1)
    return got.stderr.decode()


# ---- Darknet ----

CFG = """# a comment
[net]
width = 8
height=6
channels=3

[convolutional]
batch_normalize=1
filters=4
size=3
stride=2
pad=1
activation=leaky

[convolutional]
filters=4
groups=2
size=1
activation=linear

[shortcut]
from=-2

[route]
layers=-1,0
[maxpool]
size=2
stride=2
[lstm]
output=3
[connected]
output=5
activation=linear
"""


def darknet_shapes():
    n = ["layer_0/convolutional/" + k for k in (
        "bias", "scales", "rolling_mean", "rolling_variance")]
    parts = [(k, (4,)) for k in n] + [
        ("layer_0/convolutional/weight", (4, 3, 3, 3)),
        ("layer_1/convolutional/bias", (4,)),
        ("layer_1/convolutional/weight", (4, 2, 1, 1))]
    # 8 x 6 becomes 4 x 3, and 2 x 2 of 8 channels behind the pool.
    for k in ("wi", "wf", "wo", "wg", "ui", "uf", "uo", "ug"):
        parts += [("layer_5/lstm/%s/bias" % k, (3,)),
                  ("layer_5/lstm/%s/weight" % k,
                   (3, 32 if k[0] == "u" else 3))]
    return parts + [("layer_6/connected/bias", (5,)),
                    ("layer_6/connected/weight", (5, 3))]


def darknet_weights(version=2):
    """The file, and the arrays in it."""
    arrays = {k: RNG.standard_normal(s).astype("f4")
              for k, s in darknet_shapes()}
    head = struct.pack("<3iq" if version == 2 else "<4i", 0, version, 0, 9)
    return head + b"".join(a.tobytes() for a in arrays.values()), arrays


@case(mount=False)
def darknet():
    for version in (1, 2):
        data, arrays = darknet_weights(version)
        with tempdir() as tmp:
            put(tmp, "a.cfg", CFG)
            put(tmp, "a.weights", data)
            put(tmp, "a_last_2.weights", data)
            for name in ("a.weights", "a.cfg", "a_last_2.weights"):
                for k, a in arrays.items():
                    got = tensor(tmp + "/" + name, k)
                    same((k, got.shape), (k, a.shape))
                    assert (got == a).all(), k


@case(mount=False)
def darknet_in_parts():
    data, arrays = darknet_weights()
    first = 20 + 4 * (4 * 4 + 4 * 27)  # the first layer alone
    with tempdir() as tmp:
        put(tmp, "a.cfg", CFG)
        got = run("--cat", tmp + "/a.cfg", "model/layer_0/convolutional/bias")
        assert got.returncode == 1 and b"not there" in got.stderr, got.stderr
        put(tmp, "a.weights", data[:first])
        name = "layer_0/convolutional/weight"
        assert (tensor(tmp + "/a.weights", name) == arrays[name]).all()
        got = run("--cat", tmp + "/a.weights", "model/layer_6/connected/bias")
        assert got.returncode == 1 and b"ends before" in got.stderr
        for wrong in (data[:first + 4], data[:-4], data + bytes(4)):
            put(tmp, "a.weights", wrong)
            assert "bytes of weights" in why_not(tmp + "/a.weights")
        put(tmp, "b.weights", data)
        assert ".cfg" in why_not(tmp + "/b.weights")


@case(mount=False)
def darknet_that_is_damaged():
    for text in ("[net]\n[convolutional]\nfilters=-1\n",
                 "[net]\n[convolutional]\nfilters=99999999999\n",
                 "[net]\n[convolutional]\nsize=0\n",
                 "[net]\n[convolutional]\nstride=0\n",
                 "[net]\n[convolutional]\ngroups=0\n",
                 "[net]\n[convolutional]\ngroups=3\nfilters=3\n",
                 "[net]\nchannels=0\n[maxpool]\n",
                 "[net]\nwidth=99999999\n[maxpool]\n",
                 "[net]\n[route]\nlayers=0\n",
                 "[net]\n[route]\nlayers=-9223372036854775808\n",
                 "[net]\n[route]\nlayers=\n",
                 "[net]\n[shortcut]\nfrom=5\n",
                 "[net]\n[reorg]\nstride=0\n",
                 "[net]\n[upsample]\nstride=-9223372036854775808\n",
                 "[net]\n[connected]\noutput=0\n",
                 "[net]\n[no such layer]\n",
                 "[net]\n[\n", "[net]\n[]\n", "[net]\n", "[net]\nwidth\n",
                 "[net]\nwidth=16000000\nheight=16000000\nchannels=16000000\n"
                 "[connected]\noutput=16000000\n",
                 "[net]\n" + "[maxpool]\n" * 10001):
        with tempdir() as tmp:
            put(tmp, "a.cfg", text)
            why_not(tmp + "/a.cfg")


if __name__ == "__main__":
    main()
