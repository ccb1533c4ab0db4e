/* SPDX-License-Identifier: MIT */
/*
 * seeds - small model files to damage: every file and folder beneath a path
 * that some format claims.  A folder X.files is one seed, too: its file X is
 * opened, and finds the others beside it.
 */
#ifndef TESTS_FUZZ_SEEDS_H
#define TESTS_FUZZ_SEEDS_H

#include <stddef.h>
#include <stdint.h>

/* What is larger is no seed. */
#define SEED_BYTES_MAX 65536
#define SEED_FILES_MAX 12
#define SEEDS_MAX 16384

struct seed_file {
	char *name; /* beneath the seed's folder */
	uint8_t *data;
	size_t len;
};

struct seed {
	struct seed_file files[SEED_FILES_MAX];
	size_t nfiles;
	const char *opened; /* one of the names; "": the folder itself */
	size_t format;	    /* index in formats[] */
	char *path;	    /* where it came from */
};

struct seeds {
	struct seed *all;
	size_t n;
	size_t most; /* bytes of each file; 0: SEED_BYTES_MAX */
};

/* Adds what lies at path; -1 when it cannot be read at all. */
int seeds_find(struct seeds *s, const char *path);
void seeds_free(struct seeds *s);

#endif
