/* SPDX-License-Identifier: MIT */
/* PyTorch's tensors: views, types, ties, byte order, parts; rows P7 to P13. */
#include <errno.h>

#include "check.h"
#include "torch_recipe.h"

static bool view_holds(const struct view *v, const void *data, size_t len,
		       const void *want, size_t nwant)
{
	struct err e;
	struct model *m = load_view(v, data, len, &e);
	bool ok = recipe_holds(recipe_param(m, "w"), want, nwant);

	if (!m)
		printf("# %s\n", e.msg);
	model_free(m);
	return ok;
}

static bool view_fails(const struct view *v, size_t len)
{
	static const char zeros[64];
	struct err e;
	struct model *m = load_view(v, zeros, len, &e);
	bool ok = !m && e.msg[0];

	model_free(m);
	return ok;
}

TEST(views)
{
	static const char data[] = "abcdef";

	CHECK(view_holds(&(struct view){.class = BYTE,
					.numel = 6,
					.rank = 2,
					.size = {2, 3},
					.stride = {3, 1}},
			 data, 6, "abcdef", 6));
	CHECK(view_holds(&(struct view){.class = BYTE,
					.numel = 6,
					.rank = 2,
					.size = {3, 2},
					.stride = {1, 3}},
			 data, 6, "adbecf", 6));
	CHECK(view_holds(&(struct view){.class = BYTE,
					.numel = 6,
					.offset = 3,
					.rank = 1,
					.size = {2},
					.stride = {1}},
			 data, 6, "de", 2));
	CHECK(view_holds(&(struct view){.class = BYTE,
					.numel = 6,
					.offset = 1,
					.rank = 2,
					.size = {2, 2},
					.stride = {0, 2}},
			 data, 6, "bdbd", 4));
	CHECK(view_holds(&(struct view){.class = BYTE, .numel = 6, .offset = 5},
			 data, 6, "f", 1));
	CHECK(view_holds(&(struct view){.class = BYTE,
					.numel = 6,
					.rank = 2,
					.size = {0, 5},
					.stride = {INT64_MAX, INT64_MAX}},
			 data, 6, "", 0));
}

TEST(types)
{
	struct view v = {.class = "torch\nBFloat16Storage",
			 .numel = 2,
			 .rank = 1,
			 .size = {2},
			 .stride = {1}};
	struct err e;
	struct model *m = load_view(&v, "\x80\x3f\0\x40", 4, &e);

	CHECK(m && m->params[0]->dtype == DTYPE_BF16);
	model_free(m);
	v.class = "torch.storage\nUntypedStorage";
	v.dtype = "torch\nfloat8_e5m2";
	m = load_view(&v, "ab", 2, &e);
	CHECK(m && m->params[0]->dtype == DTYPE_F8_E5M2);
	CHECK(recipe_holds(recipe_param(m, "w"), "ab", 2));
	model_free(m);
	v.dtype = "torch\nfloat99";
	m = load_view(&v, "ab", 2, &e);
	CHECK_INT(recipe_status(recipe_param(m, "w")), -EOPNOTSUPP);
	model_free(m);
	v = (struct view){.class = "torch\nHalfStorage",
			  .flags = "}(S'conj'\n\x88u"};
	v.numel = 1;
	m = load_view(&v, "ab", 2, &e);
	CHECK_INT(recipe_status(recipe_param(m, "w")), -EOPNOTSUPP);
	model_free(m);
}

TEST(signs) /* P15 */
{
	struct view v = {.class = "torch\nComplexFloatStorage",
			 .numel = 1,
			 .rank = 1,
			 .size = {1},
			 .stride = {1},
			 .flags = "}(S'conj'\n\x88u"};
	const float z[] = {1, 2}, conj[] = {1, -2}, neg[] = {-1, -2};
	const float both[] = {-1, 2};

	CHECK(view_holds(&v, z, 8, conj, 8));
	v.flags = "}(S'neg'\n\x88u";
	CHECK(view_holds(&v, z, 8, neg, 8));
	v.flags = "}(S'neg'\n\x88S'conj'\n\x88u";
	CHECK(view_holds(&v, z, 8, both, 8));
	v.flags = "}(S'neg'\nK\1S'conj'\nNu"; /* no booleans */
	CHECK(view_holds(&v, z, 8, z, 8));
	v.flags = "K\5";
	CHECK(view_holds(&v, z, 8, z, 8));
}

