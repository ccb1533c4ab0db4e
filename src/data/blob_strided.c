/* SPDX-License-Identifier: MIT */
/*
 * blob_strided - the elements of a strided view, gathered when they are read.
 *
 * Extents of one are dropped and neighbouring axes merged where that is
 * possible, so most views become few long lines.  A read decomposes into
 * lines along the last axis or, where the axis before it moves in smaller
 * steps (a transposed matrix), into lines along that one.
 */
#include "modelfs/blob.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/tensor.h"

/* Lines with smaller steps than this are read whole and picked from. */
#define PICK_STEP_MAX 512
#define PICK_BUFFER 32768

struct blob_strided {
	struct blob base;
	struct blob *from; /* owned reference */
	size_t elem_size;
	int64_t start; /* element of the view's first */
	int rank;      /* of the merged view, at least 1 */
	uint64_t dims[SHAPE_RANK_MAX];
	int64_t strides[SHAPE_RANK_MAX];
};

/* count elements, from `at` on in steps; to every out_step-th place. */
struct line {
	int64_t at;
	int64_t step;
	uint64_t count;
	uint8_t *to;
	size_t out_step; /* elements */
};

static int read_elem(struct blob_strided *s, int64_t at, uint8_t *to,
		     struct err *e)
{
	return blob_read_full(s->from, to, s->elem_size,
			      (uint64_t)at * s->elem_size, e);
}

static int read_same(struct blob_strided *s, const struct line *l,
		     struct err *e)
{
	size_t size = s->elem_size;
	int rc = read_elem(s, l->at, l->to, e);

	if (rc < 0)
		return rc;
	for (uint64_t i = 1; i < l->count; i++)
		memcpy(l->to + i * l->out_step * size, l->to, size);
	return 0;
}

