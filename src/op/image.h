/* SPDX-License-Identifier: MIT */
/* image - pictures in files, for ImageDecoder. */
#ifndef OP_IMAGE_H
#define OP_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct err;

#define IMAGE_SIDE_MAX 65535

struct image {
	uint32_t width, height;
	uint8_t *
		rgb; /* three bytes a pixel, from the top; room of the caller's */
};

struct image_format {
	const char *name;
	/* 1: it is one, and width and height are set; 0: it is none. */
	int (*size)(const uint8_t *p, size_t n, struct image *out,
		    struct err *e);
	/* Fills rgb.  scratch has image_scratch bytes. */
	int (*decode)(const uint8_t *p, size_t n, const struct image *im,
		      uint8_t *scratch, struct err *e);
};

/* Bytes of scratch memory that any format may need. */
static inline uint64_t image_scratch(const struct image *im)
{
	return ((uint64_t)im->width * 8 + 1) * im->height;
}

extern const struct image_format image_bmp, image_png, image_pnm;

#endif
