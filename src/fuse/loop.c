/* SPDX-License-Identifier: MIT */
/* loop - see fuse/loop.h. */
#include "fuse/loop.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "fuse/serve.h"

struct loop {
	struct fuse_session *se;
	pthread_mutex_t lock;
	pthread_t *threads;
	unsigned nthreads, max_threads, nidle, nended;
	int error;
	sem_t ended; /* posted by each thread that ends */
};

static const struct timespec a_moment = {.tv_nsec = 10000000};

/* Interrupts a thread that waits for a request; there is nothing to do. */
static void wake(int signal)
{
	(void)signal;
}

/* ---- the threads ---- */

static void *answer(void *arg);

/* lock held.  Signals are for the thread that waits for the others. */
static int add_thread(struct loop *l)
{
	sigset_t block, before;
	int rc;

	sigfillset(&block);
	sigdelset(&block, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &block, &before);
	rc = pthread_create(&l->threads[l->nthreads], NULL, answer, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0)
		l->nthreads++;
	return -rc;
}

/* False: the session is over. */
static bool take_request(struct loop *l, struct fuse_buf *buf)
{
	int n = 0;

	while (!fuse_session_exited(l->se)) {
		n = fuse_session_receive_buf(l->se, buf);
		if (n == -ENOMEM)
			nanosleep(&a_moment, NULL);
		else if (n != -EINTR && n != -EAGAIN)
			break;
	}
	if (n < 0 && n != -EINTR && n != -EAGAIN && n != -ENOMEM) {
		pthread_mutex_lock(&l->lock);
		l->error = n;
		pthread_mutex_unlock(&l->lock);
	}
	return n > 0 && !fuse_session_exited(l->se);
}

static void *answer(void *arg)
{
	struct loop *l = arg;
	struct fuse_buf buf = {0};

	pthread_mutex_lock(&l->lock);
	l->nidle++;
	pthread_mutex_unlock(&l->lock);
	while (take_request(l, &buf)) {
		pthread_mutex_lock(&l->lock);
		if (--l->nidle == 0 && l->nthreads < l->max_threads)
			add_thread(l);
		pthread_mutex_unlock(&l->lock);
		fuse_session_process_buf(l->se, &buf);
		pthread_mutex_lock(&l->lock);
		l->nidle++;
		pthread_mutex_unlock(&l->lock);
	}
	free(buf.mem);
	fuse_session_exit(l->se);
	pthread_mutex_lock(&l->lock);
	l->nended++;
	pthread_mutex_unlock(&l->lock);
	sem_post(&l->ended);
	return NULL;
}

/* ---- the end ---- */

static bool have_all_ended(struct loop *l)
{
	bool all;

	pthread_mutex_lock(&l->lock);
	all = l->nended == l->nthreads;
	pthread_mutex_unlock(&l->lock);
	return all;
}

/* A thread may be about to wait when it is woken: again, until all ended. */
static void end_threads(struct loop *l)
{
	unsigned i;

	while (!have_all_ended(l)) {
		pthread_mutex_lock(&l->lock);
		for (i = 0; i < l->nthreads; i++)
			pthread_kill(l->threads[i], SIGUSR1);
		pthread_mutex_unlock(&l->lock);
		nanosleep(&a_moment, NULL);
	}
	for (i = 0; i < l->nthreads; i++)
		pthread_join(l->threads[i], NULL);
}

int loop_run(struct fuse_session *se, unsigned max_threads)
{
	struct loop l = {.se = se, .max_threads = max_threads};
	const struct sigaction action = {.sa_handler = wake};
	int rc;

	l.threads = calloc(max_threads, sizeof(*l.threads));
	if (!l.threads)
		return -ENOMEM;
	pthread_mutex_init(&l.lock, NULL);
	sem_init(&l.ended, 0, 0);
	sigaction(SIGUSR1, &action, NULL);
	pthread_mutex_lock(&l.lock);
	rc = add_thread(&l);
	pthread_mutex_unlock(&l.lock);
	/* A signal ends the wait, and has ended the session then. */
	while (rc == 0 && !fuse_session_exited(se))
		sem_wait(&l.ended);
	end_threads(&l);
	sem_destroy(&l.ended);
	pthread_mutex_destroy(&l.lock);
	free(l.threads);
	return rc < 0 ? rc : l.error;
}
