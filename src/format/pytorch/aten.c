/* SPDX-License-Identifier: MIT */
/* aten - see aten.h. */
#include "format/pytorch/aten.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/model.h"

#include "wire/json.h"

bool aten_is(const struct aten *k, const char *op)
{
	return strlen(op) == k->op_len && memcmp(k->op, op, k->op_len) == 0;
}

/* ---- arguments ---- */

struct program_arg aten_arg(const struct aten *k, const char *name)
{
	for (size_t i = 0; i < json_count(k->inputs); i++) {
		const struct json *item = json_item(k->inputs, i);
		size_t len;
		const char *s =
			json_get_string(json_member(item, "name"), &len);

		if (s && strcmp(s, name) == 0)
			return program_union(json_member(item, "arg"));
	}
	return (struct program_arg){"as_none", NULL};
}

bool aten_has(const struct aten *k, const char *name)
{
	struct program_arg arg = aten_arg(k, name);

	if (program_is_kind(arg, "as_optional_tensor"))
		return program_value_name(arg) != NULL;
	return !program_is_kind(arg, "as_none");
}

static int64_t to_int(double v)
{
	if (!(v > -9.2e18))
		return INT64_MIN;
	return v < 9.2e18 ? (int64_t)v : INT64_MAX;
}

static bool arg_int(struct program_arg arg, int64_t *out)
{
	double d;
	bool b;

	if (json_get_int(arg.v, out) ||
	    json_get_int(json_member(arg.v, "as_int"), out))
		return true;
	/* The largest integer is what torch calls the end. */
	if (json_kind(arg.v) == JSON_KIND_REAL && json_get_real(arg.v, &d) &&
	    program_is_kind(arg, "as_int")) {
		*out = to_int(d);
		return true;
	}
	if (!json_get_bool(arg.v, &b))
		return false;
	*out = b;
	return true;
}

bool aten_int(const struct aten *k, const char *name, int64_t def, int64_t *out)
{
	struct program_arg arg = aten_arg(k, name);

	*out = def;
	return program_is_kind(arg, "as_none") || arg_int(arg, out);
}

bool aten_float(const struct aten *k, const char *name, double def, double *out)
{
	struct program_arg arg = aten_arg(k, name);
	int64_t i;

	*out = def;
	if (program_is_kind(arg, "as_none") || json_get_real(arg.v, out))
		return true;
	if (!arg_int(arg, &i))
		return false;
	*out = (double)i;
	return true;
}

bool aten_flag(const struct aten *k, const char *name, bool def)
{
	bool b = def;

	json_get_bool(aten_arg(k, name).v, &b);
	return b;
}

bool aten_ints(const struct aten *k, const char *name,
	       int64_t out[ATEN_INTS_MAX], size_t *n)
{
	struct program_arg arg = aten_arg(k, name);

	*n = 0;
	if (program_is_kind(arg, "as_none"))
		return true;
	if (json_kind(arg.v) != JSON_KIND_ARRAY) {
		*n = 1;
		return arg_int(arg, out);
	}
	if (json_count(arg.v) > ATEN_INTS_MAX)
		return false;
	for (size_t i = 0; i < json_count(arg.v); i++) {
		const struct json *item = json_item(arg.v, i);

		if (!arg_int((struct program_arg){"", item}, &out[i]))
			return false;
	}
	*n = json_count(arg.v);
	return true;
}

/* ---- values ---- */

int aten_value(struct aten *k, const char *name, value_id *out, struct err *e)
{
	const char *value = program_value_name(aten_arg(k, name));

	*out = NO_VALUE;
	return value ? program_value(k->p, value, out, e) : 0;
}

int aten_self(struct aten *k, value_id *out, struct err *e)
{
	int rc = aten_value(k, "self", out, e);

	if (rc == 0 && *out == NO_VALUE)
		rc = aten_value(k, "input", out, e);
	return rc < 0 ? rc : *out != NO_VALUE;
}

enum dtype aten_dtype(const struct aten *k, value_id v)
{
	return v == NO_VALUE ? DTYPE_NONE : k->at.g->values[v].dtype;
}

const struct shape *aten_shape(const struct aten *k, value_id v)
{
	const struct tensor *t = v == NO_VALUE ? NULL : k->at.g->values[v].type;

	return t && t->shape.rank >= 0 ? &t->shape : NULL;
}

int aten_rank(const struct aten *k, value_id v)
{
	const struct shape *s = aten_shape(k, v);

	return s ? s->rank : -1;
}

bool aten_axis(int64_t dim, int rank, int64_t *out)
{
	*out = dim < 0 ? dim + rank : dim;
	return rank >= 0 && *out >= 0 && *out < rank;
}

