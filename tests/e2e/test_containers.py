# SPDX-License-Identifier: MIT
"""Values that are made of others, and values inside a node's graphs."""
import errno
import io
import os

import numpy as np

from e2e import (case, fails_with, main, mounted, read, same, status, tempdir,
                 text, write)
from onnx_recipe import (BOOL, F32, I64, ML, STRING, graph, map_of, model,
                         node, sequence_of, tensor)


def npy(a):
    f = io.BytesIO()
    np.save(f, a)
    return f.getvalue()


def load(*parts):
    return np.load(io.BytesIO(read(*parts)))


class Case:
    """A mounted model with a run."""

    def __init__(self, mnt):
        self.run = os.path.join(mnt, "run", "r")
        os.mkdir(self.run)

    def put(self, name, a):
        write(os.path.join(self.run, "in", name + ".npy"), npy(a))

    def ls(self, *parts):
        return sorted(os.listdir(os.path.join(self.run, *parts)))


def with_model(data):
    def wrap(fn):
        def run():
            with tempdir() as d:
                path = os.path.join(d, "m.onnx")
                with open(path, "wb") as f:
                    f.write(data)
                with mounted(path) as mnt:
                    fn(Case(mnt))
        run.__name__ = fn.__name__
        return case(run)
    return wrap


SPLIT = model([node("SplitToSequence", ["x"], ["parts"], axis=0, keepdims=0)],
              [("x", F32, ["N", 2])], ["parts"])
VIEWS = ["", ".dtype", ".npy", ".shape"]


@with_model(SPLIT)
def a_sequence_is_a_directory(c):
    fails_with(errno.ENODATA, os.listdir, c.run + "/out/parts")
    c.put("x", np.arange(6, dtype="f4").reshape(3, 2))
    same(c.ls("out"), ["parts", "parts.dtype", "parts.shape"])
    same(text(c.run, "out/parts.shape"), "3\n")
    same(text(c.run, "out/parts.dtype"), "sequence\n")
    same(c.ls("out/parts"), sorted(k + v for k in "012" for v in VIEWS))
    for k in range(3):
        got = load(c.run, "out/parts/%d.npy" % k)
        assert (got == [2 * k, 2 * k + 1]).all(), got
        same(read(c.run, "values/parts/%d" % k), got.tobytes())
        same(os.stat(c.run + "/out/parts/%d" % k).st_size, 8)
    same(text(c.run, "act/splittosequence/output/0.shape"), "2\n")
    for name in ["3", "-1", "00", "x", "0.png"]:
        fails_with(errno.ENOENT, os.stat, c.run + "/out/parts/" + name)
    # Fewer with another input; the kernel must not remember.
    c.put("x", np.zeros((1, 2), "f4"))
    same(c.ls("out/parts"), sorted("0" + v for v in VIEWS))
    fails_with(errno.ENOENT, os.stat, c.run + "/out/parts/1")
    fails_with(errno.EROFS, write, c.run + "/out/parts/0", b"x")


@with_model(SPLIT)
def every_directory_has_one_place(c):
    c.put("x", np.zeros((2, 2), "f4"))
    places = ["out/parts", "act/splittosequence/output"]
    numbers = {os.stat(os.path.join(c.run, p)).st_ino for p in places}
    same(len(numbers), len(places))
    for p in places:
        fd = os.open(os.path.join(c.run, p), os.O_RDONLY)
        up = os.open("..", os.O_RDONLY, dir_fd=fd)
        same(os.fstat(up).st_ino,
             os.stat(os.path.join(c.run, os.path.dirname(p))).st_ino, p)
        os.close(up)
        os.close(fd)


CONCAT = model([node("ConcatFromSequence", ["s"], ["y"], axis=0),
                node("SequenceLength", ["s"], ["n"])],
               [("s", F32, sequence_of(F32))], ["y", "n"])


@with_model(CONCAT)
def a_sequence_is_given_by_its_elements(c):
    same(c.ls("in"), ["s", "s.dtype", "s.shape"])
    c.put("s/0", np.float32([1]))
    same(load(c.run, "out/n.npy"), 1)
    c.put("s/2", np.float32([3]))
    assert "element 1 is missing" in status(c.run)["error"], status(c.run)
    fails_with(errno.ENODATA, read, c.run, "out/y.npy")
    c.put("s/1", np.float32([2]))
    same(load(c.run, "out/y.npy").tolist(), [1, 2, 3])
    same(c.ls("in/s"), ["0.npy", "1.npy", "2.npy"])
    os.unlink(c.run + "/in/s/2.npy")
    same(load(c.run, "out/y.npy").tolist(), [1, 2])
    same(write(c.run + "/in/s/1.npy", b"no array"), errno.EINVAL)
    same(load(c.run, "out/y.npy").tolist(), [1, 2])
    os.unlink(c.run + "/in/s/1.npy")
    os.unlink(c.run + "/in/s/0.npy")
    fails_with(errno.ENODATA, read, c.run, "out/y.npy")


