/* SPDX-License-Identifier: MIT */
/* PyTorch's objects: values, modules, cycles, attacks; rows P4, P5, P7, X1. */
#include <errno.h>
#include <unistd.h>

#include "check.h"
#include "torch_recipe.h"

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

TEST(values_of_calls)
{
	static const struct {
		const char *ops, *text;
	} values[] = {
		{"cpathlib\nPosixPath\n(S'/'\nS'a'\nS'b'\ntR", "/a/b"},
		{"cpathlib._local\nWindowsPath\n(S'a'\nS'b'\ntR", "a/b"},
		{"cbuiltins\ngetattr\n(cm\nColor\nS'RED'\ntR", "m.Color.RED"},
		{"cm\nColor\n(K\1tR", "m.Color(1)"},
		{"(cm\nColor\n(K\1tRK\2t", "m.Color(1),2"},
		{"cdatetime\ndatetime\n(S'\\x07\\xe4\\x01\\x02\\x03\\x04"
		 "\\x05\\x00\\x01\\x00'\ntR",
		 "2020-01-02T03:04:05.000256"},
		{"cdatetime\ndate\n(S'\\x07\\xe4\\x01\\x02'\ntR", "2020-01-02"},
		{"L1000000000000000000000000000000L\n",
		 "1000000000000000000000000000000"},
		{"L-18446744073709551616L\n", "-18446744073709551616"},
		{"ccopy_reg\n_reconstructor\n(cm\nX\nc__builtin__\nobject\n"
		 "NtR",
		 "m.X()"},
		{"ccopyreg\n__newobj__\n(cm\nX\nK\3tR", "m.X(3)"},
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct recipe p = {0};
		struct err e;
		struct model *m;

		OPS(&p, "}(");
		str(&p, "v");
		recipe_text(&p, values[i].ops);
		OPS(&p, "u.");
		m = load_pickle(&p, NULL, 0, &e);
		CHECK_STR(m ? attr(model_root(m), "v") : e.msg, values[i].text);
		model_free(m);
	}
}

/* collections.Counter({"a": 2}) */
TEST(counter)
{
	struct recipe p = {0};
	struct err e;
	struct model *m;

	OPS(&p, "ccollections\nCounter\n(}S'a'\nK\2stR.");
	m = load_pickle(&p, NULL, 0, &e);
	CHECK_STR(m ? attr(model_root(m), "a") : e.msg, "2");
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
		CHECK_STR(attr(model_root(m), "a"),
			  "posix.system(touch /tmp/modelfs-was-here)");
	}
	model_free(m);
}

TEST(text_again_and_again) /* P4: a megabyte, ten thousand times */
{
	struct recipe p = {0};
	struct err e;

	OPS(&p, "\x80\2X");
	recipe_int(&p, 1 << 20, 4);
	for (int i = 0; i < 1 << 20; i++)
		recipe_bytes(&p, "x", 1);
	OPS(&p, "q\1"
		"0](");
	for (int i = 0; i < 200; i++) {
		OPS(&p, "(");
		for (int k = 0; k < 50; k++)
			OPS(&p, "h\1");
		OPS(&p, "t");
	}
	OPS(&p, "e.");
	CHECK(load_pickle(&p, NULL, 0, &e) == NULL);
	CHECK_INT(e.code, EFBIG);
}

TEST(crowd) /* P10: one storage, and very many tensors of it */
{
	struct view v = {.class = BYTE, .numel = 1};
	struct recipe p = {0};
	struct err e;
	struct model *m;

	OPS(&p, "\x80\2");
	tensor(&p, &v);
	OPS(&p, "q\1"
		"0](");
	for (int i = 0; i < 100000; i++)
		OPS(&p, "h\1");
	OPS(&p, "e.");
	m = load_pickle(&p, "x", 1, &e);
	CHECK_INT(m ? m->nparams : 0, 100000);
	CHECK_INT(m ? m->params[0]->ntied : 0, 100000);
	CHECK(recipe_holds(recipe_param(m, "99999"), "x", 1));
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

TEST(wrappers) /* subclasses that are made of other tensors */
{
	struct view v = two_bytes;
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

int main(void)
{
	RUN(plain_values);
	RUN(values_of_calls);
	RUN(counter);
	RUN(attack);
	RUN(text_again_and_again);
	RUN(crowd);
	RUN(whole_module);
	RUN(metadata);
	RUN(cycles);
	RUN(bad_tensors);
	RUN(wrappers);
	return check_result();
}
