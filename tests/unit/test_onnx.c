/* SPDX-License-Identifier: MIT */
/* ONNX: names and roles, forms of tensors, functions, rows O1 to O12. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "modelfs/onnx_tensor.h"
#include "modelfs/text.h"
#include "recipe.h"

/* ---- messages: a field at a time ---- */

static void varint(struct recipe *r, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		recipe_int(r, v | 0x80, 1);
	recipe_int(r, v, 1);
}

static void number(struct recipe *r, unsigned field, uint64_t v)
{
	varint(r, (uint64_t)field << 3);
	varint(r, v);
}

static void bytes(struct recipe *r, unsigned field, const void *p, size_t len)
{
	varint(r, (uint64_t)field << 3 | 2);
	varint(r, len);
	recipe_bytes(r, p, len);
}

static void text(struct recipe *r, unsigned field, const char *s)
{
	bytes(r, field, s, strlen(s));
}

/* Puts a message into another and frees it. */
static void message(struct recipe *r, unsigned field, struct recipe *inner)
{
	bytes(r, field, inner->p, inner->len);
	recipe_free(inner);
}

enum { /* TensorProto */
       DIMS = 1,
       TYPE = 2,
       FLOATS = 4,
       INT32S = 5,
       STRINGS = 6,
       INT64S = 7,
       NAME = 8,
       RAW = 9,
       EXTERNAL = 13,
       LOCATION = 14
};

static struct recipe tensor(const char *name, int type, uint64_t dim)
{
	struct recipe t = {0};

	text(&t, NAME, name);
	number(&t, TYPE, (uint64_t)type);
	number(&t, DIMS, dim);
	return t;
}

static struct recipe raw_tensor(const char *name, const void *data, size_t len)
{
	struct recipe t = tensor(name, 2, len);

	bytes(&t, RAW, data, len);
	return t;
}

/* "a,b" as fields, one each. */
static void names(struct recipe *r, unsigned field, const char *list)
{
	while (*list) {
		size_t len = strcspn(list, ",");

		bytes(r, field, list, len);
		list += len + (list[len] == ',');
	}
}

static struct recipe node(const char *name, const char *type, const char *in,
			  const char *out)
{
	struct recipe n = {0};

	names(&n, 1, in);
	names(&n, 2, out);
	text(&n, 3, name);
	text(&n, 4, type);
	return n;
}

struct parts {
	struct recipe graph, model;
};

static void add_node(struct parts *p, const char *name, const char *type,
		     const char *in, const char *out)
{
	struct recipe n = node(name, type, in, out);

	message(&p->graph, 1, &n);
}

static void add_tensor(struct parts *p, struct recipe t)
{
	message(&p->graph, 5, &t);
}

static void add_name(struct recipe *r, unsigned field, const char *name)
{
	struct recipe v = {0};

	text(&v, 1, name);
	message(r, field, &v);
}

/* Frees the parts. */
static struct recipe finish(struct parts *p)
{
	struct recipe file = {0}, opset = {0};

	number(&file, 1, 8);
	number(&opset, 2, 17);
	message(&file, 8, &opset);
	message(&file, 7, &p->graph);
	recipe_bytes(&file, p->model.p, p->model.len);
	recipe_free(&p->model);
	return file;
}

static struct model *load(struct parts *p, struct err *e)
{
	struct recipe file = finish(p);

	return recipe_load(&file, false, e);
}

static bool is_refused(struct parts *p, const char *why)
{
	struct err e;
	struct model *m = load(p, &e);
	bool ok = !m && strstr(e.msg, why);

	if (!ok)
		printf("# %s\n", m ? "read" : e.msg);
	model_free(m);
	return ok;
}

static const char *where(const struct model *m, const char *name)
{
	static char buf[256];

	return recipe_path(recipe_param(m, name), buf, sizeof(buf));
}

/* ---- names ---- */

