/* SPDX-License-Identifier: MIT */
/*
 * graph - operators of a subgraph.  They have no names: each is called after
 * the first tensor it makes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/text.h"

#include "format/tflite/tflite.h"
#include "format/tflite/translate.h"

/* Of a state that a model keeps between two runs. */
#define STATE_MAX ((uint64_t)1 << 30)

enum { /* fields */
       OPERATOR_OPCODE = 0,
       OPERATOR_INPUTS = 1,
       OPERATOR_OUTPUTS = 2,
       OPERATOR_OPTIONS = 4,
       OPERATOR_CUSTOM = 5,
       OPCODE_OLD = 0,
       OPCODE_CUSTOM = 1,
       OPCODE_VERSION = 2,
       OPCODE_NEW = 3
};

/* ---- values ---- */

static int add_value(struct tflite_graph *g, struct tflite_tensor *x,
		     uint32_t i, struct err *e)
{
	struct graph *graph = g->graph;
	struct span name = x->name;
	struct text unique = {0};
	int rc;

	/* Names need not be unique in the file. */
	if (graph_find(graph, name.p, name.len) != NO_VALUE) {
		text_printf(&unique, "%s#%u", name.p, i);
		if (unique.failed)
			return err_nomem(e, name.len);
		name = (struct span){unique.p, unique.len};
	}
	rc = graph_value(graph, name.p, name.len, &x->value, e);
	text_free(&unique);
	if (rc < 0)
		return rc;
	graph->values[x->value].param = x->param;
	if (x->type.shape.rank == 0 && !x->has_rank && !x->has_data)
		return 0; /* not even the rank is known */
	return graph_declare(graph, x->value, &x->type, NULL, e);
}

int tflite_values(struct tflite_graph *g, struct err *e)
{
	int rc = 0;

	g->first_value = g->graph->nvalues;
	g->nvalues = 0;
	g->of_value = arena_array(g->t->tf.m->arena, g->ntensors + 1u,
				  sizeof(*g->of_value));
	if (!g->of_value)
		return err_nomem(e, g->ntensors * sizeof(*g->of_value));
	for (uint32_t i = 0; rc == 0 && i < g->ntensors; i++) {
		if (!g->tensors[i].is_used)
			continue;
		rc = add_value(g, &g->tensors[i], i, e);
		g->of_value[g->nvalues++] = i;
	}
	return rc;
}

/* -1 stands for an input left out; nothing else may be outside. */
static int value_at(struct tflite_graph *g, const struct flatbuf_vector *v,
		    uint32_t i, bool is_input, value_id *out, struct err *e)
{
	int64_t idx = flatbuf_int_at(g->t->f, v, i, 4);

	*out = NO_VALUE;
	if (idx == -1 && is_input)
		return 0;
	if (idx < 0 || idx >= g->ntensors)
		return err_set(e, EINVAL, "tensor %lld of %u", (long long)idx,
			       g->ntensors);
	*out = g->tensors[idx].value;
	return 0;
}

int tflite_value(struct tflite_graph *g, const struct flatbuf_vector *v,
		 uint32_t i, value_id *out, struct err *e)
{
	return value_at(g, v, i, false, out, e);
}

static int add_ends(struct tflite_graph *g, struct err *e)
{
	struct tflite *t = g->t;
	struct graph *graph = g->graph;
	struct flatbuf_vector in =
		flatbuf_vector(t->f, &g->table, TFLITE_INPUTS, 4);
	struct flatbuf_vector out =
		flatbuf_vector(t->f, &g->table, TFLITE_OUTPUTS, 4);
	value_id v;
	int rc = tflite_check(t, e);

	for (uint32_t i = 0; rc == 0 && i < in.n; i++) {
		rc = value_at(g, &in, i, false, &v, e);
		if (rc == 0 && !graph->values[v].is_input &&
		    !graph->values[v].param)
			rc = graph_input(graph, v, e);
	}
	for (uint32_t i = 0; rc == 0 && i < out.n; i++) {
		rc = value_at(g, &out, i, false, &v, e);
		if (rc == 0 && !graph->values[v].is_output)
			rc = graph_output(graph, v, e);
	}
	return rc;
}

