/* SPDX-License-Identifier: MIT */
/*
 * arena - memory that lives as long as its owner and is freed at once.
 *
 * Not thread-safe while it grows; a model's arena is frozen by model_seal.
 */
#ifndef MODELFS_ARENA_H
#define MODELFS_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena;

/* NULL when out of memory. */
struct arena *arena_new(void);
void arena_free(struct arena *a);

/* Zeroed, aligned to 16 bytes.  NULL when out of memory. */
void *arena_alloc(struct arena *a, size_t nbytes);

/* n elements of elem_size bytes, zeroed; NULL also when n * elem_size wraps. */
void *arena_array(struct arena *a, size_t n, size_t elem_size);

/* A copy of len bytes with a NUL behind; s need not be terminated. */
char *arena_strndup(struct arena *a, const char *s, size_t len);

/* Bytes handed out so far. */
uint64_t arena_nbytes(const struct arena *a);

#endif
