/* SPDX-License-Identifier: MIT */
/* graft - a graph from one file, its weights from another. */
#include <errno.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/model.h"

static bool matches(const struct param *a, const struct param *b)
{
	return a->dtype == b->dtype && a->rank == b->rank && b->data &&
	       memcmp(a->dims, b->dims, a->rank * sizeof(*a->dims)) == 0;
}

int model_graft(struct model *m, const struct model *weights, struct err *e)
{
	struct map *names = map_new();
	uint32_t i, ntaken = 0;
	uint64_t k;
	int rc = names ? 0 : err_nomem(e, sizeof(i));

	for (i = 0; rc == 0 && i < weights->nparams; i++) {
		const struct param *w = weights->params[i];

		if (map_set(names, w->full_name, w->full_len, i) < 0)
			rc = err_nomem(e, sizeof(i));
	}
	for (i = 0; rc == 0 && i < m->nparams; i++) {
		struct param *p = m->params[i];

		if (!map_get(names, p->full_name, p->full_len, &k) ||
		    !matches(p, weights->params[k]))
			continue;
		blob_unref(p->data);
		p->data = blob_ref(weights->params[k]->data);
		ntaken++;
	}
	map_free(names);
	if (rc == 0 && ntaken == 0)
		rc = err_set(e, EINVAL,
			     "no parameter of the graph has the name, type "
			     "and shape of one of the weights");
	return rc < 0 ? rc : model_tie(m, e);
}
