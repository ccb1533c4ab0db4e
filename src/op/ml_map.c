/* SPDX-License-Identifier: MIT */
/*
 * ml_map - maps to and from tensors: ZipMap, DictVectorizer, CastMap; and
 * CategoryMapper, whose map is in the file.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "op/impl.h"
#include "op/ml.h"

/* ---- ZipMap: a row of scores to a map from labels ---- */
static int infer_zip(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	struct shape s = shape_of(1, &(int64_t){DIM_UNKNOWN});
	int rc = op_need_rank(c, 0, 1, 2, e);

	if (x->rank > 0)
		s.dims[0] = x->rank == 2 ? x->dims[0] : 1;
	op_out(c, 0, DTYPE_SEQUENCE, &s);
	return rc;
}

/* The labels as a tensor of their own; owned. */
static int label_tensor(const struct ml_labels *l, struct tensor *out,
			struct err *e)
{
	struct string_list *list;
	int rc = 0;

	*out = (struct tensor){.dtype = l->strings ? DTYPE_STRING : DTYPE_I64,
			       .shape =
				       shape_of(1, (int64_t[]){(int64_t)l->n})};
	if (!l->strings) {
		out->data = blob_copy(l->ints, l->n * sizeof(*l->ints));
		return out->data ? 0 : err_nomem(e, l->n * sizeof(*l->ints));
	}
	list = string_list_new();
	for (size_t i = 0; list && rc == 0 && i < l->n; i++)
		rc = string_list_add(list, l->strings[i].p, l->strings[i].len);
	if (list && rc == 0) {
		out->data = string_list_finish(list);
		list = NULL;
	}
	string_list_free(list);
	return out->data ? 0 : err_nomem(e, l->n);
}

static int zip_rows(struct op_call *c, const struct tensor *keys,
		    struct blob *scores, struct tensor *maps, uint64_t rows,
		    struct err *e)
{
	size_t nbytes = (size_t)keys->shape.dims[0] * sizeof(float);

	for (uint64_t r = 0; r < rows; r++) {
		struct tensor pair[2] = {
			*keys, {.dtype = DTYPE_F32, .shape = keys->shape}};

		pair[1].data = blob_slice(blob_ref(scores), r * nbytes, nbytes);
		maps[r] = (struct tensor){.dtype = DTYPE_MAP,
					  .shape = keys->shape};
		if (pair[1].data)
			maps[r].data = blob_items(pair, 2);
		blob_unref(pair[1].data);
		if (!maps[r].data)
			return err_nomem(e, nbytes);
		if (r % 1024 == 0 && op_check_stop(c, e) < 0)
			return -EINTR;
	}
	return 0;
}

static int give_maps(struct op_call *c, const struct tensor *keys,
		     struct blob *scores, uint64_t rows, struct err *e)
{
	struct tensor *maps = calloc(rows + 1, sizeof(*maps));
	struct tensor t = {.dtype = DTYPE_SEQUENCE,
			   .shape = shape_of(1, (int64_t[]){(int64_t)rows})};
	int rc = maps ? zip_rows(c, keys, scores, maps, rows, e)
		      : err_nomem(e, rows * sizeof(*maps));

	if (rc == 0) {
		t.data = blob_items(maps, rows);
		rc = t.data ? op_give(c, 0, &t, e)
			    : err_nomem(e, rows * sizeof(*maps));
	}
	blob_unref(t.data);
	for (uint64_t r = 0; maps && r < rows; r++)
		tensor_drop(&maps[r]);
	free(maps);
	return rc;
}

static int eval_zip(struct op_call *c, struct err *e)
{
	const struct shape *x = op_shape(c, 0);
	uint64_t n = op_nelems(c, 0), rows;
	struct tensor keys = {0};
	struct blob *scores = NULL;
	struct ml_labels l;
	const float *in;
	void *p;
	int rc = op_need_rank(c, 0, 1, 2, e);

	ml_labels_read(c, "classlabels_int64s", "classlabels_strings", &l);
	if (rc < 0)
		return rc;
	if (l.n == 0 || (uint64_t)x->dims[x->rank - 1] != l.n)
		return op_invalid(c, e, "%zu labels of %lld scores", l.n,
				  (long long)x->dims[x->rank - 1]);
	rows = x->rank == 2 ? (uint64_t)x->dims[0] : 1;
	rc = op_in_f32(c, 0, &in, e);
	if (rc == 0)
		rc = c->env->alloc(c->env, n * sizeof(float), &scores, &p, e);
	if (rc == 0 && n > 0)
		memcpy(p, in, n * sizeof(float));
	if (rc == 0)
		rc = label_tensor(&l, &keys, e);
	if (rc == 0)
		rc = give_maps(c, &keys, scores, rows, e);
	tensor_drop(&keys);
	blob_unref(scores);
	return rc;
}

/* ---- reading a map ---- */

struct pairs {
	const struct tensor *keys, *values;
	size_t n;
};

