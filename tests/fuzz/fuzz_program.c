/* SPDX-License-Identifier: MIT */
/* The program of torch.export; as a file of its own it is always in a ZIP. */
#include <stdlib.h>

#include "modelfs/err.h"
#include "modelfs/model.h"

#include "fuzz.h"

#include "format/pytorch/export.h"
#include "wire/json.h"

static void check_graph(const struct graph *g)
{
	for (uint32_t i = 0; i < g->nnodes; i++) {
		const struct node *n = &g->nodes[i];

		for (uint32_t k = 0; k < n->nin; k++)
			if (n->in[k] != NO_VALUE && n->in[k] >= g->nvalues)
				abort();
		if (!n->module || !n->module->is_node)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json *root = NULL;
	struct err e = {0};
	struct model *m;

	if (json_parse(data, size, JSON_PYTHON, &root, &e) < 0)
		return 0;
	m = model_new("fuzz");
	if (!m)
		abort();
	if (torch_program_read(m, root, &e) == 0 && model_seal(m, &e) == 0)
		check_graph(m->graph);
	else if (e.code == 0)
		abort();
	model_free(m);
	json_free(root);
	return 0;
}
