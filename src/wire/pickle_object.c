/* SPDX-License-Identifier: MIT */
/* pickle_object - containers, calls and objects, and the arrays of joblib. */
#include <errno.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/reader.h"

#include "wire/pickle_vm.h"

/* ---- containers ---- */

int vm_push_items(struct pickle_vm *m, enum pickle_kind kind, size_t count)
{
	struct pickle_node *n = vm_node(m, kind);
	int rc;

	if (!n)
		return vm_failed(m);
	if (m->depth - vm_floor(m) < count)
		return vm_fail(m, EINVAL, "the stack is empty");
	m->depth -= count;
	rc = vm_add_items(m, n, m->stack ? m->stack + m->depth : NULL, count);
	return rc < 0 ? rc : vm_push(m, n);
}

int vm_push_marked(struct pickle_vm *m, enum pickle_kind kind)
{
	struct pickle_node *n = vm_node(m, kind), **items = NULL;
	size_t count = 0;
	int rc = n ? vm_pop_mark(m, &items, &count) : vm_failed(m);

	if (rc == 0 && kind == PICKLE_DICT && count % 2 != 0)
		rc = vm_fail(m, EINVAL, "a key without a value");
	if (rc == 0)
		rc = vm_add_items(m, n, items, count);
	return rc < 0 ? rc : vm_push(m, n);
}

/* What is appended to or set in the node on top must be able to hold it. */
static int extend(struct pickle_vm *m, struct pickle_node **items, size_t count,
		  enum pickle_kind kind)
{
	struct pickle_node *n = vm_top(m);
	bool pairs = kind == PICKLE_DICT;

	if (!n)
		return vm_failed(m);
	if (pairs && count % 2 != 0)
		return vm_fail(m, EINVAL, "a key without a value");
	if (n->kind == PICKLE_OBJECT) {
		if (n->nitems > 0 && n->has_pairs != pairs)
			return vm_fail(m, EINVAL, "neither a list nor a dict");
		n->has_pairs = pairs;
	} else if (n->kind != kind) {
		return vm_fail(m, EINVAL, "the object takes no items");
	}
	return vm_add_items(m, n, items, count);
}

int vm_extend_top(struct pickle_vm *m, size_t count, enum pickle_kind kind)
{
	if (m->depth - vm_floor(m) < count + 1)
		return vm_fail(m, EINVAL, "the stack is empty");
	m->depth -= count;
	return extend(m, m->stack + m->depth, count, kind);
}

int vm_extend_marked(struct pickle_vm *m, enum pickle_kind kind)
{
	struct pickle_node **items = NULL;
	size_t count = 0;
	int rc = vm_pop_mark(m, &items, &count);

	return rc < 0 ? rc : extend(m, items, count, kind);
}

/* ---- objects ---- */

/* "abc" of (str, "latin1") as bytes: how protocol 2 writes them. */
static struct pickle_node *decode_latin1(struct pickle_vm *m,
					 const struct pickle_text *s)
{
	struct pickle_node *n = vm_node(m, PICKLE_BYTES);
	char *p = n ? arena_alloc(m->a, s->len + 1) : NULL;
	size_t len = 0;

	if (!p)
		return NULL;
	for (size_t i = 0; i < s->len; i++) {
		uint8_t c = (uint8_t)s->p[i];

		if ((c & 0xfe) == 0xc2 && i + 1 < s->len)
			c = (uint8_t)(c << 6 | (s->p[++i] & 0x3f));
		p[len++] = (char)c;
	}
	n->s = (struct pickle_text){p, len};
	return n;
}

static bool is_builtin(const struct pickle_node *f, const char *name)
{
	return pickle_is_global(f, "builtins", name) ||
	       pickle_is_global(f, "__builtin__", name);
}

static bool is_dict_class(const struct pickle_node *f)
{
	return pickle_is_global(f, "collections", "OrderedDict") ||
	       pickle_is_global(f, "collections", "defaultdict") ||
	       pickle_is_global(f, "collections", "Counter") ||
	       is_builtin(f, "dict");
}

/* OrderedDict([[key, value], …]), as Python 2 wrote it; Counter({…}). */
static int add_pairs(struct pickle_vm *m, struct pickle_node *dict,
		     const struct pickle_node *list)
{
	int rc = 0;

	if (list && list->kind == PICKLE_DICT)
		return vm_add_items(m, dict, list->items, list->nitems);
	if (!list || list->kind != PICKLE_LIST)
		return 0;
	for (size_t i = 0; rc == 0 && i < list->nitems; i++) {
		const struct pickle_node *pair = list->items[i];

		if (!pickle_item(pair, 1) || pair->nitems != 2)
			return vm_fail(m, EINVAL, "a dict without pairs");
		rc = vm_add_items(m, dict, pair->items, 2);
	}
	return rc;
}

