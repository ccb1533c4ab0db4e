/* SPDX-License-Identifier: MIT */
/*
 * mounted - what the files of vfs/ share.
 *
 * An object number is made of fields, so that nothing has to be remembered:
 *
 *	mount:8  area:6  run:14  view:4  id:32
 *
 * where id is a parameter, a value, a directory or an entry of the area's
 * tree, an upload or an item, as the area says.  Areas are never 0.
 *
 * Trees are built when somebody first looks at them, under mount.lock, and
 * immutable from then on.  vfs.lock guards the list of runs and everything in
 * struct vrun; it is taken before any lock of run/.
 */
#ifndef VFS_MOUNTED_H
#define VFS_MOUNTED_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "modelfs/err.h"
#include "modelfs/graph.h"
#include "modelfs/tensor.h"
#include "modelfs/text.h"
#include "modelfs/vfs.h"
#include "vfs/tree.h"

struct blob;
struct engine;
struct items;
struct model;
struct run;

enum tree_id {
	TREE_TOP, /* README, info.json */
	TREE_CONFIG,
	TREE_MODEL,
	TREE_TENSORS,
	TREE_GRAPH,
	TREE_IN,
	TREE_OUT,
	TREE_ACT,
	TREE_VALUES,
	TREE_COUNT
};

enum area {
	AREA_NONE,
	AREA_MOUNTS, /* the root, where there are several SOURCEs */
	AREA_TOP,    /* the root of one model */
	AREA_RUNS,   /* run/ */
	AREA_RUN,    /* run/NAME/ */
	AREA_REPORT, /* run/NAME/status, log, profile; id says which */
	AREA_PARAM,  /* a view of a parameter; id: the parameter */
	AREA_VALUE,  /* a view of a value of a run; id: the value */
	AREA_PATCH,  /* run/NAME/patch/…; id: directory of TREE_ACT */
	AREA_UPLOAD, /* a file somebody wrote; id: the upload */
	AREA_ITEMS,  /* a directory of a container's elements; id: the item */
	AREA_ITEM,   /* a view of an element of a container; id: the item */
	AREA_DIR,    /* AREA_DIR + tree: a directory; id: the directory */
	AREA_ENTRY = AREA_DIR + TREE_COUNT, /* + tree: an entry; id: it */
};

struct place {
	uint32_t mount;
	enum area area;
	uint32_t run;
	uint32_t view;
	uint32_t id;
};

vfs_ino place_ino(const struct place *p);
struct place ino_place(vfs_ino ino);
/* The same; the root stands for the only model, or for all of them. */
struct place place_of(const struct vfs *v, vfs_ino ino);
/* True for everything below run/NAME. */
bool place_is_in_run(const struct place *p);
/* The tree of a directory or entry; TREE_COUNT for other areas. */
enum tree_id place_tree(const struct place *p);

struct mount {
	const char *name;
	char *path;
	struct model *model;
	struct engine *en; /* NULL: no run/ */
	time_t mtime;
	pthread_mutex_t lock;
	struct tree *trees[TREE_COUNT];
	bool *is_container; /* per value; with the first tree of a run */
	struct items *items; /* with the first item */
	/* Entry of an object, its first name where it has several. */
	uint32_t *param_entry; /* with TREE_MODEL */
	uint32_t *input_entry; /* with TREE_IN: of each value */
	uint32_t *value_entry; /* with TREE_ACT */
	uint32_t *value_links; /* with TREE_ACT: names of a value */
	uint32_t *module_dir;  /* with TREE_MODEL: module → directory */
	uint64_t *module_nelems; /* with TREE_MODEL: and of those below */
	uint32_t *node_dir;    /* with TREE_GRAPH: node → directory */
	struct blob *texts[4]; /* generated once: enum top_text */
};

enum top_text { TEXT_README, TEXT_INFO, TEXT_NODES, TEXT_DOT };

struct upload {
	struct upload *next;
	uint32_t id;
	enum area area; /* of the directory: in/, patch/ or AREA_ITEMS in in/ */
	uint32_t dir;	/* its id there */
	char *name;
	char *data; /* what is being written */
	size_t len, cap;
	bool is_dirty;
	int refused; /* errno of what was closed last; 0: it was taken */
	unsigned nwriters;
	struct blob *taken; /* what was taken last, and can be read back */
	value_id *given;    /* what it bound or patched */
	uint32_t ngiven;
	time_t mtime;
};

struct vrun {
	char *name; /* NULL: a free slot */
	struct run *run;
	struct mount *mount;
	struct upload *uploads;
	uint32_t next_upload;
	time_t created;
	uint64_t generation;
};

#define RUNS_MAX 16000

struct vfs {
	struct mount *mounts;
	size_t nmounts;
	struct engine *en;
	const char *sandbox; /* NULL: not said */
	uid_t uid;
	gid_t gid;
	pthread_mutex_t lock;
	struct vrun *runs; /* by number */
	uint32_t nruns, cap_runs, next_run;
	uint64_t nmade; /* runs that ever were */
};

/* ---- trees.c ---- */
int mount_tree(struct mount *m, enum tree_id id, const struct tree **out,
	       struct err *e);
void mount_free(struct mount *m);
const char *tree_dirname(enum tree_id id);

/* One builder per tree, in the file of its area. */
int build_top(struct mount *m, struct tree *t, struct err *e);
int build_config(struct mount *m, struct tree *t, struct err *e);
int build_model(struct mount *m, struct tree *t, struct err *e);
int build_tensors(struct mount *m, struct tree *t, struct err *e);
int build_graph(struct mount *m, struct tree *t, struct err *e);
int build_in(struct mount *m, struct tree *t, struct err *e);
int build_out(struct mount *m, struct tree *t, struct err *e);
int build_act(struct mount *m, struct tree *t, struct err *e);
int build_values(struct mount *m, struct tree *t, struct err *e);