TEST(places)
{
	struct parts p = {0};
	struct err e;
	struct model *m;

	add_node(&p, "/layer1/layer1.0/conv1/Conv", "Conv",
		 "x,onnx::Conv_1,layer1.0.conv1.bias", "a");
	add_node(&p, "Convolution28", "Conv", "a,Parameter5", "b");
	add_node(&p, "/layer1/Add", "Add", "b,onnx::Add_2", "c");
	add_node(&p, "/layer1/Add_1", "Add", "c,onnx::Add_3", "d");
	add_node(&p, "", "BatchNormalization", "d,s,o,m,v", "e");
	add_node(&p, "", "Identity", "Parameter5", "copy.of");
	add_tensor(&p, raw_tensor("onnx::Conv_1", "ab", 2));
	add_tensor(&p, raw_tensor("layer1.0.conv1.bias", "c", 1));
	add_tensor(&p, raw_tensor("Parameter5", "d", 1));
	add_tensor(&p, raw_tensor("onnx::Add_2", "e", 1));
	add_tensor(&p, raw_tensor("onnx::Add_3", "f", 1));
	add_tensor(&p, raw_tensor("s", "g", 1));
	add_tensor(&p, raw_tensor("v", "h", 1));
	add_tensor(&p, raw_tensor("dense/kernel:0", "i", 1));
	m = load(&p, &e);
	CHECK(m != NULL);
	CHECK_STR(where(m, "onnx::Conv_1"), "layer1/0/conv1/weight");
	CHECK_STR(where(m, "layer1.0.conv1.bias"), "layer1/0/conv1/bias");
	CHECK_STR(where(m, "Parameter5"), "Convolution28/weight");
	CHECK_STR(where(m, "onnx::Add_2"), "layer1/bias");
	CHECK_STR(where(m, "onnx::Add_3"), "layer1/Add_1/bias");
	CHECK_STR(where(m, "s"), "BatchNormalization_4/weight");
	CHECK_STR(where(m, "v"), "BatchNormalization_4/running_var");
	CHECK_STR(where(m, "dense/kernel:0"), "dense/kernel:0");
	CHECK_STR(where(m, "copy.of"), "copy/of");
	if (m) {
		CHECK_INT(recipe_param(m, "v")->kind, PARAM_BUFFER);
		CHECK(recipe_param(m, "copy.of")->tied ==
		      recipe_param(m, "Parameter5"));
		CHECK(recipe_holds(recipe_param(m, "onnx::Conv_1"), "ab", 2));
		CHECK(m->graph->broken); /* o and m are nowhere */
	}
	model_free(m);
}

TEST(dynamo_scopes)
{
	struct parts p = {0};
	struct recipe n = node("node_conv2d_3", "Conv", "x,w", "y"), prop = {0};
	struct err e;
	struct model *m;
	const struct module *mod = NULL;

	text(&prop, 1, "pkg.torch.onnx.name_scopes");
	text(&prop, 2, "['', 'layer1', 'layer1.0', 'conv2d']");
	message(&n, 9, &prop);
	text(&prop, 1, "pkg.torch.onnx.class_hierarchy");
	text(&prop, 2, "['a.Net', 'torch.nn.Sequential', 'a.Block', 'aten.c']");
	message(&n, 9, &prop);
	message(&p.graph, 1, &n);
	add_tensor(&p, raw_tensor("w", "d", 1));
	m = load(&p, &e);
	CHECK_STR(where(m, "w"), "layer1/0/weight");
	if (m)
		mod = recipe_param(m, "w")->module;
	CHECK_STR(mod ? mod->type : "", "Block");
	CHECK_STR(mod ? mod->parent->type : "", "Sequential");
	model_free(m);
}

/* Two nodes of one name, and a name that is a scope, too. */
TEST(node_modules)
{
	struct parts p = {0};
	struct err e;
	struct model *m;

	add_node(&p, "a", "Relu", "x", "b");
	add_node(&p, "a", "Relu", "b", "c");
	add_node(&p, "a/d", "Relu", "c", "y");
	m = load(&p, &e);
	CHECK(m != NULL);
	if (!m)
		return;
	CHECK_STR(m->graph->nodes[0].module->name, "a");
	CHECK_STR(m->graph->nodes[1].module->name, "a_1");
	CHECK(m->graph->nodes[2].module->parent == m->graph->nodes[0].module);
	CHECK(m->graph->nodes[1].module->is_node);
	model_free(m);
}

/* ---- tensors ---- */

static struct model *load_tensor(struct recipe t, struct err *e)
{
	struct parts p = {0};

	add_tensor(&p, t);
	return load(&p, e);
}

