/* SPDX-License-Identifier: MIT */
/* chain - several operators of ONNX in a row, in the place of one. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "modelfs/err.h"

#include "format/tf/translate.h"

/* "Reshape", the third node: "reshape_3". */
static void name_link(const struct tf_chain *c, const char *type, char *buf,
		      size_t size)
{
	snprintf(buf, size, "%s_%u", type, c->n);
	buf[0] = (char)tolower((unsigned char)buf[0]);
}

static struct step make_step(const struct tf_link *l, const char *what)
{
	return (struct step){.what = what,
			     .type = l->type,
			     .opset = l->opset,
			     .in = l->in,
			     .nin = l->nin,
			     .attrs = l->attrs,
			     .nattrs = l->nattrs};
}

value_id tf_chain(struct tf_chain *c, const struct tf_link *l)
{
	value_id out = NO_VALUE;
	char what[48];
	struct step s = make_step(l, what);

	if (c->rc < 0)
		return NO_VALUE;
	c->n++;
	name_link(c, l->type, what, sizeof(what));
	c->rc = steps_inner(&c->k->at, &s, &out, c->e);
	return c->rc < 0 ? NO_VALUE : out;
}

value_id tf_chain_1(struct tf_chain *c, const char *type, value_id a)
{
	return tf_chain(c,
			&(struct tf_link){.type = type, .in = {a}, .nin = 1});
}

value_id tf_chain_2(struct tf_chain *c, const char *type, value_id a,
		    value_id b)
{
	return tf_chain(
		c, &(struct tf_link){.type = type, .in = {a, b}, .nin = 2});
}

value_id tf_chain_cast(struct tf_chain *c, value_id v, int64_t onnx_type)
{
	struct tf_link l = {.type = "Cast",
			    .in = {v},
			    .nin = 1,
			    .attrs = {attr_set_int("to", onnx_type)},
			    .nattrs = 1};

	return tf_chain(c, &l);
}

value_id tf_chain_ints(struct tf_chain *c, const int64_t *v, size_t n)
{
	value_id out = NO_VALUE;
	char what[48];

	if (c->rc < 0)
		return NO_VALUE;
	c->n++;
	name_link(c, "ints", what, sizeof(what));
	c->rc = steps_ints(&c->k->at, what, v, n, &out, c->e);
	return out;
}

value_id tf_chain_like(struct tf_chain *c, float v)
{
	struct tf_link l = {.type = "CastLike", .opset = 15, .nin = 2};
	char what[48];

	if (c->rc < 0)
		return NO_VALUE;
	c->n++;
	name_link(c, "number", what, sizeof(what));
	c->rc = steps_float(&c->k->at, what, v, &l.in[0], c->e);
	l.in[1] = c->k->call->in[0];
	return tf_chain(c, &l);
}

struct attr tf_chain_list(struct tf_chain *c, const char *name,
			  const int64_t *v, size_t n)
{
	struct attr a = {0};

	if (c->rc == 0)
		c->rc = attr_set_ints(&c->k->at, name, v, n, &a, c->e);
	return a;
}

void tf_chain_out(struct tf_chain *c, const struct tf_link *l, value_id out,
		  const char *what)
{
	struct step s = make_step(l, what);

	s.out = &out;
	s.nout = 1;
	if (c->rc == 0)
		c->rc = steps_node(&c->k->at, &s, c->e);
}

int tf_chain_last(struct tf_chain *c, const struct tf_link *l)
{
	tf_chain_out(c, l, c->k->call->out[0], c->n > 0 ? "compute" : NULL);
	return c->rc < 0 ? c->rc : 1;
}

int64_t tf_int(const struct tf_make *k, const char *name, int64_t def)
{
	const Tf__AttrValue *v = tf_attr(k->call->node, name);

	return v && v->has_i ? v->i : def;
}

int64_t tf_type_code(const struct tf_make *k, const char *name, int def)
{
	const Tf__AttrValue *v = tf_attr(k->call->node, name);
	enum dtype t = tf_dtype(v ? v->type : def);

	for (int64_t code = 1; t != DTYPE_NONE && code < 32; code++)
		if (dtype_by_onnx(code) == t)
			return code;
	return 0;
}
