/* SPDX-License-Identifier: MIT */
#include "limits.h"

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS_MAX 64
#define ROUNDS 5
#define STEPS 2000000
#define BUFFER ((size_t)64 << 20)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The greatest rate of some rounds; fn returns the work of one thread. */
typedef double work_fn(void *arg);

struct job {
	work_fn *fn;
	void *arg;
	double work;
};

static void *run_job(void *arg)
{
	struct job *j = arg;

	j->work = j->fn(j->arg);
	return NULL;
}

static double best_rate(unsigned threads, work_fn *fn, void *const args[])
{
	double best = 0;

	for (int r = 0; r < ROUNDS; r++) {
		struct job jobs[THREADS_MAX];
		pthread_t ids[THREADS_MAX];
		double start = now(), work = 0;
		unsigned n = 0;

		for (unsigned i = 0; i < threads; i++) {
			jobs[i] = (struct job){fn, args ? args[i] : NULL, 0};
			if (pthread_create(&ids[i], NULL, run_job, &jobs[i]))
				break;
			n++;
		}
		for (unsigned i = 0; i < n; i++) {
			pthread_join(ids[i], NULL);
			work += jobs[i].work;
		}
		best = fmax(best, work / (now() - start));
	}
	return best;
}

static unsigned bounded(unsigned threads)
{
	return threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
}

#if defined(__x86_64__)
#define CHAINS 12
#define FUSED(NAME, TARGET, LANES)                                           \
	typedef float vec_##NAME __attribute__((vector_size(4 * LANES)));    \
	__attribute__((target(TARGET))) static double fused_##NAME(void *p)  \
	{                                                                    \
		vec_##NAME x, y, acc[CHAINS];                                \
		float one = 1, half = 0.5f;                                  \
		(void)p;                                                     \
		__asm__ volatile("" : "+m"(one), "+m"(half));                \
		x = half - (vec_##NAME){0};                                  \
		y = one - (vec_##NAME){0};                                   \
		for (int i = 0; i < CHAINS; i++)                             \
			acc[i] = y;                                          \
		for (long n = 0; n < STEPS; n++) {                           \
			_Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; \
						      i++)                   \
			{                                                    \
				acc[i] = acc[i] * x + y;                     \
			}                                                    \
		}                                                            \
		for (int i = 1; i < CHAINS; i++)                             \
			acc[0] += acc[i];                                    \
		__asm__ volatile("" : : "m"(acc[0]));                        \
		return 2.0 * LANES * CHAINS * STEPS;                         \
	}
FUSED(avx512, "avx512f,fma", 16)
FUSED(avx2, "avx2,fma", 8)

double limit_flops(unsigned threads)
{
	__builtin_cpu_init();
	threads = bounded(threads);
	if (__builtin_cpu_supports("avx512f"))
		return best_rate(threads, fused_avx512, NULL);
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return best_rate(threads, fused_avx2, NULL);
	return 0;
}
#else
double limit_flops(unsigned threads)
{
	(void)threads;
	return 0;
}
#endif

static double read_all(void *p)
{
	const uint64_t *v = p;
	uint64_t sum[8] = {0};

	for (size_t i = 0; i < BUFFER / sizeof(*v); i += 8) {
		for (int k = 0; k < 8; k++)
			sum[k] += v[i + (size_t)k];
	}
	__asm__ volatile("" : : "m"(sum));
	return (double)BUFFER;
}

double limit_bytes(unsigned threads)
{
	void *args[THREADS_MAX] = {0};
	unsigned n = 0;
	double rate;

	for (threads = bounded(threads); n < threads; n++) {
		args[n] = malloc(BUFFER);
		if (!args[n])
			break;
		memset(args[n], 1, BUFFER);
	}
	rate = n == threads ? best_rate(threads, read_all, args) : 0;
	for (unsigned i = 0; i < n; i++)
		free(args[i]);
	return rate;
}
