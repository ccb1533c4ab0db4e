/* SPDX-License-Identifier: MIT */
/* Rows T1 to T8: tables, checkpoints and graphs of TensorFlow. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "table_recipe.h"

#include "wire/sstable.h"

/* ---- tables ---- */

static int count(void *ctx, const struct sstable_entry *t, struct err *e)
{
	(void)t;
	(void)e;
	++*(int *)ctx;
	return 0;
}

/* Number of entries, or the negative error. */
static int read_table(struct recipe *r)
{
	struct source *src = recipe_source(r);
	int n = 0, rc;

	rc = sstable_each(src, count, &n, NULL);
	source_unref(src);
	return rc < 0 ? rc : n;
}

static struct recipe value_of(const char *text)
{
	struct recipe r = {0};

	recipe_text(&r, text);
	return r;
}

static struct recipe block_of(const char *a, const char *b)
{
	struct recipe block = {0}, v = value_of("value");

	recipe_entry(&block, a, strlen(a), &v);
	recipe_entry(&block, b, strlen(b), &v);
	recipe_free(&v);
	return block;
}

TEST(table)
{
	struct recipe b = block_of("a", "b"), r = recipe_table(&b, 0);

	CHECK_INT(read_table(&r), 2);
	b = block_of("b", "a"); /* not sorted */
	r = recipe_table(&b, 0);
	CHECK_INT(read_table(&r), -EINVAL);
	b = block_of("a", "a"); /* twice */
	r = recipe_table(&b, 0);
	CHECK_INT(read_table(&r), -EINVAL);
	b = block_of("a", "b"); /* a compression nobody knows */
	r = recipe_table(&b, 9);
	CHECK_INT(read_table(&r), -EOPNOTSUPP);
	b = block_of("a", "b"); /* not what snappy makes */
	r = recipe_table(&b, 1);
	CHECK_INT(read_table(&r), -EIO);
}

TEST(table_checksum)
{
	struct recipe b = block_of("a", "b"), r = recipe_table(&b, 0);

	r.p[4] ^= 1;
	CHECK_INT(read_table(&r), -EIO);
}

TEST(table_bounds)
{
	struct recipe b = block_of("a", "b"), r = recipe_table(&b, 0);
	struct recipe bad = {0};

	/* handles that lead beyond the file */
	recipe_varint(&bad, 0);
	recipe_varint(&bad, 0);
	recipe_varint(&bad, UINT64_MAX);
	recipe_varint(&bad, UINT64_MAX);
	memcpy(r.p + r.len - 48, bad.p, bad.len);
	recipe_free(&bad);
	CHECK_INT(read_table(&r), -EINVAL);
	/* more restarts than there are bytes */
	b = block_of("a", "b");
	recipe_int(&b, 0x10000000, 4);
	r = recipe_table(&b, 0);
	memcpy(r.p, "\x7f", 1); /* shares 127 bytes with nothing */
	CHECK(read_table(&r) < 0);
	/* too short for a footer */
	recipe_text(&r, "short");
	CHECK_INT(read_table(&r), -EINVAL);
}

/* ---- checkpoints ---- */

static struct recipe header(int64_t nshards, int endianness)
{
	struct recipe r = {0};

	recipe_number(&r, 1, (uint64_t)nshards);
	if (endianness)
		recipe_number(&r, 2, (uint64_t)endianness);
	return r;
}

static void add_shape(struct recipe *r, unsigned id, const int64_t *dims,
		      size_t n)
{
	struct recipe shape = {0};

	for (size_t i = 0; i < n; i++) {
		struct recipe dim = {0};

		recipe_number(&dim, 1, (uint64_t)dims[i]);
		recipe_message(&shape, 2, &dim);
	}
	recipe_message(r, id, &shape);
}

struct entry {
	int64_t dim, shard, off, size;
	uint32_t crc;
	bool has_crc;
};

static struct recipe float_entry(const struct entry *x)
{
	struct recipe r = {0};

