# SPDX-License-Identifier: MIT
"""The daemon confines itself, and the mount does not outlive it."""
import errno
import os
import signal

from e2e import (IMAGE, ONNX, Skip, case, fails_with, main, mounted, read,
                 same, status, wait_until, write)


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
            wait_until(lambda: not os.path.ismount(mnt))
            fails_with(errno.ENOTCONN, os.read, fd, 1)
            os.close(fd)
            same(os.listdir(mnt), [])
    except AssertionError as e:
        assert "modelfs died with -9" in str(e), e


main()
