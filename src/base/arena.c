/* SPDX-License-Identifier: MIT */
/* arena - see modelfs/arena.h: a list of chunks, each filled from the front. */
#include "modelfs/arena.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 32768
#define ALIGNMENT 16

struct chunk {
	struct chunk *next;
	size_t used;
	size_t size;
	_Alignas(ALIGNMENT) unsigned char data[];
};

struct arena {
	struct chunk *head;
	uint64_t nbytes;
};

struct arena *arena_new(void)
{
	return calloc(1, sizeof(struct arena));
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	while (a->head) {
		struct chunk *next = a->head->next;

		free(a->head);
		a->head = next;
	}
	free(a);
}

static struct chunk *add_chunk(struct arena *a, size_t size)
{
	struct chunk *c = calloc(1, sizeof(*c) + size);

	if (!c)
		return NULL;
	c->size = size;
	/* A large allocation must not hide the room left in the first chunk. */
	if (a->head && size > CHUNK_BYTES) {
		c->next = a->head->next;
		a->head->next = c;
	} else {
		c->next = a->head;
		a->head = c;
	}
	return c;
}

void *arena_alloc(struct arena *a, size_t nbytes)
{
	struct chunk *c = a->head;
	size_t want;
	void *p;

	if (nbytes > SIZE_MAX / 2)
		return NULL;
	want = (nbytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	if (want == 0)
		want = ALIGNMENT;
	if (!c || c->size - c->used < want)
		c = add_chunk(a, want > CHUNK_BYTES ? want : CHUNK_BYTES);
	if (!c)
		return NULL;
	p = c->data + c->used;
	c->used += want;
	a->nbytes += want;
	return p;
}

void *arena_array(struct arena *a, size_t n, size_t elem_size)
{
	size_t nbytes;

	if (__builtin_mul_overflow(n, elem_size, &nbytes))
		return NULL;
	return arena_alloc(a, nbytes);
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *p = arena_alloc(a, len + 1);

	if (!p)
		return NULL;
	if (len > 0)
		memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

uint64_t arena_nbytes(const struct arena *a)
{
	return a->nbytes;
}
