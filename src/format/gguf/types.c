/* SPDX-License-Identifier: MIT */
/* types - the numbers that stand for element types (enum ggml_type). */
#include <stdio.h>

#include "format/gguf/gguf.h"

static const enum dtype dtypes[] = {
	[0] = DTYPE_F32,	 [1] = DTYPE_F16,
	[2] = DTYPE_Q4_0,	 [3] = DTYPE_Q4_1,
	[6] = DTYPE_Q5_0,	 [7] = DTYPE_Q5_1,
	[8] = DTYPE_Q8_0,	 [9] = DTYPE_Q8_1,
	[10] = DTYPE_Q2_K,	 [11] = DTYPE_Q3_K,
	[12] = DTYPE_Q4_K,	 [13] = DTYPE_Q5_K,
	[14] = DTYPE_Q6_K,	 [15] = DTYPE_Q8_K,
	[16] = DTYPE_IQ2_XXS,	 [17] = DTYPE_IQ2_XS,
	[18] = DTYPE_IQ3_XXS,	 [19] = DTYPE_IQ1_S,
	[20] = DTYPE_IQ4_NL,	 [21] = DTYPE_IQ3_S,
	[22] = DTYPE_IQ2_S,	 [23] = DTYPE_IQ4_XS,
	[24] = DTYPE_I8,	 [25] = DTYPE_I16,
	[26] = DTYPE_I32,	 [27] = DTYPE_I64,
	[28] = DTYPE_F64,	 [29] = DTYPE_IQ1_M,
	[30] = DTYPE_BF16,	 [31] = DTYPE_Q4_0_4_4,
	[32] = DTYPE_Q4_0_4_8,	 [33] = DTYPE_Q4_0_8_8,
	[34] = DTYPE_TQ1_0,	 [35] = DTYPE_TQ2_0,
	[36] = DTYPE_IQ4_NL_4_4, [37] = DTYPE_IQ4_NL_4_8,
	[38] = DTYPE_IQ4_NL_8_8, [39] = DTYPE_MXFP4,
	[40] = DTYPE_NVFP4,	 [41] = DTYPE_Q1_0,
	[42] = DTYPE_Q2_0,
};

enum dtype gguf_dtype(uint32_t type, char name[16])
{
	if (type < sizeof(dtypes) / sizeof(dtypes[0]) &&
	    dtypes[type] != DTYPE_NONE)
		return dtypes[type];
	if (type == 4 || type == 5) /* removed in 2023 */
		snprintf(name, 16, "Q4_%u", type - 2);
	else
		snprintf(name, 16, "GGML%u", type);
	return DTYPE_NONE;
}

static const char *const file_types[] = {
	[0] = "F32",	  [1] = "F16",	   [2] = "Q4_0",    [3] = "Q4_1",
	[7] = "Q8_0",	  [8] = "Q5_0",	   [9] = "Q5_1",    [10] = "Q2_K",
	[11] = "Q3_K_S",  [12] = "Q3_K_M", [13] = "Q3_K_L", [14] = "Q4_K_S",
	[15] = "Q4_K_M",  [16] = "Q5_K_S", [17] = "Q5_K_M", [18] = "Q6_K",
	[19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S", [22] = "IQ3_XS",
	[23] = "IQ3_XXS", [24] = "IQ1_S",  [25] = "IQ4_NL", [26] = "IQ3_S",
	[27] = "IQ3_M",	  [28] = "IQ2_S",  [29] = "IQ2_M",  [30] = "IQ4_XS",
	[31] = "IQ1_M",	  [32] = "BF16",   [36] = "TQ1_0",  [37] = "TQ2_0",
};

const char *gguf_file_type(uint64_t type)
{
	size_t n = sizeof(file_types) / sizeof(file_types[0]);

	return type < n ? file_types[type] : NULL;
}
