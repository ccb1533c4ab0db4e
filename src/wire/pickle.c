/* SPDX-License-Identifier: MIT */
/*
 * pickle - see pickle.h: the opcodes, numbered as in CPython's pickletools.py.
 */
#include "wire/pickle.h"

#include <errno.h>
#include <stdlib.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/reader.h"

#include "wire/pickle_vm.h"

/* Arrays of objects inside of arrays of objects. */
#define LEVEL_MAX 8

static int signed_length(struct pickle_vm *m, uint64_t *out)
{
	int32_t len = (int32_t)reader_u32(m->r);

	if (len < 0)
		return vm_fail(m, EINVAL, "a negative length");
	*out = (uint64_t)len;
	return 0;
}

static int run_text(struct pickle_vm *m)
{
	uint64_t idx = 0;
	int rc;

	switch (m->op) {
	case 'F':
		return vm_push_text_float(m);
	case 'I':
		return vm_push_text_number(m, false);
	case 'L':
		return vm_push_text_number(m, true);
	case 'S':
		return vm_push_text_string(m, true);
	case 'V':
		return vm_push_text_string(m, false);
	case 'P':
		return vm_text_persid(m);
	case 'c':
		return vm_push_global(m);
	case 'i':
		return vm_inst(m);
	case 'g':
		rc = vm_index(m, &idx);
		return rc < 0 ? rc : vm_get(m, idx);
	case 'p':
		rc = vm_index(m, &idx);
		return rc < 0 ? rc : vm_put(m, idx);
	default:
		return vm_fail(m, EINVAL, "no opcode");
	}
}

static int run_number(struct pickle_vm *m)
{
	uint64_t len = 0;
	int rc;

	switch (m->op) {
	case 'J':
		return vm_push_int(m, (int32_t)reader_u32(m->r));
	case 'K':
		return vm_push_int(m, reader_u8(m->r));
	case 'M':
		len = reader_u8(m->r);
		len |= (uint64_t)reader_u8(m->r) << 8;
		return vm_push_int(m, (int64_t)len);
	case 'G':
		return vm_push_float(m);
	case 0x8a: /* LONG1 */
		return vm_push_long(m, reader_u8(m->r));
	case 0x8b: /* LONG4 */
		rc = signed_length(m, &len);
		return rc < 0 ? rc : vm_push_long(m, len);
	default:
		return run_text(m);
	}
}

static int run_string(struct pickle_vm *m)
{
	uint64_t len = 0;
	int rc;

	switch (m->op) {
	case 'U':  /* SHORT_BINSTRING */
	case 0x8c: /* SHORT_BINUNICODE */
		return vm_push_string(m, reader_u8(m->r));
	case 'X': /* BINUNICODE */
		return vm_push_string(m, reader_u32(m->r));
	case 0x8d: /* BINUNICODE8 */
		return vm_push_string(m, reader_u64(m->r));
	case 'T': /* BINSTRING */
		rc = signed_length(m, &len);
		return rc < 0 ? rc : vm_push_string(m, len);
	case 'C': /* SHORT_BINBYTES */
		return vm_push_bytes(m, reader_u8(m->r));
	case 'B': /* BINBYTES */
		return vm_push_bytes(m, reader_u32(m->r));
	case 0x8e: /* BINBYTES8 */
	case 0x96: /* BYTEARRAY8 */
		return vm_push_bytes(m, reader_u64(m->r));
	default:
		return run_number(m);
	}
}

static int run_object(struct pickle_vm *m)
{
	switch (m->op) {
	case 'R': /* REDUCE */
		return vm_reduce(m, 1, false);
	case 0x81: /* NEWOBJ */
		return vm_reduce(m, 1, true);
	case 0x92: /* NEWOBJ_EX */
		return vm_reduce(m, 2, true);
	case 'o': /* OBJ */
		return vm_object(m, NULL);
	case 'b': /* BUILD */
		return vm_build(m);
	case 0x93: /* STACK_GLOBAL */
		return vm_stack_global(m);
	case 'Q': /* BINPERSID */
		return vm_push_persid(m, vm_pop(m));
	case 0x82: /* EXT1, EXT2, EXT4: a registry of Python's own */
	case 0x83:
	case 0x84:
		return vm_fail(m, EOPNOTSUPP, "an extension");
	case 0x97: /* NEXT_BUFFER, READONLY_BUFFER */
	case 0x98:
		return vm_fail(m, EOPNOTSUPP, "a buffer outside the pickle");
	default:
		return run_string(m);
	}
}

