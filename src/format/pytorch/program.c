/* SPDX-License-Identifier: MIT */
/*
 * program - an ExportedProgram (torch/_export/serde/schema.py) as a graph.
 *
 *	graph_module.graph	inputs, outputs, nodes, tensor_values
 *	graph_module.signature	what inputs are: parameters, buffers, …
 *
 * Operators that ONNX has, too, become its own (aten.h); the others keep
 * theirs ("aten.sort.default") in domain "torch".  The module of a node is in
 * the innermost one that was running (nn_module_stack).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/graph.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/text.h"

#include "format/pytorch/aten.h"
#include "format/pytorch/export.h"
#include "format/pytorch/program.h"
#include "wire/json.h"

#define NAME_ATTEMPTS 100

/* ---- values ---- */

/* Declares a value as tensor_values has it; other values have no type. */
static int declare(struct program *p, value_id v, const char *name,
		   struct err *e)
{
	const struct json *meta = json_member(p->types, name);
	const struct json *sizes = json_member(meta, "sizes");
	struct tensor t = {.dtype = DTYPE_NONE};
	size_t rank = json_count(sizes), len;
	const char **names;
	int64_t type = 0;

	if (!meta || rank > SHAPE_RANK_MAX)
		return 0;
	json_get_int(json_member(meta, "dtype"), &type);
	t.dtype = torch_export_type(type);
	names = arena_array(p->m->arena, rank + 1, sizeof(*names));
	if (!names)
		return err_nomem(e, rank);
	t.shape.rank = (int32_t)rank;
	for (size_t i = 0; i < rank; i++) {
		const struct json *size = json_item(sizes, i);
		const char *expr = json_get_string(
			json_member(json_member(size, "as_expr"), "expr_str"),
			&len);
		int64_t *dim = &t.shape.dims[i];

		*dim = DIM_UNKNOWN;
		if (expr)
			names[i] = arena_strndup(p->m->arena, expr, len);
		else if (!json_get_int(json_member(size, "as_int"), dim) ||
			 *dim < 0)
			*dim = DIM_UNKNOWN;
	}
	return graph_declare(p->g, v, &t, names, e);
}

int program_value(struct program *p, const char *name, value_id *out,
		  struct err *e)
{
	uint32_t before = p->g->nvalues;
	int rc = graph_value(p->g, name, strlen(name), out, e);

	if (rc < 0 || *out < before)
		return rc;
	return declare(p, *out, name, e);
}

/* ---- modules ---- */

/* "L['self'].layer1.0@1" is module layer1.0, called a second time. */
static struct span clean_fqn(const char *p, size_t len)
{
	static const char self[] = "L['self']";
	const char *at = memchr(p, '@', len);

	if (at)
		len = (size_t)(at - p);
	if (len >= sizeof(self) - 1 && memcmp(p, self, sizeof(self) - 1) == 0) {
		p += sizeof(self) - 1;
		len -= sizeof(self) - 1;
		if (len > 0 && *p == '.') {
			p++;
			len--;
		}
	}
	return (struct span){p, len};
}

/* One "key,fqn,class" of the stack. */
static int enter_module(struct program *p, const char *s, size_t len,
			struct module **mod, struct err *e)
{
	const char *comma = memchr(s, ',', len);
	const char *last = memrchr(s, ',', len), *dot;
	const char *end = s + len;
	struct span fqn, leaf;
	int rc = 0;

	if (!comma || comma == last)
		return 0;
	fqn = clean_fqn(comma + 1, (size_t)(last - comma) - 1);
	*mod = model_root(p->m);
	if (fqn.len > 0) {
		rc = model_path(p->m, *mod, fqn.p, fqn.len, ".", mod, &leaf, e);
		if (rc == 0)
			rc = model_module(p->m, *mod, leaf.p, leaf.len, mod, e);
	}
	if (rc < 0 || (*mod)->type)
		return rc;
	dot = memrchr(last, '.', (size_t)(end - last));
	last = dot ? dot : last;
	if (model_type(p->m, *mod, last + 1, (size_t)(end - last) - 1) < 0)
		return err_nomem(e, len);
	return 0;
}

static int find_scope(struct program *p, const struct json *node,
		      struct module **out, struct err *e)
{
	size_t len;
	const char *s = json_get_string(
		json_member(json_member(node, "metadata"), "nn_module_stack"),
		&len);
	int rc = 0;

	*out = model_root(p->m);
	while (rc == 0 && s && *s) {
		size_t n = strcspn(s, ";");

		rc = enter_module(p, s, n, out, e);
		s += n + (s[n] == ';');
	}
	return rc;
}

