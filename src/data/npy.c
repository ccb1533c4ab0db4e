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
#include "modelfs/text.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_LEN 6
#define ALIGN 64
/* NumPy leaves room for the first extent to grow to this many digits. */
#define GROWTH_DIGITS 21
/* Of a header we read; NumPy itself stops at 10,000 bytes. */
#define HEADER_READ_MAX (1u << 20)
/* Nesting inside the descr of a record type. */
#define NESTING_MAX 32
/* Text that a string array may become in memory. */
#define STRINGS_MAX ((uint64_t)1 << 30)

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

/* ---- reading: Python literals ---- */

struct literal {
	const uint8_t *p;
	const uint8_t *end;
};

static void skip_space(struct literal *l)
{
	while (l->p < l->end && memchr(" \t\n\r\f\v", *l->p, 6))
		l->p++;
}

/* The next byte that is no blank, not consumed; 0 at the end. */
static char peek(struct literal *l)
{
	skip_space(l);
	return l->p < l->end ? (char)*l->p : '\0';
}

static bool accept(struct literal *l, char c)
{
	if (c == '\0' || peek(l) != c)
		return false;
	l->p++;
	return true;
}

/* A string without escapes; borrowed. */
static bool read_string(struct literal *l, const uint8_t **s, size_t *len)
{
	char quote = peek(l);
	const uint8_t *start;

	if (quote != '\'' && quote != '"')
		return false;
	start = ++l->p;
	while (l->p < l->end && *l->p != (uint8_t)quote) {
		if (*l->p == '\\' || *l->p == '\n')
			return false;
		l->p++;
	}
	if (l->p == l->end)
		return false;
	*s = start;
	*len = l->p++ - start;
	return true;
}

static bool read_word(struct literal *l, const char *word)
{
	size_t len = strlen(word);

	skip_space(l);
	if ((size_t)(l->end - l->p) < len || memcmp(l->p, word, len) != 0)
		return false;
	l->p += len;
	return true;
}

/* A non-negative integer; Python 2 wrote an L behind long ones. */
static bool read_int(struct literal *l, int64_t *out)
{
	const uint8_t *start;
	int64_t v = 0;

	skip_space(l);
	start = l->p;
	while (l->p < l->end && *l->p >= '0' && *l->p <= '9') {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, *l->p - '0', &v))
			return false;
		l->p++;
	}
	if (l->p == start)
		return false;
	if (l->p < l->end && *l->p == 'L')
		l->p++;
	*out = v;
	return true;
}

static int read_shape(struct literal *l, struct shape *out, struct err *e)
{
	int64_t dims[SHAPE_RANK_MAX];
	size_t rank = 0;

	if (!accept(l, '('))
		return err_set(e, EINVAL, ".npy header: shape is no tuple");
	while (!accept(l, ')')) {
		if (rank == SHAPE_RANK_MAX)
			return err_set(e, EOPNOTSUPP,
				       ".npy header: more than %d axes",
				       SHAPE_RANK_MAX);
		if (!read_int(l, &dims[rank]))
			return err_set(e, EINVAL,
				       ".npy header: bad extent in shape");
		rank++;
		if (!accept(l, ',') && peek(l) != ')')
			return err_set(e, EINVAL,
				       ".npy header: shape not closed");
		if (rank == 1 && l->p[-1] != ',')
			return err_set(e, EINVAL,
				       ".npy header: shape is no tuple");
	}
	return shape_set(out, dims, rank, e);
}

/* Steps over the list of a record type. */
static bool skip_list(struct literal *l)
{
	const uint8_t *s;
	size_t len;
	int depth = 0;

	do {
		char c = peek(l);

		if (c == '\'' || c == '"') {
			if (!read_string(l, &s, &len))
				return false;
			continue;
		}
		if (c == '\0')
			return false;
		if (c == '[' || c == '(')
			depth++;
		if (c == ']' || c == ')')
			depth--;
		if (depth > NESTING_MAX)
			return false;
		l->p++;
	} while (depth > 0);
	return true;
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
	{'c', 8, DTYPE_C64},  {'c', 16, DTYPE_C128},
};

