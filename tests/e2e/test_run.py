# SPDX-License-Identifier: MIT
"""run/: inputs in, activations out, patches, errors."""
import errno
import io
import json
import os
import struct
import threading

import numpy as np

from e2e import (DIGITS, IMAGE, ONNX, SAFETENSORS, Skip, case, fails_with, main,
                 mounted, read, same, status, text, write)

EXPECTED = np.load(os.path.join(DIGITS, "expected.npz"))
CLASS = 2


def near(got, want, what=""):
    assert got.shape == want.shape, (what, got.shape, want.shape)
    assert got.dtype == want.dtype, (what, got.dtype)
    err = np.abs(got.astype("f8") - want).max() if want.size else 0
    assert err < 1e-4, (what, err)


def npy(a):
    f = io.BytesIO()
    np.save(f, a)
    return f.getvalue()


def new_run(mnt, name="x", feed=True):
    run = os.path.join(mnt, "run", name)
    os.mkdir(run)
    if feed:
        same(write(run + "/in/image.npy", read(IMAGE)), 0)
    return run


def load(*parts):
    return np.load(io.BytesIO(read(*parts)))


@case
def numpy_hears_that_an_input_was_refused():
    # It writes through a second descriptor and closes that one first.
    with mounted(ONNX) as mnt:
        run = new_run(mnt, feed=False)
        fails_with(errno.EINVAL, np.save, run + "/in/image.npy",
                   np.zeros((1, 1, 8, 8), "f8"))
        same(status(run)["missing"], "image")


@case
def outputs():
    with mounted(ONNX) as mnt:
        run = new_run(mnt)
        prob = load(run, "out/prob.npy")
        near(prob, EXPECTED["prob"])
        same(int(prob.argmax()), CLASS)
        near(load(run, "out/logits.npy"), EXPECTED["logits"])
        same(read(run, "out/prob"), prob.tobytes())
        same(text(run, "out/prob.shape"), "1 10\n")
        same(text(run, "out/prob.dtype"), "float32\n")
        for name in ["prob", "prob.npy", "logits.shape"]:
            same(os.stat(run + "/out/" + name).st_size,
                 len(read(run, "out", name)))
        b = np.load(run + "/out/prob.npy", mmap_mode="r")
        assert (b == prob).all()
        del b  # or the mount stays busy


@case
def every_activation():
    with mounted(ONNX) as mnt:
        run = new_run(mnt)
        for name in EXPECTED.files:
            if name in ("logits", "prob"):
                continue
            base = os.path.join(run, "act", name.replace(".", "/"), "output")
            near(load(base + ".npy"), EXPECTED[name], name)
            same(text(base + ".shape"),
                 " ".join(map(str, EXPECTED[name].shape)) + "\n")


@case
def values_by_original_name():
    with mounted(ONNX) as mnt:
        run = new_run(mnt)
        path = run + "/values/layer1/layer1.0/conv1/Conv_output_0"
        assert os.path.lexists(path)
        same(read(path), read(run, "act/layer1/0/conv1/Conv/output"))
        same(read(path), read(run, "act/layer1/0/conv1/output"))
        near(load(path + ".npy"), EXPECTED["layer1.0.conv1"])


@case
def inputs_are_described():
    with mounted(ONNX) as mnt:
        run = new_run(mnt, feed=False)
        same(text(run, "in/image.shape"), "N 1 8 8\n")
        same(text(run, "in/image.dtype"), "float32\n")
        s = status(run)
        same(s["state"], "waiting")
        assert any("image" in v for k, v in s.items() if k != "state"), s


@case
def ways_to_give_an_input():
    image = np.load(IMAGE)
    zipped = io.BytesIO()
    np.savez(zipped, image=image)
    packed = io.BytesIO()
    np.savez_compressed(packed, image=image)
    header = json.dumps({"image": {
        "dtype": "F32", "shape": list(image.shape),
        "data_offsets": [0, image.nbytes]}}).encode()
    tensors = struct.pack("<Q", len(header)) + header + image.tobytes()
    # TensorProto: dims (1), data_type (2), name (8), raw_data (9)
    proto = (b"\x0a\x04\x01\x01\x08\x08" + b"\x10\x01" + b"\x42\x05image" +
             b"\x4a\x80\x02" + image.tobytes())
    fortran = io.BytesIO()
    np.lib.format.write_array(fortran, np.asfortranarray(image))
    big = io.BytesIO()
    np.save(big, image.astype(">f4"))
    ways = {"image.npy": npy(image), "image": image.tobytes(),
            "any.npz": zipped.getvalue(), "packed.npz": packed.getvalue(),
            "any.safetensors": tensors, "input_0.pb": proto}
    with mounted(ONNX) as mnt:
        for i, (name, data) in enumerate(ways.items()):
            run = new_run(mnt, "r%d" % i, feed=False)
            same(write(os.path.join(run, "in", name), data), 0, name)
            near(load(run, "out/prob.npy"), EXPECTED["prob"], name)
        for i, data in enumerate([fortran.getvalue(), big.getvalue()]):
            run = new_run(mnt, "o%d" % i, feed=False)
            same(write(run + "/in/image.npy", data), 0)
            near(load(run, "out/prob.npy"), EXPECTED["prob"])


