/* SPDX-License-Identifier: MIT */
/*
 * Every allocation fails once: the n-th of a whole flow, for n = 1, 2, ….
 * The flow must end with ENOMEM, or do without; never crash, and (with
 * AddressSanitizer) never leak.  Linked with --wrap for malloc and friends.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/npy.h"
#include "modelfs/source.h"
#include "modelfs/view.h"

#include "check.h"

static long countdown = -1; /* allocations until one fails; -1: none does */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

static bool is_due(void)
{
	if (countdown < 0)
		return false;
	return countdown-- == 0;
}

void *__wrap_malloc(size_t n)
{
	return is_due() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return is_due() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return is_due() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return is_due() ? NULL : __real_reallocarray(p, n, size);
}

static int read_views(const struct tensor *t, struct err *e)
{
	for (size_t v = 0; v < nviews; v++) {
		struct blob *b = NULL;
		char buf[64];
		size_t got;
		int rc = view_open(v, t, &b, e);

		if (rc == 0)
			rc = blob_read(b, buf, sizeof(buf), 0, &got, e);
		if (rc == 0)
			rc = blob_read(b, buf, sizeof(buf), 130, &got, e);
		blob_unref(b);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Loads a model and reads a little of every file. */
static int load_and_read(const char *path)
{
	struct model *m = NULL;
	struct err e = {0};
	int rc = format_load(path, false, &m, &e);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < m->nparams && rc == 0; i++) {
		struct tensor t = param_tensor(m->params[i]);

		rc = read_views(&t, &e);
	}
	for (uint32_t i = 0; i < m->nconfig && rc == 0; i++) {
		struct blob *b = NULL;

		rc = blob_resolve(m->config_index[i]->data, &b, &e);
		blob_unref(b);
	}
	model_free(m);
	return rc;
}

/* Views of types that need more than a range of the file. */
static int odd_views(const char *unused)
{
	static const int64_t dims[] = {3, 2}, strides[] = {1, 3};
	struct string_list *l = string_list_new();
	struct shape s = shape_of(2, dims);
	struct tensor t = {.dtype = DTYPE_I32, .shape = s};
	struct blob *b = blob_copy("abcdefghijklmnopqrstuvwxyz", 26);
	struct err e = {0};
	int rc;

	(void)unused;
	for (int i = 0; i < 6 && l; i++) {
		rc = string_list_add(l, "text", 4);
		if (rc < 0) {
			string_list_free(l);
			l = NULL;
		}
	}
	rc = b ? blob_strided(b, 4, &s, strides, 0, &t.data, &e) : -ENOMEM;
	if (rc == 0) {
		t.data = blob_swap(t.data, 4);
		rc = t.data ? read_views(&t, &e) : -ENOMEM;
	}
	tensor_drop(&t);
	if (!l)
		return -ENOMEM;
	t = (struct tensor){.dtype = DTYPE_STRING, .shape = s};
	t.data = string_list_finish(l);
	if (rc == 0)
		rc = t.data ? read_views(&t, &e) : -ENOMEM;
	tensor_drop(&t);
	return rc;
}

static void fail_each(int (*flow)(const char *), const char *arg)
{
	long n;

	CHECK_INT(flow(arg), 0);
	for (n = 0; n < 1000000; n++) {
		int rc;

		countdown = n;
		rc = flow(arg);
		if (countdown >= 0)
			break; /* there are no more than n */
		countdown = -1;
		if (rc != 0 && rc != -ENOMEM) {
			printf("# allocation %ld\n", n);
			CHECK_INT(rc, -ENOMEM);
			break;
		}
	}
	CHECK(n > 5 && countdown >= 0);
	countdown = -1;
}

static const char *model_path_of(const char *name)
{
	static char path[4096];
	const char *top = getenv("top_srcdir");

	snprintf(path, sizeof(path), "%s/tests/%s", top ? top : ".", name);
	return path;
}

TEST(views)
{
	fail_each(odd_views, NULL);
}

TEST(safetensors)
{
	fail_each(load_and_read,
		  model_path_of("models/digits/digits.safetensors"));
}

TEST(onnx)
{
	fail_each(load_and_read, model_path_of("models/digits/digits.onnx"));
}

TEST(gguf)
{
	fail_each(load_and_read, model_path_of("fuzz/corpus/gguf/v1"));
	fail_each(load_and_read, model_path_of("fuzz/corpus/gguf/big"));
}

static void put(const char *dir, const char *name, const char *text, size_t len)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wb");
	CHECK(f && fwrite(text, 1, len, f) == len && fclose(f) == 0);
}

/* An index, a shard with a tensor too many, config.json. */
TEST(folder)
{
	static const char index[] = "{\"weight_map\":{\"a.b\":\"1\"}}";
	static const char config[] = "{\"model_type\":\"llama\"}";
	static const char shard[] = "\x6c\0\0\0\0\0\0\0"
				    "{\"a.b\":{\"dtype\":\"U8\",\"shape\":[],"
				    "\"data_offsets\":[0,1]},"
				    "\"c.d\":{\"dtype\":\"U8\",\"shape\":[],"
				    "\"data_offsets\":[1,2]}} "
				    "xy";
	char dir[] = "/tmp/modelfs-nomem-XXXXXX", path[64];
	const char *names[] = {"x.safetensors.index.json", "config.json", "1"};

	CHECK(mkdtemp(dir) != NULL);
	put(dir, names[0], index, sizeof(index) - 1);
	put(dir, names[1], config, sizeof(config) - 1);
	put(dir, names[2], shard, sizeof(shard) - 1);
	fail_each(load_and_read, dir);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

int main(void)
{
	RUN(folder);
	RUN(gguf);
	RUN(views);
	RUN(safetensors);
	RUN(onnx);
	return check_result();
}
