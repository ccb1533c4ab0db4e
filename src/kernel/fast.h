/* SPDX-License-Identifier: MIT */
/*
 * fast - the innermost float32 loops, once for every kind of processor.
 *
 * fast_body.h is compiled for each level with vectors of its width; fast_get
 * picks the best level the processor has, once.  Results differ between
 * levels within rounding, never between calls of one.
 */
#ifndef KERNEL_FAST_H
#define KERNEL_FAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/window.h"

/* What a number that is stored in 16 bits keeps: nearest, ties to even. */
enum rounding { ROUND_NONE, ROUND_FLOAT16, ROUND_BFLOAT16 };

/* Adding this leaves a number rounded to an integer in the low bits. */
#define ROUNDER 12582912.0f

struct quantum {
	float scale, zero;
	float lo, hi; /* of the integers */
	/* 1 / scale, and what is beyond all integers; 0: to be divided by. */
	float inverse, most;
};
/* All but lo and hi. */
struct quantum quantum_of(float scale, float zero);

/*
 * What is done to each number before it is stored, in this order.  rows and
 * columns are those of a tile; what is NULL is left out.  Rounded is what each
 * step gives, as if it had been stored; limits are taken as they are.
 */
struct finish {
	const float *row_bias;
	const float *row_scale, *row_shift; /* x * scale + shift */
	const float *col_bias;
	const float *add; /* laid out like the result */
	float lo, hi;	  /* -INFINITY, INFINITY: not limited */
	enum rounding round;
	bool requantise;
	struct quantum to, from; /* integers, and what they stand for */
	/* Of finish_settle: what is within lo and hi is within integers. */
	bool is_settled;
	float shift;
	float least; /* what the least integer stands for: so does a NaN */
};

/*
 * To be called when all is set: narrows the limits to what integers there are
 * stand for, where that gives the same and is faster.
 */
void finish_settle(struct finish *f);

/* The same from this row, column and element of the result on. */
struct finish finish_at(const struct finish *f, size_t row, size_t col,
			size_t at);

/* C = A B for m rows and n columns: n <= vectors * lanes. */
struct tile {
	size_t m, n, k;
	const float *a;
	size_t a_row, a_col;  /* from one row, or column, of A to the next */
	const uint32_t *a_at; /* NULL, or where each column of A is */
	const float *b;	      /* rows padded to whole vectors */
	size_t ldb;
	float *c;
	size_t ldc;
	bool sums; /* C holds sums to begin with; n is whole vectors */
	const struct finish *finish;
	/*
	 * What is needed next (NULL: the rows of A that follow): every block of rows fetches from it k
	 * times, moving on by ahead_step floats.  It may go beyond the end.
	 */
	const float *ahead;
	size_t ahead_step;
};

/*
 * C = alpha A B + beta C, of float32 or float64, as they lie: from one row, or
 * column, to the next.
 */
struct gemm_part {
	size_t m, n, k;
	const void *a, *b;
	void *c;
	size_t a_row, a_col, b_row, b_col, c_row, c_col;
	double alpha, beta; /* 0: C is not read */
};

/*
 * Products of pixels whose channels lie side by side, a vector of them at a
 * time (kernel/block.h): y[pixel] = the sum of w[k] * x[pixel + at k].
 */
struct block_tile {
	size_t m;	/* pixels */
	size_t vectors; /* of channels of y, as many as block_vectors */
	const float *x;
	size_t x_pixel;	    /* floats from one pixel to the next */
	const uint32_t *at; /* of runs of `lanes` numbers, from x on */
	size_t nruns, lanes;
	const float *weights; /* for each number, vectors */
	float *y;	      /* pixels are a vector apart */
	size_t y_vec;	      /* from one vector of channels to the next */
	bool sums;	      /* y holds sums to begin with */
	/* NULL: not yet.  Rows are the channels, whole vectors; add is like y. */
	const struct finish *finish;
	/* What is needed next, some of it fetched with every pixel; or NULL. */
	const float *ahead;
	size_t ahead_pixel; /* floats */
};

/*
 * A matrix the other way round: `out` has a row for each of the cols, ldo
 * apart, and is finished.
 */
struct turn {
	const float *in;
	size_t ld, rows, cols;
	float *out;
	size_t ldo;
	const struct finish *finish;
};

/* A plane with something around it: out's row 0 is row -top, column 0 -left. */
struct padding {
	const float *x;
	size_t height, width; /* of x */
	ptrdiff_t top, left;
	size_t rows, ld; /* of out */
	float edge;
	float *out;
};

/*
 * Windows as columns of a matrix: rows are (channel, tap), columns the
 * outputs [first, first + n).  Rows are ld apart, ld >= n and a vector more.
 */
struct columns {
	const struct window *w;
	const float *x, *x_end; /* of the first channel; of all there is */
	size_t channels, first, n, ld;
	float *out;
};

/*
 * A plane of one channel a group, 2-D, its strides 1 or 2.  x is padded: row
 * y + ky * dilation of output row y holds all its taps, and two vectors can be
 * read from any of them.
 */
