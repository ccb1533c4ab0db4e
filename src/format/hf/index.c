/* SPDX-License-Identifier: MIT */
/*
 * index - a model in shards.  The map is the truth about which shard a tensor
 * is in; tensors that no map names are taken where they first appear.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/array.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/hf/hf.h"
#include "format/safetensors.h"
#include "wire/json.h"

#define TEXT_BYTES_MAX (256u << 20)

struct entry {
	struct span name;
	uint32_t shard;
	bool is_found;
};

struct index {
	const struct input *in;
	struct model *m;
	struct map *shards; /* file name → number */
	struct map *names;  /* tensor → entry */
	struct map *extras; /* tensors that the map does not name */
	struct entry *entries;
	struct span *files;
	uint32_t nentries, nfiles;
	uint32_t cap_entries, cap_files;
	uint32_t shard; /* that is being read */
	bool is_short;	/* of memory */
};

int hf_read_text(struct source *src, char **out, size_t *len, struct err *e)
{
	uint64_t size = source_size(src);
	char *text;
	int rc;

	if (size > TEXT_BYTES_MAX)
		return err_set(e, EFBIG, "%llu bytes of JSON",
			       (unsigned long long)size);
	text = malloc(size + 1);
	if (!text)
		return err_nomem(e, size);
	rc = source_read(src, text, size, 0, e);
	if (rc < 0) {
		free(text);
		return rc;
	}
	text[size] = '\0';
	*out = text;
	*len = size;
	return 0;
}

/* ---- the map ---- */

static int add_file(struct index *x, const char *name, size_t len,
		    uint32_t *out, struct err *e)
{
	uint64_t number;
	char *copy;
	int rc;

	if (map_get(x->shards, name, len, &number)) {
		*out = (uint32_t)number;
		return 0;
	}
	rc = array_grow(&x->files, &x->cap_files, x->nfiles, sizeof(*x->files),
			e);
	if (rc < 0)
		return rc;
	copy = arena_strndup(x->m->arena, name, len);
	if (!copy || map_add(x->shards, copy, len, x->nfiles) < 0)
		return err_nomem(e, len);
	x->files[x->nfiles] = (struct span){copy, len};
	*out = x->nfiles++;
	return 0;
}

static int take_tensor(void *ctx, const char *key, size_t len,
		       const struct json *value, struct err *e)
{
	struct index *x = ctx;
	struct entry *t;
	char quoted[ERR_QUOTED];
	size_t file_len;
	const char *file = json_get_string(value, &file_len);
	char *name;
	int rc = file ? array_grow(&x->entries, &x->cap_entries, x->nentries,
				   sizeof(*x->entries), e)
		      : err_set(e, EINVAL, "no file name");

	if (rc < 0)
		return err_wrap(e, "%s", err_quote(quoted, key, len));
	t = &x->entries[x->nentries];
	*t = (struct entry){0};
	name = arena_strndup(x->m->arena, key, len);
	if (!name)
		return err_nomem(e, len);
	t->name = (struct span){name, len};
	rc = map_add(x->names, name, len, x->nentries);
	if (rc == -EEXIST)
		return err_set(e, EINVAL, "%s: appears twice",
			       err_quote(quoted, key, len));
	if (rc < 0)
		return err_nomem(e, len);
	rc = add_file(x, file, file_len, &t->shard, e);
	x->nentries += rc == 0;
	return rc;
}

/* The value of "weight_map" is walked, never held as a whole. */
static int read_map(struct index *x, const char *text, size_t len,
		    struct err *e)
{
	const char *value;
	size_t value_len;
	int rc = json_find_member(text, len, "weight_map", &value, &value_len,
				  e);

	if (rc < 0)
		return rc;
	return json_each_member(value, value_len, take_tensor, x, e);
}

/* ---- shards ---- */

static bool wants(void *ctx, const char *name, size_t len)
{
	struct index *x = ctx;
	uint64_t i;
	char *copy;

	if (map_get(x->names, name, len, &i)) {
		struct entry *t = &x->entries[i];
		bool is_new = t->shard == x->shard && !t->is_found;

		t->is_found = t->is_found || is_new;
		return is_new;
	}
	if (map_get(x->extras, name, len, &i))
		return false;
	copy = arena_strndup(x->m->arena, name, len);
	x->is_short =
		x->is_short || !copy || map_add(x->extras, copy, len, 1) < 0;
	return !x->is_short;
}

