/* SPDX-License-Identifier: MIT */
/*
 * fuzz - what the fuzz targets share.
 *
 * Each target is one file with LLVMFuzzerTestOneInput.  Configured with
 * --enable-fuzzers (clang) it is linked with libFuzzer; otherwise with
 * replay.c, which runs it over the seeds of corpus/NAME in `make check`.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

struct format;
struct model;
struct source;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes as a source; never NULL. */
struct source *fuzz_source(const uint8_t *data, size_t size);

/*
 * Reads the bytes as a model of this format, strictly and leniently, and
 * looks at everything that came out of it.
 */
void fuzz_format(const struct format *f, const uint8_t *data, size_t size);

/*
 * Takes a sealed model and walks its tree as a user would: what is listed is
 * found, has attributes, and can be opened or says why not.
 */
void fuzz_walk(struct model *m);
/* The same with a run of its graph; nothing in it is computed. */
void fuzz_walk_run(struct model *m);

#endif
