/* SPDX-License-Identifier: MIT */
/*
 * tree - a directory tree of names that point to objects.  Built once, then
 * frozen: encoded, freed of collisions, and searchable.
 *
 * A directory lists its subdirectories, then its viewed entries (each of them
 * one file per view), then containers, then the others.
 */
#ifndef VFS_TREE_H
#define VFS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct tree;

#define TREE_ROOT 0u
#define NO_DIR ((uint32_t)-1)
#define NO_ENTRY ((uint32_t)-1)

enum entry_kind {
	ENTRY_DIR,    /* ref: index of the directory */
	ENTRY_VIEWED, /* ref: a parameter or value; a file for every view */
	ENTRY_ITEMS,  /* ref: a value made of others: a directory where its raw
			 bytes would be, .shape and .dtype */
	ENTRY_PLAIN,  /* ref: whatever the owner of the tree means by it */
};

struct tree *tree_new(void);
void tree_free(struct tree *t);

/* The subdirectory of this name, made if need be.  object: any number. */
int tree_dir(struct tree *t, uint32_t parent, const char *name, size_t len,
	     uint32_t object, uint32_t *out, struct err *e);
/* A name that is already a file name is added as it is. */
int tree_add(struct tree *t, uint32_t dir, enum entry_kind kind,
	     const char *name, size_t len, uint32_t ref, struct err *e);
/* The same, with directories for the '/' in name; leading ones are dropped. */
int tree_add_path(struct tree *t, enum entry_kind kind, const char *name,
		  size_t len, uint32_t ref, struct err *e);
int tree_dir_path(struct tree *t, const char *name, size_t len,
		  uint32_t object, uint32_t *out, struct err *e);
int tree_freeze(struct tree *t, struct err *e);

/* ---- once frozen ---- */

struct tree_hit {
	uint32_t entry;
	size_t view; /* of a viewed entry */
};

bool tree_lookup(const struct tree *t, uint32_t dir, const char *name,
		 struct tree_hit *out);
/* File number i of a directory; false behind the last. */
bool tree_list(const struct tree *t, uint32_t dir, uint64_t i,
	       struct tree_hit *out);
/* Files in a directory, its subdirectories included. */
uint64_t tree_count(const struct tree *t, uint32_t dir);
/* Entries of one kind in a directory. */
uint32_t tree_count_kind(const struct tree *t, uint32_t dir,
			 enum entry_kind kind);

enum entry_kind tree_kind(const struct tree *t, uint32_t entry);
uint32_t tree_ref(const struct tree *t, uint32_t entry);
uint32_t tree_parent(const struct tree *t, uint32_t entry);
/* Without the suffix of a view. */
const char *tree_name(const struct tree *t, uint32_t entry);
uint32_t tree_object(const struct tree *t, uint32_t dir);
uint32_t tree_nentries(const struct tree *t);
uint32_t tree_ndirs(const struct tree *t);
/* NO_ENTRY for the root. */
uint32_t tree_dir_entry(const struct tree *t, uint32_t dir);
/* Directories between a directory and the root. */
unsigned tree_depth(const struct tree *t, uint32_t dir);

struct text;
/* "a/b/c": the way from the root to an entry. */
void tree_path(const struct tree *t, uint32_t entry, struct text *out);

#endif
