/* SPDX-License-Identifier: MIT */
/* gguf - the reader; see gguf.h. */
#include "format/gguf/gguf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/formats.h"

/* Texts worth a line of info.json are short. */
#define INFO_BYTES_MAX 256

struct reading {
	const struct input *in;
	struct model *m;
	struct map *names; /* tensors of all parts */
	uint64_t ntensors;
};

static int add_text(const struct gguf *g, struct model *m, const char *key,
		    const char *name)
{
	const struct gguf_key *k = gguf_find(g, key);
	char text[INFO_BYTES_MAX + 1];
	struct err e;

	if (!k || k->type != GGUF_STRING || k->len > INFO_BYTES_MAX ||
	    source_read(g->src, text, k->len, k->off, &e) < 0)
		return 0;
	text[k->len] = '\0';
	return model_info(m, name, "%s", text);
}

static int add_info(const struct gguf *g, struct model *m, struct err *e)
{
	uint64_t type;
	int rc = model_info(m, "version", "%u", g->version);

	if (rc == 0 && g->is_swapped)
		rc = model_info(m, "byte_order", "big");
	if (rc == 0)
		rc = add_text(g, m, "general.architecture", "architecture");
	if (rc == 0)
		rc = add_text(g, m, "general.name", "name");
	if (rc == 0 && gguf_get(g, "general.file_type", GGUF_U32, &type)) {
		const char *name = gguf_file_type(type);

		rc = name ? model_info(m, "file_type", "%s", name)
			  : model_info(m, "file_type", "%llu",
				       (unsigned long long)type);
	}
	return rc < 0 ? err_nomem(e, INFO_BYTES_MAX) : 0;
}

/* No two parts have a tensor of one name. */
static int check_names(struct reading *r, const struct gguf *g, struct err *e)
{
	for (uint64_t i = 0; i < g->ntensors; i++) {
		const struct span *name = &g->tensors[i].name;
		char quoted[ERR_QUOTED];
		int rc = map_add(r->names, name->p, name->len, 1);

		if (rc == -EEXIST)
			return err_set(e, EINVAL, "%s: appears twice",
				       err_quote(quoted, name->p, name->len));
		if (rc < 0)
			return err_nomem(e, name->len);
	}
	r->ntensors += g->ntensors;
	return 0;
}

static int read_part(struct reading *r, struct source *src, size_t i, size_t n,
		     struct err *e)
{
	struct gguf g = {.src = src, .arena = r->m->arena};
	char quoted[ERR_QUOTED];
	const char *name = source_name(src);
	int rc = gguf_parse(&g, e);

	if (rc == 0 && n > 1)
		rc = gguf_check_split(&g, i, n, e);
	if (rc == 0 && n > 1)
		rc = check_names(r, &g, e);
	if (rc == 0 && i == 0)
		rc = gguf_config(&g, r->m, e);
	if (rc == 0 && i == 0)
		rc = add_info(&g, r->m, e);
	if (rc == 0)
		rc = gguf_tensors(&g, r->m, e);
	gguf_free(&g);
	if (rc < 0 && n > 1)
		err_wrap(e, "%s", err_quote(quoted, name, strlen(name)));
	return rc;
}

/* The keys are in the first part, the weights in all of them. */
static int add_graph(struct reading *r, struct source *first, struct err *e)
{
	struct gguf g = {.src = first, .arena = arena_new()};
	int rc = g.arena ? gguf_parse(&g, e) : err_nomem(e, 1);

	if (rc == 0)
		rc = gguf_graph(&g, r->m, e);
	gguf_free(&g);
	arena_free(g.arena);
	return rc;
}

static int read_parts(struct reading *r, struct source **parts, size_t n,
		      struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++)
		if (parts[i])
			rc = read_part(r, parts[i], i, n, e);
	return rc == 0 && parts[0] ? add_graph(r, parts[0], e) : rc;
}

/* The parts of the model, of which the user named one. */
static int find_parts(const struct input *in, struct source ***parts, size_t *n,
		      uint64_t *total, struct err *e)
{
	struct gguf g = {.src = in->file, .arena = arena_new()};
	int rc;

	if (!g.arena)
		return err_nomem(e, 1);
	rc = gguf_parse(&g, e);
	if (rc == 0)
		rc = gguf_open_split(in, &g, parts, n, e);
	if (rc == 0 && !gguf_get(&g, "split.tensors.count", GGUF_I32, total))
		*total = UINT64_MAX;
	gguf_free(&g);
	arena_free(g.arena);
	return rc;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct reading r = {.in = in, .m = m, .names = map_new()};
	struct source **parts = NULL;
	uint64_t total = 0;
	size_t n = 0;
	int rc;

	if (!r.names)
		return err_nomem(e, 1);
	rc = find_parts(in, &parts, &n, &total, e);
	if (rc == 0)
		rc = read_parts(&r, parts, n, e);
	if (rc == 0 && n > 1 && total != UINT64_MAX && total != r.ntensors &&
	    !in->lenient)
		rc = err_set(e, EINVAL, "%llu tensors in %zu parts, not %llu",
			     (unsigned long long)r.ntensors, n,
			     (unsigned long long)total);
	for (size_t i = 0; i < n; i++)
		source_unref(parts[i]);
	free(parts);
	map_free(r.names);
	return rc;
}

static int probe(const struct input *in)
{
	if (!in->file || in->nhead < 4)
		return 0;
	return memcmp(in->head, "GGUF", 4) == 0 ||
			       memcmp(in->head, "FUGG", 4) == 0
		       ? 95
		       : 0;
}

const struct format format_gguf = {
	.name = "gguf",
	.title = "GGUF, versions 1 to 3, both byte orders, split files",
	.probe = probe,
	.read = read,
};
