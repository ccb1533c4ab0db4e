/* SPDX-License-Identifier: MIT */
/* attr - attributes of a node (attr_value.proto), for listings and operators. */
#include <errno.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/text.h"

#include "format/tf/tf.h"

/* Those that begin so are between TensorFlow and itself. */
static bool is_listed(const Tf__AttrEntry *a)
{
	return a->value && a->key.len > 0 && a->key.data[0] != '_';
}

uint32_t tf_attr_count(const Tf__Node *n)
{
	uint32_t count = 0;

	for (size_t i = 0; i < n->n_attr; i++)
		count += is_listed(n->attr[i]);
	return count;
}

const Tf__AttrValue *tf_attr(const Tf__Node *n, const char *key)
{
	for (size_t i = 0; i < n->n_attr; i++)
		if (tf_equal(&n->attr[i]->key, key))
			return n->attr[i]->value;
	return NULL;
}

static int set_text(struct tf *t, struct span s, struct attr *out,
		    struct err *e)
{
	out->kind = ATTR_STRING;
	out->n = 1;
	return tf_copy(t, s, &out->s, e);
}

static void format_shape(const Tf__Shape *s, struct text *out)
{
	text_add(out, s->unknown_rank ? "?" : "[");
	for (size_t i = 0; i < s->n_dim; i++)
		text_printf(out, "%s%lld", i ? "," : "",
			    (long long)s->dim[i]->size);
	if (!s->unknown_rank)
		text_add(out, "]");
}

static int take_text(struct tf *t, struct text *text, struct attr *out,
		     struct err *e)
{
	struct span s = {text->p ? text->p : "", text->len};
	int rc = text->failed ? err_nomem(e, 0) : set_text(t, s, out, e);

	text_free(text);
	return rc;
}

static int copy_numbers(struct tf *t, const void *p, size_t n, size_t size,
			const void **out, struct err *e)
{
	void *copy = arena_array(t->m->arena, n + 1, size);

	if (!copy)
		return err_nomem(e, n * size);
	if (n)
		memcpy(copy, p, n * size);
	*out = copy;
	return 0;
}

static int copy_strings(struct tf *t, const Tf__AttrList *l, struct attr *out,
			struct err *e)
{
	struct span *s = arena_array(t->m->arena, l->n_s + 1, sizeof(*s));
	int rc = s ? 0 : err_nomem(e, l->n_s);

	for (size_t i = 0; rc == 0 && i < l->n_s; i++)
		rc = tf_copy(t, tf_span(&l->s[i]), &s[i], e);
	out->kind = ATTR_STRINGS;
	out->strings = s;
	out->n = s ? l->n_s : 0;
	return rc;
}

/* Lists of what we have no kind for, as text. */
static int list_text(struct tf *t, const Tf__AttrList *l, struct attr *out,
		     struct err *e)
{
	struct text text = {0};
	char buf[32];

	for (size_t i = 0; i < l->n_type; i++)
		text_printf(&text, "%s%s", i ? "," : "",
			    tf_dtype_text(l->type[i], buf));
	for (size_t i = 0; i < l->n_b; i++)
		text_printf(&text, "%s%d", i ? "," : "", l->b[i] != 0);
	for (size_t i = 0; i < l->n_shape; i++) {
		text_add(&text, i ? "," : "");
		format_shape(l->shape[i], &text);
	}
	for (size_t i = 0; i < l->n_func; i++)
		text_printf(&text, "%s%.*s", i ? "," : "",
			    (int)l->func[i]->name.len,
			    (char *)l->func[i]->name.data);
	return take_text(t, &text, out, e);
}

static int read_list(struct tf *t, const Tf__AttrList *l, struct attr *out,
		     struct err *e)
{
	const void *p = NULL;
	int rc;

	if (l->n_i > 0) {
		rc = copy_numbers(t, l->i, l->n_i, sizeof(*l->i), &p, e);
		out->kind = ATTR_INTS;
		out->n = rc < 0 ? 0 : l->n_i;
		out->ints = p;
		return rc;
	}
	if (l->n_f > 0) {
		rc = copy_numbers(t, l->f, l->n_f, sizeof(*l->f), &p, e);
		out->kind = ATTR_FLOATS;
		out->n = rc < 0 ? 0 : l->n_f;
		out->floats = p;
		return rc;
	}
	return l->n_s > 0 ? copy_strings(t, l, out, e)
			  : list_text(t, l, out, e);
}

static int read_tensor(struct tf *t, const Tf__Tensor *p, struct attr *out,
		       struct err *e)
{
	struct tensor *tensor = arena_alloc(t->m->arena, sizeof(*tensor));

	if (!tensor)
		return err_nomem(e, sizeof(*tensor));
	out->t = tensor;
	out->kind = ATTR_TENSOR;
	return tf_tensor(t->src, t->m->lenient, p, tensor, e);
}

static int read_value(struct tf *t, const Tf__AttrValue *v, struct attr *out,
		      struct err *e)
{
	struct text text = {0};
	char buf[32];

	out->n = 1;
	if (v->list)
		return read_list(t, v->list, out, e);
	if (v->has_s)
		return set_text(t, tf_span(&v->s), out, e);
	if (v->has_type) {
		text_add(&text, tf_dtype_text(v->type, buf));
		return take_text(t, &text, out, e);
	}
	if (v->shape) {
		format_shape(v->shape, &text);
		return take_text(t, &text, out, e);
	}
	if (v->func)
		return set_text(t, tf_span(&v->func->name), out, e);
	if (v->tensor)
		return read_tensor(t, v->tensor, out, e);
	if (v->has_f) {
		out->f = v->f;
	} else {
		out->kind = ATTR_INT;
		out->i = v->has_i ? v->i : v->b;
	}
	return 0;
}

int tf_attrs(struct tf *t, const Tf__Node *n, struct attr *out, struct err *e)
{
	char q[ERR_QUOTED];

	for (size_t i = 0; i < n->n_attr; i++) {
		const Tf__AttrEntry *a = n->attr[i];
		struct span key;
		int rc;

		if (!is_listed(a))
			continue;
		rc = tf_copy(t, tf_span(&a->key), &key, e);
		if (rc < 0)
			return rc;
		out->name = key.p;
		rc = read_value(t, a->value, out++, e);
		if (rc < 0)
			return err_wrap(e, "attribute %s",
					err_quote(q, key.p, key.len));
	}
	return 0;
}
