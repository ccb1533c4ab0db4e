/* SPDX-License-Identifier: MIT */
/* fast_portable - any processor: vectors of four. */
#define LANES 4
#define EVEN_LANES 0, 2, 4, 6
#define ROWS 4
#define VECTORS 2
#define LEVEL fast_portable
#define LEVEL_NAME "portable"
#include "kernel/fast_body.h"