static int run_container(struct pickle_vm *m)
{
	switch (m->op) {
	case ')':
		return vm_push_items(m, PICKLE_TUPLE, 0);
	case 0x85:
	case 0x86:
	case 0x87:
		return vm_push_items(m, PICKLE_TUPLE, m->op - 0x84u);
	case 't':
		return vm_push_marked(m, PICKLE_TUPLE);
	case ']':
		return vm_push_items(m, PICKLE_LIST, 0);
	case 'l':
		return vm_push_marked(m, PICKLE_LIST);
	case '}':
		return vm_push_items(m, PICKLE_DICT, 0);
	case 'd':
		return vm_push_marked(m, PICKLE_DICT);
	case 0x8f: /* EMPTY_SET */
		return vm_push_items(m, PICKLE_SET, 0);
	case 0x91: /* FROZENSET */
		return vm_push_marked(m, PICKLE_SET);
	case 'a':
		return vm_extend_top(m, 1, PICKLE_LIST);
	case 'e':
		return vm_extend_marked(m, PICKLE_LIST);
	case 's':
		return vm_extend_top(m, 2, PICKLE_DICT);
	case 'u':
		return vm_extend_marked(m, PICKLE_DICT);
	case 0x90: /* ADDITEMS */
		return vm_extend_marked(m, PICKLE_SET);
	default:
		return run_object(m);
	}
}

/* POP of a mark is legal, too. */
static int run_pop(struct pickle_vm *m)
{
	if (m->nmarks > 0 && m->depth == vm_floor(m)) {
		m->nmarks--;
		return 0;
	}
	return vm_pop(m) ? 0 : vm_failed(m);
}

static int skip_frame(struct pickle_vm *m)
{
	uint64_t len = reader_u64(m->r);

	return reader_fits(m->r, len, 1)
		       ? 0
		       : vm_fail(m, EINVAL, "a frame beyond the file");
}

static int run_stack(struct pickle_vm *m)
{
	struct pickle_node **items;
	size_t count;

	switch (m->op) {
	case 0x80: /* PROTO */
		return reader_u8(m->r) <= 5
			       ? 0
			       : vm_fail(m, EOPNOTSUPP, "an unknown protocol");
	case 0x95:
		return skip_frame(m);
	case '(':
		return vm_push_mark(m);
	case '0':
		return run_pop(m);
	case '1':
		return vm_pop_mark(m, &items, &count);
	case '2':
		return vm_top(m) ? vm_push(m, vm_top(m)) : vm_failed(m);
	case 'N':
		return vm_push(m, vm_node(m, PICKLE_NONE));
	case 0x88:
	case 0x89:
		return vm_push_bool(m, m->op == 0x88);
	case 'h':
		return vm_get(m, reader_u8(m->r));
	case 'j':
		return vm_get(m, reader_u32(m->r));
	case 'q':
		return vm_put(m, reader_u8(m->r));
	case 'r':
		return vm_put(m, reader_u32(m->r));
	case 0x94: /* MEMOIZE */
		return vm_put(m, m->nmemo);
	default:
		return run_container(m);
	}
}

static int run(struct pickle_vm *m, struct pickle_node **out)
{
	for (;;) {
		int rc;

		m->at = m->r->off;
		m->op = reader_u8(m->r);
		if (m->r->bad)
			return vm_fail(m, EINVAL, "no STOP");
		if (m->op == '.')
			break;
		rc = run_stack(m);
		if (rc < 0)
			return rc;
		if (m->r->bad)
			return vm_fail(m, EINVAL, "the file ends");
	}
	*out = vm_pop(m);
	return *out ? 0 : vm_failed(m);
}

static void free_machine(struct pickle_vm *m)
{
	free(m->stack);
	free(m->marks);
	free(m->memo);
	free(m->line);
	map_free(m->sparse);
}

int vm_run_nested(struct pickle_vm *m, struct pickle_node **out)
{
	struct pickle_vm inner = {.r = m->r,
				  .a = m->a,
				  .e = m->e,
				  .start = m->start,
				  .nnodes = m->nnodes,
				  .level = m->level + 1};
	int rc;

	if (m->level == LEVEL_MAX)
		return vm_fail(m, EFBIG, "pickles nest too deeply");
	rc = run(&inner, out);
	m->nnodes = inner.nnodes;
	free_machine(&inner);
	return rc;
}

int pickle_read(struct reader *r, struct arena *a, struct pickle_node **out,
		struct err *e)
{
	struct err local = {0};
	struct pickle_vm m = {
		.r = r, .a = a, .e = &local, .start = arena_nbytes(a)};
	struct pickle_node *root = NULL;
	int rc = run(&m, &root);

	free_machine(&m);
	if (rc == 0)
		*out = root;
	else if (e)
		*e = local;
	return rc;
}