/* The module of a node, which must be none that was there. */
static int make_module(struct program *p, const char *node,
		       const struct json *json, struct module **out,
		       struct err *e)
{
	struct module *scope, *mod = NULL;
	char *name = NULL;
	int rc = find_scope(p, json, &scope, e);

	for (int i = 0; rc == 0 && i < NAME_ATTEMPTS; i++) {
		uint32_t before = p->m->nmodules;
		int len = i == 0 ? asprintf(&name, "%s", node)
				 : asprintf(&name, "%s_%d", node, i);

		if (len < 0)
			return err_nomem(e, strlen(node));
		rc = model_module(p->m, scope, name, (size_t)len, &mod, e);
		free(name);
		if (p->m->nmodules > before)
			break;
	}
	if (rc == 0)
		*out = mod;
	return rc;
}

/* ---- nodes ---- */

static bool is_attr(struct program_arg arg)
{
	return !program_is_kind(arg, "as_none") && !program_is_list(arg) &&
	       !program_value_name(arg);
}

/* The values of a list of arguments; those left out are NO_VALUE. */
static int fill_values(struct program *p, struct program_arg arg, value_id *out,
		       struct err *e)
{
	size_t n = program_count(arg);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const char *name = program_is_list(arg)
					   ? program_item_name(arg, i)
					   : program_value_name(arg);

		out[i] = NO_VALUE;
		if (name)
			rc = program_value(p, name, &out[i], e);
	}
	return rc;
}

static int fill_node(struct program *p, struct node *n, const struct json *json,
		     struct err *e)
{
	const struct json *inputs = json_member(json, "inputs");
	const struct json *outputs = json_member(json, "outputs");
	size_t nin = 0, nout = 0, nattrs = 0, len = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < json_count(inputs); i++) {
		const struct json *item = json_item(inputs, i);
		struct program_arg arg =
			program_union(json_member(item, "arg"));
		const char *name =
			json_get_string(json_member(item, "name"), &len);

		rc = fill_values(p, arg, n->in + nin, e);
		nin += program_count(arg);
		if (rc < 0 || !is_attr(arg))
			continue;
		n->attrs[nattrs].name = arena_strndup(
			p->m->arena, name ? name : "", name ? len : 0);
		if (!n->attrs[nattrs].name)
			return err_nomem(e, len);
		rc = program_set_attr(p->m->arena, arg, &n->attrs[nattrs++], e);
	}
	for (size_t i = 0; rc == 0 && i < json_count(outputs); i++) {
		struct program_arg arg = program_union(json_item(outputs, i));

		rc = fill_values(p, arg, n->out + nout, e);
		nout += program_count(arg);
	}
	return rc;
}

/* "torch.ops.aten.t.default" is "aten.t.default". */
static const char *operator_name(const struct json *node)
{
	static const char ops[] = "torch.ops.";
	size_t len;
	const char *s = json_get_string(json_member(node, "target"), &len);

	if (s && strncmp(s, ops, sizeof(ops) - 1) == 0)
		s += sizeof(ops) - 1;
	return s && *s ? s : NULL;
}

/* Nodes of older schemas have no name: that of their first output. */
static const char *node_name(const struct json *node)
{
	size_t len;
	const char *s = json_get_string(json_member(node, "name"), &len);
	struct program_arg out;

	if (s)
		return s;
	out = program_union(json_item(json_member(node, "outputs"), 0));
	return program_is_list(out) ? program_item_name(out, 0)
				    : program_value_name(out);
}

/* The operator as it is, which nothing computes. */
static int add_torch_node(struct program *p, const struct json *json,
			  const char *type, struct module *module,
			  struct err *e)
{
	const struct json *inputs = json_member(json, "inputs");
	const struct json *outputs = json_member(json, "outputs");
	size_t nin = 0, nout = 0, nattrs = 0;
	struct node *n;
	int rc;

	for (size_t i = 0; i < json_count(inputs); i++) {
		struct program_arg arg =
			program_union(json_member(json_item(inputs, i), "arg"));

		nin += program_count(arg);
		nattrs += is_attr(arg);
	}
	for (size_t i = 0; i < json_count(outputs); i++)
		nout += program_count(program_union(json_item(outputs, i)));
	/* No overflow: the text has a byte for each. */
	rc = graph_node(p->g, node_name(json), "torch", type, (uint32_t)nin,
			(uint32_t)nout, (uint32_t)nattrs, &n, e);
	if (rc < 0)
		return rc;
	n->opset = p->opset;
	n->module = module;
	module->is_node = true;
	return fill_node(p, n, json, e);
}