@case
def batches():
    image = np.load(IMAGE)
    with mounted(ONNX) as mnt:
        run = new_run(mnt, feed=False)
        same(write(run + "/in/image.npy", npy(np.repeat(image, 5, 0))), 0)
        prob = load(run, "out/prob.npy")
        same(prob.shape, (5, 10))
        near(prob[3:4], EXPECTED["prob"])
        same(text(run, "act/conv1/output.shape"), "5 12 8 8\n")


@case
def missing_input():
    with mounted(ONNX) as mnt:
        run = new_run(mnt, feed=False)
        for path in ["out/prob", "out/prob.npy", "act/conv1/output"]:
            fails_with(errno.ENODATA, read, run, path)
        assert "image" in text(run, "status")
        # What is known without the input is there.
        same(text(run, "out/prob.dtype"), "float32\n")


@case
def wrong_inputs_are_refused():
    image = np.load(IMAGE)
    cases = {
        "dtype": npy(image.astype("f8")),
        "rank": npy(image[0]),
        "extent": npy(np.zeros((1, 1, 8, 9), "f4")),
        "damage": npy(image)[:-1],
        "not npy": b"hello",
        "object": npy(np.array([None, {}], dtype=object)),
    }
    with mounted(ONNX) as mnt:
        run = new_run(mnt)
        before = read(run, "out/prob")
        for name, data in cases.items():
            same(write(run + "/in/image.npy", data), errno.EINVAL, name)
            same(read(run, "out/prob"), before, name)
            assert "image" in text(run, "status"), name
        same(write(run + "/in/image", b"123"), errno.EINVAL)
        # A shell closes its copy of the descriptor before anything is
        # written: nothing written is nothing given.
        same(write(run + "/in/image.npy", b""), 0)
        same(read(run, "out/prob"), before)
        same(write(run + "/in/image.npy", read(IMAGE)), 0)


@case
def unknown_inputs():
    with mounted(ONNX) as mnt:
        run = new_run(mnt, feed=False)
        try:
            code = write(run + "/in/nothing.npy", read(IMAGE))
        except OSError as e:
            code = e.errno
        assert code in (errno.EINVAL, errno.ENOENT, errno.EACCES,
                        errno.EPERM, errno.EROFS), code
        fails_with(errno.ENODATA, read, run, "out/prob")


@case
def a_new_input_changes_the_answer():
    image = np.load(IMAGE)
    other = np.roll(image, 2, axis=3)
    with mounted(ONNX) as mnt:
        run = new_run(mnt)
        first = read(run, "out/logits")
        inner = read(run, "act/conv1/output.npy")
        same(write(run + "/in/image.npy", npy(other)), 0)
        second = read(run, "out/logits")
        assert first != second
        assert inner != read(run, "act/conv1/output.npy")
        m = np.load(run + "/out/logits.npy", mmap_mode="r")
        same(m.tobytes(), second)
        del m
        same(write(run + "/in/image.npy", npy(image)), 0)
        same(read(run, "out/logits"), first)
        same(read(run, "act/conv1/output.npy"), inner)


@case
def only_what_is_needed_is_computed():
    with mounted(ONNX) as mnt:
        run = new_run(mnt)

        def computed():
            return [line.split("\t")[1] for line in
                    text(run, "profile").splitlines()
                    if "\t" in line and not line.startswith(("#", "node\t"))]

        os.listdir(run + "/act/layer1/0/conv1")
        for path in ["out/prob", "act/conv1/output", "out/prob.shape"]:
            os.stat(run + "/" + path)
        same(computed(), [])
        read(run, "act/relu/output")
        same(sorted(computed()), ["BatchNormalization", "Conv", "Relu"])
        read(run, "act/relu/output.npy")
        same(len(computed()), 3)
        read(run, "out/prob")
        same(len(computed()), 14)


@case
def reading_order_changes_no_bit():
    names = ["act/layer1/0/conv2/output", "act/bn1/output", "out/logits",
             "act/maxpool/output", "out/prob", "act/layer1/output"]
    with mounted(ONNX) as mnt:
        results = []
        for i, order in enumerate([names, names[::-1], names[2:] + names[:2]]):
            run = new_run(mnt, "r%d" % i)
            results.append({n: read(run, n) for n in order})
        same(results[0], results[1])
        same(results[0], results[2])


@case
def runs_do_not_see_each_other():
    image = np.load(IMAGE)
    with mounted(ONNX) as mnt:
        a, b = new_run(mnt, "a"), new_run(mnt, "b", feed=False)
        near(load(a, "out/prob.npy"), EXPECTED["prob"])
        fails_with(errno.ENODATA, read, b, "out/prob")
        same(write(b + "/in/image.npy", npy(image * 0)), 0)
        assert read(b, "out/logits") != read(a, "out/logits")
        near(load(a, "out/prob.npy"), EXPECTED["prob"])
        os.rmdir(b)
        near(load(a, "out/prob.npy"), EXPECTED["prob"])
        same(os.listdir(mnt + "/run"), ["a"])
        fails_with(errno.EEXIST, os.mkdir, a)