/* ---- nodes ---- */

int aten_finish(struct aten *k, const struct step *n, struct err *e)
{
	struct step last = *n;
	int rc;

	if (k->ninner > 0)
		last.what = "out";
	if (last.nout == 0) {
		last.out = k->out;
		last.nout = 1;
	}
	rc = steps_node(&k->at, &last, e);
	return rc < 0 ? rc : 1;
}

int aten_finish_make(struct aten *k, const char *type, const value_id *in,
		     uint32_t nin, struct err *e)
{
	struct step n = {.type = type, .in = in, .nin = nin};

	return aten_finish(k, &n, e);
}

int aten_step(struct aten *k, const struct step *n, value_id *out,
	      struct err *e)
{
	k->ninner++;
	return steps_inner(&k->at, n, out, e);
}

int aten_make(struct aten *k, const char *what, const char *type, value_id a,
	      value_id b, value_id *out, struct err *e)
{
	k->ninner++;
	return steps_make(&k->at, what, type, a, b, out, e);
}

int aten_const_ints(struct aten *k, const char *what, const int64_t *v,
		    size_t n, value_id *out, struct err *e)
{
	k->ninner++;
	return steps_ints(&k->at, what, v, n, out, e);
}

bool aten_has_numbers(enum dtype t)
{
	switch (t) {
	case DTYPE_F32:
	case DTYPE_F64:
	case DTYPE_F16:
	case DTYPE_BF16:
	case DTYPE_BOOL:
	case DTYPE_I64:
	case DTYPE_I32:
	case DTYPE_I16:
	case DTYPE_I8:
	case DTYPE_U8:
		return true;
	default:
		return false;
	}
}

/* v as an element of a type that has numbers. */
static void encode(double v, enum dtype t, uint8_t out[8])
{
	union {
		float f32;
		double f64;
		uint16_t u16;
		int64_t i64;
	} u = {.i64 = 0};

	switch (t) {
	case DTYPE_F32:
		u.f32 = (float)v;
		break;
	case DTYPE_F64:
		u.f64 = v;
		break;
	case DTYPE_F16:
		u.u16 = half_from_float((float)v);
		break;
	case DTYPE_BF16:
		u.u16 = bf16_from_float((float)v);
		break;
	case DTYPE_BOOL:
		u.i64 = v != 0;
		break;
	default:
		/* Little-endian: the low bytes are the smaller types. */
		u.i64 = to_int(v);
		break;
	}
	memcpy(out, &u, 8);
}

int aten_number(struct aten *k, const char *what, double v, enum dtype t,
		value_id *out, struct err *e)
{
	struct shape s = shape_of(0, NULL);
	uint8_t element[8];

	encode(v, t, element);
	k->ninner++;
	return steps_tensor(&k->at, what, t, &s, element, dtype_size(t), out,
			    e);
}

int aten_fill(struct aten *k, const char *what, double v, enum dtype t,
	      size_t n, value_id *out, struct err *e)
{
	int64_t size = (int64_t)n;
	char name[64];
	value_id one, shape;
	int rc;

	/* Made when it is needed: the file does not have so many bytes. */
	snprintf(name, sizeof(name), "%s_value", what);
	rc = aten_number(k, name, v, t, &one, e);
	snprintf(name, sizeof(name), "%s_size", what);
	if (rc == 0)
		rc = aten_const_ints(k, name, &size, 1, &shape, e);
	return rc < 0 ? rc : aten_make(k, what, "Expand", one, shape, out, e);
}

/* The number that ONNX has for a type; 0: none. */
static int64_t onnx_type(enum dtype t)
{
	for (int64_t code = 1; code < 32; code++)
		if (dtype_by_onnx(code) == t)
			return code;
	return 0;
}

int aten_cast(struct aten *k, const char *what, value_id v, enum dtype t,
	      value_id *out, struct err *e)
{
	struct attr to = attr_set_int("to", onnx_type(t));
	struct step n = {.what = what,
			 .type = "Cast",
			 .in = &v,
			 .nin = 1,
			 .attrs = &to,
			 .nattrs = 1};

	*out = v;
	if (t == DTYPE_NONE || aten_dtype(k, v) == DTYPE_NONE ||
	    aten_dtype(k, v) == t)
		return 0;
	return aten_step(k, &n, out, e);
}

bool aten_is_operand(const struct aten *k, const char *name, enum dtype t)
{
	struct program_arg arg = aten_arg(k, name);
	double v;

	return program_value_name(arg) ||
	       (!program_is_kind(arg, "as_none") && aten_has_numbers(t) &&
		aten_float(k, name, 0, &v));
}

