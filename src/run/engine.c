/* SPDX-License-Identifier: MIT */
/* engine - threads and memory of all runs: a budget, and what to drop first. */
#include "run/engine.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernel/gemm.h"
#include "modelfs/blob.h"

/* Bytes that are worth a mapping of their own. */
#define LARGE (1 << 20)

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

/* engine.lock held.  How many of those from c on have these bytes. */
static unsigned count_owners(const struct cached *c, const struct blob *b)
{
	unsigned n = 0;

	for (; c; c = c->newer)
		n += c->t.data == b;
	return n;
}

/*
 * engine.lock held.  True when nobody else holds c's bytes, c being the first
 * that has them: several values have the same where an operator gives another
 * shape to its input.
 */
static bool can_drop(const struct cached *c)
{
	unsigned refs = atomic_load(&c->t.data->refs);

	return refs == 1 || refs == count_owners(c, c->t.data);
}

/* engine.lock held. */
static void drop_owner(struct engine *en, struct cached *c)
{
	c->t.data = NULL;
	c->t.block = 0;
	cache_remove(en, c);
}

/* Drops the oldest value that nobody else holds; false when there is none. */
static bool drop_oldest(struct engine *en)
{
	struct blob *victim = NULL;
	struct cached *c, *next;
	unsigned nowners = 0;

	pthread_mutex_lock(&en->lock);
	for (c = en->oldest; c && !can_drop(c); c = c->newer)
		;
	if (c)
		victim = c->t.data;
	for (; c && victim; c = next) {
		next = c->newer;
		if (c->t.data == victim) {
			drop_owner(en, c);
			nowners++;
		}
	}
	pthread_mutex_unlock(&en->lock);
	while (nowners-- > 0)
		blob_unref(victim);
	return victim != NULL;
}

uint64_t engine_room(struct engine *en, uint64_t enough)
{
	unsigned long long used = atomic_load(&en->used);
	uint64_t room = used < en->budget ? en->budget - used : 0;
	struct cached *c;

	if (room >= enough)
		return enough;
	room += spare_nbytes(&en->spare);
	pthread_mutex_lock(&en->lock);
	for (c = en->oldest; c && room < enough; c = c->newer)
		if (can_drop(c))
			room += c->t.data->size;
	pthread_mutex_unlock(&en->lock);
	return room < enough ? room : enough;
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
			return err_set(
				e, EFBIG,
				"needs %llu bytes; of the budget of %llu, %llu "
				"are in use",
				(unsigned long long)nbytes,
				(unsigned long long)en->budget,
				(unsigned long long)atomic_load(&en->used));
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
bool engine_wants_libraries(void)
{
	return gemm_wants_blas();
}

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

/*
 * What is as large as a weight shall go back to the system when it is freed:
 * by default malloc learns to keep it, beside the budget.
 */
static void bound_malloc(void)
{
#ifdef M_MMAP_THRESHOLD
	mallopt(M_MMAP_THRESHOLD, LARGE);
#endif
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
	bound_malloc();
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
