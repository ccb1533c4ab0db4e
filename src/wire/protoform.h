/* SPDX-License-Identifier: MIT */
/*
 * protoform - messages in their other two forms, JSON and text, brought into
 * the binary one, which protobuf_read then reads.
 *
 * Fields are found by their names in the descriptor, in JSON also in camel
 * case; what it does not know is passed over.  As text is declared as bytes,
 * JSON's base64 is undone only for the names in `raw`.  Numbers may be names
 * (DT_FLOAT), which `number` resolves.
 *
 * Rules: protobuf.dev, "ProtoJSON Format" and "Text Format Language".
 */
#ifndef WIRE_PROTOFORM_H
#define WIRE_PROTOFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

struct err;
struct json;
struct text;

/* Bytes of a message made. */
#define PROTOFORM_MAX ((size_t)512 << 20)

struct protoform {
	/* Names of fields whose JSON is base64; NULL at the end. */
	const char *const *raw;
	/* The number behind a name; false: not known. */
	bool (*number)(const char *name, size_t len, int64_t *out);
};

/* Appends the message.  EINVAL, EFBIG. */
int protoform_json(const struct protoform *f,
		   const ProtobufCMessageDescriptor *d, const struct json *v,
		   struct text *out, struct err *e);
int protoform_text(const struct protoform *f,
		   const ProtobufCMessageDescriptor *d, const char *p,
		   size_t len, struct text *out, struct err *e);

/* ---- for the two above ---- */
void protoform_varint(struct text *out, uint64_t v);
/* A number of the field's type; is_real: d, else i. */
int protoform_number(const ProtobufCFieldDescriptor *f, bool is_real, double d,
		     int64_t i, struct text *out, struct err *e);
void protoform_bytes(const ProtobufCFieldDescriptor *f, const char *p,
		     size_t len, struct text *out);
/* EFBIG over the limit, ENOMEM. */
int protoform_check(const struct text *out, struct err *e);

#endif
