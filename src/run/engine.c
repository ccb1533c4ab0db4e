/* SPDX-License-Identifier: MIT */
/* engine - threads and memory of all runs: a budget, and what to drop first. */
#include "run/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernel/gemm.h"
#include "modelfs/blob.h"

/* ---- memory that counts ---- */

struct counted_blob {
	struct blob base;
	struct engine *en;
	struct chunk chunk;
};

static int counted_read(struct blob *b, void *buf, size_t len, uint64_t off,
			struct err *e)
{
	struct counted_blob *c = (struct counted_blob *)b;

	(void)e;
	__builtin_memcpy(buf, (char *)c->chunk.p + off, len);
	return 0;
}

static const void *counted_bytes(struct blob *b)
{
	return ((struct counted_blob *)b)->chunk.p;
}

static void counted_fini(struct blob *b)
{
	struct counted_blob *c = (struct counted_blob *)b;

	atomic_fetch_sub(&c->en->used, spare_put(&c->en->spare, &c->chunk));
}

static const struct blob_ops counted_ops = {
	.read = counted_read,
	.bytes = counted_bytes,
	.fini = counted_fini,
};

static int new_counted(struct engine *en, uint64_t nbytes,
		       const struct chunk *chunk, struct blob **out,
		       struct err *e)
{
	struct counted_blob *c = malloc(sizeof(*c));

	if (!c)
		return err_nomem(e, sizeof(*c));
	c->chunk = *chunk;
	c->en = en;
	blob_init(&c->base, &counted_ops, nbytes);
	*out = &c->base;
	return 0;
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
			c->t.block = 0;
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
	} while (
		!atomic_compare_exchange_weak(&en->used, &used, used + nbytes));
	return true;
}

/* Makes room for nbytes, of what nobody needs first. */
static int make_room(struct engine *en, uint64_t nbytes, struct err *e)
{
	struct chunk c;

	while (!charge(en, nbytes)) {
		if (spare_drop(&en->spare, &c)) {
			atomic_fetch_sub(&en->used, c.nbytes);
			chunk_free(&c);
		} else if (nbytes > en->budget || !drop_oldest(en)) {
			return err_set(e, EFBIG,
				       "needs %llu bytes, the budget is %llu",
				       (unsigned long long)nbytes,
				       (unsigned long long)en->budget);
		}
	}
	return 0;
}

int engine_alloc(struct engine *en, uint64_t nbytes, struct blob **out,
		 void **data, struct err *e)
{
	struct chunk c = {0};
	int rc = 0;

	if (!spare_take(&en->spare, nbytes, &c)) {
		rc = make_room(en, nbytes, e);
		if (rc < 0)
			return rc;
		if (!chunk_new(nbytes, &c)) {
			atomic_fetch_sub(&en->used, nbytes);
			return err_nomem(e, nbytes);
		}
	}
	rc = new_counted(en, nbytes, &c, out, e);
	if (rc < 0) {
		atomic_fetch_sub(&en->used, c.nbytes);
		chunk_free(&c);
		return rc;
	}
	*data = c.p;
	return 0;
}

/* ---- life ---- */
void engine_prepare(void)
{
	gemm_prepare();
}

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
	spare_init(&en->spare, en->budget / 8);
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
	spare_fini(&en->spare);
	pthread_cond_destroy(&en->changed);
	pthread_mutex_destroy(&en->lock);
	pool_free(en->pool);
	free(en);
}
