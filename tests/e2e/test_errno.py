# SPDX-License-Identifier: MIT
"""
The error of every call that could change something, in every situation, as
pjdfstest asks for it: outside run/ (nothing can change), in in/ (inputs come
and go) and in run/ (runs come and go).

pjdfstest's chflags and its ACLs ("granular") are not Linux's; loops of
symbolic links cannot be made here, so ELOOP is what O_NOFOLLOW gives.
"""
import ctypes
import errno
import os

from e2e import (IMAGE, ONNX, Skip, case, main, mounted, read, same, tempdir,
                 write)

libc = ctypes.CDLL(None, use_errno=True)


def opened(flags):
    def call(path):
        os.close(os.open(path, flags, 0o644))
    return call


def exchange(path):
    """renameat2 with RENAME_EXCHANGE, of a file and one of its views."""
    other = path + ".npy"
    if libc.renameat2(-100, path.encode(), -100, other.encode(), 2) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")


# Of something that is there.
FILE_CALLS = {
    "open O_WRONLY": opened(os.O_WRONLY),
    "open O_RDWR": opened(os.O_RDWR),
    "open O_TRUNC": opened(os.O_WRONLY | os.O_TRUNC),
    "truncate": lambda p: os.truncate(p, 1),
    "chmod": lambda p: os.chmod(p, 0o600),
    "chown": lambda p: os.chown(p, 1, 1),
    "utimensat": lambda p: os.utime(p, (1, 1)),
    "unlink": os.unlink,
    "rename from": lambda p: os.rename(p, os.path.dirname(p) + "/renamed"),
    "link from": lambda p: os.link(p, os.path.dirname(p) + "/linked"),
    "setxattr": lambda p: os.setxattr(p, "user.x", b"1"),
}
DIR_CALLS = {
    "rmdir": os.rmdir,
    "chmod": lambda p: os.chmod(p, 0o700),
    "chown": lambda p: os.chown(p, 1, 1),
    "utimensat": lambda p: os.utime(p, (1, 1)),
    "rename from": lambda p: os.rename(p, os.path.dirname(p) + "/renamed"),
}
# Of something that is not there yet.
NEW_CALLS = {
    "open O_CREAT": opened(os.O_WRONLY | os.O_CREAT),
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "mknod": lambda p: os.mknod(p, 0o100644),
    "symlink": lambda p: os.symlink("x", p),
}


def error_of(call, path):
    """Name of the error; "" when it worked."""
    try:
        call(path)
    except OSError as e:
        return errno.errorcode[e.errno]
    return ""


def check(wrong, where, calls, path, want):
    """want: an error's name for all, or one for each call."""
    for name, call in calls.items():
        expected = want if isinstance(want, str) else want[name]
        got = error_of(call, path)
        if got not in (expected.split() or [""]):
            wrong.append("%s, %s: %s, not %s" % (where, name, got or "works",
                                                 expected))


def check_paths(wrong, where, calls, folder, a_file):
    """Paths that lead nowhere, whatever is asked of them."""
    check(wrong, where, calls, folder + "/missing/x", "ENOENT")
    check(wrong, where, calls, a_file + "/x", "ENOTDIR")
    check(wrong, where, calls, folder + "/" + "n" * 256, "ENAMETOOLONG")
    check(wrong, where, calls, folder + "/" + "n/" * 2100 + "x",
          "ENAMETOOLONG")


@case
def outside_run():
    wrong = []
    with mounted(ONNX) as mnt:
        folder, link = mnt + "/model/fc", mnt + "/tensors/fc.weight"
        there = folder + "/weight"
        check(wrong, "file", FILE_CALLS, there, "EROFS")
        check(wrong, "folder", DIR_CALLS, folder, "EROFS")
        check(wrong, "new", NEW_CALLS, folder + "/new", "EROFS")
        check(wrong, "through a link", {
            k: FILE_CALLS[k] for k in ("open O_WRONLY", "truncate", "chmod",
                                       "chown", "utimensat", "setxattr")},
            link, "EROFS")
        everything = {**FILE_CALLS, **NEW_CALLS, "rmdir": os.rmdir}
        check_paths(wrong, "paths", everything, folder, there)
        check(wrong, "missing", {**FILE_CALLS, "rmdir": os.rmdir},
              folder + "/missing", "ENOENT")
        check(wrong, "there", {k: v for k, v in NEW_CALLS.items()
                               if k != "open O_CREAT"}, there, "EEXIST")
    assert not wrong, "\n".join(wrong)


