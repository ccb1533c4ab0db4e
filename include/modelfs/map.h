/* SPDX-License-Identifier: MIT */
/*
 * map - a hash from byte strings to 64-bit numbers, keyed with a random seed
 * so that names in a file cannot be chosen to collide.
 *
 * Keys are borrowed: they must live as long as the map.
 */
#ifndef MODELFS_MAP_H
#define MODELFS_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map;

/* NULL when out of memory. */
struct map *map_new(void);
void map_free(struct map *m);

size_t map_count(const struct map *m);

/* True, and *value set, when the key is there. */
bool map_get(const struct map *m, const void *key, size_t len,
	     uint64_t *value);

/* 0; -EEXIST when the key is there already (nothing changes); -ENOMEM. */
int map_add(struct map *m, const void *key, size_t len, uint64_t value);

/* Adds, or replaces the value under the key that is there.  0 or -ENOMEM. */
int map_set(struct map *m, const void *key, size_t len, uint64_t value);

#endif
