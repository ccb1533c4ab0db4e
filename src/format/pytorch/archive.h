/* SPDX-License-Identifier: MIT */
/*
 * archive - the ZIP archives of PyTorch: all their records lie under one
 * folder, NAME/, or under none.
 */
#ifndef FORMAT_PYTORCH_ARCHIVE_H
#define FORMAT_PYTORCH_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob;
struct err;
struct model;
struct source;
struct torch;
struct zipfile;
struct zipfile_member;

struct torch_archive {
	struct source *src; /* owned */
	struct zipfile *zip;
	const char *top; /* "NAME/", of its first member */
	size_t top_len;
	/* Folders where a pickle's storages may be, "data/"; NULL ends them. */
	const char *const *storages;
	const char *storage_suffix; /* behind a storage's key; or NULL */
};

/* The archive in [off, off + len) of src. */
int torch_archive_open(struct source *src, uint64_t off, uint64_t len,
		       struct torch_archive *out, struct err *e);
/* An archive that is a member of another one. */
int torch_archive_nested(const struct torch_archive *outer,
			 const struct zipfile_member *m,
			 struct torch_archive *out, struct err *e);
void torch_archive_close(struct torch_archive *a);

/* *out is NULL when there is no record of this name. */
int torch_archive_find(const struct torch_archive *a, const char *dir,
		       const char *name, size_t len,
		       const struct zipfile_member **out, struct err *e);
bool torch_archive_has(const struct torch_archive *a, const char *name);
/* The part of a member's name below the top folder; NULL: outside of it. */
const char *torch_archive_name(const struct torch_archive *a,
			       const struct zipfile_member *m, size_t *len);

/*
 * A small record of text: shown under config/ (where m is given), and returned
 * up to its first newline, malloc'd; NULL where there is none.
 */
int torch_archive_text(const struct torch_archive *a, struct model *m,
		       const char *name, char **out, struct err *e);
/* All members that begin and end like this, as they are, under config/. */
int torch_archive_config(const struct torch_archive *a, struct model *m,
			 const char *dir, const char *suffix, struct err *e);

/* The records "version" and "byteorder"; m is NULL where nothing is shown. */
int torch_archive_head(const struct torch_archive *a, struct model *m,
		       bool *swapped, struct err *e);

/*
 * Walks over the object in a record.  t holds how: model, under, kind,
 * classes, swapped; the rest is made and freed here.
 */
int torch_archive_walk(struct torch_archive *a, struct torch *t,
		       const char *record, struct err *e);

/* ---- the kinds of archives, each in a file of its own ---- */
int torch_script_read(struct torch_archive *a, struct model *m, struct err *e);
int torch_script_v1_read(struct torch_archive *a, struct model *m,
			 struct err *e);
int torch_export_read(struct torch_archive *a, struct model *m, struct err *e);
int torch_package_read(struct torch_archive *a, struct model *m, struct err *e);

#endif
