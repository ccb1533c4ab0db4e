/* SPDX-License-Identifier: MIT */
/* Rows T9 to T11: FlatBuffers, TFLite and TensorFlow.js. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "recipe.h"

/*
 * A model of one constant.  All tables are of one vtable: five fields of four
 * bytes.  Fields that lead nowhere are left out by a vtable of fewer.
 */
enum {
	AT_VTABLE = 8, /* fields 0 to 4 */
	AT_SHORT = 24, /* field 0 alone */
	AT_EMPTY = 32, /* none */
	AT_MODEL = 40, /* version, opcodes, subgraphs, text, buffers */
	AT_SUBGRAPHS = 64,
	AT_SUBGRAPH = 72, /* tensors */
	AT_TENSORS = 80,
	AT_FOUR = 88,	 /* fields 0 to 3 */
	AT_TENSOR = 100, /* shape, type, buffer, name */
	AT_SHAPE = 120,
	AT_NAME = 128,
	AT_BUFFERS = 136,
	AT_BUFFER_0 = 148,
	AT_BUFFER_1 = 152, /* data */
	AT_DATA = 160,
	AT_END = 168
};

static void put(struct recipe *r, size_t at, uint64_t v, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++)
		r->p[at + i] = (uint8_t)(v >> (8 * i));
}

/* An offset, which counts from where it stands. */
static void lead(struct recipe *r, size_t from, size_t to)
{
	put(r, from, to - from, 4);
}

static void vtable(struct recipe *r, size_t at, unsigned nfields)
{
	put(r, at, 4 + 2 * nfields, 2);
	put(r, at + 2, 4 + 4 * nfields, 2);
	for (unsigned i = 0; i < nfields; i++)
		put(r, at + 4 + 2 * i, 4 + 4 * i, 2);
}

static void vector(struct recipe *r, size_t at, size_t first, size_t second)
{
	put(r, at, 1 + (second > 0), 4);
	lead(r, at + 4, first);
	if (second)
		lead(r, at + 8, second);
}

/* "c": one float32. */
static struct recipe good(void)
{
	struct recipe r = {0};

	recipe_zeros(&r, AT_END);
	put(&r, 0, AT_MODEL, 4);
	memcpy(r.p + 4, "TFL3", 4);
	vtable(&r, AT_VTABLE, 5);
	vtable(&r, AT_SHORT, 1);
	vtable(&r, AT_EMPTY, 0);
	vtable(&r, AT_FOUR, 4);
	put(&r, AT_MODEL, AT_MODEL - AT_VTABLE, 4);
	put(&r, AT_MODEL + 4, 3, 4);
	lead(&r, AT_MODEL + 12, AT_SUBGRAPHS);
	lead(&r, AT_MODEL + 20, AT_BUFFERS);
	vector(&r, AT_SUBGRAPHS, AT_SUBGRAPH, 0);
	put(&r, AT_SUBGRAPH, AT_SUBGRAPH - AT_SHORT, 4);
	lead(&r, AT_SUBGRAPH + 4, AT_TENSORS);
	vector(&r, AT_TENSORS, AT_TENSOR, 0);
	put(&r, AT_TENSOR, AT_TENSOR - AT_FOUR, 4);
	lead(&r, AT_TENSOR + 4, AT_SHAPE);
	put(&r, AT_TENSOR + 12, 1, 4);
	lead(&r, AT_TENSOR + 16, AT_NAME);
	put(&r, AT_SHAPE, 1, 4);
	put(&r, AT_SHAPE + 4, 1, 4);
	put(&r, AT_NAME, 1, 4);
	put(&r, AT_NAME + 4, 'c', 1);
	vector(&r, AT_BUFFERS, AT_BUFFER_0, AT_BUFFER_1);
	put(&r, AT_BUFFER_0, AT_BUFFER_0 - AT_EMPTY, 4);
	put(&r, AT_BUFFER_1, AT_BUFFER_1 - AT_SHORT, 4);
	lead(&r, AT_BUFFER_1 + 4, AT_DATA);
	put(&r, AT_DATA, 4, 4);
	recipe_zeros(&r, 8); /* an empty vector, for texts and opcodes */
	lead(&r, AT_MODEL + 8, AT_END + 4);
	lead(&r, AT_MODEL + 16, AT_END + 4);
	put(&r, AT_DATA + 4, 0x3f800000, 4);
	return r;
}

static int load_error(struct recipe *r)
{
	struct err e = {0};
	struct model *m = recipe_load(r, false, &e);
	bool ok = m != NULL;

	model_free(m);
	return ok ? 0 : e.code;
}

static int patched(size_t at, uint64_t v, size_t nbytes)
{
	struct recipe r = good();

	put(&r, at, v, nbytes);
	return load_error(&r);
}

TEST(good_file)
{
	struct recipe r = good();
	struct err e = {0};
	struct model *m = recipe_load(&r, false, &e);
	float v = 0;

	CHECK(m && m->nparams == 1);
	if (m && m->nparams == 1) {
		CHECK_STR(m->params[0]->full_name, "c");
		CHECK_INT(blob_read_full(m->params[0]->data, &v, 4, 0, &e), 0);
		CHECK(v == 1);
	}
	model_free(m);
}

/* T9 */
TEST(tables)
{
	CHECK_INT(patched(0, UINT32_MAX, 4), EINVAL);
	CHECK_INT(patched(0, AT_END + 6, 4), EINVAL);
	CHECK_INT(patched(AT_MODEL, AT_MODEL + 1, 4), EINVAL);
	CHECK_INT(patched(AT_VTABLE, 13, 2), EINVAL);
	CHECK_INT(patched(AT_VTABLE, 65534, 2), EINVAL);
	CHECK_INT(patched(AT_VTABLE + 8, 22, 2), EINVAL);
	CHECK_INT(patched(AT_VTABLE + 8, 3, 2), EINVAL);
	CHECK_INT(patched(AT_MODEL + 12, 0, 4), EINVAL);
	CHECK_INT(patched(AT_MODEL + 12, UINT32_MAX, 4), EINVAL);
}

