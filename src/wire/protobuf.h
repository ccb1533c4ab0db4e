/* SPDX-License-Identifier: MIT */
/*
 * protobuf - messages from a file, through protobuf-c, without their payloads.
 *
 * A message is first copied to a skeleton that holds only the fields its
 * descriptor knows, and only then unpacked.  A field N is cut out where the
 * message also declares the fields
 *
 *	N + PROTOBUF_OFF	uint64, where in the file its bytes start
 *	N + PROTOBUF_LEN	uint64, and how many there are
 *
 * In the skeleton these two stand for it.  For a bytes field they are
 * optional and the last occurrence counts; for a repeated number they are
 * repeated: one pair for every packed run, and one for every element that was
 * not packed.  A file that carries these two numbers itself is not believed:
 * they are unknown fields.
 *
 * Rules of the encoding: protobuf.dev, "Encoding".
 */
#ifndef WIRE_PROTOBUF_H
#define WIRE_PROTOBUF_H

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

struct blob;
struct err;
struct source;

#define PROTOBUF_OFF 1000
#define PROTOBUF_LEN 2000

/* As in the official parsers. */
#define PROTOBUF_DEPTH_MAX 100
/* Bytes of a skeleton, and of what protobuf-c makes of it. */
#define PROTOBUF_SKELETON_MAX ((uint64_t)256 << 20)
#define PROTOBUF_UNPACKED_MAX ((uint64_t)1 << 30)

/*
 * The message in [off, off + len) of src.  EINVAL when it is malformed, EFBIG
 * over the limits.  To be freed with protobuf_free.
 */
int protobuf_read(struct source *src, uint64_t off, uint64_t len,
		  const ProtobufCMessageDescriptor *desc,
		  ProtobufCMessage **out, struct err *e);
void protobuf_free(ProtobufCMessage *msg);

/* A field of numbers may be in so many runs. */
#define PROTOBUF_RUNS_MAX 64
/*
 * The bytes of a repeated number that was cut out; none of them: no bytes.
 * EOPNOTSUPP for too many runs, as of numbers that were not packed.
 */
int protobuf_blob(struct source *src, const uint64_t *off, const uint64_t *len,
		  size_t n, struct blob **out, struct err *e);

#endif