/* Containers and bytes that older protocols write as calls. */
static int simplify(struct pickle_vm *m, struct pickle_node *f,
		    struct pickle_node *args, struct pickle_node **out)
{
	const struct pickle_node *first = pickle_item(args, 0);

	*out = NULL;
	if (is_dict_class(f)) {
		*out = vm_node(m, PICKLE_DICT);
		if (!*out)
			return vm_failed(m);
		(*out)->class = f;
		return add_pairs(m, *out, first);
	}
	if ((is_builtin(f, "set") || is_builtin(f, "frozenset")) &&
	    (!first || first->kind == PICKLE_LIST)) {
		*out = vm_node(m, PICKLE_SET);
		if (!*out || !first)
			return *out ? 0 : vm_failed(m);
		return vm_add_items(m, *out, first->items, first->nitems);
	}
	if (is_builtin(f, "bytes") && args->kind == PICKLE_TUPLE && !first) {
		*out = vm_node(m, PICKLE_BYTES);
		if (!*out)
			return vm_failed(m);
		(*out)->s.p = "";
		return 0;
	}
	if (pickle_is_global(f, "_codecs", "encode") && first &&
	    first->kind == PICKLE_STRING) {
		*out = decode_latin1(m, &first->s);
		return *out ? 0 : vm_failed(m);
	}
	return 0;
}

/*
 * copyreg's own calls: __newobj__(class, ...) and, of protocols 0 and 1,
 * _reconstructor(class, base, state or None).
 */
static int unwrap_call(struct pickle_vm *m, struct pickle_node **f,
		       struct pickle_node **args)
{
	struct pickle_node *old = *args, *n;
	bool is_copyreg = pickle_is_global(*f, "copyreg", "__newobj__") ||
			  pickle_is_global(*f, "copy_reg", "__newobj__");
	size_t skip = 1;

	if (!is_copyreg) {
		is_copyreg =
			pickle_is_global(*f, "copyreg", "_reconstructor") ||
			pickle_is_global(*f, "copy_reg", "_reconstructor");
		skip = 2;
	}
	if (!is_copyreg || !pickle_item(old, skip - 1))
		return 0;
	if (skip == 2 && pickle_item(old, 2) &&
	    old->items[2]->kind == PICKLE_NONE)
		skip = old->nitems;
	n = vm_node(m, PICKLE_TUPLE);
	if (!n)
		return vm_failed(m);
	*f = old->items[0];
	n->items = old->items + skip;
	n->nitems = old->nitems - skip;
	*args = n;
	return 0;
}

static int push_call(struct pickle_vm *m, struct pickle_node *f,
		     struct pickle_node *args, bool is_new)
{
	struct pickle_node *n = NULL;
	int rc = unwrap_call(m, &f, &args);

	if (rc == 0)
		rc = simplify(m, f, args, &n);
	if (rc < 0 || n)
		return rc < 0 ? rc : vm_push(m, n);
	n = vm_node(m, PICKLE_OBJECT);
	if (n) {
		n->callable = f;
		n->args = args;
		n->is_new = is_new;
	}
	return vm_push(m, n);
}

/* REDUCE and NEWOBJ: callable and arguments; NEWOBJ_EX: and keywords. */
int vm_reduce(struct pickle_vm *m, size_t nargs, bool is_new)
{
	struct pickle_node *kwargs = nargs > 1 ? vm_pop(m) : NULL;
	struct pickle_node *args, *f;

	if (nargs > 1 && !kwargs)
		return vm_failed(m);
	args = vm_pop(m);
	f = args ? vm_pop(m) : NULL;
	return f ? push_call(m, f, args, is_new) : vm_failed(m);
}

/* OBJ and INST: the arguments are above the mark. */
int vm_object(struct pickle_vm *m, struct pickle_node *f)
{
	struct pickle_node *args = vm_node(m, PICKLE_TUPLE), **items = NULL;
	size_t count = 0;
	int rc = args ? vm_pop_mark(m, &items, &count) : vm_failed(m);

	if (rc < 0)
		return rc;
	if (!f) {
		if (count == 0)
			return vm_fail(m, EINVAL, "no class");
		f = *items++;
		count--;
	}
	rc = vm_add_items(m, args, items, count);
	return rc < 0 ? rc : push_call(m, f, args, true);
}

