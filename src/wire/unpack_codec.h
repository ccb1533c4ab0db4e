/* SPDX-License-Identifier: MIT */
/* unpack_codec - what a way to compress has to offer; one file for each. */
#ifndef WIRE_UNPACK_CODEC_H
#define WIRE_UNPACK_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* As many bytes as a header needs to be known. */
#define UNPACK_HEAD 13

/* What is left to be read and to be written; a step moves both on. */
struct unpack_io {
	const uint8_t *in;
	size_t nin;
	uint8_t *out;
	size_t nout;
};

struct unpack_codec {
	bool (*is_head)(const uint8_t *p, size_t len);
	/* NULL: out of memory. */
	void *(*open)(void);
	/* 1: the stream is complete, 0: not yet; EIO when it is damaged. */
	int (*step)(void *state, struct unpack_io *io, struct err *e);
	void (*close)(void *state);
};

extern const struct unpack_codec unpack_zlib;
extern const struct unpack_codec unpack_bzip2;
extern const struct unpack_codec unpack_lzma;

#endif
