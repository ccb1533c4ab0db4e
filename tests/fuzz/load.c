/* SPDX-License-Identifier: MIT */
/* load - see fuzz.h. */
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "fuzz.h"

struct source *fuzz_source(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);
	struct source *src;

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	if (source_from_memory(copy, size, "fuzz", &src, NULL) < 0)
		abort();
	return src;
}

/* The first, a middle and the last bytes; errors are fine, wild reads not. */
static void read_some(struct blob *b)
{
	uint64_t at[] = {0, b->size / 2, b->size > 64 ? b->size - 64 : 0};
	char buf[64];
	struct err e;
	size_t got;

	if (blob_status(b, &e) < 0)
		return;
	for (size_t i = 0; i < 3; i++) {
		if (blob_read(b, buf, sizeof(buf), at[i], &got, &e) < 0)
			return;
		if (got > sizeof(buf))
			abort();
	}
}

static void check_param(const struct param *p)
{
	struct tensor t = param_tensor(p);
	uint64_t nbytes;

	if (memchr(p->name, '\0', p->name_len + 1) == NULL)
		abort();
	if (blob_status(p->data, NULL) == 0 && tensor_nbytes(&t, &nbytes) &&
	    nbytes != p->data->size)
		abort();
	/* A view with a stride of 0 may be terabytes. */
	read_some(p->data);
}

static void check_graph(const struct graph *g)
{
	for (uint32_t i = 0; i < g->nnodes; i++) {
		const struct node *n = &g->nodes[i];

		for (uint32_t k = 0; k < n->nin; k++)
			if (n->in[k] != NO_VALUE && n->in[k] >= g->nvalues)
				abort();
		for (uint32_t k = 0; k < n->nout; k++)
			if (n->out[k] != NO_VALUE && n->out[k] >= g->nvalues)
				abort();
	}
}

static void load(const struct format *f, struct source *src, bool lenient)
{
	struct input in = {
		.path = "fuzz", .file = src, .dirfd = -1, .lenient = lenient};
	struct model *m = model_new(f->name);
	struct err e = {0};

	if (!m)
		abort();
	m->lenient = lenient;
	in.nhead =
		source_size(src) < INPUT_HEAD ? source_size(src) : INPUT_HEAD;
	source_read(src, in.head, in.nhead, 0, NULL);
	f->probe(&in);
	if (f->read(&in, m, &e) == 0 && model_seal(m, &e) == 0) {
		for (uint32_t i = 0; i < m->nparams; i++)
			check_param(m->params[i]);
		if (m->graph)
			check_graph(m->graph);
		fuzz_walk(m);
		return;
	}
	if (e.code == 0 || e.msg[0] == '\0')
		abort(); /* a failure without a reason */
	model_free(m);
}

void fuzz_format(const struct format *f, const uint8_t *data, size_t size)
{
	struct source *src = fuzz_source(data, size);

	load(f, src, false);
	load(f, src, true);
	source_unref(src);
}
