/* SPDX-License-Identifier: MIT */
/*
 * protobuf - see protobuf.h.
 *
 * The walk is iterative: one frame per open message.  Lengths of nested
 * messages are written as varints of five bytes and filled in when the
 * message ends, as the skeleton of a message may be shorter than itself.
 */
#include "wire/protobuf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/reader.h"
#include "modelfs/source.h"

#define LENGTH_BYTES 5

/*
 * What is one message may come in parts, which protobuf-c puts together one by
 * one, copying all it has each time: at most so many bytes.  Hardly any writer
 * makes parts.
 */
#define MERGED_MAX ((uint64_t)64 << 20)

enum wire_type {
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_BYTES = 2,
	WIRE_GROUP = 3,
	WIRE_GROUP_END = 4,
	WIRE_FIXED32 = 5
};

struct frame {
	const ProtobufCMessageDescriptor *desc;
	uint64_t end;	/* of the message, in the file */
	size_t content; /* of its skeleton, behind the length */
	unsigned nsingle; /* messages in it that are not repeated */
};

struct walk {
	struct reader *r;
	uint8_t *out;
	size_t len, cap;
	uint64_t unpacked; /* estimate of what protobuf-c will allocate */
	uint64_t merged;   /* and of what it will copy, joining parts */
	struct frame frames[PROTOBUF_DEPTH_MAX];
	size_t depth;
};

static int fail(const struct walk *w, int code, const char *what, struct err *e)
{
	if (w->r->bad)
		return err_set(e, w->r->err.code, "%s", w->r->err.msg);
	return err_set(e, code, "byte %llu: %s", (unsigned long long)w->r->off,
		       what);
}

static int reserve(struct walk *w, uint64_t nbytes, struct err *e)
{
	size_t cap = w->cap ? w->cap : 4096;
	uint8_t *out;

	if (nbytes > PROTOBUF_SKELETON_MAX - w->len)
		return fail(w, EFBIG, "too much metadata", e);
	if (nbytes <= w->cap - w->len)
		return 0;
	while (cap < w->len + nbytes)
		cap *= 2;
	out = realloc(w->out, cap);
	if (!out)
		return err_nomem(e, cap);
	w->out = out;
	w->cap = cap;
	return 0;
}

/* nbytes: what the unpacked form of one more element takes. */
static int charge(struct walk *w, uint64_t nbytes, struct err *e)
{
	w->unpacked += nbytes;
	if (w->unpacked > PROTOBUF_UNPACKED_MAX)
		return fail(w, EFBIG, "too many elements of metadata", e);
	return 0;
}

/* Room was reserved. */
static void put_varint(struct walk *w, uint64_t v)
{
	while (v >= 0x80) {
		w->out[w->len++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	w->out[w->len++] = (uint8_t)v;
}

static void put_key(struct walk *w, uint32_t id, enum wire_type type)
{
	put_varint(w, (uint64_t)id << 3 | type);
}

static void put_fixed(struct walk *w, uint64_t v, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++)
		w->out[w->len++] = (uint8_t)(v >> (8 * i));
}

static const ProtobufCFieldDescriptor *
find_field(const ProtobufCMessageDescriptor *d, uint64_t id)
{
	if (id == 0 || id > UINT32_MAX)
		return NULL;
	return protobuf_c_message_descriptor_get_field(d, (unsigned)id);
}

static bool is_cut(const ProtobufCMessageDescriptor *d, uint64_t id)
{
	return find_field(d, id + PROTOBUF_OFF) &&
	       find_field(d, id + PROTOBUF_LEN) && find_field(d, id);
}

/* A field of ours, which no file may set. */
static bool is_ours(const ProtobufCMessageDescriptor *d, uint64_t id)
{
	return (id > PROTOBUF_OFF && is_cut(d, id - PROTOBUF_OFF)) ||
	       (id > PROTOBUF_LEN && is_cut(d, id - PROTOBUF_LEN));
}

static enum wire_type wire_type_of(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return WIRE_FIXED64;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return WIRE_FIXED32;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return WIRE_BYTES;
	default:
		return WIRE_VARINT;
	}
}

static uint64_t left(const struct walk *w)
{
	return w->frames[w->depth - 1].end - w->r->off;
}

/* The length of a WIRE_BYTES field, which must be inside its message. */
static int read_length(struct walk *w, uint64_t *len, struct err *e)
{
	*len = reader_varint(w->r);
	if (w->r->bad || w->r->off > w->frames[w->depth - 1].end ||
	    *len > left(w))
		return fail(w, EINVAL, "a field ends beyond its message", e);
	return 0;
}

