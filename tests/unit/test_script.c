/* SPDX-License-Identifier: MIT */
/* TorchScript and torch.export archives. */
#include <errno.h>
#include <stdio.h>

#include "check.h"
#include "recipe.h"
#include "zip_recipe.h"

#define OPS(r, literal) recipe_bytes(r, literal, sizeof(literal) - 1)

/* A tensor of two bytes, all of storage KEY. */
#define TENSOR(key)                                                            \
	"ctorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nByteStorage\n" \
	"U\1" key "U\3cpuK\2tQK\0K\2\x85K\1\x85\x89NtR"

static void add(struct zip_recipe *z, const char *name, const char *text)
{
	zip_add(z, &(struct zip_entry){.name = name, .data = text});
}

static void add_bytes(struct zip_recipe *z, const char *name, const void *p,
		      size_t len)
{
	zip_add(z,
		&(struct zip_entry){.name = name, .bytes = p, .nbytes = len});
}

static const char *attr(const struct model *m, const char *key)
{
	for (const struct module_attr *a = m ? model_root(m)->attrs : NULL; a;
	     a = a->next)
		if (strcmp(a->key, key) == 0)
			return a->value;
	return NULL;
}

TEST(script)
{
	static const char object[] =
		"\x80\2c__torch__.net\nNet\n)\x81}(U\6weight" TENSOR(
			"0") "U\5state" TENSOR("1") "U\1nK\5ub.";
	static const char constants[] = "\x80\2" TENSOR("0") "\x85.";
	static const char code[] = "class Net(Module):\n"
				   "  __parameters__ = [\"weight\", ]\n"
				   "  __buffers__ = [\"state\", ]\n"
				   "  stride : Final[Tuple[int]] = (2,)\n"
				   "  def forward(self: T) -> int:\n"
				   "    fake : Final[int] = 3\n";
	struct zip_recipe z = {0};
	struct recipe file;
	struct err e;
	struct model *m;

	add_bytes(&z, "n/data.pkl", object, sizeof(object) - 1);
	add(&z, "n/data/0", "ab");
	add(&z, "n/data/1", "cd");
	add_bytes(&z, "n/constants.pkl", constants, sizeof(constants) - 1);
	add(&z, "n/constants/0", "ef");
	add(&z, "n/code/__torch__/net.py", code);
	file = zip_finish(&z);
	m = recipe_load(&file, false, &e);
	CHECK_STR(e.msg, "");
	CHECK(recipe_holds(recipe_param(m, "weight"), "ab", 2));
	CHECK(recipe_holds(recipe_param(m, "state"), "cd", 2));
	CHECK(recipe_holds(recipe_param(m, "constants.c0"), "ef", 2));
	if (m) {
		CHECK_STR(m->format, "torchscript");
		CHECK_STR(model_root(m)->type, "Net");
		CHECK_INT(recipe_param(m, "weight")->kind, PARAM_PARAMETER);
		CHECK_INT(recipe_param(m, "state")->kind, PARAM_BUFFER);
		CHECK_INT(recipe_param(m, "constants.c0")->kind,
			  PARAM_CONSTANT);
		CHECK_STR(m->config->name, "code/__torch__/net.py");
	}
	CHECK_STR(attr(m, "stride"), "(2,)");
	CHECK_STR(attr(m, "n"), "5");
	CHECK(attr(m, "fake") == NULL);
	model_free(m);
}

static struct model *load_v1(const char *tensor, struct err *e)
{
	struct zip_recipe z = {0};
	struct recipe file;
	char json[1024];

	snprintf(json, sizeof(json),
		 "{\"mainModule\": {\"submodules\": [{\"name\": \"fc\", "
		 "\"parameters\": [{\"name\": \"w\", \"tensorId\": \"0\", "
		 "\"isBuffer\": true}]}]}, \"tensors\": [%s]}",
		 tensor);
	add(&z, "a/model.json", json);
	add(&z, "a/tensors/0", "abcd");
	file = zip_finish(&z);
	return recipe_load(&file, false, e);
}

