/* SPDX-License-Identifier: MIT */
#include "kernel/copy.h"

#include <math.h>
#include <string.h>

#include "kernel/fast.h"

#define GRAIN_BYTES 65536

static size_t grain_of(size_t item_bytes)
{
	size_t g = GRAIN_BYTES / (item_bytes ? item_bytes : 1);

	return g ? g : 1;
}

struct unit16 {
	uint64_t v[2];
};

/* n elements, whatever their size; common sizes without memcpy's call. */
static void copy_row(char *out, ptrdiff_t to, const char *in, ptrdiff_t from,
		     size_t n, size_t size)
{
#define LOOP(T)                                                       \
	{                                                             \
		for (size_t i = 0; i < n; i++)                        \
			((T *)out)[(ptrdiff_t)i * to] =               \
				((const T *)in)[(ptrdiff_t)i * from]; \
		return;                                               \
	}
	if (to == 1 && from == 1) {
		memcpy(out, in, n * size);
		return;
	}
	switch (size) {
	case 1:
		LOOP(uint8_t)
	case 2:
		LOOP(uint16_t)
	case 4:
		LOOP(uint32_t)
	case 8:
		LOOP(uint64_t)
	case 16:
		LOOP(struct unit16)
	default:
		for (size_t i = 0; i < n; i++)
			memcpy(out + (ptrdiff_t)(i * size) * to,
			       in + (ptrdiff_t)(i * size) * from, size);
	}
#undef LOOP
}

/* Extents of 1 go, and those that lie behind each other on both sides merge. */
static void collapse(struct copy_plan *p)
{
	size_t n = 0;

	for (size_t d = 0; d < p->rank; d++) {
		ptrdiff_t dim = (ptrdiff_t)p->dims[d];

		if (dim == 1)
			continue;
		if (n > 0 && p->from[n - 1] == p->from[d] * dim &&
		    p->to[n - 1] == p->to[d] * dim) {
			p->dims[n - 1] *= p->dims[d];
			p->from[n - 1] = p->from[d];
			p->to[n - 1] = p->to[d];
			continue;
		}
		p->dims[n] = p->dims[d];
		p->from[n] = p->from[d];
		p->to[n] = p->to[d];
		n++;
	}
	if (n == 0) {
		p->dims[0] = 1;
		p->from[0] = p->to[0] = 1;
		n = 1;
	}
	p->rank = n;
}

struct strided {
	const struct copy_plan *plan;
	const char *in;
	char *out;
};

static void strided_rows(void *ctx, size_t begin, size_t end)
{
	const struct strided *s = ctx;
	const struct copy_plan *p = s->plan;
	size_t last = p->rank - 1;

	for (size_t row = begin; row < end; row++) {
		ptrdiff_t from = 0, to = 0;
		size_t index = row;

		for (size_t d = last; d-- > 0;) {
			ptrdiff_t i = (ptrdiff_t)(index % p->dims[d]);

			index /= p->dims[d];
			from += i * p->from[d];
			to += i * p->to[d];
		}
		copy_row(s->out + to * (ptrdiff_t)p->size, p->to[last],
			 s->in + from * (ptrdiff_t)p->size, p->from[last],
			 p->dims[last], p->size);
	}
}

/* ---- matrices that are turned, of elements of four bytes ---- */

/* Columns of a task. */
#define TURN_STEP 64

struct turned {
	const struct copy_plan *plan;
	const float *in;
	float *out;
	size_t side; /* the extent that lies densely in the input */
	size_t nblocks;
};

/* The last extent lies densely in the output, *side in the input. */
static bool find_turn(const struct copy_plan *p, size_t *side)
{
	size_t last = p->rank - 1;

	if (p->size != sizeof(float) || p->to[last] != 1 ||
	    p->from[last] <= 1 || p->dims[last] < 4)
		return false;
	for (size_t d = 0; d < last; d++) {
		if (p->from[d] == 1 && p->to[d] > 0 && p->dims[d] >= 4) {
			*side = d;
			return true;
		}
	}
	return false;
}

static void turn_block(const struct turned *j, size_t block, size_t rest)
{
	const struct copy_plan *p = j->plan;
	size_t last = p->rank - 1, first = block * TURN_STEP;
	size_t n = p->dims[j->side] - first;
	ptrdiff_t from = (ptrdiff_t)first;
	ptrdiff_t to = (ptrdiff_t)first * p->to[j->side];
	struct finish none = {.lo = -INFINITY, .hi = INFINITY};
	struct turn t = {.ld = (size_t)p->from[last],
			 .rows = p->dims[last],
			 .cols = n < TURN_STEP ? n : TURN_STEP,
			 .ldo = (size_t)p->to[j->side],
			 .finish = &none};

	for (size_t d = last; d-- > 0;) {
		ptrdiff_t i;

		if (d == j->side)
			continue;
		i = (ptrdiff_t)(rest % p->dims[d]);
		rest /= p->dims[d];
		from += i * p->from[d];
		to += i * p->to[d];
	}
	t.in = j->in + from;
	t.out = j->out + to;
	fast_get()->turn(&t);
}

