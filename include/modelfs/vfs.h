/* SPDX-License-Identifier: MIT */
/*
 * vfs - the tree of INTERFACE §2, without a mount: names, attributes and
 * bytes.  fuse/ is a thin adapter on top; --ls, --cat and --extract call it
 * directly.
 *
 * An object is a number, computed from what it stands for; nothing has to be
 * remembered or forgotten, and the same object always has the same number.
 */
#ifndef MODELFS_VFS_H
#define MODELFS_VFS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct blob;
struct engine;
struct err;
struct model;
struct source;
struct text;
struct vfs;

typedef uint64_t vfs_ino;
#define VFS_ROOT ((vfs_ino)1)

struct vfs_mount { /* one SOURCE */
	const char *name;    /* directory name where there are several */
	struct model *model; /* taken */
	const char *path;    /* as the user gave it */
	time_t mtime;
};

/* Takes the models.  en may be NULL: no run/. */
int vfs_new(const struct vfs_mount *mounts, size_t nmounts, struct engine *en,
	    struct vfs **out, struct err *e);
void vfs_free(struct vfs *v);
/* What confines this process, for run/NAME/status; borrowed. */
void vfs_set_sandbox(struct vfs *v, const char *walls);

/*
 * The numbers of the first model in one line: parameters, tensors, bytes, bits
 * per weight, elements of each type.  What is tied counts once.
 */
void vfs_totals(struct vfs *v, struct text *out);

/*
 * ENOENT, ENOTDIR.  What a sequence holds only computing can tell: that is done
 * with `may_wait`; without it -EAGAIN.
 */
int vfs_lookup(struct vfs *v, vfs_ino dir, const char *name, bool may_wait,
	       const atomic_bool *cancel, vfs_ino *out, struct err *e);

/*
 * Numbers in a run are used again when it has ended, with another generation:
 * number and generation together never stand for two things.
 */
uint64_t vfs_generation(struct vfs *v, vfs_ino ino);

/* The directory above; of the root, the root. */
int vfs_parent(struct vfs *v, vfs_ino dir, vfs_ino *out, struct err *e);

/*
 * A number that comes from outside, as NFS handles do: 0 when it stands for
 * something outside the runs; ESTALE otherwise, whatever the number.
 */
int vfs_handle(struct vfs *v, vfs_ino ino, struct err *e);

/*
 * Fills mode, nlink, size, blocks, times, ino.  Never computes, except that
 * with `may_wait` a size that only computing can tell is computed; without it
 * -EAGAIN.
 */
int vfs_stat(struct vfs *v, vfs_ino ino, bool may_wait,
	     const atomic_bool *cancel, struct stat *st, struct err *e);

/* True when attributes and bytes of this object never change. */
bool vfs_is_constant(struct vfs *v, vfs_ino ino);
/* True when the attributes do not: of directories and links in runs, too. */
bool vfs_has_constant_attr(struct vfs *v, vfs_ino ino);

/* True when nothing can be written, and opening a file is never an error. */
bool vfs_is_plain(struct vfs *v);

/*
 * Entry number i of a directory, i = 0, 1, …; name must hold 256 bytes.
 * -ENOENT behind the last.  -EAGAIN as of vfs_lookup.
 */
int vfs_entry(struct vfs *v, vfs_ino dir, uint64_t i, bool may_wait,
	      const atomic_bool *cancel, char *name, vfs_ino *ino,
	      struct err *e);

int vfs_readlink(struct vfs *v, vfs_ino ino, struct blob **out, struct err *e);

/*
 * The bytes of a file.  Computes nothing, unless the size can only be had so:
 * then -EAGAIN without `may_wait`.
 */
int vfs_open(struct vfs *v, vfs_ino ino, bool may_wait,
	     const atomic_bool *cancel, struct blob **out, struct err *e);

/*
 * Computes what reading this blob needs; nothing for most.  EINTR when
 * *cancel was set meanwhile.  vfs_is_slow: whether it may take long.
 */
bool vfs_is_slow(struct blob *b);
/* True while vfs_prepare has something to compute. */
bool vfs_is_pending(struct blob *b);
int vfs_prepare(struct blob *b, const atomic_bool *cancel, struct err *e);

/* Names separated by NULs; or ENODATA. */
int vfs_listxattr(struct vfs *v, vfs_ino ino, struct blob **out,
		  struct err *e);
int vfs_getxattr(struct vfs *v, vfs_ino ino, const char *name,
		 struct blob **out, struct err *e);

/* ---- changes, under run/ only; EROFS everywhere else ---- */
int vfs_mkdir(struct vfs *v, vfs_ino dir, const char *name, vfs_ino *out,
	      struct err *e);
int vfs_rmdir(struct vfs *v, vfs_ino dir, const char *name, struct err *e);
int vfs_unlink(struct vfs *v, vfs_ino dir, const char *name, struct err *e);
/* A new upload, or an existing file opened for writing. */
int vfs_create(struct vfs *v, vfs_ino dir, const char *name, vfs_ino *out,
	       struct err *e);
int vfs_write_open(struct vfs *v, vfs_ino ino, struct err *e);
int vfs_truncate(struct vfs *v, vfs_ino ino, uint64_t size, struct err *e);
int vfs_write(struct vfs *v, vfs_ino ino, const void *buf, size_t len,
	      uint64_t off, struct err *e);
/* A writer closed the file: what was written is taken, or EINVAL. */
int vfs_commit(struct vfs *v, vfs_ino ino, struct err *e);
/* The last writer is gone. */
void vfs_release(struct vfs *v, vfs_ino ino);

/* Binds an input of the first model by name, from a file that is open. */
int vfs_bind_source(struct vfs *v, const char *run, const char *input,
		    struct source *src, struct err *e);

#endif
