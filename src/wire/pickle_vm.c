/* SPDX-License-Identifier: MIT */
/* pickle_vm - see pickle_vm.h: stack, marks and memo. */
#include "wire/pickle_vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/reader.h"

/* Memo indices beyond this are looked up in a map instead of an array. */
#define MEMO_DENSE_MAX 16000000u

int vm_fail(struct pickle_vm *m, int code, const char *what)
{
	if (m->r->bad)
		return err_set(m->e, m->r->err.code, "byte %llu: pickle: %s",
			       (unsigned long long)m->at, m->r->err.msg);
	return err_set(m->e, code, "byte %llu: pickle opcode 0x%02x: %s",
		       (unsigned long long)m->at, m->op, what);
}

int vm_grow(struct pickle_vm *m, void *array, size_t *cap, size_t need,
	    size_t size)
{
	void **p = array;
	size_t n = *cap ? *cap : 64;
	void *q;

	if (need <= *cap)
		return 0;
	while (n < need)
		n *= 2;
	q = realloc(*p, n * size);
	if (!q)
		return err_nomem(m->e, n * size);
	memset((char *)q + *cap * size, 0, (n - *cap) * size);
	*p = q;
	*cap = n;
	return 0;
}

struct pickle_node *vm_node(struct pickle_vm *m, enum pickle_kind kind)
{
	struct pickle_node *n = NULL;

	if (++m->nnodes > PICKLE_NODES_MAX ||
	    arena_nbytes(m->a) - m->start > PICKLE_BYTES_MAX) {
		vm_fail(m, EFBIG, "the pickle is too large");
		return NULL;
	}
	n = arena_alloc(m->a, sizeof(*n));
	if (!n)
		err_nomem(m->e, sizeof(*n));
	else
		n->kind = kind;
	return n;
}

/* Takes what new_node gave: NULL has set the error. */
int vm_push(struct pickle_vm *m, struct pickle_node *n)
{
	int rc;

	if (!n)
		return vm_failed(m);
	rc = vm_grow(m, &m->stack, &m->stack_cap, m->depth + 1,
		     sizeof(*m->stack));
	if (rc < 0)
		return rc;
	m->stack[m->depth++] = n;
	return 0;
}

size_t vm_floor(const struct pickle_vm *m)
{
	return m->nmarks ? m->marks[m->nmarks - 1] : 0;
}

/* NULL, with the error set, when there is nothing above the last mark. */
struct pickle_node *vm_pop(struct pickle_vm *m)
{
	if (m->depth <= vm_floor(m)) {
		vm_fail(m, EINVAL, "the stack is empty");
		return NULL;
	}
	return m->stack[--m->depth];
}

struct pickle_node *vm_top(struct pickle_vm *m)
{
	struct pickle_node *n = vm_pop(m);

	if (n)
		m->depth++;
	return n;
}

int vm_failed(const struct pickle_vm *m)
{
	return -m->e->code;
}

int vm_push_mark(struct pickle_vm *m)
{
	int rc = vm_grow(m, &m->marks, &m->marks_cap, m->nmarks + 1,
			 sizeof(*m->marks));

	if (rc == 0)
		m->marks[m->nmarks++] = m->depth;
	return rc;
}

/* The nodes above the last mark, which goes. */
int vm_pop_mark(struct pickle_vm *m, struct pickle_node ***items, size_t *n)
{
	size_t from;

	if (m->nmarks == 0)
		return vm_fail(m, EINVAL, "no mark");
	from = m->marks[--m->nmarks];
	/* NULL + 0 while nothing was ever pushed. */
	*items = m->stack ? m->stack + from : NULL;
	*n = m->depth - from;
	m->depth = from;
	return 0;
}

int vm_add_items(struct pickle_vm *m, struct pickle_node *n,
		 struct pickle_node **items, size_t count)
{
	size_t need = n->nitems + count, cap = n->cap;
	struct pickle_node **p;

	if (count == 0)
		return 0;
	if (need > cap) {
		cap = cap ? cap * 2 : count;
		cap = cap < need ? need : cap;
		p = arena_array(m->a, cap, sizeof(*p));
		if (!p)
			return err_nomem(m->e, cap * sizeof(*p));
		if (n->nitems)
			memcpy(p, n->items, n->nitems * sizeof(*p));
		n->items = p;
		n->cap = cap;
		if (arena_nbytes(m->a) - m->start > PICKLE_BYTES_MAX)
			return vm_fail(m, EFBIG, "the pickle is too large");
	}
	memcpy(n->items + n->nitems, items, count * sizeof(*items));
	n->nitems = need;
	return 0;
}

/* ---- memo ---- */

static int memo_put(struct pickle_vm *m, uint64_t idx, struct pickle_node *n)
{
	uint64_t *key, old;
	int rc;

	if (idx < MEMO_DENSE_MAX && idx < 4 * m->nmemo + 4096) {
		rc = vm_grow(m, &m->memo, &m->memo_cap, idx + 1,
			     sizeof(*m->memo));
		if (rc < 0)
			return rc;
		m->nmemo += !m->memo[idx];
		m->memo[idx] = n;
		return 0;
	}
	if (!m->sparse)
		m->sparse = map_new();
	if (m->sparse)
		m->nmemo += !map_get(m->sparse, &idx, sizeof(idx), &old);
	key = arena_alloc(m->a, sizeof(*key));
	if (!m->sparse || !key)
		return err_nomem(m->e, sizeof(*key));
	*key = idx;
	rc = map_set(m->sparse, key, sizeof(*key), (uintptr_t)n);
	return rc < 0 ? err_nomem(m->e, sizeof(*key)) : 0;
}

int vm_get(struct pickle_vm *m, uint64_t idx)
{
	uint64_t found;

	if (idx < m->memo_cap && m->memo[idx])
		return vm_push(m, m->memo[idx]);
	if (m->sparse && map_get(m->sparse, &idx, sizeof(idx), &found))
		return vm_push(m, (struct pickle_node *)(uintptr_t)found);
	return vm_fail(m, EINVAL, "nothing was kept under this number");
}

int vm_put(struct pickle_vm *m, uint64_t idx)
{
	struct pickle_node *n = vm_top(m);

	return n ? memo_put(m, idx, n) : vm_failed(m);
}
