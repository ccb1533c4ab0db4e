# SPDX-License-Identifier: MIT
"""The static tree: names, files of a parameter, and the tools people use."""
import hashlib
import json
import mmap
import os
import shutil
import stat
import struct
import subprocess

import numpy as np

from e2e import (DIGITS, IMAGE, ONNX, SAFETENSORS, TORCH, Skip, case, fails_with,
                 main, mounted, read, same, tempdir, text)
import errno

DTYPES = {"F32": ("float32", "<f4"), "I64": ("int64", "<i8")}


def safetensors(path):
    """name → array, read by hand."""
    raw = read(path)
    n, = struct.unpack("<Q", raw[:8])
    out = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name == "__metadata__":
            continue
        a, b = t["data_offsets"]
        out[name] = np.frombuffer(
            raw[8 + n + a:8 + n + b], DTYPES[t["dtype"]][1]).reshape(t["shape"])
    return out


def npy_bytes(a):
    """What numpy.save writes."""
    with tempdir() as tmp:
        np.save(tmp + "/a.npy", a)
        return read(tmp, "a.npy")


def check_param(base, a):
    same(read(base), a.tobytes(), base)
    same(text(base + ".shape"), " ".join(map(str, a.shape)) + "\n", base)
    same(text(base + ".dtype"), a.dtype.name + "\n", base)
    same(read(base + ".npy"), npy_bytes(a), base + ".npy")
    b = np.load(base + ".npy", mmap_mode="r")
    assert b.shape == a.shape and b.dtype == a.dtype and (b == a).all(), base
    for suffix in ["", ".npy", ".shape", ".dtype"]:
        st = os.stat(base + suffix)
        same(st.st_size, len(read(base + suffix)), base + suffix)
        same(stat.S_IMODE(st.st_mode), 0o444, base + suffix)


@case
def every_parameter_in_every_format():
    want = safetensors(SAFETENSORS)
    for model in [SAFETENSORS, ONNX, TORCH]:
        with mounted(model) as mnt:
            seen = 0
            for name, a in want.items():
                base = os.path.join(mnt, "model", name.replace(".", "/"))
                if model == ONNX and name.endswith("num_batches_tracked"):
                    continue  # torch does not export it
                check_param(base, a)
                seen += 1
            assert seen >= 17, (model, seen)


@case
def top_level():
    with mounted(ONNX) as mnt:
        names = set(os.listdir(mnt))
        assert {"README", "info.json", "model", "tensors", "graph",
                "run"} <= names, names
        info = json.loads(text(mnt, "info.json"))
        same(info["format"], "onnx")
        assert "conv1" in text(mnt, "README")
        st = os.stat(mnt)
        same(stat.S_IMODE(st.st_mode) & 0o222, 0)
        same(st.st_uid, os.getuid())
    with mounted(SAFETENSORS) as mnt:
        same(text(mnt, "config/format") if os.path.exists(
            mnt + "/config/format") else "pt", "pt")


@case
def times_and_inodes_are_stable():
    with mounted(SAFETENSORS) as mnt:
        a = os.stat(mnt + "/model/fc/weight")
        same(int(a.st_mtime), int(os.stat(SAFETENSORS).st_mtime))
        b = os.stat(mnt + "/model/fc/weight.npy")
        assert a.st_ino != b.st_ino
        names = {}
        for entry in os.scandir(mnt + "/model/fc"):
            names[entry.name] = entry.inode()
        same(names["weight"], a.st_ino)
        same(names["weight.npy"], b.st_ino)
        same(os.stat(mnt + "/model/fc/weight").st_ino, a.st_ino)
    with mounted(SAFETENSORS) as mnt:
        same(os.stat(mnt + "/model/fc/weight").st_ino, a.st_ino)


@case
def tensors_are_links():
    want = safetensors(SAFETENSORS)
    with mounted(SAFETENSORS) as mnt:
        for name, a in want.items():
            path = os.path.join(mnt, "tensors", name)
            target = os.readlink(path)
            assert not target.startswith("/"), target
            same(read(path), a.tobytes(), name)
            same(text(path + ".dtype"), a.dtype.name + "\n")
            assert (np.load(path + ".npy") == a).all()
        same(os.path.realpath(mnt + "/tensors/fc.weight"),
             os.path.realpath(mnt) + "/model/fc/weight")


