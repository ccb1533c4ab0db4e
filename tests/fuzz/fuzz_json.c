/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"

#include "fuzz.h"
#include "wire/json.h"

/* JSON_DEPTH_MAX bounds the recursion. */
static size_t count(const struct json *v)
{
	const struct json *member;
	const char *key;
	void *it = NULL;
	size_t n = 1;

	if (json_kind(v) == JSON_KIND_OBJECT)
		while (json_next(v, &it, &key, &member))
			n += count(member);
	if (json_kind(v) == JSON_KIND_ARRAY)
		for (size_t i = 0; i < json_count(v); i++)
			n += count(json_item(v, i));
	return n;
}

static int take(void *ctx, const char *key, size_t len,
		const struct json *value, struct err *e)
{
	(void)e;
	if (len > 0 && memchr(key, '"', len) == key + len)
		abort(); /* reads every byte of it */
	*(size_t *)ctx += count(value);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json *root = NULL;
	struct err e = {0};
	size_t n = 0;

	for (unsigned flags = 0; flags <= JSON_PYTHON; flags++) {
		if (json_parse(data, size, flags, &root, &e) == 0) {
			n += count(root);
			json_free(root);
		}
	}
	json_each_member(data, size, take, &n, &e);
	return 0;
}
