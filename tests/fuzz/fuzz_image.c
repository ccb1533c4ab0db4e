/* SPDX-License-Identifier: MIT */
/* Pictures as ImageDecoder gets them. */
#include <stdlib.h>

#include "modelfs/err.h"

#include "fuzz.h"

#include "op/image.h"

/* Larger pictures take long, and show nothing new. */
#define PIXELS_MAX 65536

static void decode(const struct image_format *f, const uint8_t *data,
		   size_t size)
{
	struct image im = {0};
	struct err e = {0};
	uint8_t *scratch;

	if (f->size(data, size, &im, &e) != 1)
		return;
	if (im.width > IMAGE_SIDE_MAX || im.height > IMAGE_SIDE_MAX)
		abort();
	if ((uint64_t)im.width * im.height > PIXELS_MAX)
		return;
	im.rgb = malloc((size_t)im.width * im.height * 3 + 1);
	scratch = malloc(image_scratch(&im) + 1);
	if (!im.rgb || !scratch)
		abort();
	if (f->decode(data, size, &im, scratch, &e) < 0 && e.code == 0)
		abort();
	free(im.rgb);
	free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	decode(&image_bmp, data, size);
	decode(&image_png, data, size);
	decode(&image_pnm, data, size);
	return 0;
}
