/* SPDX-License-Identifier: MIT */
#include "format/steps.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/text.h"

int steps_value(struct steps *k, const char *what, value_id *out, struct err *e)
{
	struct text name = {0};
	int rc;

	/* No name in a file has a word behind a colon. */
	text_printf(&name, "%s:%s", k->name.p, what);
	rc = name.failed ? err_nomem(e, 0)
			 : graph_value(k->g, name.p, name.len, out, e);
	text_free(&name);
	return rc;
}

/* The module of a node that is one of several. */
static int inner_module(struct steps *k, const char *what, struct module **out,
			struct err *e)
{
	if (!what || !k->module) {
		*out = k->module;
		return 0;
	}
	return model_module(k->m, k->module, what, strlen(what), out, e);
}

static int make_node(struct steps *k, const struct step *n, struct node **out,
		     struct err *e)
{
	struct text name = {0};
	int rc;

	text_printf(&name, "%s%s%s", k->name.p, n->what ? "/" : "",
		    n->what ? n->what : "");
	rc = name.failed
		     ? err_nomem(e, 0)
		     : graph_node(k->g, name.p, n->domain ? n->domain : "",
				  n->type, n->nin, n->nout, n->nattrs, out, e);
	text_free(&name);
	return rc;
}

int steps_node(struct steps *k, const struct step *n, struct err *e)
{
	struct module *mod;
	struct node *node;
	int rc = inner_module(k, n->what, &mod, e);

	if (rc == 0 && n->what && mod &&
	    model_type(k->m, mod, n->type, strlen(n->type)) < 0)
		rc = err_nomem(e, 0);
	if (rc == 0)
		rc = make_node(k, n, &node, e);
	if (rc < 0)
		return rc;
	node->opset = n->opset ? n->opset : STEPS_OPSET;
	node->module = mod;
	if (mod)
		mod->is_node = true;
	for (uint32_t i = 0; i < n->nin; i++)
		node->in[i] = n->in[i];
	for (uint32_t i = 0; i < n->nout; i++)
		node->out[i] = n->out[i];
	for (uint32_t i = 0; i < n->nattrs; i++)
		node->attrs[i] = n->attrs[i];
	return 0;
}

int steps_inner(struct steps *k, const struct step *n, value_id *out,
		struct err *e)
{
	struct step s = *n;
	value_id made;
	int rc = steps_value(k, n->what, &made, e);

	s.out = &made;
	s.nout = 1;
	if (rc == 0)
		rc = steps_node(k, &s, e);
	if (rc == 0)
		*out = made;
	return rc;
}

int steps_make(struct steps *k, const char *what, const char *type, value_id a,
	       value_id b, value_id *out, struct err *e)
{
	value_id in[2] = {a, b};
	struct step n = {.what = what,
			 .type = type,
			 .in = in,
			 .nin = b == NO_VALUE ? 1 : 2};

	return steps_inner(k, &n, out, e);
}

int steps_cast(struct steps *k, const char *what, int64_t type, value_id in,
	       value_id *out, struct err *e)
{
	struct attr to = attr_set_int("to", type);
	struct step n = {.what = what,
			 .type = "Cast",
			 .in = &in,
			 .nin = 1,
			 .attrs = &to,
			 .nattrs = 1};

	return steps_inner(k, &n, out, e);
}

int steps_axis(struct steps *k, const char *what, const char *type,
	       int64_t axis, value_id in, value_id *out, struct err *e)
{
	struct attr a;
	struct step n = {.what = what,
			 .type = type,
			 .opset = 11, /* the axes are an attribute */
			 .in = &in,
			 .nin = 1,
			 .attrs = &a,
			 .nattrs = 1};
	int rc = attr_set_ints(k, "axes", &axis, 1, &a, e);

	if (rc == 0 && !what)
		rc = err_nomem(e, 0); /* a name that could not be made */
	return rc < 0 ? rc : steps_inner(k, &n, out, e);
}