static bool tensor_holds(struct recipe t, const void *want, size_t len)
{
	struct err e;
	struct model *m = load_tensor(t, &e);
	bool ok = m && recipe_holds(recipe_param(m, "t"), want, len);

	if (!m)
		printf("# %s\n", e.msg);
	model_free(m);
	return ok;
}

TEST(forms)
{
	struct recipe t = tensor("t", 1, 2);

	bytes(&t, FLOATS, "\0\0\x80\x3f\0\0\0\x40", 8);
	CHECK(tensor_holds(t, "\0\0\x80\x3f\0\0\0\x40", 8));
	/* not packed, one by one; and both mixed */
	t = tensor("t", 1, 2);
	varint(&t, FLOATS << 3 | 5);
	recipe_int(&t, 0x3f800000, 4);
	bytes(&t, FLOATS, "\0\0\0\x40", 4);
	CHECK(tensor_holds(t, "\0\0\x80\x3f\0\0\0\x40", 8));
	t = tensor("t", 3, 2);
	number(&t, INT32S, (uint64_t)-1);
	number(&t, INT32S, 2);
	CHECK(tensor_holds(t, "\xff\2", 2));
	t = tensor("t", 10, 1);
	number(&t, INT32S, 15360);
	CHECK(tensor_holds(t, "\0\x3c", 2));
	t = tensor("t", 7, 1);
	number(&t, INT64S, (uint64_t)-2);
	CHECK(tensor_holds(t, "\xfe\xff\xff\xff\xff\xff\xff\xff", 8));
	t = tensor("t", 22, 3); /* int4: a byte per int */
	number(&t, INT32S, 0x21);
	number(&t, INT32S, 0x03);
	CHECK(tensor_holds(t, "\x21\x03", 2));
	t = tensor("t", 22, 5); /* or four */
	number(&t, INT32S, 0x00054321);
	CHECK(tensor_holds(t, "\x21\x43\x05", 3));
	t = tensor("t", 8, 2);
	text(&t, STRINGS, "ab");
	text(&t, STRINGS, "");
	CHECK(tensor_holds(
		t, "\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0ab", 26));
}

/* Many varints are decoded when they are read. */
TEST(lazy_varints)
{
	struct recipe t = tensor("t", 3, 70000), packed = {0};
	struct err e;
	struct model *m;
	char byte = 0;

	for (int i = 0; i < 70000; i++)
		varint(&packed, i % 100);
	message(&t, INT32S, &packed);
	m = load_tensor(t, &e);
	CHECK(m != NULL);
	if (!m)
		return;
	CHECK_INT(m->params[0]->data->size, 70000);
	CHECK_INT(blob_read_full(m->params[0]->data, &byte, 1, 69999, &e), 0);
	CHECK_INT(byte, 99);
	model_free(m);
	/* one too few: the size fits only if nobody looks */
	t = tensor("t", 3, 70001);
	for (int i = 0; i < 70000; i++)
		varint(&packed, 200);
	message(&t, INT32S, &packed);
	m = load_tensor(t, &e);
	CHECK(m && blob_read_full(m->params[0]->data, &byte, 1, 0, &e) == -EIO);
	model_free(m);
}

static bool tensor_fails(struct recipe t, const char *why)
{
	struct parts p = {0};

	add_tensor(&p, t);
	return is_refused(&p, why);
}

TEST(contradictions) /* O6, O12 */
{
	struct recipe t = tensor("t", 1, 2);
	struct parts p = {0};

	bytes(&t, RAW, "1234", 4);
	CHECK(tensor_fails(t, "4 bytes of data for 8"));
	t = tensor("t", 1, 1);
	bytes(&t, RAW, "1234", 4);
	bytes(&t, FLOATS, "1234", 4);
	CHECK(tensor_fails(t, "twice"));
	t = tensor("t", 1, (uint64_t)-1);
	CHECK(tensor_fails(t, "t:"));
	t = tensor("t", 1, (uint64_t)1 << 62);
	number(&t, DIMS, 8);
	CHECK(tensor_fails(t, "t:"));
	t = tensor("t", 6, 3);
	number(&t, INT32S, 1);
	CHECK(tensor_fails(t, "elements"));
	t = tensor("t", 8, 2);
	bytes(&t, RAW, "ab", 2);
	CHECK(tensor_fails(t, "strings"));
	add_tensor(&p, raw_tensor("t", "a", 1));
	add_tensor(&p, raw_tensor("t", "b", 1));
	CHECK(is_refused(&p, "twice"));
	/* in a lenient reading the tensor is there, and gives EIO */
	t = tensor("t", 1, 2);
	bytes(&t, RAW, "1234", 4);
	add_tensor(&p, t);
	{
		struct recipe file = finish(&p);
		struct err e;
		struct model *m = recipe_load(&file, true, &e);

		CHECK_INT(recipe_status(recipe_param(m, "t")), -EIO);
		model_free(m);
	}
}

