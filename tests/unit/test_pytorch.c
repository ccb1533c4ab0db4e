/* SPDX-License-Identifier: MIT */
/* PyTorch's files: views, ties, byte order, odd objects; rows P5, P7 to P15. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "recipe.h"
#include "zip_recipe.h"

/* ---- pickles ---- */

/* Opcodes as a literal, which may hold NULs. */
#define OPS(r, literal) recipe_bytes(r, literal, sizeof(literal) - 1)

static void str(struct recipe *r, const char *s)
{
	recipe_text(r, "X");
	recipe_int(r, strlen(s), 4);
	recipe_text(r, s);
}

static void num(struct recipe *r, int64_t v)
{
	char text[32];

	snprintf(text, sizeof(text), "L%lldL\n", (long long)v);
	recipe_text(r, text);
}

static void ints(struct recipe *r, const int64_t *v, size_t n)
{
	recipe_text(r, "(");
	for (size_t i = 0; i < n; i++)
		num(r, v[i]);
	recipe_text(r, "t");
}

struct view {
	const char *class; /* "torch\nFloatStorage" */
	const char *key;
	int64_t numel, offset;
	size_t rank;
	int64_t size[4], stride[4];
	const char *dtype; /* "torch\nfloat8_e5m2": _rebuild_tensor_v3 */
	const char *flags; /* opcodes of a metadata dict */
};

static void storage(struct recipe *r, const struct view *v)
{
	recipe_text(r, "(");
	str(r, "storage");
	recipe_text(r, "c");
	recipe_text(r, v->class ? v->class : "torch\nFloatStorage");
	recipe_text(r, "\n");
	str(r, v->key ? v->key : "0");
	str(r, "cpu");
	num(r, v->numel);
	recipe_text(r, "tQ");
}

static void tensor(struct recipe *r, const struct view *v)
{
	recipe_text(r, v->dtype ? "ctorch._utils\n_rebuild_tensor_v3\n("
				: "ctorch._utils\n_rebuild_tensor_v2\n(");
	storage(r, v);
	num(r, v->offset);
	ints(r, v->size, v->rank);
	ints(r, v->stride, v->rank);
	recipe_text(r, "\x89N");
	if (v->dtype) {
		recipe_text(r, "c");
		recipe_text(r, v->dtype);
		recipe_text(r, "\n");
	}
	recipe_text(r, v->flags ? v->flags : "");
	recipe_text(r, "tR");
}

/* ---- archives ---- */

struct member {
	const char *name;
	const void *data;
	size_t len;
};

/* data.pkl and storage 0, and one member more where there is one. */
static struct recipe archive(struct recipe *pickle, const void *data,
			     size_t len, const struct member *more)
{
	struct zip_recipe z = {0};
	struct recipe file;

	zip_add(&z, &(struct zip_entry){.name = "a/data.pkl",
					.bytes = pickle->p,
					.nbytes = pickle->len});
	if (data)
		zip_add(&z, &(struct zip_entry){.name = "a/data/0",
						.bytes = data,
						.nbytes = len,
						.flags = 0x0808,
						.local_extra = 13});
	if (more)
		zip_add(&z, &(struct zip_entry){.name = more->name,
						.bytes = more->data,
						.nbytes = more->len});
	recipe_free(pickle);
	file = zip_finish(&z);
	return file;
}

static struct model *load_pickle(struct recipe *pickle, const void *data,
				 size_t len, struct err *e)
{
	struct recipe file = archive(pickle, data, len, NULL);

	return recipe_load(&file, false, e);
}

/* {"w": tensor} over these bytes of storage 0. */
static struct model *load_view(const struct view *v, const void *data,
			       size_t len, struct err *e)
{
	struct recipe p = {0};

	OPS(&p, "\x80\2}(");
	str(&p, "w");
	tensor(&p, v);
	OPS(&p, "u.");
	return load_pickle(&p, data, len, e);
}

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

#define BYTE "torch\nByteStorage"

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
	struct view v = {.class = BYTE,
			 .numel = 2,
			 .rank = 1,
			 .size = {2},
			 .stride = {1}};
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

/* ---- objects ---- */

static const char *attr(const struct module *mod, const char *key)
{
	for (const struct module_attr *a = mod->attrs; a; a = a->next)
		if (strcmp(a->key, key) == 0)
			return a->value;
	return NULL;
}