static int add_node(struct program *p, const struct json *json, struct err *e)
{
	const char *type = operator_name(json);
	const char *name = node_name(json);
	struct module *module = NULL;
	int rc;

	if (!type)
		return err_set(e, EINVAL, "a node without a target");
	name = name ? name : type;
	rc = make_module(p, name, json, &module, e);
	if (rc == 0)
		rc = aten_translate(p, json, type, name, module, e);
	if (rc == 0)
		rc = add_torch_node(p, json, type, module, e);
	return rc < 0 ? rc : 0;
}

/* ---- the signature ---- */

/* A parameter whose data was not saved. */
static int add_missing(struct program *p, const struct value *v,
		       const char *name, size_t len, struct param **out,
		       struct err *e)
{
	struct param_spec spec = {.full_name = {name, len}};
	uint64_t nbytes = 0;
	int rc = model_path(p->m, model_root(p->m), name, len, ".",
			    &spec.module, &spec.name, e);

	if (rc < 0)
		return rc;
	if (v->type && shape_is_known(&v->type->shape)) {
		spec.tensor.dtype = v->dtype;
		spec.tensor.shape = v->type->shape;
	}
	if (spec.tensor.dtype == DTYPE_NONE)
		spec.dtype_text = "unknown";
	tensor_nbytes(&spec.tensor, &nbytes);
	spec.tensor.data = blob_fail(nbytes, ENODATA, "saved without data");
	if (!spec.tensor.data)
		return err_nomem(e, nbytes);
	return model_param(p->m, &spec, out, e);
}

/* The value is a parameter. */
static int bind(struct program *p, const char *value, const struct json *name,
		enum param_kind kind, struct err *e)
{
	size_t len = 0;
	const char *s = json_get_string(name, &len);
	struct param *param;
	uint64_t id;
	value_id v;
	int rc;

	if (!value || !s)
		return 0;
	rc = program_value(p, value, &v, e);
	if (rc < 0)
		return rc;
	if (map_get(p->params, s, len, &id)) {
		param = p->m->params[id];
	} else {
		rc = add_missing(p, &p->g->values[v], s, len, &param, e);
		if (rc < 0)
			return rc;
	}
	param->kind = (uint8_t)kind;
	p->g->values[v].param = param;
	return 0;
}

static int read_input(struct program *p, const struct json *spec, struct err *e)
{
	static const struct {
		const char *kind, *name;
		enum param_kind param;
	} kinds[] = {
		{"parameter", "parameter_name", PARAM_PARAMETER},
		{"buffer", "buffer_name", PARAM_BUFFER},
		{"tensor_constant", "tensor_constant_name", PARAM_CONSTANT},
	};
	struct program_arg arg = program_union(spec);
	const char *value;
	value_id v;
	int rc;

	if (program_is_kind(arg, "user_input")) {
		value = program_value_name(
			program_union(json_member(arg.v, "arg")));
		rc = value ? program_value(p, value, &v, e) : 0;
		return rc == 0 && value ? graph_input(p->g, v, e) : rc;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len;

		if (!program_is_kind(arg, kinds[i].kind))
			continue;
		value = json_get_string(
			json_member(json_member(arg.v, "arg"), "name"), &len);
		return bind(p, value, json_member(arg.v, kinds[i].name),
			    kinds[i].param, e);
	}
	return 0;
}

static int read_output(struct program *p, const struct json *spec,
		       struct err *e)
{
	struct program_arg arg = program_union(spec);
	const char *value;
	value_id v;
	int rc;

	if (!program_is_kind(arg, "user_output"))
		return 0;
	value = program_value_name(program_union(json_member(arg.v, "arg")));
	rc = value ? program_value(p, value, &v, e) : 0;
	return rc == 0 && value ? graph_output(p->g, v, e) : rc;
}

/* {"p_weight": "weight"}, of schema 1. */
static int bind_all(struct program *p, const struct json *names,
		    enum param_kind kind, struct err *e)
{
	const struct json *name;
	const char *value;
	void *it = NULL;
	int rc = 0;

	while (rc == 0 && json_kind(names) == JSON_KIND_OBJECT &&
	       json_next(names, &it, &value, &name))
		rc = bind(p, value, name, kind, e);
	return rc;
}

static int name_values(struct program *p, const struct json *names,
		       int (*add)(struct graph *g, value_id v, struct err *e),
		       struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < json_count(names); i++) {
		size_t len;
		const char *name = json_get_string(json_item(names, i), &len);
		value_id v;

		if (!name)
			continue;
		rc = program_value(p, name, &v, e);
		if (rc == 0)
			rc = add(p->g, v, e);
	}
	return rc;
}

