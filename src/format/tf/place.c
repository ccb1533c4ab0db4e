/* SPDX-License-Identifier: MIT */
/* place - where TensorFlow's names lead in the module tree. */
#include <errno.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/tf/tf.h"

int tf_copy(struct tf *t, struct span text, struct span *out, struct err *e)
{
	out->p = arena_strndup(t->m->arena, text.len ? text.p : "", text.len);
	out->len = text.len;
	return out->p ? 0 : err_nomem(e, text.len);
}

int tf_name_add(struct tf *t, struct span name, struct err *e)
{
	int rc = map_set(t->names, name.p, name.len, 1);

	return rc < 0 ? err_nomem(e, name.len) : 0;
}

static bool is_variable(const struct tf *t, const char *p, size_t len)
{
	uint64_t v;

	return map_get(t->names, p, len, &v);
}

/* "kernel/read" as one component: "kernel.read". */
static int join(struct tf *t, const char *p, size_t len, struct span *out,
		struct err *e)
{
	char *copy;

	*out = (struct span){p, len};
	if (!memchr(p, '/', len))
		return 0;
	copy = arena_strndup(t->m->arena, p, len);
	if (!copy)
		return err_nomem(e, len);
	for (size_t i = 0; i < len; i++)
		if (copy[i] == '/')
			copy[i] = '.';
	out->p = copy;
	return 0;
}

int tf_place(struct tf *t, struct span name, struct module **mod,
	     struct span *leaf, struct err *e)
{
	struct module *m = model_root(t->m);
	size_t start = 0;
	struct span part;
	int rc;

	for (size_t i = 0; i < name.len; i++) {
		if (name.p[i] != '/' || m->depth + 1 >= MODEL_DEPTH_MAX ||
		    is_variable(t, name.p, i))
			continue;
		rc = join(t, name.p + start, i - start, &part, e);
		if (rc == 0)
			rc = model_module(t->m, m, part.p, part.len, &m, e);
		if (rc < 0)
			return rc;
		start = i + 1;
	}
	*mod = m;
	return join(t, name.p + start, name.len - start, leaf, e);
}

int tf_param(struct tf *t, struct span name, enum param_kind kind,
	     struct tensor *tensor, int32_t type, struct err *e)
{
	struct param_spec spec = {
		.full_name = name, .kind = kind, .tensor = *tensor};
	struct param *p;
	char buf[32];
	int rc;

	if (tensor->dtype == DTYPE_NONE)
		spec.dtype_text = tf_dtype_text(type, buf);
	rc = tf_place(t, name, &spec.module, &spec.name, e);
	if (rc < 0) {
		blob_unref(tensor->data);
		return rc;
	}
	rc = model_param(t->m, &spec, &p, e);
	if (rc < 0)
		return rc;
	rc = map_set(t->params, p->full_name, p->full_len, t->m->nparams);
	return rc < 0 ? err_nomem(e, 0) : 0;
}