TEST(bad_views) /* P7, P8 */
{
	const struct view good = {.class = BYTE,
				  .numel = 6,
				  .rank = 2,
				  .size = {2, 3},
				  .stride = {3, 1}};
	struct view v = good;

	CHECK(!view_fails(&v, 6));
	v.offset = 1;
	CHECK(view_fails(&v, 6));
	v = good;
	v.offset = -1;
	CHECK(view_fails(&v, 6));
	v = good;
	v.stride[0] = 4;
	CHECK(view_fails(&v, 6));
	v.stride[0] = -3;
	CHECK(view_fails(&v, 6));
	v.stride[0] = INT64_MAX;
	CHECK(view_fails(&v, 6));
	v = good;
	v.size[0] = -2;
	CHECK(view_fails(&v, 6));
	v.size[0] = INT64_MAX;
	CHECK(view_fails(&v, 6));
	v = good;
	CHECK(view_fails(&v, 5)); /* CVE-2026-24747: numel against the record */
	CHECK(view_fails(&v, 7));
	v.numel = 1000000000;
	CHECK(view_fails(&v, 6));
	v.numel = INT64_MAX;
	CHECK(view_fails(&v, 6));
	v.numel = -6;
	CHECK(view_fails(&v, 6));
	v = good;
	v.key = "1";
	CHECK(view_fails(&v, 6));
	v.key = "../data/0";
	CHECK(view_fails(&v, 6));
	v = good;
	v.class = "os\nsystem";
	CHECK(view_fails(&v, 6));
}

TEST(giant) /* P9: terabytes from one byte, read without allocating them */
{
	struct view v = {.class = BYTE,
			 .numel = 1,
			 .rank = 2,
			 .size = {2000000, 2000000},
			 .stride = {0, 0}};
	struct err e;
	struct model *m = load_view(&v, "x", 1, &e);
	char buf[4] = "";

	CHECK(m != NULL);
	if (!m)
		return;
	CHECK_INT(m->params[0]->data->size, 4000000000000);
	CHECK_INT(blob_read_full(m->params[0]->data, buf, 4, 3999999999996, &e),
		  0);
	CHECK(memcmp(buf, "xxxx", 4) == 0);
	model_free(m);
}

TEST(ties)
{
	struct view v = two_bytes;
	struct recipe p = {0};
	struct err e;
	struct model *m;

	OPS(&p, "}(");
	str(&p, "a.w");
	tensor(&p, &v);
	str(&p, "b.w");
	tensor(&p, &v);
	OPS(&p, "u.");
	m = load_pickle(&p, "xy", 2, &e);
	CHECK(m && m->nparams == 2);
	CHECK(m && m->params[1]->tied == m->params[0]);
	model_free(m);
}

TEST(byte_order) /* Z10 */
{
	static const struct {
		const char *name, *text, *want;
	} rows[] = {{"a/byteorder", "big", "\0\1"},
		    {"a/byteorder", "little", "\1\0"},
		    {"a/byteorder", "middle", NULL},
		    {"a/version", "3\n", "\1\0"},
		    {"a/version", "-1\n", NULL},
		    {"a/version", "99999999999999999999", NULL},
		    {"a/version", "", NULL}};
	struct view v = {.class = "torch\nShortStorage", .numel = 1};
	struct err e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct member more = {rows[i].name, rows[i].text,
				      strlen(rows[i].text)};
		struct recipe p = {0}, file;
		struct model *m;

		tensor(&p, &v);
		OPS(&p, ".");
		file = archive(&p, "\1\0", 2, &more);
		m = recipe_load(&file, false, &e);
		if (rows[i].want)
			CHECK(recipe_holds(recipe_param(m, "tensor"),
					   rows[i].want, 2));
		else
			CHECK(m == NULL);
		model_free(m);
	}
}

