/* SPDX-License-Identifier: MIT */
/* batchnorm - BatchNormalization, apart or behind a convolution. */
#include <math.h>

#include "kernel/fast.h"
#include "kernel/norm.h"
#include "op/impl.h"
#include "op/norm.h"

static int infer_batch(struct op_call *c, struct err *e)
{
	int rc = op_need_rank(c, 0, 1, SHAPE_RANK_MAX, e);

	op_out(c, 0, c->in[0].dtype, op_shape(c, 0));
	for (size_t i = 1; i < c->nout; i++)
		op_out(c, i, op_dtype(c, 3 + (i - 1) % 2),
		       op_shape(c, 3 + (i - 1) % 2));
	return rc;
}

struct batch {
	enum num t;
	uint64_t channels, inner;
	const void *v[4]; /* scale, bias, mean, variance */
	double epsilon;
	const void *a, *b; /* y = x a + b */
};

static int batch_read(struct op_call *c, struct batch *b, struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	bool spatial = c->node->opset >= 9 || op_attr_int(c, "spatial", 1);
	int rc = norm_type(c, &b->t, e);

	if (rc < 0)
		return rc;
	b->channels = s->rank > 1 ? (uint64_t)s->dims[1] : 1;
	b->inner = s->rank > 2 ? shape_span(s, 2, s->rank) : 1;
	if (!spatial) {
		b->channels *= b->inner;
		b->inner = 1;
	}
	b->epsilon = (double)op_attr_float(c, "epsilon", 1e-5f);
	for (size_t i = 0; i < 4 && rc == 0; i++)
		rc = norm_per_channel(c, i + 1, b->channels, &b->v[i], e);
	return rc;
}

/* This batch's own statistics, for training_mode. */
static int batch_statistics(struct op_call *c, struct batch *b, const void *x,
			    void *stats[2], struct err *e)
{
	const struct shape *s = op_shape(c, 0);
	uint64_t n = (uint64_t)s->dims[0];
	int rc = 0;

	for (int i = 0; i < 2 && rc == 0; i++)
		rc = op_temp_array(c, b->channels, sizeof(double), &stats[i],
				   e);
	for (uint64_t ch = 0; ch < b->channels && rc == 0; ch++) {
		double sum = 0, squares = 0, count = (double)(n * b->inner);
		double mean;

		for (uint64_t i = 0; i < n * b->inner; i++)
			sum += norm_get(b->t, x,
					(i / b->inner * b->channels + ch) *
							b->inner +
						i % b->inner);
		mean = sum / count;
		for (uint64_t i = 0; i < n * b->inner; i++) {
			double d = norm_get(b->t, x,
					    (i / b->inner * b->channels + ch) *
							    b->inner +
						    i % b->inner) -
				   mean;

			squares += d * d;
		}
		norm_set(b->t, stats[0], ch, mean);
		norm_set(b->t, stats[1], ch, squares / count);
		rc = op_check_stop(c, e);
	}
	return rc;
}

/* Outputs 1 and 2: the running statistics, moved towards the batch's. */
static int batch_running(struct op_call *c, const struct batch *b,
			 void *const stats[2], struct err *e)
{
	double momentum = op_attr_float(c, "momentum", 0.9f);

	for (size_t i = 0; i < 2; i++) {
		void *out;
		int rc = op_alloc_as(c, i + 1, op_dtype(c, 3 + i),
				     norm_dtype(b->t), op_shape(c, 3 + i), &out,
				     e);

		if (rc < 0)
			return rc;
		for (uint64_t k = 0; k < b->channels; k++)
			norm_set(b->t, out, k,
				 norm_get(b->t, b->v[2 + i], k) * momentum +
					 norm_get(b->t, stats[i], k) *
						 (1 - momentum));
	}
	return 0;
}