/* Behind a value of a field nobody wants. */
static int skip_value(struct walk *w, unsigned type, struct err *e)
{
	uint64_t len;
	int rc;

	switch (type) {
	case WIRE_VARINT:
		reader_varint(w->r);
		return 0;
	case WIRE_FIXED64:
		reader_skip(w->r, 8);
		return 0;
	case WIRE_FIXED32:
		reader_skip(w->r, 4);
		return 0;
	case WIRE_BYTES:
		rc = read_length(w, &len, e);
		if (rc == 0)
			reader_skip(w->r, len);
		return rc;
	default:
		return fail(w, EINVAL, "no field", e);
	}
}

static bool is_past_end(const struct walk *w)
{
	return w->r->bad || w->r->off > w->frames[w->depth - 1].end;
}

/* Groups are no longer written; they must balance and are skipped. */
static int skip_group(struct walk *w, uint64_t id, struct err *e)
{
	uint64_t open[PROTOBUF_DEPTH_MAX];
	size_t nopen = 0;
	int rc = 0;

	open[nopen++] = id;
	while (rc == 0 && nopen > 0) {
		uint64_t key = reader_varint(w->r);

		if (is_past_end(w) || key >> 3 == 0)
			return fail(w, EINVAL, "a group without an end", e);
		if ((key & 7) == WIRE_GROUP_END) {
			if (open[--nopen] != key >> 3)
				return fail(w, EINVAL, "groups crossed", e);
		} else if ((key & 7) == WIRE_GROUP) {
			if (nopen == PROTOBUF_DEPTH_MAX)
				return fail(w, EINVAL, "groups too deep", e);
			open[nopen++] = key >> 3;
		} else {
			rc = skip_value(w, key & 7, e);
		}
	}
	return rc;
}

static int put_range(struct walk *w, uint32_t id, uint64_t off, uint64_t len,
		     struct err *e)
{
	int rc = reserve(w, 32, e);

	if (rc == 0)
		rc = charge(w, 16, e);
	if (rc < 0)
		return rc;
	put_key(w, id + PROTOBUF_OFF, WIRE_VARINT);
	put_varint(w, off);
	put_key(w, id + PROTOBUF_LEN, WIRE_VARINT);
	put_varint(w, len);
	return 0;
}

static int cut_field(struct walk *w, const ProtobufCFieldDescriptor *f,
		     unsigned type, struct err *e)
{
	uint64_t off = w->r->off, len;
	int rc;

	if (type == WIRE_BYTES) {
		rc = read_length(w, &len, e);
		off = w->r->off;
		if (rc == 0)
			reader_skip(w->r, len);
	} else {
		rc = skip_value(w, type, e);
		len = w->r->off - off;
	}
	return rc == 0 ? put_range(w, f->id, off, len, e) : rc;
}

static int copy_number(struct walk *w, uint32_t id, unsigned type,
		       struct err *e)
{
	int rc = reserve(w, 20, e);

	if (rc == 0)
		rc = charge(w, 8, e);
	if (rc < 0)
		return rc;
	put_key(w, id, type);
	if (type == WIRE_VARINT)
		put_varint(w, reader_varint(w->r));
	else if (type == WIRE_FIXED64)
		put_fixed(w, reader_u64(w->r), 8);
	else
		put_fixed(w, reader_u32(w->r), 4);
	return 0;
}

/* Strings, bytes and packed numbers. */
static int copy_bytes(struct walk *w, const ProtobufCFieldDescriptor *f,
		      struct err *e)
{
	bool is_packed = wire_type_of(f) != WIRE_BYTES;
	uint64_t len;
	int rc = read_length(w, &len, e);

	if (rc == 0)
		rc = reserve(w, len + 20, e);
	if (rc == 0)
		rc = charge(w, is_packed ? 8 * len : 48 + len, e);
	if (rc < 0)
		return rc;
	put_key(w, f->id, WIRE_BYTES);
	put_varint(w, len);
	reader_bytes(w->r, w->out + w->len, len);
	w->len += len;
	return 0;
}

static int open_message(struct walk *w, const ProtobufCFieldDescriptor *f,
			struct err *e)
{
	const ProtobufCMessageDescriptor *desc = f->descriptor;
	struct frame *above = &w->frames[w->depth - 1];
	uint64_t len;
	int rc = read_length(w, &len, e);

