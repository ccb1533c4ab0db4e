/* SPDX-License-Identifier: MIT */
/* recurrent - one step of RNN, GRU and LSTM cells, in float32 or float64. */
#ifndef KERNEL_RECURRENT_H
#define KERNEL_RECURRENT_H

#include <stdbool.h>
#include <stddef.h>

enum cell { CELL_RNN, CELL_GRU, CELL_LSTM };

enum activation_kind {
	ACTIVATION_TANH,
	ACTIVATION_SIGMOID,
	ACTIVATION_RELU,
	ACTIVATION_AFFINE,
	ACTIVATION_LEAKY_RELU,
	ACTIVATION_THRESHOLDED_RELU,
	ACTIVATION_SCALED_TANH,
	ACTIVATION_HARD_SIGMOID,
	ACTIVATION_ELU,
	ACTIVATION_SOFTSIGN,
	ACTIVATION_SOFTPLUS
};

struct activation {
	enum activation_kind kind;
	float alpha, beta;
};

/* Gates of one sequence of a batch: n hidden units. */
struct recurrent {
	enum cell cell;
	size_t n;
	struct activation f, g, h;
	float clip;		  /* of what goes into the gates; 0: none */
	float cell_clip;	  /* LSTM: of the cell; 0: none */
	bool linear_before_reset; /* GRU */
	bool coupled;		  /* LSTM: forget = 1 - input */
	const void *peephole;	  /* LSTM: i o f, n each; or NULL */
};

/*
 * x: gates' inputs, W x + all biases (GRU: without the recurrence bias of
 * the hidden gate); rec: R h_prev (GRU: of the hidden gate too, used when
 * linear_before_reset); rec_bias: the GRU's hidden gate's, or NULL.
 * Gate orders are ONNX's: RNN i; GRU z r h; LSTM i o f c.
 *
 * LSTM: hidden and cell are the previous ones and become the new ones.  GRU in
 * two halves: gates fills z and r; hidden needs rec of the hidden gate (R
 * h_prev, or R (r h_prev) where !linear_before_reset).
 */
#define RECURRENT_DECLARE(suffix, real)                                        \
	real activation_apply_##suffix(const struct activation *a, real x);    \
	void recurrent_rnn_##suffix(const struct recurrent *r, const real *x,  \
				    const real *rec, real *hidden);            \
	void recurrent_lstm_##suffix(const struct recurrent *r, const real *x, \
				     const real *rec, real *hidden,            \
				     real *cell);                              \
	void recurrent_gru_gates_##suffix(const struct recurrent *r,           \
					  const real *x, const real *rec,      \
					  real *z, real *reset);               \
	void recurrent_gru_hidden_##suffix(                                    \
		const struct recurrent *r, const real *x, const real *rec,     \
		const real *rec_bias, const real *z, const real *reset,        \
		real *hidden);

RECURRENT_DECLARE(f32, float)
RECURRENT_DECLARE(f64, double)

#endif
