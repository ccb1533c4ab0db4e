/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "format/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_format(&format_paddle, data, size);
	return 0;
}