@case
def weights_alone_are_mounted_read_only():
    """Then the kernel itself refuses, before it asks."""
    wrong = []
    with tempdir() as tmp:
        write(tmp + "/x.npy", read(IMAGE))
        with mounted(tmp + "/x.npy") as mnt:
            name = next(n for n in os.listdir(mnt + "/model")
                        if n.endswith(".npy"))
            there = mnt + "/model/" + name
            check(wrong, "file", FILE_CALLS, there, "EROFS")
            check(wrong, "folder", DIR_CALLS, mnt + "/model", "EROFS")
            check(wrong, "new", NEW_CALLS, mnt + "/model/new", "EROFS")
    assert not wrong, "\n".join(wrong)


@case
def kinds_and_flags():
    wrong = []
    with mounted(ONNX) as mnt:
        folder, there = mnt + "/model/fc", mnt + "/model/fc/weight"
        link = mnt + "/tensors/fc.weight"
        for where, path, flags, want in [
                ("folder", folder, os.O_WRONLY, "EISDIR"),
                ("folder", folder, os.O_RDWR, "EISDIR"),
                ("file", there, os.O_RDONLY | os.O_DIRECTORY, "ENOTDIR"),
                ("link", link, os.O_RDONLY | os.O_NOFOLLOW, "ELOOP"),
                ("file", there, os.O_CREAT | os.O_EXCL | os.O_WRONLY,
                 "EEXIST"),
                ("link", link, os.O_CREAT | os.O_EXCL | os.O_WRONLY,
                 "EEXIST"),
                ("folder", folder, os.O_TMPFILE | os.O_RDWR,
                 "EROFS ENOTSUP"),
                ("pipe", there, os.O_RDONLY | os.O_NONBLOCK, "")]:
            got = error_of(opened(flags), path)
            if got not in (want.split() or [""]):
                wrong.append("%s %o: %s" % (where, flags, got))
        for name, call, path, want in [
                ("rmdir", os.rmdir, there, "ENOTDIR"),
                ("rmdir .", os.rmdir, folder + "/.", "EINVAL"),
                ("rmdir ..", os.rmdir, folder + "/..", "ENOTEMPTY"),
                ("unlink", os.unlink, folder, "EISDIR"),
                ("link of a folder", lambda p: os.link(p, mnt + "/l"), folder,
                 "EPERM EROFS"),
                ("rename into itself",
                 lambda p: os.rename(p, p + "/conv1"), mnt + "/model",
                 "EINVAL"),
                ("rename over a folder",
                 lambda p: os.rename(p, mnt + "/model/conv1"), there,
                 "EISDIR EROFS"),
                ("rename over the folder it is in",
                 lambda p: os.rename(p, folder), there, "ENOTEMPTY"),
                ("rename a folder over a file",
                 lambda p: os.rename(p, there), mnt + "/model/conv1",
                 "ENOTDIR EROFS"),
                ("exchange", exchange, there, "EROFS"),
                ("truncate below zero", lambda p: os.truncate(p, -1), there,
                 "EINVAL"),
                ("truncate a folder", lambda p: os.truncate(p, 0), folder,
                 "EISDIR"),
                ("readlink", os.readlink, there, "EINVAL"),
                ("rename to another filesystem",
                 lambda p: os.rename(p, os.path.dirname(mnt) + "/x"), there,
                 "EXDEV"),
                ("link to another filesystem",
                 lambda p: os.link(p, os.path.dirname(mnt) + "/x"), there,
                 "EXDEV")]:
            check(wrong, name, {"": call}, path, want)
    assert not wrong, "\n".join(wrong)


