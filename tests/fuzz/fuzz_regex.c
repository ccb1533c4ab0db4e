/* SPDX-License-Identifier: MIT */
/* The first byte says how many bytes are the pattern; the rest is the text. */
#include <stdlib.h>

#include "fuzz.h"

#include "op/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *why = NULL, *s = (const char *)data + 1;
	struct regex *r;
	size_t n;

	if (size == 0)
		return 0;
	n = data[0] < size - 1 ? data[0] : size - 1;
	r = regex_new(s, n, &why);
	if (!r && !why)
		abort(); /* a failure without a reason */
	if (r)
		regex_full_match(r, s + n, size - 1 - n, NULL);
	regex_free(r);
	return 0;
}