	recipe_number(&r, 1, 1);
	add_shape(&r, 2, &x->dim, 1);
	recipe_number(&r, 3, (uint64_t)x->shard);
	recipe_number(&r, 4, (uint64_t)x->off);
	recipe_number(&r, 5, (uint64_t)x->size);
	if (x->has_crc) {
		recipe_varint(&r, 6 << 3 | 5);
		recipe_int(&r, x->crc, 4);
	}
	return r;
}

static void write_file(const char *dir, const char *name, struct recipe *r)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wb");
	if (!f || fwrite(r->p, 1, r->len, f) != r->len || fclose(f) != 0)
		abort();
	recipe_free(r);
}

static const float numbers[4] = {1, 2, 3, 4};

/* A folder with x.index of this entry "v", and x.data of four floats. */
static struct model *load_bundle(struct recipe *head, const struct entry *x,
				 bool lenient, struct err *e)
{
	char dir[] = "/tmp/modelfs-test-XXXXXX", path[512];
	struct recipe block = {0}, v = float_entry(x), file, data = {0};
	struct model *m = NULL;

	if (!mkdtemp(dir))
		abort();
	recipe_entry(&block, "", 0, head);
	recipe_entry(&block, "v", 1, &v);
	recipe_free(head);
	recipe_free(&v);
	file = recipe_table(&block, 0);
	write_file(dir, "x.index", &file);
	recipe_bytes(&data, numbers, sizeof(numbers));
	write_file(dir, "x.data-00000-of-00001", &data);
	snprintf(path, sizeof(path), "%s/x.index", dir);
	*e = (struct err){0};
	format_load(path, lenient, &m, e);
	unlink(path);
	snprintf(path, sizeof(path), "%s/x.data-00000-of-00001", dir);
	unlink(path);
	rmdir(dir);
	return m;
}

static int open_error(const struct model *m)
{
	struct err e = {0};
	float v[4];
	int rc = blob_status(m->params[0]->data, &e);

	if (rc == 0)
		rc = blob_read_full(m->params[0]->data, v,
				    m->params[0]->data->size, 0, &e);
	return rc;
}

TEST(bundle)
{
	struct recipe h = header(1, 0);
	struct entry x = {.dim = 4, .size = 16, .has_crc = true};
	struct err e;
	struct model *m;

	x.crc = crc32c_mask(crc32c(0, numbers, sizeof(numbers)));
	m = load_bundle(&h, &x, false, &e);
	CHECK(m && m->nparams == 1);
	if (m) {
		CHECK_STR(m->params[0]->full_name, "v");
		CHECK_INT(open_error(m), 0);
	}
	model_free(m);
	/* the sum of other bytes: only reading finds out */
	x.crc ^= 1;
	h = header(1, 0);
	m = load_bundle(&h, &x, false, &e);
	CHECK(m && open_error(m) == -EIO);
	model_free(m);
}

TEST(bundle_byte_order)
{
	struct recipe h = header(1, 1);
	struct entry x = {.dim = 1, .size = 4};
	struct err e;
	struct model *m = load_bundle(&h, &x, false, &e);
	uint8_t got[4], want[4] = {0x3f, 0x80, 0, 0};

	CHECK(m != NULL);
	if (m) {
		CHECK_INT(blob_read_full(m->params[0]->data, got, 4, 0, &e), 0);
		CHECK(memcmp(got, want, 4) == 0);
	}
	model_free(m);
}

