/* SPDX-License-Identifier: MIT */
#include "kernel/pooling.h"

#include <math.h>

#include "kernel/fast.h"

struct job {
	const struct pooling_plan *v;
	const void *x;
	void *y;
	int64_t *indices;
};

/* The taps [lo, hi) of each extent that lie inside; *n counts them all. */
struct taps {
	size_t lo[3], hi[3];
	ptrdiff_t at[3]; /* of tap 0 */
};

static void find_taps(const struct window *w, size_t o, struct taps *t)
{
	size_t pos[3] = {o / w->out[2] / w->out[1], o / w->out[2] % w->out[1],
			 o % w->out[2]};

	for (int d = 0; d < 3; d++) {
		ptrdiff_t step = (ptrdiff_t)w->dilation[d];
		ptrdiff_t at = window_at(w, d, pos[d], 0);
		ptrdiff_t room = (ptrdiff_t)w->in[d] - at;

		t->at[d] = at;
		t->lo[d] = at < 0 ? (size_t)((-at + step - 1) / step) : 0;
		t->hi[d] = room > 0 ? (size_t)((room + step - 1) / step) : 0;
		if (t->hi[d] > w->kernel[d])
			t->hi[d] = w->kernel[d];
		if (t->lo[d] > t->hi[d])
			t->lo[d] = t->hi[d];
	}
}

/* Elements of the window within the input and the declared padding. */
static double count_padded(const struct pooling_plan *v, const struct taps *t)
{
	const struct window *w = &v->w;
	double n = 1;

	for (int d = 0; d < 3; d++) {
		ptrdiff_t step = (ptrdiff_t)w->dilation[d];
		ptrdiff_t room = (ptrdiff_t)w->in[d] + v->pad_end[d] - t->at[d];
		ptrdiff_t taps = room > 0 ? (room + step - 1) / step : 0;
		ptrdiff_t most = (ptrdiff_t)w->kernel[d];

		n *= (double)(taps < most ? taps : most);
	}
	return n;
}

static double count_inside(const struct taps *t)
{
	double n = 1;

	for (int d = 0; d < 3; d++)
		n *= (double)(t->hi[d] - t->lo[d]);
	return n;
}

static size_t place(const struct window *w, const struct taps *t,
		    const size_t i[3])
{
	size_t p[3];

	for (int d = 0; d < 3; d++)
		p[d] = (size_t)(t->at[d] + (ptrdiff_t)(i[d] * w->dilation[d]));
	return (p[0] * w->in[1] + p[1]) * w->in[2] + p[2];
}

/* The number of an element of a plane, the first extent running fastest. */
static size_t column_major(const struct window *w, size_t at)
{
	size_t x = at % w->in[2], y = at / w->in[2] % w->in[1];
	size_t z = at / w->in[2] / w->in[1];

	return (x * w->in[1] + y) * w->in[0] + z;
}

#define FOR_TAPS(t, i)                                             \
	for (i[0] = (t)->lo[0]; i[0] < (t)->hi[0]; i[0]++)         \
		for (i[1] = (t)->lo[1]; i[1] < (t)->hi[1]; i[1]++) \
			for (i[2] = (t)->lo[2]; i[2] < (t)->hi[2]; i[2]++)

#define MAXIMUM(NAME, T, LEAST)                                             \
	static void max_##NAME(const struct job *j, size_t plane, size_t o) \
	{                                                                   \
		const struct window *w = &j->v->w;                          \
		const T *x = (const T *)j->x + plane * window_in(w);        \
		size_t i[3], best = 0, to = plane * window_out(w) + o;      \
		bool any = false;                                           \
		T max = (T)(LEAST);                                         \
		struct taps t;                                              \
		find_taps(w, o, &t);                                        \
		FOR_TAPS(&t, i)                                             \
		{                                                           \
			size_t at = place(w, &t, i);                        \
			if (!any || x[at] > max || x[at] != x[at]) {        \
				max = x[at];                                \
				best = at;                                  \
			}                                                   \
			any = true;                                         \
		}                                                           \
		((T *)j->y)[to] = max;                                      \
		if (!j->indices)                                            \
			return;                                             \
		best = j->v->column_major ? column_major(w, best) : best;   \
		j->indices[to] =                                            \
			any ? (int64_t)(plane * window_in(w) + best) : -1;  \
	}
