/* SPDX-License-Identifier: MIT */
/*
 * compact - a recurrent layer over sequences of which some steps are left out.
 *
 * Such a step changes no state, and what the layer hands out for it is what it
 * handed out for the step before.  So the steps that count are moved to the
 * front, in their order; ONNX's operators run over as many; and each step
 * fetches the result of the last one that counts, zeros where there is none.
 */
#include <errno.h>

#include "modelfs/err.h"

#include "format/keras/rnn.h"

static int sum_steps(struct keras_call *c, value_id in, value_id *out,
		     struct err *e)
{
	int64_t axis = 1;
	struct attr a[2] = {{0}, attr_set_int("keepdims", 1)};
	struct step s = {.what = "mask_total",
			 .type = "ReduceSum",
			 .opset = 11, /* the axes are an attribute */
			 .in = &in,
			 .nin = 1,
			 .attrs = a,
			 .nattrs = 2};
	int rc = attr_set_ints(&c->at, "axes", &axis, 1, &a[0], e);

	return rc < 0 ? rc : steps_inner(&c->at, &s, out, e);
}

static int choose(struct keras_call *c, const char *what, value_id which,
		  value_id a, value_id b, value_id *out, struct err *e)
{
	value_id in[] = {which, a, b};
	struct step s = {.what = what, .type = "Where", .in = in, .nin = 3};

	return steps_inner(&c->at, &s, out, e);
}

/* Of each sequence the steps that idx says: [batch, steps] of each. */
static int fetch(struct keras_call *c, const char *what, value_id x,
		 value_id idx, value_id *out, struct err *e)
{
	struct attr a = attr_set_int("batch_dims", 1);
	value_id in[2] = {x, idx};
	struct step s = {.what = what,
			 .type = "GatherND",
			 .in = in,
			 .nin = 2,
			 .attrs = &a,
			 .nattrs = 1};

	return steps_inner(&c->at, &s, out, e);
}

/* How many steps count up to each, itself included, and how many do not. */
static int count(struct keras_call *c, value_id mask, struct rnn_mask *m,
		 value_id *not_counted, struct err *e)
{
	value_id one = NO_VALUE, axis, v;
	int64_t along = 1;
	int rc = steps_cast(&c->at, "mask_numbers", 7, mask, &m->numbers,
			    e); /* int64 */

	m->mask = mask;
	if (rc == 0)
		rc = steps_ints(&c->at, "mask_one", &along, 1, &one, e);
	if (rc == 0)
		rc = steps_axis(&c->at, "mask_axis", "Squeeze", 0, one, &axis,
				e);
	if (rc == 0)
		rc = steps_make(&c->at, "mask_rank", "CumSum", m->numbers, axis,
				&m->rank, e);
	if (rc == 0)
		rc = steps_make(&c->at, "mask_left", "Sub", one, m->numbers, &v,
				e);
	if (rc == 0)
		rc = steps_make(&c->at, "mask_left_rank", "CumSum", v, axis,
				not_counted, e);
	if (rc == 0)
		rc = sum_steps(c, m->numbers, &m->total, e);
	m->one = one;
	return rc;
}

/* Step i of the sequence becomes which one, and the number i itself. */
static int find_places(struct keras_call *c, const struct rnn_mask *m,
		       value_id not_counted, value_id *place, value_id *number,
		       struct err *e)
{
	value_id front, back;
	int rc = steps_make(&c->at, "mask_front", "Sub", m->rank, m->one,
			    &front, e);

	if (rc == 0)
		rc = steps_make(&c->at, "mask_number", "Add", front,
				not_counted, number, e);
	if (rc == 0)
		rc = steps_make(&c->at, "mask_behind", "Add", m->total,
				not_counted, &back, e);
	if (rc == 0)
		rc = steps_make(&c->at, "mask_back", "Sub", back, m->one, &back,
				e);
	return rc < 0 ? rc
		      : choose(c, "mask_place", m->mask, front, back, place, e);
}

