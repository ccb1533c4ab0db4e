/* SPDX-License-Identifier: MIT */
/* walk - see fuzz.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/run.h"
#include "modelfs/vfs.h"

#include "fuzz.h"

#define OBJECTS_MAX 500
#define PER_DIR_MAX 40
#define RUN_BYTES (16 << 20)

/* Directories still to be listed. */
struct walk {
	struct vfs *v;
	bool is_run; /* sizes may have to be computed; no number lasts */
	vfs_ino dirs[OBJECTS_MAX];
	size_t ndirs, nobjects;
};

static void expect(bool is_so, const char *what, const char *name)
{
	if (is_so)
		return;
	fprintf(stderr, "# %s: %s\n", name, what);
	abort();
}

static bool is_file_name(const char *name)
{
	size_t len = strnlen(name, 256);

	return len > 0 && len < 256 && !strchr(name, '/') &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* What would have to be computed is left alone: that may take long. */
static void read_ends(struct blob *b)
{
	uint64_t at[] = {0, b->size > 16 ? b->size - 16 : 0};
	char buf[16];
	size_t got;

	for (size_t i = 0; i < 2 && !vfs_is_slow(b); i++)
		if (blob_read(b, buf, sizeof(buf), at[i], &got, NULL) == 0 &&
		    got > sizeof(buf))
			abort();
	blob_unref(b);
}

static void read_object(struct walk *w, vfs_ino ino, mode_t mode)
{
	struct blob *b;

	if (S_ISLNK(mode) && vfs_readlink(w->v, ino, &b, NULL) == 0)
		read_ends(b);
	else if (S_ISREG(mode) &&
		 vfs_open(w->v, ino, false, NULL, &b, NULL) == 0)
		read_ends(b);
	if (vfs_listxattr(w->v, ino, &b, NULL) == 0)
		read_ends(b);
}

static void visit(struct walk *w, vfs_ino dir, const char *name, vfs_ino ino)
{
	struct err e = {0};
	struct stat st;
	vfs_ino found = 0;
	int rc;

	expect(is_file_name(name), "no file name", name);
	rc = vfs_lookup(w->v, dir, name, false, NULL, &found, &e);
	expect(rc == 0 && found == ino, "listed, not found", name);
	expect(w->is_run || vfs_handle(w->v, ino, NULL) == 0, "no handle",
	       name);
	rc = vfs_stat(w->v, ino, false, NULL, &st, &e);
	if (w->is_run && rc == -EAGAIN)
		return;
	expect(rc == 0, e.msg, name);
	if (S_ISDIR(st.st_mode)) {
		rc = vfs_parent(w->v, ino, &found, NULL);
		expect(rc == 0 && found == dir, "another parent", name);
		w->dirs[w->ndirs++] = ino;
	}
	read_object(w, ino, st.st_mode);
}

static void list(struct walk *w, vfs_ino dir)
{
	char name[256];
	vfs_ino ino;

	for (uint64_t i = 0; i < PER_DIR_MAX && w->nobjects < OBJECTS_MAX;
	     i++) {
		if (vfs_entry(w->v, dir, i, false, NULL, name, &ino, NULL) < 0)
			return;
		w->nobjects++;
		visit(w, dir, name, ino);
	}
}

static void walk_from(struct vfs *v, vfs_ino top, bool is_run)
{
	struct walk w = {.v = v, .is_run = is_run};

	w.dirs[w.ndirs++] = top;
	while (w.ndirs > 0 && w.nobjects < OBJECTS_MAX)
		list(&w, w.dirs[--w.ndirs]);
}

/* A run, whose shapes are inferred and whose operators are looked up. */
static void walk_run(struct vfs *v)
{
	vfs_ino dir, run;

	if (vfs_lookup(v, VFS_ROOT, "run", false, NULL, &dir, NULL) < 0 ||
	    vfs_mkdir(v, dir, "fuzz", &run, NULL) < 0)
		return;
	walk_from(v, run, true);
}

static void walk_tree(struct model *m, struct engine *en)
{
	struct vfs_mount mount = {.name = "fuzz", .model = m, .path = "fuzz"};
	struct vfs *v;

	if (vfs_new(&mount, 1, en, &v, NULL) < 0)
		abort();
	walk_from(v, VFS_ROOT, false);
	if (en)
		walk_run(v);
	vfs_free(v);
}

void fuzz_walk(struct model *m)
{
	walk_tree(m, NULL);
}

void fuzz_walk_run(struct model *m)
{
	struct engine *en = m->graph ? engine_new(1, RUN_BYTES) : NULL;

	walk_tree(m, en);
	engine_free(en);
}
