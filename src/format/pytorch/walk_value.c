/* SPDX-License-Identifier: MIT */
/* walk_value - tensors and plain values; see format/pytorch/walk.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"

#include "format/pytorch/walk.h"

/* Plain values as text: the same string may be reached very often. */
#define TEXT_BYTES_MAX ((uint64_t)128 << 20)
/* A longer text becomes a file under config/. */
#define ATTR_MAX 200

/* ---- tensors ---- */

static int add_part(struct walk *w, const struct frame *f,
		    struct torch_part *part, const char *key, size_t key_len,
		    struct err *e)
{
	struct param_spec spec = {.kind = f->kind, .tensor = part->tensor};
	size_t suffix = strlen(part->suffix), base = w->name.len;
	struct text leaf = {0};
	int rc;

	part->tensor.data = NULL; /* model_param takes it */
	text_add_bytes(&w->name, part->suffix, suffix);
	rc = model_path(w->t->m, f->mod, key, key_len, ".", &spec.module,
			&spec.name, e);
	text_add_bytes(&leaf, spec.name.p, rc < 0 ? 0 : spec.name.len);
	text_add_bytes(&leaf, part->suffix, suffix);
	if (rc == 0 && (leaf.failed || w->name.failed))
		rc = err_nomem(e, key_len);
	if (rc < 0) {
		blob_unref(spec.tensor.data);
		text_free(&leaf);
		return rc;
	}
	spec.name = (struct span){leaf.p ? leaf.p : "", leaf.len};
	spec.full_name = (struct span){w->name.p ? w->name.p : "", w->name.len};
	spec.dtype_text = part->dtype_text;
	if (spec.kind == PARAM_PARAMETER &&
	    (f->class ? !torch_class_has_parameter(f->class, key, key_len)
		      : param_is_buffer_name(spec.name.p, spec.name.len)))
		spec.kind = PARAM_BUFFER;
	rc = model_param(w->t->m, &spec, NULL, e);
	w->name.len = base;
	text_free(&leaf);
	return rc;
}

/* What a quantised or sparse tensor has besides its parts. */
static int describe(struct walk *w, const struct frame *f,
		    const struct torch_tensor *t, const char *key,
		    struct err *e)
{
	struct model *m = w->t->m;
	char name[ERR_QUOTED + 16];
	int rc = 0;

	if (t->layout) {
		snprintf(name, sizeof(name), "%s.layout", key);
		rc = model_attr(m, f->mod, name, "%s", t->layout);
	}
	if (rc == 0 && t->size && torch_is_plain(t->size)) {
		struct text size = {0};

		torch_format(t->size, &size);
		snprintf(name, sizeof(name), "%s.size", key);
		rc = model_attr(m, f->mod, name, "%s", size.p ? size.p : "");
		text_free(&size);
	}
	if (rc == 0 && t->has_axis) {
		snprintf(name, sizeof(name), "%s.axis", key);
		rc = model_attr(m, f->mod, name, "%lld", (long long)t->axis);
	}
	return rc < 0 ? err_nomem(e, 0) : 0;
}

static int fail_tensor(struct torch_tensor *out, const struct err *why,
		       struct err *e)
{
	*out = (struct torch_tensor){.nparts = 1};
	out->parts[0].suffix = "";
	out->parts[0].dtype_text = "unknown";
	out->parts[0].tensor.shape = shape_of(0, NULL);
	out->parts[0].tensor.data = blob_fail(0, EIO, why->msg);
	return out->parts[0].tensor.data ? 0 : err_nomem(e, 0);
}

static int read_tensor(struct walk *w, const struct pickle_node *n,
		       struct torch_tensor *out, struct err *e)
{
	struct err why = {0};
	int rc;

	if (torch_is_array(n)) {
		*out = (struct torch_tensor){.nparts = 1};
		out->parts[0].suffix = "";
		rc = torch_array(w->t, n, &out->parts[0].tensor, &why);
	} else {
		rc = torch_rebuild(w->t, n, out, &why);
	}
	if (rc < 0 && (w->t->m->lenient || rc == -EOPNOTSUPP))
		return fail_tensor(out, &why, e);
	return rc < 0 ? err_set(e, why.code, "%s", why.msg) : 0;
}

int walk_tensor(struct walk *w, const struct frame *f,
		const struct pickle_node *n, const char *key, size_t len,
		struct err *e)
{
	struct torch_tensor t;
	char quoted[ERR_QUOTED];
	int rc = read_tensor(w, n, &t, e);

	if (rc < 0)
		return err_wrap(e, "%s",
				err_quote(quoted, w->name.p ? w->name.p : "",
					  w->name.len));
	for (size_t i = 0; rc == 0 && i < t.nparts; i++)
		rc = add_part(w, f, &t.parts[i], key, len, e);
	if (rc == 0)
		rc = describe(w, f, &t, err_quote(quoted, key, len), e);
	torch_tensor_drop(&t);
	return rc;
}

/* ---- plain values ---- */

/* The levels of the full name are folders. */
static int add_config(struct walk *w, const char *p, size_t len, struct err *e)
{
	struct blob *data = blob_copy(p ? p : "", len);
	char *name, *dot;
	int rc;

	if (!data)
		return err_nomem(e, len);
	name = strdup(w->name.p ? w->name.p : "value");
	if (!name) {
		blob_unref(data);
		return err_nomem(e, w->name.len);
	}
	for (dot = strchr(name, '.'); dot; dot = strchr(dot, '.'))
		*dot = '/';
	rc = model_config(w->t->m, name, data, e);
	free(name);
	return rc;
}

/*
 * Values of dicts and lists are files under config/, too; the attributes of
 * modules and other objects are not: there is one of each in every layer.
 */
int walk_plain(struct walk *w, const struct frame *f,
	       const struct pickle_node *n, const char *key, size_t len,
	       struct err *e)
{
	struct text value = {0};
	char name[ERR_QUOTED];
	int rc = 0;

	if (n->kind == PICKLE_STRING || n->kind == PICKLE_BYTES)
		w->text_bytes += n->s.len;
	if (w->text_bytes > TEXT_BYTES_MAX)
		return err_set(e, EFBIG, "more than %llu bytes of text",
			       (unsigned long long)TEXT_BYTES_MAX);
	torch_format(n, &value);
	w->text_bytes += value.len;
	if (value.failed)
		rc = err_nomem(e, 0);
	else if (n->kind == PICKLE_STRING && n->s.len > ATTR_MAX)
		rc = add_config(w, n->s.p, n->s.len, e);
	else if (!f->is_state || w->depth == 1)
		rc = add_config(w, value.p, value.len, e);
	if (rc == 0 && value.len <= ATTR_MAX &&
	    model_attr(w->t->m, f->mod, err_quote(name, key, len), "%s",
		       value.p ? value.p : "") < 0)
		rc = err_nomem(e, value.len);
	text_free(&value);
	return rc;
}
