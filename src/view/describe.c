/* SPDX-License-Identifier: MIT */
/* describe - .shape and .dtype: one line of text each. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/tensor.h"
#include "view/views.h"

/* SHAPE_RANK_MAX extents of 19 digits with their blanks. */
#define LINE_MAX_LEN 1024

static int open_line(char *line, size_t len, struct blob **out, struct err *e)
{
	line[len] = '\n';
	*out = blob_copy(line, len + 1);
	return *out ? 0 : err_nomem(e, len + 1);
}

static int shape_size(const struct tensor *t, uint64_t *out, struct err *e)
{
	char line[LINE_MAX_LEN];

	if (!shape_is_known(&t->shape))
		return err_set(e, EAGAIN, "the shape is not known yet");
	*out = shape_format(&t->shape, line, sizeof(line) - 1) + 1;
	return 0;
}

static int shape_open(const struct tensor *t, struct blob **out, struct err *e)
{
	char line[LINE_MAX_LEN];
	size_t len = shape_format(&t->shape, line, sizeof(line) - 1);

	return open_line(line, len, out, e);
}

static int dtype_size_of_line(const struct tensor *t, uint64_t *out,
			      struct err *e)
{
	if (t->dtype == DTYPE_NONE)
		return err_set(e, EAGAIN, "the type is not known yet");
	*out = strlen(dtype_name(t->dtype)) + 1;
	return 0;
}

static int dtype_open(const struct tensor *t, struct blob **out, struct err *e)
{
	char line[LINE_MAX_LEN];
	int len = snprintf(line, sizeof(line) - 1, "%s", dtype_name(t->dtype));

	return open_line(line, (size_t)len, out, e);
}

const struct view view_shape = {
	.suffix = ".shape",
	.size = shape_size,
	.open = shape_open,
};

const struct view view_dtype = {
	.suffix = ".dtype",
	.size = dtype_size_of_line,
	.open = dtype_open,
};
