/* SPDX-License-Identifier: MIT */
/*
 * npy - NumPy's file format (numpy/lib/format.py, versions 1.0 to 3.0).
 *
 * "\x93NUMPY", major, minor, length of the header (2 bytes in version 1, else
 * 4, little-endian), then a Python dictionary with exactly the keys descr,
 * fortran_order and shape, then the elements.
 */
#include "modelfs/npy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/cursor.h"
#include "modelfs/err.h"

#include "data/literal.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_LEN 6
#define ALIGN 64
/* NumPy leaves room for the first extent to grow to this many digits. */
#define GROWTH_DIGITS 21
/* Of a header we read; NumPy itself stops at 10,000 bytes. */
#define HEADER_READ_MAX (1u << 20)

/* ---- writing ---- */

static size_t add_shape(char *buf, size_t room, const struct shape *s)
{
	size_t len = 0;

	for (int32_t i = 0; i < s->rank; i++)
		len += snprintf(buf + len, room - len, "%s%" PRId64,
				i ? ", " : "", s->dims[i]);
	if (s->rank == 1)
		len += snprintf(buf + len, room - len, ",");
	return len;
}

size_t npy_header(char buf[NPY_HEADER_MAX], const char *descr,
		  const struct shape *shape)
{
	size_t start = MAGIC_LEN + 4;
	size_t len = start;
	size_t growth = 0;

	len += snprintf(buf + len, NPY_HEADER_MAX - len,
			"{'descr': '%.32s', 'fortran_order': False, "
			"'shape': (",
			descr);
	len += add_shape(buf + len, NPY_HEADER_MAX - len, shape);
	len += snprintf(buf + len, NPY_HEADER_MAX - len, "), }");
	if (shape->rank > 0)
		growth = GROWTH_DIGITS -
			 snprintf(NULL, 0, "%" PRId64, shape->dims[0]);
	/* As NumPy pads: at least one blank, then the newline. */
	growth += ALIGN - (len + growth + 1) % ALIGN;
	memset(buf + len, ' ', growth);
	len += growth;
	buf[len++] = '\n';
	memcpy(buf, MAGIC "\x01\x00", MAGIC_LEN + 2);
	buf[MAGIC_LEN + 2] = (char)((len - start) & 0xff);
	buf[MAGIC_LEN + 3] = (char)((len - start) >> 8);
	return len;
}

/* ---- reading ---- */

int npy_parse_shape(struct literal *l, struct shape *out, struct err *e)
{
	int64_t dims[SHAPE_RANK_MAX];
	size_t rank = 0;

	if (!literal_accept(l, '('))
		return err_set(e, EINVAL, ".npy header: shape is no tuple");
	while (!literal_accept(l, ')')) {
		if (rank == SHAPE_RANK_MAX)
			return err_set(e, EOPNOTSUPP,
				       ".npy header: more than %d axes",
				       SHAPE_RANK_MAX);
		if (!literal_int(l, &dims[rank]))
			return err_set(e, EINVAL,
				       ".npy header: bad extent in shape");
		rank++;
		if (!literal_accept(l, ',') && literal_peek(l) != ')')
			return err_set(e, EINVAL,
				       ".npy header: shape not closed");
		if (rank == 1 && l->p[-1] != ',')
			return err_set(e, EINVAL,
				       ".npy header: shape is no tuple");
	}
	return shape_set(out, dims, rank, e);
}

struct descr {
	char kind;
	size_t size;
	enum dtype dtype;
};

static const struct descr descrs[] = {
	{'b', 1, DTYPE_BOOL}, {'u', 1, DTYPE_U8},    {'i', 1, DTYPE_I8},
	{'u', 2, DTYPE_U16},  {'i', 2, DTYPE_I16},   {'u', 4, DTYPE_U32},
	{'i', 4, DTYPE_I32},  {'u', 8, DTYPE_U64},   {'i', 8, DTYPE_I64},
	{'f', 2, DTYPE_F16},  {'f', 4, DTYPE_F32},   {'f', 8, DTYPE_F64},
	{'c', 8, DTYPE_C64},  {'c', 16, DTYPE_C128}, {'M', 8, DTYPE_I64},
	{'m', 8, DTYPE_I64},
};

static enum dtype find_descr(char kind, size_t size)
{
	if (kind == 'S' || kind == 'U')
		return DTYPE_STRING;
	if (kind == 'V' && size > 0)
		return DTYPE_U8;
	for (size_t i = 0; i < sizeof(descrs) / sizeof(descrs[0]); i++)
		if (descrs[i].kind == kind && descrs[i].size == size)
			return descrs[i].dtype;
	return DTYPE_NONE;
}

static int bad_descr(struct err *e, int code, const uint8_t *s, size_t len)
{
	char quoted[ERR_QUOTED];

	return err_set(e, code, ".npy header: descr '%s'%s",
		       err_quote(quoted, (const char *)s, len),
		       code == EOPNOTSUPP ? " is not supported" : "");
}

int npy_parse_descr(const void *text, size_t len, struct npy_info *info,
		    struct err *e)
{
	const uint8_t *s = text;
	struct literal l = {s, s + len, s};
	int64_t size = 1;
	char order = literal_peek(&l);