static enum dtype find_descr(char kind, size_t size)
{
	if (kind == 'S' || kind == 'U')
		return DTYPE_STRING;
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

/* "<f4", "|S10", "?": order, kind, size. */
static int parse_descr(const uint8_t *s, size_t len, struct npy_info *info,
		       struct err *e)
{
	struct literal l = {s, s + len};
	int64_t size = 1;
	char order = peek(&l);

	if (order != '\0' && memchr("<>|=", order, 4))
		l.p++;
	if (l.p == l.end || !memchr("?bBiufcmMOSUVa", *l.p, 14))
		return bad_descr(e, EINVAL, s, len);
	info->kind = *l.p == '?' ? 'b' : (char)*l.p;
	l.p++;
	if (l.p < l.end && *l.p != '[' && !read_int(&l, &size))
		return bad_descr(e, EINVAL, s, len);
	if (size > INT32_MAX)
		return bad_descr(e, EINVAL, s, len);
	info->itemsize = info->kind == 'U' ? 4 * (size_t)size : (size_t)size;
	info->swapped = order == '>';
	info->dtype = find_descr(info->kind, info->itemsize);
	if (l.p < l.end && info->kind != 'M' && info->kind != 'm')
		return bad_descr(e, EINVAL, s, len);
	return 0;
}

static int read_descr(struct literal *l, struct npy_info *info, struct err *e)
{
	const uint8_t *s;
	size_t len;

	if (peek(l) == '[' || peek(l) == '(') {
		info->kind = 'V';
		info->dtype = DTYPE_NONE;
		if (!skip_list(l))
			return err_set(e, EINVAL,
				       ".npy header: descr not closed");
		return 0;
	}
	if (!read_string(l, &s, &len))
		return err_set(e, EINVAL, ".npy header: descr is no string");
	return parse_descr(s, len, info, e);
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
	if (read_word(l, "True"))
		info->fortran_order = true;
	else if (read_word(l, "False"))
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

	if (!read_string(l, &s, &len) || !accept(l, ':'))
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
	return read_shape(l, &info->shape, e);
}

static int read_dict(struct literal *l, struct npy_info *info, struct err *e)
{
	unsigned seen = 0;

	if (!accept(l, '{'))
		return err_set(e, EINVAL, ".npy header: no dictionary");
	while (!accept(l, '}')) {
		int rc = read_item(l, info, &seen, e);

		if (rc < 0)
			return rc;
		if (!accept(l, ',') && peek(l) != '}')
			return err_set(e, EINVAL,
				       ".npy header: dictionary not closed");
	}
	skip_space(l);
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
	l.p = buf;
	l.end = buf + len;
	if (rc == 0)
		rc = read_dict(&l, &info, e);
	free(buf);
	if (rc < 0)
		return rc;
	info.data_off = off + len;
	*out = info;
	if (info.dtype == DTYPE_NONE)
		return err_set(e, EOPNOTSUPP,
			       ".npy elements of kind '%c', %zu bytes each",
			       info.kind, info.itemsize);
	return 0;
}

/* ---- reading: elements ---- */

/* Column-major bytes as row-major ones.  Takes data. */
static int reorder(struct blob *data, const struct npy_info *info,
		   struct blob **out, struct err *e)
{
	int64_t strides[SHAPE_RANK_MAX];
	int64_t step = 1;

