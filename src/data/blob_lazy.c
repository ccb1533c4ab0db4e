/* SPDX-License-Identifier: MIT */
/* blob_lazy - a blob that is made when it is first needed, and then kept. */
#include "modelfs/blob.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "modelfs/err.h"

struct blob_lazy {
	struct blob base;
	blob_make_fn *make;
	void *ctx; /* owned, through free_ctx */
	void (*free_ctx)(void *ctx);
	pthread_mutex_t lock; /* of made */
	struct blob *made;    /* owned reference; NULL: not yet */
};

static int lazy_read(struct blob *b, void *buf, size_t len, uint64_t off,
		     struct err *e)
{
	(void)b;
	(void)buf;
	(void)len;
	(void)off;
	(void)e;
	return 0; /* never: its size is 0 */
}

static void lazy_fini(struct blob *b)
{
	struct blob_lazy *l = (struct blob_lazy *)b;

	blob_unref(l->made);
	l->free_ctx(l->ctx);
	pthread_mutex_destroy(&l->lock);
}

static const struct blob_ops lazy_ops = {
	.read = lazy_read,
	.fini = lazy_fini,
};

struct blob *blob_lazy(blob_make_fn *make, void *ctx,
		       void (*free_ctx)(void *ctx))
{
	struct blob_lazy *l = malloc(sizeof(*l));

	if (!l) {
		free_ctx(ctx);
		return NULL;
	}
	l->make = make;
	l->ctx = ctx;
	l->free_ctx = free_ctx;
	l->made = NULL;
	pthread_mutex_init(&l->lock, NULL);
	blob_init(&l->base, &lazy_ops, 0);
	return &l->base;
}

int blob_resolve(struct blob *b, struct blob **out, struct err *e)
{
	struct blob_lazy *l = (struct blob_lazy *)b;
	int rc = 0;

	if (b->ops != &lazy_ops) {
		*out = blob_ref(b);
		return 0;
	}
	pthread_mutex_lock(&l->lock);
	if (!l->made)
		rc = l->make(l->ctx, &l->made, e);
	if (rc == 0)
		*out = blob_ref(l->made);
	pthread_mutex_unlock(&l->lock);
	return rc;
}
