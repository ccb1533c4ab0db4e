/* SPDX-License-Identifier: MIT */
#include "run/spare.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNMENT 64
/* What malloc serves without asking the kernel is not worth keeping. */
#define KEEP_MIN ((uint64_t)64 << 10)
#define HUGE_MIN ((uint64_t)2 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

bool chunk_new(uint64_t nbytes, struct chunk *out)
{
	bool huge = nbytes >= HUGE_MIN;
	size_t size = nbytes ? nbytes : 1;
	void *p;

	if (posix_memalign(&p, huge ? HUGE_PAGE : ALIGNMENT, size) != 0)
		return false;
	/* Advice: fewer faults where the system has large pages. */
	if (huge)
		madvise(p, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
	out->p = p;
	out->nbytes = nbytes;
	return true;
}

void chunk_free(struct chunk *c)
{
	free(c->p);
	c->p = NULL;
}

void spare_init(struct spare *s, uint64_t limit)
{
	pthread_mutex_init(&s->lock, NULL);
	s->limit = limit;
}

void spare_fini(struct spare *s)
{
	while (s->n > 0)
		chunk_free(&s->chunks[--s->n]);
	pthread_mutex_destroy(&s->lock);
}

static struct chunk remove_at(struct spare *s, uint32_t i)
{
	struct chunk c = s->chunks[i];

	s->n--;
	s->nbytes -= c.nbytes;
	memmove(s->chunks + i, s->chunks + i + 1,
		(s->n - i) * sizeof(s->chunks[0]));
	return c;
}

uint64_t spare_put(struct spare *s, struct chunk *c)
{
	uint64_t freed = 0;

	if (c->nbytes < KEEP_MIN || c->nbytes > s->limit) {
		freed = c->nbytes;
		chunk_free(c);
		return freed;
	}
	pthread_mutex_lock(&s->lock);
	while (s->n == SPARE_MAX || c->nbytes > s->limit - s->nbytes) {
		struct chunk old = remove_at(s, 0);

		freed += old.nbytes;
		chunk_free(&old);
	}
	s->chunks[s->n++] = *c;
	s->nbytes += c->nbytes;
	pthread_mutex_unlock(&s->lock);
	return freed;
}

bool spare_take(struct spare *s, uint64_t nbytes, struct chunk *out)
{
	uint32_t best = SPARE_MAX;

	if (nbytes < KEEP_MIN)
		return false;
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = s->n; i-- > 0;) {
		uint64_t have = s->chunks[i].nbytes;

		if (have < nbytes || have - nbytes > nbytes / 4)
			continue;
		if (best == SPARE_MAX || have < s->chunks[best].nbytes)
			best = i;
	}
	if (best < SPARE_MAX)
		*out = remove_at(s, best);
	pthread_mutex_unlock(&s->lock);
	return best < SPARE_MAX;
}

bool spare_drop(struct spare *s, struct chunk *out)
{
	bool any;

	pthread_mutex_lock(&s->lock);
	any = s->n > 0;
	if (any)
		*out = remove_at(s, 0);
	pthread_mutex_unlock(&s->lock);
	return any;
}

uint64_t spare_nbytes(struct spare *s)
{
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	n = s->nbytes;
	pthread_mutex_unlock(&s->lock);
	return n;
}
