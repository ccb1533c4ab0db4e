/* SPDX-License-Identifier: MIT */
/*
 * items - elements that are not numbers: lists of strings, and containers
 * whose elements are tensors.
 */
#include "modelfs/tensor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/text.h"

struct string_list {
	uint64_t *ends; /* ends[i]: where string i ends in bytes */
	size_t n;
	size_t cap;
	struct text bytes;
};

struct string_list *string_list_new(void)
{
	return calloc(1, sizeof(struct string_list));
}

int string_list_add(struct string_list *l, const char *s, size_t len)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		uint64_t *p = reallocarray(l->ends, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		l->ends = p;
		l->cap = cap;
	}
	text_add_bytes(&l->bytes, s, len);
	if (l->bytes.failed)
		return -ENOMEM;
	l->ends[l->n++] = l->bytes.len;
	return 0;
}

void string_list_free(struct string_list *l)
{
	if (!l)
		return;
	free(l->ends);
	text_free(&l->bytes);
	free(l);
}

struct blob *string_list_finish(struct string_list *l)
{
	size_t table = (l->n + 1) * sizeof(uint64_t);
	struct blob *b;
	void *to;

	b = blob_mem(table + l->bytes.len, &to);
	if (b) {
		uint64_t *offsets = to;

		offsets[0] = 0;
		if (l->n)
			memcpy(offsets + 1, l->ends, l->n * sizeof(*l->ends));
		if (l->bytes.len)
			memcpy((uint8_t *)to + table, l->bytes.p, l->bytes.len);
	}
	string_list_free(l);
	return b;
}

/* A table that does not fit the blob yields empty strings. */
const char *tensor_string(const struct tensor *t, uint64_t i, size_t *len)
{
	const uint8_t *p = t->data ? blob_bytes(t->data) : NULL;
	uint64_t n, table, start, end;

	*len = 0;
	if (!p || !shape_nelems(&t->shape, &n) || i >= n ||
	    n >= t->data->size / sizeof(uint64_t))
		return "";
	table = (n + 1) * sizeof(uint64_t);
	memcpy(&start, p + i * sizeof(start), sizeof(start));
	memcpy(&end, p + (i + 1) * sizeof(end), sizeof(end));
	if (start > end || end > t->data->size - table)
		return "";
	*len = end - start;
	return (const char *)p + table + start;
}

/* ---- containers ---- */

struct blob_items {
	struct blob base;
	size_t nitems;
	struct tensor items[];
};

static int items_read(struct blob *b, void *buf, size_t len, uint64_t off,
		      struct err *e)
{
	(void)b;
	(void)buf;
	(void)len;
	(void)off;
	(void)e;
	return 0; /* never: its size is 0 */
}

static void items_fini(struct blob *b)
{
	struct blob_items *c = (struct blob_items *)b;

	for (size_t i = 0; i < c->nitems; i++)
		tensor_drop(&c->items[i]);
}

static const struct blob_ops items_ops = {
	.read = items_read,
	.fini = items_fini,
};

struct blob *blob_items(const struct tensor *items, size_t nitems)
{
	struct blob_items *c;
	size_t nbytes;

	if (__builtin_mul_overflow(nitems, sizeof(*items), &nbytes) ||
	    __builtin_add_overflow(nbytes, sizeof(*c), &nbytes))
		return NULL;
	c = malloc(nbytes);
	if (!c)
		return NULL;
	c->nitems = nitems;
	for (size_t i = 0; i < nitems; i++)
		c->items[i] = tensor_ref(&items[i]);
	blob_init(&c->base, &items_ops, 0);
	return &c->base;
}

const struct tensor *blob_get_items(struct blob *b, size_t *nitems)
{
	struct blob_items *c = (struct blob_items *)b;

	if (b->ops != &items_ops)
		return NULL;
	*nitems = c->nitems;
	return c->items;
}