int aten_operand(struct aten *k, const char *name, enum dtype t, value_id *out,
		 struct err *e)
{
	double v;
	int rc = aten_value(k, name, out, e);

	if (rc < 0)
		return rc;
	if (*out != NO_VALUE)
		return aten_cast(k, name, *out, t, out, e);
	aten_float(k, name, 0, &v);
	return aten_number(k, name, v, t, out, e);
}

/* ---- the call ---- */

/* "aten.add.Tensor" */
static bool split_target(struct aten *k, const char *type)
{
	static const char *const spaces[] = {"aten.", "_operator.",
					     "torch.sym_"};

	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
		size_t len = strlen(spaces[i]);

		if (strncmp(type, spaces[i], len) != 0)
			continue;
		k->op = i == 0 ? type + len : type;
		k->op_len = i == 0 ? strcspn(k->op, ".") : strlen(type);
		k->overload =
			k->op[k->op_len] == '.' ? k->op + k->op_len + 1 : "";
		return true;
	}
	return false;
}

static const struct aten_entry *find_entry(const struct aten *k)
{
	static const struct aten_entry *const lists[] = {
		aten_math,  aten_reduce, aten_array,
		aten_index, aten_layers, aten_attention};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (const struct aten_entry *x = lists[i]; x->op; x++)
			if (aten_is(k, x->op))
				return x;
	return NULL;
}

static bool is_used(const struct aten *k, const char *name)
{
	value_id v = graph_find(k->at.g, name, strlen(name));
	uint64_t ignored;

	return map_get(k->p->used, name, strlen(name), &ignored) ||
	       (v != NO_VALUE && k->at.g->values[v].is_output);
}

/* The outputs; those that nobody reads are left out. */
static int take_outputs(struct aten *k, const struct json *outputs,
			struct err *e)
{
	for (size_t i = 0; i < json_count(outputs); i++) {
		struct program_arg arg = program_union(json_item(outputs, i));
		bool is_list = program_is_list(arg);
		size_t n = is_list ? json_count(arg.v) : 1;

		for (size_t j = 0; j < n; j++) {
			const char *name = is_list ? program_item_name(arg, j)
						   : program_value_name(arg);
			value_id v = NO_VALUE;
			int rc = 0;

			/* Those of a list are there for their types, too. */
			if (name && (i == 0 || is_list || is_used(k, name)))
				rc = program_value(k->p, name, &v, e);
			if (rc < 0)
				return rc;
			if (k->nout == ATEN_OUTPUTS_MAX)
				return 0;
			k->out[k->nout++] = v;
		}
	}
	return 1;
}

/* Outputs that ONNX has not are made by what cannot be computed. */
static int make_rest(struct aten *k, const char *type, struct err *e)
{
	value_id rest[ATEN_OUTPUTS_MAX];
	struct step n = {
		.what = "rest", .type = type, .domain = "torch", .out = rest};

	for (uint32_t i = 0; i < k->nout; i++) {
		bool is_made = k->out[i] == NO_VALUE;

		for (uint32_t j = k->at.g->nnodes; j-- > 0 && !is_made;) {
			const struct node *node = &k->at.g->nodes[j];

			if (node->nout > 0 && node->module != k->at.module &&
			    node->module->parent != k->at.module)
				break;
			for (uint32_t o = 0; o < node->nout; o++)
				is_made |= node->out[o] == k->out[i];
		}
		if (!is_made)
			rest[n.nout++] = k->out[i];
	}
	return n.nout > 0 ? steps_node(&k->at, &n, e) : 0;
}

int aten_translate(struct program *p, const struct json *node, const char *type,
		   const char *name, struct module *module, struct err *e)
{
	struct aten k = {
		.at = {.m = p->m,
		       .g = p->g,
		       .name = {name, strlen(name)},
		       .module = module},
		.p = p,
		.inputs = json_member(node, "inputs"),
	};
	const char *dot;
	int rc;

	if (!split_target(&k, type))
		return 0;
	k.entry = find_entry(&k);
	if (!k.entry)
		return 0;
	rc = take_outputs(&k, json_member(node, "outputs"), e);
	if (rc > 0)
		rc = k.nout > 0 && k.out[0] != NO_VALUE ? k.entry->fn(&k, e)
							: 0;
	if (rc <= 0)
		return rc;
	dot = strchr(type, '.');
	if (model_type(p->m, module, dot + 1, strlen(dot + 1)) < 0)
		return err_nomem(e, 0);
	rc = k.nout > 1 ? make_rest(&k, type, e) : 0;
	return rc < 0 ? rc : 1;
}