/* ---- operators ---- */

static int64_t find_code(struct tflite *t, const struct flatbuf_table *o)
{
	int64_t old = flatbuf_int(t->f, o, OPCODE_OLD, 1, 0);
	int64_t code = flatbuf_int(t->f, o, OPCODE_NEW, 4, 0);

	return code > old ? code : old;
}

static int find_type(struct tflite *t, uint32_t opcode, struct span *out,
		     int64_t *version, struct err *e)
{
	struct flatbuf_table o;
	const char *name;
	int64_t code;

	if (opcode >= t->opcodes.n)
		return err_set(e, EINVAL, "operator code %u of %u", opcode,
			       t->opcodes.n);
	o = flatbuf_at(t->f, &t->opcodes, opcode);
	code = find_code(t, &o);
	*version = flatbuf_int(t->f, &o, OPCODE_VERSION, 4, 1);
	if (code == TFLITE_CUSTOM)
		return tflite_text(t, &o, OPCODE_CUSTOM, out, e);
	name = tflite_op_name(code);
	if (!name)
		name = "UNKNOWN";
	*out = (struct span){name, strlen(name)};
	return tflite_check(t, e);
}

/* Names of values that were fused are joined: the first one is enough. */
static struct span first_name(struct span name)
{
	const char *end = memchr(name.p, ';', name.len);

	if (end && end > name.p)
		name.len = (size_t)(end - name.p);
	return name;
}

/* A name with the operator's behind it, where the plain one is taken. */
static int place(struct tflite_graph *g, struct span name, struct span type,
		 struct module **out, struct err *e)
{
	struct tf *tf = &g->t->tf;
	struct span first = first_name(name), leaf;
	struct module *parent;
	struct text own = {0};
	uint64_t v;
	bool is_taken = map_get(tf->names, first.p, first.len, &v);
	int rc;

	*out = NULL;
	if (g->graph != tf->m->graph)
		return 0;
	rc = tf_place(tf, first, &parent, &leaf, e);

	if (rc == 0 && !is_taken) {
		rc = model_module(tf->m, parent, leaf.p, leaf.len, out, e);
		is_taken = rc == 0 && (*out)->type;
	}
	for (int i = 0; rc == 0 && i < 2 && is_taken; i++) {
		own.len = 0;
		text_add_bytes(&own, leaf.p, leaf.len);
		text_printf(&own, ".%s", type.p);
		if (i > 0)
			text_printf(&own, ".%u", tf->m->graph->nnodes);
		rc = own.failed ? err_nomem(e, 0)
				: model_module(tf->m, parent, own.p, own.len,
					       out, e);
		is_taken = rc == 0 && (*out)->type;
	}
	text_free(&own);
	return rc;
}

/* The values of one operator, in memory of the model. */
static int read_values(struct tflite_graph *g, const struct flatbuf_vector *v,
		       bool is_input, value_id **out, struct err *e)
{
	int rc = 0;

	if (!flatbuf_charge(g->t->f, 8 * (uint64_t)v->n))
		return tflite_check(g->t, e);
	*out = arena_array(g->t->tf.m->arena, v->n + 1u, sizeof(**out));
	if (!*out)
		return err_nomem(e, v->n * sizeof(**out));
	for (uint32_t i = 0; rc == 0 && i < v->n; i++)
		rc = value_at(g, v, i, is_input, &(*out)[i], e);
	return rc;
}

static int plain_node(struct tflite_make *k, int64_t version, struct err *e)
{
	struct attr attrs[TFLITE_ATTRS_MAX];
	struct node *n;
	uint32_t nattrs;
	int rc = tflite_attrs(k, attrs, &nattrs, e);

	if (rc == 0)
		rc = graph_node(k->at.g, k->at.name.p, "tflite", k->type.p,
				k->nin, k->nout, nattrs, &n, e);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < nattrs; i++)
		n->attrs[i] = attrs[i];
	for (uint32_t i = 0; i < k->nin; i++)
		n->in[i] = k->in[i];
	for (uint32_t i = 0; i < k->nout; i++)
		n->out[i] = k->out[i];
	n->opset = (int)version;
	n->module = k->at.module;
	if (n->module)
		n->module->is_node = true;
	return 0;
}

