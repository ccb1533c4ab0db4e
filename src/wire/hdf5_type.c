/* SPDX-License-Identifier: MIT */
/* hdf5_type - datatype and dataspace messages. */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"

#include "wire/hdf5_file.h"

enum class_number {
	CLASS_FIXED,
	CLASS_FLOATING,
	CLASS_TIME,
	CLASS_FIXED_STRING,
	CLASS_BITS,
	CLASS_OPAQUE,
	CLASS_COMPOUND,
	CLASS_REFERENCE,
	CLASS_ENUM,
	CLASS_VLEN
};

struct head {
	unsigned class, version;
	uint32_t bits;
	uint32_t size;
};

static struct head read_head(struct cursor *c)
{
	struct head h;
	uint32_t word = cursor_u32(c);

	h.class = word & 15;
	h.version = word >> 4 & 15;
	h.bits = word >> 8;
	h.size = cursor_u32(c);
	return h;
}

static enum dtype integer(uint32_t size, bool is_signed)
{
	switch (size) {
	case 1:
		return is_signed ? DTYPE_I8 : DTYPE_U8;
	case 2:
		return is_signed ? DTYPE_I16 : DTYPE_U16;
	case 4:
		return is_signed ? DTYPE_I32 : DTYPE_U32;
	case 8:
		return is_signed ? DTYPE_I64 : DTYPE_U64;
	default:
		return DTYPE_NONE;
	}
}

static void read_integer(const struct head *h, struct cursor *c,
			 struct hdf5_type *out)
{
	uint16_t off = cursor_u16(c), precision = cursor_u16(c);

	if (c->bad || off != 0 || precision != 8 * h->size)
		return;
	out->dtype = integer(h->size, h->bits & 8);
	out->class = out->dtype == DTYPE_NONE ? HDF5_OTHER : HDF5_NUMBER;
	out->swap = h->bits & 1 ? h->size : 0;
}

static void read_float(const struct head *h, struct cursor *c,
		       struct hdf5_type *out)
{
	static const struct {
		enum dtype dtype;
		uint32_t size;
		uint8_t exponent, mantissa;
		uint32_t bias;
	} known[] = {
		{DTYPE_F16, 2, 5, 10, 15},
		{DTYPE_BF16, 2, 8, 7, 127},
		{DTYPE_F32, 4, 8, 23, 127},
		{DTYPE_F64, 8, 11, 52, 1023},
	};
	uint16_t off = cursor_u16(c), precision = cursor_u16(c);
	uint8_t exp_at = cursor_u8(c), exp_size = cursor_u8(c);
	uint8_t man_at = cursor_u8(c), man_size = cursor_u8(c);
	uint32_t bias = cursor_u32(c);

	if (c->bad || off != 0 || precision != 8 * h->size || man_at != 0 ||
	    exp_at != man_size || (h->bits & 0x40))
		return;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].size != h->size || known[i].bias != bias ||
		    known[i].exponent != exp_size ||
		    known[i].mantissa != man_size)
			continue;
		out->dtype = known[i].dtype;
		out->class = HDF5_NUMBER;
		out->swap = h->bits & 1 ? h->size : 0;
	}
}

/* What h5py makes of complex numbers: a pair "r", "i" (version 1 only). */
static void read_complex(const struct head *h, struct cursor *c,
			 struct hdf5_type *out)
{
	static const char real[8] = "r";
	const uint8_t *name = cursor_bytes(c, 8);
	uint32_t off = cursor_u32(c);
	struct hdf5_type part = {.class = HDF5_OTHER};
	struct head ph;

	cursor_skip(c, 28);
	ph = read_head(c);
	if (c->bad || h->version != 1 || (h->bits & 0xffff) != 2 || off != 0 ||
	    memcmp(name, real, 8) != 0 || ph.class != CLASS_FLOATING)
		return;
	read_float(&ph, c, &part);
	if (part.class != HDF5_NUMBER || 2 * ph.size != h->size ||
	    (part.dtype != DTYPE_F32 && part.dtype != DTYPE_F64))
		return;
	out->dtype = part.dtype == DTYPE_F32 ? DTYPE_C64 : DTYPE_C128;
	out->class = HDF5_NUMBER;
	out->swap = part.swap;
}