struct depth {
	const struct window *w;
	const float *x;
	size_t ldx;
	const float *weights; /* one a tap; NULL: the greatest, not the sum */
	float *out;
	const struct finish *finish; /* of one row */
};

/*
 * A row of as many channels as a vector has lanes, side by side.  rows: where
 * each row of the window lies in x, and `edge` what lies left and right of it.
 */
struct depth_row {
	const struct window *w;
	const float *const *rows; /* kernel[1] */
	float edge;
	const float *weights; /* for each tap, a vector; NULL: the greatest */
	float *out;
	const struct finish *finish; /* rows are the channels, a vector */
};

/*
 * A row of Winograd's tiles of side x side results, 2 or 4, for as many
 * channels as a vector has lanes, side by side.  Number p of a tile is p * step
 * floats after the first one; tiles are side by side.
 */
struct wino_tiles {
	size_t side, across, step;
	size_t pitch; /* pixels of a row, padded; of the result: its columns */
	/* Of the result alone: rows there are, and channels are finish's rows. */
	size_t rows;
	const struct finish *finish;
};

enum fast_math {
	FAST_EXP,
	FAST_TANH,
	FAST_ERF,
	FAST_SIGMOID,
	FAST_GELU,
	FAST_GELU_TANH,
	FAST_SWISH, /* alpha 1 */
	FAST_MATH_COUNT
};

enum fast_binary { FAST_ADD, FAST_SUB, FAST_MUL, FAST_DIV, FAST_BINARY_COUNT };

struct fast {
	const char *name;
	size_t lanes, vectors; /* of a tile; it is at its best with */
	size_t rows;	       /* a multiple of these */
	void (*tile)(const struct tile *t);
	/* NULL: BLAS does better. */
	void (*gemm_f32)(const struct gemm_part *g);
	void (*gemm_f64)(const struct gemm_part *g);
	/* Pixels of a tile of so many vectors; up to block_vectors. */
	const size_t *block_pixels;
	size_t block_vectors;
	void (*block_tile)(const struct block_tile *t);
	void (*turn)(const struct turn *t);
	/* The rows of one tap, for all channels. */
	void (*columns)(const struct columns *c, size_t tap);
	void (*depth)(const struct depth *d);
	void (*depth_row)(const struct depth_row *d);
	/* May write a vector beyond out. */
	void (*pad)(const struct padding *p);
	/* x, of which side + 2 rows are read, to numbers; and back. */
	void (*wino_in)(const struct wino_tiles *w, const float *x, float *out);
	void (*wino_out)(const struct wino_tiles *w, const float *m, float *y);
	/*
	 * Nine weights of `width` pairs of channels, side by side, whole
	 * vectors, to (side + 2) ** 2 numbers that are `step` apart.
	 */
	void (*wino_form)(size_t side, const float *g, size_t width, float *out,
			  size_t step);
	/* Numbers to integers, still floats; and back. */
	void (*quantize)(const struct quantum *q, const float *x, float *y,
			 size_t n);
	void (*dequantize)(const struct quantum *q, const float *x, float *y,
			   size_t n);
	/* y = x * scale + shift */
	void (*affine)(const float *x, float scale, float shift, float *y,
		       size_t n);
	void (*finish)(const struct finish *f, const float *x, float *y,
		       size_t n);
	void (*math)(enum fast_math op, const float *x, float *y, size_t n);
	/*
	 * float16, rounded to the nearest, to even; NULL where the processor
	 * has no instructions for it.
	 */
	void (*from_half)(const uint16_t *x, float *y, size_t n);
	void (*to_half)(const float *x, uint16_t *y, size_t n);
	/* What 16 bits keep, as float32 again; y may be x. */
	void (*round)(enum rounding r, const float *x, float *y, size_t n);
	/* bfloat16, rounded in the same way; a NaN becomes a quiet one. */
	void (*to_bfloat)(const float *x, uint16_t *y, size_t n);
	/* step: 1, or 0 for one number that goes with all. */
	void (*binary)(enum fast_binary op, const float *x, size_t x_step,
		       const float *y, size_t y_step, float *out, size_t n);
	void (*softmax)(const float *x, float *y, size_t n);
	/* Of the numbers, or of their squares. */
	double (*sum)(const float *x, size_t n, bool squares);
	/* Mean and mean square distance from it (from 0: not centred). */
	void (*moments)(const float *x, size_t n, bool centred, double *mean,
			double *variance);
	/* (x - mean) * inv [* scale] [+ bias] */
	void (*normalise)(const float *x, float mean, float inv,
			  const float *scale, const float *bias, float *y,
			  size_t n);
};

const struct fast *fast_get(void);
/*
 * From now on this level ("avx512", "avx2", "portable"), for tests; false when
 * the processor lacks it.  The environment variable MODELFS_CPU does the same
 * before the first call.
 */
bool fast_force(const char *name);

/* By level; NULL where the compiler cannot make it. */
extern const struct fast fast_portable;
#if defined(__x86_64__)
extern const struct fast fast_avx2, fast_avx512;
#endif

#endif