/* "v" of four floats, the second half stored before the first. */
TEST(bundle_slices)
{
	static const char first[] = "\0v\0\1\1\1\x80\x82";
	static const char second[] = "\0v\0\1\1\1\x82\x82";
	struct entry halves[2] = {{.dim = 2, .off = 8, .size = 8},
				  {.dim = 2, .off = 0, .size = 8}};
	struct entry whole = {.dim = 4};
	struct recipe block = {0}, h = header(1, 0), v, data = {0}, file;
	char dir[] = "/tmp/modelfs-test-XXXXXX", path[512];
	struct err e = {0};
	struct model *m = NULL;
	float got[4] = {0};

	if (!mkdtemp(dir))
		abort();
	recipe_entry(&block, "", 0, &h);
	recipe_free(&h);
	for (int i = 0; i < 2; i++) {
		v = float_entry(&halves[i]);
		recipe_entry(&block, i ? second : first, 8, &v);
		recipe_free(&v);
	}
	v = float_entry(&whole);
	for (uint64_t i = 0; i < 2; i++) {
		struct recipe extent = {0}, slice = {0};

		recipe_number(&extent, 1, 2 * i);
		recipe_number(&extent, 2, 2);
		recipe_message(&slice, 1, &extent);
		recipe_message(&v, 7, &slice);
	}
	recipe_entry(&block, "v", 1, &v);
	recipe_free(&v);
	file = recipe_table(&block, 0);
	write_file(dir, "x.index", &file);
	recipe_bytes(&data, numbers, sizeof(numbers));
	write_file(dir, "x.data-00000-of-00001", &data);
	snprintf(path, sizeof(path), "%s/x.index", dir);
	CHECK_INT(format_load(path, false, &m, &e), 0);
	if (m && m->nparams == 1)
		CHECK_INT(blob_read_full(m->params[0]->data, got, 16, 0, &e),
			  0);
	CHECK(got[0] == 3 && got[1] == 4 && got[2] == 1 && got[3] == 2);
	model_free(m);
	unlink(path);
	snprintf(path, sizeof(path), "%s/x.data-00000-of-00001", dir);
	unlink(path);
	rmdir(dir);
}

static bool is_refused(int64_t nshards, const struct entry *x)
{
	struct recipe h = header(nshards, 0);
	struct err e;
	struct model *m = load_bundle(&h, x, false, &e);
	bool ok = !m && e.msg[0];

	model_free(m);
	return ok;
}

TEST(bundle_bounds)
{
	struct entry good = {.dim = 4, .size = 16}, x = good;
	struct recipe h;
	struct err e;
	struct model *m;

	CHECK(is_refused(0, &good));
	CHECK(is_refused(-1, &good));
	CHECK(is_refused(1000000000, &good));
	x.shard = 1;
	CHECK(is_refused(1, &x));
	x.shard = -1;
	CHECK(is_refused(1, &x));
	x = good;
	x.off = 4;
	CHECK(is_refused(1, &x));
	x.off = -4;
	CHECK(is_refused(1, &x));
	x = good;
	x.size = 12;
	CHECK(is_refused(1, &x));
	x.dim = -4;
	CHECK(is_refused(1, &x));
	/* lenient: listed, and an error when opened */
	x = good;
	x.off = INT64_MAX;
	h = header(1, 0);
	m = load_bundle(&h, &x, true, &e);
	CHECK(m && open_error(m) == -EIO);
	model_free(m);
	/* a shard that is not there */
	x = good;
	x.shard = 1;
	h = header(2, 0);
	m = load_bundle(&h, &x, false, &e);
	CHECK(m && open_error(m) == -ENOENT);
	model_free(m);
}

static void add_child(struct recipe *node, int64_t id, const char *name)
{
	struct recipe child = {0};

	recipe_number(&child, 1, (uint64_t)id);
	recipe_varint(&child, 2 << 3 | 2);
	recipe_varint(&child, strlen(name));
	recipe_text(&child, name);
	recipe_message(node, 1, &child);
}

static void add_bytes(struct recipe *r, unsigned id, const char *text)
{
	recipe_varint(r, id << 3 | 2);
	recipe_varint(r, strlen(text));
	recipe_text(r, text);
}

#define KEY "m/.ATTRIBUTES/VARIABLE_VALUE"

/*
 * Objects that hold themselves and each other, are nowhere, or have names
 * that would lead elsewhere; the last one's variable is called so.
 */
static struct recipe object_graph(const char *full_name)
{
	struct recipe graph = {0}, root = {0}, other = {0}, attribute = {0};

	add_child(&root, 0, "self");
	add_child(&root, 1, "..");
	add_child(&root, 1, "again");
	add_child(&root, -1, "before");
	add_child(&root, INT32_MAX, "behind");
	recipe_message(&graph, 1, &root);
	add_child(&other, 0, "/parent");
	add_bytes(&attribute, 1, "VARIABLE_VALUE");
	add_bytes(&attribute, 2, full_name);
	add_bytes(&attribute, 3, KEY);
	recipe_message(&other, 2, &attribute);
	recipe_message(&graph, 1, &other);
	return graph;
}

