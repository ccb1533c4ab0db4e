# SPDX-License-Identifier: MIT
"""
e2e - what the end-to-end tests share: cases, mounts, commands.

A test file defines functions with @case (or @case(mount=False) where no
mount is needed) and ends with main().  A case prints "ok - file: name",
"not ok - ..." or "skip - ...", like the unit tests.

The program is $MODELFS, the source tree $top_srcdir.
"""
import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

TOP = os.environ.get("top_srcdir") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("MODELFS") or os.path.join(TOP, "build", "modelfs")
DIGITS = os.path.join(TOP, "tests", "models", "digits")
ONNX = os.path.join(DIGITS, "digits.onnx")
SAFETENSORS = os.path.join(DIGITS, "digits.safetensors")
TORCH = os.path.join(DIGITS, "digits.pt")
IMAGE = os.path.join(DIGITS, "image.npy")

_cases = []


class Skip(Exception):
    """Raised by a case that cannot run here; says why."""


def case(fn=None, *, mount=True):
    def add(f):
        _cases.append((f, mount))
        return f
    return add(fn) if fn else add


def can_mount():
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "no permission for /dev/fuse"
    if not shutil.which("fusermount3"):
        return "no fusermount3"
    return None


def main():
    name = "tests/e2e/" + os.path.basename(sys.argv[0])
    only = sys.argv[1:]
    why_not = can_mount()
    failed = passed = 0
    for fn, mount in _cases:
        if only and fn.__name__ not in only:
            continue
        if mount and why_not:
            print("skip - %s: %s (%s)" % (name, fn.__name__, why_not))
            continue
        try:
            fn()
        except Skip as why:
            print("skip - %s: %s (%s)" % (name, fn.__name__, why))
        except Exception:
            failed += 1
            for line in traceback.format_exc().splitlines():
                print("# " + line)
            print("not ok - %s: %s" % (name, fn.__name__))
        else:
            passed += 1
            print("ok - %s: %s" % (name, fn.__name__))
        sys.stdout.flush()
    sys.exit(1 if failed else 0 if passed else 77)


def run(*args, **kw):
    """The program with these arguments; never raises for its exit status."""
    kw.setdefault("timeout", 120)
    return subprocess.run([PROGRAM, *args], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, **kw)


def unmount(mnt, *extra):
    return subprocess.run(["fusermount3", "-u", *extra, mnt],
                          stderr=subprocess.PIPE)


@contextlib.contextmanager
def tempdir():
    path = tempfile.mkdtemp(prefix="modelfs-test-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Mounted(str):
    """The mount point, as a str; .proc is the program in front."""


@contextlib.contextmanager
def mounted(*sources, options=(), env=None, ends=False):
    """
    Mounts, in front, so that the program can be watched.  It must not end by
    itself, except where the case makes it end.
    """
    with tempdir() as tmp:
        mnt = Mounted(os.path.join(tmp, "mnt"))
        os.mkdir(mnt)
        # A pipe that nobody reads would stop a talkative daemon.
        says = os.path.join(tmp, "stderr")
        with open(says, "wb") as f:
            proc = subprocess.Popen([PROGRAM, "-f", *options, *sources, mnt],
                                    stderr=f, env=env)
        mnt.proc = proc
        try:
            wait_until(lambda: os.path.ismount(mnt) or
                       proc.poll() is not None)
            check_alive(proc, says)
            yield mnt
            if not ends:
                check_alive(proc, says)
        finally:
            end_mount(mnt, proc)
        # A sanitizer has its say when the program ends.
        assert proc.returncode == 0, "modelfs ended with %d: %s" % (
            proc.returncode, tail(says))


def tail(path):
    return read(path)[-4000:].decode("utf-8", "replace")


def check_alive(proc, says):
    assert proc.poll() is None, "modelfs died with %d: %s" % (
        proc.returncode, tail(says))


def end_mount(mnt, proc):
    if os.path.ismount(mnt) and unmount(mnt).returncode != 0:
        unmount(mnt, "-z")
    try:
        proc.wait(20)
    except subprocess.TimeoutExpired:
        proc.kill()
        proc.wait()
        raise AssertionError("modelfs did not end after umount")


def wait_until(fn, seconds=20):
    end = time.monotonic() + seconds
    while not fn():
        if time.monotonic() > end:
            raise AssertionError("nothing happened in %d s" % seconds)
        time.sleep(0.01)


def in_threads(work, n):
    """work(0) ... work(n - 1) at once; fails when one of them does."""
    failures = []

    def guarded(i):
        try:
            work(i)
        except Exception as e:
            failures.append("%d: %r" % (i, e))

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        assert not t.is_alive(), "a reader hangs"
    assert not failures, failures[:3]


def read(*parts):
    with open(os.path.join(*parts), "rb") as f:
        return f.read()


def text(*parts):
    return read(*parts).decode()


def write(path, data):
    """Returns what close() said, as errno; 0 when it took the file."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
    except OSError:
        os.close(fd)
        raise
    try:
        os.close(fd)
    except OSError as e:
        return e.errno
    return 0


def fails_with(code, fn, *args, **kw):
    try:
        fn(*args, **kw)
    except OSError as e:
        assert e.errno == code, "%s, not %s" % (
            errno.errorcode.get(e.errno, e.errno), errno.errorcode[code])
        return
    raise AssertionError("worked, instead of " + errno.errorcode[code])


def status(run_dir):
    """run/NAME/status as a dictionary; the last line of a key counts."""
    lines = text(run_dir, "status").splitlines()
    return dict(line.split("\t", 1) for line in lines if "\t" in line)


def short(value):
    said = repr(value)
    return said if len(said) <= 400 else said[:400] + "..."


def same(got, want, what=""):
    assert got == want, "%s%s is not %s" % (
        "%s: " % (what,) if what != "" else "", short(got), short(want))