static int set_lengths(struct keras_call *c, struct rnn_mask *m, struct err *e)
{
	value_id v;
	int rc =
		steps_axis(&c->at, "mask_count", "Squeeze", 1, m->total, &v, e);

	/* int32 */
	return rc < 0 ? rc
		      : steps_cast(&c->at, "mask_lengths", 6, v, &m->lengths,
				   e);
}

int rnn_compact(struct keras_call *c, value_id mask, value_id *x,
		struct rnn_mask *m, struct err *e)
{
	struct attr a = attr_set_int("axis", 1);
	value_id not_counted, in[3], order;
	struct step s = {.what = "mask_order",
			 .type = "ScatterElements",
			 .in = in,
			 .nin = 3,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = count(c, mask, m, &not_counted, e);

	if (rc == 0)
		rc = find_places(c, m, not_counted, &in[1], &in[0], e);
	in[2] = in[0];
	if (rc == 0)
		rc = steps_inner(&c->at, &s, &order, e);
	if (rc == 0)
		rc = steps_axis(&c->at, "mask_indices", "Unsqueeze", 2, order,
				&order, e);
	if (rc == 0)
		rc = fetch(c, "compact", *x, order, x, e);
	return rc < 0 ? rc : set_lengths(c, m, e);
}

/* Which of the compact steps each asks for, and whether there is one. */
static int find_source(struct keras_call *c, const struct recurrent *r,
		       const struct rnn_mask *m, bool is_zero, value_id *idx,
		       value_id *has, struct err *e)
{
	value_id zero, less = r->is_backward ? m->numbers : m->one;
	int64_t none = 0;
	int rc = steps_ints(&c->at, rnn_name(c, r, "mask_zero"), &none, 1,
			    &zero, e);

	if (rc == 0)
		rc = steps_make(&c->at, rnn_name(c, r, "mask_source"), "Sub",
				m->rank, less, idx, e);
	*has = m->mask;
	if (rc == 0 && !is_zero)
		rc = steps_make(&c->at, rnn_name(c, r, "mask_has"), "Less",
				r->is_backward ? *idx : zero,
				r->is_backward ? m->total : m->rank, has, e);
	return rc < 0 ? rc
		      : choose(c, rnn_name(c, r, "mask_from"), *has, *idx, zero,
			       idx, e);
}

int rnn_spread(struct keras_call *c, const struct recurrent *r, bool is_zero,
	       value_id *y, struct err *e)
{
	value_id idx, has, zero;
	int rc = find_source(c, r, &r->mask, is_zero, &idx, &has, e);

	if (rc == 0)
		rc = steps_axis(&c->at, rnn_name(c, r, "mask_from_indices"),
				"Unsqueeze", 2, idx, &idx, e);
	if (rc == 0)
		rc = steps_axis(&c->at, rnn_name(c, r, "mask_has_any"),
				"Unsqueeze", 2, has, &has, e);
	if (rc == 0)
		rc = fetch(c, rnn_name(c, r, "spread"), *y, idx, y, e);
	if (rc == 0)
		rc = steps_float(&c->at, rnn_name(c, r, "nothing"), 0, &zero,
				 e);
	return rc < 0 ? rc
		      : choose(c, rnn_name(c, r, "masked"), has, *y, zero, y,
			       e);
}

int rnn_last(struct keras_call *c, const struct recurrent *r, value_id *y,
	     struct err *e)
{
	value_id none, zero, has;
	int64_t number = 0;
	int rc = steps_ints(&c->at, rnn_name(c, r, "mask_zero"), &number, 1,
			    &none, e);

	if (rc == 0)
		rc = steps_make(&c->at, rnn_name(c, r, "mask_has"), "Greater",
				r->mask.total, none, &has, e);
	if (rc == 0)
		rc = steps_float(&c->at, rnn_name(c, r, "nothing"), 0, &zero,
				 e);
	return rc < 0 ? rc
		      : choose(c, rnn_name(c, r, "masked"), has, *y, zero, y,
			       e);
}