@case
def patch_an_activation():
    zero = np.zeros_like(EXPECTED["maxpool"])
    with mounted(ONNX) as mnt:
        run, plain = new_run(mnt), new_run(mnt, "plain")
        before = read(run, "out/logits")
        path = run + "/patch/maxpool/output.npy"
        same(write(path, npy(zero)), 0)
        after = read(run, "out/logits")
        assert after != before
        same(read(run, "act/maxpool/output"), zero.tobytes())
        same(read(plain, "out/logits"), before)
        # Upstream of the patch nothing changes.
        near(load(run, "act/relu/output.npy"), EXPECTED["relu"])
        os.unlink(path)
        same(read(run, "out/logits"), before)
        same(write(path, npy(zero[:, :3])), errno.EINVAL)
        same(read(run, "out/logits"), before)


@case
def patch_a_weight():
    with mounted(ONNX) as mnt:
        run, plain = new_run(mnt), new_run(mnt, "plain")
        before = read(run, "out/logits")
        w = np.load(mnt + "/model/fc/weight.npy")
        path = run + "/patch/fc/weight.npy"
        same(write(path, npy(w * 2)), 0)
        bias = np.load(mnt + "/model/fc/bias.npy")
        old = np.frombuffer(before, "f4")
        new = np.frombuffer(read(run, "out/logits"), "f4")
        assert np.abs((new - bias) - 2 * (old - bias)).max() < 1e-3
        assert (np.load(mnt + "/model/fc/weight.npy") == w).all()
        same(read(plain, "out/logits"), before)
        os.unlink(path)
        same(read(run, "out/logits"), before)


@case
def removing_a_run_while_it_is_read():
    with mounted(ONNX) as mnt:
        for i in range(20):
            run = new_run(mnt)
            fd = os.open(run + "/out/prob", os.O_RDONLY)

            def reader():
                try:
                    os.pread(fd, 40, 0)
                except OSError:
                    pass

            t = threading.Thread(target=reader)
            t.start()
            os.rmdir(run)
            t.join()
            os.close(fd)
        same(os.listdir(mnt + "/run"), [])


@case
def many_readers():
    with mounted(ONNX) as mnt:
        run = new_run(mnt)
        names = ["act/%s/output" % n for n in
                 ["conv1", "bn1", "maxpool", "layer1/0/conv1", "fc"]]
        results, problems = {}, []

        def reader(k):
            try:
                for j in range(5):
                    n = names[(k + j) % len(names)]
                    results.setdefault(n, set()).add(read(run, n))
            except OSError as e:
                problems.append(e)

        threads = [threading.Thread(target=reader, args=(k,))
                   for k in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not problems, problems
        assert all(len(v) == 1 for v in results.values())
        same(status(run)["state"], "ready")


@case
def rm_r_ends_a_run():
    import subprocess
    with mounted(ONNX) as mnt:
        new_run(mnt)
        r = subprocess.run(["rm", "-r", mnt + "/run/x"],
                           stderr=subprocess.PIPE)
        same(r.returncode, 0, r.stderr)
        same(os.listdir(mnt + "/run"), [])


@case
def cp_and_shell_redirection():
    import subprocess
    with mounted(ONNX) as mnt:
        run = new_run(mnt, feed=False)
        subprocess.run(["cp", IMAGE, run + "/in/image.npy"], check=True)
        near(load(run, "out/prob.npy"), EXPECTED["prob"])
        subprocess.run("cat %s > %s/in/image.npy" % (IMAGE, run), shell=True,
                       check=True)
        r = subprocess.run("dd if=%s of=%s/in/image.npy bs=37" % (IMAGE, run),
                           shell=True, stderr=subprocess.PIPE)
        same(r.returncode, 0, r.stderr)
        near(load(run, "out/prob.npy"), EXPECTED["prob"])
        r = subprocess.run(["cp", ONNX, run + "/in/image.npy"],
                           stderr=subprocess.PIPE)
        assert r.returncode != 0
        near(load(run, "out/prob.npy"), EXPECTED["prob"])


@case
def status_and_log():
    with mounted(ONNX) as mnt:
        run = new_run(mnt)
        read(run, "out/prob")
        s = status(run)
        same(s["state"], "ready")
        assert len(text(run, "log").splitlines()) >= 1
        rows = text(run, "profile").splitlines()
        assert any("Conv" in r for r in rows)
        for r in rows:
            name, op, shape, seconds, nbytes, forming = r.split("\t")
            assert float(seconds) >= 0 and float(forming) >= 0, r


@case
def a_model_without_a_graph_says_so():
    with mounted(SAFETENSORS) as mnt:
        if os.path.isdir(mnt + "/run"):
            try:
                os.mkdir(mnt + "/run/x")
                raise AssertionError("a run of a model without a graph")
            except OSError as e:
                assert e.errno in (errno.ENODATA, errno.EROFS,
                                   errno.EOPNOTSUPP), e


main()