static int read_map(struct op_call *c, struct pairs *p, struct err *e)
{
	const struct tensor *t = &c->in[0];
	size_t n = 0;
	const struct tensor *items = t->dtype == DTYPE_MAP && t->data
					     ? blob_get_items(t->data, &n)
					     : NULL;

	if (!items || n != 2)
		return op_bad_dtype(c, 0, e);
	*p = (struct pairs){&items[0], &items[1], (size_t)t->shape.dims[0]};
	if (!blob_bytes(p->keys->data) || !blob_bytes(p->values->data))
		return op_invalid(c, e, "the map is not in memory");
	return 0;
}

/* ---- DictVectorizer: values in the order of a vocabulary ---- */

/* The pair whose key is word k of the vocabulary; the count: there is none. */
static size_t find_pair(const struct pairs *p, const struct ml_labels *words,
			size_t k)
{
	size_t i = 0, len;

	for (; i < p->n; i++) {
		const char *s;

		if (!words->strings) {
			const int64_t *keys = blob_bytes(p->keys->data);

			if (keys[i] == words->ints[k])
				break;
			continue;
		}
		s = tensor_string(p->keys, i, &len);
		if (len == words->strings[k].len &&
		    memcmp(s, words->strings[k].p, len) == 0)
			break;
	}
	return i;
}

static int eval_vectorizer(struct op_call *c, struct err *e)
{
	struct op_call one = *c;
	struct ml_labels words;
	struct shape s;
	struct pairs p;
	const void *in;
	size_t size;
	void *out;
	int rc = read_map(c, &p, e);

	ml_labels_read(c, "int64_vocabulary", "string_vocabulary", &words);
	if (rc < 0)
		return rc;
	if ((p.keys->dtype == DTYPE_STRING) != (words.strings != NULL))
		return op_invalid(c, e, "a vocabulary of another type");
	one.in = p.values;
	one.nin = 1;
	rc = op_elems(&one, 0, &in, &size, e);
	c->scratch = one.scratch;
	s = shape_of(2, (int64_t[]){1, (int64_t)words.n});
	if (rc == 0)
		rc = op_alloc_elems(c, 0, p.values->dtype, &s, &out, e);
	if (rc < 0)
		return rc;
	memset(out, 0, words.n * size);
	for (size_t k = 0; k < words.n; k++) {
		size_t i = find_pair(&p, &words, k);

		if (i < p.n)
			memcpy((char *)out + k * size,
			       (const char *)in + i * size, size);
	}
	return 0;
}

/* ---- CastMap: values by their key, as another type ---- */

struct cast {
	enum dtype to;
	const struct tensor *values;
	struct string_list *strings; /* TO_STRING */
	void *out;
};

static double number_of(const struct tensor *t, size_t i)
{
	size_t len;

	if (t->dtype == DTYPE_STRING)
		return strtod(tensor_string(t, i, &len), NULL);
	return (double)((const float *)blob_bytes(t->data))[i];
}

static int cast_string(struct cast *x, size_t i, struct err *e)
{
	char buf[64];
	const char *s = buf;
	size_t len;

	if (x->values->dtype == DTYPE_STRING)
		s = tensor_string(x->values, i, &len);
	else
		len = (size_t)snprintf(buf, sizeof(buf), "%f",
				       number_of(x->values, i));
	return string_list_add(x->strings, s, len) < 0 ? err_nomem(e, len) : 0;
}

/* Place k of the result is pair i; i beyond the map: nothing. */
static int cast_pair(struct op_call *c, struct cast *x, size_t k, size_t i,
		     size_t n, struct err *e)
{
	double v = i < n && x->to != DTYPE_STRING ? number_of(x->values, i) : 0;

	if (x->to == DTYPE_F32)
		((float *)x->out)[k] = (float)v;
	else if (x->to == DTYPE_I64 && !(v >= -0x1p63 && v < 0x1p63))
		return op_invalid(c, e, "%g is no int64", v);
	else if (x->to == DTYPE_I64)
		((int64_t *)x->out)[k] = (int64_t)v;
	else if (i < n)
		return cast_string(x, i, e);
	else if (string_list_add(x->strings, "", 0) < 0)
		return err_nomem(e, 1);
	return 0;
}

/* The pair with the smallest key of at least `least`; n: none. */
static size_t next_pair(const int64_t *keys, size_t n, int64_t least)
{
	size_t best = n;

	for (size_t i = 0; i < n; i++)
		if (keys[i] >= least && (best == n || keys[i] < keys[best]))
			best = i;
	return best;
}

static int cast_all(struct op_call *c, struct cast *x, const struct pairs *p,
		    bool dense, size_t n, struct err *e)
{
	const int64_t *keys = blob_bytes(p->keys->data);
	int64_t least = 0;
	int rc = 0;

	for (size_t k = 0; rc == 0 && k < n; k++) {
		size_t i = next_pair(keys, p->n, dense ? least : (int64_t)k);

		if (!dense && i < p->n && keys[i] != (int64_t)k)
			i = p->n;
		if (dense && i < p->n)
			least = keys[i] + 1;
		rc = cast_pair(c, x, k, i, p->n, e);
		if (rc == 0 && k % 256 == 0)
			rc = op_check_stop(c, e);
	}
	return rc;
}

