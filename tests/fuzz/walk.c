/* SPDX-License-Identifier: MIT */
/* walk - see fuzz.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/model.h"
#include "modelfs/vfs.h"

#include "fuzz.h"

#define OBJECTS_MAX 500
#define PER_DIR_MAX 40

/* Directories still to be listed. */
struct walk {
	struct vfs *v;
	vfs_ino dirs[OBJECTS_MAX];
	size_t ndirs, nobjects;
};

static void check_name(const char *name)
{
	size_t len = strnlen(name, 256);

	if (len == 0 || len > 255 || strchr(name, '/') ||
	    strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		abort();
}

static void read_ends(struct blob *b)
{
	uint64_t at[] = {0, b->size > 16 ? b->size - 16 : 0};
	char buf[16];
	size_t got;

	for (size_t i = 0; i < 2; i++)
		if (blob_read(b, buf, sizeof(buf), at[i], &got, NULL) == 0 &&
		    got > sizeof(buf))
			abort();
	blob_unref(b);
}

static void visit(struct walk *w, vfs_ino dir, const char *name, vfs_ino ino)
{
	struct blob *b;
	struct stat st;
	vfs_ino found;

	check_name(name);
	if (vfs_lookup(w->v, dir, name, false, NULL, &found, NULL) < 0 ||
	    found != ino || vfs_handle(w->v, ino, NULL) < 0 ||
	    vfs_stat(w->v, ino, false, NULL, &st, NULL) < 0)
		abort();
	if (S_ISDIR(st.st_mode)) {
		if (vfs_parent(w->v, ino, &found, NULL) < 0 || found != dir)
			abort();
		w->dirs[w->ndirs++] = ino;
	} else if (S_ISLNK(st.st_mode)) {
		if (vfs_readlink(w->v, ino, &b, NULL) == 0)
			read_ends(b);
	} else if (vfs_open(w->v, ino, false, NULL, &b, NULL) == 0) {
		read_ends(b);
	}
	if (vfs_listxattr(w->v, ino, &b, NULL) == 0)
		read_ends(b);
}

static void list(struct walk *w, vfs_ino dir)
{
	char name[256];
	vfs_ino ino;

	for (uint64_t i = 0; i < PER_DIR_MAX && w->nobjects < OBJECTS_MAX; i++) {
		if (vfs_entry(w->v, dir, i, false, NULL, name, &ino, NULL) < 0)
			return;
		w->nobjects++;
		visit(w, dir, name, ino);
	}
}

void fuzz_walk(struct model *m)
{
	struct vfs_mount mount = {.name = "fuzz", .model = m, .path = "fuzz"};
	struct walk w = {0};

	if (vfs_new(&mount, 1, NULL, &w.v, NULL) < 0)
		abort();
	w.dirs[w.ndirs++] = VFS_ROOT;
	while (w.ndirs > 0 && w.nobjects < OBJECTS_MAX)
		list(&w, w.dirs[--w.ndirs]);
	vfs_free(w.v);
}
