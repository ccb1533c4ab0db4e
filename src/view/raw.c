/* SPDX-License-Identifier: MIT */
/*
 * raw - the elements as stored.  Strings are text: one a line, in which a
 * newline is written \n and a backslash \\.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/tensor.h"
#include "modelfs/text.h"
#include "view/views.h"

static uint64_t line_length(const char *s, size_t len)
{
	uint64_t n = len + 1;

	for (size_t i = 0; i < len; i++)
		n += s[i] == '\n' || s[i] == '\\';
	return n;
}

static void add_line(struct text *t, const char *s, size_t len)
{
	size_t start = 0;

	for (size_t i = 0; i < len; i++) {
		if (s[i] != '\n' && s[i] != '\\')
			continue;
		text_add_bytes(t, s + start, i - start);
		text_add(t, s[i] == '\n' ? "\\n" : "\\\\");
		start = i + 1;
	}
	text_add_bytes(t, s + start, len - start);
	text_add(t, "\n");
}

static int strings_size(const struct tensor *t, uint64_t *out, struct err *e)
{
	struct tensor loaded;
	uint64_t n, size = 0;
	int rc;

	if (!shape_nelems(&t->shape, &n))
		return err_set(e, EAGAIN, "the shape is not known yet");
	rc = view_load_strings(t, &loaded, e);
	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < n; i++) {
		size_t len;
		const char *s = tensor_string(&loaded, i, &len);

		size += line_length(s, len);
	}
	tensor_drop(&loaded);
	*out = size;
	return 0;
}

static int open_strings(const struct tensor *t, struct blob **out,
			struct err *e)
{
	struct tensor loaded;
	struct text text = {0};
	uint64_t n;
	int rc;

	if (!shape_nelems(&t->shape, &n))
		return err_set(e, EAGAIN, "the shape is not known yet");
	rc = view_load_strings(t, &loaded, e);
	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < n && !text.failed; i++) {
		size_t len;
		const char *s = tensor_string(&loaded, i, &len);

		add_line(&text, s, len);
	}
	tensor_drop(&loaded);
	*out = text.failed ? NULL : blob_copy(text.p, text.len);
	text_free(&text);
	return *out ? 0 : err_nomem(e, n);
}

static int raw_size(const struct tensor *t, uint64_t *out, struct err *e)
{
	if (t->dtype == DTYPE_STRING)
		return strings_size(t, out, e);
	if (t->data) {
		*out = t->data->size;
		return 0;
	}
	if (!tensor_nbytes(t, out))
		return err_set(e, EAGAIN, "type and shape are not known yet");
	return 0;
}

static int raw_open(const struct tensor *t, struct blob **out, struct err *e)
{
	if (dtype_info(t->dtype)->class == CLASS_CONTAINER)
		return err_set(e, EOPNOTSUPP, "a %s has no bytes of its own",
			       dtype_name(t->dtype));
	if (t->dtype == DTYPE_STRING)
		return open_strings(t, out, e);
	*out = blob_ref(t->data);
	return 0;
}

const struct view view_raw = {
	.suffix = "",
	.size = raw_size,
	.open = raw_open,
	.needs_data = true,
};
