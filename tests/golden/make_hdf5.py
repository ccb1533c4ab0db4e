#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes HDF5 files with everything that newer libraries make: links and
attributes in heaps, and each index of chunks.  usage: make_hdf5.py DIR"""
import os
import sys

import h5py
import numpy as np

RNG = np.random.default_rng(11)


def numbers(*shape):
    return RNG.integers(-9, 9, shape).astype("f4")


def chunked(f):
    f.create_dataset("single", data=numbers(5, 4), chunks=(5, 4))
    f.create_dataset("single_gzip", data=numbers(5, 4), chunks=(5, 4),
                     compression="gzip")
    # Space for all chunks at once: no index.
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((2, 3))
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    data = numbers(5, 7)
    d = h5py.h5d.create(f.id, b"implicit", h5py.h5t.IEEE_F32LE,
                        h5py.h5s.create_simple(data.shape), plist)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, data)
    f.create_dataset("fixed", data=numbers(9, 8), chunks=(2, 3))
    f.create_dataset("fixed_gzip", data=numbers(9, 8), chunks=(2, 3),
                     compression="gzip", shuffle=True, fletcher32=True)
    f.create_dataset("fixed_paged", data=numbers(3000, 2), chunks=(1, 1))
    f.create_dataset("fixed_smaller", data=numbers(9, 8), chunks=(2, 3),
                     maxshape=(20, 30))
    f.create_dataset("growing", data=numbers(300, 5), chunks=(3, 5),
                     maxshape=(None, 5))
    f.create_dataset("growing_last", data=numbers(4, 3000), chunks=(2, 1),
                     maxshape=(4, None))
    f.create_dataset("growing_gzip", data=numbers(200, 5), chunks=(3, 2),
                     maxshape=(None, 10), compression="gzip")
    f.create_dataset("growing_paged", data=numbers(150000), chunks=(1,),
                     maxshape=(None,))
    f.create_dataset("tree", data=numbers(40, 50), chunks=(3, 4),
                     maxshape=(None, None))
    f.create_dataset("tree_gzip", data=numbers(40, 50), chunks=(3, 4),
                     maxshape=(None, None), compression="gzip")
    holes = f.create_dataset("holes", (50, 60), "f4", chunks=(3, 4),
                             maxshape=(None, None), fillvalue=7)
    holes[10:20, 30:40] = 3


def keras(f, nlayers):
    """As Keras writes it, with many layers and long attributes."""
    names = []
    for i in range(nlayers):
        name = "dense_%d_%s" % (i, "x" * (i % 40))
        names.append(name.encode())
        g = f.create_group(name)
        g.attrs["weight_names"] = [(name + "/kernel:0").encode()]
        for k in range(12):
            g.attrs["other_%d" % k] = "v" * k
        g[name + "/kernel:0"] = numbers(2, 3)
    f.attrs["layer_names"] = names
    f.attrs["backend"] = "tensorflow"
    for i in range(40):
        f.attrs["more_%d" % i] = "text %d" % i


def main(folder):
    with h5py.File(os.path.join(folder, "chunks.h5"), "w",
                   libver="latest") as f:
        chunked(f)
    with h5py.File(os.path.join(folder, "keras.h5"), "w",
                   libver="latest") as f:
        keras(f, 700)
    with h5py.File(os.path.join(folder, "few.h5"), "w",
                   libver=("v108", "v108")) as f:
        keras(f, 20)


if __name__ == "__main__":
    main(sys.argv[1])