	if (order != '\0' && memchr("<>|=", order, 4))
		l.p++;
	if (l.p == l.end || !memchr("?bBiufcmMOSUVa", *l.p, 14))
		return bad_descr(e, EINVAL, s, len);
	info->kind = *l.p == '?' ? 'b' : (char)*l.p;
	l.p++;
	if (l.p < l.end && *l.p != '[' && !literal_int(&l, &size))
		return bad_descr(e, EINVAL, s, len);
	if (size > INT32_MAX)
		return bad_descr(e, EINVAL, s, len);
	info->itemsize = info->kind == 'U' ? 4 * (size_t)size : (size_t)size;
	info->swapped = order == '>';
	info->dtype = find_descr(info->kind, info->itemsize);
	len = len < sizeof(info->descr) ? len : sizeof(info->descr) - 1;
	memcpy(info->descr, s, len);
	info->descr[len] = '\0';
	if (l.p < l.end && info->kind != 'M' && info->kind != 'm')
		return bad_descr(e, EINVAL, s, len);
	return 0;
}

static int read_descr(struct literal *l, struct npy_info *info, struct err *e)
{
	const uint8_t *s;
	size_t len;

	if (literal_peek(l) == '[' || literal_peek(l) == '(') {
		s = l->p;
		info->kind = 'V';
		info->dtype = DTYPE_NONE;
		if (!literal_skip(l))
			return err_set(e, EINVAL,
				       ".npy header: descr not closed");
		info->record_len = (size_t)(l->p - s);
		info->record_off = (uint64_t)(s - l->start);
		return 0;
	}
	if (!literal_string(l, &s, &len))
		return err_set(e, EINVAL, ".npy header: descr is no string");
	return npy_parse_descr(s, len, info, e);
}

enum { KEY_DESCR = 1, KEY_ORDER = 2, KEY_SHAPE = 4, KEY_ALL = 7 };

static unsigned find_key(const uint8_t *s, size_t len)
{
	if (len == 5 && memcmp(s, "descr", 5) == 0)
		return KEY_DESCR;
	if (len == 13 && memcmp(s, "fortran_order", 13) == 0)
		return KEY_ORDER;
	if (len == 5 && memcmp(s, "shape", 5) == 0)
		return KEY_SHAPE;
	return 0;
}

static int read_order(struct literal *l, struct npy_info *info, struct err *e)
{
	if (literal_word(l, "True"))
		info->fortran_order = true;
	else if (literal_word(l, "False"))
		info->fortran_order = false;
	else
		return err_set(e, EINVAL,
			       ".npy header: fortran_order is no bool");
	return 0;
}

/* One "key: value" of the dictionary. */
static int read_item(struct literal *l, struct npy_info *info, unsigned *seen,
		     struct err *e)
{
	const uint8_t *s;
	size_t len;
	unsigned key;

	if (!literal_string(l, &s, &len) || !literal_accept(l, ':'))
		return err_set(e, EINVAL,
			       ".npy header: no key where one "
			       "should be");
	key = find_key(s, len);
	if (key == 0 || (*seen & key))
		return err_set(e, EINVAL, ".npy header: unknown or second key");
	*seen |= key;
	if (key == KEY_DESCR)
		return read_descr(l, info, e);
	if (key == KEY_ORDER)
		return read_order(l, info, e);
	return npy_parse_shape(l, &info->shape, e);
}

static int read_dict(struct literal *l, struct npy_info *info, struct err *e)
{
	unsigned seen = 0;

	if (!literal_accept(l, '{'))
		return err_set(e, EINVAL, ".npy header: no dictionary");
	while (!literal_accept(l, '}')) {
		int rc = read_item(l, info, &seen, e);

		if (rc < 0)
			return rc;
		if (!literal_accept(l, ',') && literal_peek(l) != '}')
			return err_set(e, EINVAL,
				       ".npy header: dictionary not closed");
	}
	literal_blank(l);
	if (l->p != l->end)
		return err_set(e, EINVAL,
			       ".npy header: more than a dictionary");
	if (seen != KEY_ALL)
		return err_set(e, EINVAL, ".npy header: a key is missing");
	return 0;
}

/* Where the dictionary lies. */
static int find_dict(struct blob *file, uint64_t *off, size_t *len,
		     struct err *e)
{
	uint8_t head[12] = {0};
	struct cursor c;
	size_t got;
	int rc = blob_read(file, head, sizeof(head), 0, &got, e);

	if (rc < 0)
		return rc;
	if (got < 10 || memcmp(head, MAGIC, MAGIC_LEN) != 0)
		return err_set(e, EINVAL, "not a .npy file");
	if (head[6] < 1 || head[6] > 3)
		return err_set(e, EOPNOTSUPP, ".npy version %d", head[6]);
	c = cursor_make(head + 8, got - 8, 8);
	*len = head[6] == 1 ? cursor_u16(&c) : cursor_u32(&c);
	*off = head[6] == 1 ? 10 : 12;
	if (c.bad || *len > HEADER_READ_MAX || *off > file->size ||
	    *len > file->size - *off)
		return err_set(e, EINVAL,
			       ".npy header is longer than the file");
	return 0;
}

int npy_read_header(struct blob *file, struct npy_info *out, struct err *e)
{
	struct npy_info info = {.dtype = DTYPE_NONE};
	struct literal l;
	uint8_t *buf;
	uint64_t off = 0;
	size_t len = 0;
	int rc = find_dict(file, &off, &len, e);

	if (rc < 0)
		return rc;
	buf = malloc(len + 1);
	if (!buf)
		return err_nomem(e, len);
	rc = blob_read_full(file, buf, len, off, e);
	l = (struct literal){buf, buf + len, buf};
	if (rc == 0)
		rc = read_dict(&l, &info, e);
	free(buf);
	if (rc < 0)
		return rc;
	info.data_off = off + len;
	info.record_off += off;
	*out = info;
	if (info.dtype == DTYPE_NONE)
		return err_set(e, EOPNOTSUPP,
			       ".npy elements of kind '%c', %zu bytes each",
			       info.kind, info.itemsize);
	return 0;
}
