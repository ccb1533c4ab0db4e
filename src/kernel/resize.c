/* SPDX-License-Identifier: MIT */
#include "kernel/resize.h"

struct job {
	const struct resize_plan *p;
	const void *in;
	void *out;
};

#define RESIZE(NAME, T)                                                    \
	static void row_##NAME(const struct resize_plan *p, size_t j,      \
			       const T *in, T *out)                        \
	{                                                                  \
		const int64_t *index = p->index + j * p->taps;             \
		const double *weight = p->weight + j * p->taps;            \
		bool fill = p->outside && p->outside[j];                   \
		for (size_t i = 0; i < p->inner; i++) {                    \
			double sum = fill ? p->fill : 0;                   \
			for (size_t t = 0; t < p->taps && !fill; t++)      \
				sum += weight[t] *                         \
				       (double)in[(size_t)index[t] *       \
							  p->inner +       \
						  i];                      \
			out[i] = (T)sum;                                   \
		}                                                          \
	}                                                                  \
	static void rows_##NAME(void *ctx, size_t begin, size_t end)       \
	{                                                                  \
		const struct job *j = ctx;                                 \
		const struct resize_plan *p = j->p;                        \
		for (size_t r = begin; r < end; r++)                       \
			row_##NAME(p, r % p->to,                           \
				   (const T *)j->in +                      \
					   r / p->to * p->from * p->inner, \
				   (T *)j->out + r * p->inner);            \
	}
RESIZE(F32, float)
RESIZE(F64, double)

void resize_axis(const struct kernel *k, const struct resize_plan *p,
		 const void *in, void *out)
{
	struct job j = {p, in, out};
	size_t work = p->inner * p->taps;

	kernel_for(k, p->outer * p->to, 32768 / (work + 1) + 1,
		   p->type == NUM_F64 ? rows_F64 : rows_F32, &j);
}
