/* SPDX-License-Identifier: MIT */
/* Also the target of Keras' configurations, which are JSON here. */
#include "fuzz.h"

#include "format/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_format(&format_tfjs, data, size);
	return 0;
}
