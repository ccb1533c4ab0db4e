/* SPDX-License-Identifier: MIT */
/* image_png - PNG: all colour types and depths, not interlaced. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/inflate.h"
#include "op/image.h"

static const uint8_t magic[8] = "\x89PNG\r\n\x1a\n";

enum colour {
	COLOUR_GREY = 0,
	COLOUR_RGB = 2,
	COLOUR_PALETTE = 3,
	COLOUR_GREY_ALPHA = 4,
	COLOUR_RGB_ALPHA = 6
};

struct png {
	enum colour colour;
	unsigned depth, channels;
	const uint8_t *palette; /* of ncolours entries */
	size_t ncolours;
	uint8_t *packed; /* all IDAT in one; owned */
	size_t npacked;
};

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static int png_size(const uint8_t *p, size_t n, struct image *out,
		    struct err *e)
{
	if (n < 33 || memcmp(p, magic, 8) != 0)
		return 0;
	if (memcmp(p + 12, "IHDR", 4) != 0 || be32(p + 8) != 13)
		return err_set(e, EINVAL, "a PNG without a header");
	out->width = be32(p + 16);
	out->height = be32(p + 20);
	if (out->width < 1 || out->height < 1 || out->width > IMAGE_SIDE_MAX ||
	    out->height > IMAGE_SIDE_MAX)
		return err_set(e, EINVAL, "a PNG of %u x %u pixels", out->width,
			       out->height);
	return 1;
}

static int read_kind(const uint8_t *p, struct png *g, struct err *e)
{
	static const uint8_t channels[7] = {1, 0, 3, 1, 2, 0, 4};
	unsigned depth = p[24], colour = p[25];

	if (colour > 6 || channels[colour] == 0 ||
	    (depth != 1 && depth != 2 && depth != 4 && depth != 8 &&
	     depth != 16) ||
	    (depth < 8 && channels[colour] > 1) ||
	    (depth == 16 && colour == COLOUR_PALETTE))
		return err_set(e, EINVAL, "a PNG of an unknown kind");
	if (p[26] != 0 || p[27] != 0 || p[28] != 0)
		return err_set(e, EOPNOTSUPP, "an interlaced PNG");
	g->colour = (enum colour)colour;
	g->depth = depth;
	g->channels = channels[colour];
	return 0;
}

/* Collects the parts of the stream, and the palette. */
static int read_chunks(const uint8_t *p, size_t n, struct png *g, struct err *e)
{
	size_t at = 8;

	g->packed = malloc(n);
	if (!g->packed)
		return err_nomem(e, n);
	while (n - at >= 12) {
		const uint8_t *type = p + at + 4, *data = p + at + 8;
		size_t len = be32(p + at);

		if (len > n - at - 12)
			break;
		if (memcmp(type, "IDAT", 4) == 0) {
			memcpy(g->packed + g->npacked, data, len);
			g->npacked += len;
		} else if (memcmp(type, "PLTE", 4) == 0) {
			g->palette = data;
			g->ncolours = len / 3;
		} else if (memcmp(type, "IEND", 4) == 0) {
			return 0;
		}
		at += len + 12;
	}
	return err_set(e, EINVAL, "a PNG that is cut short");
}

static uint8_t paeth(int a, int b, int c)
{
	int p = a + b - c, pa = abs(p - a), pb = abs(p - b), pc = abs(p - c);

	if (pa <= pb && pa <= pc)
		return (uint8_t)a;
	return (uint8_t)(pb <= pc ? b : c);
}

/* Undoes a row's filter; up: the row above, or NULL. */
static bool unfilter(unsigned filter, uint8_t *row, const uint8_t *up, size_t n,
		     size_t step)
{
	if (filter > 4)
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned a = i >= step ? row[i - step] : 0;
		unsigned b = up ? up[i] : 0;
		unsigned c = up && i >= step ? up[i - step] : 0;
		unsigned add[5] = {0, a, b, (a + b) / 2,
				   paeth((int)a, (int)b, (int)c)};

		row[i] = (uint8_t)(row[i] + add[filter]);
	}
	return true;
}

/* Sample i of a row, in 8 bits; an index of a palette stays as it is. */
static uint8_t sample(const struct png *g, const uint8_t *row, size_t i)
{
	unsigned most = (1u << g->depth) - 1, bit = (unsigned)i * g->depth % 8;
	unsigned v;

	if (g->depth == 8)
		return row[i];
	if (g->depth == 16)
		return row[2 * i];
	v = row[i * g->depth / 8] >> (8 - g->depth - bit) & most;
	return (uint8_t)(g->colour == COLOUR_PALETTE ? v : v * 255 / most);
}

static bool put_row(const struct png *g, const uint8_t *row, uint32_t width,
		    uint8_t *to)
{
	for (uint32_t x = 0; x < width; x++, to += 3) {
		size_t first = (size_t)x * g->channels;

		for (size_t k = 0; k < 3; k++) {
			size_t i = first + (g->channels > 2 ? k : 0);

			to[k] = sample(g, row, i);
		}
		if (g->colour != COLOUR_PALETTE)
			continue;
		if (to[0] >= g->ncolours)
			return false;
		memcpy(to, g->palette + 3 * (size_t)to[0], 3);
	}
	return true;
}

static int put_rows(const struct png *g, const struct image *im, uint8_t *rows,
		    struct err *e)
{
	size_t bits = (size_t)g->depth * g->channels;
	size_t nbytes = (im->width * bits + 7) / 8;
	const uint8_t *up = NULL;

	for (uint32_t y = 0; y < im->height; y++) {
		uint8_t *row = rows + (size_t)y * (nbytes + 1);

		if (!unfilter(row[0], row + 1, up, nbytes, (bits + 7) / 8) ||
		    !put_row(g, row + 1, im->width,
			     im->rgb + (size_t)y * im->width * 3))
			return err_set(e, EINVAL, "a damaged row %u of a PNG",
				       y);
		up = row + 1;
	}
	return 0;
}

static int png_decode(const uint8_t *p, size_t n, const struct image *im,
		      uint8_t *scratch, struct err *e)
{
	struct png g = {0};
	int rc = read_kind(p, &g, e);

	if (rc == 0)
		rc = read_chunks(p, n, &g, e);
	if (rc == 0)
		rc = inflate_zlib(
			g.packed, g.npacked, scratch,
			(((size_t)im->width * g.depth * g.channels + 7) / 8 +
			 1) * im->height,
			e);
	if (rc == 0)
		rc = put_rows(&g, im, scratch, e);
	free(g.packed);
	return rc;
}

const struct image_format image_png = {"PNG", png_size, png_decode};