int vm_inst(struct pickle_vm *m)
{
	struct pickle_node *f;
	int rc = vm_global(m, &f);

	return rc < 0 ? rc : vm_object(m, f);
}

/* ---- arrays of joblib ---- */

/* "f8" of numpy.dtype("f8", …); 0: none of a fixed size. */
static uint64_t dtype_nbytes_of(const struct pickle_node *dtype, bool *objects)
{
	const struct pickle_node *name = pickle_arg(dtype, 0);
	uint64_t size = 0;

	*objects = false;
	if (!name || name->kind != PICKLE_STRING || !name->s.p ||
	    name->s.len < 2)
		return 0;
	*objects = name->s.p[0] == 'O';
	for (size_t i = 1; i < name->s.len; i++) {
		if (name->s.p[i] < '0' || name->s.p[i] > '9' || size > 1 << 24)
			return 0;
		size = 10 * size + (uint64_t)(name->s.p[i] - '0');
	}
	return name->s.p[0] == 'U' ? 4 * size : size;
}

/* The padding in front of the data: its length, and so many bytes. */
static void skip_padding(struct pickle_vm *m, const struct pickle_node *state)
{
	const struct pickle_node *n =
		pickle_get(state, "numpy_array_alignment_bytes");

	if (n && n->kind == PICKLE_INT)
		reader_skip(m->r, reader_u8(m->r));
}

/* Bytes of the elements; false: the state makes no sense. */
static bool count_bytes(const struct pickle_node *state, uint64_t size,
			uint64_t *out)
{
	const struct pickle_node *shape = pickle_get(state, "shape");

	if (size == 0 || !shape || shape->kind != PICKLE_TUPLE)
		return false;
	*out = size;
	for (size_t i = 0; i < shape->nitems; i++) {
		const struct pickle_node *dim = shape->items[i];

		if (dim->kind != PICKLE_INT || dim->i < 0 ||
		    __builtin_mul_overflow(*out, (uint64_t)dim->i, out))
			return false;
	}
	return true;
}

/*
 * joblib puts the elements of an array into the stream, right behind the BUILD
 * of its wrapper (joblib/numpy_pickle.py); of objects, a pickle of them.  They
 * become the wrapper's argument.
 */
static int read_raw_array(struct pickle_vm *m, struct pickle_node *n)
{
	struct pickle_node *data, *args = vm_node(m, PICKLE_TUPLE);
	uint64_t nbytes, size;
	bool objects;
	int rc = 0;

	size = dtype_nbytes_of(pickle_get(n->state, "dtype"), &objects);
	if (!args || !count_bytes(n->state, size, &nbytes))
		return args ? vm_fail(m, EINVAL,
				      "an array without shape or dtype")
			    : vm_failed(m);
	if (objects) {
		rc = vm_run_nested(m, &data);
	} else {
		skip_padding(m, n->state);
		if (!reader_fits(m->r, nbytes, 1))
			return vm_fail(m, EINVAL, "an array beyond the file");
		data = vm_node(m, PICKLE_BYTES);
		if (!data)
			return vm_failed(m);
		data->off = m->r->off;
		data->s.len = nbytes;
		reader_skip(m->r, nbytes);
	}
	if (rc == 0)
		rc = vm_add_items(m, args, &data, 1);
	n->args = args;
	return rc;
}

int vm_build(struct pickle_vm *m)
{
	struct pickle_node *state = vm_pop(m);
	struct pickle_node *n = state ? vm_top(m) : NULL;

	if (!n)
		return vm_failed(m);
	if (n->kind != PICKLE_OBJECT && n->kind != PICKLE_DICT)
		return vm_fail(m, EINVAL, "the object takes no state");
	n->state = state;
	if (pickle_is_call(n, "joblib.numpy_pickle", "NumpyArrayWrapper"))
		return read_raw_array(m, n);
	return 0;
}

int vm_stack_global(struct pickle_vm *m)
{
	struct pickle_node *name = vm_pop(m), *n;
	struct pickle_node *module = name ? vm_pop(m) : NULL;

	if (!module)
		return vm_failed(m);
	if (name->kind != PICKLE_STRING || module->kind != PICKLE_STRING)
		return vm_fail(m, EINVAL, "no name of a global");
	n = vm_node(m, PICKLE_GLOBAL);
	if (n) {
		n->module = module->s;
		n->name = name->s;
	}
	return vm_push(m, n);
}
