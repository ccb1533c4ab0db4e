/* SPDX-License-Identifier: MIT */
/* Chunks of a loop: each once, split alike for any number of threads. */
#include <stdlib.h>

#include "modelfs/kernel.h"
#include "../unit/check.h"

#define N 100003
#define GRAIN 100

struct marks {
	uint8_t count[N];
	uint32_t begin[N];
	atomic_bool *stop;
};

static void mark(void *ctx, size_t begin, size_t end)
{
	struct marks *m = ctx;

	for (size_t i = begin; i < end; i++) {
		m->count[i]++;
		m->begin[i] = (uint32_t)begin;
	}
	if (m->stop)
		atomic_store(m->stop, true);
}

static void check_marks(const struct kernel *k)
{
	struct marks *m = calloc(1, sizeof(*m));
	size_t wrong = 0;

	kernel_for(k, N, GRAIN, mark, m);
	for (size_t i = 0; i < N; i++)
		wrong += m->count[i] != 1 || m->begin[i] != i / GRAIN * GRAIN;
	CHECK_INT(wrong, 0);
	free(m);
}

TEST(every_item_once)
{
	static const unsigned counts[] = {1, 2, 3, 8};

	check_marks(&(struct kernel){0});
	for (size_t i = 0; i < 4; i++) {
		struct pool *p = pool_new(counts[i]);

		CHECK_INT(pool_nthreads(p), counts[i]);
		for (int round = 0; round < 50; round++)
			check_marks(&(struct kernel){.pool = p});
		pool_free(p);
	}
}

TEST(stop_ends_the_loop)
{
	struct marks *m = calloc(1, sizeof(*m));
	struct pool *p = pool_new(2);
	atomic_bool stop = false;
	struct kernel k = {.pool = p, .stop = &stop};
	size_t done = 0;

	m->stop = &stop;
	kernel_for(&k, N, GRAIN, mark, m);
	for (size_t i = 0; i < N; i++)
		done += m->count[i];
	CHECK(done > 0 && done < N);
	pool_free(p);
	free(m);
}

static void nest(void *ctx, size_t begin, size_t end)
{
	const struct kernel *k = ctx;

	for (size_t i = begin; i < end; i++)
		check_marks(k);
}

TEST(a_loop_inside_a_loop)
{
	struct pool *p = pool_new(3);
	struct kernel k = {.pool = p};

	kernel_for(&k, 8, 1, nest, &k);
	pool_free(p);
}

int main(void)
{
	RUN(every_item_once);
	RUN(stop_ends_the_loop);
	RUN(a_loop_inside_a_loop);
	return check_result();
}
