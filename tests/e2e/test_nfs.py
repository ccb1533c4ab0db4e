# SPDX-License-Identifier: MIT
"""
A mount handed on by a real NFS server, nfs-ganesha, and read by a client that
needs no kernel for it (libnfs).  Both are programs of Debian; needs root.
"""
import contextlib
import os
import shutil
import socket
import subprocess

from e2e import (IMAGE, ONNX, Skip, case, in_threads, main, mounted, read,
                 same, tempdir, wait_until, write)

CONFIG = """
NFS_CORE_PARAM { NFS_Protocols = 4; NFS_Port = %(port)d; Enable_NLM = false;
    Enable_RQUOTA = false; Enable_UDP = false; Bind_addr = 127.0.0.1;
    fsid_device = true; }
NFSv4 { Graceless = true; RecoveryBackend = fs; RecoveryRoot = "%(dir)s"; }
EXPORT { Export_Id = 1; Path = "%(mnt)s"; Pseudo = /m; Access_Type = RW;
    Squash = No_Root_Squash; SecType = sys; FSAL { Name = VFS; }
    CLIENT { Clients = 127.0.0.1; } }
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Client:
    def __init__(self, port):
        self.port = port

    def run(self, program, path):
        return subprocess.run(
            [program, "nfs://127.0.0.1/m%s?version=4&nfsport=%d" % (
                path and "/" + path, self.port)], timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def read(self, path):
        r = self.run("nfs-cat", path)
        same(r.returncode, 0, (path, r.stderr))
        return r.stdout

    def list(self, path=""):
        """name → (first letter of the mode, size)"""
        r = self.run("nfs-ls", path)
        same(r.returncode, 0, (path, r.stderr))
        rows = [line.split(None, 5) for line in r.stdout.decode().split("\n")]
        return {row[5]: (row[0][0], int(row[4])) for row in rows if row}


def is_ready(log, server):
    assert server.poll() is None, read(log)[-3000:]
    return b"NFS SERVER INITIALIZED" in read(log)


@contextlib.contextmanager
def served(mnt):
    for program in ("ganesha.nfsd", "nfs-ls", "nfs-cat"):
        if not shutil.which(program):
            raise Skip("no " + program)
    if os.getuid() != 0:
        raise Skip("only root can open files by handle")
    with tempdir() as tmp:
        port, log = free_port(), tmp + "/log"
        write(tmp + "/conf", (CONFIG % {
            "port": port, "dir": tmp, "mnt": mnt}).encode())
        write(log, b"")
        server = subprocess.Popen(
            ["ganesha.nfsd", "-F", "-f", tmp + "/conf", "-L", log,
             "-p", tmp + "/pid"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: is_ready(log, server), 30)
            yield Client(port)
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def letter(path):
    return "l" if os.path.islink(path) else "d" if os.path.isdir(path) else "-"


@case
def the_tree_through_nfs():
    with mounted(ONNX) as mnt, served(mnt) as client:
        nfiles = 0
        for top, folders, files in os.walk(mnt):
            below = top[len(mnt) + 1:]
            got = client.list(below)
            want = {n: (letter(os.path.join(top, n)),
                        os.lstat(os.path.join(top, n)).st_size)
                    for n in folders + files}
            same(got, want, below)
            for name in files:
                path = os.path.join(top, name)
                if not os.path.islink(path):
                    same(client.read(os.path.join(below, name)), read(path))
                    nfiles += 1
        assert nfiles > 50, nfiles


@case
def many_clients():
    with mounted(ONNX) as mnt, served(mnt) as client:
        want = read(mnt, "model/fc/weight.npy")

        def work(_):
            for _ in range(20):
                same(client.read("model/fc/weight.npy"), want)
                same(client.list("model"), listing)

        listing = client.list("model")
        in_threads(work, 8)


@case
def nothing_is_written_through_nfs():
    with mounted(ONNX) as mnt, served(mnt) as client:
        r = subprocess.run(
            ["nfs-cp", IMAGE, "nfs://127.0.0.1/m/model/new?version=4&"
             "nfsport=%d" % client.port], stderr=subprocess.PIPE, timeout=60)
        assert r.returncode != 0
        assert b"ROFS" in r.stderr, r.stderr
        assert "new" not in os.listdir(mnt + "/model")


@case
def runs_through_nfs_end_cleanly():
    """What is computed can be read; a run that ended is gone, or stale."""
    with mounted(ONNX) as mnt, served(mnt) as client:
        run = mnt + "/run/x"
        os.mkdir(run)
        same(write(run + "/in/image.npy", read(IMAGE)), 0)
        same(client.read("run/x/out/prob"), read(run, "out/prob"))
        os.rmdir(run)
        r = client.run("nfs-cat", "run/x/out/prob")
        assert r.returncode != 0
        same(client.read("model/fc/weight"), read(mnt, "model/fc/weight"))


main()