@case
def unknown_names():
    with mounted(SAFETENSORS) as mnt:
        for name in ["nothing", "model/nothing", "model/fc/weight.txt",
                     "model/fc/.npy", "tensors/none", "run/none"]:
            fails_with(errno.ENOENT, os.stat, os.path.join(mnt, name))
        fails_with(errno.ENOTDIR, os.stat, mnt + "/model/fc/weight/x")
        fails_with(errno.ENAMETOOLONG, os.stat, mnt + "/" + "x" * 256)


@case
def xattrs():
    with mounted(SAFETENSORS) as mnt:
        path = mnt + "/model/fc/weight"
        same(os.getxattr(path, "user.modelfs.dtype"), b"float32")
        same(os.getxattr(path, "user.modelfs.shape"), b"10 192")
        assert {"user.modelfs.shape", "user.modelfs.dtype",
                "user.modelfs.offset"} <= set(os.listxattr(path))
        off = int(os.getxattr(path, "user.modelfs.offset"))
        n = int(os.getxattr(path, "user.modelfs.length"))
        same(read(SAFETENSORS)[off:off + n], read(path))
        source = os.getxattr(path, "user.modelfs.source").decode()
        same(os.path.basename(source), "digits.safetensors")
        fails_with(errno.ENODATA, os.getxattr, path, "user.none")
        fails_with(errno.EOPNOTSUPP, os.getxattr, path, "security.none")


@case
def module_files():
    with mounted(ONNX) as mnt:
        lines = dict(line.split("\t", 1) for line in text(
            mnt, "model/fc/.module").splitlines())
        assert lines, "an empty .module"
        assert any("1930" in v for v in lines.values()), lines
        same(os.getxattr(mnt + "/model/conv1", "user.modelfs.type"), b"Conv")


def digest(path):
    out = {}
    for root, dirs, files in os.walk(path):
        for name in files:
            full = os.path.join(root, name)
            out[os.path.relpath(full, path)] = hashlib.sha256(
                read(full)).hexdigest()
    return out


@case
def copies_are_equal():
    with mounted(ONNX) as mnt, tempdir() as tmp:
        subprocess.run(["cp", "-r", mnt + "/model", tmp + "/m"], check=True)
        subprocess.run(["diff", "-r", mnt + "/model", tmp + "/m"], check=True)
        same(digest(tmp + "/m"), digest(mnt + "/model"))
        same(subprocess.run(["cp", "-a", mnt + "/tensors", tmp + "/t"]
                            ).returncode, 0)


@case
def tar_and_rsync():
    with mounted(SAFETENSORS) as mnt, tempdir() as tmp:
        subprocess.run("tar -C %s -cf - model | tar -C %s -xf -"
                       % (mnt, tmp), shell=True, check=True)
        same(digest(tmp + "/model"), digest(mnt + "/model"))
        if not shutil.which("rsync"):
            raise Skip("no rsync")
        subprocess.run(["rsync", "-a", mnt + "/model/", tmp + "/r/"],
                       check=True)
        out = subprocess.run(["rsync", "-aci", mnt + "/model/", tmp + "/r/"],
                             check=True, stdout=subprocess.PIPE).stdout
        same(out, b"")


@case
def find_and_du():
    with mounted(SAFETENSORS) as mnt:
        out = subprocess.run(["find", mnt + "/model", "-type", "f", "-name",
                              "*.npy"], check=True, stdout=subprocess.PIPE)
        same(len(out.stdout.splitlines()), len(safetensors(SAFETENSORS)))
        apparent = sum(os.stat(os.path.join(r, f)).st_size
                       for r, _, fs in os.walk(mnt + "/model") for f in fs)
        out = subprocess.run(["du", "-sb", "--apparent-size", "-l",
                              mnt + "/model"], check=True,
                             stdout=subprocess.PIPE).stdout
        assert int(out.split()[0]) >= apparent
        st = os.stat(mnt + "/model/fc/weight")
        same(st.st_blocks, (st.st_size + 511) // 512)


@case
def every_way_to_read():
    with mounted(SAFETENSORS) as mnt:
        path = mnt + "/model/fc/weight.npy"
        want = read(path)
        fd = os.open(path, os.O_RDONLY)
        for off in [0, 1, 127, 128, 4095, 4096, len(want) - 1, len(want),
                    len(want) + 5, 2**62]:
            same(os.pread(fd, 777, off), want[off:off + 777], off)
        m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
        same(m[:], want)
        m.close()
        m = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE)
        same(m[200:300], want[200:300])
        m.close()
        with tempdir() as tmp, open(tmp + "/out", "wb") as out:
            os.sendfile(out.fileno(), fd, 0, len(want))
            out.flush()
            same(read(tmp, "out"), want)
        same(os.lseek(fd, 0, os.SEEK_END), len(want))
        os.close(fd)


