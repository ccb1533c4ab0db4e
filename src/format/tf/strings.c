/* SPDX-License-Identifier: MIT */
/*
 * strings - a tensor of strings as a TensorBundle stores it:
 *
 *	varint length[n] | u32 checksum of the lengths | the bytes
 */
#include <errno.h>
#include <stdlib.h>

#include "modelfs/blob.h"
#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "modelfs/tensor.h"

#include "format/tf/tf.h"
#include "wire/crc32c.h"

/* They are held in memory, like all metadata. */
#define STORED_MAX ((uint64_t)256 << 20)

/* The checksum is of the lengths as numbers of four or eight bytes. */
static uint32_t add_length(uint32_t crc, uint64_t v)
{
	uint8_t bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(v >> (8 * i));
	return crc32c(crc, bytes, v <= UINT32_MAX ? 4 : 8);
}

static int fill(struct string_list *l, const uint8_t *data, size_t len,
		uint64_t n, struct err *e)
{
	struct cursor c = cursor_make(data, len, 0);
	struct cursor lengths = c;
	uint32_t crc = 0;

	if (!cursor_fits(&c, n, 1))
		return err_set(e, EIO, "%llu strings in %zu bytes",
			       (unsigned long long)n, len);
	for (uint64_t i = 0; i < n; i++)
		crc = add_length(crc, cursor_varint(&c));
	if (cursor_u32(&c) != crc32c_mask(crc) || c.bad)
		return err_set(e, EIO, "the checksum of the lengths is wrong");
	for (uint64_t i = 0; i < n; i++) {
		uint64_t size = cursor_varint(&lengths);
		const uint8_t *p;

		if (size > cursor_left(&c))
			return err_set(e, EIO, "a string beyond the data");
		p = cursor_bytes(&c, (size_t)size);
		if (string_list_add(l, size ? (const char *)p : "",
				    (size_t)size) < 0)
			return err_nomem(e, (size_t)size);
	}
	return 0;
}

static int read_strings(struct blob *stored, uint64_t n, struct blob **out,
			struct err *e)
{
	size_t len = (size_t)stored->size;
	uint8_t *data = malloc(len + 1);
	struct string_list *l = string_list_new();
	int rc = data && l ? 0 : err_nomem(e, len);

	if (rc == 0)
		rc = blob_read_full(stored, data, len, 0, e);
	if (rc == 0)
		rc = fill(l, data, len, n, e);
	free(data);
	if (rc < 0) {
		string_list_free(l);
		return rc;
	}
	*out = string_list_finish(l);
	return *out ? 0 : err_nomem(e, len);
}

/* What is wrong with the bytes is an error of this tensor alone. */
int tf_strings(struct blob *stored, uint64_t n, struct blob **out,
	       struct err *e)
{
	struct err why = {0};
	int rc = blob_status(stored, &why);

	if (rc == 0 && stored->size > STORED_MAX)
		rc = err_set(&why, EFBIG, "%llu bytes of strings",
			     (unsigned long long)stored->size);
	if (rc == 0)
		rc = read_strings(stored, n, out, &why);
	blob_unref(stored);
	if (rc == 0)
		return 0;
	if (rc == -ENOMEM)
		return err_nomem(e, 0);
	*out = blob_fail(0, why.code, why.msg);
	return *out ? 0 : err_nomem(e, 0);
}
