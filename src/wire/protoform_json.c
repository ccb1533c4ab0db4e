/* SPDX-License-Identifier: MIT */
/* protoform_json - messages in JSON, and what both forms share. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/text.h"

#include "wire/json.h"
#include "wire/protobuf.h"
#include "wire/protoform.h"

/* ---- writing ---- */

void protoform_varint(struct text *out, uint64_t v)
{
	uint8_t buf[10];
	size_t n = 0;

	while (v >= 0x80) {
		buf[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	buf[n++] = (uint8_t)v;
	text_add_bytes(out, buf, n);
}

static void key(const ProtobufCFieldDescriptor *f, unsigned type,
		struct text *out)
{
	protoform_varint(out, (uint64_t)f->id << 3 | type);
}

int protoform_check(const struct text *out, struct err *e)
{
	if (out->failed)
		return err_nomem(e, out->len);
	return out->len > PROTOFORM_MAX ? err_set(e, EFBIG, "a long message")
					: 0;
}

int protoform_number(const ProtobufCFieldDescriptor *f, bool is_real, double d,
		     int64_t i, struct text *out, struct err *e)
{
	float narrow;

	switch (f->type) {
	case PROTOBUF_C_TYPE_FLOAT:
		narrow = is_real ? (float)d : (float)i;
		key(f, 5, out);
		text_add_bytes(out, &narrow, 4);
		return protoform_check(out, e);
	case PROTOBUF_C_TYPE_DOUBLE:
		d = is_real ? d : (double)i;
		key(f, 1, out);
		text_add_bytes(out, &d, 8);
		return protoform_check(out, e);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_BOOL:
		if (is_real)
			return err_set(e, EINVAL, "%s is a whole number",
				       f->name);
		key(f, 0, out);
		protoform_varint(out, (uint64_t)i);
		return protoform_check(out, e);
	default:
		return err_set(e, EINVAL, "%s is no number", f->name);
	}
}

void protoform_bytes(const ProtobufCFieldDescriptor *f, const char *p,
		     size_t len, struct text *out)
{
	key(f, 2, out);
	protoform_varint(out, len);
	text_add_bytes(out, p, len);
}

/* ---- base64 ---- */

static int sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

/* In place of len bytes; false: something else. */
static bool undo_base64(const char *p, size_t len, char *out, size_t *n)
{
	uint32_t bits = 0;
	unsigned nbits = 0;

	*n = 0;
	while (len > 0 && p[len - 1] == '=')
		len--;
	for (size_t i = 0; i < len; i++) {
		int v = sextet(p[i]);

		if (v < 0)
			return false;
		bits = bits << 6 | (uint32_t)v;
		nbits += 6;
		if (nbits < 8)
			continue;
		nbits -= 8;
		out[(*n)++] = (char)(bits >> nbits);
	}
	return true;
}

/* ---- JSON ---- */

struct reader {
	const struct protoform *form;
	struct err *e;
};

static int add_message(struct reader *r, const ProtobufCMessageDescriptor *d,
		       const struct json *v, int depth, struct text *out);

/* "nodeDef" and "node_def" are the same. */
static bool same_name(const char *name, const char *given)
{
	while (*name && *given) {
		if (*name == '_' && *given != '_') {
			name++;
			if (*name - 'a' + 'A' != *given)
				return false;
		} else if (*name != *given) {
			return false;
		}
		name++;
		given++;
	}
	return *name == '\0' && *given == '\0';
}

static const ProtobufCFieldDescriptor *
find_field(const ProtobufCMessageDescriptor *d, const char *name)
{
	for (unsigned i = 0; i < d->n_fields; i++)
		if (d->fields[i].id < PROTOBUF_OFF &&
		    same_name(d->fields[i].name, name))
			return &d->fields[i];
	return NULL;
}

static bool is_raw(const struct reader *r, const ProtobufCFieldDescriptor *f)
{
	for (size_t i = 0; r->form->raw[i]; i++)
		if (strcmp(r->form->raw[i], f->name) == 0)
			return true;
	return false;
}

static int add_text(struct reader *r, const ProtobufCFieldDescriptor *f,
		    const struct json *v, struct text *out)
{
	size_t len, n;
	const char *s = json_get_string(v, &len);
	char *plain;

	if (!s)
		return err_set(r->e, EINVAL, "%s is no text", f->name);
	if (!is_raw(r, f)) {
		protoform_bytes(f, s, len, out);
		return protoform_check(out, r->e);
	}
	plain = malloc(len + 1);
	if (!plain)
		return err_nomem(r->e, len);
	if (undo_base64(s, len, plain, &n))
		protoform_bytes(f, plain, n, out);
	else
		protoform_bytes(f, s, len, out);
	free(plain);
	return protoform_check(out, r->e);
}

/* Numbers of 64 bits are text in JSON; names stand for others. */
static int add_number(struct reader *r, const ProtobufCFieldDescriptor *f,
		      const struct json *v, struct text *out)
{
	size_t len;
	const char *s = json_get_string(v, &len);
	int64_t i = 0;
	double d = 0;
	bool b;
	char *end;

	if (json_get_bool(v, &b))
		return protoform_number(f, false, 0, b, out, r->e);
	if (json_get_int(v, &i))
		return protoform_number(f, false, 0, i, out, r->e);
	if (json_get_real(v, &d))
		return protoform_number(f, true, d, 0, out, r->e);
	if (!s || len == 0)
		return 0; /* NaN */
	if (r->form->number(s, len, &i))
		return protoform_number(f, false, 0, i, out, r->e);
	errno = 0;
	i = strtoll(s, &end, 10);
	if (errno || *end != '\0')
		return err_set(r->e, EINVAL, "%s is no number", f->name);
	return protoform_number(f, false, 0, i, out, r->e);
}

static int add_child(struct reader *r, const ProtobufCFieldDescriptor *f,
		     const struct json *v, int depth, struct text *out)
{
	struct text child = {0};
	int rc = add_message(r, f->descriptor, v, depth + 1, &child);

	if (rc == 0)
		rc = protoform_check(&child, r->e);
	if (rc == 0)
		protoform_bytes(f, child.p ? child.p : "", child.len, out);
	text_free(&child);
	return rc < 0 ? rc : protoform_check(out, r->e);
}

static int add_value(struct reader *r, const ProtobufCFieldDescriptor *f,
		     const struct json *v, int depth, struct text *out)
{
	if (json_kind(v) == JSON_KIND_NULL)
		return 0;
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return add_child(r, f, v, depth, out);
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return add_text(r, f, v, out);
	return add_number(r, f, v, out);
}

/* An entry of a map: {key, value}. */
static int add_entry(struct reader *r, const ProtobufCFieldDescriptor *f,
		     const char *name, const struct json *v, int depth,
		     struct text *out)
{
	const ProtobufCFieldDescriptor *k = find_field(f->descriptor, "key");
	const ProtobufCFieldDescriptor *at = find_field(f->descriptor, "value");
	struct text child = {0};
	int rc;

	if (!k || !at)
		return err_set(r->e, EINVAL, "%s is no map", f->name);
	protoform_bytes(k, name, strlen(name), &child);
	rc = add_value(r, at, v, depth + 1, &child);
	if (rc == 0)
		rc = protoform_check(&child, r->e);
	if (rc == 0)
		protoform_bytes(f, child.p, child.len, out);
	text_free(&child);
	return rc < 0 ? rc : protoform_check(out, r->e);
}

static int add_field(struct reader *r, const ProtobufCFieldDescriptor *f,
		     const struct json *v, int depth, struct text *out)
{
	const struct json *member;
	const char *name;
	void *it = NULL;
	int rc = 0;

	if (f->label != PROTOBUF_C_LABEL_REPEATED)
		return add_value(r, f, v, depth, out);
	if (json_kind(v) == JSON_KIND_OBJECT) {
		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			return err_set(r->e, EINVAL, "%s is a map", f->name);
		while (rc == 0 && json_next(v, &it, &name, &member))
			rc = add_entry(r, f, name, member, depth, out);
		return rc;
	}
	for (size_t i = 0; rc == 0 && i < json_count(v); i++)
		rc = add_value(r, f, json_item(v, i), depth, out);
	return rc;
}

static int add_message(struct reader *r, const ProtobufCMessageDescriptor *d,
		       const struct json *v, int depth, struct text *out)
{
	const struct json *member;
	const char *name;
	void *it = NULL;
	int rc = 0;

	if (depth > PROTOBUF_DEPTH_MAX)
		return err_set(r->e, EINVAL, "messages nested too deep");
	if (json_kind(v) != JSON_KIND_OBJECT)
		return err_set(r->e, EINVAL, "%s is no object", d->short_name);
	while (rc == 0 && json_next(v, &it, &name, &member)) {
		const ProtobufCFieldDescriptor *f = find_field(d, name);

		if (f)
			rc = add_field(r, f, member, depth, out);
	}
	return rc;
}

int protoform_json(const struct protoform *f,
		   const ProtobufCMessageDescriptor *d, const struct json *v,
		   struct text *out, struct err *e)
{
	struct reader r = {f, e};
	int rc = add_message(&r, d, v, 0, out);

	return rc < 0 ? rc : protoform_check(out, e);
}
