#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
bench - how fast modelfs is, as ratios to native work on the same bytes.

    bench.py [--size BYTES] [--parameters N] [CASE...]

Every line compares two things done in this run, alternating, and prints
native seconds / our seconds (1.0: as fast as without modelfs; the median of
ROUNDS rounds).  The native side of reads is the model file itself, at the
tensor's place; of listings and small files, a copy in a temporary directory.
"""
import argparse
import contextlib
import json
import mmap
import os
import shutil
import statistics
import struct
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "e2e"))
from e2e import PROGRAM, can_mount, mounted, run, tempdir, unmount  # noqa: E402
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "golden"))
import ggml  # noqa: E402
import make_large  # noqa: E402
import whole_models  # noqa: E402

ROUNDS = 5
BLOCK = 1 << 20
cases = []


def case(fn):
    cases.append(fn)
    return fn


def seconds(fn, *args):
    start = time.perf_counter()
    fn(*args)
    return time.perf_counter() - start


def report(what, native, ours, target=None):
    ratio = statistics.median(n / o for n, o in zip(native, ours))
    print("%-42s %6.2f   native %8.4f s, modelfs %8.4f s%s" % (
        what, ratio, statistics.median(native), statistics.median(ours),
        "   target %.2f" % target if target else ""))
    sys.stdout.flush()


def compare(what, native, ours, target=None, before=None, rounds=ROUNDS):
    """Both sides in turn; before() is run before ours, not measured."""
    a, b = [], []
    native()
    for _ in range(rounds):
        a.append(seconds(native))
        if before:
            before()
        b.append(seconds(ours))
    report(what, a, b, target)


def write_safetensors(path, tensors):
    """tensors: name → (dtype, shape, bytes).  The data is a hole."""
    header, off = {}, 0
    for name, (dtype, shape, nbytes) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [off, off + nbytes]}
        off += nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + off)
    return 8 + len(text)


def read_all(path, start=0, length=None):
    """As cat and dd do it: blocks of 1 MiB into one buffer."""
    buf = bytearray(BLOCK)
    fd = os.open(path, os.O_RDONLY)
    at = start
    end = start + length if length is not None else os.fstat(fd).st_size
    while at < end:
        n = os.preadv(fd, [memoryview(buf)[:min(BLOCK, end - at)]], at)
        if n == 0:
            raise EOFError(path)
        at += n
    os.close(fd)


def forget(path):
    """Drops the cached pages of one file."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


