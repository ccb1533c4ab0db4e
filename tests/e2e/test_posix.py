# SPDX-License-Identifier: MIT
"""What programs expect of any filesystem, system call by system call."""
import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import struct
import subprocess

from e2e import (IMAGE, ONNX, PROGRAM, SAFETENSORS, Skip, case,
                 fails_with, main, mounted, read, same, tempdir,
                 unmount, wait_until, write)

libc = ctypes.CDLL(None, use_errno=True)
libc.fdopendir.restype = ctypes.c_void_p
libc.readdir64.restype = ctypes.c_void_p
libc.readdir64.argtypes = [ctypes.c_void_p]
libc.telldir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
libc.closedir.argtypes = [ctypes.c_void_p]

WEIGHT = "model/layer1/0/conv1/weight"


def files_of_a_run(mnt):
    os.mkdir(mnt + "/run/x")
    same(write(mnt + "/run/x/in/image.npy", read(IMAGE)), 0)
    return [mnt + "/" + f for f in [
        WEIGHT, WEIGHT + ".npy", WEIGHT + ".shape", "README", "info.json",
        "run/x/out/prob", "run/x/out/prob.npy", "run/x/in/image.npy",
        "run/x/act/layer1/0/conv1/output.npy"]]


@case
def direct_io():
    with mounted(ONNX) as mnt:
        for path in files_of_a_run(mnt):
            want = read(path)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
            page = mmap.mmap(-1, 1 << 16)
            n = os.readv(fd, [page])
            same(page[:n], want[:1 << 16], path)
            os.close(fd)