@case
def inputs_of_a_run():
    wrong = []
    with mounted(ONNX) as mnt:
        folder = mnt + "/run/x/in"
        there = folder + "/image.npy"
        os.mkdir(mnt + "/run/x")
        same(write(there, read(IMAGE)), 0)
        fd = os.open(there, os.O_RDWR)
        for name, call, want in [
                ("posix_fallocate", lambda: os.posix_fallocate(fd, 0, 10),
                 ""),
                ("ftruncate", lambda: os.ftruncate(fd, -1), "EINVAL"),
                ("ftruncate", lambda: os.ftruncate(fd, 1 << 50), "EFBIG"),
                ("pwrite", lambda: os.pwrite(fd, b"x", 1 << 50), "EFBIG")]:
            check(wrong, "descriptor", {name: lambda _: call()}, None, want)
        os.close(fd)
        # Runs have permissions and times of their own; and no other names.
        odd = {"chmod": "", "utimensat": "", "chown": "EPERM",
               "rename from": "EROFS", "link from": "EROFS",
               "setxattr": "EROFS"}
        for name, want in odd.items():
            check(wrong, "input", {name: FILE_CALLS[name]}, there, want)
        news = dict(NEW_CALLS)
        del news["open O_CREAT"]
        check(wrong, "new", news, folder + "/new", "EROFS")
        check(wrong, "there", news, there, "EEXIST")
        everything = {**FILE_CALLS, **NEW_CALLS, "rmdir": os.rmdir}
        check_paths(wrong, "paths", everything, folder, there)
        check(wrong, "missing", {**FILE_CALLS, "rmdir": os.rmdir},
              folder + "/missing.npy", "ENOENT")
        os.unlink(there)
        check(wrong, "gone", {"unlink": os.unlink}, there, "ENOENT")
    assert not wrong, "\n".join(wrong)


@case
def runs():
    wrong = []
    with mounted(ONNX) as mnt:
        top = mnt + "/run"
        os.mkdir(top + "/x")
        news = dict(NEW_CALLS)
        del news["mkdir"]
        check(wrong, "new", news, top + "/new", "EROFS")
        check(wrong, "again", {"mkdir": os.mkdir}, top + "/x", "EEXIST")
        check(wrong, "longest", {"mkdir": os.mkdir}, top + "/" + "n" * 255,
              "")
        check(wrong, "too long", {"mkdir": os.mkdir}, top + "/" + "n" * 256,
              "ENAMETOOLONG")
        check(wrong, "renamed", {"rename": lambda p: os.rename(p, p + "2")},
              top + "/x", "EROFS")
        check(wrong, "unlink", {"unlink": os.unlink}, top + "/x", "EISDIR")
        check(wrong, "missing", {"rmdir": os.rmdir}, top + "/missing",
              "ENOENT")
        os.rmdir(top + "/x")
        for path in ("/x", "/x/in", "/x/in/image.npy"):
            check(wrong, "gone", {"stat": os.stat, "open": opened(0)},
                  top + path, "ENOENT")
    assert not wrong, "\n".join(wrong)


def as_somebody_else(fn):
    """fn() as nobody, in a process of its own; what it returned."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os.write(w, "\n".join(fn()).encode())
        os._exit(0)
    os.close(w)
    with os.fdopen(r) as f:
        said = f.read()
    same(os.waitpid(pid, 0)[1], 0)
    return said


@case
def another_user():
    if os.getuid() != 0:
        raise Skip("only root can be somebody else")
    with mounted(ONNX, options=["-o", "allow_other"]) as mnt:
        os.chmod(os.path.dirname(mnt), 0o755)
        run = mnt + "/run/x"
        os.mkdir(run)
        same(write(run + "/in/image.npy", read(IMAGE)), 0)

        def attempts():
            wrong = []
            denied = {k: "EACCES" for k in FILE_CALLS}
            # Only the owner of a file may; the kernel calls that EPERM.
            for name in ("chmod", "chown", "utimensat", "link from"):
                denied[name] += " EPERM"
            for there, new in [(mnt + "/model/fc/weight",
                                mnt + "/model/fc/new"),
                               (run + "/in/image.npy", run + "/in/new")]:
                check(wrong, there, FILE_CALLS, there, denied)
                check(wrong, new, NEW_CALLS, new, "EACCES")
            check(wrong, "run", {"mkdir": os.mkdir}, mnt + "/run/theirs",
                  "EACCES")
            check(wrong, "run", {"rmdir": os.rmdir}, run, "EACCES")
            os.chdir(run + "/act")
            return wrong

        same(as_somebody_else(attempts), "")
        os.chmod(run, 0o700)


main()