@case
def directories_can_be_rewound():
    with mounted(ONNX) as mnt:
        for d in ["", "model", "tensors", "model/layer1/0", "run"]:
            fd = os.open(os.path.join(mnt, d), os.O_RDONLY | os.O_DIRECTORY)
            first = os.listdir(fd)
            os.lseek(fd, 0, os.SEEK_SET)
            same(sorted(os.listdir(fd)), sorted(first), d)
            same(len(set(first)), len(first), d)
            os.close(fd)


@case
def tied_parameters_share_an_inode():
    with tempdir() as tmp:
        header = json.dumps({
            "a.weight": {"dtype": "F32", "shape": [2],
                         "data_offsets": [0, 8]},
            "b.weight": {"dtype": "F32", "shape": [2],
                         "data_offsets": [8, 16]}}).encode()
        with open(tmp + "/m.safetensors", "wb") as f:
            f.write(struct.pack("<Q", len(header)) + header + bytes(16))
        with mounted(tmp + "/m.safetensors") as mnt:
            # Equal bytes at different places are not tied.
            a, b = (os.stat(mnt + "/model/%s/weight" % n) for n in "ab")
            assert a.st_ino != b.st_ino and a.st_nlink == b.st_nlink == 1
    with tempdir() as tmp:
        try:
            import torch
        except ImportError:
            raise Skip("no python3-torch")
        w = torch.arange(6.0)
        torch.save({"enc.weight": w, "dec.weight": w, "c": w[:3]},
                   tmp + "/tied.pt")
        with mounted(tmp + "/tied.pt") as mnt:
            a, b = (os.stat(mnt + "/model/%s/weight" % n)
                    for n in ["enc", "dec"])
            same(a.st_ino, b.st_ino)
            same(a.st_nlink, 2)
            same(os.stat(mnt + "/model/c").st_nlink, 1)
            for root, _, files in os.walk(mnt + "/model"):
                for f in files:
                    st = os.lstat(os.path.join(root, f))
                    assert st.st_nlink >= 1


