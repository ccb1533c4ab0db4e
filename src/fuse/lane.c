/* SPDX-License-Identifier: MIT */
/* lane - see fuse/lane.h. */
#include "fuse/lane.h"

#include <pthread.h>
#include <stdlib.h>

struct lane {
	pthread_mutex_t lock;
	pthread_cond_t arrived;
	struct job *first, *last; /* waiting */
	struct job *running;
	pthread_t *threads;
	unsigned nthreads, nidle, max_threads;
	bool is_closed;
};

struct lane *lane_new(unsigned max_threads)
{
	struct lane *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->threads = calloc(max_threads, sizeof(*l->threads));
	if (!l->threads) {
		free(l);
		return NULL;
	}
	l->max_threads = max_threads;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->arrived, NULL);
	return l;
}

static struct job *take_first(struct lane *l)
{
	struct job *j = l->first;

	if (!j)
		return NULL;
	l->first = j->next;
	if (!l->first)
		l->last = NULL;
	j->prev = NULL;
	j->next = l->running;
	if (l->running)
		l->running->prev = j;
	l->running = j;
	return j;
}

static void forget_running(struct lane *l, struct job *j)
{
	if (j->prev)
		j->prev->next = j->next;
	else
		l->running = j->next;
	if (j->next)
		j->next->prev = j->prev;
}

static void *serve(void *arg)
{
	struct lane *l = arg;

	pthread_mutex_lock(&l->lock);
	for (;;) {
		struct job *j = take_first(l);

		if (!j && l->is_closed)
			break;
		if (!j) {
			l->nidle++;
			pthread_cond_wait(&l->arrived, &l->lock);
			l->nidle--;
			continue;
		}
		pthread_mutex_unlock(&l->lock);
		j->work(j);
		pthread_mutex_lock(&l->lock);
		forget_running(l, j);
		free(j);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

bool lane_add(struct lane *l, struct job *j)
{
	bool added = true;

	pthread_mutex_lock(&l->lock);
	if (l->nidle == 0 && l->nthreads < l->max_threads &&
	    pthread_create(&l->threads[l->nthreads], NULL, serve, l) == 0)
		l->nthreads++;
	if (l->nthreads == 0 || l->is_closed) {
		added = false;
	} else {
		j->next = NULL;
		if (l->last)
			l->last->next = j;
		else
			l->first = j;
		l->last = j;
		pthread_cond_signal(&l->arrived);
	}
	pthread_mutex_unlock(&l->lock);
	return added;
}

static void cancel_all(struct job *j)
{
	for (; j; j = j->next)
		atomic_store(&j->cancel, true);
}

void lane_free(struct lane *l)
{
	unsigned i;

	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->is_closed = true;
	cancel_all(l->first);
	cancel_all(l->running);
	pthread_cond_broadcast(&l->arrived);
	pthread_mutex_unlock(&l->lock);
	for (i = 0; i < l->nthreads; i++)
		pthread_join(l->threads[i], NULL);
	pthread_cond_destroy(&l->arrived);
	pthread_mutex_destroy(&l->lock);
	free(l->threads);
	free(l);
}
