# SPDX-License-Identifier: MIT
"""
What happens to a mount in its life: crowds, full disks, sources that vanish,
daemons that are killed; fstab, containers and ordinary users.
"""
import errno
import os
import random
import shutil
import subprocess
import time

from e2e import (IMAGE, ONNX, PROGRAM, SAFETENSORS, TOP, Skip, case,
                 fails_with, in_threads, main, mounted, read, run, same,
                 status, tempdir, wait_until, write)
from onnx_recipe import F32, endless, model, node

CROWD = 200
RUNS = 10


def cat(path):
    return subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)


# ---- crowds ----

def list_all(mnt):
    found = []
    for top, folders, files in os.walk(mnt):
        folders[:] = [f for f in folders if f != "run"]
        found += [os.path.join(top, f) for f in files]
    return sorted(found)


@case
def two_hundred_readers_of_everything():
    """Names, data, and what is computed; everybody sees the same."""
    with mounted(ONNX) as mnt:
        for i in range(RUNS):
            os.mkdir(mnt + "/run/r%d" % i)
            same(write(mnt + "/run/r%d/in/image.npy" % i, read(IMAGE)), 0)
        os.mkdir(mnt + "/run/want")
        same(write(mnt + "/run/want/in/image.npy", read(IMAGE)), 0)
        names = list_all(mnt)
        data = {n: read(n) for n in names}
        values = ["out/prob", "out/logits", "act/conv1/output.npy",
                  "act/layer1/0/conv1/output", "act/fc/output.npy"]
        want = {v: read(mnt, "run/want", v) for v in values}

        def work(i):
            rng = random.Random(i)
            for _ in range(3):
                if i % 3 == 0:
                    same(list_all(mnt), names)
                elif i % 3 == 1:
                    for path in rng.sample(names, 20):
                        same(read(path), data[path], path)
                else:
                    value = rng.choice(values)
                    same(read(mnt, "run/r%d" % rng.randrange(RUNS), value),
                         want[value], value)

        in_threads(work, CROWD)


# ---- disks ----

@case
def a_source_that_is_deleted_is_still_read():
    with tempdir() as tmp:
        path = shutil.copy(ONNX, tmp + "/m.onnx")
        with mounted(path) as mnt:
            want = read(mnt, "model/fc/weight.npy")
            os.unlink(path)
            same(read(mnt, "model/fc/weight.npy"), want)
            same(len(read(mnt, "model/layer1/0/conv1/weight")), 5184)
            os.mkdir(mnt + "/run/x")
            same(write(mnt + "/run/x/in/image.npy", read(IMAGE)), 0)
            same(len(read(mnt, "run/x/out/prob")), 40)


def confined(script, *args, flags=("-m",), **kw):
    """A shell script in a mount namespace of its own."""
    if os.getuid() != 0 or not shutil.which("unshare"):
        raise Skip("needs root, and unshare")
    env = dict(os.environ, PATH=os.path.dirname(PROGRAM) + ":" +
               os.environ["PATH"])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
             "timeout": 60}
    try:
        # Not in every container, and not where / is no mount point (chroot).
        able = subprocess.run(["unshare", *flags, "true"], **pipes)
    except PermissionError:
        raise Skip("no namespaces here")
    if able.returncode:
        raise Skip("no namespaces here: " +
                   able.stderr.decode("utf-8", "replace").strip())
    return subprocess.run(["unshare", *flags, "sh", "-eu", "-c", script, "sh",
                           *args], env=env, **pipes, **kw)


FULL = """
mkdir "$1/full" "$1/mnt"
mount -t tmpfs -o size=128k,mode=1777 tmpfs "$1/full"
dd if=/dev/zero of="$1/full/filler" bs=4k 2>/dev/null || true
export TMPDIR="$1/full"
case $1 in /tmp/*) ;; *) mount --bind "$1/full" /tmp ;; esac
modelfs "$2" "$1/mnt"
mkdir "$1/mnt/run/x"
cp "$3" "$1/mnt/run/x/in/image.npy"
cat "$1/mnt/run/x/out/prob" | wc -c
fusermount3 -u "$1/mnt"
rm "$1/full/filler"
dd if=/dev/zero of="$1/full/filler" bs=4k count=12 2>/dev/null
modelfs --extract "$2" model "$1/full/out" 2>&1 && echo worked
find "$1/full/out" -type f | while read -r file; do
    modelfs --cat "$2" "model/${file#"$1/full/out/"}" | cmp -s - "$file" ||
        echo "in part: $file"
done
find "$1/full/out" -type f -name '*.npy' | grep -c .
"""


