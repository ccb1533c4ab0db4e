/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "format/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_format(&format_npy, data, size);
	fuzz_format(&format_npz, data, size);
	return 0;
}
