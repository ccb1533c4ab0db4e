/* SPDX-License-Identifier: MIT */
/* reduce - one extent of [outer][dim][inner] made one number each. */
#ifndef KERNEL_REDUCE_H
#define KERNEL_REDUCE_H

#include "kernel/num.h"
#include "modelfs/kernel.h"

/* Floats are summed in double; integers wrap. */
enum reduce {
	REDUCE_SUM,
	REDUCE_MEAN,
	REDUCE_PROD,
	REDUCE_MAX,
	REDUCE_MIN,
	REDUCE_L1,
	REDUCE_L2,
	REDUCE_SUM_SQUARE,
	REDUCE_LOG_SUM,
	REDUCE_LOG_SUM_EXP,
	REDUCE_COUNT
};

struct reduce_plan {
	enum num type;
	size_t outer, dim, inner;
};

void reduce_run(const struct kernel *k, enum reduce op,
		const struct reduce_plan *p, const void *in, void *out);

/* Index of the greatest (least) element; of several, the first or last. */
void reduce_arg(const struct kernel *k, bool least, bool last,
		const struct reduce_plan *p, const void *in, int64_t *out);

enum cumulate { CUMULATE_SUM, CUMULATE_PROD };
/* exclusive: without the element itself; reverse: from the end. */
void reduce_cumulate(const struct kernel *k, enum cumulate op, bool exclusive,
		     bool reverse, const struct reduce_plan *p, const void *in,
		     void *out);

#endif
