/* SPDX-License-Identifier: MIT */
#include "kernel/fast.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct finish finish_at(const struct finish *f, size_t row, size_t col,
			size_t at)
{
	struct finish g = *f;

	g.row_bias = f->row_bias ? f->row_bias + row : NULL;
	g.row_scale = f->row_scale ? f->row_scale + row : NULL;
	g.row_shift = f->row_shift ? f->row_shift + row : NULL;
	g.col_bias = f->col_bias ? f->col_bias + col : NULL;
	g.add = f->add ? f->add + at : NULL;
	return g;
}

struct quantum quantum_of(float scale, float zero)
{
	/* No product or remainder of these leaves the range of float. */
	bool usual = scale >= 0x1p-80f && scale <= 0x1p80f;

	return (struct quantum){.scale = scale,
				.zero = zero,
				.inverse = usual ? 1 / scale : 0,
				.most = usual ? 0x1p40f * scale : 0};
}

/* Beyond this, sums with ROUNDER are not exact. */
#define SMALL_MAX 0x1p20f

void finish_settle(struct finish *f)
{
	const struct quantum *q = &f->to;
	float least = q->lo - q->zero, most = q->hi - q->zero;
	float lo = least * q->scale, hi = most * q->scale;

	lo = lo > f->lo ? lo : f->lo;
	hi = hi < f->hi ? hi : f->hi;
	if (!f->requantise || q->inverse == 0 || !(lo <= hi) ||
	    least < -SMALL_MAX || most > SMALL_MAX ||
	    fabsf(q->zero - f->from.zero) > SMALL_MAX)
		return;
	f->lo = lo;
	f->hi = hi;
	f->least = least * q->scale;
	f->shift = ROUNDER - (q->zero - f->from.zero);
	f->is_settled = true;
}

static _Atomic(const struct fast *) chosen;

static bool can_run(const struct fast *f)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (f == &fast_avx512)
		return __builtin_cpu_supports("avx512f") &&
		       __builtin_cpu_supports("avx512vl") &&
		       __builtin_cpu_supports("avx512bw") &&
		       __builtin_cpu_supports("avx512dq");
	if (f == &fast_avx2)
		/* What has AVX2 has F16C; clang cannot ask for that. */
		return __builtin_cpu_supports("avx2") &&
		       __builtin_cpu_supports("fma");
#endif
	return f == &fast_portable;
}

/* The best of this name, or of any. */
static const struct fast *find(const char *name)
{
	static const struct fast *const levels[] = {
#if defined(__x86_64__)
		&fast_avx512,
		&fast_avx2,
#endif
		&fast_portable,
	};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if ((!name || strcmp(name, levels[i]->name) == 0) &&
		    can_run(levels[i]))
			return levels[i];
	}
	return NULL;
}

bool fast_force(const char *name)
{
	const struct fast *f = find(name);

	if (f)
		atomic_store(&chosen, f);
	return f != NULL;
}

const struct fast *fast_get(void)
{
	const struct fast *f = atomic_load(&chosen);
	const char *name;

	if (f)
		return f;
	name = getenv("MODELFS_CPU");
	f = name ? find(name) : NULL;
	if (!f)
		f = find(NULL);
	atomic_store(&chosen, f);
	return f;
}