class Big:
    """A sparse file with two large tensors, and where they lie."""

    def __init__(self, tmp, size):
        self.path = os.path.join(tmp, "big.safetensors")
        self.n = size // 2 // 4096 * 4096
        self.start = write_safetensors(self.path, {
            "plain": ("F32", [self.n // 4096, 1024], self.n),
            "narrow": ("BF16", [self.n // 4096, 2048], self.n)})


@case
def large(opts):
    with tempdir() as tmp:
        big = Big(tmp, opts.size)
        read_all(big.path)  # into the page cache
        with mounted(big.path) as mnt:
            raw, npy = mnt + "/model/plain", mnt + "/model/plain.npy"

            def native():
                read_all(big.path, big.start, big.n)

            compare("first read", native, lambda: read_all(raw), 0.5,
                    lambda: forget(raw))
            compare("second read", native, lambda: read_all(raw), 0.8)
            compare("first read of .npy", native, lambda: read_all(npy), 0.5,
                    lambda: forget(npy))
            compare("second read of .npy", native, lambda: read_all(npy), 0.8)
            mapped(big, raw)
            tools(big, raw, tmp)
            scattered(big, raw)
            widened(big, mnt + "/model/narrow.npy")


def mapped(big, raw):
    def total(path, off):
        fd = os.open(path, os.O_RDONLY)
        a = np.memmap(os.fdopen(fd, "rb"), "f4", "r", off, (big.n // 4,))
        float(a.sum())

    compare("mmap and sum, first", lambda: total(big.path, big.start),
            lambda: total(raw, 0), None, lambda: forget(raw))
    compare("mmap and sum, second", lambda: total(big.path, big.start),
            lambda: total(raw, 0), 0.8)


def tools(big, raw, tmp):
    copy = os.path.join(tmp, "copy")
    with open(copy, "wb") as f:
        f.truncate(big.n)
    read_all(copy)
    for tool, target in ["sha256sum", 0.95], ["cat", None]:
        def go(path):
            subprocess.run([tool, path], check=True,
                           stdout=subprocess.DEVNULL)
        compare(tool + ", first", lambda: go(copy), lambda: go(raw), target,
                lambda: forget(raw), 3)
    os.unlink(copy)


def scattered(big, raw):
    rng = np.random.default_rng(1)
    places = [int(x) * 4096 for x in rng.integers(0, big.n // 4096, 20000)]

    def go(path, off):
        fd = os.open(path, os.O_RDONLY)
        for at in places:
            os.pread(fd, 4096, off + at)
        os.close(fd)

    read_all(raw)
    compare("20,000 random 4 KiB reads, warm",
            lambda: go(big.path, big.start), lambda: go(raw, 0), 0.7)


def widened(big, npy):
    """Against a plain file of as many bytes as the .npy has."""
    size = os.stat(npy).st_size
    with tempdir() as tmp:
        plain = os.path.join(tmp, "plain")
        with open(plain, "wb") as f:
            f.truncate(size)
        read_all(plain)
        compare("first read of widened .npy (bfloat16)",
                lambda: read_all(plain), lambda: read_all(npy), 0.25,
                lambda: forget(npy), 3)


@case
def mount_time(opts):
    """Against reading the metadata with Python's own JSON parser."""
    with tempdir() as tmp:
        path = os.path.join(tmp, "many.safetensors")
        many_parameters(path, opts.parameters)

        def native():
            with open(path, "rb") as f:
                n, = struct.unpack("<Q", f.read(8))
                json.loads(f.read(n))

        def ours():
            r = run("--cat", path, "info.json")
            assert r.returncode == 0, r.stderr
        compare("ready, %d parameters (vs json.loads)" % opts.parameters,
                native, ours, None, rounds=3)


def many_parameters(path, n):
    write_safetensors(path, {
        "layers.%d.%s" % (i // 4, k): ("F32", [8], 32)
        for i in range(0, n, 4) for k in ["weight", "bias", "mean", "var"]})


@case
def listings(opts):
    n = opts.parameters
    with tempdir() as tmp:
        path = os.path.join(tmp, "many.safetensors")
        many_parameters(path, n)
        copy = os.path.join(tmp, "copy")
        make_copy(copy, n)

        def go(command, where):
            subprocess.run(command + [where], check=True,
                           stdout=subprocess.DEVNULL)

        for what, command, first, again in [
                ("ls -lR", ["ls", "-lR"], 0.35, 1.0),
                ("find", ["find"], None, 0.9)]:
            native, once, twice = [], [], []
            go(command, copy)
            for _ in range(3):
                native.append(seconds(go, command, copy))
                with mounted(path) as mnt:
                    once.append(seconds(go, command, mnt + "/model"))
                    twice.append(seconds(go, command, mnt + "/model"))
            report("%s, %d parameters, first" % (what, n), native, once, first)
            report("%s, again" % what, native, twice, again)


def make_copy(copy, n):
    """The same names in a plain directory tree."""
    for i in range(n // 4):
        d = os.path.join(copy, "layers", str(i))
        os.makedirs(d)
        for k in ["weight", "bias", "mean", "var"]:
            for suffix in ["", ".npy", ".shape", ".dtype"]:
                with open(os.path.join(d, k + suffix), "wb") as f:
                    f.write(b"0" * 32)


@case
def small_files(opts):
    with tempdir() as tmp:
        path = os.path.join(tmp, "many.safetensors")
        many_parameters(path, 10000)
        copy = os.path.join(tmp, "copy")
        make_copy(copy, 10000)
        names = ["layers/%d/%s" % (i // 4, k) for i in range(0, 10000, 4)
                 for k in ["weight", "bias", "mean", "var"]]

        def go(where):
            for name in names:
                with open(os.path.join(where, name), "rb", 0) as f:
                    f.read()

        native, once, twice = [], [], []
        go(copy)
        for _ in range(3):
            native.append(seconds(go, copy))
            with mounted(path) as mnt:
                once.append(seconds(go, mnt + "/model"))
                twice.append(seconds(go, mnt + "/model"))
        report("10,000 small files, first", native, once)
        report("10,000 small files, again", native, twice, 0.9)


@contextlib.contextmanager
def squashed(folder, tmp):
    """The same files through squashfuse, a FUSE filesystem in C; stored."""
    image, mnt = os.path.join(tmp, "image"), os.path.join(tmp, "squash")
    subprocess.run(["mksquashfs", folder, image, "-noI", "-noD", "-noF",
                    "-noX", "-quiet", "-no-progress"], check=True,
                   stdout=subprocess.DEVNULL)
    os.mkdir(mnt)
    subprocess.run(["squashfuse_ll", image, mnt], check=True)
    try:
        yield mnt
    finally:
        subprocess.run(["fusermount3", "-u", mnt], check=True)


@case
def peer(opts):
    """squashfuse's seconds / ours, on the same files."""
    if not (shutil.which("mksquashfs") and shutil.which("squashfuse_ll")):
        print("peer: no squashfuse and squashfs-tools")
        return
    with tempdir() as tmp:
        path, copy = tmp + "/big.safetensors", tmp + "/copy"
        n = opts.size // 4 // 4096 * 4096
        start = write_safetensors(path, {"big": ("F32", [n // 4], n)})
        os.mkdir(copy)
        # No zeros: squashfs does not store them.
        block = os.urandom(4096)
        with open(path, "r+b") as f, open(copy + "/big", "wb") as g:
            f.seek(start)
            for _ in range(n // 4096):
                f.write(block)
                g.write(block)
        read_all(path)
        with mounted(path) as mnt, squashed(copy, tmp) as other:
            ours, theirs = mnt + "/model/big", other + "/big"

            def cold():
                forget(ours)
                forget(theirs)

            for what, before in ("first", cold), ("second", None):
                compare("%s read, against squashfuse" % what,
                        lambda: read_all(theirs), lambda: read_all(ours),
                        1.0, before)
    with tempdir() as tmp:
        path, copy = tmp + "/many.safetensors", tmp + "/copy"
        many_parameters(path, 20000)
        make_copy(copy, 20000)
        native, ours = [], []
        for _ in range(3):
            with tempdir() as there, mounted(path) as mnt, \
                    squashed(copy, there) as other:
                native.append(seconds(subprocess.check_output,
                                      ["du", "-s", other]))
                ours.append(seconds(subprocess.check_output,
                                    ["du", "-s", mnt + "/model"]))
        report("du, 20,000 parameters, against squashfuse", native, ours, 1.0)


@case
def largest_models(opts):
    """Against json.loads of the headers; a GGUF against reading its keys."""
    with tempdir() as tmp:
        make_large.folder(tmp + "/hf")
        make_large.gguf(tmp + "/m.gguf")
        headers = sorted(os.path.join(tmp, "hf", n)
                         for n in os.listdir(tmp + "/hf") if "-of-" in n)

        def parse():
            for path in headers:
                with open(path, "rb") as f:
                    n, = struct.unpack("<Q", f.read(8))
                    json.loads(f.read(n))

        def ours(path):
            r = run("--cat", path, "info.json")
            assert r.returncode == 0, r.stderr
        compare("ready, 163 shards, 91,000 tensors (vs json.loads)", parse,
                lambda: ours(tmp + "/hf"), None, rounds=3)
        with open(tmp + "/m.gguf", "rb") as f:
            head = f.read(8 << 20)
        compare("ready, GGUF of 1,000 tensors (vs bytes.split)",
                lambda: head.split(b"token"),
                lambda: ours(tmp + "/m.gguf"), None, rounds=3)
        with mounted(tmp + "/hf") as mnt:
            with open("/proc/%d/status" % mnt.proc.pid) as f:
                rss, = [int(l.split()[1]) for l in f if "VmRSS" in l]
            print("%-42s %6d" % ("bytes of memory per tensor",
                                 rss * 1024 // 91000))
            expert = mnt + "/model/model/layers/0/mlp/experts"
            names = [n for n in os.listdir(expert) if n.isdigit()]
            start = time.perf_counter()
            for name in names:
                for _ in os.scandir(os.path.join(expert, name)):
                    pass
            print("%-42s %6.1f us" % (
                "one directory of 256 experts",
                1e6 * (time.perf_counter() - start) / len(names)))


@case
def memory(opts):
    """Peak memory with weights of many times the budget."""
    budget, width = 100, 8192
    with tempdir() as tmp:
        make_large.layers(tmp, opts.size, width)
        np.save(tmp + "/x.npy", np.ones((16, width), "<f4"))
        proc = subprocess.Popen(
            [PROGRAM, "-m", "%dM" % budget, "--in",
             "x=%s/x.npy" % tmp, "--cat", tmp + "/m.onnx", "run/cli/out/y"],
            stdout=subprocess.DEVNULL)
        start = time.perf_counter()
        _, status, usage = os.wait4(proc.pid, 0)
        taken = time.perf_counter() - start
        assert status == 0, status
        peak = usage.ru_maxrss / 1024
        print("%-42s %6.2f   budget %d MiB, peak %.0f MiB, %.1f s"
              "   target 0.75" % ("budget / peak memory, %.1f GiB of weights" %
                                  (opts.size / 2**30), budget / peak, budget,
                                  peak, taken))
        sys.stdout.flush()


@case
def quantised(opts):
    """.npy of every quantised type, against a file of as many bytes."""
    n = opts.size // 16 // 4096 * 4096
    rng = np.random.default_rng(2)
    with tempdir() as tmp:
        plain = os.path.join(tmp, "plain")
        with open(plain, "wb") as f:
            f.truncate(4 * n)
        read_all(plain)
        for kind, (_, elems, width, _) in ggml.TYPES.items():
            w = ggml.Writer()
            data = rng.bytes(n // elems * width)
            w.tensor("x", ggml.TYPES[kind][0], (4096, n // 4096), data)
            path = os.path.join(tmp, "m.gguf")
            with open(path, "wb") as f:
                f.write(w.bytes())
            read_all(path)
            with mounted(path) as mnt:
                npy = mnt + "/model/x.npy"
                compare("first read of .npy, " + kind,
                        lambda: read_all(plain), lambda: read_all(npy), 0.25,
                        lambda: forget(npy), 3)


TARGETS = {"resnet18": 1.0, "resnet50": 1.0, "vgg16": 1.0, "bert_base": 0.95,
           "gpt2": 0.95, "mobilenet_v2": 0.8}


def with_models(fn, *args):
    why_not = whole_models.why_not()
    if why_not:
        print("skip - models (%s)" % why_not)
    else:
        fn(*args)


@case
def models(opts):
    """Whole models against onnxruntime, the outputs alone."""
    with_models(whole_models.whole, TARGETS)


@case
def every_value(opts):
    """The same when every value is read, against every one an output."""
    with tempdir() as tmp:
        with_models(whole_models.every_value, tmp)


@case
def narrow_weights(opts):
    if "BENCH_RUN" in os.environ:
        with tempdir() as tmp:
            whole_models.narrow_weights(tmp)


@case
def first_activation(opts):
    with tempdir() as tmp:
        with_models(whole_models.first_activation, tmp, run, unmount)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=2 << 30)
    parser.add_argument("--parameters", type=int, default=100000)
    parser.add_argument("cases", nargs="*")
    opts = parser.parse_args()
    why_not = can_mount()
    if why_not:
        print("skip - bench (%s)" % why_not)
        sys.exit(77)
    print("ratio: native time / modelfs time, median\n")
    for fn in cases:
        if not opts.cases or fn.__name__ in opts.cases:
            fn(opts)


main()
