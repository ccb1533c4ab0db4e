# SPDX-License-Identifier: MIT
"""The command line: what works without a mount, exit statuses, errors."""
import io
import json
import os
import struct
import subprocess

import numpy as np

from e2e import (DIGITS, IMAGE, ONNX, PROGRAM, SAFETENSORS, case, main, mounted,
                 read, run, same, tempdir, text, unmount, wait_until)

EXPECTED = np.load(os.path.join(DIGITS, "expected.npz"))


def good(*args):
    r = run(*args)
    assert r.returncode == 0, (args, r.returncode, r.stderr)
    return r.stdout


def bad(code, *args, says=()):
    """Fails with this status and exactly one line on standard error."""
    r = run(*args)
    same(r.returncode, code, " ".join(args) + ": " + repr(r.stderr))
    lines = r.stderr.decode("utf-8", "replace").splitlines()
    same(len(lines), 1, repr(lines))
    assert lines[0].startswith("modelfs: "), lines
    for word in says:
        assert word in lines[0], lines
    return lines[0]


@case(mount=False)
def ls():
    names = good("--ls", ONNX).decode().split()
    assert {"model", "tensors", "info.json"} <= {
        n.rstrip("/") for n in names}, names
    assert b"weight.npy" in good("--ls", ONNX, "model/fc")
    assert b"#" not in good("--ls", ONNX, "model/fc")


@case(mount=False)
def ls_totals():
    """The last line of a model's listing says what info.json says."""
    for source in [ONNX, SAFETENSORS]:
        info = json.loads(good("--cat", source, "info.json"))
        line = good("--ls", source).decode().splitlines()[-1]
        assert line.startswith("# %d parameters, %d tensors, %d bytes, " % (
            info["parameters"], info["tensors"], info["bytes"])), line
        for dtype, n in info["dtypes"].items():
            assert "%s %d" % (dtype, n) in line, line


@case(mount=False)
def cat():
    same(good("--cat", SAFETENSORS, "model/fc/weight.shape"), b"10 192\n")
    a = np.load(io.BytesIO(good("--cat", SAFETENSORS,
                                "model/fc/weight.npy")))
    raw = good("--cat", ONNX, "tensors/fc.weight")
    same(raw, a.tobytes())
    two = good("--cat", ONNX, "model/fc/weight.shape", "model/fc/bias.shape")
    same(two, b"10 192\n10\n")


@case(mount=False)
def run_without_a_mount():
    out = good("--in", "image=" + IMAGE, "--cat", ONNX,
               "run/cli/out/prob.npy")
    prob = np.load(io.BytesIO(out))
    assert np.abs(prob - EXPECTED["prob"]).max() < 1e-5
    inner = good("--in", "image=" + IMAGE, "--cat", ONNX,
                 "run/cli/act/layer1/0/conv1/output.npy")
    assert np.abs(np.load(io.BytesIO(inner)) -
                  EXPECTED["layer1.0.conv1"]).max() < 1e-4


@case(mount=False)
def extract():
    with tempdir() as tmp:
        good("--extract", ONNX, "model/layer1", tmp + "/out")
        found = [os.path.join(r, f) for r, _, fs in os.walk(tmp + "/out")
                 for f in fs if f == "weight.npy"]
        same(len(found), 4)
        for f in found:
            np.load(f)
        one = [f for f in found if "conv1" in f]
        same(read(one[0]), good("--cat", ONNX,
                                "model/layer1/0/conv1/weight.npy"))


@case(mount=False)
def formats_help_version():
    out = good("--formats").decode()
    assert "onnx" in out and "safetensors" in out, out
    assert b"modelfs" in good("--version")
    out = good("--help").decode()
    for option in ["--ls", "--cat", "--extract", "--formats", "--in",
                   "--graph", "-o", "-f"]:
        assert option in out, option
    same(good("-h").decode(), out)


@case(mount=False)
def bad_usage():
    bad(2)
    bad(2, ONNX)
    bad(2, "--nonsense", ONNX, "/tmp")
    bad(2, "--cat")
    bad(2, "--cat", ONNX)
    bad(2, "--in", "image", "--cat", ONNX, "run/cli/out/prob")
    bad(2, "-m", "lots", ONNX, "/tmp")
    bad(2, "-t", "-1", ONNX, "/tmp")


@case(mount=False)
def unreadable_models():
    bad(1, "--ls", "/nowhere/x.onnx", says=["/nowhere/x.onnx"])
    with tempdir() as tmp:
        for name, data in {
                "empty": b"", "text": b"hello, world\n",
                "zeros": bytes(4096),
                "cut.onnx": read(ONNX)[:5000],
                "cut.safetensors": read(SAFETENSORS)[:-1],
                "long.safetensors": struct.pack("<Q", 2**63) + b"{}",
                "esc\x1b[31m\n.onnx": b"\x08\x07\x12"}.items():
            path = os.path.join(tmp, name)
            with open(path, "wb") as f:
                f.write(data)
            line = bad(1, "--ls", path)
            assert "\x1b" not in line, repr(line)
        os.mkfifo(tmp + "/fifo")
        bad(1, "--ls", tmp + "/fifo")
        os.mkdir(tmp + "/dir")
        bad(1, "--ls", tmp + "/dir")
    bad(1, "--ls", "/dev/zero")