TEST(unknown_type)
{
	struct recipe t = tensor("t", 99, 2);
	struct err e;
	struct model *m;

	bytes(&t, RAW, "abc", 3);
	m = load_tensor(t, &e);
	CHECK_INT(recipe_status(recipe_param(m, "t")), -EOPNOTSUPP);
	CHECK_STR(m ? m->params[0]->dtype_text : "", "onnx.99");
	model_free(m);
}

/* ---- data in other files: O1 to O4 ---- */

static char folder[] = "/tmp/modelfs-test-XXXXXX";

static void write_file(const char *name, const void *p, size_t len)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "wb");
	if (!f || fwrite(p, 1, len, f) != len || fclose(f) != 0)
		abort();
}

static void add_external(struct recipe *t, const char *key, const char *value)
{
	struct recipe entry = {0};

	text(&entry, 1, key);
	text(&entry, 2, value);
	message(t, EXTERNAL, &entry);
}

/* Two floats at `offset` of `location`: what opening them gives. */
static int external(const char *location, const char *offset,
		    const char *length, const void *want)
{
	struct recipe t = tensor("t", 1, 2), file;
	struct parts p = {0};
	struct model *m = NULL;
	struct err e = {0};
	char path[256];
	int rc;

	number(&t, LOCATION, 1);
	add_external(&t, "location", location);
	if (offset)
		add_external(&t, "offset", offset);
	if (length)
		add_external(&t, "length", length);
	add_tensor(&p, t);
	file = finish(&p);
	write_file("m.onnx", file.p, file.len);
	recipe_free(&file);
	snprintf(path, sizeof(path), "%s/m.onnx", folder);
	if (format_load(path, false, &m, &e) < 0)
		return 1;
	rc = recipe_status(recipe_param(m, "t"));
	if (rc == 0 && want)
		rc = recipe_holds(recipe_param(m, "t"), want, 8) ? 0 : 2;
	model_free(m);
	return rc;
}