/* out: all factors, then all summands. */
static void fill_affine(const struct kernel *k, const void *ctx, const void *in,
			void *out)
{
	const struct batch *b = ctx;

	(void)k;
	for (uint64_t i = 0; i < b->channels; i++) {
		double scale = norm_get(b->t, in, i) /
			       sqrt(norm_get(b->t, b->v[3], i) + b->epsilon);

		norm_set(b->t, out, i, scale);
		norm_set(b->t, out, b->channels + i,
			 norm_get(b->t, b->v[1], i) -
				 norm_get(b->t, b->v[2], i) * scale);
	}
}

/* b->a and b->b from what is in b->v; kept where that is constant. */
static int batch_affine(struct op_call *c, struct batch *b, struct err *e)
{
	const uint64_t all = 0x1e; /* inputs 1 to 4 */
	struct op_form form = {.fill = fill_affine, .ctx = b};
	const void *p;
	void *room;
	int rc = 0;

	form.nbytes = 2 * b->channels * num_size(b->t);
	if ((c->constants & all) == all) {
		rc = op_form(c, 1, norm_dtype(b->t), &form, &p, e);
	} else {
		rc = op_temp(c, form.nbytes, &room, e);
		if (rc == 0)
			fill_affine(&c->env->kernel, b, b->v[0], room);
		p = room;
	}
	if (rc < 0)
		return rc;
	b->a = p;
	b->b = (const char *)p + form.nbytes / 2;
	return 0;
}

static int join_batch(struct op_call *c, size_t flow, struct finish *f,
		      struct err *e)
{
	struct batch b;
	int rc;

	if (flow != 0 || !op_is_short_float(c->in[0].dtype) || c->nout != 1 ||
	    op_shape(c, 0)->rank < 3 || c->node->opset < 9 ||
	    op_attr_int(c, "training_mode", 0) != 0)
		return 0;
	if (!f)
		return OP_STAGE_AFFINE;
	rc = batch_read(c, &b, e);
	if (rc == 0)
		rc = batch_affine(c, &b, e);
	if (rc < 0)
		return rc;
	f->row_scale = b.a;
	f->row_shift = b.b;
	return 0;
}

static int eval_batch(struct op_call *c, struct err *e)
{
	bool training =
		c->node->opset >= 14 && op_attr_int(c, "training_mode", 0) != 0;
	struct channel_affine a;
	void *stats[2], *out;
	uint64_t per_item;
	struct batch b;
	const void *x;
	int rc = infer_batch(c, e);

	if (rc == 0)
		rc = batch_read(c, &b, e);
	if (rc == 0)
		rc = op_in(c, 0, &b.t, &x, e);
	if (rc == 0 && training) {
		rc = batch_statistics(c, &b, x, stats, e);
		if (rc == 0)
			rc = batch_running(c, &b, stats, e);
		b.v[2] = stats[0];
		b.v[3] = stats[1];
	}
	for (size_t i = 1; i < c->nout && rc == 0 && !training; i++)
		rc = op_give(c, i, &c->in[3 + (i - 1) % 2], e);
	if (rc == 0)
		rc = op_out_as(c, 0, c->in[0].dtype, op_shape(c, 0), &out, e);
	if (training) /* these statistics are not the constant ones */
		c->constants = 0;
	if (rc == 0)
		rc = batch_affine(c, &b, e);
	if (rc < 0)
		return rc;
	per_item = b.channels * b.inner;
	a = (struct channel_affine){.type = b.t,
				    .channels = b.channels,
				    .inner = b.inner,
				    .scale = b.a,
				    .shift = b.b};
	a.n = per_item > 0 ? op_nelems(c, 0) / per_item : 0;
	norm_channels(&c->env->kernel, &a, x, out);
	return 0;
}

const struct op ops_batchnorm[] = {
	{ONNX, "BatchNormalization", 1, 5, 5, 1, 5, OP_WRITES_ALL, 0,
	 infer_batch, eval_batch, .join = join_batch},
	{0},
};