TEST(vectors)
{
	CHECK_INT(patched(AT_SUBGRAPHS, UINT32_MAX, 4), EINVAL);
	CHECK_INT(patched(AT_TENSORS, 0x10000000, 4), EINVAL);
	CHECK_INT(patched(AT_NAME, UINT32_MAX, 4), EINVAL);
	CHECK_INT(patched(AT_DATA, UINT32_MAX, 4), EINVAL);
	CHECK_INT(patched(AT_SUBGRAPHS, 0, 4), EINVAL); /* no subgraph */
}

/* T10 */
TEST(tensors)
{
	CHECK_INT(patched(AT_TENSOR + 12, 2, 4), EINVAL); /* the buffer */
	CHECK_INT(patched(AT_SHAPE + 4, UINT32_MAX, 4), EINVAL);
	CHECK_INT(patched(AT_SHAPE + 4, 2, 4), EINVAL);	 /* too few bytes */
	CHECK_INT(patched(AT_TENSOR + 8, 1, 1), EINVAL); /* float16 */
	CHECK_INT(patched(AT_TENSOR + 8, 99, 1), 0);	 /* listed */
}

/* ---- TensorFlow.js ---- */

static void write_text(const char *dir, const char *name, const char *text,
		       size_t len)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wb");
	if (!f || fwrite(text, 1, len, f) != len || fclose(f) != 0)
		abort();
}

/* A folder of this model.json and eight bytes of weights in "w". */
static struct model *load_tfjs(const char *json, struct err *e)
{
	char dir[] = "/tmp/modelfs-test-XXXXXX", path[512];
	struct model *m = NULL;

	if (!mkdtemp(dir))
		abort();
	write_text(dir, "model.json", json, strlen(json));
	write_text(dir, "w", "\1\2\3\4\5\6\7\10", 8);
	snprintf(path, sizeof(path), "%s/model.json", dir);
	*e = (struct err){0};
	format_load(path, false, &m, e);
	unlink(path);
	snprintf(path, sizeof(path), "%s/w", dir);
	unlink(path);
	rmdir(dir);
	return m;
}

#define MANIFEST(paths, weights)                                        \
	"{\"modelTopology\":{},\"weightsManifest\":[{\"paths\":[" paths \
	"],\"weights\":[" weights "]}]}"
#define WEIGHT(name, shape, rest)                               \
	"{\"name\":\"" name "\",\"shape\":" shape ",\"dtype\":" \
	"\"int32\"" rest "}"

static int tfjs_open_error(const char *json)
{
	struct err e;
	struct model *m = load_tfjs(json, &e);
	int rc = m && m->nparams ? blob_status(m->params[0]->data, &e) : 1;

	model_free(m);
	return rc;
}

TEST(tfjs_weights)
{
	struct err e;
	struct model *m = load_tfjs(
		MANIFEST("\"w\"", WEIGHT("a/b", "[1]", "") "," WEIGHT(
					  "a/q", "[4]",
					  ",\"quantization\":{\"dtype\":"
					  "\"uint8\",\"scale\":0.5,"
					  "\"min\":-1}")),
		&e);
	uint8_t got[4] = {0};

	CHECK(m && m->nparams == 4);
	if (m && m->nparams == 4) {
		CHECK_INT(blob_read_full(m->params[1]->data, got, 4, 0, &e), 0);
		CHECK(memcmp(got, "\5\6\7\10", 4) == 0);
		CHECK_STR(m->params[2]->name, "q.scale");
		CHECK_STR(m->params[3]->name, "q.min");
	}
	model_free(m);
}

/* T11 */
TEST(tfjs_paths)
{
	CHECK_INT(tfjs_open_error(MANIFEST("\"../w\"", WEIGHT("x", "[2]", ""))),
		  -EPERM);
	CHECK_INT(tfjs_open_error(MANIFEST("\"http://host/w\"",
					   WEIGHT("x", "[2]", ""))),
		  -EPERM);
	CHECK_INT(tfjs_open_error(MANIFEST("\"none\"", WEIGHT("x", "[2]", ""))),
		  -ENOENT);
}

/* It may still be read as any JSON, but not as a model of ours. */
static bool is_refused(const char *json)
{
	struct err e;
	struct model *m = load_tfjs(json, &e);
	bool ok = !m || strcmp(m->format, "tfjs") != 0;

	model_free(m);
	return ok;
}

TEST(tfjs_sizes)
{
	CHECK(!is_refused(MANIFEST("\"w\"", WEIGHT("x", "[2]", ""))));
	CHECK(is_refused(MANIFEST("\"w\"", WEIGHT("x", "[3]", ""))));
	CHECK(is_refused(MANIFEST("\"w\"", WEIGHT("x", "[-1]", ""))));
	CHECK(is_refused(
		MANIFEST("\"w\"", WEIGHT("x", "[4611686018427387904,4]", ""))));
	CHECK(is_refused(MANIFEST(
		"\"w\"", WEIGHT("x", "[2]",
				",\"quantization\":{\"dtype\":\"uint8\","
				"\"scale\":NaN,\"min\":0}"))));
}

int main(void)
{
	RUN(good_file);
	RUN(tables);
	RUN(vectors);
	RUN(tensors);
	RUN(tfjs_weights);
	RUN(tfjs_paths);
	RUN(tfjs_sizes);
	return check_result();
}