static int read_signature(struct program *p, const struct json *sig,
			  struct err *e)
{
	const struct json *in = json_member(sig, "input_specs");
	const struct json *out = json_member(sig, "output_specs");
	int rc = bind_all(p, json_member(sig, "inputs_to_parameters"),
			  PARAM_PARAMETER, e);

	if (rc == 0)
		rc = bind_all(p, json_member(sig, "inputs_to_buffers"),
			      PARAM_BUFFER, e);
	if (rc == 0)
		rc = name_values(p, json_member(sig, "user_inputs"),
				 graph_input, e);
	for (size_t i = 0; rc == 0 && i < json_count(in); i++)
		rc = read_input(p, json_item(in, i), e);
	for (size_t i = 0; rc == 0 && i < json_count(out); i++)
		rc = read_output(p, json_item(out, i), e);
	if (rc == 0)
		rc = name_values(p, json_member(sig, "user_outputs"),
				 graph_output, e);
	return rc;
}

/* ---- the program ---- */

static int index_params(struct program *p, struct err *e)
{
	p->params = map_new();
	if (!p->params)
		return err_nomem(e, 0);
	for (uint32_t i = 0; i < p->m->nparams; i++) {
		const struct param *param = p->m->params[i];

		if (map_set(p->params, param->full_name, param->full_len, i) <
		    0)
			return err_nomem(e, param->full_len);
	}
	return 0;
}

static int use(struct program *p, struct program_arg arg, struct err *e)
{
	size_t n = program_count(arg);

	for (size_t i = 0; i < n; i++) {
		const char *name = program_is_list(arg)
					   ? program_item_name(arg, i)
					   : program_value_name(arg);

		/* The program outlives the map. */
		if (name && map_set(p->used, name, strlen(name), 1) < 0)
			return err_nomem(e, strlen(name));
	}
	return 0;
}

/* Notes what nodes read. */
static int index_used(struct program *p, const struct json *graph,
		      struct err *e)
{
	const struct json *nodes = json_member(graph, "nodes");
	int rc = 0;

	p->used = map_new();
	if (!p->used)
		return err_nomem(e, 0);
	for (size_t i = 0; rc == 0 && i < json_count(nodes); i++) {
		const struct json *inputs =
			json_member(json_item(nodes, i), "inputs");

		for (size_t j = 0; rc == 0 && j < json_count(inputs); j++)
			rc = use(p,
				 program_union(json_member(json_item(inputs, j),
							   "arg")),
				 e);
	}
	return rc;
}

static int read_graph(struct program *p, const struct json *module,
		      struct err *e)
{
	const struct json *graph = json_member(module, "graph");
	const struct json *nodes = json_member(graph, "nodes");
	int rc;

	p->types = json_member(graph, "tensor_values");
	rc = index_params(p, e);
	if (rc == 0)
		rc = index_used(p, graph, e);
	if (rc == 0)
		rc = read_signature(p, json_member(module, "signature"), e);
	for (size_t i = 0; rc == 0 && i < json_count(nodes); i++) {
		rc = add_node(p, json_item(nodes, i), e);
		if (rc < 0)
			err_wrap(e, "node %zu", i);
	}
	return rc;
}

static int add_info(struct program *p, const struct json *root, struct err *e)
{
	const struct json *version = json_member(root, "schema_version");
	int64_t major = 0, minor = 0;
	size_t len;
	const char *torch =
		json_get_string(json_member(root, "torch_version"), &len);
	int rc = 0;

	json_get_int(json_member(json_member(root, "opset_version"), "aten"),
		     &major);
	p->opset = major > 0 && major < 100000 ? (int)major : 0;
	if (!json_get_int(version, &major))
		json_get_int(json_member(version, "major"), &major);
	json_get_int(json_member(version, "minor"), &minor);
	rc = model_info(p->m, "schema_version", "%lld.%lld", (long long)major,
			(long long)minor);
	if (rc == 0 && torch)
		rc = model_info(p->m, "producer", "torch %s", torch);
	return rc < 0 ? err_nomem(e, 0) : 0;
}

int torch_program_read(struct model *m, const struct json *root, struct err *e)
{
	struct program p = {.m = m};
	int rc;

	if (json_kind(json_member(root, "graph_module")) != JSON_KIND_OBJECT)
		return err_set(e, EINVAL, "no graph_module");
	p.g = graph_new(m->arena, NULL, "main");
	if (!p.g)
		return err_nomem(e, sizeof(*p.g));
	m->graph = p.g;
	rc = add_info(&p, root, e);
	if (rc == 0)
		rc = read_graph(&p, json_member(root, "graph_module"), e);
	map_free(p.params);
	map_free(p.used);
	return rc;
}