/* A shard of the graph as a string and four floats, and its index. */
static void write_objects(const char *dir, struct recipe *graph)
{
	struct recipe block = {0}, head = header(1, 0), shard = {0};
	struct recipe text = {0}, v;
	uint32_t length = (uint32_t)graph->len;
	struct entry x = {.dim = 4, .size = 16};

	recipe_varint(&shard, graph->len);
	recipe_int(&shard, crc32c_mask(crc32c(0, &length, 4)), 4);
	recipe_bytes(&shard, graph->p, graph->len);
	recipe_number(&text, 1, 7); /* a string */
	add_shape(&text, 2, NULL, 0);
	recipe_number(&text, 5, shard.len);
	x.off = (int64_t)shard.len;
	v = float_entry(&x);
	recipe_bytes(&shard, numbers, sizeof(numbers));
	recipe_entry(&block, "", 0, &head);
	recipe_entry(&block, "_CHECKPOINTABLE_OBJECT_GRAPH", 28, &text);
	recipe_entry(&block, KEY, sizeof(KEY) - 1, &v);
	recipe_free(&head);
	recipe_free(&text);
	recipe_free(&v);
	recipe_free(graph);
	v = recipe_table(&block, 0);
	write_file(dir, "x.index", &v);
	write_file(dir, "x.data-00000-of-00001", &shard);
}

