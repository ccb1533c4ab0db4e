/* SPDX-License-Identifier: MIT */
/* view - the registry of views, and what they share. */
#include "modelfs/view.h"

#include <errno.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/tensor.h"
#include "view/views.h"

/* Strings of a tensor that are read into memory to be shown. */
#define STRINGS_MAX ((uint64_t)1 << 30)

const struct view *const views[] = {
	&view_raw,
	&view_npy,
	&view_shape,
	&view_dtype,
};

const size_t nviews = sizeof(views) / sizeof(views[0]);

size_t view_of_name(const char *name, size_t len, size_t *stem_len)
{
	for (size_t i = 1; i < nviews; i++) {
		size_t n = strlen(views[i]->suffix);

		if (len > n &&
		    memcmp(name + len - n, views[i]->suffix, n) == 0) {
			*stem_len = len - n;
			return i;
		}
	}
	*stem_len = len;
	return 0;
}

int view_open(size_t view, const struct tensor *t, struct blob **out,
	      struct err *e)
{
	if (views[view]->needs_data && !t->data)
		return err_set(e, ENODATA, "this tensor has no data");
	return views[view]->open(t, out, e);
}

static int read_to_memory(struct blob *data, struct blob **out, struct err *e)
{
	struct blob *copy;
	void *to;
	int rc;

	if (data->ops->slow)
		return err_set(e, EAGAIN, "strings are not computed yet");
	if (data->size > STRINGS_MAX)
		return err_set(e, EFBIG, "too many strings to show");
	copy = blob_mem(data->size, &to);
	if (!copy)
		return err_nomem(e, data->size);
	rc = blob_read_full(data, to, data->size, 0, e);
	if (rc < 0) {
		blob_unref(copy);
		return rc;
	}
	*out = copy;
	return 0;
}

/* A table of ends comes before the bytes: one of them more than strings. */
static bool has_table(const struct tensor *t)
{
	uint64_t n;

	return !shape_nelems(&t->shape, &n) ||
	       n < t->data->size / sizeof(uint64_t);
}

int view_load_strings(const struct tensor *t, struct tensor *out, struct err *e)
{
	struct blob *data = NULL;
	int rc;

	if (!t->data)
		return err_set(e, EAGAIN, "strings are not there");
	rc = blob_status(t->data, e);
	if (rc < 0)
		return rc;
	if (!has_table(t))
		return err_set(e, EIO, "fewer strings than the shape says");
	if (blob_bytes(t->data)) {
		*out = tensor_ref(t);
		return 0;
	}
	rc = read_to_memory(t->data, &data, e);
	if (rc < 0)
		return rc;
	*out = *t;
	out->data = data;
	return 0;
}