static int add_operator(struct tflite_graph *g, const struct flatbuf_table *op,
			struct err *e)
{
	struct tflite *t = g->t;
	struct flatbuf_vector in = flatbuf_vector(t->f, op, OPERATOR_INPUTS, 4);
	struct flatbuf_vector out =
		flatbuf_vector(t->f, op, OPERATOR_OUTPUTS, 4);
	uint32_t opcode =
		(uint32_t)flatbuf_uint(t->f, op, OPERATOR_OPCODE, 4, 0);
	struct tflite_make k = {
		.at = {.m = t->tf.m, .g = g->graph}, .tg = g, .f = t->f};
	value_id *ins = NULL, *outs = NULL;
	int64_t version = 1;
	int rc = find_type(t, opcode, &k.type, &version, e);

	k.options = flatbuf_sub(t->f, op, OPERATOR_OPTIONS);
	k.custom = flatbuf_vector(t->f, op, OPERATOR_CUSTOM, 1);
	if (rc == 0)
		rc = read_values(g, &in, true, &ins, e);
	if (rc == 0)
		rc = read_values(g, &out, false, &outs, e);
	if (rc < 0)
		return rc;
	k.in = k.given = ins;
	k.out = outs;
	k.nin = in.n;
	k.nout = out.n;
	k.at.name.p = out.n > 0 ? k.at.g->values[outs[0]].name : k.type.p;
	k.at.name.len = strlen(k.at.name.p);
	rc = place(g, k.at.name, k.type, &k.at.module, e);
	/* The type marks the module as taken, for operators inside this one. */
	if (rc == 0 && k.at.module &&
	    model_type(k.at.m, k.at.module, k.type.p, k.type.len) < 0)
		rc = err_nomem(e, k.type.len);
	if (rc == 0)
		rc = tflite_translate(&k, e);
	if (rc == 0)
		rc = plain_node(&k, version, e);
	return rc < 0 ? rc : tflite_check(t, e);
}

/* As the runtime does it: zeros, which of int8 are the zero point. */
static int first_byte(struct tflite *t, const struct tflite_tensor *x,
		      uint8_t *out, struct err *e)
{
	struct tflite_quantization q = {0};
	int rc = x->nscales > 0 ? tflite_quantization(t, x, &q, e) : 0;

	*out = 0;
	if (rc == 0 && q.n > 0 && x->type.dtype == DTYPE_I8)
		*out = (uint8_t)q.zero_point[0];
	return rc;
}

/* A state that nobody hands in begins with zeros. */
static int add_state(struct tflite_graph *g, struct tflite_tensor *x,
		     struct err *e)
{
	struct model *m = g->t->tf.m;
	struct span type = {"VARIABLE", 8};
	struct steps at = {m, g->graph, x->name, NULL};
	struct tensor *zeros = arena_alloc(m->arena, sizeof(*zeros));
	struct attr a = {
		.name = "value", .kind = ATTR_TENSOR, .n = 1, .t = zeros};
	struct step s = {.type = "Constant",
			 .out = &x->value,
			 .nout = 1,
			 .attrs = &a,
			 .nattrs = 1};
	uint64_t nbytes;
	uint8_t byte;
	int rc;

	if (!zeros)
		return err_nomem(e, sizeof(*zeros));
	*zeros = x->type;
	if (!tensor_nbytes(&x->type, &nbytes) || nbytes > STATE_MAX)
		return 0;
	rc = place(g, x->name, type, &at.module, e);
	if (rc == 0)
		rc = first_byte(g->t, x, &byte, e);
	if (rc < 0)
		return rc;
	zeros->data = blob_repeat(&byte, 1, nbytes);
	rc = zeros->data ? steps_node(&at, &s, e) : err_nomem(e, nbytes);
	if (rc < 0)
		tensor_drop(zeros);
	if (rc == 0 && at.module &&
	    model_type(m, at.module, type.p, type.len) < 0)
		rc = err_nomem(e, 0);
	return rc;
}

