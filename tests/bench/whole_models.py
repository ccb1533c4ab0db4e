# SPDX-License-Identifier: MIT
"""
whole_models - models as a whole, against onnxruntime-node in the folder
MODELFS_ORT and python3-torch, on the models in the folder MODELFS_MODELS:
NAME.onnx, with NAME/INPUT.npy.

Both sides run in turn, each in a process of its own, and their least times
count: others use this machine, too.
"""
import os
import shutil
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "e2e"))
import onnx_recipe as recipe  # noqa: E402

ROUNDS = 3
ORT = os.environ.get("MODELFS_ORT")
WHERE = os.environ.get("MODELFS_MODELS")

ORT_SCRIPT = """
const fs = require('fs');
const ort = require(process.argv[1] + '/node_modules/onnxruntime-node');
const [, , file, rounds, threads, save, ...inputs] = process.argv;
const types = {'<f4': [Float32Array, 'float32'],
               '<i8': [BigInt64Array, 'int64']};
function npy(path) {
    const b = fs.readFileSync(path), n = b.readUInt16LE(8);
    const head = b.toString('latin1', 10, 10 + n);
    const [Array, name] = types[head.match(/'descr': '([^']*)'/)[1]];
    const dims = head.match(/'shape': \\(([^)]*)\\)/)[1]
        .split(',').filter(s => s.trim()).map(Number);
    return new ort.Tensor(name, new Array(b.buffer.slice(
        b.byteOffset + 10 + n, b.byteOffset + b.length)), dims);
}
function save_npy(path, t) {
    let head = `{'descr': '<f4', 'fortran_order': False, ` +
        `'shape': (${t.dims.join(', ')},), }`;
    head = head.padEnd((head.length + 74) / 64 * 64 - 11) + '\\n';
    const magic = Buffer.from('\\x93NUMPY\\x01\\x00..', 'latin1');
    magic.writeUInt16LE(head.length, 8);
    fs.writeFileSync(path, Buffer.concat([magic, Buffer.from(head),
        Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength)]));
}
(async () => {
    const s = await ort.InferenceSession.create(file,
        {graphOptimizationLevel: 'all', intraOpNumThreads: +threads});
    const feeds = {}, all = [];
    for (const i of inputs) {
        const at = i.indexOf('=');
        feeds[i.slice(0, at)] = npy(i.slice(at + 1));
    }
    if (save) {
        const [name, path] = save.split('=');
        save_npy(path, (await s.run(feeds, [name]))[name]);
        return;
    }
    for (let i = 0; i < 3 + +rounds; i++) {
        const t = process.hrtime.bigint(), c = process.cpuUsage();
        await s.run(feeds);
        const d = process.cpuUsage(c);
        all.push([Number(process.hrtime.bigint() - t) / 1e9,
                  (d.user + d.system) / 1e6]);
    }
    all.splice(0, 3);
    console.log(Math.min(...all.map(a => a[0])),
                Math.min(...all.map(a => a[1])),
                process.resourceUsage().maxRSS);
})();
"""

# The same activation as node layer2.0.conv1 of ResNet-18 gives.
TORCH_SCRIPT = """
import sys
import numpy, torch
from torch import nn

class Block(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.down = None
        if stride > 1 or cin != cout:
            self.down = nn.Sequential(
                nn.Conv2d(cin, cout, 1, stride, bias=False),
                nn.BatchNorm2d(cout))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (self.down(x) if self.down else x))

widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1),
          (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
net = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64),
                    nn.ReLU(), nn.MaxPool2d(3, 2, 1),
                    *[Block(*w) for w in widths], nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(), nn.Linear(512, 1000)).eval()
if sys.argv[1] == "make":
    torch.save(net.state_dict(), sys.argv[2])
    sys.exit()
net.load_state_dict(torch.load(sys.argv[2]))
net[6].conv1.register_forward_hook(
    lambda m, i, o: numpy.save(sys.argv[4], o.numpy()))
with torch.no_grad():
    net(torch.from_numpy(numpy.load(sys.argv[3])))
"""


def node(model, threads, inputs, rounds=7, save=""):
    return subprocess.run(
        ["node", "-e", ORT_SCRIPT, ORT, model, str(rounds), str(threads),
         save] + inputs, check=True, capture_output=True, text=True).stdout


def theirs(model, inputs, threads, rounds=7):
    """Least time and processor time, in seconds; peak memory, in KiB."""
    return [float(v) for v in node(model, threads, inputs, rounds).split()]