@case
def a_full_disk():
    """Nothing of ours goes to /tmp; what is extracted comes whole or not."""
    with tempdir() as tmp:
        # Elsewhere than in /tmp, which will be full.
        home = os.path.join(os.path.dirname(PROGRAM), "full-disk-test")
        shutil.rmtree(home, ignore_errors=True)
        os.mkdir(home)
        try:
            shutil.copy(ONNX, home + "/m.onnx")
            shutil.copy(IMAGE, home + "/image.npy")
            r = confined(FULL, home, home + "/m.onnx", home + "/image.npy")
            said = (r.stdout + r.stderr).decode()
            lines = r.stdout.decode().splitlines()
            same(lines[:1], ["40"], said)
            assert "No space left" in lines[1], said
            same(len(lines), 3, said)
            assert int(lines[2]) > 3, said
        finally:
            shutil.rmtree(home, ignore_errors=True)
        with open("/dev/full", "wb") as full:
            r = subprocess.run([PROGRAM, "--cat", ONNX, "model/fc/weight"],
                               stdout=full, stderr=subprocess.PIPE)
        same(r.returncode, 1)
        assert b"No space left" in r.stderr, r.stderr
        same(os.listdir(tmp), [])


# ---- ends ----

def slow_model(folder):
    path = folder + "/slow.onnx"
    write(path, endless())
    return path


def readers_at_work(mnt, n):
    os.mkdir(mnt + "/run/x")
    same(write(mnt + "/run/x/in/x", bytes(4)), 0)
    readers = [cat(mnt + "/run/x/out/y") for _ in range(n)]
    wait_until(lambda: status(mnt + "/run/x")["state"] == "running")
    return readers


@case
def a_killed_daemon_wakes_who_waits():
    """Nobody is left in a read that never ends."""
    with tempdir() as tmp:
        try:
            with mounted(slow_model(tmp)) as mnt:
                readers = readers_at_work(mnt, 5)
                mnt.proc.kill()
                mnt.proc.wait(10)
                for r in readers:
                    said = r.communicate(timeout=10)[1]
                    assert r.returncode == 1, (r.returncode, said)
                wait_until(lambda: not os.path.ismount(mnt))
        except AssertionError as e:
            assert "modelfs died with -9" in str(e), e


@case
def a_killed_reader_stops_what_only_it_wanted():
    with tempdir() as tmp, mounted(slow_model(tmp)) as mnt:
        first, second = readers_at_work(mnt, 2)
        first.kill()
        first.communicate(timeout=10)
        time.sleep(0.2)
        same(status(mnt + "/run/x")["state"], "running")
        second.kill()
        second.communicate(timeout=10)
        wait_until(lambda: status(mnt + "/run/x")["state"] != "running")


@case
def a_run_that_is_removed_while_it_is_read():
    with mounted(ONNX) as mnt:
        gone = mnt + "/run/x"
        os.mkdir(gone)
        same(write(gone + "/in/image.npy", read(IMAGE)), 0)
        want = read(gone, "out/prob")
        held = os.open(gone + "/out/prob", os.O_RDONLY)
        folder = os.open(gone + "/act", os.O_RDONLY)
        os.rmdir(gone)
        # What is open stays what it was, or says that it is gone.
        try:
            same(os.pread(held, 100, 0), want)
        except OSError as e:
            assert e.errno in (errno.ENOENT, errno.ESTALE, errno.EIO), e
        try:
            fails_with(errno.ENOENT, os.open, "fc/output", os.O_RDONLY,
                       dir_fd=folder)
            fails_with(errno.ENOENT, os.stat, gone)
        finally:
            os.close(held)
            os.close(folder)
        # The name is free, and stands for something new.
        os.mkdir(gone)
        fails_with(errno.ENODATA, read, gone, "out/prob")


@case
def inputs_that_are_cut_short():
    x = model([node("Relu", ["x"], ["y"])], [("x", F32, ["N"])], ["y"])
    with tempdir() as tmp:
        write(tmp + "/m.onnx", x)
        with mounted(tmp + "/m.onnx") as mnt:
            os.mkdir(mnt + "/run/x")
            path = mnt + "/run/x/in/x.npy"
            data = read(IMAGE)
            for cut in (5, 60, len(data) - 1):
                same(write(path, data[:cut]), errno.EINVAL, cut)
                assert status(mnt + "/run/x")["error"], cut
                fails_with(errno.ENODATA, read, mnt + "/run/x/out/y")


# ---- who mounts, and how ----

