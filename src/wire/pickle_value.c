/* SPDX-License-Identifier: MIT */
/* pickle_value - arguments of opcodes, and the plain values made of them. */
#include <errno.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/reader.h"

#include "wire/pickle_text.h"
#include "wire/pickle_vm.h"

#define LINE_MAX_BYTES (64u << 20)

/* Up to the next newline, without it. */
static int read_line(struct pickle_vm *m, size_t *len)
{
	size_t n = 0;

	for (;;) {
		char c;
		int rc = vm_grow(m, &m->line, &m->line_cap, n + 1, 1);

		if (rc < 0)
			return rc;
		if (n > LINE_MAX_BYTES)
			return vm_fail(m, EFBIG, "a line too long");
		c = (char)reader_u8(m->r);
		if (m->r->bad)
			return vm_fail(m, EINVAL, "no end of line");
		if (c == '\n')
			break;
		m->line[n++] = c;
	}
	*len = n;
	return 0;
}

static int read_text(struct pickle_vm *m, uint64_t len, struct pickle_text *out)
{
	char *p;

	if (!reader_fits(m->r, len, 1))
		return vm_fail(m, EINVAL, "a string beyond the file");
	if (arena_nbytes(m->a) - m->start + len > PICKLE_BYTES_MAX)
		return vm_fail(m, EFBIG, "the pickle is too large");
	p = arena_alloc(m->a, len + 1);
	if (!p)
		return err_nomem(m->e, len);
	reader_bytes(m->r, p, len);
	*out = (struct pickle_text){p, len};
	return m->r->bad ? vm_fail(m, EINVAL, "no string") : 0;
}

int vm_push_string(struct pickle_vm *m, uint64_t len)
{
	struct pickle_node *n = vm_node(m, PICKLE_STRING);
	int rc;

	if (!n)
		return vm_failed(m);
	n->off = m->r->off;
	rc = read_text(m, len, &n->s);
	return rc < 0 ? rc : vm_push(m, n);
}

int vm_push_bytes(struct pickle_vm *m, uint64_t len)
{
	struct pickle_node *n = vm_node(m, PICKLE_BYTES);
	int rc = 0;

	if (!n)
		return vm_failed(m);
	n->off = m->r->off;
	if (!reader_fits(m->r, len, 1))
		return vm_fail(m, EINVAL, "bytes beyond the file");
	if (len <= PICKLE_INLINE_MAX) {
		rc = read_text(m, len, &n->s);
	} else {
		n->s.len = len;
		reader_skip(m->r, len);
	}
	return rc < 0 ? rc : vm_push(m, n);
}

int vm_push_int(struct pickle_vm *m, int64_t v)
{
	struct pickle_node *n = vm_node(m, PICKLE_INT);

	if (n)
		n->i = v;
	return vm_push(m, n);
}

int vm_push_bool(struct pickle_vm *m, bool v)
{
	struct pickle_node *n = vm_node(m, PICKLE_BOOL);

	if (n)
		n->b = v;
	return vm_push(m, n);
}

int vm_push_float(struct pickle_vm *m)
{
	struct pickle_node *n = vm_node(m, PICKLE_FLOAT);
	uint64_t bits = __builtin_bswap64(reader_u64(m->r));

	if (n)
		memcpy(&n->f, &bits, sizeof(bits));
	return vm_push(m, n);
}

/* LONG1 and LONG4: little-endian two's complement. */
int vm_push_long(struct pickle_vm *m, uint64_t len)
{
	struct pickle_node *n = vm_node(m, PICKLE_BIGINT);
	uint64_t v = 0;
	int rc;

	if (!n)
		return vm_failed(m);
	rc = read_text(m, len, &n->s);
	if (rc < 0)
		return rc;
	if (len > 8)
		return vm_push(m, n);
	for (size_t i = 0; i < len; i++)
		v |= (uint64_t)(uint8_t)n->s.p[i] << (8 * i);
	if (len > 0 && len < 8 && (n->s.p[len - 1] & 0x80))
		v |= ~(uint64_t)0 << (8 * len);
	n->kind = PICKLE_INT;
	n->i = (int64_t)v;
	return vm_push(m, n);
}

int vm_push_text_number(struct pickle_vm *m, bool is_long)
{
	struct pickle_node *n = vm_node(m, PICKLE_INT);
	size_t len;
	int rc = n ? read_line(m, &len) : vm_failed(m);

	if (rc < 0)
		return rc;
	if (!pickle_text_int(m->a, m->line, len, is_long, n))
		return vm_fail(m, EINVAL, "no number");
	return vm_push(m, n);
}

int vm_push_text_float(struct pickle_vm *m)
{
	struct pickle_node *n = vm_node(m, PICKLE_FLOAT);
	size_t len;
	int rc = n ? read_line(m, &len) : vm_failed(m);

	if (rc < 0)
		return rc;
	if (!pickle_text_float(m->line, len, &n->f))
		return vm_fail(m, EINVAL, "no number");
	return vm_push(m, n);
}

int vm_push_text_string(struct pickle_vm *m, bool is_quoted)
{
	struct pickle_node *n = vm_node(m, PICKLE_STRING);
	size_t len;
	int rc = n ? read_line(m, &len) : vm_failed(m);
	bool ok;

	if (rc < 0)
		return rc;
	ok = is_quoted ? pickle_text_quoted(m->a, m->line, len, &n->s)
		       : pickle_text_unicode(m->a, m->line, len, &n->s);
	return ok ? vm_push(m, n) : vm_fail(m, EINVAL, "no string");
}

static int read_name(struct pickle_vm *m, struct pickle_text *out)
{
	size_t len;
	int rc = read_line(m, &len);

	if (rc < 0)
		return rc;
	out->p = arena_strndup(m->a, m->line, len);
	out->len = len;
	return out->p ? 0 : err_nomem(m->e, len);
}

int vm_global(struct pickle_vm *m, struct pickle_node **out)
{
	struct pickle_node *n = vm_node(m, PICKLE_GLOBAL);
	int rc = n ? read_name(m, &n->module) : vm_failed(m);

	if (rc == 0)
		rc = read_name(m, &n->name);
	*out = n;
	return rc;
}

/* INT lines of the memo's opcodes. */
int vm_index(struct pickle_vm *m, uint64_t *out)
{
	struct pickle_node n = {0};
	size_t len;
	int rc = read_line(m, &len);

	if (rc < 0)
		return rc;
	if (!pickle_text_int(m->a, m->line, len, true, &n) ||
	    n.kind != PICKLE_INT || n.i < 0)
		return vm_fail(m, EINVAL, "no memo number");
	*out = (uint64_t)n.i;
	return 0;
}

int vm_push_global(struct pickle_vm *m)
{
	struct pickle_node *n;
	int rc = vm_global(m, &n);

	return rc < 0 ? rc : vm_push(m, n);
}

int vm_push_persid(struct pickle_vm *m, struct pickle_node *id)
{
	struct pickle_node *n = id ? vm_node(m, PICKLE_PERSID) : NULL;

	if (n)
		n->callable = id;
	return vm_push(m, n);
}

int vm_text_persid(struct pickle_vm *m)
{
	struct pickle_node *n = vm_node(m, PICKLE_STRING);
	int rc = n ? read_name(m, &n->s) : vm_failed(m);

	return rc < 0 ? rc : vm_push_persid(m, n);
}
