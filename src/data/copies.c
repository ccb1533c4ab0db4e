/* SPDX-License-Identifier: MIT */
/* copies - see data/copies.h. */
#include "data/copies.h"

#include <pthread.h>
#include <stddef.h>

#include "modelfs/blob.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct copy_slot *newest, *oldest;
static uint64_t total;

static void unlink_slot(struct copy_slot *s)
{
	*(s->newer ? &s->newer->older : &newest) = s->older;
	*(s->older ? &s->older->newer : &oldest) = s->newer;
	s->newer = NULL;
	s->older = NULL;
}

static void link_newest(struct copy_slot *s)
{
	s->older = newest;
	*(newest ? &newest->newer : &oldest) = s;
	newest = s;
}

/* Returns the copy, for the caller to drop without the lock. */
static struct blob *remove_slot(struct copy_slot *s)
{
	struct blob *copy = s->copy;

	if (!copy)
		return NULL;
	unlink_slot(s);
	total -= copy->size;
	s->copy = NULL;
	return copy;
}

struct blob *copies_get(struct copy_slot *s)
{
	struct blob *copy;

	pthread_mutex_lock(&lock);
	copy = blob_ref(s->copy);
	if (copy && s != newest) {
		unlink_slot(s);
		link_newest(s);
	}
	pthread_mutex_unlock(&lock);
	return copy;
}

void copies_put(struct copy_slot *s, struct blob *copy)
{
	pthread_mutex_lock(&lock);
	blob_unref(remove_slot(s));
	while (oldest && copy->size > COPIES_MAX - total)
		blob_unref(remove_slot(oldest));
	s->copy = copy;
	total += copy->size;
	link_newest(s);
	pthread_mutex_unlock(&lock);
}

void copies_drop(struct copy_slot *s)
{
	struct blob *copy;

	pthread_mutex_lock(&lock);
	copy = remove_slot(s);
	pthread_mutex_unlock(&lock);
	blob_unref(copy);
}

uint64_t copies_nbytes(void)
{
	uint64_t n;

	pthread_mutex_lock(&lock);
	n = total;
	pthread_mutex_unlock(&lock);
	return n;
}