def ours(model, inputs, threads, *options, rounds=7):
    """The same, and what else bench_run says."""
    out = subprocess.run(
        [os.environ["BENCH_RUN"], "-n", str(rounds), "-t", str(threads),
         *options, model] + inputs, check=True, capture_output=True,
        text=True).stdout.split("\n")
    times = [float(out[0].split(k)[1].split()[0]) / 1e3
             for k in ("least", "cpu")]
    return times + [float(out[0].split("peak")[1].split()[0])], out


def models():
    """Each (path, its inputs as NAME=FILE)."""
    for name in sorted(os.listdir(WHERE)):
        folder = os.path.join(WHERE, name[:-5])
        if name.endswith(".onnx") and os.path.isdir(folder):
            yield os.path.join(WHERE, name), [
                f[:-4] + "=" + os.path.join(folder, f)
                for f in sorted(os.listdir(folder)) if f.endswith(".npy")]


def why_not():
    if not WHERE or "BENCH_RUN" not in os.environ:
        return "no MODELFS_MODELS"
    if not ORT or not shutil.which("node"):
        return "no onnxruntime-node in MODELFS_ORT"
    return None


def row(what, a, b, unit="s", target=None):
    """The least of both sides."""
    a, b = min(a), min(b)
    print("%-42s %6.2f   theirs %9.4g %s, modelfs %9.4g %s%s" % (
        what, a / b, a, unit, b, unit,
        "   target %.2f" % target if target else ""))
    sys.stdout.flush()


def whole(targets):
    """Outputs alone; where our time goes, and how far from the limits."""
    for model, inputs in models():
        name = os.path.basename(model)[:-5]
        for threads in 1, 2:
            a, b = [], []
            for _ in range(ROUNDS):
                b.append(ours(model, inputs, threads, "-l"))
                a.append(theirs(model, inputs, threads))
            what = "%s, %d thread%s" % (name, threads,
                                        "s" if threads > 1 else "")
            row(what, [x[0] for x in a], [x[0][0] for x in b],
                target=targets.get(name))
            row(what + ", processor time", [x[1] for x in a],
                [x[0][1] for x in b])
            row(what + ", peak memory", [x[2] / 1024 for x in a],
                [x[0][2] / 1024 for x in b], "MiB")
            lines = min(b, key=lambda x: x[0][0])[1]
            print("    " + ", ".join(" ".join(s.split()) for s in lines[1:]
                                     if s.strip()))


# ---- every value ----

def fields(data, end, at=0):
    """Of a protobuf message: number, and where its bytes are."""
    def varint(at):
        v = shift = 0
        while True:
            v |= (data[at] & 0x7f) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                return v, at

    while at < end:
        key, at = varint(at)
        size = {1: 8, 5: 4}.get(key & 7)
        if key & 7 == 0:
            _, to = varint(at)
        else:
            if size is None:
                size, at = varint(at)
            to = at + size
        yield key >> 3, at, to
        at = to


def node_outputs(data):
    for field, at, end in fields(data, len(data)):
        if field != 7:  # graph
            continue
        for inner, a, b in fields(data, end, at):
            if inner == 1:  # node
                yield from (bytes(data[c:d]) for f, c, d
                            in fields(data, b, a) if f == 2 and c < d)


