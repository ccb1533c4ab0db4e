# SPDX-License-Identifier: MIT
"""
faults - a modelfs whose calls fail when a test says so (faults.c).

    with faulty() as f:
        with mounted(ONNX, env=f.env) as mnt:
            f.read_error(errno.EIO)
"""
import contextlib
import mmap
import os
import struct
import subprocess

from e2e import PROGRAM, Skip, tempdir

LIBRARY = os.environ.get("FAULTS_LIBRARY", "")


def sanitized():
    with open(PROGRAM, "rb") as f:
        data = f.read()
    return b"__asan_init" in data or b"__tsan_init" in data


class Faults:
    def __init__(self, path):
        with open(path, "wb") as f:
            f.write(bytes(4096))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4096)
        self.env = dict(os.environ, LD_PRELOAD=LIBRARY, FAULTS=path)
        self.fail_allocation(-1)

    def read_error(self, code):
        struct.pack_into("<i", self.map, 0, code)

    def read_cut(self, nbytes):
        struct.pack_into("<i", self.map, 4, nbytes)

    def fail_allocation(self, after):
        """The one after so many more fails; -1: none."""
        struct.pack_into("<qq", self.map, 8, after, 0)

    def fail_from(self, nbytes):
        """Allocations of so many bytes or more fail; 0: none."""
        struct.pack_into("<q", self.map, 24, nbytes)

    def stop_failing(self):
        struct.pack_into("<q", self.map, 8, -1)

    def nfailed(self):
        return struct.unpack_from("<q", self.map, 16)[0]


@contextlib.contextmanager
def faulty():
    if not os.path.exists(LIBRARY):
        raise Skip("the library that makes calls fail was not built")
    if sanitized():
        raise Skip("sanitizers replace the same calls")
    with tempdir() as tmp:
        yield Faults(os.path.join(tmp, "faults"))


def run_faulty(f, *args):
    return subprocess.run([PROGRAM, *args], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=f.env, timeout=120)