MAXIMUM(U8, uint8_t, 0)
MAXIMUM(I8, int8_t, INT8_MIN)
MAXIMUM(U16, uint16_t, 0)
MAXIMUM(I16, int16_t, INT16_MIN)
MAXIMUM(U32, uint32_t, 0)
MAXIMUM(I32, int32_t, INT32_MIN)
MAXIMUM(U64, uint64_t, 0)
MAXIMUM(I64, int64_t, INT64_MIN)
MAXIMUM(F32, float, -INFINITY)
MAXIMUM(F64, double, -INFINITY)

#define MEAN(NAME, T)                                                        \
	static void average_##NAME(const struct job *j, size_t plane,        \
				   size_t o)                                 \
	{                                                                    \
		const struct window *w = &j->v->w;                           \
		const T *x = (const T *)j->x + plane * window_in(w);         \
		size_t i[3];                                                 \
		double sum = 0, n;                                           \
		struct taps t;                                               \
		find_taps(w, o, &t);                                         \
		FOR_TAPS(&t, i)                                              \
		sum += x[place(w, &t, i)];                                   \
		n = j->v->count_pad ? count_padded(j->v, &t)                 \
				    : count_inside(&t);                      \
		((T *)j->y)[plane * window_out(w) + o] =                     \
			(T)(n > 0 ? sum / n : 0);                            \
	}                                                                    \
	static void lp_##NAME(const struct job *j, size_t plane, size_t o)   \
	{                                                                    \
		const struct window *w = &j->v->w;                           \
		const T *x = (const T *)j->x + plane * window_in(w);         \
		size_t i[3];                                                 \
		double sum = 0, p = j->v->p;                                 \
		struct taps t;                                               \
		find_taps(w, o, &t);                                         \
		FOR_TAPS(&t, i)                                              \
		sum += pow(fabs((double)x[place(w, &t, i)]), p);             \
		((T *)j->y)[plane * window_out(w) + o] = (T)pow(sum, 1 / p); \
	}
MEAN(F32, float)
MEAN(F64, double)

/* ---- all of a plane ---- */

/* One window, of every element: nothing to look for. */
static bool is_global(const struct job *j)
{
	const struct window *w = &j->v->w;

	if (j->v->type != NUM_F32 || j->v->kind != POOLING_AVERAGE ||
	    window_out(w) != 1)
		return false;
	for (int d = 0; d < 3; d++) {
		if (w->kernel[d] != w->in[d] || w->dilation[d] != 1 ||
		    w->pad[d] != 0 || j->v->pad_end[d] != 0)
			return false;
	}
	return true;
}

static void global_range(void *ctx, size_t begin, size_t end)
{
	const struct job *j = ctx;
	size_t n = window_in(&j->v->w);

	for (size_t i = begin; i < end; i++) {
		const float *x = (const float *)j->x + i * n;

		((float *)j->y)[i] =
			(float)(fast_get()->sum(x, n, false) / (double)n);
	}
}

static void pool_range(void *ctx, size_t begin, size_t end)
{
	static void (*const max[NUM_COUNT])(const struct job *, size_t,
					    size_t) = {
#define ENTRY(NAME, T, WIDE) [NUM_##NAME] = max_##NAME,
		NUM_ALL(ENTRY)
#undef ENTRY
	};
	const struct job *j = ctx;
	bool wide = j->v->type == NUM_F64;
	size_t out = window_out(&j->v->w);

	for (size_t i = begin; i < end; i++) {
		size_t plane = i / out, o = i % out;

		if (j->v->kind == POOLING_MAX)
			max[j->v->type](j, plane, o);
		else if (j->v->kind == POOLING_AVERAGE)
			(wide ? average_F64 : average_F32)(j, plane, o);
		else
			(wide ? lp_F64 : lp_F32)(j, plane, o);
	}
}

void pooling_run(const struct kernel *k, const struct pooling_plan *v,
		 size_t planes, const void *x, void *y, int64_t *indices)
{
	struct job j = {.v = v, .x = x, .y = y, .indices = indices};
	size_t taps = window_taps(&v->w);

	if (is_global(&j)) {
		kernel_for(k, planes, 65536 / (taps + 1) + 1, global_range, &j);
		return;
	}
	kernel_for(k, planes * window_out(&v->w),
		   taps < 65536 ? 65536 / (taps + 1) + 1 : 1, pool_range, &j);
}