static int cast_type(struct op_call *c, enum dtype *out, struct err *e)
{
	const char *to = op_attr_str(c, "cast_to", "TO_FLOAT");

	if (strcmp(to, "TO_FLOAT") == 0)
		*out = DTYPE_F32;
	else if (strcmp(to, "TO_STRING") == 0)
		*out = DTYPE_STRING;
	else if (strcmp(to, "TO_INT64") == 0)
		*out = DTYPE_I64;
	else
		return op_invalid(c, e, "cast_to");
	return 0;
}

static int give_strings(struct op_call *c, struct cast *x,
			const struct shape *s, struct err *e)
{
	struct tensor t = {.dtype = DTYPE_STRING, .shape = *s};
	int rc;

	t.data = string_list_finish(x->strings);
	x->strings = NULL;
	if (!t.data)
		return err_nomem(e, 64);
	rc = op_give(c, 0, &t, e);
	blob_unref(t.data);
	return rc;
}

static int eval_cast_map(struct op_call *c, struct err *e)
{
	bool dense = strcmp(op_attr_str(c, "map_form", "DENSE"), "DENSE") == 0;
	int64_t most = op_attr_int(c, "max_map", 1);
	struct cast x = {0};
	struct shape s;
	struct pairs p;
	int rc = read_map(c, &p, e);

	if (rc == 0)
		rc = cast_type(c, &x.to, e);
	if (rc < 0)
		return rc;
	if (p.keys->dtype != DTYPE_I64 ||
	    (p.values->dtype != DTYPE_F32 && p.values->dtype != DTYPE_STRING))
		return op_bad_dtype(c, 0, e);
	if (!dense && (most < 0 || most > (1 << 24)))
		return op_invalid(c, e, "max_map");
	s = shape_of(2, (int64_t[]){1, dense ? (int64_t)p.n : most});
	x.values = p.values;
	if (x.to == DTYPE_STRING) {
		x.strings = string_list_new();
		rc = x.strings ? 0 : err_nomem(e, 64);
	} else {
		rc = op_alloc(c, 0, x.to, &s, &x.out, e);
	}
	if (rc == 0)
		rc = cast_all(c, &x, &p, dense, (size_t)s.dims[1], e);
	if (rc == 0 && x.strings)
		rc = give_strings(c, &x, &s, e);
	string_list_free(x.strings);
	return rc;
}

/* ---- CategoryMapper: strings to integers, or back ---- */

static int infer_category(struct op_call *c, struct err *e)
{
	enum dtype t = op_dtype(c, 0);

	(void)e;
	if (t == DTYPE_STRING || t == DTYPE_I64)
		op_out(c, 0, t == DTYPE_I64 ? DTYPE_STRING : DTYPE_I64,
		       op_shape(c, 0));
	return 0;
}

static int eval_category(struct op_call *c, struct err *e)
{
	const struct attr *a = node_attr(c->node, "default_string");
	struct span other = {.p = "_Unused", .len = 7};
	int64_t none = op_attr_int(c, "default_int64", -1);
	bool to_text = op_dtype(c, 0) == DTYPE_I64;
	const struct span *words;
	const int64_t *ints;
	size_t nwords = 0, nints = 0, size, k;
	const void *in;
	void *out;
	int rc = op_elems(c, 0, &in, &size, e);

	op_attr_strings(c, "cats_strings", &words, &nwords);
	op_attr_ints(c, "cats_int64s", &ints, &nints);
	if (a && a->kind == ATTR_STRING)
		other = a->s;
	if (rc == 0 && nwords != nints)
		return op_invalid(c, e, "%zu words, %zu numbers", nwords,
				  nints);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, to_text ? DTYPE_STRING : DTYPE_I64,
				    op_shape(c, 0), &out, e);
	for (uint64_t i = 0; rc == 0 && i < op_nelems(c, 0); i++) {
		const struct span *s = (const struct span *)in + i;

		for (k = 0; k < nwords; k++)
			if (to_text ? ((const int64_t *)in)[i] == ints[k]
				    : s->len == words[k].len &&
					      memcmp(s->p, words[k].p,
						     s->len) == 0)
				break;
		if (to_text)
			((struct span *)out)[i] = k < nwords ? words[k] : other;
		else
			((int64_t *)out)[i] = k < nwords ? ints[k] : none;
	}
	return rc;
}

const struct op ops_ml_map[] = {
	{ML, "ZipMap", 1, 1, 1, 1, 1, 0, 0, infer_zip, eval_zip},
	{ML, "DictVectorizer", 1, 1, 1, 1, 1, 0, 0, NULL, eval_vectorizer},
	{ML, "CastMap", 1, 1, 1, 1, 1, 0, 0, NULL, eval_cast_map},
	{ML, "CategoryMapper", 1, 1, 1, 1, 1, 0, 0, infer_category,
	 eval_category},
	{0},
};