	if (rc < 0)
		return rc;
	if (w->depth == PROTOBUF_DEPTH_MAX)
		return fail(w, EINVAL, "messages nested too deep", e);
	if (f->label != PROTOBUF_C_LABEL_REPEATED &&
	    ++above->nsingle > above->desc->n_fields)
		w->merged += w->len - above->content;
	if (w->merged > MERGED_MAX)
		return fail(w, EFBIG, "a message in too many parts", e);
	rc = reserve(w, 20, e);
	if (rc == 0)
		rc = charge(w, desc->sizeof_message + 32, e);
	if (rc < 0)
		return rc;
	put_key(w, f->id, WIRE_BYTES);
	w->len += LENGTH_BYTES;
	w->frames[w->depth++] = (struct frame){
		.desc = desc, .end = w->r->off + len, .content = w->len};
	return 0;
}

static void close_message(struct walk *w)
{
	struct frame *f = &w->frames[--w->depth];
	uint64_t len = w->len - f->content;
	uint8_t *p = w->out + f->content - LENGTH_BYTES;

	if (w->depth == 0)
		return;
	for (int i = 0; i < LENGTH_BYTES; i++)
		p[i] = (uint8_t)((len >> (7 * i) & 0x7f) |
				 (i < LENGTH_BYTES - 1 ? 0x80 : 0));
}

static int walk_field(struct walk *w, struct err *e)
{
	const ProtobufCMessageDescriptor *d = w->frames[w->depth - 1].desc;
	uint64_t key = reader_varint(w->r), id = key >> 3;
	const ProtobufCFieldDescriptor *f;
	unsigned type = key & 7;
	enum wire_type want;

	if (is_past_end(w) || id == 0 || id >= 1u << 29)
		return fail(w, EINVAL, "no field number", e);
	if (type == WIRE_GROUP)
		return skip_group(w, id, e);
	f = is_ours(d, id) ? NULL : find_field(d, id);
	if (!f)
		return skip_value(w, type, e);
	want = wire_type_of(f);
	if (type != want &&
	    !(type == WIRE_BYTES && f->label == PROTOBUF_C_LABEL_REPEATED))
		return skip_value(w, type, e);
	if (is_cut(d, id))
		return cut_field(w, f, type, e);
	if (type != WIRE_BYTES)
		return copy_number(w, f->id, type, e);
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return open_message(w, f, e);
	return copy_bytes(w, f, e);
}

static int walk_message(struct walk *w, const ProtobufCMessageDescriptor *desc,
			uint64_t end, struct err *e)
{
	int rc = reserve(w, 1, e);

	w->frames[w->depth++] = (struct frame){.desc = desc, .end = end};
	while (rc == 0 && w->depth > 0) {
		if (w->r->off == w->frames[w->depth - 1].end) {
			close_message(w);
			continue;
		}
		rc = walk_field(w, e);
		if (rc == 0 && is_past_end(w))
			rc = fail(w, EINVAL, "a field ends beyond its message",
				  e);
	}
	return rc;
}

int protobuf_read(struct source *src, uint64_t off, uint64_t len,
		  const ProtobufCMessageDescriptor *desc,
		  ProtobufCMessage **out, struct err *e)
{
	struct walk *w = calloc(1, sizeof(*w));
	ProtobufCMessage *msg = NULL;
	int rc = 0;

	if (w)
		w->r = reader_new(src, off, len);
	if (!w || !w->r)
		rc = err_nomem(e, sizeof(*w));
	if (rc == 0)
		rc = walk_message(w, desc, off + len, e);
	if (rc == 0) {
		msg = protobuf_c_message_unpack(desc, NULL, w->len, w->out);
		if (!msg)
			rc = err_set(e, EINVAL, "no %s", desc->short_name);
	}
	if (w) {
		reader_free(w->r);
		free(w->out);
	}
	free(w);
	if (rc == 0)
		*out = msg;
	return rc;
}

void protobuf_free(ProtobufCMessage *msg)
{
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
}

int protobuf_blob(struct source *src, const uint64_t *off, const uint64_t *len,
		  size_t n, struct blob **out, struct err *e)
{
	struct blob *parts[PROTOBUF_RUNS_MAX];

	if (n > PROTOBUF_RUNS_MAX)
		return err_set(e, EOPNOTSUPP, "numbers in %zu parts", n);
	for (size_t i = 0; i < n; i++) {
		int rc = blob_file(src, off[i], len[i], &parts[i], e);

		if (rc == 0)
			continue;
		while (i-- > 0)
			blob_unref(parts[i]);
		return rc;
	}
	*out = n == 1 ? parts[0] : blob_cat(parts, n);
	return *out ? 0 : err_nomem(e, 0);
}