@case(mount=False)
def missing_paths():
    bad(1, "--cat", ONNX, "model/nothing", says=["model/nothing"])
    bad(1, "--ls", ONNX, "nothing", says=["nothing"])
    bad(1, "--cat", ONNX, "run/cli/out/prob", says=["image"])
    bad(1, "--in", "image=" + ONNX, "--cat", ONNX, "run/cli/out/prob")
    bad(1, "--in", "nothing=" + IMAGE, "--cat", ONNX, "run/cli/out/prob",
        says=["nothing"])


@case(mount=False)
def every_prefix_of_a_file_is_survived():
    data = read(SAFETENSORS)
    n, = struct.unpack("<Q", data[:8])
    with tempdir() as tmp:
        path = tmp + "/m"
        for cut in list(range(0, 12)) + list(range(12, n + 8, 97)) + [
                n + 7, n + 8, len(data) - 1]:
            with open(path, "wb") as f:
                f.write(data[:cut])
            r = run("--ls", path)
            same(r.returncode, 1, "cut at %d" % cut)


@case(mount=False)
def single_changed_bytes_are_survived():
    for source, step in [(ONNX, 611), (SAFETENSORS, 37)]:
        data = bytearray(read(source))
        with tempdir() as tmp:
            for at in range(0, min(len(data), 3000), step):
                data[at] ^= 0xff
                with open(tmp + "/m", "wb") as f:
                    f.write(data)
                data[at] ^= 0xff
                r = run("--ls", tmp + "/m", "model")
                assert r.returncode in (0, 1), (source, at, r)


@case
def mount_and_background():
    with tempdir() as tmp:
        mnt = tmp + "/mnt"
        os.mkdir(mnt)
        r = run(ONNX, mnt)
        same(r.returncode, 0, repr(r.stderr))
        try:
            # The tree is ready when the command returns.
            same(text(mnt, "model/fc/weight.shape"), "10 192\n")
            line = [l for l in open("/proc/mounts") if mnt in l][0]
            assert "modelfs" in line, line
        finally:
            unmount(mnt)
        wait_until(lambda: not os.path.ismount(mnt))


@case
def mount_errors():
    with tempdir() as tmp:
        mnt = tmp + "/mnt"
        os.mkdir(mnt)
        bad(1, tmp + "/none", mnt)
        assert not os.path.ismount(mnt)
        bad(3, ONNX, tmp + "/missing")
        with open(tmp + "/file", "w"):
            pass
        bad(3, ONNX, tmp + "/file")


@case
def relative_paths_and_odd_names():
    with tempdir() as tmp:
        os.mkdir(tmp + "/a b ü")
        subprocess.run(["cp", ONNX, tmp + "/m odel"], check=True)
        r = run("m odel", "a b ü", cwd=tmp)
        same(r.returncode, 0, repr(r.stderr))
        same(text(tmp, "a b ü/model/fc/weight.shape"), "10 192\n")
        same(unmount(tmp + "/a b ü").returncode, 0)


@case
def source_cut_short_while_mounted():
    with tempdir() as tmp:
        path = tmp + "/m.safetensors"
        with open(path, "wb") as f:
            f.write(read(SAFETENSORS))
        with mounted(path) as mnt:
            os.truncate(path, 3000)
            for name in ["model/fc/weight", "model/fc/weight.npy",
                         "model/layer1/0/conv1/weight"]:
                try:
                    read(mnt, name)
                    raise AssertionError("read data that is gone")
                except OSError as e:
                    import errno
                    assert e.errno in (errno.ESTALE, errno.EIO), e
            same(text(mnt, "model/fc/weight.shape"), "10 192\n")


@case
def source_replaced_while_mounted():
    with tempdir() as tmp:
        path = tmp + "/m.safetensors"
        data = read(SAFETENSORS)
        with open(path, "wb") as f:
            f.write(data)
        with mounted(path) as mnt:
            before = read(mnt, "model/fc/weight")
            with open(path + ".new", "wb") as f:
                f.write(b"something else")
            os.rename(path + ".new", path)
            same(read(mnt, "model/fc/weight.npy")[-len(before):], before)


@case
def mount_helper():
    helper = os.path.join(os.environ.get("top_srcdir", "."),
                          "mount-scripts", "mount.modelfs")
    with tempdir() as tmp:
        mnt = tmp + "/mnt"
        os.mkdir(mnt)
        env = dict(os.environ, PATH=os.path.dirname(PROGRAM) + ":" +
                   os.environ["PATH"])
        r = subprocess.run(["sh", helper, ONNX, mnt, "-o",
                            "rw,noauto,x-y=z,memory=64M,threads=1"], env=env,
                           stderr=subprocess.PIPE)
        same(r.returncode, 0, r.stderr)
        same(text(mnt, "model/fc/bias.shape"), "10\n")
        same(unmount(mnt).returncode, 0)


@case
def ends_when_told():
    import signal
    with tempdir() as tmp:
        os.mkdir(tmp + "/mnt")
        for sig in [signal.SIGTERM, signal.SIGINT]:
            p = subprocess.Popen([PROGRAM, "-f", ONNX, tmp + "/mnt"])
            wait_until(lambda: os.path.ismount(tmp + "/mnt"))
            p.send_signal(sig)
            same(p.wait(10), 0)
            assert not os.path.ismount(tmp + "/mnt")


main()
