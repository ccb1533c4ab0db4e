/* SPDX-License-Identifier: MIT */
/*
 * view - a file made from a tensor: raw bytes, .npy, .shape, .dtype.
 */
#ifndef MODELFS_VIEW_H
#define MODELFS_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob;
struct err;
struct tensor;

struct view {
	const char *suffix; /* ".npy"; "" for raw bytes */
	/* Exact, from type and shape alone; -EAGAIN when they don't tell. */
	int (*size)(const struct tensor *t, uint64_t *out, struct err *e);
	/* The bytes; does not take the tensor. */
	int (*open)(const struct tensor *t, struct blob **out, struct err *e);
	bool needs_data; /* .shape and .dtype do not */
};

/* The registry: raw is the first. */
extern const struct view *const views[];
extern const size_t nviews;

/* The view whose suffix ends this name; *stem_len is the rest.  Raw: all. */
size_t view_of_name(const char *name, size_t len, size_t *stem_len);

/* The whole text of .shape and .dtype, from a type without data. */
int view_open(size_t view, const struct tensor *t, struct blob **out,
	      struct err *e);

#endif
