# SPDX-License-Identifier: MIT
"""Keras' files that were written to do harm: rows H1, H2, H5, H8, H11, H12
and H14 of the list of threats.  The files are h5py's own, with a few bytes changed."""
import errno
import io
import json
import os
import struct
import zipfile
import zlib

import numpy as np

from e2e import Skip, case, fails_with, main, mounted, read, run, same, tempdir

try:
    import h5py
except ImportError:
    h5py = None


def need_h5py():
    if h5py is None:
        raise Skip("no h5py")


def refused(path, *args):
    """An error in one line, no crash."""
    got = run("--cat" if args else "--ls", path, *args)
    same(got.returncode, 1, got.stderr)
    same(got.stderr.count(b"\n"), 1, got.stderr)
    return got.stderr


def patch(path, at, data):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


@case
def shapes_that_no_memory_holds():
    need_h5py()
    with tempdir() as tmp:
        path = tmp + "/m.h5"
        with h5py.File(path, "w") as f:
            f.create_dataset("huge", (10**6, 10**6, 10**6), "f4",
                             chunks=(10, 10, 10), fillvalue=3,
                             compression="gzip")
            f.create_dataset("none", (0, 10**18), "f4")
        with mounted(path) as mnt:
            same(os.stat(mnt + "/model/huge").st_size, 4 * 10**18)
            same(os.stat(mnt + "/model/none").st_size, 0)
            with open(mnt + "/model/huge", "rb") as f:
                for at in (0, 10**18, 4 * 10**18 - 4):
                    f.seek(at)
                    same(f.read(4), struct.pack("<f", 3))
            with open(mnt + "/model/huge.npy", "rb") as f:
                same(f.read(6), b"\x93NUMPY")
                f.seek(-4, os.SEEK_END)
                same(f.read(), struct.pack("<f", 3))


def chunk_file(path):
    """One compressed chunk of 100 floats; where its B-tree's key is."""
    data = np.arange(100, dtype="f4")
    with h5py.File(path, "w") as f:
        d = f.create_dataset("d", data=data, chunks=(100,),
                             compression="gzip", fletcher32=True)
        info = d.id.get_chunk_info(0)
    with open(path, "rb") as f:
        raw = f.read()
    key = raw.index(b"TREE\x01") + 24
    same(struct.unpack_from("<I", raw, key)[0], info.size)
    return key, info.byte_offset, info.size, raw


@case(mount=False)
def chunks_that_lie():
    need_h5py()
    with tempdir() as tmp:
        path = tmp + "/m.h5"
        key, data, size, raw = chunk_file(path)
        same(len(run("--cat", path, "model/d").stdout), 400)
        child = key + 8 + 16
        for at, value, width in (
                (key, 2**32 - 1, 4),          # stored bytes
                (key, 0, 4),
                (key + 8, 50, 8),             # between two places
                (key + 8, 2**63, 8),
                (child, 2**64 - 16, 8),       # where it is
                (child, len(raw) - 1, 8)):
            patch(path, at, value.to_bytes(width, "little"))
            refused(path, "model/d")
            with open(path, "wb") as f:
                f.write(raw)
        # Other bytes than the checksum says, and none that inflate.
        patch(path, data + size - 1, bytes([raw[data + size - 1] ^ 1]))
        refused(path, "model/d")
        patch(path, data, bytes(size))
        refused(path, "model/d")
        # More than a chunk holds.
        with h5py.File(path, "w") as f:
            d = f.create_dataset("d", (100,), "f4", chunks=(100,),
                                 compression="gzip")
            d.id.write_direct_chunk((0,), zlib.compress(bytes(100000)))
        refused(path, "model/d")


@case(mount=False)
def filters_nobody_has():
    need_h5py()
    with tempdir() as tmp:
        path = tmp + "/m.h5"
        _, _, _, raw = chunk_file(path)
        name = raw.index(b"deflate")
        # The filter's number is eight bytes before its name.
        same(raw[name - 8:name - 6], b"\x01\x00")
        patch(path, name - 8, struct.pack("<H", 31999))
        err = refused(path, "model/d")
        assert b"filter 31999" in err, err
        same(run("--cat", path, "model/d.shape").stdout, b"100\n")


def vlen_file(path):
    with h5py.File(path, "w") as f:
        f.attrs.create("keras_version", "2.11.0",
                       dtype=h5py.string_dtype())
        f["d"] = np.zeros(2, "f4")
    return read(path)