@case
def copies_inside_the_kernel():
    with mounted(ONNX) as mnt, tempdir() as tmp:
        for path in files_of_a_run(mnt):
            want = read(path)
            src = os.open(path, os.O_RDONLY)
            dst = os.open(tmp + "/copy", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            done = 0
            try:
                while done < len(want):
                    n = os.copy_file_range(src, dst, len(want) - done)
                    assert n > 0, path
                    done += n
                same(read(tmp, "copy"), want, path)
            except OSError as e:  # the kernel may not do it across mounts
                assert e.errno in (errno.EXDEV, errno.EOPNOTSUPP), e
            os.close(dst)
            r, w = os.pipe()
            n = os.splice(src, w, min(len(want), 4096), offset_src=0)
            same(os.read(r, 4096), want[:n], path)
            for fd in (src, r, w):
                os.close(fd)


@case
def seeking_data_and_holes():
    with mounted(ONNX) as mnt:
        for path in files_of_a_run(mnt):
            fd = os.open(path, os.O_RDONLY)
            size = os.fstat(fd).st_size
            same(os.lseek(fd, 0, os.SEEK_DATA), 0, path)
            same(os.lseek(fd, 0, os.SEEK_HOLE), size, path)
            fails_with(errno.ENXIO, os.lseek, fd, size, os.SEEK_DATA)
            fails_with(errno.EINVAL, os.lseek, fd, -1, os.SEEK_SET)
            same(os.pread(fd, 10, size), b"", path)
            same(os.pread(fd, 10, 2**63 - 11), b"", path)
            os.close(fd)


@case
def locks():
    with mounted(ONNX) as mnt:
        path = mnt + "/" + WEIGHT
        a, b = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY)
        fcntl.flock(a, fcntl.LOCK_SH)
        fcntl.flock(b, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fails_with(errno.EAGAIN, fcntl.flock, b,
                   fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(a, fcntl.LOCK_SH, 10, 0)
        fails_with(errno.EBADF, fcntl.lockf, a, fcntl.LOCK_EX, 10, 0)
        os.close(a)
        fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(b)


def getxattr(path, name, size):
    buf = ctypes.create_string_buffer(max(size, 1))
    n = libc.getxattr(path.encode(), name.encode(), buf, size)
    if n < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return n


@case
def extended_attributes_at_their_edges():
    with mounted(ONNX) as mnt:
        path = mnt + "/" + WEIGHT
        value = os.getxattr(path, "user.modelfs.shape")
        same(getxattr(path, "user.modelfs.shape", 0), len(value))
        same(getxattr(path, "user.modelfs.shape", len(value)), len(value))
        fails_with(errno.ERANGE, getxattr, path, "user.modelfs.shape",
                   len(value) - 1)
        fails_with(errno.ENODATA, os.getxattr, path, "user.nothing")
        fails_with(errno.ENODATA, os.getxattr, path, "user.modelfs.nothing")
        link = mnt + "/tensors/layer1.0.conv1.weight"
        assert os.path.islink(link)
        same(os.getxattr(link, "user.modelfs.shape"), value)
        for where in ["", "model", "run", "README"]:
            assert "user.modelfs.shape" not in os.listxattr(
                os.path.join(mnt, where)), where


@case
def statfs_and_pathconf():
    with mounted(ONNX) as mnt:
        st = os.statvfs(mnt)
        same(st.f_namemax, 255)
        same(st.f_bfree, 0)
        same(os.pathconf(mnt, "PC_NAME_MAX"), 255)
        fails_with(errno.ENOENT, os.stat, mnt + "/model/" + "x" * 255)
        fails_with(errno.ENAMETOOLONG, os.stat, mnt + "/model/" + "x" * 256)
        fails_with(errno.ENOTDIR, os.stat, mnt + "/README/x")
        fails_with(errno.ENOENT, os.mkdir, mnt + "/run/x/y")
        fails_with(errno.ENAMETOOLONG, os.mkdir, mnt + "/run/" + "x" * 256)
        os.mkdir(mnt + "/run/" + "x" * 255)
        fails_with(errno.EEXIST, os.mkdir, mnt + "/run/" + "x" * 255)
        fails_with(errno.ENOTDIR, os.open, mnt + "/README",
                   os.O_RDONLY | os.O_DIRECTORY)
        fails_with(errno.EISDIR, os.open, mnt + "/model", os.O_WRONLY)
        fails_with(errno.ELOOP, os.open,
                   mnt + "/tensors/layer1.0.conv1.weight",
                   os.O_RDONLY | os.O_NOFOLLOW)


@case
def access_and_modes():
    with mounted(ONNX) as mnt:
        assert os.access(mnt + "/README", os.R_OK)
        assert os.getuid() == 0 or not os.access(mnt + "/README", os.W_OK)
        assert not os.access(mnt + "/README", os.X_OK)
        assert os.access(mnt + "/model", os.R_OK | os.X_OK)
        for top, dirs, files in os.walk(mnt):
            for d in dirs:
                path = os.path.join(top, d)
                mode = os.lstat(path).st_mode & 0o7777
                assert mode in ((0o777,) if os.path.islink(path) else
                                (0o555, 0o755)), (path, oct(mode))
            for f in files:
                st = os.lstat(os.path.join(top, f))
                assert st.st_mode & 0o7777 in (0o444, 0o777), (top, f)
                same((st.st_uid, st.st_gid), (os.getuid(), os.getgid()), f)
        same(os.stat(mnt + "/run").st_mode & 0o777, 0o755)


@case
def inode_numbers_of_directories():
    with mounted(ONNX, "b=" + SAFETENSORS) as mnt:
        for top, dirs, _ in os.walk(mnt):
            out = subprocess.run(["ls", "-aiU", top], check=True,
                                 stdout=subprocess.PIPE).stdout.decode()
            listed = {line.split(None, 1)[1]: int(line.split()[0])
                      for line in out.splitlines()}
            same(listed["."], os.stat(top).st_ino, top)
            if top != mnt:
                same(listed[".."], os.stat(top + "/..").st_ino, top)
            for d in dirs:
                same(listed[d], os.lstat(os.path.join(top, d)).st_ino, d)


def entries(stream):
    while True:
        at = libc.telldir(stream)
        entry = libc.readdir64(stream)
        if not entry:
            return
        yield at, ctypes.string_at(entry + 19)


@case
def any_place_in_a_directory_can_be_sought():
    with mounted(ONNX) as mnt:
        fd = os.open(mnt + "/tensors", os.O_RDONLY | os.O_DIRECTORY)
        stream = libc.fdopendir(fd)
        listed = list(entries(stream))
        same(len(listed), len(os.listdir(mnt + "/tensors")) + 2)
        for k in [len(listed) // 2, 0, len(listed) - 1, 3]:
            libc.seekdir(stream, listed[k][0])
            same([n for _, n in entries(stream)],
                 [n for _, n in listed[k:]], k)
        libc.closedir(stream)


@case
def many_open_files():
    with mounted(ONNX) as mnt:
        run = mnt + "/run/x"
        os.mkdir(run)
        write(run + "/in/image.npy", read(IMAGE))
        want = read(run, "out/prob")
        fds = [os.open(run + "/out/prob", os.O_RDONLY) for _ in range(800)]
        same({os.read(fd, 100) for fd in fds}, {want})
        for fd in fds:
            os.close(fd)
        # Whole caches are dropped: every object must be found again.
        if os.getuid() == 0 and os.access("/proc/sys/vm/drop_caches",
                                          os.W_OK):
            with open("/proc/sys/vm/drop_caches", "w") as f:
                f.write("2")
        same(read(run, "out/prob"), want)


def handle_of(path):
    """struct file_handle of a path, as an NFS server makes it."""
    buf = ctypes.create_string_buffer(8 + 128)
    struct.pack_into("<I", buf, 0, 128)
    mount_id = ctypes.c_int()
    if libc.name_to_handle_at(-100, path.encode(), buf,
                              ctypes.byref(mount_id), 0) < 0:
        raise Skip("no handles: " + os.strerror(ctypes.get_errno()))
    return buf


def open_handle(mnt_fd, handle):
    fd = libc.open_by_handle_at(mnt_fd, handle, os.O_RDONLY)
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


@case
def handles_as_nfs_keeps_them():
    if os.getuid() != 0:
        raise Skip("only root opens handles")
    with mounted(ONNX) as mnt:
        want, listed = read(mnt, WEIGHT), os.listdir(mnt + "/model/layer1")
        file_handle = handle_of(mnt + "/" + WEIGHT)
        dir_handle = handle_of(mnt + "/model/layer1")
        # What the kernel remembers must not be needed.
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("2")
        top = os.open(mnt, os.O_RDONLY | os.O_DIRECTORY)
        fd = open_handle(top, dir_handle)
        same(sorted(os.listdir(fd)), sorted(listed))
        same(os.stat("..", dir_fd=fd).st_ino, os.stat(mnt + "/model").st_ino)
        os.close(fd)
        fd = open_handle(top, file_handle)
        same(os.read(fd, len(want) + 1), want)
        os.close(fd)
        forged(top, file_handle)
        os.close(top)
        same(read(mnt, WEIGHT), want)


def forged(top, handle):
    """Numbers that nobody ever gave out."""
    for number in [0, 2, 2**64 - 1] + [
            mount << 56 | area << 50 | run << 36 | view << 32 | id_
            for mount in (0, 1, 255) for area in range(64)
            for run in (0, 1) for view in (0, 3, 15)
            for id_ in (0, 7, 1000, 2**32 - 1)]:
        fake = ctypes.create_string_buffer(handle.raw, len(handle.raw))
        struct.pack_into("<II", fake, 8, number >> 32, number & 0xffffffff)
        try:
            os.close(open_handle(top, fake))
        except OSError as e:
            assert e.errno in (errno.ESTALE, errno.ELOOP, errno.EOPNOTSUPP,
                               errno.ENODATA, errno.EIO), (hex(number), e)


# ---- other users ----

def as_nobody(*args, **kw):
    return subprocess.run(args, user=65534, group=65534, extra_groups=[],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60, **kw)


@case
def other_users():
    if os.getuid() != 0:
        raise Skip("only root can be somebody else")
    for options, works in [((), False), (("-o", "allow_other"), True)]:
        with mounted(ONNX, options=options) as mnt:
            os.chmod(os.path.dirname(mnt), 0o755)
            r = as_nobody("cat", mnt + "/" + WEIGHT + ".shape")
            same(r.returncode == 0, works, options)
            if not works:
                continue
            same(r.stdout, b"12 12 3 3\n")
            # A run belongs to who mounted.
            assert as_nobody("mkdir", mnt + "/run/theirs").returncode != 0
            os.mkdir(mnt + "/run/x")
            assert as_nobody("cp", IMAGE, mnt + "/run/x/in/").returncode != 0


@case
def an_ordinary_user():
    if os.getuid() != 0:
        raise Skip("only root can be somebody else")
    if os.stat("/dev/fuse").st_mode & 0o6 != 0o6:
        raise Skip("/dev/fuse is not for everybody")
    with tempdir() as tmp:
        os.chmod(tmp, 0o755)
        shutil.copy(PROGRAM, tmp + "/modelfs")
        shutil.copy(ONNX, tmp + "/m.onnx")
        os.mkdir(tmp + "/mnt")
        os.chown(tmp + "/mnt", 65534, 65534)
        r = as_nobody(tmp + "/modelfs", tmp + "/m.onnx", tmp + "/mnt")
        same(r.returncode, 0, r.stderr)
        try:
            r = as_nobody("cat", tmp + "/mnt/" + WEIGHT + ".shape")
            same(r.stdout, b"12 12 3 3\n", r.stderr)
        finally:
            r = as_nobody("fusermount3", "-u", tmp + "/mnt")
        same(r.returncode, 0, r.stderr)


# ---- mounting and unmounting ----

@case
def unmounting_while_somebody_reads():
    # The kernel need not say that a file was closed when the mount is gone.
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
    with mounted(ONNX, ends=True, env=env) as mnt:
        fd = os.open(mnt + "/" + WEIGHT, os.O_RDONLY)
        assert unmount(mnt).returncode != 0, "a busy mount went away"
        want = os.pread(fd, 100, 0)
        same(unmount(mnt, "-z").returncode, 0)
        same(os.pread(fd, 100, 0), want)
        os.close(fd)
        wait_until(lambda: mnt.proc.poll() is not None)
        same(mnt.proc.returncode, 0)


@case
def a_mountpoint_in_use():
    with mounted(ONNX) as mnt:
        fd = os.open(mnt, os.O_RDONLY | os.O_DIRECTORY)
        # On top, as with any filesystem; the one below is there again later.
        r = subprocess.run([PROGRAM, SAFETENSORS, mnt], timeout=60,
                           stderr=subprocess.PIPE)
        if r.returncode == 0:
            assert b"safetensors" in read(mnt, "info.json")
            same(unmount(mnt).returncode, 0)
        else:
            same(r.returncode, 3, r.stderr)
            same(r.stderr.count(b"\n"), 1)
        os.close(fd)
        wait_until(lambda: b"onnx" in read(mnt, "info.json"))


@case
def the_mountpoint_inside_the_source():
    with tempdir() as tmp:
        shutil.copy(SAFETENSORS, tmp + "/model.safetensors")
        with open(tmp + "/config.json", "w") as f:
            f.write('{"architectures": ["Digits"]}')
        os.mkdir(tmp + "/mnt")
        r = subprocess.run([PROGRAM, tmp, tmp + "/mnt"], timeout=60,
                           stderr=subprocess.PIPE)
        same(r.returncode, 0, r.stderr)
        same(read(tmp, "mnt/model/fc/weight.shape"), b"10 192\n")
        same(unmount(tmp + "/mnt").returncode, 0)


@case
def a_source_on_another_mount():
    with mounted(SAFETENSORS) as outer:
        with mounted(outer + "/model/fc/weight.npy") as inner:
            names = [f for _, _, fs in os.walk(inner + "/model") for f in fs]
            assert any(n.endswith(".npy") for n in names), names


main()
