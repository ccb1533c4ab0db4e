/* SPDX-License-Identifier: MIT */
/*
 * mutate - damages a file as chance, a bad disk or an attacker would: bits,
 * lengths in all usual forms, pieces cut, moved, repeated, or taken from
 * another file.  The same numbers give the same damage.
 */
#ifndef TESTS_FUZZ_MUTATE_H
#define TESTS_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

/* What a mutant may have more than the file it comes from. */
#define MUTANT_GROWTH 4096

struct mutant {
	uint8_t *data; /* room for cap bytes; the caller's */
	size_t len, cap;
	uint64_t random; /* state of the generator; any number to begin with */
};

uint64_t mutant_random(struct mutant *m);
/* Less than n; 0 for n = 0. */
size_t mutant_pick(struct mutant *m, size_t n);

/* One to a few changes; other: another file of the same format. */
void mutate(struct mutant *m, const uint8_t *other, size_t nother);

/*
 * Makes the checksums right again that would hide the damage from most of the
 * reader: of stored members of a zip archive, of the blocks of a table.
 */
void mutant_mend(struct mutant *m);

#endif
