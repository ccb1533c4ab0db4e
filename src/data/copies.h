/* SPDX-License-Identifier: MIT */
/*
 * copies - what was inflated as a whole, kept within a bound for the process:
 * beyond COPIES_MAX bytes, the copy that was not used for longest is dropped
 * (and made again when it is wanted).
 *
 * The list is the one global state that is no constant; it has its own mutex,
 * the last in the lock order.
 */
#ifndef DATA_COPIES_H
#define DATA_COPIES_H

#include <stdint.h>

struct blob;

#define COPIES_MAX ((uint64_t)256 << 20)

/* Embedded in its user, zeroed at first. */
struct copy_slot {
	struct copy_slot *newer;
	struct copy_slot *older;
	struct blob *copy; /* NULL: not in the list */
};

/* A new reference to the copy, now the one used last; or NULL. */
struct blob *copies_get(struct copy_slot *s);
/* Takes copy; may drop others. */
void copies_put(struct copy_slot *s, struct blob *copy);
/* To be called before the slot goes away. */
void copies_drop(struct copy_slot *s);
/* Bytes kept now. */
uint64_t copies_nbytes(void);

#endif