static int read_single(struct blob_strided *s, const struct line *l,
		       struct err *e)
{
	for (uint64_t i = 0; i < l->count; i++) {
		int64_t at = l->at + (int64_t)i * l->step;
		uint8_t *to = l->to + i * l->out_step * s->elem_size;
		int rc = read_elem(s, at, to, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* n elements of a line, all of whose bytes fit into the buffer. */
static int pick(struct blob_strided *s, const struct line *l, uint64_t first,
		uint64_t n, uint8_t *buf, struct err *e)
{
	size_t size = s->elem_size;
	int64_t a = l->at + (int64_t)first * l->step;
	int64_t z = a + (int64_t)(n - 1) * l->step;
	int64_t low = a < z ? a : z;
	uint64_t span = (uint64_t)(a < z ? z - a : a - z) + 1;
	int rc;

	rc = blob_read_full(s->from, buf, span * size, (uint64_t)low * size, e);
	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < n; i++) {
		int64_t at = a + (int64_t)i * l->step - low;

		memcpy(l->to + (first + i) * l->out_step * size,
		       buf + (uint64_t)at * size, size);
	}
	return 0;
}

static int read_picked(struct blob_strided *s, const struct line *l,
		       struct err *e)
{
	uint64_t step = (uint64_t)(l->step < 0 ? -l->step : l->step);
	uint64_t most = (PICK_BUFFER / s->elem_size - 1) / step + 1;
	uint8_t buf[PICK_BUFFER];

	for (uint64_t i = 0; i < l->count; i += most) {
		uint64_t left = l->count - i;
		int rc = pick(s, l, i, left < most ? left : most, buf, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_line(struct blob_strided *s, const struct line *l,
		     struct err *e)
{
	uint64_t step = (uint64_t)(l->step < 0 ? -l->step : l->step);

	if (l->step == 0)
		return read_same(s, l, e);
	if (l->step == 1 && l->out_step == 1)
		return blob_read_full(s->from, l->to, l->count * s->elem_size,
				      (uint64_t)l->at * s->elem_size, e);
	if (step <= PICK_STEP_MAX / s->elem_size)
		return read_picked(s, l, e);
	return read_single(s, l, e);
}

/* The base's element that element i of the view is. */
static int64_t locate(const struct blob_strided *s, uint64_t i)
{
	int64_t at = s->start;

	for (int a = s->rank - 1; a >= 0; a--) {
		at += (int64_t)(i % s->dims[a]) * s->strides[a];
		i /= s->dims[a];
	}
	return at;
}

static bool is_crosswise(const struct blob_strided *s)
{
	int64_t inner, outer;

	if (s->rank < 2)
		return false;
	inner = llabs(s->strides[s->rank - 1]);
	outer = llabs(s->strides[s->rank - 2]);
	return outer != 0 && outer < inner;
}

/*
 * As many whole rows as there are in [i, i + n) before the second last axis
 * starts again, column by column.
 */
static int read_columns(struct blob_strided *s, uint64_t i, uint64_t n,
			uint8_t *to, uint64_t *done, struct err *e)
{
	uint64_t width = s->dims[s->rank - 1];
	uint64_t height = s->dims[s->rank - 2];
	uint64_t left = height - i / width % height;
	uint64_t nrows = n / width < left ? n / width : left;
	struct line l = {
		.at = locate(s, i),
		.step = s->strides[s->rank - 2],
		.count = nrows,
		.out_step = width,
	};

	for (uint64_t col = 0; col < width; col++) {
		int rc;

		l.to = to + col * s->elem_size;
		rc = read_line(s, &l, e);
		if (rc < 0)
			return rc;
		l.at += s->strides[s->rank - 1];
	}
	*done = nrows * width;
	return 0;
}

static int read_row(struct blob_strided *s, uint64_t i, uint64_t n, uint8_t *to,
		    uint64_t *done, struct err *e)
{
	uint64_t width = s->dims[s->rank - 1];
	uint64_t left = width - i % width;
	struct line l = {
		.at = locate(s, i),
		.step = s->strides[s->rank - 1],
		.count = n < left ? n : left,
		.to = to,
		.out_step = 1,
	};

	*done = l.count;
	return read_line(s, &l, e);
}

/* n whole elements of the view, from i on. */
static int read_elems(struct blob_strided *s, uint64_t i, uint64_t n,
		      uint8_t *to, struct err *e)
{
	uint64_t width = s->dims[s->rank - 1];
	bool crosswise = is_crosswise(s);

	while (n > 0) {
		uint64_t done;
		int rc;

		if (crosswise && i % width == 0 && n >= 2 * width)
			rc = read_columns(s, i, n, to, &done, e);
		else
			rc = read_row(s, i, n, to, &done, e);
		if (rc < 0)
			return rc;
		to += done * s->elem_size;
		i += done;
		n -= done;
	}
	return 0;
}

/* Bytes [skip, skip + len) of element i. */
static int read_within(struct blob_strided *s, uint64_t i, size_t skip,
		       uint8_t *to, size_t len, struct err *e)
{
	uint64_t off = (uint64_t)locate(s, i) * s->elem_size + skip;

	return blob_read_full(s->from, to, len, off, e);
}

static int strided_read(struct blob *b, void *buf, size_t len, uint64_t off,
			struct err *e)
{
	struct blob_strided *s = (struct blob_strided *)b;
	size_t size = s->elem_size;
	uint64_t i = off / size;
	size_t skip = off % size;
	uint8_t *to = buf;
	int rc = 0;

	if (skip > 0) {
		size_t n = size - skip < len ? size - skip : len;

		rc = read_within(s, i, skip, to, n, e);
		to += n;
		len -= n;
		i++;
	}
	if (rc == 0)
		rc = read_elems(s, i, len / size, to, e);
	if (rc == 0 && len % size > 0)
		rc = read_within(s, i + len / size, 0, to + len - len % size,
				 len % size, e);
	return rc;
}

static int strided_status(struct blob *b, struct err *e)
{
	return blob_status(((struct blob_strided *)b)->from, e);
}

static void strided_fini(struct blob *b)
{
	blob_unref(((struct blob_strided *)b)->from);
}

#define STRIDED_OPS \
	.read = strided_read, .status = strided_status, .fini = strided_fini

static const struct blob_ops strided_ops = {STRIDED_OPS};
static const struct blob_ops strided_slow_ops = {STRIDED_OPS, .slow = true};

/* Lowest and highest element the view touches must be in [0, nbase). */
static int check_bounds(const struct shape *shape, const int64_t *strides,
			uint64_t offset, uint64_t nbase, struct err *e)
{
	int64_t low, high, span;
	bool bad = offset >= nbase || offset > INT64_MAX;

	low = high = bad ? 0 : (int64_t)offset;
	for (int32_t a = 0; a < shape->rank && !bad; a++) {
		bad = __builtin_mul_overflow(shape->dims[a] - 1, strides[a],
					     &span);
		if (!bad && span < 0)
			bad = __builtin_add_overflow(low, span, &low);
		else if (!bad)
			bad = __builtin_add_overflow(high, span, &high);
	}
	if (bad || low < 0 || (uint64_t)high >= nbase)
		return err_set(e, EIO,
			       "view reaches beyond its data (%llu elements)",
			       (unsigned long long)nbase);
	return 0;
}

/* Drops extents of one; merges axes that follow each other without a gap. */
static void merge_axes(struct blob_strided *s, const struct shape *shape,
		       const int64_t *strides)
{
	int r = 0;

	for (int32_t a = 0; a < shape->rank; a++) {
		uint64_t dim = (uint64_t)shape->dims[a];
		int64_t span;

		if (dim == 1)
			continue;
		if (r > 0 &&
		    !__builtin_mul_overflow((int64_t)dim, strides[a], &span) &&
		    s->strides[r - 1] == span) {
			s->dims[r - 1] *= dim;
			s->strides[r - 1] = strides[a];
			continue;
		}
		s->dims[r] = dim;
		s->strides[r] = strides[a];
		r++;
	}
	if (r == 0) {
		s->dims[0] = 1;
		s->strides[0] = 1;
		r = 1;
	}
	s->rank = r;
}

static int strided_size(const struct shape *shape, size_t elem_size,
			uint64_t *out, struct err *e)
{
	uint64_t n, size;

	if (elem_size == 0 || !shape_nelems(shape, &n) ||
	    __builtin_mul_overflow(n, (uint64_t)elem_size, &size) ||
	    size > INT64_MAX)
		return err_set(e, EIO, "view of impossible size");
	*out = size;
	return 0;
}

int blob_strided(struct blob *base, size_t elem_size, const struct shape *shape,
		 const int64_t *strides, uint64_t offset, struct blob **out,
		 struct err *e)
{
	struct blob_strided *s = NULL;
	uint64_t size = 0;
	int rc = strided_size(shape, elem_size, &size, e);

	if (rc == 0 && size > 0)
		rc = check_bounds(shape, strides, offset,
				  base->size / elem_size, e);
	if (rc == 0) {
		s = calloc(1, sizeof(*s));
		if (!s)
			rc = err_nomem(e, sizeof(*s));
	}
	if (rc < 0) {
		blob_unref(base);
		return rc;
	}
	s->from = base;
	s->elem_size = elem_size;
	s->start = (int64_t)offset;
	merge_axes(s, shape, strides);
	blob_init(&s->base, base->ops->slow ? &strided_slow_ops : &strided_ops,
		  size);
	*out = &s->base;
	/* One line without gaps is a range of the base. */
	if (size > 0 && s->rank == 1 &&
	    (s->strides[0] == 1 || s->dims[0] == 1)) {
		*out = blob_slice(blob_ref(base), offset * elem_size, size);
		blob_unref(&s->base);
		if (!*out)
			return err_nomem(e, sizeof(*s));
	}
	return 0;
}

struct blob *blob_turned(struct blob *b, uint64_t rows, uint64_t cols)
{
	const struct blob_strided *s = (const struct blob_strided *)b;

	if (b->ops != &strided_ops && b->ops != &strided_slow_ops)
		return NULL;
	return s->rank == 2 && s->dims[0] == rows && s->dims[1] == cols &&
			       s->start == 0 && s->strides[0] == 1 &&
			       (uint64_t)s->strides[1] == rows &&
			       s->from->size == b->size
		       ? s->from
		       : NULL;
}