def make_names(tmp, names):
    header, off = {}, 0
    for name in names:
        header[name] = {"dtype": "U8", "shape": [1],
                        "data_offsets": [off, off + 1]}
        off += 1
    blob = json.dumps(header).encode()
    with open(tmp + "/names.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(blob)) + blob + bytes(range(off)))
    return tmp + "/names.safetensors"


@case
def difficult_names():
    names = ["a", "a.b", "..", ".", "", "x/y", "new\nline", "per%cent",
             "z" * 300, "é.ü", "w", "w.npy", "esc\x1b[0m", "-rf", "a..b",
             " ", "layers.10.w", "layers.9.w"]
    with tempdir() as tmp, mounted(make_names(tmp, names)) as mnt:
        values = []
        for root, dirs, files in os.walk(mnt + "/model"):
            for f in files:
                path = os.path.join(root, f)
                for c in os.path.relpath(path, mnt):
                    assert c >= " ", path
                if os.stat(path).st_size == 1 and not f.endswith(".shape"):
                    values.append(read(path)[0])
        same(sorted(values), list(range(len(names))))
        same(read(mnt, "model/a%1"), bytes([0]))
        same(read(mnt, "model/a/b"), bytes([1]))
        same(read(mnt, "tensors/x%2Fy" if os.path.exists(
            mnt + "/tensors/x%2Fy") else "tensors/x/y"), bytes([5]))
        same(read(mnt, "model/new%0Aline"), bytes([6]))
        same(read(mnt, "model/per%25cent"), bytes([7]))
        layers = os.listdir(mnt + "/model/layers")
        same(sorted(set(layers) - {".module"}), ["10", "9"])


@case
def numpy_archives():
    arrays = {
        "layer.0.weight": np.arange(6.0).reshape(2, 3),
        "layer.0.fortran": np.asfortranarray(np.arange(12).reshape(3, 4)),
        "big_endian": np.arange(5, dtype=">i4"),
        "scalar": np.float16(1.5),
        "empty": np.zeros((0, 3), "u1"),
        "words": np.array(["", "yé", "\U0001f600"]),
        "large": np.arange(400000, dtype="f8"),
    }
    odd = {"long": np.zeros(3, np.longdouble)}
    records = np.zeros(3, [("a", "f4"), ("b", "i2", (2,))])
    records["b"] = [[1, 2], [3, 4], [5, 6]]
    # An array of objects is a pickle: what is in it is a module.
    objects = np.array([None, {"w": np.arange(4)}], dtype=object)
    with tempdir() as tmp:
        arrays["r"], arrays["o"] = records, objects
        np.savez(tmp + "/stored.npz", **arrays, **odd)
        np.savez_compressed(tmp + "/packed.npz", **arrays, **odd)
        del arrays["r"], arrays["o"]
        for name in ["stored.npz", "packed.npz"]:
            with mounted(os.path.join(tmp, name)) as mnt:
                for key, a in arrays.items():
                    path = os.path.join(mnt, "tensors", key)
                    b = np.load(path + ".npy")
                    assert b.shape == a.shape and (b == a).all(), key
                same(read(mnt, "model/big_endian"),
                     np.arange(5, dtype="<i4").tobytes())
                found = [r for r, _, fs in os.walk(mnt + "/model/o")
                         if "w.npy" in fs]
                same(len(found), 1)
                same(np.load(found[0] + "/w.npy").tolist(), [0, 1, 2, 3])
                for key in ("a", "b"):
                    got = np.load(mnt + "/model/r/" + key + ".npy")
                    same(got.tolist(), records[key].tolist())
                for key, a in odd.items():
                    path = os.path.join(mnt, "tensors", key)
                    same(text(path + ".shape"), "%d\n" % len(a))
                    fails_with(errno.EOPNOTSUPP, read, path)
        with mounted(os.path.join(DIGITS, "image.npy")) as mnt:
            same(text(mnt, "model/image.shape"), "1 1 8 8\n")
            same(read(mnt, "model/image.npy"), read(IMAGE))


@case
def arrays_beside_a_pickle():
    """joblib before 0.10; and names that lead elsewhere."""
    names = {"w": "m.pkl_01.npy", "gone": "m.pkl_02.npy",
             "up": "../m.pkl_01.npy", "abs": "/etc/hostname"}
    pickled = b"\x80\2}("
    for key, name in names.items():
        for part in (key, "filename", name):
            pickled += b"U" + bytes([len(part)]) + part.encode()
            if part == key:
                pickled += b"cjoblib.numpy_pickle\nNDArrayWrapper\n)\x81}"
        pickled += b"sb"
    with tempdir() as tmp:
        np.save(tmp + "/m.pkl_01.npy", np.arange(6.0).reshape(2, 3))
        with open(tmp + "/m.pkl", "wb") as f:
            f.write(pickled + b"u.")
        with mounted(tmp + "/m.pkl") as mnt:
            same(np.load(mnt + "/model/w.npy").tolist(),
                 [[0, 1, 2], [3, 4, 5]])
            fails_with(errno.ENOENT, read, mnt, "model/gone")
            fails_with(errno.EPERM, read, mnt, "model/up")
            fails_with(errno.EPERM, read, mnt, "model/abs")


@case
def several_models():
    with mounted("one=" + ONNX, "two=" + SAFETENSORS) as mnt:
        same(sorted(os.listdir(mnt)), ["one", "two"])
        same(read(mnt, "one/model/fc/weight"),
             read(mnt, "two/model/fc/weight"))


@case
def graph_directory():
    with mounted(ONNX) as mnt:
        rows = [line.split("\t") for line in text(
            mnt, "graph/nodes.tsv").splitlines()]
        ops = [r[1] for r in rows]
        same(ops.count("Conv"), 3)
        same(ops.count("BatchNormalization"), 3)
        assert text(mnt, "graph/graph.dot").startswith("digraph")
        node = mnt + "/graph/nodes/conv1/Conv"
        same(text(node, "op").split()[0], "Conv")
        assert "kernel_shape" in text(node, "attributes")
        inputs = os.listdir(node + "/inputs")
        assert inputs
        for name in inputs:
            assert os.path.islink(os.path.join(node, "inputs", name)) or \
                os.path.isdir(os.path.join(node, "inputs", name))


@case
def source_stays_untouched():
    before = os.stat(ONNX)
    data = read(ONNX)
    with mounted(ONNX) as mnt:
        digest(mnt + "/model")
        read(mnt, "graph/graph.dot")
    after = os.stat(ONNX)
    same(after.st_mtime_ns, before.st_mtime_ns)
    same(read(ONNX), data)


main()
