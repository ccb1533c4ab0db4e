# SPDX-License-Identifier: MIT
"""Debian's own programs that try filesystems: fio and stress-ng."""
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import time

from e2e import (IMAGE, ONNX, Skip, case, in_threads, main, mounted, read,
                 same, tempdir, write)

ENGINES = ["psync", "pvsync2", "libaio", "io_uring", "posixaio", "mmap",
           "splice"]
BLOCK = 4096
FILE_BYTES = 4 << 20
CHECKSUMS = {"verify": "crc32c", "verify_interval": BLOCK}

# Those that only look, only change names, or write as they please; none that
# needs a device or changes the machine.
STRESSORS = """access chdir chmod chown copy-file dentry dir dirdeep dirmany
    dnotify fallocate fcntl fiemap filename flock fstat getdent hdd inotify
    iomix lease link locka lockf lockofd mknod open rename symlink sync-file
    touch utime xattr""".split()
SECONDS = 1


def need(program):
    if not shutil.which(program):
        raise Skip("no " + program)


def fio(path, size=FILE_BYTES, **options):
    """Exit status, and what it said."""
    args = {"name": "job", "filename": path, "size": size, "thread": 1,
            **options}
    p = subprocess.run(
        ["fio", *("--%s=%s" % kv for kv in args.items()),
         *(["--readonly"] if args["rw"] != "write" else [])], timeout=120,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return p.returncode, p.stdout.decode(errors="replace")


def verified(path, **options):
    """Reads the file; every block of it says itself what it should hold."""
    return fio(path, verify_fatal=1, verify_state_save=0, **CHECKSUMS,
               **options)


def blocks(folder):
    """Bytes whose every block has a checksum, by fio."""
    path = os.path.join(folder, "blocks")
    code, said = fio(path, rw="write", bs="64k", do_verify=0,
                     verify_state_save=0, **CHECKSUMS)
    same(code, 0, said)
    return read(path)


def wrap(path, data):
    """A model with one tensor, at an odd place of its file."""
    header = json.dumps({"x": {"dtype": "U8", "shape": [len(data)],
                               "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-(8 + len(header)) % 8 + 5)
    write(path, struct.pack("<Q", len(header)) + header + data)


def has_engine(folder, engine):
    path = os.path.join(folder, "probe")
    write(path, bytes(BLOCK))
    code, _ = fio(path, size=BLOCK, rw="read", bs=BLOCK, ioengine=engine)
    return code == 0


@case
def fio_reads_what_it_wrote():
    need("fio")
    with tempdir() as tmp:
        wrap(tmp + "/m.safetensors", blocks(tmp))
        engines = [e for e in ENGINES if has_engine(tmp, e)]
        assert "psync" in engines and "mmap" in engines, engines
        with mounted(tmp + "/m.safetensors") as mnt:
            for engine in engines:
                for rw, bs in (("read", "64k"), ("randread", "4k")):
                    code, said = verified(mnt + "/model/x", rw=rw, bs=bs,
                                          ioengine=engine, iodepth=8,
                                          numjobs=4)
                    same(code, 0, (engine, rw, said[-2000:]))


@case
def fio_reads_past_the_page_cache():
    need("fio")
    with tempdir() as tmp:
        wrap(tmp + "/m.safetensors", blocks(tmp))
        with mounted(tmp + "/m.safetensors") as mnt:
            for engine in ("psync", "libaio"):
                if not has_engine(tmp, engine):
                    continue
                code, said = verified(mnt + "/model/x", rw="randread",
                                      bs="16k", ioengine=engine, direct=1,
                                      iodepth=8, numjobs=2)
                same(code, 0, (engine, said[-2000:]))


@case
def fio_notices_one_wrong_byte():
    need("fio")
    with tempdir() as tmp:
        data = bytearray(blocks(tmp))
        data[5 * BLOCK + 1000] ^= 1
        wrap(tmp + "/m.safetensors", bytes(data))
        with mounted(tmp + "/m.safetensors") as mnt:
            code, said = verified(mnt + "/model/x", rw="read", bs="4k")
            assert code != 0 and "verify" in said, said


def sums(top):
    found = {}
    for folder, _, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            found[path] = hashlib.sha256(read(path)).hexdigest()
    return found


def resident(pid):
    with open("/proc/%d/statm" % pid) as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stress(folder):
    """Everything at once in this folder; what it said."""
    args = ["stress-ng", "--temp-path", folder, "--timeout", str(SECONDS),
            "--metrics-brief", "--no-rand-seed"]
    for name in STRESSORS:
        args += ["--" + name, "1"]
    p = subprocess.run(args, stdout=subprocess.PIPE, timeout=SECONDS + 120,
                       stderr=subprocess.STDOUT)
    return p.stdout.decode(errors="replace")


@case
def stress_ng_in_run_and_elsewhere():
    """It makes and removes runs, and may write nothing into them."""
    need("stress-ng")
    with mounted(ONNX) as mnt:
        want = sums(mnt + "/model")
        for place in ("run", "model"):
            said = stress(os.path.join(mnt, place))
            assert "stress-ng" in said, said
            # Refused (EROFS), or gone meanwhile (ENOENT); no other failure.
            numbers = set(re.findall(r"errno=(\d+)", said))
            assert numbers <= {"2", "30"}, (numbers, said[-3000:])
            same(sums(mnt + "/model"), want)
        same(os.listdir(mnt + "/run"), [])
        os.mkdir(mnt + "/run/after")
        same(write(mnt + "/run/after/in/image.npy", read(IMAGE)), 0)
        assert read(mnt + "/run/after/out/prob")


@case
def stress_ng_beside_readers():
    need("stress-ng")
    with mounted(ONNX) as mnt:
        want = sums(mnt + "/model")
        before = resident(mnt.proc.pid)
        end = time.monotonic() + SECONDS

        def work(i):
            if i == 0:
                stress(mnt + "/run")
                return
            while time.monotonic() < end:
                same(sums(mnt + "/model"), want)

        in_threads(work, 4)
        assert resident(mnt.proc.pid) < before + (64 << 20)


main()