/* NumPy's bool is an enumeration of FALSE and TRUE in one byte. */
static void read_enum(const struct head *h, struct cursor *c,
		      struct hdf5_type *out)
{
	struct head base = read_head(c);

	if (base.class != CLASS_FIXED || base.size != h->size)
		return;
	read_integer(&base, c, out);
	if (out->class == HDF5_NUMBER && h->size == 1 &&
	    (h->bits & 0xffff) == 2 && cursor_left(c) >= 5 &&
	    memcmp(c->p, "FALSE", 5) == 0)
		out->dtype = DTYPE_BOOL;
}

static int parse(const uint8_t *data, size_t len, struct hdf5_type *out,
		 struct err *e)
{
	struct cursor c = cursor_make(data, len, 0);
	struct head h = read_head(&c);

	if (c.bad || h.size == 0)
		return err_set(e, EINVAL, "a datatype is damaged");
	*out = (struct hdf5_type){.class = HDF5_OTHER,
				  .size = h.size,
				  .number = (uint8_t)h.class};
	if (h.class == CLASS_FIXED)
		read_integer(&h, &c, out);
	else if (h.class == CLASS_FLOATING)
		read_float(&h, &c, out);
	else if (h.class == CLASS_COMPOUND)
		read_complex(&h, &c, out);
	else if (h.class == CLASS_ENUM)
		read_enum(&h, &c, out);
	else if (h.class == CLASS_FIXED_STRING)
		out->class = HDF5_TEXT;
	else if (h.class == CLASS_VLEN && (h.bits & 15) == 1)
		out->class = HDF5_VLEN_TEXT;
	return 0;
}

/* A datatype that several datasets share is an object of its own. */
static int find_shared(struct hdf5 *h, const struct hdf5_message **m,
		       struct err *e)
{
	struct cursor c = cursor_make((*m)->data, (*m)->len, 0);
	uint8_t version = cursor_u8(&c), type = cursor_u8(&c);
	const struct hdf5_object *o;
	int rc;

	if (version == 1)
		cursor_skip(&c, 6);
	if (version > 3 || (version == 3 && type != 2))
		return err_set(e, EOPNOTSUPP, "a shared message of type %u",
			       type);
	rc = hdf5_object(h, hdf5_offset(h, &c), &o, e);
	if (rc < 0)
		return rc;
	*m = hdf5_message(o, MESSAGE_DATATYPE);
	if (c.bad || !*m || (*m)->flags & MESSAGE_SHARED)
		return err_set(e, EINVAL, "a shared datatype leads nowhere");
	return 0;
}

int hdf5_type(struct hdf5 *h, const struct hdf5_message *m,
	      struct hdf5_type *out, struct err *e)
{
	int rc = m->flags & MESSAGE_SHARED ? find_shared(h, &m, e) : 0;

	return rc < 0 ? rc : parse(m->data, m->len, out, e);
}

int hdf5_space(const struct hdf5 *h, const uint8_t *data, size_t len,
	       struct shape *out, bool *is_null, struct err *e)
{
	struct cursor c = cursor_make(data, len, 0);
	uint8_t version = cursor_u8(&c), rank = cursor_u8(&c);
	int64_t dims[SHAPE_RANK_MAX];
	uint8_t type;

	cursor_skip(&c, 1);
	type = cursor_u8(&c);
	*is_null = version == 2 && type == 2;
	if (version == 1)
		cursor_skip(&c, 4);
	if (c.bad || version < 1 || version > 2 || rank > SHAPE_RANK_MAX)
		return err_set(e, EINVAL, "a dataspace of version %u, rank %u",
			       version, rank);
	for (uint8_t i = 0; i < rank; i++) {
		uint64_t d = hdf5_length(h, &c);

		if (c.bad || d > INT64_MAX)
			return err_set(e, EINVAL, "extent %u is impossible", i);
		dims[i] = (int64_t)d;
	}
	return shape_set(out, dims, rank, e);
}
