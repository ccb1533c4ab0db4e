/* SPDX-License-Identifier: MIT */
/* fast_portable - any processor: vectors of four. */
#define LANES 4
#define EVEN_LANES 0, 2, 4, 6
#define LOW_LANES 0, 4, 1, 5
#define HIGH_LANES 2, 6, 3, 7
#define ROWS 4
#define VECTORS 2
#define GEMM_BY_BLAS
#define LEVEL fast_portable
#define LEVEL_NAME "portable"
#include "kernel/fast_body.h"
