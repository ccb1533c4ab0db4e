/* SPDX-License-Identifier: MIT */
/* image_plain - BMP (24 and 32 bits, not compressed) and PNM (P5, P6). */
#include <errno.h>
#include <stdbool.h>

#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "op/image.h"

static int check_side(const struct image *im, struct err *e)
{
	if (im->width < 1 || im->height < 1 || im->width > IMAGE_SIDE_MAX ||
	    im->height > IMAGE_SIDE_MAX)
		return err_set(e, EINVAL, "a picture of %u x %u pixels",
			       im->width, im->height);
	return 1;
}

/* ---- BMP ---- */

static uint32_t le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

static int bmp_size(const uint8_t *p, size_t n, struct image *out,
		    struct err *e)
{
	uint32_t height;

	if (n < 54 || p[0] != 'B' || p[1] != 'M')
		return 0;
	out->width = le32(p + 18);
	height = le32(p + 22);
	/* A negative height: the rows are in their natural order. */
	out->height = height > INT32_MAX ? 0u - height : height;
	return check_side(out, e);
}

static int bmp_decode(const uint8_t *p, size_t n, const struct image *im,
		      uint8_t *scratch, struct err *e)
{
	size_t at = le32(p + 10), bytes = (p[28] | (size_t)p[29] << 8) / 8;
	size_t row = (im->width * bytes + 3) / 4 * 4;
	bool from_top = le32(p + 22) > INT32_MAX;

	(void)scratch;
	if ((bytes != 3 && bytes != 4) || le32(p + 30) != 0)
		return err_set(e, EOPNOTSUPP, "a BMP of this kind");
	if (at > n || (n - at) / row < im->height)
		return err_set(e, EINVAL, "a BMP that is cut short");
	for (uint32_t y = 0; y < im->height; y++) {
		size_t line = from_top ? y : im->height - 1 - y;
		const uint8_t *in = p + at + line * row;
		uint8_t *to = im->rgb + (size_t)y * im->width * 3;

		for (uint32_t x = 0; x < im->width; x++, in += bytes, to += 3) {
			to[0] = in[2];
			to[1] = in[1];
			to[2] = in[0];
		}
	}
	return 0;
}

const struct image_format image_bmp = {"BMP", bmp_size, bmp_decode};

/* ---- PNM ---- */

static bool is_blank(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next number of the header, behind blanks and comments. */
static bool next_number(const uint8_t *p, size_t n, size_t *at, uint32_t *out)
{
	while (*at < n && (is_blank(p[*at]) || p[*at] == '#')) {
		bool comment = p[*at] == '#';

		while (comment && *at < n && p[*at] != '\n')
			++*at;
		*at += *at < n;
	}
	*out = 0;
	if (*at == n || p[*at] < '0' || p[*at] > '9')
		return false;
	for (; *at < n && p[*at] >= '0' && p[*at] <= '9'; ++*at) {
		*out = *out * 10 + (uint32_t)(p[*at] - '0');
		if (*out > IMAGE_SIDE_MAX)
			return false;
	}
	return true;
}

/* Width, height, greatest value; and where the pixels begin. */
static bool pnm_header(const uint8_t *p, size_t n, uint32_t v[3], size_t *at)
{
	*at = 2;
	for (int i = 0; i < 3; i++)
		if (!next_number(p, n, at, &v[i]))
			return false;
	++*at;
	return *at <= n;
}

static int pnm_size(const uint8_t *p, size_t n, struct image *out,
		    struct err *e)
{
	uint32_t v[3];
	size_t at;

	if (n < 3 || p[0] != 'P' || (p[1] != '5' && p[1] != '6'))
		return 0;
	if (!pnm_header(p, n, v, &at) || v[2] < 1 || v[2] > 255)
		return err_set(e, EINVAL, "a bad header of a PNM");
	out->width = v[0];
	out->height = v[1];
	return check_side(out, e);
}

static int pnm_decode(const uint8_t *p, size_t n, const struct image *im,
		      uint8_t *scratch, struct err *e)
{
	size_t at, channels = p[1] == '6' ? 3 : 1;
	uint64_t pixels = (uint64_t)im->width * im->height;
	uint32_t v[3];

	(void)scratch;
	if (!pnm_header(p, n, v, &at) || (n - at) / channels < pixels)
		return err_set(e, EINVAL, "a PNM that is cut short");
	for (uint64_t i = 0; i < pixels * 3; i++) {
		unsigned x = p[at + (channels == 3 ? i : i / 3)];

		im->rgb[i] = (uint8_t)(v[2] == 255 ? x : x * 255 / v[2]);
	}
	return 0;
}

const struct image_format image_pnm = {"PNM", pnm_size, pnm_decode};
