/* SPDX-License-Identifier: MIT */
/*
 * map - see modelfs/map.h.  Open addressing with linear probing; the hash is
 * a keyed multiply-and-fold over 8-byte words, seeded from the kernel.
 */
#include "modelfs/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct slot {
	const void *key; /* NULL: free */
	size_t len;
	uint64_t hash;
	uint64_t value;
};

struct map {
	struct slot *slots;
	size_t nslots; /* a power of two */
	size_t count;
	uint64_t seed[2];
};

static uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t m = (__uint128_t)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t hash_bytes(const struct map *m, const void *key, size_t len)
{
	const unsigned char *p = key;
	uint64_t h = m->seed[0] ^ len;

	while (len > 0) {
		size_t n = len < 8 ? len : 8;
		uint64_t w = 0;

		memcpy(&w, p, n);
		h = fold(h ^ w, m->seed[1] | 1);
		p += n;
		len -= n;
	}
	return fold(h ^ m->seed[1], 0x9e3779b97f4a7c15u);
}

struct map *map_new(void)
{
	struct map *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	if (getrandom(m->seed, sizeof(m->seed), GRND_NONBLOCK) < 0)
		m->seed[0] = (uint64_t)(uintptr_t)m;
	return m;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	free(m->slots);
	free(m);
}

size_t map_count(const struct map *m)
{
	return m->count;
}

/* The slot of this key, or the free one where it belongs. */
static struct slot *find_slot(const struct map *m, const void *key, size_t len,
			      uint64_t hash)
{
	size_t i = hash & (m->nslots - 1);

	for (;;) {
		struct slot *s = &m->slots[i];

		if (!s->key)
			return s;
		if (s->hash == hash && s->len == len &&
		    memcmp(s->key, key, len) == 0)
			return s;
		i = (i + 1) & (m->nslots - 1);
	}
}

static int grow(struct map *m)
{
	size_t n = m->nslots ? m->nslots * 2 : 16;
	struct map next = *m;
	size_t i;

	next.slots = calloc(n, sizeof(*next.slots));
	if (!next.slots)
		return -ENOMEM;
	next.nslots = n;
	for (i = 0; i < m->nslots; i++) {
		struct slot *s = &m->slots[i];

		if (s->key)
			*find_slot(&next, s->key, s->len, s->hash) = *s;
	}
	free(m->slots);
	*m = next;
	return 0;
}

bool map_get(const struct map *m, const void *key, size_t len, uint64_t *value)
{
	const struct slot *s;

	if (m->nslots == 0)
		return false;
	s = find_slot(m, key, len, hash_bytes(m, key, len));
	if (!s->key)
		return false;
	*value = s->value;
	return true;
}

static int put(struct map *m, const void *key, size_t len, uint64_t value,
	       bool replace)
{
	uint64_t hash = hash_bytes(m, key, len);
	struct slot *s;

	if (m->count * 4 >= m->nslots * 3) {
		int rc = grow(m);

		if (rc < 0)
			return rc;
	}
	s = find_slot(m, key, len, hash);
	if (s->key && !replace)
		return -EEXIST;
	if (!s->key) {
		*s = (struct slot){.key = key, .len = len, .hash = hash};
		m->count++;
	}
	s->value = value;
	return 0;
}

int map_add(struct map *m, const void *key, size_t len, uint64_t value)
{
	return put(m, key, len, value, false);
}

int map_set(struct map *m, const void *key, size_t len, uint64_t value)
{
	return put(m, key, len, value, true);
}
