/* SPDX-License-Identifier: MIT */
/*
 * sign - tensors whose values are to be negated or conjugated when they are
 * read (torch.Tensor.is_neg, is_conj): the sign of a number, or of every
 * imaginary part, is one bit of its last byte.
 */
#include <errno.h>
#include <stdlib.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"

#include "format/pytorch/pytorch.h"

#define SIGN_BIT 0x80

struct blob_sign {
	struct blob base;
	struct blob *of; /* owned reference */
	size_t period;	 /* the last of so many bytes has the sign */
};

static int sign_read(struct blob *b, void *buf, size_t len, uint64_t off,
		     struct err *e)
{
	const struct blob_sign *s = (struct blob_sign *)b;
	uint8_t *p = buf;
	int rc = blob_read_full(s->of, buf, len, off, e);

	if (rc < 0)
		return rc;
	for (size_t i = s->period - 1 - (size_t)(off % s->period); i < len;
	     i += s->period)
		p[i] ^= SIGN_BIT;
	return 0;
}

static int sign_status(struct blob *b, struct err *e)
{
	return blob_status(((struct blob_sign *)b)->of, e);
}

static void sign_fini(struct blob *b)
{
	blob_unref(((struct blob_sign *)b)->of);
}

/* Takes the data. */
static struct blob *flip(struct blob *of, size_t period)
{
	static const struct blob_ops ops = {
		.read = sign_read, .status = sign_status, .fini = sign_fini};
	static const struct blob_ops slow_ops = {.read = sign_read,
						 .status = sign_status,
						 .fini = sign_fini,
						 .slow = true};
	struct blob_sign *s = calloc(1, sizeof(*s));

	if (!s) {
		blob_unref(of);
		return NULL;
	}
	blob_init(&s->base, of->ops->slow ? &slow_ops : &ops, of->size);
	s->of = of;
	s->period = period;
	return &s->base;
}

int torch_flip_signs(struct tensor *t, bool conj, bool neg, struct err *e)
{
	enum dtype_class class = dtype_info(t->dtype)->class;
	size_t size = dtype_size(t->dtype);
	bool is_complex = class == CLASS_COMPLEX;

	if (!conj && !neg)
		return 0;
	if ((conj && !is_complex) || (!is_complex && class != CLASS_FLOAT))
		return err_set(e, EOPNOTSUPP,
			       "a conjugated or negated view of %s",
			       dtype_name(t->dtype));
	if (conj)
		t->data = flip(t->data, size);
	if (neg && t->data)
		t->data = flip(t->data, is_complex ? size / 2 : size);
	return t->data ? 0 : err_nomem(e, sizeof(struct blob_sign));
}
