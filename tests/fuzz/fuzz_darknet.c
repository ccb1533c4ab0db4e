/* SPDX-License-Identifier: MIT */
/* Configurations; the weights behind them are not there. */
#include "fuzz.h"

#include "format/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_format(&format_darknet, data, size);
	return 0;
}
