/* SPDX-License-Identifier: MIT */
/*
 * spare - memory of results that are gone, kept for the next ones: what comes
 * fresh from the kernel costs a fault for every page.
 */
#ifndef RUN_SPARE_H
#define RUN_SPARE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define SPARE_MAX 1024

/* Aligned to 64; its contents are anything. */
struct chunk {
	void *p;
	uint64_t nbytes;
};

struct spare {
	pthread_mutex_t lock; /* innermost */
	uint64_t nbytes, limit;
	uint32_t n;
	struct chunk chunks[SPARE_MAX]; /* the newest last */
};

bool chunk_new(uint64_t nbytes, struct chunk *out);
void chunk_free(struct chunk *c);

void spare_init(struct spare *s, uint64_t limit);
/* Frees what is left. */
void spare_fini(struct spare *s);
/* Takes c.  Returns how many bytes were freed, of this one or older ones. */
uint64_t spare_put(struct spare *s, struct chunk *c);
/* The best fit for nbytes; false when nothing fits well. */
bool spare_take(struct spare *s, uint64_t nbytes, struct chunk *out);
uint64_t spare_nbytes(struct spare *s);
/* Gives up the oldest; false when there is none. */
bool spare_drop(struct spare *s, struct chunk *out);

#endif