TEST(model_json)
{
	struct err e;
	struct model *m =
		load_v1("{\"dims\": [\"2\"], \"strides\": [\"2\"], \"offset\": "
			"\"1\", \"dataType\": \"UINT8\", \"data\": {\"key\": "
			"\"tensors/0\"}}",
			&e);

	CHECK_STR(e.msg, "");
	CHECK(recipe_holds(recipe_param(m, "fc.w"), "bd", 2));
	CHECK_INT(m ? m->params[0]->kind : 0, PARAM_BUFFER);
	model_free(m);
	m = load_v1("{\"dims\": [\"5\"], \"strides\": [\"1\"], \"dataType\": "
		    "\"UINT8\", \"data\": {\"key\": \"tensors/0\"}}",
		    &e);
	CHECK(!m && e.msg[0]);
	m = load_v1("{\"dims\": [\"-1\"], \"strides\": [\"1\"], \"dataType\": "
		    "\"UINT8\", \"data\": {\"key\": \"tensors/0\"}}",
		    &e);
	CHECK(!m && e.msg[0]);
	m = load_v1("", &e);
	CHECK(!m && e.msg[0]);
}

#define META                                                                \
	"\"tensor_meta\": {\"dtype\": 1, \"sizes\": [{\"as_int\": 2}], "    \
	"\"strides\": [{\"as_int\": 1}], \"storage_offset\": {\"as_int\": " \
	"%d}}"

static const char program[] =
	"{\"graph_module\": {\"graph\": {\"nodes\": [{\"target\": "
	"\"torch.ops.aten.add.Tensor\", \"inputs\": [{\"name\": \"self\", "
	"\"arg\": {\"as_tensor\": {\"name\": \"x\"}}}, {\"name\": \"other\", "
	"\"arg\": {\"as_tensor\": {\"name\": \"p\"}}}, {\"name\": \"alpha\", "
	"\"arg\": {\"as_int\": 7}}], \"outputs\": [{\"as_tensor\": {\"name\": "
	"\"y\"}}], \"metadata\": {\"nn_module_stack\": "
	"\"L,,m.Net;L_fc,L['self'].fc,m.Linear\"}}]}, \"signature\": "
	"{\"input_specs\": [{\"buffer\": {\"arg\": {\"name\": \"p\"}, "
	"\"buffer_name\": \"fc.b\"}}, {\"user_input\": {\"arg\": "
	"{\"as_tensor\": {\"name\": \"x\"}}}}], \"output_specs\": "
	"[{\"user_output\": {\"arg\": {\"as_tensor\": {\"name\": \"y\"}}}}]}}}";

static struct model *load_export(int offset, const char *data, struct err *e)
{
	struct zip_recipe z = {0};
	struct recipe file;
	char config[512];

	snprintf(config, sizeof(config),
		 "{\"config\": {\"fc.b\": {\"path_name\": \"weight_0\", " META
		 "}}}",
		 offset);
	add(&z, "m/archive_format", "pt2");
	add(&z, "m/models/model.json", program);
	add(&z, "m/data/weights/model_weights_config.json", config);
	add_bytes(&z, "m/data/weights/weight_0", data, strlen(data));
	file = zip_finish(&z);
	return recipe_load(&file, false, e);
}

TEST(exported)
{
	struct err e;
	struct model *m = load_export(1, "abc", &e);
	const struct node *n;
	char path[64];

	CHECK_STR(e.msg, "");
	CHECK(recipe_holds(recipe_param(m, "fc.b"), "bc", 2));
	CHECK(m && m->graph && m->graph->nnodes == 1);
	if (m && m->graph && m->graph->nnodes == 1) {
		n = &m->graph->nodes[0];
		CHECK_STR(n->type, "aten.add.Tensor");
		CHECK_STR(n->domain, "torch");
		CHECK_INT(n->nin, 2);
		CHECK_INT(n->attrs[0].i, 7);
		CHECK(m->graph->values[n->in[1]].param == m->params[0]);
		CHECK_STR(n->module->parent->name, "fc");
		CHECK_STR(n->module->parent->type, "Linear");
		CHECK_INT(m->params[0]->kind, PARAM_BUFFER);
		CHECK(m->graph->ninputs == 1 && m->graph->noutputs == 1);
		CHECK_STR(recipe_path(m->params[0], path, sizeof(path)),
			  "fc/b");
	}
	model_free(m);
	/* beyond the storage; a program without its weights */
	m = load_export(2, "abc", &e);
	CHECK(!m && e.msg[0]);
	m = load_export(0, "", &e);
	CHECK_INT(recipe_status(recipe_param(m, "fc.b")), -ENODATA);
	model_free(m);
}

int main(void)
{
	RUN(script);
	RUN(model_json);
	RUN(exported);
	return check_result();
}