TEST(plain_values)
{
	struct recipe p = {0};
	struct err e;
	struct model *m;

	OPS(&p, "}(");
	str(&p, "epoch");
	OPS(&p, "K\3");
	str(&p, "shape");
	OPS(&p, "ctorch\nSize\n((K\2K\5ttR");
	str(&p, "what");
	OPS(&p, "ctorch\nfloat16\n");
	OPS(&p, "K\5}K\7K\x8s");
	str(&p, "5");
	OPS(&p, "}K\7K\x9s");
	OPS(&p, "u.");
	m = load_pickle(&p, NULL, 0, &e);
	CHECK(m != NULL);
	if (!m)
		return;
	CHECK_STR(attr(model_root(m), "epoch"), "3");
	CHECK_STR(attr(model_root(m), "what"), "torch.float16");
	CHECK_INT(m->nmodules, 3); /* "5" and 5 are not the same */
	CHECK_STR(m->modules[1]->name, "int(5)");
	CHECK_STR(m->modules[2]->name, "5");
	model_free(m);
}

/* X1: the marker of an attack is shown, and nothing happens. */
TEST(attack)
{
	struct recipe p = {0};
	struct err e;
	struct model *m;

	unlink("/tmp/modelfs-was-here");
	OPS(&p, "}(X\1\0\0\0acposix\nsystem\n(S'touch "
		"/tmp/modelfs-was-here'\ntRu.");
	m = load_pickle(&p, NULL, 0, &e);
	CHECK(m != NULL);
	CHECK(access("/tmp/modelfs-was-here", F_OK) != 0);
	if (m) {
		CHECK_STR(m->modules[1]->type, "system");
		CHECK_STR(attr(m->modules[1], "0"),
			  "touch /tmp/modelfs-was-here");
	}
	model_free(m);
}

/* torch.nn.Module: its three dicts are no levels of the tree. */
TEST(whole_module)
{
	struct view v = {.class = BYTE, .numel = 1};
	struct recipe p = {0};
	struct err e;
	struct model *m;
	char buf[64];

	OPS(&p, "cmy\nNet\n)\x81}(");
	str(&p, "training");
	OPS(&p, "\x89");
	str(&p, "_parameters");
	OPS(&p, "}(");
	str(&p, "w");
	tensor(&p, &v);
	str(&p, "bias");
	OPS(&p, "Nu");
	str(&p, "_backward_hooks");
	OPS(&p, "}");
	str(&p, "_modules");
	OPS(&p, "}(");
	str(&p, "fc");
	OPS(&p, "ctorch.nn\nLinear\n)\x81}(");
	str(&p, "_buffers");
	OPS(&p, "}(");
	str(&p, "b");
	tensor(&p, &v);
	OPS(&p, "uubuub.");
	m = load_pickle(&p, "x", 1, &e);
	CHECK(m != NULL);
	if (!m)
		return;
	CHECK_STR(recipe_path(recipe_param(m, "w"), buf, sizeof(buf)), "w");
	CHECK_STR(recipe_path(recipe_param(m, "fc.b"), buf, sizeof(buf)),
		  "fc/b");
	CHECK_INT(recipe_param(m, "fc.b")->kind, PARAM_BUFFER);
	CHECK_STR(model_root(m)->type, "Net");
	CHECK_STR(recipe_param(m, "fc.b")->module->type, "Linear");
	CHECK(attr(model_root(m), "_backward_hooks") == NULL);
	model_free(m);
}

TEST(metadata)
{
	struct recipe p = {0};
	struct err e;
	struct model *m;

	OPS(&p, "ccollections\nOrderedDict\n)R}(");
	str(&p, "_metadata");
	OPS(&p, "ccollections\nOrderedDict\n)R(");
	str(&p, "layer.relu");
	OPS(&p, "}X\7\0\0\0versionK\2suub.");
	m = load_pickle(&p, NULL, 0, &e);
	CHECK(m && m->nmodules == 3);
	CHECK_STR(m ? m->modules[2]->name : "", "relu");
	CHECK_STR(m ? attr(m->modules[2], "version") : "", "2");
	model_free(m);
	/* P15: of the wrong type */
	OPS(&p, "ccollections\nOrderedDict\n)R}(");
	str(&p, "_metadata");
	OPS(&p, "K\1ub.");
	m = load_pickle(&p, NULL, 0, &e);
	CHECK(m && m->nmodules == 1);
	model_free(m);
}