TEST(no_data)
{
	struct recipe p = {0};
	struct err e;
	struct model *m;

	OPS(&p, "ctorch._utils\n_rebuild_meta_tensor_no_storage\n("
		"ctorch\nfloat32\n(K\2K\3t(K\3K\1t\x89tR.");
	m = load_pickle(&p, NULL, 0, &e);
	CHECK_INT(recipe_status(recipe_param(m, "tensor")), -ENODATA);
	CHECK_INT(m ? m->params[0]->data->size : 0, 24);
	model_free(m);
}

TEST(parts) /* sparse and quantised */
{
	struct view v = two_bytes;
	struct recipe p = {0};
	struct err e;
	struct model *m;

	OPS(&p, "}(");
	str(&p, "s");
	OPS(&p, "ctorch._utils\n_rebuild_sparse_tensor\n("
		"ctorch\nsparse_coo\n(");
	tensor(&p, &v);
	tensor(&p, &v);
	OPS(&p, "(K\5tttR");
	str(&p, "q");
	OPS(&p, "ctorch._utils\n_rebuild_qtensor\n(");
	v.class = "torch\nQInt8Storage";
	v.key = "0";
	storage(&p, &v);
	OPS(&p, "K\0(K\2t(K\1t(ctorch\nper_tensor_affine\n"
		"G\x3f\xe0");
	recipe_zeros(&p, 6);
	OPS(&p, "K\7t\x89NtRu.");
	m = load_pickle(&p, "xy", 2, &e);
	CHECK(m != NULL);
	CHECK(recipe_holds(recipe_param(m, "s.indices"), "xy", 2));
	CHECK(recipe_holds(recipe_param(m, "s.values"), "xy", 2));
	CHECK_STR(m ? attr(model_root(m), "s.layout") : "", "sparse_coo");
	CHECK(recipe_holds(recipe_param(m, "q"), "xy", 2));
	CHECK_STR(m ? attr(model_root(m), "s.size") : "", "5");
	CHECK(recipe_holds(recipe_param(m, "q.scale"), &(double){0.5}, 8));
	CHECK(recipe_holds(recipe_param(m, "q.zero_point"), &(int64_t){7}, 8));
	model_free(m);
}

TEST(packed) /* two numbers in a byte; a storage counts bytes */
{
	struct view v = {.class = "torch\nQUInt4x2Storage",
			 .numel = 2,
			 .rank = 2,
			 .size = {2, 2},
			 .stride = {2, 1}};
	struct err e;
	struct model *m;

	CHECK(view_holds(&v, "xy", 2, "xy", 2));
	v.size[0] = 3; /* six of four */
	v.size[1] = 2;
	CHECK(view_fails(&v, 2));
	v.size[0] = 1;
	v.offset = 2; /* in elements or bytes? nobody knows */
	m = load_view(&v, "xy", 2, &e);
	CHECK_INT(recipe_status(recipe_param(m, "w")), -EOPNOTSUPP);
	model_free(m);
}

