/* SPDX-License-Identifier: MIT */
/*
 * pool - a few threads that share the chunks of one loop at a time.
 *
 * `busy` says whose loop it is: a second caller finds it taken and works
 * alone.  Everything else in struct pool changes under `lock`; `epoch` and
 * `active` are atomic only so that they can be spun on for a moment before
 * sleeping.
 */
#include "modelfs/kernel.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SPIN_NS 50000
#define THREADS_MAX 256

/* Chunks are dealt out to so many at most. */
#define HANDS_MAX 16

struct job {
	const struct kernel *kernel;
	kernel_fn *fn;
	void *ctx;
	size_t n, grain, nchunks;
	/*
	 * Each thread begins with a part of its own, so that what it made in
	 * one loop it finds in its cache in the next, then helps others.
	 */
	unsigned nhands;
	atomic_size_t next[HANDS_MAX]; /* chunk */
};

struct hand {
	struct pool *pool;
	size_t id; /* 0 is the caller */
	pthread_t thread;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t wake, idle;
	atomic_bool busy;
	atomic_uint epoch;  /* grows with every job */
	atomic_uint active; /* workers inside the job */
	struct job *job;    /* NULL: none to join */
	bool quit;
	unsigned nworkers;
	struct hand workers[];
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* Waits a moment for *a to become other than (or equal to) v. */
static void spin(atomic_uint *a, unsigned v, bool until_equal)
{
	uint64_t end = now_ns() + SPIN_NS;

	do {
		for (int i = 0; i < 64; i++) {
			if ((atomic_load(a) == v) == until_equal)
				return;
			pause_cpu();
		}
	} while (now_ns() < end);
}

/* Where the part of a hand begins. */
static size_t part_of(const struct job *j, size_t hand)
{
	return j->nchunks * hand / j->nhands;
}

/* False when stopped. */
static bool work_on(struct job *j, size_t hand)
{
	size_t end = part_of(j, hand + 1);

	for (;;) {
		size_t i = atomic_fetch_add(&j->next[hand], 1), at;

		if (kernel_stopped(j->kernel))
			return false;
		if (i >= end)
			return true;
		at = i * j->grain;
		j->fn(j->ctx, at, j->n - at < j->grain ? j->n : at + j->grain);
	}
}

/* id: of the thread. */
static void work(struct job *j, size_t id)
{
	for (size_t i = 0; i < j->nhands; i++)
		if (!work_on(j, (id + i) % j->nhands))
			return;
}

static void start(struct job *j, size_t nthreads)
{
	j->nchunks = j->n / j->grain + (j->n % j->grain != 0);
	j->nhands = (unsigned)(nthreads < HANDS_MAX ? nthreads : HANDS_MAX);
	for (size_t i = 0; i < j->nhands; i++)
		atomic_init(&j->next[i], part_of(j, i));
}

static void *worker(void *arg)
{
	struct hand *me = arg;
	struct pool *p = me->pool;
	unsigned seen = 0;

	for (;;) {
		struct job *j;

		spin(&p->epoch, seen, false);
		pthread_mutex_lock(&p->lock);
		while (atomic_load(&p->epoch) == seen && !p->quit)
			pthread_cond_wait(&p->wake, &p->lock);
		seen = atomic_load(&p->epoch);
		j = p->job;
		if (j)
			atomic_fetch_add(&p->active, 1);
		if (p->quit) {
			pthread_mutex_unlock(&p->lock);
			return NULL;
		}
		pthread_mutex_unlock(&p->lock);
		if (!j)
			continue;
		work(j, me->id);
		pthread_mutex_lock(&p->lock);
		if (atomic_fetch_sub(&p->active, 1) == 1)
			pthread_cond_signal(&p->idle);
		pthread_mutex_unlock(&p->lock);
	}
}

static unsigned count_threads(unsigned wanted)
{
	long n = wanted ? (long)wanted : sysconf(_SC_NPROCESSORS_ONLN);

	if (n < 1)
		return 1;
	return n > THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

/*
 * It is held for a few instructions, by who is running: to sleep because of
 * that would take longer than most loops.
 */
static void init_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
#ifdef __GLIBC__
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
	pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

struct pool *pool_new(unsigned nthreads)
{
	unsigned n = count_threads(nthreads) - 1;
	struct pool *p = calloc(1, sizeof(*p) + n * sizeof(p->workers[0]));
	sigset_t all, old;

	if (!p)
		return NULL;
	init_lock(&p->lock);
	pthread_cond_init(&p->wake, NULL);
	pthread_cond_init(&p->idle, NULL);
	/* Signals are for the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned i = 0; i < n; i++) {
		struct hand *h = &p->workers[i];

		h->pool = p;
		h->id = i + 1;
		if (pthread_create(&h->thread, NULL, worker, h) != 0)
			break;
		p->nworkers++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return p;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->quit = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nworkers; i++)
		pthread_join(p->workers[i].thread, NULL);
	pthread_cond_destroy(&p->wake);
	pthread_cond_destroy(&p->idle);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

unsigned pool_nthreads(const struct pool *p)
{
	return p ? p->nworkers + 1 : 1;
}

static bool claim(struct pool *p)
{
	bool free_state = false;

	return atomic_compare_exchange_strong(&p->busy, &free_state, true);
}

static void share(struct pool *p, struct job *j)
{
	pthread_mutex_lock(&p->lock);
	p->job = j;
	atomic_fetch_add(&p->epoch, 1);
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	work(j, 0);
	/* Nobody joins from here on; who is inside is waited for. */
	pthread_mutex_lock(&p->lock);
	p->job = NULL;
	pthread_mutex_unlock(&p->lock);
	spin(&p->active, 0, true);
	pthread_mutex_lock(&p->lock);
	while (atomic_load(&p->active) > 0)
		pthread_cond_wait(&p->idle, &p->lock);
	pthread_mutex_unlock(&p->lock);
	atomic_store(&p->busy, false);
}

void kernel_for(const struct kernel *k, size_t n, size_t grain, kernel_fn *fn,
		void *ctx)
{
	struct job j = {.kernel = k,
			.fn = fn,
			.ctx = ctx,
			.n = n,
			.grain = grain ? grain : 1};

	if (n == 0)
		return;
	if (n > j.grain && k->pool && k->pool->nworkers > 0 && claim(k->pool)) {
		start(&j, k->pool->nworkers + 1);
		share(k->pool, &j);
	} else {
		start(&j, 1);
		work(&j, 0);
	}
}