TEST(cycles) /* P5, P4 */
{
	struct recipe p = {0};
	struct err e;
	struct model *m;

	OPS(&p, "}q\0X\4\0\0\0selfh\0s.");
	m = load_pickle(&p, NULL, 0, &e);
	CHECK(m && m->nmodules == 1);
	model_free(m);
	OPS(&p, "cmy\nC\n)\x81q\0}X\1\0\0\0ah\0sb.");
	m = load_pickle(&p, NULL, 0, &e);
	CHECK(m != NULL);
	model_free(m);
	/* l = [l', l'], 60 times */
	OPS(&p, "]q");
	recipe_int(&p, 0, 1);
	for (int i = 0; i < 60; i++) {
		OPS(&p, "]q");
		recipe_int(&p, i + 1, 1);
		OPS(&p, "(h");
		recipe_int(&p, i, 1);
		OPS(&p, "h");
		recipe_int(&p, i, 1);
		OPS(&p, "e");
	}
	OPS(&p, ".");
	m = load_pickle(&p, NULL, 0, &e);
	CHECK(m == NULL && e.code == EFBIG);
	model_free(m);
}

static bool object_fails(const char *ops)
{
	struct recipe p = {0};
	struct err e;
	struct model *m;

	recipe_text(&p, ops);
	m = load_pickle(&p, NULL, 0, &e);
	model_free(m);
	return !m && e.msg[0];
}

TEST(bad_tensors) /* P7, X4 */
{
	static const char *const rebuild =
		"ctorch._utils\n_rebuild_tensor_v2\n";
	struct view v = {.class = BYTE, .numel = 1};
	struct recipe p = {0};
	struct err e;
	char ops[256];

	snprintf(ops, sizeof(ops), "%s)R.", rebuild);
	CHECK(object_fails(ops));
	snprintf(ops, sizeof(ops), "%sNR.", rebuild);
	CHECK(object_fails(ops));
	snprintf(ops, sizeof(ops), "%s(K\1K\1K\1K\1tR.", rebuild);
	CHECK(object_fails(ops));
	CHECK(object_fails("ctorch._utils\n_rebuild_parameter\n(K\1\x89NtR."));
	/* a tensor with an item in it */
	tensor(&p, &v);
	OPS(&p, "K\1K\2s.");
	CHECK(load_pickle(&p, "x", 1, &e) == NULL);
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
	struct view v = {.class = BYTE,
			 .numel = 2,
			 .rank = 1,
			 .size = {2},
			 .stride = {1}};
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

TEST(hostile_parts) /* P12, P13 */
{
	struct view v = {.class = BYTE,
			 .numel = 2,
			 .rank = 1,
			 .size = {2},
			 .stride = {1}};
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

TEST(wrappers) /* subclasses that are made of other tensors */
{
	struct view v = {.class = BYTE,
			 .numel = 2,
			 .rank = 1,
			 .size = {2},
			 .stride = {1}};
	struct recipe p = {0};
	struct err e;
	struct model *m;

	OPS(&p, "}(");
	str(&p, "w");
	OPS(&p, "ctorch._tensor\n_rebuild_from_type_v2\n("
		"ctorch._utils\n_rebuild_wrapper_subclass\n"
		"ctorchao\nQuantized\n(t}(");
	str(&p, "inner");
	tensor(&p, &v);
	OPS(&p, "utRu.");
	m = load_pickle(&p, "xy", 2, &e);
	CHECK_STR(e.msg, "");
	CHECK(recipe_holds(recipe_param(m, "w.inner"), "xy", 2));
	model_free(m);
}

TEST(names_of_records) /* Z9: only exact names count */
{
	static const char *const names[] = {"a/data/../data/0", "b/data/0",
					    "data/0", "a/data//0"};
	struct view v = {.class = BYTE,
			 .numel = 2,
			 .rank = 1,
			 .size = {2},
			 .stride = {1}};

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
	RUN(plain_values);
	RUN(attack);
	RUN(whole_module);
	RUN(metadata);
	RUN(cycles);
	RUN(bad_tensors);
	RUN(no_data);
	RUN(parts);
	RUN(hostile_parts);
	RUN(wrappers);
	RUN(names_of_records);
	RUN(legacy);
	return check_result();
}