/* ---- entries: what a plain or linked entry holds ---- */
/* The bytes of a plain entry.  EOPNOTSUPP where the tree has none. */
int entry_open(struct mount *m, enum tree_id tree, uint32_t entry,
	       struct blob **out, struct err *e);
/* True when this view of an entry is a symbolic link. */
bool entry_is_link(struct mount *m, enum tree_id tree, uint32_t entry);
/* Where it leads, relative to the directory it is in. */
int entry_link(struct mount *m, enum tree_id tree, uint32_t entry, size_t view,
	       struct text *out, struct err *e);
/* "../" for every directory between an entry and the root of its tree. */
void link_up(const struct tree *t, uint32_t entry, struct text *out);

/* graph.c */
bool graph_entry_is_link(const struct tree *t, uint32_t entry);
int graph_entry_open(struct mount *m, const struct tree *t, uint32_t entry,
		     struct blob **out, struct err *e);
int graph_entry_link(struct mount *m, const struct tree *t, uint32_t entry,
		     struct text *out, struct err *e);

/* ---- texts ---- */
/* A text file made when first read; the blob is borrowed from the mount. */
int mount_text(struct mount *m, enum top_text which, struct blob **out,
	       struct err *e);
void write_readme(struct mount *m, struct text *out);
void write_info(struct mount *m, struct text *out);
void write_nodes(struct mount *m, struct text *out);
void write_dot(struct mount *m, struct text *out);
/* .module */
void write_module(struct mount *m, uint32_t module, struct text *out);
/* A blob of the text, which it takes. */
int text_blob(struct text *t, struct blob **out, struct err *e);

/* ---- runs.c ---- */
/*
 * The run of a place, with a reference; NULL when it is gone.  The mount is
 * that of the place.
 */
struct run *run_of(struct vfs *v, uint32_t number);
void runs_free(struct vfs *v);
/* Number of a run by name; -1: none. */
int64_t run_number(struct vfs *v, const struct mount *m, const char *name);
#define REPORTS 3
/* -1: no report has this name. */
int report_by_name(const char *name);
const char *report_name(uint32_t id);
int run_report(struct vfs *v, const struct place *p, struct blob **out,
	       struct err *e);
/* A view of a value; see vfs_open. */
int value_open(struct vfs *v, const struct place *p, bool may_wait,
	       const atomic_bool *cancel, struct blob **out, struct err *e);
/* Size of a view of a value; see vfs_stat. */
int value_size(struct vfs *v, const struct place *p, bool may_wait,
	       const atomic_bool *cancel, uint64_t *out, struct err *e);

/* ---- items.c: what sequences, optionals and maps hold ---- */
/* The number of an entry whose value is a container. */
int item_of_entry(struct mount *m, enum tree_id tree, uint32_t entry,
		  uint32_t *out, struct err *e);
/* The value, where the item is one in in/; false for others, and for parts. */
bool item_is_input(struct mount *m, uint32_t item, value_id *out);
/* A directory of elements becomes the one above. */
int item_above(struct mount *m, struct place *p, struct err *e);
void items_free(struct items *t);
/* As vfs_lookup and vfs_entry, in a directory of elements. */
int items_lookup(struct vfs *v, const struct place *dir, const char *name,
		 bool may_wait, const atomic_bool *cancel, vfs_ino *out,
		 struct err *e);
int items_entry(struct vfs *v, const struct place *dir, uint64_t i,
		bool may_wait, const atomic_bool *cancel, char *name,
		vfs_ino *ino, struct err *e);
/* As vfs_open. */
int item_open(struct vfs *v, const struct place *p, bool may_wait,
	      const atomic_bool *cancel, struct blob **out, struct err *e);
/* Changes when the elements do. */
uint64_t items_version(struct vfs *v, const struct place *p);

/* ---- elements.c: containers that are given by their elements ---- */
/*
 * vfs.lock not held.  Binds what the files in a directory of in/ make
 * together; one of them (or none) has just been closed and holds `fresh`.
 */
int elements_bind(struct vfs *v, uint32_t run, struct mount *m, uint32_t item,
		  const char *name, struct blob *fresh, struct err *e);

/* ---- uploads.c; vfs.lock held where it says so ---- */
struct upload *upload_find(struct vrun *r, const struct place *dir,
			   const char *name); /* locked */
struct upload *upload_get(struct vrun *r, uint32_t id); /* locked */
struct upload *upload_nth(struct vrun *r, const struct place *dir,
			  uint64_t i); /* locked */
void uploads_free(struct vrun *r); /* locked */
struct upload *upload_new(struct vrun *r, const struct place *dir,
			  const char *name, struct err *e); /* locked */
/* True for a directory that can be written to. */
bool takes_uploads(const struct vfs *v, const struct place *dir);
int upload_commit(struct vfs *v, uint32_t run, uint32_t id, struct err *e);
int upload_remove(struct vfs *v, uint32_t run, uint32_t id, struct err *e);
/* The value a name in patch/ stands for; NO_VALUE: none. */
value_id patched_value(struct mount *m, uint32_t dir, const char *name,
		       size_t *view);

/* ---- inner.c ---- */
/* Adds what is inside the node's subgraphs; node_dir: of each node. */
int add_inner(struct mount *m, struct tree *t, bool is_act,
	      const uint32_t *module_dirs, struct err *e);
/* Adds a value under a directory, as what it is. */
int add_value(struct mount *m, struct tree *t, uint32_t dir, const char *name,
	      size_t len, value_id id, struct err *e);

/* Views that in/ shows of an input: .shape and .dtype, not the data. */
#define FIRST_TYPE_VIEW 2u

#endif