	for (int32_t i = 0; i < info->shape.rank; i++) {
		strides[i] = step;
		if (__builtin_mul_overflow(step, info->shape.dims[i], &step))
			step = 0; /* only where another extent is 0 */
	}
	return blob_strided(data, info->itemsize, &info->shape, strides, 0, out,
			    e);
}

/* The elements as they are stored, but row-major. */
static int open_elements(struct blob *file, const struct npy_info *info,
			 uint64_t nelems, struct blob **out, struct err *e)
{
	struct blob *data;
	uint64_t nbytes;

	if (__builtin_mul_overflow(nelems, (uint64_t)info->itemsize, &nbytes) ||
	    info->data_off > file->size || nbytes > file->size - info->data_off)
		return err_set(e, EIO,
			       ".npy file of %llu bytes is too short for its "
			       "shape",
			       (unsigned long long)file->size);
	data = blob_slice(blob_ref(file), info->data_off, nbytes);
	if (!data)
		return err_nomem(e, sizeof(struct blob));
	if (!info->fortran_order || info->shape.rank < 2 || nbytes == 0) {
		*out = data;
		return 0;
	}
	return reorder(data, info, out, e);
}

static uint32_t load_ucs4(const uint8_t *p, bool swapped)
{
	uint32_t v = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
		     (uint32_t)p[3] << 24;

	return swapped ? __builtin_bswap32(v) : v;
}

/* One character; U+DC80 + n stands for the byte 0x80 + n that is no UTF-8. */
static size_t encode_char(uint32_t c, char out[4])
{
	if (c >= 0xdc80 && c <= 0xdcff) {
		out[0] = (char)(c - 0xdc00);
		return 1;
	}
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static int add_ucs4(struct string_list *l, const uint8_t *p, size_t nchars,
		    bool swapped, struct err *e)
{
	struct text t = {0};
	char utf8[4];
	int rc = 0;

	while (nchars > 0 && load_ucs4(p + 4 * (nchars - 1), swapped) == 0)
		nchars--;
	for (size_t i = 0; i < nchars && rc == 0; i++) {
		uint32_t c = load_ucs4(p + 4 * i, swapped);

		if (c > 0x10ffff)
			rc = err_set(e, EINVAL, ".npy string: character 0x%x",
				     c);
		else
			text_add_bytes(&t, utf8, encode_char(c, utf8));
	}
	if (rc == 0 && (t.failed || string_list_add(l, t.p ? t.p : "", t.len)))
		rc = err_nomem(e, t.len);
	text_free(&t);
	return rc;
}

static int add_string(struct string_list *l, const struct npy_info *info,
		      const uint8_t *p, struct err *e)
{
	size_t len = info->itemsize;

	if (info->kind == 'U')
		return add_ucs4(l, p, len / 4, info->swapped, e);
	while (len > 0 && p[len - 1] == 0)
		len--;
	if (string_list_add(l, (const char *)p, len) < 0)
		return err_nomem(e, len);
	return 0;
}

static int fill_strings(struct string_list *l, const struct npy_info *info,
			struct blob *data, uint64_t nelems, struct err *e)
{
	uint8_t *buf = malloc(info->itemsize + 1);
	int rc = 0;

	if (!buf)
		return err_nomem(e, info->itemsize);
	for (uint64_t i = 0; i < nelems && rc == 0; i++) {
		rc = blob_read_full(data, buf, info->itemsize,
				    i * info->itemsize, e);
		if (rc == 0)
			rc = add_string(l, info, buf, e);
	}
	free(buf);
	return rc;
}

/* Takes data. */
static int read_strings(struct blob *data, const struct npy_info *info,
			uint64_t nelems, struct blob **out, struct err *e)
{
	struct string_list *l = NULL;
	int rc = 0;

	if (nelems > STRINGS_MAX / sizeof(uint64_t) || data->size > STRINGS_MAX)
		rc = err_set(e, EFBIG, ".npy string array is too large");
	if (rc == 0) {
		l = string_list_new();
		rc = l ? fill_strings(l, info, data, nelems, e)
		       : err_nomem(e, sizeof(void *));
	}
	blob_unref(data);
	if (rc < 0) {
		string_list_free(l);
		return rc;
	}
	*out = string_list_finish(l);
	return *out ? 0 : err_nomem(e, nelems);
}

int npy_read_data(struct blob *file, const struct npy_info *info,
		  struct tensor *out, struct err *e)
{
	struct blob *data;
	uint64_t nelems;
	int rc;

	if (!shape_nelems(&info->shape, &nelems))
		return err_set(e, EINVAL, ".npy shape is too large");
	rc = open_elements(file, info, nelems, &data, e);
	if (rc < 0)
		return rc;
	if (info->dtype == DTYPE_STRING) {
		rc = read_strings(data, info, nelems, &data, e);
		if (rc < 0)
			return rc;
	} else if (info->swapped) {
		data = blob_swap(data, info->kind == 'c' ? info->itemsize / 2
							 : info->itemsize);
		if (!data)
			return err_nomem(e, sizeof(struct blob));
	}
	out->dtype = info->dtype;
	out->shape = info->shape;
	out->data = data;
	return 0;
}

int npy_read(struct blob *file, struct tensor *out, struct err *e)
{
	struct npy_info info;
	int rc = npy_read_header(file, &info, e);

	return rc < 0 ? rc : npy_read_data(file, &info, out, e);
}
