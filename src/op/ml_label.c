/* SPDX-License-Identifier: MIT */
/* ml_label - LabelEncoder: keys to values. */
#include <math.h>
#include <stdio.h>

#include "modelfs/map.h"
#include "op/impl.h"

/* Keys or values: from one of several attributes. */
struct entries {
	enum dtype t;
	const void *p; /* spans for strings */
	size_t n, size;
};

static int read_entries(struct op_call *c, const char *what, struct entries *v,
			struct err *e)
{
	char name[40];
	const struct tensor *t;
	struct tensor loaded;
	struct op_call one = *c;
	const float *f;
	const int64_t *i;
	const struct span *s;
	int rc;

	*v = (struct entries){0};
	snprintf(name, sizeof(name), "%s_tensor", what);
	t = op_attr_tensor(c, name);
	if (t) {
		rc = op_load(c, t, &loaded, e);
		if (rc < 0)
			return rc;
		one.scratch = c->scratch;
		one.in = &loaded;
		one.nin = 1;
		rc = op_elems(&one, 0, &v->p, &v->size, e);
		v->n = op_nelems(&one, 0);
		v->t = t->dtype;
		c->scratch = one.scratch;
		return rc;
	}
	snprintf(name, sizeof(name), "%s_strings", what);
	if (op_attr_strings(c, name, &s, &v->n) && v->n > 0) {
		v->p = s;
		v->t = DTYPE_STRING;
		v->size = sizeof(*s);
		return 0;
	}
	snprintf(name, sizeof(name), "%s_int64s", what);
	if (op_attr_ints(c, name, &i, &v->n) && v->n > 0) {
		v->p = i;
		v->t = DTYPE_I64;
		v->size = sizeof(*i);
		return 0;
	}
	snprintf(name, sizeof(name), "%s_floats", what);
	if (op_attr_floats(c, name, &f, &v->n) && v->n > 0) {
		v->p = f;
		v->t = DTYPE_F32;
		v->size = sizeof(*f);
		return 0;
	}
	return op_invalid(c, e, "no %s", what);
}

/* What unknown keys become. */
static int read_default(struct op_call *c, enum dtype t, uint8_t out[16],
			struct err *e)
{
	const struct tensor *d = op_attr_tensor(c, "default_tensor");
	const struct attr *a = node_attr(c->node, "default_string");
	struct span s = {.p = "_Unused", .len = 7};
	int64_t i = op_attr_int(c, "default_int64", -1);
	float f = op_attr_float(c, "default_float", -0.0f);

	if (d && d->dtype == t && d->data && d->data->size <= 16 &&
	    t != DTYPE_STRING)
		return blob_read_full(d->data, out, d->data->size, 0, e);
	if (a && a->kind == ATTR_STRING)
		s = a->s;
	if (d && t == DTYPE_STRING && d->dtype == t) {
		struct tensor loaded;
		uint64_t n;
		int rc = op_load(c, d, &loaded, e);

		if (rc < 0)
			return rc;
		if (!shape_nelems(&loaded.shape, &n) || n != 1)
			return op_invalid(c, e, "default_tensor");
		s.p = tensor_string(&loaded, 0, &s.len);
	}
	if (t == DTYPE_STRING)
		memcpy(out, &s, sizeof(s));
	else if (t == DTYPE_F32)
		memcpy(out, &f, sizeof(f));
	else
		memcpy(out, &i, sizeof(i));
	return 0;
}

/* All NaNs are one key, and so are both zeros. */
static void key_of(const struct entries *v, const void *p, double *room,
		   const void **key, size_t *len)
{
	if (v->t == DTYPE_STRING) {
		const struct span *s = p;

		*key = s->p;
		*len = s->len;
		return;
	}
	*key = p;
	*len = v->size;
	if (v->t == DTYPE_F32 || v->t == DTYPE_F64) {
		*room = v->t == DTYPE_F32 ? (double)*(const float *)p
					  : *(const double *)p;
		*room = isnan(*room) ? (double)NAN : *room + 0.0;
		*key = room;
		*len = sizeof(*room);
	}
}

static int encode(struct op_call *c, const struct entries *keys,
		  const struct entries *values, const uint8_t *def,
		  struct err *e)
{
	uint64_t n = op_nelems(c, 0);
	size_t count = keys->n < values->n ? keys->n : values->n;
	struct map *m = map_new();
	double *room;
	const void *in;
	size_t size;
	void *out, *p = NULL;
	int rc = m ? op_temp_array(c, count + 1, sizeof(double), &p, e)
		   : err_nomem(e, sizeof(void *));

	if (rc == 0)
		rc = op_elems(c, 0, &in, &size, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, values->t, op_shape(c, 0), &out, e);
	room = p;
	for (size_t i = 0; i < count && rc == 0; i++) {
		const void *key;
		size_t len;

		key_of(keys, (const char *)keys->p + i * keys->size, &room[i],
		       &key, &len);
		if (map_add(m, key, len, i) == -ENOMEM)
			rc = err_nomem(e, len);
	}
	for (uint64_t i = 0; i < n && rc == 0; i++) {
		const void *key;
		uint64_t at;
		size_t len;
		bool found;

		key_of(keys, (const char *)in + i * size, &room[count], &key,
		       &len);
		found = map_get(m, key, len, &at);
		memcpy((char *)out + i * values->size,
		       found ? (const char *)values->p + at * values->size
			     : (const char *)def,
		       values->size);
	}
	map_free(m);
	return rc;
}

/* The first version: strings to their places in a list, or back. */
static int encode_list(struct op_call *c, struct entries *keys,
		       struct entries *values, struct err *e)
{
	const struct span *s;
	int64_t *places;
	size_t n;
	void *p;
	int rc;

	op_attr_strings(c, "classes_strings", &s, &n);
	rc = op_temp_array(c, n, sizeof(*places), &p, e);
	if (rc < 0)
		return rc;
	places = p;
	for (size_t i = 0; i < n; i++)
		places[i] = (int64_t)i;
	*keys = (struct entries){DTYPE_STRING, s, n, sizeof(*s)};
	*values = (struct entries){DTYPE_I64, places, n, sizeof(*places)};
	if (c->in[0].dtype != DTYPE_STRING) {
		struct entries swap = *keys;

		*keys = *values;
		*values = swap;
	}
	return 0;
}

static int eval_label(struct op_call *c, struct err *e)
{
	struct entries keys, values;
	uint8_t def[16] __attribute__((aligned(16))) = {0};
	int rc;

	if (c->op->since == 1) {
		rc = encode_list(c, &keys, &values, e);
	} else {
		rc = read_entries(c, "keys", &keys, e);
		if (rc == 0)
			rc = read_entries(c, "values", &values, e);
	}
	if (rc == 0 && keys.t != c->in[0].dtype)
		return op_bad_dtype(c, 0, e);
	if (rc == 0)
		rc = read_default(c, values.t, def, e);
	return rc < 0 ? rc : encode(c, &keys, &values, def, e);
}

const struct op ops_ml_label[] = {
	{ML, "LabelEncoder", 1, 1, 1, 1, 1, 0, 0, NULL, eval_label},
	{ML, "LabelEncoder", 2, 1, 1, 1, 1, 0, 0, NULL, eval_label},
	{0},
};