int steps_zeros_behind(struct steps *k, const char *tag, value_id list,
		       int64_t n, value_id *out, struct err *e)
{
	static const char *const words[] = {"count", "zeros", "bias_both"};
	struct attr axis = attr_set_int("axis", 0);
	value_id parts[2] = {list, NO_VALUE}, count;
	struct step join = {.type = "Concat",
			    .in = parts,
			    .nin = 2,
			    .attrs = &axis,
			    .nattrs = 1};
	const char *names[3];
	int rc;

	for (size_t i = 0; i < 3; i++) {
		char buf[64];
		int len = snprintf(buf, sizeof(buf), "%s%s", tag, words[i]);

		names[i] = arena_strndup(k->m->arena, buf, (size_t)len);
		if (!names[i])
			return err_nomem(e, (size_t)len);
	}
	join.what = names[2];
	rc = steps_ints(k, names[0], &n, 1, &count, e);
	if (rc == 0)
		rc = steps_make(k, names[1], "ConstantOfShape", count, NO_VALUE,
				&parts[1], e);
	return rc < 0 ? rc : steps_inner(k, &join, out, e);
}

/* ---- constants ---- */

static int constant(struct steps *k, const char *what, const struct attr *a,
		    value_id *out, struct err *e)
{
	struct step n = {
		.what = what, .type = "Constant", .attrs = a, .nattrs = 1};

	return steps_inner(k, &n, out, e);
}

int steps_ints(struct steps *k, const char *what, const int64_t *v, size_t n,
	       value_id *out, struct err *e)
{
	struct attr a;
	int rc = attr_set_ints(k, "value_ints", v, n, &a, e);

	return rc < 0 ? rc : constant(k, what, &a, out, e);
}

int steps_floats(struct steps *k, const char *what, const float *v, size_t n,
		 value_id *out, struct err *e)
{
	float *copy = arena_array(k->m->arena, n + 1, sizeof(*copy));
	struct attr a = {.name = "value_floats",
			 .kind = ATTR_FLOATS,
			 .n = n,
			 .floats = copy};

	if (!copy)
		return err_nomem(e, n * sizeof(*copy));
	memcpy(copy, v, n * sizeof(*copy));
	return constant(k, what, &a, out, e);
}

int steps_float(struct steps *k, const char *what, float v, value_id *out,
		struct err *e)
{
	struct attr a = attr_set_float("value_float", v);

	return constant(k, what, &a, out, e);
}

int steps_tensor(struct steps *k, const char *what, enum dtype t,
		 const struct shape *s, const void *data, size_t nbytes,
		 value_id *out, struct err *e)
{
	struct tensor *copy = arena_alloc(k->m->arena, sizeof(*copy));
	struct attr a = {
		.name = "value", .kind = ATTR_TENSOR, .n = 1, .t = copy};
	int rc;

	if (!copy)
		return err_nomem(e, sizeof(*copy));
	*copy = (struct tensor){
		.dtype = t, .shape = *s, .data = blob_copy(data, nbytes)};
	if (!copy->data)
		return err_nomem(e, nbytes);
	rc = constant(k, what, &a, out, e);
	if (rc < 0)
		tensor_drop(copy);
	return rc;
}

/* ---- attributes ---- */

int attr_set_ints(struct steps *k, const char *name, const int64_t *v, size_t n,
		  struct attr *out, struct err *e)
{
	int64_t *copy = arena_array(k->m->arena, n + 1, sizeof(*copy));

	if (!copy)
		return err_nomem(e, n * sizeof(*copy));
	memcpy(copy, v, n * sizeof(*copy));
	*out = (struct attr){
		.name = name, .kind = ATTR_INTS, .n = n, .ints = copy};
	return 0;
}

struct attr attr_set_int(const char *name, int64_t v)
{
	return (struct attr){.name = name, .kind = ATTR_INT, .n = 1, .i = v};
}

struct attr attr_set_float(const char *name, float v)
{
	return (struct attr){.name = name, .kind = ATTR_FLOAT, .n = 1, .f = v};
}

struct attr attr_set_text(const char *name, const char *v)
{
	return (struct attr){
		.name = name, .kind = ATTR_STRING, .n = 1, .s = {v, strlen(v)}};
}
