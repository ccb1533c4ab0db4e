# SPDX-License-Identifier: MIT
"""Many readers and writers at once: same bytes, no deadlock, no leak."""
import errno
import io
import os
import random

import numpy as np

from e2e import (IMAGE, ONNX, case, in_threads, main, mounted, read, same,
                 status, write)

READERS = 16


def values_of(run):
    """Every readable .npy under act/."""
    found = []
    for top, _, files in os.walk(run + "/act"):
        found += [os.path.join(top, f) for f in files if f.endswith(".npy")]
    return sorted(found)


@case
def parallel_readers_see_the_same_bytes():
    with mounted(ONNX) as mnt:
        for name in ["a", "b"]:
            os.mkdir(mnt + "/run/" + name)
            same(write(mnt + "/run/%s/in/image.npy" % name, read(IMAGE)), 0)
        paths = values_of(mnt + "/run/a")
        want = {p: read(p.replace("/run/a/", "/run/b/")) for p in paths}

        def work(i):
            order = list(paths)
            random.Random(i).shuffle(order)
            for p in order:
                assert read(p) == want[p], p

        in_threads(work, READERS)


@case
def inputs_change_while_others_read():
    images = [np.full((1, 1, 8, 8), v, "<f4") for v in (0, 1)]
    with mounted(ONNX) as mnt:
        run = mnt + "/run/x"
        os.mkdir(run)
        want = []
        for image in images:
            write(run + "/in/image", image.tobytes())
            want.append(read(run, "out/logits"))
        assert want[0] != want[1]

        def work(i):
            for k in range(60):
                if i == 0:
                    write(run + "/in/image", images[k % 2].tobytes())
                    continue
                try:
                    got = read(run, "out/logits")
                except OSError as e:
                    assert e.errno in (errno.ESTALE, errno.ENODATA), e
                    continue
                assert got in want, "a mix of two inputs: %r" % (
                    np.frombuffer(got, "<f4"),)

        in_threads(work, 6)
        write(run + "/in/image", images[0].tobytes())
        same(read(run, "out/logits"), want[0])


@case
def runs_come_and_go_while_others_read():
    with mounted(ONNX) as mnt:
        def work(i):
            name = mnt + "/run/r%d" % i
            for _ in range(15):
                os.mkdir(name)
                write(name + "/in/image.npy", read(IMAGE))
                assert np.load(io.BytesIO(read(name, "out/prob.npy"))).shape \
                    == (1, 10)
                os.rmdir(name)

        in_threads(work, 8)
        same(os.listdir(mnt + "/run"), [])


@case
def numbers_of_runs_are_used_again():
    """There are 16000; what is held of an old run must not be in the way."""
    with mounted(ONNX) as mnt:
        os.mkdir(mnt + "/run/old")
        write(mnt + "/run/old/in/image.npy", read(IMAGE))
        held = [os.open(mnt + "/run/old/" + d, os.O_RDONLY) for d in
                ["", "in", "out", "in/image.npy"]]
        os.rmdir(mnt + "/run/old")
        for _ in range(15990):
            os.mkdir(mnt + "/run/x")
            os.rmdir(mnt + "/run/x")
        for i in range(40):
            name = mnt + "/run/y%d" % i
            os.mkdir(name)
            same(write(name + "/in/image.npy", read(IMAGE)), 0, i)
            same(len(read(name, "out/prob")), 40)
            os.rmdir(name)
        for fd in held:
            try:
                os.close(fd)
            except OSError as e:
                same(e.errno, errno.EIO)


@case
def two_writers_and_small_pieces():
    with mounted(ONNX) as mnt:
        run = mnt + "/run/x"
        os.mkdir(run)
        data = read(IMAGE)
        path = run + "/in/image.npy"
        a = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        b = os.open(path, os.O_WRONLY)
        half = len(data) // 2
        # Out of order, one byte at a time, by two descriptors.
        for i in reversed(range(half, len(data))):
            os.pwrite(b, data[i:i + 1], i)
        for i in range(half):
            os.pwrite(a, data[i:i + 1], i)
        os.close(a)
        os.close(b)
        same(status(run)["state"], "ready")
        same(read(path), data)


@case
def descriptors_do_not_leak():
    with mounted(ONNX) as mnt:
        fds = "/proc/%d/fd" % mnt.proc.pid
        before = len(os.listdir(fds))
        for _ in range(50):
            os.mkdir(mnt + "/run/x")
            write(mnt + "/run/x/in/image.npy", read(IMAGE))
            read(mnt, "run/x/out/prob")
            os.rmdir(mnt + "/run/x")
        assert len(os.listdir(fds)) <= before + 2, "descriptors leak"


main()
