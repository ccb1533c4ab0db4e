/* SPDX-License-Identifier: MIT */
/* engine - threads and memory of all runs: a budget, and what to drop first. */
#include "run/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "modelfs/blob.h"

/* ---- memory that counts ---- */

struct counted_blob {
	struct blob base;
	struct engine *en;
	void *allocation;
	void *data;
};

#define ALIGNMENT 64

static int counted_read(struct blob *b, void *buf, size_t len, uint64_t off,
			struct err *e)
{
	struct counted_blob *c = (struct counted_blob *)b;

	(void)e;
	__builtin_memcpy(buf, (char *)c->data + off, len);
	return 0;
}

static const void *counted_bytes(struct blob *b)
{
	return ((struct counted_blob *)b)->data;
}

static void counted_fini(struct blob *b)
{
	struct counted_blob *c = (struct counted_blob *)b;

	atomic_fetch_sub(&c->en->used, b->size);
	free(c->allocation);
}

static const struct blob_ops counted_ops = {
	.read = counted_read,
	.bytes = counted_bytes,
	.fini = counted_fini,
};

static struct blob *new_counted(struct engine *en, uint64_t nbytes,
				void **data)
{
	struct counted_blob *c = malloc(sizeof(*c));
	uintptr_t p;

	if (!c)
		return NULL;
	/* calloc: large blocks come zeroed from the kernel, at no cost. */
	c->allocation = calloc(1, nbytes + ALIGNMENT);
	if (!c->allocation) {
		free(c);
		return NULL;
	}
	p = ((uintptr_t)c->allocation + ALIGNMENT - 1) &
	    ~(uintptr_t)(ALIGNMENT - 1);
	c->data = (void *)p;
	c->en = en;
	blob_init(&c->base, &counted_ops, nbytes);
	*data = c->data;
	return &c->base;
}

/* ---- what to drop ---- */

void cache_remove(struct engine *en, struct cached *c)
{
	if (!c->is_listed)
		return;
	if (c->older)
		c->older->newer = c->newer;
	else
		en->oldest = c->newer;
	if (c->newer)
		c->newer->older = c->older;
	else
		en->newest = c->older;
	c->is_listed = false;
}

void cache_touch(struct engine *en, struct cached *c)
{
	cache_remove(en, c);
	c->older = en->newest;
	c->newer = NULL;
	if (en->newest)
		en->newest->newer = c;
	else
		en->oldest = c;
	en->newest = c;
	c->is_listed = true;
}

/* Drops the oldest value that nobody else holds; false when there is none. */
static bool drop_oldest(struct engine *en)
{
	struct blob *victim = NULL;
	struct cached *c;

	pthread_mutex_lock(&en->lock);
	for (c = en->oldest; c && !victim; c = c->newer)
		if (atomic_load(&c->t.data->refs) == 1) {
			victim = c->t.data;
			c->t.data = NULL;
			cache_remove(en, c);
		}
	pthread_mutex_unlock(&en->lock);
	blob_unref(victim);
	return victim != NULL;
}

/* True when the budget has room, and nbytes are taken from it. */
static bool charge(struct engine *en, uint64_t nbytes)
{
	unsigned long long used = atomic_load(&en->used);

	do {
		if (nbytes > en->budget || used > en->budget - nbytes)
			return false;
	} while (!atomic_compare_exchange_weak(&en->used, &used,
					       used + nbytes));
	return true;
}

int engine_alloc(struct engine *en, uint64_t nbytes, struct blob **out,
		 void **data, struct err *e)
{
	while (!charge(en, nbytes)) {
		if (nbytes > en->budget || !drop_oldest(en))
			return err_set(e, EFBIG,
				       "needs %llu bytes, the budget is %llu",
				       (unsigned long long)nbytes,
				       (unsigned long long)en->budget);
	}
	*out = new_counted(en, nbytes, data);
	if (*out)
		return 0;
	atomic_fetch_sub(&en->used, nbytes);
	return err_nomem(e, nbytes);
}

/* ---- life ---- */

static uint64_t default_budget(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page = sysconf(_SC_PAGESIZE);

	if (pages <= 0 || page <= 0)
		return (uint64_t)1 << 30;
	return (uint64_t)pages * (uint64_t)page / 4;
}

struct engine *engine_new(unsigned nthreads, uint64_t budget_bytes)
{
	struct engine *en = calloc(1, sizeof(*en));

	if (!en)
		return NULL;
	en->pool = pool_new(nthreads);
	if (!en->pool) {
		free(en);
		return NULL;
	}
	en->budget = budget_bytes ? budget_bytes : default_budget();
	pthread_mutex_init(&en->lock, NULL);
	pthread_cond_init(&en->changed, NULL);
	return en;
}

void engine_free(struct engine *en)
{
	if (!en)
		return;
	while (en->programs) {
		struct program *next = en->programs->next;

		program_free(en->programs);
		en->programs = next;
	}
	pthread_cond_destroy(&en->changed);
	pthread_mutex_destroy(&en->lock);
	pool_free(en->pool);
	free(en);
}