/* Tensors of a list: by an operator, or as an end of the graph. */
static void mark(struct tflite_graph *g, const struct flatbuf_vector *v,
		 bool is_input)
{
	for (uint32_t k = 0; k < v->n && !g->t->f->bad; k++) {
		int64_t idx = flatbuf_int_at(g->t->f, v, k, 4);

		flatbuf_charge(g->t->f, 8);
		if (idx < 0 || idx >= g->ntensors)
			continue;
		g->tensors[idx].is_used = true;
		if (is_input && g->tensors[idx].role == TFLITE_NO_ROLE)
			g->tensors[idx].role = k;
	}
}

static bool is_state(const struct tflite_graph *g,
		     const struct tflite_tensor *x)
{
	return x->is_used && x->is_variable && !x->has_data &&
	       !g->graph->values[x->value].is_input;
}

/* Subgraphs that this operator would run. */
static void mark_subgraphs(struct tflite *t, const struct flatbuf_table *op)
{
	uint64_t opcode = flatbuf_uint(t->f, op, OPERATOR_OPCODE, 4, 0);
	struct flatbuf_table options = flatbuf_sub(t->f, op, OPERATOR_OPTIONS);
	struct flatbuf_table o;
	int64_t code;
	unsigned n;

	if (opcode >= t->opcodes.n)
		return;
	o = flatbuf_at(t->f, &t->opcodes, (uint32_t)opcode);
	code = find_code(t, &o);
	n = code == TFLITE_IF || code == TFLITE_WHILE	      ? 2
	    : code == TFLITE_CALL || code == TFLITE_CALL_ONCE ? 1
							      : 0;
	for (unsigned i = 0; i < n; i++) {
		uint64_t idx = flatbuf_uint(t->f, &options, i, 4, 0);

		if (idx < t->subgraphs.n)
			t->graphs[idx].is_named = true;
	}
}

int tflite_roles(struct tflite_graph *g, struct err *e)
{
	struct tflite *t = g->t;
	struct flatbuf_vector ops =
		flatbuf_vector(t->f, &g->table, TFLITE_OPERATORS, 4);
	struct flatbuf_vector ends[] = {
		flatbuf_vector(t->f, &g->table, TFLITE_INPUTS, 4),
		flatbuf_vector(t->f, &g->table, TFLITE_OUTPUTS, 4)};

	for (uint32_t i = 0; i < ops.n && !t->f->bad; i++) {
		struct flatbuf_table op = flatbuf_at(t->f, &ops, i);
		struct flatbuf_vector in =
			flatbuf_vector(t->f, &op, OPERATOR_INPUTS, 4);
		struct flatbuf_vector out =
			flatbuf_vector(t->f, &op, OPERATOR_OUTPUTS, 4);

		mark(g, &in, true);
		mark(g, &out, false);
		mark_subgraphs(t, &op);
	}
	mark(g, &ends[0], false);
	mark(g, &ends[1], false);
	return tflite_check(t, e);
}

int tflite_nodes(struct tflite_graph *g, struct err *e)
{
	struct tflite *t = g->t;
	struct flatbuf_vector ops =
		flatbuf_vector(t->f, &g->table, TFLITE_OPERATORS, 4);
	int rc = tflite_check(t, e);

	for (uint32_t i = 0; rc == 0 && i < ops.n; i++) {
		struct flatbuf_table op = flatbuf_at(t->f, &ops, i);

		rc = add_operator(g, &op, e);
		if (rc < 0)
			err_wrap(e, "operator %u", i);
	}
	return rc;
}

int tflite_states(struct tflite_graph *g, struct err *e)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < g->ntensors; i++)
		if (is_state(g, &g->tensors[i]))
			rc = add_state(g, &g->tensors[i], e);
	return rc;
}

int tflite_operators(struct tflite_graph *g, struct err *e)
{
	int rc = tflite_values(g, e);

	if (rc == 0)
		rc = tflite_nodes(g, e);
	if (rc == 0)
		rc = add_ends(g, e);
	return rc < 0 ? rc : tflite_states(g, e);
}
