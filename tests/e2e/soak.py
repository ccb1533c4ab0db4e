#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
soak - mixed load for a long time: make soak SOAK_SECONDS=3600

Readers list, stat, read, map and copy; writers make runs, give inputs, patch,
compute, interrupt and remove.  Bytes must stay what they were, the daemon must
stay alive, its descriptors the same in number, and its memory flat: after the
first fifth of the time it may not grow by more than a tenth, or 16 MiB.
"""
import errno
import hashlib
import mmap
import os
import random
import signal
import subprocess
import sys
import threading
import time

from e2e import IMAGE, ONNX, SAFETENSORS, TORCH, mounted, read, write

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60


class Load:
    def __init__(self, mnt):
        self.mnt = mnt
        self.end = time.monotonic() + SECONDS
        self.count = {}
        self.failures = []
        self.sums = {}
        for top, _, files in os.walk(mnt):
            for f in files:
                path = os.path.join(top, f)
                self.sums[path] = hashlib.sha256(read(path)).digest()
        self.paths = sorted(self.sums)
        self.want = self.compute("first")

    def compute(self, name):
        run = os.path.join(self.mnt, "onnx/run", name)
        os.mkdir(run)
        write(run + "/in/image.npy", read(IMAGE))
        values = [read(run, "out/prob")]
        for module in ["conv1", "layer1/0/conv1", "fc"]:
            values.append(read(run, "act", module, "output"))
        os.rmdir(run)
        return values

    # ---- what the threads do ----

    def read_files(self, rng, _):
        path = rng.choice(self.paths)
        assert hashlib.sha256(read(path)).digest() == self.sums[path], path

    def map_files(self, rng, _):
        path = rng.choice(self.paths)
        with open(path, "rb") as f:
            if os.fstat(f.fileno()).st_size == 0:
                return
            with mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
                assert hashlib.sha256(m).digest() == self.sums[path], path

    def walk(self, rng, _):
        top = os.path.join(self.mnt, rng.choice(["onnx", "st", "pt"]))
        for d, _, files in os.walk(top):
            if "/run/" in d:
                continue
            for f in files:
                os.lstat(os.path.join(d, f))

    def run(self, _, i):
        assert self.compute("r%d" % i) == self.want

    def patch(self, rng, i):
        run = os.path.join(self.mnt, "onnx/run/p%d" % i)
        os.mkdir(run)
        write(run + "/in/image.npy", read(IMAGE))
        bias = run + "/patch/fc/bias"
        assert write(bias, os.urandom(40)) == 0
        changed = read(run, "out/logits")
        os.unlink(bias)
        assert read(run, "out/prob") == self.want[0]
        assert read(run, "out/logits") != changed
        os.rmdir(run)

    def refuse(self, rng, i):
        run = os.path.join(self.mnt, "onnx/run/e%d" % i)
        os.mkdir(run)
        code = write(run + "/in/image.npy", os.urandom(rng.randrange(1, 300)))
        assert code == errno.EINVAL, code
        try:
            read(run, "out/prob")
            raise AssertionError("computed from nothing")
        except OSError as e:
            assert e.errno == errno.ENODATA, e
        os.rmdir(run)

    def kill_readers(self, rng, i):
        p = subprocess.Popen(["cat"] + rng.sample(self.paths, 50),
                             stdout=subprocess.DEVNULL)
        time.sleep(rng.random() * 0.02)
        p.send_signal(rng.choice([signal.SIGKILL, signal.SIGINT]))
        p.wait(60)

    def drop_caches(self, rng, i):
        time.sleep(2)
        for path in rng.sample(self.paths, 20):
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)

    WORK = [read_files, read_files, map_files, walk, run, run, patch, refuse,
            kill_readers, drop_caches]

    def work(self, i):
        rng = random.Random(i)
        what = self.WORK[i % len(self.WORK)]
        while time.monotonic() < self.end and not self.failures:
            try:
                what(self, rng, i)
            except Exception as e:
                self.failures.append("%s: %r" % (what.__name__, e))
            self.count[what.__name__] = self.count.get(what.__name__, 0) + 1


def resident(pid):
    with open("/proc/%d/statm" % pid) as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def watch(load, pid):
    """Samples memory and descriptors until the end; what is wrong, or ""."""
    start, samples, fds = time.monotonic(), [], []
    while time.monotonic() < load.end and not load.failures:
        time.sleep(min(5, SECONDS / 20))
        samples.append(resident(pid))
        fds.append(len(os.listdir("/proc/%d/fd" % pid)))
    if load.failures:
        return ""
    warm = samples[len(samples) // 5:]
    half = len(warm) // 2
    before, after = max(warm[:half]), max(warm[half:])
    print("seconds %.0f\nresident %d then %d\ndescriptors at most %d then %d" %
          (time.monotonic() - start, before, after, max(fds[:half]),
           max(fds[half:])))
    if after > before * 1.1 + (16 << 20):
        return "memory grows"
    if max(fds[half:]) > max(fds[:half]) + 4:
        return "descriptors leak"
    return ""


def main():
    sources = ["onnx=" + ONNX, "st=" + SAFETENSORS, "pt=" + TORCH]
    with mounted(*sources) as mnt:
        load = Load(mnt)
        threads = [threading.Thread(target=load.work, args=(i,))
                   for i in range(len(Load.WORK))]
        for t in threads:
            t.start()
        wrong = watch(load, mnt.proc.pid)
        for t in threads:
            t.join(120)
    for what, n in sorted(load.count.items()):
        print("%s %d" % (what, n))
    for line in load.failures + ([wrong] if wrong else []):
        print("FAILED: " + line)
    sys.exit(1 if load.failures or wrong else 0)


main()