/* A tensor of which only the name is known. */
static int add_failed(struct index *x, const struct entry *t, int code,
		      const char *why, struct err *e)
{
	struct param_spec spec = {
		.full_name = t->name,
		.dtype_text = "unknown",
	};
	int rc = model_path(x->m, model_root(x->m), t->name.p, t->name.len, ".",
			    &spec.module, &spec.name, e);

	if (rc < 0)
		return rc;
	spec.tensor.data = blob_fail(0, code, why);
	if (!spec.tensor.data)
		return err_nomem(e, strlen(why));
	return model_param(x->m, &spec, NULL, e);
}

static int read_file(struct index *x, struct err *e)
{
	const struct span *file = &x->files[x->shard];
	struct safetensors_part part = {
		.wants = wants,
		.ctx = x,
		.has_config = x->shard == 0,
	};
	char quoted[ERR_QUOTED];
	struct source *src;
	int rc = input_sibling(x->in, file->p, file->len, &src, e);

	if (rc < 0)
		return rc;
	rc = hf_read_weights(src, &part, x->m, e);
	source_unref(src);
	if (rc == 0 && x->is_short)
		return err_nomem(e, file->len);
	if (rc < 0) {
		/* Whatever is wrong with it: it was there. */
		err_wrap(e, "%s", err_quote(quoted, file->p, file->len));
		rc = e->code == ENOMEM ? -ENOMEM : -EIO;
	}
	return rc;
}

/* Entries of shard i: order[first[i]] up to order[first[i + 1]]. */
static int sort_by_shard(const struct index *x, uint32_t **order,
			 uint32_t **first, struct err *e)
{
	uint32_t *start = calloc((size_t)x->nfiles + 2, sizeof(*start));
	uint32_t *list = calloc((size_t)x->nentries + 1, sizeof(*list));

	if (!start || !list) {
		free(start);
		free(list);
		return err_nomem(e, x->nentries * sizeof(*list));
	}
	for (uint32_t i = 0; i < x->nentries; i++)
		start[x->entries[i].shard + 2]++;
	for (uint32_t i = 2; i < x->nfiles + 2; i++)
		start[i] += start[i - 1];
	for (uint32_t i = 0; i < x->nentries; i++)
		list[start[x->entries[i].shard + 1]++] = i;
	*order = list;
	*first = start;
	return 0;
}

static int read_shard(struct index *x, const uint32_t *order, uint32_t n,
		      struct err *e)
{
	char quoted[ERR_QUOTED], absent[ERR_QUOTED + 32];
	const struct span *file = &x->files[x->shard];
	uint32_t before = x->m->nparams;
	struct err why = {0};
	int rc = read_file(x, &why);

	if (rc == -ENOMEM || (rc < 0 && x->m->nparams != before))
		return err_set(e, -rc, "%s", why.msg);
	snprintf(absent, sizeof(absent), "not in %s",
		 err_quote(quoted, file->p, file->len));
	for (uint32_t i = 0; i < n; i++) {
		struct entry *t = &x->entries[order[i]];
		int done = 0;

		if (rc < 0)
			done = add_failed(x, t, -rc, why.msg, e);
		else if (!t->is_found)
			done = add_failed(x, t, EIO, absent, e);
		if (done < 0)
			return done;
	}
	return 0;
}

static int read_shards(struct index *x, struct err *e)
{
	uint32_t *order = NULL, *first = NULL;
	int rc = sort_by_shard(x, &order, &first, e);

	for (uint32_t i = 0; rc == 0 && i < x->nfiles; i++) {
		x->shard = i;
		rc = read_shard(x, order + first[i], first[i + 1] - first[i],
				e);
	}
	free(order);
	free(first);
	return rc;
}

int hf_read_index(const struct input *in, struct source *src, struct model *m,
		  struct err *e)
{
	struct index x = {
		.in = in,
		.m = m,
		.shards = map_new(),
		.names = map_new(),
		.extras = map_new(),
	};
	char *text = NULL;
	size_t len;
	int rc = hf_read_text(src, &text, &len, e);

	if (rc == 0 && (!x.shards || !x.names || !x.extras))
		rc = err_nomem(e, 1);
	if (rc == 0)
		rc = read_map(&x, text, len, e);
	free(text);
	if (rc == 0)
		rc = read_shards(&x, e);
	map_free(x.shards);
	map_free(x.names);
	map_free(x.extras);
	free(x.entries);
	free(x.files);
	return rc;
}