static void turn_blocks(void *ctx, size_t begin, size_t end)
{
	const struct turned *j = ctx;

	for (size_t i = begin; i < end; i++)
		turn_block(j, i % j->nblocks, i / j->nblocks);
}

static void copy_turned(const struct kernel *k, const struct copy_plan *p,
			size_t side, const void *in, void *out)
{
	struct turned j = {.plan = p, .in = in, .out = out, .side = side};
	size_t n = (p->dims[side] + TURN_STEP - 1) / TURN_STEP;

	j.nblocks = n;
	for (size_t d = 0; d + 1 < p->rank; d++)
		n *= d == side ? 1 : p->dims[d];
	kernel_for(k, n, grain_of(TURN_STEP * p->dims[p->rank - 1] * p->size),
		   turn_blocks, &j);
}

void copy_strided(const struct kernel *k, const struct copy_plan *p,
		  const void *in, void *out)
{
	struct copy_plan plan = *p;
	struct strided s = {.plan = &plan, .in = in, .out = out};
	size_t rows = 1, side;

	for (size_t d = 0; d < p->rank; d++) {
		if (p->dims[d] == 0)
			return;
	}
	collapse(&plan);
	if (find_turn(&plan, &side)) {
		copy_turned(k, &plan, side, in, out);
		return;
	}
	for (size_t d = 0; d + 1 < plan.rank; d++)
		rows *= plan.dims[d];
	kernel_for(k, rows, grain_of(plan.dims[plan.rank - 1] * plan.size),
		   strided_rows, &s);
}

struct fill {
	char *out;
	size_t size;
	const void *value;
};

static void fill_range(void *ctx, size_t begin, size_t end)
{
	const struct fill *f = ctx;

	copy_row(f->out + begin * f->size, 1, f->value, 0, end - begin,
		 f->size);
}

void copy_fill(const struct kernel *k, void *out, size_t n, size_t size,
	       const void *value)
{
	struct fill f = {.out = out, .size = size, .value = value};

	kernel_for(k, n, grain_of(size), fill_range, &f);
}

struct mapped {
	const struct copy_map *plan;
	const char *in;
	char *out;
	size_t width;
};

static void mapped_row(const struct mapped *m, size_t row)
{
	const struct copy_map *p = m->plan;
	const int64_t *map = p->map[p->rank - 1];
	char *out = m->out + row * m->width * p->size;
	const char *in = m->in;
	bool inside = true;

	for (size_t d = p->rank - 1; d-- > 0;) {
		int64_t i = p->map[d][row % p->dims[d]];

		row /= p->dims[d];
		inside = inside && i >= 0;
		if (inside)
			in += (size_t)i * p->strides[d] * p->size;
	}
	for (size_t i = 0; i < m->width; i++) {
		const void *src = inside && map[i] >= 0
					  ? in + (size_t)map[i] * p->size
					  : p->fill;

		copy_row(out + i * p->size, 1, src, 0, 1, p->size);
	}
}

static void mapped_rows(void *ctx, size_t begin, size_t end)
{
	for (size_t row = begin; row < end; row++)
		mapped_row(ctx, row);
}

void copy_mapped(const struct kernel *k, const struct copy_map *p,
		 const void *in, void *out)
{
	struct mapped m = {
		.plan = p, .in = in, .out = out, .width = p->dims[p->rank - 1]};
	size_t rows = m.width > 0;

	for (size_t d = 0; d + 1 < p->rank; d++)
		rows *= p->dims[d];
	kernel_for(k, rows, grain_of(4 * m.width * p->size), mapped_rows, &m);
}

struct gather {
	const struct gather_plan *plan;
	const char *in;
	char *out;
};

static void gather_range(void *ctx, size_t begin, size_t end)
{
	const struct gather *g = ctx;
	const struct gather_plan *p = g->plan;

	for (size_t i = begin; i < end; i++) {
		size_t at = i / p->n * p->dim + (size_t)p->idx[i % p->n];

		if (p->block == 4)
			memcpy(g->out + i * 4, g->in + at * 4, 4);
		else
			memcpy(g->out + i * p->block, g->in + at * p->block,
			       p->block);
	}
}

void copy_gather(const struct kernel *k, const struct gather_plan *p,
		 const void *in, void *out)
{
	struct gather g = {.plan = p, .in = in, .out = out};

	kernel_for(k, p->outer * p->n, grain_of(p->block), gather_range, &g);
}
