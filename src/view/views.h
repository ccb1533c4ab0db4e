/* SPDX-License-Identifier: MIT */
/* views - the views there are; view.c lists them. */
#ifndef MODELFS_VIEW_VIEWS_H
#define MODELFS_VIEW_VIEWS_H

#include "modelfs/view.h"

extern const struct view view_raw;
extern const struct view view_npy;
extern const struct view view_shape;
extern const struct view view_dtype;

/*
 * A reference to a tensor whose strings are in memory: what the element
 * accessors need.  EAGAIN when reading them would mean to compute; ENODATA
 * when there are none.  The caller drops *out.
 */
int view_load_strings(const struct tensor *t, struct tensor *out,
		      struct err *e);

#endif