TEST(siblings)
{
	char path[256];

	if (!mkdtemp(folder))
		abort();
	write_file("data", "0123456789abcdef", 16);
	snprintf(path, sizeof(path), "%s/fifo", folder);
	CHECK_INT(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/out", folder);
	CHECK_INT(symlink("/etc/passwd", path), 0);
	CHECK_INT(external("data", NULL, NULL, "01234567"), 0);
	CHECK_INT(external("data", "8", "8", "89abcdef"), 0);
	CHECK_INT(external("data", "3", NULL, "3456789a"), 0);
	CHECK_INT(external("missing", NULL, NULL, NULL), -ENOENT);
	CHECK_INT(external("../data", NULL, NULL, NULL), -EPERM);
	CHECK_INT(external("/etc/passwd", NULL, NULL, NULL), -EPERM);
	CHECK_INT(external("", NULL, NULL, NULL), -EPERM);
	CHECK_INT(external("*/_ORT_MEM_ADDR_/*", "4096", NULL, NULL), -EPERM);
	CHECK_INT(external("out", NULL, NULL, NULL), -EPERM);
	CHECK(external("fifo", NULL, NULL, NULL) < 0);
	CHECK(external(".", NULL, NULL, NULL) < 0);
}

TEST(ranges)
{
	static const char *const bad[] = {"-1",
					  "+5",
					  " 7",
					  "0x10",
					  "1e3",
					  "9",
					  "",
					  "16",
					  "99999999999999999999",
					  "18446744073709551615"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_INT(external("data", bad[i], NULL, NULL), -EIO);
	CHECK_INT(external("data", NULL, "4", NULL), -EIO);
	CHECK_INT(external("data", NULL, "16", NULL), -EIO);
	CHECK_INT(external("data", NULL, "-8", NULL), -EIO);
}

static void remove_folder(void)
{
	static const char *const files[] = {"data", "m.onnx", "fifo", "out"};
	char path[256];

	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
		unlink(path);
	}
	rmdir(folder);
}

/* ---- graphs ---- */

TEST(broken_graphs) /* O9 */
{
	struct parts p = {0};
	struct err e;
	struct model *m;

	add_node(&p, "a", "Relu", "y", "x");
	add_node(&p, "b", "Relu", "x", "y");
	m = load(&p, &e);
	CHECK(m && m->graph->broken);
	model_free(m);
	add_node(&p, "a", "Relu", "x", "y");
	add_node(&p, "b", "Relu", "x", "y");
	add_name(&p.graph, 11, "x");
	m = load(&p, &e);
	CHECK(m && m->graph->broken);
	model_free(m);
}

/* IR 3: every initializer is listed as an input, too. */
TEST(real_inputs)
{
	struct parts p = {0};
	struct err e;
	struct model *m;

	add_node(&p, "a", "Add", "x,w", "y");
	add_tensor(&p, raw_tensor("w", "a", 1));
	add_name(&p.graph, 11, "w");
	add_name(&p.graph, 11, "x");
	add_name(&p.graph, 12, "y");
	m = load(&p, &e);
	CHECK(m && !m->graph->broken);
	CHECK_INT(m ? m->graph->ninputs : 0, 1);
	CHECK_STR(m ? m->graph->values[m->graph->inputs[0]].name : "", "x");
	model_free(m);
}

/* A function F(a) = op(op(a)), calling `op` of its own domain. */
static void add_function(struct parts *p, const char *name, const char *op)
{
	struct recipe f = {0}, n;

	text(&f, 1, name);
	text(&f, 4, "a");
	text(&f, 5, "c");
	n = node("first", op, "a", "b");
	text(&n, 7, "my");
	message(&f, 7, &n);
	n = node("second", op, "b", "c");
	text(&n, 7, "my");
	message(&f, 7, &n);
	text(&f, 10, "my");
	message(&p->model, 25, &f);
}

static void add_call(struct parts *p, const char *name, const char *op)
{
	struct recipe n = node(name, op, "x", "y");

	text(&n, 7, "my");
	message(&p->graph, 1, &n);
}

TEST(functions)
{
	struct parts p = {0};
	struct err e;
	struct model *m;
	const struct graph *g;

	add_call(&p, "call", "F");
	add_function(&p, "F", "G");
	m = load(&p, &e);
	CHECK(m != NULL);
	if (!m)
		return;
	g = m->graph;
	CHECK_INT(g->nnodes, 2);
	CHECK_STR(g->nodes[0].name, "call/first");
	CHECK_STR(g->values[g->nodes[0].in[0]].name, "x");
	CHECK_STR(g->values[g->nodes[0].out[0]].name, "call/b");
	CHECK_STR(g->values[g->nodes[1].out[0]].name, "y");
	CHECK_STR(g->nodes[1].module->name, "second");
	CHECK_STR(g->nodes[1].module->parent->type, "F");
	model_free(m);
}

TEST(recursive_functions) /* O8 */
{
	struct parts p = {0};
	struct err e;
	struct model *m;
	char name[16], op[16];

	add_call(&p, "call", "F");
	add_function(&p, "F", "G");
	add_function(&p, "G", "F");
	m = load(&p, &e);
	CHECK(m && m->graph->nnodes == 4);
	model_free(m);
	/* 2^30 nodes, if one let it */
	add_call(&p, "call", "f0");
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		snprintf(op, sizeof(op), "f%d", i + 1);
		add_function(&p, name, op);
	}
	CHECK(is_refused(&p, "more than"));
}

/* ---- the encoding: O7, O10 ---- */

static bool bytes_refused(const void *p, size_t len)
{
	struct recipe r = {0};
	struct err e;
	struct model *m;

	recipe_bytes(&r, "\x08\x08\x3a\x00", 4);
	recipe_bytes(&r, p, len);
	m = recipe_load(&r, false, &e);
	model_free(m);
	return !m && e.msg[0];
}

#define REFUSED(s) bytes_refused(s, sizeof(s) - 1)