static void remove_files(const char *dir)
{
	static const char *const names[] = {"x.index", "x.data-00000-of-00001",
					    "checkpoint"};
	char path[512];

	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

/* T6 */
TEST(object_graph)
{
	static const char *const names[] = {"dense/kernel", "../../up", "/",
					    ""};

	for (size_t i = 0; i < 4; i++) {
		char dir[] = "/tmp/modelfs-test-XXXXXX", path[512];
		struct recipe graph = object_graph(names[i]);
		struct err e = {0};
		struct model *m = NULL;

		if (!mkdtemp(dir))
			abort();
		write_objects(dir, &graph);
		snprintf(path, sizeof(path), "%s/x.index", dir);
		CHECK_INT(format_load(path, false, &m, &e), 0);
		CHECK(m && m->nparams >= 1);
		if (m)
			CHECK_INT(open_error(m), 0);
		if (m && i == 0)
			CHECK_STR(m->params[0]->full_name, "dense/kernel");
		model_free(m);
		remove_files(dir);
	}
}

/* T8: a path in the text file is never followed, only its last part. */
TEST(checkpoint_text)
{
	static const struct {
		const char *path;
		int code;
	} rows[] = {{"/nowhere/else/x", 0},
		    {"../x", 0},
		    {"/etc/passwd", ENOENT},
		    {"..", ENOENT},
		    {"", ENOENT}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char dir[] = "/tmp/modelfs-test-XXXXXX";
		struct recipe graph = object_graph("v"), text = {0};
		struct err e = {0};
		struct model *m = NULL;

		if (!mkdtemp(dir))
			abort();
		write_objects(dir, &graph);
		recipe_text(&text, "model_checkpoint_path: \"");
		recipe_text(&text, rows[i].path);
		recipe_text(&text, "\"\n");
		write_file(dir, "checkpoint", &text);
		format_load(dir, false, &m, &e);
		CHECK_INT(e.code, rows[i].code);
		CHECK(!m == (rows[i].code != 0));
		model_free(m);
		remove_files(dir);
	}
}

/* ---- graphs ---- */

static void add_attr(struct recipe *node, const char *key, struct recipe *value)
{
	struct recipe a = {0};

	recipe_field(&a, 1, key, strlen(key));
	recipe_message(&a, 2, value);
	recipe_message(node, 5, &a);
}

static struct recipe node_of(const char *name, const char *op, const char *in)
{
	struct recipe n = {0};

	recipe_field(&n, 1, name, strlen(name));
	recipe_field(&n, 2, op, strlen(op));
	if (in)
		recipe_field(&n, 3, in, strlen(in));
	return n;
}

/* A constant of float32 with one value that fills the shape. */
static struct recipe constant(const char *name, const int64_t *dims, size_t n)
{
	struct recipe node = node_of(name, "Const", NULL), tensor = {0};
	struct recipe value = {0};
	float v = 7;

	recipe_number(&tensor, 1, 1);
	add_shape(&tensor, 2, dims, n);
	recipe_field(&tensor, 5, &v, sizeof(v));
	recipe_message(&value, 8, &tensor);
	add_attr(&node, "value", &value);
	return node;
}

TEST(constant_fill)
{
	const int64_t dims[] = {1 << 20, 1 << 20};
	struct recipe n = constant("a/b", dims, 2), g = {0};
	struct err e;
	struct model *m;
	float v = 0;

	recipe_message(&g, 1, &n);
	m = recipe_load(&g, false, &e);
	CHECK(m && m->nparams == 1);
	if (m) {
		CHECK_INT(m->params[0]->data->size, (int64_t)4 << 40);
		CHECK_INT(blob_read_full(m->params[0]->data, &v, 4,
					 (uint64_t)3 << 40, &e),
			  0);
		CHECK(v == 7);
		CHECK_STR(m->params[0]->module->name, "a");
	}
	model_free(m);
}

TEST(constant_overflow)
{
	const int64_t dims[] = {INT64_MAX, INT64_MAX};
	struct recipe n = constant("c", dims, 2), g = {0};
	struct err e;

	recipe_message(&g, 1, &n);
	CHECK(!recipe_load(&g, false, &e));
}

TEST(missing_inputs)
{
	struct recipe n = node_of("x", "Relu", "nobody"), g = {0};
	struct err e;
	struct model *m;

	recipe_message(&g, 1, &n);
	CHECK(!recipe_load(&g, false, &e));
	CHECK(strstr(e.msg, "nobody") != NULL);
	/* itself: a graph that cannot run, but can be looked at */
	n = node_of("x", "Relu", "x:2147483647");
	recipe_message(&g, 1, &n);
	CHECK(!recipe_load(&g, false, &e));
	n = node_of("x", "Relu", "x");
	recipe_message(&g, 1, &n);
	m = recipe_load(&g, false, &e);
	CHECK(m && m->graph && m->graph->broken);
	model_free(m);
}

/* f calls g twice, g calls h twice, …: 2^n nodes from n functions. */
TEST(function_bomb)
{
	struct recipe g = {0}, library = {0}, n, value, f, body;
	struct err e;

	for (int i = 0; i < 30; i++) {
		struct recipe function = {0}, signature = {0};
		char name[16], callee[16];

		snprintf(name, sizeof(name), "f%d", i);
		snprintf(callee, sizeof(callee), "f%d", i + 1);
		recipe_field(&signature, 1, name, strlen(name));
		recipe_message(&function, 1, &signature);
		for (int k = 0; k < 2; k++) {
			body = node_of(k ? "a" : "b", callee, NULL);
			recipe_message(&function, 3, &body);
		}
		recipe_message(&library, 1, &function);
	}
	n = node_of("call", "PartitionedCall", NULL);
	value = (struct recipe){0};
	f = (struct recipe){0};
	recipe_field(&f, 1, "f0", 2);
	recipe_message(&value, 10, &f);
	add_attr(&n, "f", &value);
	recipe_message(&g, 1, &n);
	recipe_message(&g, 2, &library);
	CHECK(!recipe_load(&g, false, &e));
	CHECK_INT(e.code, EFBIG);
}

int main(void)
{
	RUN(table);
	RUN(table_checksum);
	RUN(table_bounds);
	RUN(bundle);
	RUN(bundle_byte_order);
	RUN(bundle_bounds);
	RUN(object_graph);
	RUN(checkpoint_text);
	RUN(bundle_slices);
	RUN(constant_fill);
	RUN(constant_overflow);
	RUN(missing_inputs);
	RUN(function_bomb);
	return check_result();
}