def length(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def add_outputs(path, to, names=None):
    """A message that follows is merged with what came before."""
    with open(path, "rb") as f:
        data = f.read()
    had = set()
    for field, at, end in fields(data, len(data)):
        if field == 7:
            for inner, a, b in fields(data, end, at):
                if inner == 12:  # output
                    had |= {bytes(data[c:d]) for f, c, d
                            in fields(data, b, a) if f == 1}
    more = b""
    for name in names or dict.fromkeys(node_outputs(data)):
        if name not in had:
            value = b"\n" + length(len(name)) + name
            more += b"b" + length(len(value)) + value
    with open(to, "wb") as f:
        f.write(data + b":" + length(len(more)) + more)


def every_value(tmp):
    for model, inputs in models():
        every = os.path.join(tmp, os.path.basename(model))
        add_outputs(model, every)
        a, b = [], []
        for _ in range(ROUNDS):
            b.append(ours(model, inputs, 2, "-a", rounds=4)[0][0])
            a.append(theirs(every, inputs, 2, rounds=4)[0])
        row(os.path.basename(model)[:-5] + ", every value read", a, b,
            target=2.5)
        os.unlink(every)


# ---- narrow weights ----

def narrow_model(path, kind, rng, layers=6, n=1024):
    """Products with weights of this type, widened by a node."""
    nodes, tensors, x = [], [], "x"
    for i in range(layers):
        w, wide = "w%d" % i, "w%d" % i
        data = rng.standard_normal((n, n)).astype("<f4") / 32
        if kind == "float32":
            tensors.append(recipe.tensor(w, recipe.F32, [n, n],
                                         data.tobytes()))
        elif kind == "float16":
            tensors.append(recipe.tensor(w, 10, [n, n],
                                         data.astype("<f2").tobytes()))
            wide = "v%d" % i
            nodes.append(recipe.node("Cast", [w], [wide], to=recipe.F32))
        else:
            q = np.round(data * 500).clip(-127, 127).astype("i1")
            tensors.append(recipe.tensor(w, 3, [n, n], q.tobytes()))
            tensors.append(recipe.tensor("s%d" % i, recipe.F32, [n],
                                         [0.002] * n))
            wide = "v%d" % i
            nodes.append(recipe.node("DequantizeLinear", [w, "s%d" % i],
                                     [wide], axis=1))
        nodes.append(recipe.node("MatMul", [x, wide], ["y%d" % i]))
        x = "y%d" % i
    with open(path, "wb") as f:
        f.write(recipe.model(nodes, [("x", recipe.F32, [128, n])], [x],
                             tensors, opset=13))


def narrow_weights(tmp):
    """float16 and int8 weights, against the same products in float32."""
    rng = np.random.default_rng(3)
    image = os.path.join(tmp, "x.npy")
    np.save(image, rng.standard_normal((128, 1024)).astype("<f4"))
    times = {k: [] for k in ("float32", "float16", "int8")}
    for kind in times:
        narrow_model(os.path.join(tmp, kind), kind, rng)
    for _ in range(ROUNDS):
        for kind in times:
            times[kind].append(ours(os.path.join(tmp, kind), ["x=" + image],
                                    1)[0][1])
    for kind in "float16", "int8":
        row("weights in %s (vs float32)" % kind, times["float32"],
            times[kind], target=1)


# ---- the first activation ----

def seconds(fn):
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start


VALUE = b"/layer2/layer2.0/conv1/Conv_output_0"
PLACE = "act/layer2/0/conv1/output.npy"


def by_torch(tmp, image):
    state = os.path.join(tmp, "state.pt")
    script = [sys.executable, "-c", TORCH_SCRIPT]
    if subprocess.run(script + ["make", state],
                      stderr=subprocess.DEVNULL).returncode:
        return None
    return lambda: subprocess.run(
        script + ["run", state, image, os.path.join(tmp, "torch.npy")],
        check=True)


def first_activation(tmp, run, unmount):
    """Whole processes, from a cold start to a .npy file."""
    model = os.path.join(WHERE, "resnet18.onnx")
    image = os.path.join(WHERE, "resnet18", "x.npy")
    one = os.path.join(tmp, "one.onnx")
    if not os.path.exists(image):
        return
    add_outputs(model, one, [VALUE])

    def by_node():
        node(one, 2, ["x=" + image], save=VALUE.decode() + "=" +
             os.path.join(tmp, "node.npy"))

    def by_cat():
        out = run("--in", "x=" + image, "--cat", model, "run/cli/" + PLACE)
        assert out.returncode == 0, out.stderr
        with open(os.path.join(tmp, "cat.npy"), "wb") as f:
            f.write(out.stdout)

    mnt = os.path.join(tmp, "mnt")
    os.mkdir(mnt)

    def by_mount():
        # The command returns when the mount is there.
        out = run(model, mnt)
        assert out.returncode == 0, out.stderr
        os.mkdir(mnt + "/run/x")
        shutil.copy(image, mnt + "/run/x/in/x.npy")
        shutil.copy(mnt + "/run/x/" + PLACE, os.path.join(tmp, "mount.npy"))

    by = {"--cat": by_cat, "mount": by_mount, "node": by_node,
          "torch": by_torch(tmp, image)}
    times = {k: [] for k in by}
    for _ in range(ROUNDS + 2):
        for k, fn in by.items():
            if fn:
                times[k].append(seconds(fn))
        unmount(mnt)
    for mine in "--cat", "mount":
        row("first activation, %s (vs node)" % mine, times["node"],
            times[mine], target=10)
        if by["torch"]:
            row("first activation, %s (vs torch)" % mine, times["torch"],
                times[mine], target=60)