@with_model(model([node("ZipMap", ["x"], ["y"], domain=ML,
                        classlabels_strings=["cat", "a/b", "dog"])],
                  [("x", F32, ["N", 3])], ["y"]))
def maps_are_directories_by_key(c):
    c.put("x", np.arange(6, dtype="f4").reshape(2, 3))
    same(c.ls("out/y"), ["0", "0.dtype", "0.shape", "1", "1.dtype", "1.shape"])
    same(text(c.run, "out/y/1.dtype"), "map\n")
    same(c.ls("out/y/1"),
         sorted(k + v for k in ["cat", "a%2Fb", "dog"] for v in VIEWS))
    same(load(c.run, "out/y/1/cat.npy"), 3)
    same(load(c.run, "out/y/1/a%2Fb.npy"), 4)
    same(load(c.run, "out/y/0/dog.npy").shape, ())


@with_model(model([node("DictVectorizer", ["m"], ["y"], domain=ML,
                        string_vocabulary=["x", "y", "z"])],
                  [("m", F32, map_of(STRING, F32))], ["y"]))
def a_map_is_given_by_its_entries(c):
    c.put("m/z", np.float32(3))
    c.put("m/x", np.float32(1))
    same(load(c.run, "out/y.npy").tolist(), [[1, 0, 3]])
    same(text(c.run, "in/m.shape"), "2\n")


@with_model(model([node("CastMap", ["m"], ["y"], domain=ML,
                        cast_to="TO_STRING", map_form="SPARSE", max_map=4)],
                  [("m", F32, map_of(I64, F32))], ["y"]))
def strings_are_text_and_arrays(c):
    c.put("m/2", np.float32(0.5))
    same(load(c.run, "out/y.npy").tolist(), [["", "", "0.500000", ""]])
    same(text(c.run, "out/y"), "\n\n0.500000\n\n")
    same(text(c.run, "out/y.dtype"), "string\n")
    same(write(c.run + "/in/m/no.npy", npy(np.float32(1))), errno.EINVAL)


BODY = graph([node("Add", ["acc", "x"], ["next"], name="sum/Add"),
              node("Identity", ["c"], ["c2"])],
             [("i", I64, []), ("c", BOOL, []), ("acc", F32, [])],
             ["c2", "next", "next"])
LOOP = model([node("Loop", ["n", "", "zero"], ["last", "all"], name="loop",
                   body=BODY)],
             [("x", F32, []), ("n", I64, [])], ["last", "all"],
             [tensor("zero", F32, [], [0.0])])


@with_model(LOOP)
def a_body_shows_its_last_round(c):
    c.put("n", np.int64(5))
    # How often it runs is known, so nothing has to be computed.
    same(text(c.run, "out/all.shape"), "5\n")
    c.put("x", np.float32(2))
    same(load(c.run, "out/all.npy").tolist(), [2, 4, 6, 8, 10])
    same(c.ls("act/loop/body"),
         sorted([k + v for k in ["i", "c", "acc"] for v in VIEWS] +
                ["sum", "identity"]))
    same(load(c.run, "act/loop/body/i.npy"), 4)
    same(load(c.run, "act/loop/body/acc.npy"), 8)
    same(load(c.run, "act/loop/body/sum/Add/output.npy"), 10)
    same(load(c.run, "values/loop/body/next.npy"), 10)
    same(text(c.run, "values/loop/body/next.shape"), "\n")
    c.put("n", np.int64(2))
    same(load(c.run, "act/loop/body/i.npy"), 1)
    c.put("n", np.int64(0))
    fails_with(errno.ENODATA, read, c.run, "act/loop/body/i.npy")
    fails_with(errno.EINVAL, write,
               c.run + "/patch/loop/body/sum/Add/output.npy",
               npy(np.float32(1)))


THEN = graph([node("Neg", ["x"], ["a"])], [], ["a"])
ELSE = graph([node("Abs", ["x"], ["a"]), node("Sqrt", ["y"], ["b"])], [],
             ["a"])


@with_model(model([node("If", ["p"], ["r"], name="choice", then_branch=THEN,
                        else_branch=ELSE)],
                  [("p", BOOL, []), ("x", F32, [1]), ("y", F32, [1])], ["r"]))
def only_the_branch_that_was_taken_has_values(c):
    # y is never given, and nothing that is read needs it.
    c.put("p", np.bool_(True))
    c.put("x", np.float32([-3]))
    same(load(c.run, "act/choice/then_branch/neg/output.npy"), 3)
    fails_with(errno.ENODATA, read, c.run,
               "act/choice/else_branch/abs/output.npy")
    same(load(c.run, "out/r.npy"), 3)


if __name__ == "__main__":
    main()
