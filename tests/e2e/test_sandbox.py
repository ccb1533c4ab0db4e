# SPDX-License-Identifier: MIT
"""The program confines itself; the mount does not outlive the daemon."""
import contextlib
import errno
import os
import signal
import subprocess

import numpy as np

from e2e import (IMAGE, ONNX, PROGRAM, Skip, case, fails_with, main, mounted,
                 read, run, same, status, tempdir, wait_until, write)


def proc_status(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f
                    if ":\t" in line)


def walls(mnt):
    os.mkdir(mnt + "/run/x")
    return status(mnt + "/run/x")["sandbox"]


@case
def confined_by_default():
    with mounted(ONNX) as mnt:
        said = walls(mnt)
        if said == "none":
            raise Skip("built with a sanitizer, or a kernel without seccomp")
        kernel = proc_status(mnt.proc.pid)
        same(kernel["NoNewPrivs"], "1")
        if "seccomp" in said:
            same(kernel["Seccomp"], "2")


@case
def works_while_confined():
    with mounted(ONNX) as mnt:
        walls(mnt)
        same(write(mnt + "/run/x/in/image.npy", read(IMAGE)), 0)
        same(len(read(mnt, "run/x/out/prob")), 40)
        for top, _, files in os.walk(mnt):
            for f in files:
                if "/run/" not in top:
                    read(top, f)


@contextlib.contextmanager
def held(*options):
    """A command that cannot go on: nobody reads what it writes."""
    with tempdir() as tmp:
        np.save(tmp + "/big.npy", np.zeros(1 << 20, "u1"))
        p = subprocess.Popen([PROGRAM, *options, "--cat", tmp + "/big.npy",
                              "tensors/big"], stdout=subprocess.PIPE)
        try:
            assert p.stdout.read(1)
            yield p
        finally:
            p.communicate()


@case(mount=False)
def commands_are_confined():
    with held("-o", "nosandbox") as p:
        same(proc_status(p.pid)["Seccomp"], "0")
    with held() as p:
        if proc_status(p.pid)["NoNewPrivs"] == "0":
            raise Skip("built with a sanitizer")
        same(proc_status(p.pid)["Seccomp"], "2")
        same(p.stdout.read(), bytes((1 << 20) - 1))
        same(p.wait(), 0)


@case(mount=False)
def what_is_extracted_stays_in_its_folder():
    for options in [(), ("-o", "nosandbox")]:
        with tempdir() as tmp:
            os.makedirs(tmp + "/elsewhere")
            os.makedirs(tmp + "/out")
            os.symlink("../elsewhere", tmp + "/out/layer1")
            r = run(*options, "--extract", ONNX, "model", tmp + "/out")
            same(r.returncode, 1)
            assert b"layer1" in r.stderr, r.stderr
            same(os.listdir(tmp + "/elsewhere"), [])
            assert os.path.isfile(tmp + "/out/fc/weight")


@case
def can_be_turned_off():
    with mounted(ONNX, options=["-o", "nosandbox"]) as mnt:
        same(walls(mnt), "off")
        same(proc_status(mnt.proc.pid)["Seccomp"], "0")


@case
def a_killed_daemon_leaves_no_mount():
    try:
        with mounted(ONNX) as mnt:
            fd = os.open(mnt + "/README", os.O_RDONLY)
            mnt.proc.send_signal(signal.SIGKILL)
            mnt.proc.wait(10)
            wait_until(lambda: not os.path.ismount(mnt))
            fails_with(errno.ENOTCONN, os.read, fd, 1)
            os.close(fd)
            same(os.listdir(mnt), [])
    except AssertionError as e:
        assert "modelfs died with -9" in str(e), e


main()