FSTAB = """
mkdir "$1/upper" "$1/work" "$1/mnt" "$1/helper"
sbin=$(readlink -f /sbin)
mount -t overlay overlay -o "lowerdir=$sbin,upperdir=$1/upper,workdir=$1/work" \
    "$sbin"
sed "s|^PATH=.*|PATH=\\$PATH:$(dirname "$2")|" "$3" > "$sbin/mount.modelfs"
chmod 755 "$sbin/mount.modelfs"
echo "$4 $1/mnt modelfs noauto,threads=1,memory=64M 0 0" > "$1/fstab"
mount --fstab "$1/fstab" "$1/mnt"
cat "$1/mnt/model/fc/weight.shape"
findmnt -no FSTYPE "$1/mnt"
exec 3< "$1/mnt/model/fc/weight.dtype"
umount "$1/mnt" 2>/dev/null && echo "a busy mount went away"
umount -l "$1/mnt"
cat <&3
mountpoint -q "$1/mnt" || echo unmounted
"""


@case
def through_fstab_and_umount_l():
    with tempdir() as base:
        # overlayfs takes no overlay above; a tmpfs is none.
        tmp = base + "/t"
        os.mkdir(tmp)
        r = confined('mount -t tmpfs tmpfs "$1"\n' + FSTAB, tmp, PROGRAM,
                     TOP + "/mount-scripts/mount.modelfs", ONNX)
        said = r.stderr.decode()
        if "overlay" in said and r.returncode != 0:
            raise Skip("no overlay filesystem")
        same(r.returncode, 0, said)
        same(r.stdout.decode().splitlines(),
             ["10 192", "fuse.modelfs", "float32", "unmounted"], said)


USER = """
mknod "$1/fuse" c 10 229
chmod 666 "$1/fuse"
mount --bind "$1/fuse" /dev/fuse
mkdir "$1/mnt"
chown 65534:65534 "$1/mnt"
chmod 755 "$1"
as="setpriv --reuid 65534 --regid 65534 --clear-groups"
cp "$2" "$1/modelfs"
$as "$1/modelfs" "$3" "$1/mnt"
$as cat "$1/mnt/model/fc/weight.shape"
$as mkdir "$1/mnt/run/x"
$as sh -c "grep sandbox '$1/mnt/run/x/status' | cut -f2"
cat "$1/mnt/README" 2>/dev/null && echo "root was let in"
$as fusermount3 -u "$1/mnt"
mountpoint -q "$1/mnt" || echo unmounted
"""


@case
def an_ordinary_user_with_fusermount():
    for program in ("setpriv", "fusermount3"):
        if not shutil.which(program):
            raise Skip("no " + program)
    with tempdir() as tmp:
        source = shutil.copy(ONNX, tmp + "/m.onnx")
        os.chmod(source, 0o644)
        r = confined(USER, tmp, PROGRAM, source)
        same(r.returncode, 0, r.stderr)
        lines = r.stdout.decode().splitlines()
        same(lines[0], "10 192")
        assert "seccomp" in lines[1] or lines[1] == "none", lines
        same(lines[2:], ["unmounted"])


CONTAINER = """
modelfs "$1/m.onnx" "$1/mnt"
cat "$1/mnt/model/fc/weight.shape"
mkdir "$1/mnt/run/x"
cp "$2" "$1/mnt/run/x/in/"
wc -c < "$1/mnt/run/x/out/prob"
umount "$1/mnt"
"""


@case
def in_a_container():
    """Users, processes, mounts and network of its own; root only in there."""
    with tempdir() as tmp:
        shutil.copy(ONNX, tmp + "/m.onnx")
        os.mkdir(tmp + "/mnt")
        r = confined(CONTAINER, tmp, IMAGE,
                     flags=("--user", "--map-root-user", "--mount", "--pid",
                            "--net", "--ipc", "--uts", "--fork"))
        same(r.returncode, 0, r.stderr)
        same(r.stdout, b"10 192\n40\n")
        same(os.listdir(tmp + "/mnt"), [])


@case(mount=False)
def below_a_lower_limit():
    """ulimit: few descriptors, little stack."""
    for limit in ("-n 16", "-s 128"):
        r = subprocess.run(["sh", "-c", 'ulimit %s; exec "$0" --cat "$1" '
                            "model/fc/weight" % limit, PROGRAM, SAFETENSORS],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        same(r.returncode, 0, (limit, r.stderr))
        same(r.stdout, run("--cat", SAFETENSORS, "model/fc/weight").stdout)


main()