TEST(hostile_parts) /* P12, P13 */
{
	struct view v = two_bytes;
	struct recipe p = {0};
	struct err e;
	struct model *m;

	/* indices far outside: shown as they are, nothing is made dense */
	OPS(&p, "}(");
	str(&p, "s");
	OPS(&p, "ctorch._utils\n_rebuild_sparse_tensor\n("
		"ctorch\nsparse_coo\n(");
	tensor(&p, &v);
	tensor(&p, &v);
	OPS(&p, "(L9223372036854775807L\nL9223372036854775807L\ntttRu.");
	m = load_pickle(&p, "\xff\xff", 2, &e);
	CHECK(recipe_holds(recipe_param(m, "s.indices"), "\xff\xff", 2));
	model_free(m);
	/* axis 1 of a tensor with one; three scales for two channels */
	for (int i = 0; i < 2; i++) {
		v.size[0] = 2;
		OPS(&p, "}(");
		str(&p, "q");
		OPS(&p, "ctorch._utils\n_rebuild_qtensor\n(");
		storage(&p, &v);
		OPS(&p, "K\0(K\2t(K\1t(ctorch\nper_channel_affine\n");
		v.size[0] = i == 0 ? 2 : 1;
		tensor(&p, &v);
		tensor(&p, &v);
		recipe_text(&p, i == 0 ? "K\1" : "I0\n");
		OPS(&p, "t\x89NtRu.");
		m = load_pickle(&p, "xy", 2, &e);
		CHECK(!m && e.msg[0]);
		model_free(m);
	}
}

TEST(names_of_records) /* Z9: only exact names count */
{
	static const char *const names[] = {"a/data/../data/0", "b/data/0",
					    "data/0", "a/data//0"};
	struct view v = two_bytes;

	for (size_t i = 0; i < 4; i++) {
		struct member other = {names[i], "xy", 2};
		struct recipe p = {0}, file;
		struct err e;
		struct model *m;

		OPS(&p, "\x80\2}(");
		str(&p, "w");
		tensor(&p, &v);
		OPS(&p, "u.");
		file = archive(&p, NULL, 0, &other);
		m = recipe_load(&file, false, &e);
		CHECK(!m && e.msg[0]);
		model_free(m);
	}
}

/* ---- the legacy stream ---- */

static const char stream_head[] = "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a"
				  "\xa8\x50\x19.\x80\2M\xe9\3.\x80\2}.";

struct stream {
	const char *key; /* in the list */
	int64_t count;
	const char *data;
	size_t len;
};

static struct model *load_stream(const struct stream *s, struct err *e)
{
	struct view v = {.class = "torch\nShortStorage",
			 .numel = 2,
			 .rank = 1,
			 .size = {2},
			 .stride = {1}};
	struct recipe f = {0};

	recipe_bytes(&f, stream_head, sizeof(stream_head) - 1);
	recipe_text(&f, "}(");
	str(&f, "w");
	tensor(&f, &v);
	recipe_text(&f, "u.](");
	if (s->key)
		str(&f, s->key);
	recipe_text(&f, "e.");
	recipe_int(&f, (uint64_t)s->count, 8);
	recipe_bytes(&f, s->data, s->len);
	return recipe_load(&f, false, e);
}

static bool stream_fails(const struct stream *s)
{
	struct err e;
	struct model *m = load_stream(s, &e);

	model_free(m);
	return !m && e.msg[0];
}

TEST(legacy) /* P11 */
{
	struct err e;
	struct model *m = load_stream(&(struct stream){"0", 2, "abcd", 4}, &e);

	CHECK(recipe_holds(recipe_param(m, "w"), "abcd", 4));
	model_free(m);
	CHECK(stream_fails(&(struct stream){"1", 2, "abcd", 4}));
	CHECK(stream_fails(&(struct stream){NULL, 2, "abcd", 4}));
	CHECK(stream_fails(&(struct stream){"0", 3, "abcdef", 6}));
	CHECK(stream_fails(&(struct stream){"0", 1, "ab", 2}));
	CHECK(stream_fails(&(struct stream){"0", -1, "abcd", 4}));
	CHECK(stream_fails(&(struct stream){"0", INT64_MAX, "abcd", 4}));
	CHECK(stream_fails(&(struct stream){"0", 2, "abc", 3}));
}

int main(void)
{
	RUN(views);
	RUN(types);
	RUN(signs);
	RUN(bad_views);
	RUN(giant);
	RUN(ties);
	RUN(byte_order);
	RUN(no_data);
	RUN(parts);
	RUN(packed);
	RUN(hostile_parts);
	RUN(names_of_records);
	RUN(legacy);
	return check_result();
}