TEST(encoding)
{
	CHECK(!REFUSED(""));
	CHECK(REFUSED("\x00\x01"));
	CHECK(REFUSED("\x0e\x01"));
	CHECK(REFUSED("\x0f\x01"));
	CHECK(REFUSED("\x32\x05"
		      "abcd"));
	CHECK(REFUSED("\x32\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
	CHECK(REFUSED("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
	CHECK(REFUSED("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"));
	CHECK(REFUSED("\x0c"));
	CHECK(REFUSED("\x9b\x06\x08\x01"));
	CHECK(REFUSED("\x9b\x06\xa4\x06"));
	CHECK(!REFUSED("\x9b\x06\x08\x01\x13\x14\x9c\x06"));
	CHECK(!REFUSED("\xf8\x07\x01")); /* an unknown field */
}

/* A graph that comes in two halves is one graph. */
TEST(merged_messages)
{
	struct parts p = {0};
	struct recipe half = {0}, n = node("b", "Relu", "y", "z");
	struct err e;
	struct model *m;

	add_node(&p, "a", "Relu", "x", "y");
	message(&half, 1, &n);
	message(&p.model, 7, &half);
	m = load(&p, &e);
	CHECK(m && m->graph->nnodes == 2);
	model_free(m);
}

/* The fields by which we mark payloads are not believed from a file. */
TEST(forged_ranges)
{
	struct recipe t = tensor("t", 2, 4);
	struct parts p = {0};
	struct err e;
	struct model *m;

	number(&t, 1009, 0);
	number(&t, 2009, 4);
	add_tensor(&p, t);
	m = load(&p, &e);
	CHECK(m == NULL); /* no data at all */
	model_free(m);
}

TEST(deep_graphs)
{
	struct recipe g = {0};
	struct parts p = {0};

	for (int i = 0; i < 200; i++) {
		struct recipe attr = {0}, n = {0};

		text(&attr, 1, "body");
		message(&attr, 6, &g);
		text(&n, 4, "Loop");
		message(&n, 5, &attr);
		message(&g, 1, &n);
	}
	p.graph = g;
	CHECK(is_refused(&p, "too deep"));
}

TEST(every_prefix)
{
	struct parts p = {0};
	struct recipe whole;
	struct err e;

	add_node(&p, "a", "Add", "x,w", "y");
	add_tensor(&p, raw_tensor("w", "a", 1));
	whole = finish(&p);
	for (size_t n = 0; n < whole.len; n++) {
		struct recipe part = {0};

		recipe_bytes(&part, whole.p, n);
		model_free(recipe_load(&part, false, &e));
	}
	recipe_free(&whole);
}

/* ---- uploads ---- */

TEST(test_data)
{
	struct recipe t = tensor("in", 1, 1), seq = {0};
	struct source *s;
	struct tensor out;
	struct err e = {0};
	char *name = NULL;
	size_t n = 0;

	bytes(&t, RAW, "1234", 4);
	message(&seq, 3, &t);
	s = recipe_source(&seq);
	CHECK_INT(onnx_tensor_read(s, DTYPE_SEQUENCE, &out, NULL, &e), 0);
	source_unref(s);
	CHECK(blob_get_items(out.data, &n) && n == 1);
	tensor_drop(&out);
	t = tensor("in", 1, 1);
	bytes(&t, RAW, "1234", 4);
	s = recipe_source(&t);
	CHECK_INT(onnx_tensor_read(s, DTYPE_F32, &out, &name, &e), 0);
	source_unref(s);
	CHECK_STR(name, "in");
	CHECK_INT(out.dtype, DTYPE_F32);
	CHECK_INT(out.shape.dims[0], 1);
	tensor_drop(&out);
	free(name);
	t = tensor("in", 1, 1);
	number(&t, LOCATION, 1);
	add_external(&t, "location", "data");
	s = recipe_source(&t);
	CHECK_INT(onnx_tensor_read(s, DTYPE_F32, &out, NULL, &e), -EPERM);
	source_unref(s);
}

int main(void)
{
	RUN(places);
	RUN(dynamo_scopes);
	RUN(node_modules);
	RUN(forms);
	RUN(lazy_varints);
	RUN(contradictions);
	RUN(unknown_type);
	RUN(siblings);
	RUN(ranges);
	remove_folder();
	RUN(broken_graphs);
	RUN(real_inputs);
	RUN(functions);
	RUN(recursive_functions);
	RUN(encoding);
	RUN(merged_messages);
	RUN(forged_ranges);
	RUN(deep_graphs);
	RUN(every_prefix);
	RUN(test_data);
	return check_result();
}
