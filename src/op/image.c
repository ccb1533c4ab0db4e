/* SPDX-License-Identifier: MIT */
/* image - ImageDecoder. */
#include "op/image.h"

#include "op/impl.h"

static const struct image_format *const formats[] = {
	&image_bmp,
	&image_png,
	&image_pnm,
};

enum pixels { PIXELS_RGB, PIXELS_BGR, PIXELS_GREY };

static int read_pixels(const struct op_call *c, enum pixels *out, struct err *e)
{
	const char *name = op_attr_str(c, "pixel_format", "RGB");

	if (strcmp(name, "RGB") == 0)
		*out = PIXELS_RGB;
	else if (strcmp(name, "BGR") == 0)
		*out = PIXELS_BGR;
	else if (strcmp(name, "Grayscale") == 0)
		*out = PIXELS_GREY;
	else
		return op_invalid(c, e, "pixel_format");
	return 0;
}

static int infer_decoder(struct op_call *c, struct err *e)
{
	struct shape s = shape_of(3, (int64_t[]){DIM_UNKNOWN, DIM_UNKNOWN, 3});
	enum pixels pixels;
	int rc = read_pixels(c, &pixels, e);

	if (rc < 0)
		return rc;
	s.dims[2] = pixels == PIXELS_GREY ? 1 : 3;
	op_out(c, 0, DTYPE_U8, &s);
	return 0;
}

/* Grey as ITU-R 601 weighs the colours, in thousandths and rounded. */
static void convert_pixels(const struct image *im, enum pixels pixels,
			   uint8_t *out)
{
	uint64_t n = (uint64_t)im->width * im->height;

	for (uint64_t i = 0; i < n; i++) {
		const uint8_t *p = im->rgb + 3 * i;

		if (pixels == PIXELS_GREY) {
			out[i] = (uint8_t)((p[0] * 19595u + p[1] * 38470u +
					    p[2] * 7471u + 0x8000) >>
					   16);
			continue;
		}
		out[3 * i] = p[pixels == PIXELS_BGR ? 2 : 0];
		out[3 * i + 1] = p[1];
		out[3 * i + 2] = p[pixels == PIXELS_BGR ? 0 : 2];
	}
}

static int decode(struct op_call *c, const struct image_format *f,
		  struct image *im, struct err *e)
{
	enum pixels pixels = PIXELS_RGB;
	struct shape s;
	void *rgb, *scratch, *out;
	int rc = read_pixels(c, &pixels, e);

	s = shape_of(3, (int64_t[]){im->height, im->width,
				    pixels == PIXELS_GREY ? 1 : 3});
	if (rc == 0)
		rc = op_temp(c, 3 * (uint64_t)im->width * im->height, &rgb, e);
	if (rc == 0)
		rc = op_temp(c, image_scratch(im), &scratch, e);
	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_U8, &s, &out, e);
	if (rc < 0)
		return rc;
	im->rgb = rgb;
	rc = f->decode(op_data(c, 0), op_nelems(c, 0), im, scratch, e);
	if (rc == 0)
		convert_pixels(im, pixels, out);
	return rc;
}

static int eval_decoder(struct op_call *c, struct err *e)
{
	const uint8_t *p = op_data(c, 0);
	struct image im = {0};

	if (op_dtype(c, 0) != DTYPE_U8)
		return op_bad_dtype(c, 0, e);
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		int rc = formats[i]->size(p, op_nelems(c, 0), &im, e);

		if (rc > 0)
			rc = decode(c, formats[i], &im, e);
		else if (rc == 0)
			continue;
		return rc < 0 ? err_wrap(e, "node %s", c->node->name) : 0;
	}
	return op_unsupported(c, e, "pictures of this format");
}

const struct op ops_image[] = {
	{ONNX, "ImageDecoder", 20, 1, 1, 1, 1, 0, 0, infer_decoder,
	 eval_decoder},
	{0},
};
