# SPDX-License-Identifier: MIT
"""
Values of real models, through a mount, against what others computed:

- MODEL/model.onnx with test_data_set_*/ (input_N.pb, output_N.pb), and
  X.onnx with X_output_0.pb, whose input is arange(n)/n;
- with $MODELFS_ORT, a folder with ort_acts.py: every value of the graph, as
  onnxruntime computes it.

The models are those of $MODELFS_CORPUS; without it there is nothing to do.
"""
import glob
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "e2e"))

import numpy as np

from e2e import Skip, case, main, mounted, read, same, tempdir, write

CORPUS = os.environ.get("MODELFS_CORPUS", "")
ORT = os.environ.get("MODELFS_ORT", "")
RTOL, ATOL = 1e-3, 1e-5


def need_onnx():
    if not os.path.isdir(os.path.join(CORPUS, "onnx")):
        raise Skip("no MODELFS_CORPUS")
    try:
        import onnx
    except ImportError:
        raise Skip("no python3-onnx")
    return onnx


def tensor(path):
    import onnx.numpy_helper
    t = onnx.TensorProto()
    t.ParseFromString(read(path))
    return onnx.numpy_helper.to_array(t)


def close(got, want, what):
    same((got.shape, got.dtype), (want.shape, want.dtype), what)
    if want.dtype.kind == "f":
        # Where values are large, the last bits of a sum are, too.
        scale = max(1.0, float(np.abs(want).max(initial=0)))
        ok = np.allclose(got, want, rtol=RTOL, atol=ATOL * scale,
                         equal_nan=True)
    else:
        ok = np.array_equal(got, want)
    assert ok, "%s differs by %g" % (
        what, np.abs(got.astype("f8") - want).max())


def value(run, name):
    return np.load("%s/values/%s.npy" % (run, name.lstrip("/")))


def inputs_of(onnx, path):
    g = onnx.load(path, load_external_data=False).graph
    given = {i.name for i in g.initializer}
    return [i for i in g.input if i.name not in given]


@case
def outputs_that_come_with_the_models():
    onnx = need_onnx()
    sets = glob.glob(CORPUS + "/onnx/**/test_data_set_*", recursive=True)
    assert sets
    for data in sorted(sets):
        models = glob.glob(os.path.dirname(data) + "/*.onnx")
        model = min(models, key=len)
        outputs = [o.name for o in onnx.load(model).graph.output]
        with mounted(model) as mnt:
            run = mnt + "/run/x"
            os.mkdir(run)
            for pb in glob.glob(data + "/input_*.pb"):
                same(write(run + "/in/" + os.path.basename(pb), read(pb)), 0)
            for k, name in enumerate(outputs):
                close(value(run, name), tensor("%s/output_%d.pb" % (data, k)),
                      "%s %s" % (data, name))


@case
def classic_topologies():
    onnx = need_onnx()
    wanted = glob.glob(CORPUS + "/onnx/onnx-light/*_output_0.pb")
    assert wanted
    for pb in sorted(wanted):
        model = pb.replace("_output_0.pb", ".onnx")
        (first,) = inputs_of(onnx, model)
        shape = [d.dim_value for d in first.type.tensor_type.shape.dim]
        n = int(np.prod(shape))
        image = (np.arange(n) / n).astype("f4").reshape(shape)
        output = onnx.load(model).graph.output[0].name
        with mounted(model) as mnt:
            run = mnt + "/run/x"
            os.mkdir(run)
            np.save("%s/in/%s.npy" % (run, first.name), image)
            close(value(run, output), tensor(pb), model)


def make_inputs(onnx, path):
    rng = np.random.RandomState(1)
    made = {}
    for i in inputs_of(onnx, path):
        t = i.type.tensor_type
        dtype = np.dtype(onnx.mapping.TENSOR_TYPE_TO_NP_TYPE[t.elem_type])
        shape = [d.dim_value if d.dim_value > 0 else 1 for d in t.shape.dim]
        if i.name == "sr":
            made[i.name] = np.array(16000, dtype)
        elif dtype.kind == "f":
            if shape == [1, 1] and "silero" in path:
                shape = [1, 512]
            made[i.name] = rng.rand(*shape).astype(dtype)
        else:
            made[i.name] = rng.randint(0, 5, shape).astype(dtype)
    return made


def ort_values(model, inputs, tmp):
    args = []
    for k, (name, a) in enumerate(inputs.items()):
        path = "%s/in%d.npy" % (tmp, k)
        np.save(path, a)
        args.append("%s=%s" % (name, path))
    out = tmp + "/values.npz"
    done = subprocess.run(["/usr/bin/python3", ORT + "/ort_acts.py", model,
                           out, *args], cwd=ORT, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE)
    assert done.returncode == 0, (model, done.stderr[-300:])
    return np.load(out)


@case
def every_value_as_onnxruntime_has_it():
    onnx = need_onnx()
    if not os.path.exists(ORT + "/ort_acts.py"):
        raise Skip("no MODELFS_ORT")
    models = [CORPUS + "/onnx/" + m for m in (
        "mnist-8/model.onnx", "super_resolution_10/model.onnx",
        "ultraface/version-RFB-320.onnx", "ultraface/version-slim-320.onnx",
        "silero-vad/silero_vad.onnx", "silero-vad/silero_vad_16k_op15.onnx",
        "dtln/model_1.onnx", "dtln/model_2.onnx", "burn-mnist/mnist.onnx",
        "blazeface/face_detection_front_128x128_barracuda.onnx",
        "blazeface/face_detection_back_256x256_barracuda.onnx")]
    for model in models:
        inputs = make_inputs(onnx, model)
        with tempdir() as tmp, mounted(model) as mnt:
            want = ort_values(model, inputs, tmp)
            run = mnt + "/run/x"
            os.mkdir(run)
            for name, a in inputs.items():
                np.save("%s/in/%s.npy" % (run, name), a)
            for name in want.files:
                path = "%s/values/%s" % (run, name.lstrip("/"))
                if os.path.isdir(path): # a prefix of other values
                    path += "%1"
                close(np.load(path + ".npy"), want[name],
                      "%s %s" % (model, name))


main()