@case(mount=False)
def heaps_that_are_damaged():
    need_h5py()
    with tempdir() as tmp:
        path = tmp + "/m.h5"
        raw = vlen_file(path)
        heap = raw.index(b"GCOL")
        reference = raw.index(struct.pack("<IQI", 6, heap, 1))
        for at, value, width in (
                (heap + 8, 0, 8),             # the collection's size
                (heap + 8, 2**63, 8),
                (heap + 16 + 8, 2**40, 8),    # the object's size
                (heap + 16, 7, 2),            # no object 1
                (reference, 2**32 - 1, 4),    # the string's length
                (reference + 4, len(raw) - 4, 8),
                (reference + 12, 2**31, 4)):
            patch(path, at, value.to_bytes(width, "little"))
            refused(path)
            with open(path, "wb") as f:
                f.write(raw)


@case(mount=False)
def names_that_lead_elsewhere():
    need_h5py()
    names = [b"../..", b"/d", b"absent", b"", b"a/../../b", b"loop/loop",
             b".", b"d", b"a//w", b"a"]
    with tempdir() as tmp:
        path = tmp + "/m.h5"
        with h5py.File(path, "w") as f:
            f["loop"] = f["/"]
            f["d"] = np.zeros(2, "f4")
            a = f.create_group("a")
            a["w"] = np.ones(2, "f4")
            a.attrs["weight_names"] = names + [b"w", b"../d", b"/d"]
            f.attrs["layer_names"] = names
        got = run("--ls", path, "tensors")
        same(got.returncode, 0, got.stderr)
        for word in got.stdout.split():
            assert not word.startswith((b"/", b"..")), got.stdout
        same(run("--cat", path, "model/a/w").stdout,
             np.ones(2, "f4").tobytes())


@case(mount=False)
def configurations_that_are_none():
    need_h5py()
    deep = b"[" * 5000 + b"]" * 5000
    for text in (b"", b"{", b"\xff\xfe", b"null", b"[]", b"7", deep,
                 b'{"class_name": "Sequential", "config": ' + deep + b"}",
                 b'{"class_name": 3, "config": {"layers": 3}}',
                 b'{"config": {"layers": [{"config": {"layers": [{}]}}]}}'):
        with tempdir() as tmp:
            path = tmp + "/m.h5"
            with h5py.File(path, "w") as f:
                f["w"] = np.ones(2, "f4")
                f.attrs["model_config"] = text or " "
            same(run("--cat", path, "model/w").stdout,
                 np.ones(2, "f4").tobytes())


@case(mount=False)
def archives_of_keras():
    need_h5py()
    inner = io.BytesIO()
    with h5py.File(inner, "w") as f:
        f["layers/dense/vars/0"] = np.ones(2, "f4")
        f["bomb"] = np.zeros(1, "f4")
    config = json.dumps({"class_name": "Sequential", "config": {
        "name": "s", "layers": [], "shared_object_id": 1}})

    def write(path, *members, deflate=False):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if deflate
                             else zipfile.ZIP_STORED) as z:
            for name, data in members:
                z.writestr(name, data)
    base = [("metadata.json", '{"keras_version": "3.8.0"}'),
            ("config.json", config), ("model.weights.h5", inner.getvalue())]
    with tempdir() as tmp:
        path = tmp + "/m.keras"
        write(path, *base, deflate=True)
        same(run("--ls", path).returncode, 0)
        # Names of assets stay below config/.
        write(path, *base, ("assets/../../up", "x"), ("assets//etc/x", "y"))
        got = run("--ls", path, "config")
        assert b"up" not in got.stdout.split(), got.stdout
        # Twice the same name.
        import warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write(path, *base, ("config.json", "{}"))
        refused(path)
        # A thousand times the size of what is stored.
        bomb = inner.getvalue() + bytes(1 << 28)
        write(path, *base[:2], ("model.weights.h5", bomb), deflate=True)
        got = run("--ls", path)
        assert got.returncode in (0, 1), got.returncode


@case
def nothing_outside_is_read():
    need_h5py()
    with tempdir() as tmp:
        path = tmp + "/m.h5"
        with open(tmp + "/secret", "wb") as f:
            f.write(b"secret01")
        with h5py.File(path, "w") as f:
            f["ok"] = np.ones(2, "f4")
            f.create_dataset("out", (2,), "f4",
                             external=[(tmp + "/secret", 0, 8)])
            f["link"] = h5py.ExternalLink("secret.h5", "/x")
            f["soft"] = h5py.SoftLink("/ok")
        with mounted(path) as mnt:
            fails_with(errno.EPERM, read, mnt + "/model/out")
            same(sorted(n for n in os.listdir(mnt + "/model")
                        if "." not in n), ["ok", "out"])


if __name__ == "__main__":
    main()
