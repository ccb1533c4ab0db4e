# SPDX-License-Identifier: MIT
"""A failing disk and exhausted memory: an error each, and modelfs lives."""
import errno
import os
import time

from e2e import (IMAGE, ONNX, SAFETENSORS, TORCH, case, fails_with, in_threads,
                 main, mounted, read, same, status, text, write)
from faults import faulty, run_faulty

WEIGHT = "model/layer1/0/conv1/weight"


@case
def a_failing_disk_is_an_error_of_the_read():
    for model in [SAFETENSORS, TORCH]:
        with faulty() as f, mounted(model, env=f.env) as mnt:
            f.read_error(errno.EIO)
            for name in [WEIGHT, WEIGHT + ".npy"]:
                fails_with(errno.EIO, read, mnt, name)
            same(text(mnt, WEIGHT + ".shape"), "12 12 3 3\n")
            f.read_error(0)
            same(len(read(mnt, WEIGHT)), 12 * 12 * 9 * 4)
            same(read(mnt, WEIGHT + ".npy")[-len(read(mnt, WEIGHT)):],
                 read(mnt, WEIGHT))


@case
def a_failing_disk_fails_what_is_computed_from_it():
    with faulty() as f, mounted(ONNX, env=f.env) as mnt:
        run = mnt + "/run/x"
        os.mkdir(run)
        same(write(run + "/in/image.npy", read(IMAGE)), 0)
        f.read_error(errno.EIO)
        fails_with(errno.EIO, read, run, "out/prob")
        assert "error" in status(run), status(run)
        f.read_error(0)
        same(len(read(run, "out/prob")), 40)


@case
def short_reads_are_continued():
    with mounted(ONNX) as mnt:
        want = read(mnt, WEIGHT), read(mnt, WEIGHT + ".npy")
    with faulty() as f:
        f.read_cut(7)
        with mounted(ONNX, env=f.env) as mnt:
            same((read(mnt, WEIGHT), read(mnt, WEIGHT + ".npy")), want)


@case
def a_disk_that_fails_at_once():
    with faulty() as f:
        f.read_error(errno.EIO)
        r = run_faulty(f, "--ls", ONNX)
        same(r.returncode, 1)
        same(r.stderr.count(b"\n"), 1)


def each_allocation(f):
    """Lets the n-th allocation fail, n in growing steps, to the last one."""
    n = 0
    while True:
        f.fail_allocation(n)
        yield n
        if not f.nfailed():
            break
        n += 1 + n // 50
    f.fail_allocation(-1)


@case(mount=False)
def commands_without_memory():
    with faulty() as f:
        for args in [("--ls", ONNX, "model"), ("--cat", SAFETENSORS, WEIGHT),
                     ("--in", "image=" + IMAGE, "--cat", ONNX,
                      "run/cli/out/prob")]:
            worked = set()
            for n in range(0, 2000, 7):
                f.fail_allocation(n)
                r = run_faulty(f, *args)
                if not f.nfailed():
                    break
                # Fortran's runtime, while BLAS is loaded: not ours to mend.
                if r.stderr.startswith(b"Operating system error"):
                    continue
                assert r.returncode in (0, 1), (args, n, r)
                assert r.returncode == 0 or r.stderr, (args, n, r)
                worked.add(r.returncode)
            f.fail_allocation(-1)
            assert 1 in worked, args


def raising(e):
    raise e


def compute(mnt, name="x"):
    """A whole run, from mkdir to rmdir, with all that can be listed in it."""
    run = os.path.join(mnt, "run", name)
    os.mkdir(run)
    code = write(run + "/in/image.npy", read(IMAGE))
    if code:
        raise OSError(code, os.strerror(code))
    data = read(run, "out/prob")
    for top, _, files in os.walk(run, onerror=raising):
        for f in files:
            os.lstat(os.path.join(top, f))
    for report in ["status", "log", "profile"]:
        read(run, report)
    os.rmdir(run)
    return data


def tidy(mnt, name="x"):
    try:
        os.rmdir(os.path.join(mnt, "run", name))
    except FileNotFoundError:
        pass


@case
def a_daemon_without_memory():
    with faulty() as f, mounted(ONNX, env=f.env) as mnt:
        want = compute(mnt)
        nfailed = 0
        for n in each_allocation(f):
            try:
                same(compute(mnt), want, "allocation %d" % n)
            except OSError as e:
                nfailed += 1
                assert e.errno == errno.ENOMEM, (n, e)
            assert mnt.proc.poll() is None, "allocation %d" % n
            f.stop_failing()
            tidy(mnt)
        assert nfailed > 20, nfailed
        same(compute(mnt), want)


@case
def no_memory_for_the_buffers_of_a_crowd():
    with faulty() as f, mounted(ONNX, env=f.env) as mnt:
        f.fail_from(1 << 18)

        def work(i):
            if i == 0:
                time.sleep(0.5)
                f.fail_from(0)
            for _ in range(10):
                try:
                    compute(mnt, "x%d" % i)
                except OSError as e:
                    same(e.errno, errno.ENOMEM)
                tidy(mnt, "x%d" % i)

        in_threads(work, 8)
        assert mnt.proc.poll() is None
        compute(mnt, "y")


main()
