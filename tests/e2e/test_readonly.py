# SPDX-License-Identifier: MIT
"""Nothing outside run/ can be changed, whichever system call tries."""
import ctypes
import errno
import fcntl
import mmap
import os
import socket

from e2e import (ONNX, case, fails_with, main, mounted, read, same, tempdir,
                 write)

libc = ctypes.CDLL(None, use_errno=True)


def call(fn, *args):
    if fn(*args) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def attempts(mnt):
    """(name, function) of every way to change something."""
    f = mnt + "/model/fc/weight"
    d = mnt + "/model/fc"
    new = d + "/new"

    def open_with(flags, path=f):
        def go():
            os.close(os.open(path, flags, 0o644))
        return go

    return [
        ("open O_WRONLY", open_with(os.O_WRONLY)),
        ("open O_RDWR", open_with(os.O_RDWR)),
        ("open O_TRUNC", open_with(os.O_WRONLY | os.O_TRUNC)),
        ("open O_APPEND", open_with(os.O_WRONLY | os.O_APPEND)),
        ("open O_CREAT", open_with(os.O_WRONLY | os.O_CREAT, new)),
        ("creat in the root", open_with(os.O_WRONLY | os.O_CREAT,
                                        mnt + "/new")),
        ("truncate", lambda: os.truncate(f, 0)),
        ("mkdir", lambda: os.mkdir(new)),
        ("mkdir in the root", lambda: os.mkdir(mnt + "/new")),
        ("mknod", lambda: os.mknod(new, 0o100644)),
        ("mkfifo", lambda: os.mkfifo(new)),
        ("symlink", lambda: os.symlink("x", new)),
        ("link", lambda: os.link(f, new)),
        ("rename", lambda: os.rename(f, new)),
        ("rename a directory", lambda: os.rename(d, mnt + "/model/new")),
        ("unlink", lambda: os.unlink(f)),
        ("unlink a link", lambda: os.unlink(mnt + "/tensors/fc.weight")),
        ("rmdir", lambda: os.rmdir(d)),
        ("rmdir of run", lambda: os.rmdir(mnt + "/run")),
        ("chmod", lambda: os.chmod(f, 0o600)),
        ("chmod of a directory", lambda: os.chmod(d, 0o700)),
        ("chown", lambda: os.chown(f, 1, 1)),
        ("lchown", lambda: os.lchown(mnt + "/tensors/fc.weight", 1, 1)),
        ("utimensat", lambda: os.utime(f, (1, 1))),
        ("setxattr", lambda: os.setxattr(f, "user.x", b"1")),
        ("removexattr", lambda: os.removexattr(f, "user.modelfs.shape")),
        ("renameat2 exchange", lambda: call(
            libc.renameat2, -100, f.encode(), -100,
            (d + "/bias").encode(), 2)),
        ("bind a socket", lambda: socket.socket(socket.AF_UNIX).bind(new)),
    ]


@case
def every_change_is_refused():
    with mounted(ONNX) as mnt:
        before = read(mnt, "model/fc/weight")
        wrong = []
        for name, fn in attempts(mnt):
            try:
                fn()
                wrong.append(name + " worked")
            except OSError as e:
                if e.errno != errno.EROFS:
                    wrong.append("%s: %s" % (name,
                                             errno.errorcode.get(e.errno)))
        assert not wrong, wrong
        same(read(mnt, "model/fc/weight"), before)
        assert "new" not in os.listdir(mnt + "/model/fc")


@case
def a_read_descriptor_changes_nothing():
    with mounted(ONNX) as mnt:
        fd = os.open(mnt + "/model/fc/weight", os.O_RDONLY)
        fails_with(errno.EBADF, os.write, fd, b"x")
        for code in [errno.EBADF, errno.EINVAL]:
            try:
                os.ftruncate(fd, 0)
            except OSError as e:
                if e.errno in (errno.EBADF, errno.EINVAL):
                    break
        else:
            raise AssertionError("ftruncate")
        try:
            mmap.mmap(fd, 0, flags=mmap.MAP_SHARED,
                      prot=mmap.PROT_READ | mmap.PROT_WRITE)
            raise AssertionError("shared writable mmap worked")
        except PermissionError:
            pass
        # FS_IOC_SETFLAGS
        try:
            fcntl.ioctl(fd, 0x40086602, b"\x10" + bytes(7))
            raise AssertionError("ioctl worked")
        except OSError as e:
            assert e.errno in (errno.EROFS, errno.ENOTTY, errno.EACCES,
                               errno.EPERM, errno.ENOSYS), e
        os.close(fd)


@case
def fixed_parts_of_a_run():
    with mounted(ONNX) as mnt:
        run = mnt + "/run/x"
        os.mkdir(run)
        for path in ["out/prob", "act/conv1/output", "in/image.shape",
                     "status", "log", "profile"]:
            try:
                fd = os.open(os.path.join(run, path), os.O_WRONLY)
                os.close(fd)
                raise AssertionError(path + " could be opened to write")
            except OSError as e:
                assert e.errno in (errno.EROFS, errno.EACCES), (path, e)
        for path in ["out/new", "act/new", "values/new", "new"]:
            fails_with(errno.EROFS, os.mkdir, os.path.join(run, path))
        # rm -r must be able to; but only rmdir makes them go away.
        os.unlink(run + "/status")
        assert b"state" in read(run, "status")


main()
