/* SPDX-License-Identifier: MIT */
/*
 * pickle - see pickle.h.  The machine: a stack, marks into it, and a memo.
 *
 * Opcodes are numbered as in CPython's pickletools.py.
 */
#include "wire/pickle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/reader.h"

#include "wire/pickle_text.h"

/* Memo indices beyond this are looked up in a map instead of an array. */
#define MEMO_DENSE_MAX 16000000u
#define LINE_MAX_BYTES (64u << 20)
/* Arrays of objects inside of arrays of objects. */
#define LEVEL_MAX 8

struct machine {
	struct reader *r;
	struct arena *a;
	struct pickle_node **stack;
	size_t depth, stack_cap;
	size_t *marks;
	size_t nmarks, marks_cap;
	struct pickle_node **memo; /* dense part */
	size_t memo_cap;
	struct map *sparse; /* index → node */
	uint64_t nmemo;
	uint64_t nnodes;
	uint64_t start; /* arena_nbytes at the beginning */
	unsigned level; /* pickles this one is inside of */
	char *line;	/* of text, with its capacity */
	size_t line_cap;
	uint64_t at; /* offset of the opcode */
	uint8_t op;
	struct err *e;
};

/* ---- small steps ---- */

static int fail(struct machine *m, int code, const char *what)
{
	if (m->r->bad)
		return err_set(m->e, m->r->err.code, "byte %llu: pickle: %s",
			       (unsigned long long)m->at, m->r->err.msg);
	return err_set(m->e, code, "byte %llu: pickle opcode 0x%02x: %s",
		       (unsigned long long)m->at, m->op, what);
}

static int grow(struct machine *m, void *array, size_t *cap, size_t need,
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

static struct pickle_node *new_node(struct machine *m, enum pickle_kind kind)
{
	struct pickle_node *n = NULL;

	if (++m->nnodes > PICKLE_NODES_MAX ||
	    arena_nbytes(m->a) - m->start > PICKLE_BYTES_MAX) {
		fail(m, EFBIG, "the pickle is too large");
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
static int push(struct machine *m, struct pickle_node *n)
{
	int rc;

	if (!n)
		return m->e ? -m->e->code : -ENOMEM;
	rc = grow(m, &m->stack, &m->stack_cap, m->depth + 1, sizeof(*m->stack));
	if (rc < 0)
		return rc;
	m->stack[m->depth++] = n;
	return 0;
}

static size_t floor_of(const struct machine *m)
{
	return m->nmarks ? m->marks[m->nmarks - 1] : 0;
}

/* NULL, with the error set, when there is nothing above the last mark. */
static struct pickle_node *pop(struct machine *m)
{
	if (m->depth <= floor_of(m)) {
		fail(m, EINVAL, "the stack is empty");
		return NULL;
	}
	return m->stack[--m->depth];
}

static struct pickle_node *top(struct machine *m)
{
	struct pickle_node *n = pop(m);

	if (n)
		m->depth++;
	return n;
}

static int failed(const struct machine *m)
{
	return -m->e->code;
}

static int push_mark(struct machine *m)
{
	int rc = grow(m, &m->marks, &m->marks_cap, m->nmarks + 1,
		      sizeof(*m->marks));

	if (rc == 0)
		m->marks[m->nmarks++] = m->depth;
	return rc;
}

/* The nodes above the last mark, which goes. */
static int pop_mark(struct machine *m, struct pickle_node ***items, size_t *n)
{
	size_t from;

	if (m->nmarks == 0)
		return fail(m, EINVAL, "no mark");
	from = m->marks[--m->nmarks];
	/* NULL + 0 while nothing was ever pushed. */
	*items = m->stack ? m->stack + from : NULL;
	*n = m->depth - from;
	m->depth = from;
	return 0;
}

static int add_items(struct machine *m, struct pickle_node *n,
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
			return fail(m, EFBIG, "the pickle is too large");
	}
	memcpy(n->items + n->nitems, items, count * sizeof(*items));
	n->nitems = need;
	return 0;
}

/* ---- memo ---- */

static int memo_put(struct machine *m, uint64_t idx, struct pickle_node *n)
{
	uint64_t *key, old;
	int rc;

	if (idx < MEMO_DENSE_MAX && idx < 4 * m->nmemo + 4096) {
		rc = grow(m, &m->memo, &m->memo_cap, idx + 1, sizeof(*m->memo));
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

static int memo_get(struct machine *m, uint64_t idx)
{
	uint64_t found;

	if (idx < m->memo_cap && m->memo[idx])
		return push(m, m->memo[idx]);
	if (m->sparse && map_get(m->sparse, &idx, sizeof(idx), &found))
		return push(m, (struct pickle_node *)(uintptr_t)found);
	return fail(m, EINVAL, "nothing was kept under this number");
}

static int put_top(struct machine *m, uint64_t idx)
{
	struct pickle_node *n = top(m);

	return n ? memo_put(m, idx, n) : failed(m);
}

/* ---- arguments ---- */

/* Up to the next newline, without it. */
static int read_line(struct machine *m, size_t *len)
{
	size_t n = 0;

	for (;;) {
		char c;
		int rc = grow(m, &m->line, &m->line_cap, n + 1, 1);

		if (rc < 0)
			return rc;
		if (n > LINE_MAX_BYTES)
			return fail(m, EFBIG, "a line too long");
		c = (char)reader_u8(m->r);
		if (m->r->bad)
			return fail(m, EINVAL, "no end of line");
		if (c == '\n')
			break;
		m->line[n++] = c;
	}
	*len = n;
	return 0;
}

static int read_text(struct machine *m, uint64_t len, struct pickle_text *out)
{
	char *p;

	if (!reader_fits(m->r, len, 1))
		return fail(m, EINVAL, "a string beyond the file");
	if (arena_nbytes(m->a) - m->start + len > PICKLE_BYTES_MAX)
		return fail(m, EFBIG, "the pickle is too large");
	p = arena_alloc(m->a, len + 1);
	if (!p)
		return err_nomem(m->e, len);
	reader_bytes(m->r, p, len);
	*out = (struct pickle_text){p, len};
	return m->r->bad ? fail(m, EINVAL, "no string") : 0;
}

static int push_string(struct machine *m, uint64_t len)
{
	struct pickle_node *n = new_node(m, PICKLE_STRING);
	int rc;

	if (!n)
		return failed(m);
	n->off = m->r->off;
	rc = read_text(m, len, &n->s);
	return rc < 0 ? rc : push(m, n);
}

static int push_bytes(struct machine *m, uint64_t len)
{
	struct pickle_node *n = new_node(m, PICKLE_BYTES);
	int rc = 0;

	if (!n)
		return failed(m);
	n->off = m->r->off;
	if (!reader_fits(m->r, len, 1))
		return fail(m, EINVAL, "bytes beyond the file");
	if (len <= PICKLE_INLINE_MAX) {
		rc = read_text(m, len, &n->s);
	} else {
		n->s.len = len;
		reader_skip(m->r, len);
	}
	return rc < 0 ? rc : push(m, n);
}

static int push_int(struct machine *m, int64_t v)
{
	struct pickle_node *n = new_node(m, PICKLE_INT);

	if (n)
		n->i = v;
	return push(m, n);
}

static int push_bool(struct machine *m, bool v)
{
	struct pickle_node *n = new_node(m, PICKLE_BOOL);

	if (n)
		n->b = v;
	return push(m, n);
}

static int push_float(struct machine *m)
{
	struct pickle_node *n = new_node(m, PICKLE_FLOAT);
	uint64_t bits = __builtin_bswap64(reader_u64(m->r));

	if (n)
		memcpy(&n->f, &bits, sizeof(bits));
	return push(m, n);
}

/* LONG1 and LONG4: little-endian two's complement. */
static int push_long(struct machine *m, uint64_t len)
{
	struct pickle_node *n = new_node(m, PICKLE_BIGINT);
	uint64_t v = 0;
	int rc;

	if (!n)
		return failed(m);
	rc = read_text(m, len, &n->s);
	if (rc < 0)
		return rc;
	if (len > 8)
		return push(m, n);
	for (size_t i = 0; i < len; i++)
		v |= (uint64_t)(uint8_t)n->s.p[i] << (8 * i);
	if (len > 0 && len < 8 && (n->s.p[len - 1] & 0x80))
		v |= ~(uint64_t)0 << (8 * len);
	n->kind = PICKLE_INT;
	n->i = (int64_t)v;
	return push(m, n);
}

static int push_text_number(struct machine *m, bool is_long)
{
	struct pickle_node *n = new_node(m, PICKLE_INT);
	size_t len;
	int rc = n ? read_line(m, &len) : failed(m);

	if (rc < 0)
		return rc;
	if (!pickle_text_int(m->a, m->line, len, is_long, n))
		return fail(m, EINVAL, "no number");
	return push(m, n);
}

static int push_text_float(struct machine *m)
{
	struct pickle_node *n = new_node(m, PICKLE_FLOAT);
	size_t len;
	int rc = n ? read_line(m, &len) : failed(m);

	if (rc < 0)
		return rc;
	if (!pickle_text_float(m->line, len, &n->f))
		return fail(m, EINVAL, "no number");
	return push(m, n);
}

static int push_text_string(struct machine *m, bool is_quoted)
{
	struct pickle_node *n = new_node(m, PICKLE_STRING);
	size_t len;
	int rc = n ? read_line(m, &len) : failed(m);
	bool ok;

	if (rc < 0)
		return rc;
	ok = is_quoted ? pickle_text_quoted(m->a, m->line, len, &n->s)
		       : pickle_text_unicode(m->a, m->line, len, &n->s);
	return ok ? push(m, n) : fail(m, EINVAL, "no string");
}

static int read_name(struct machine *m, struct pickle_text *out)
{
	size_t len;
	int rc = read_line(m, &len);

	if (rc < 0)
		return rc;
	out->p = arena_strndup(m->a, m->line, len);
	out->len = len;
	return out->p ? 0 : err_nomem(m->e, len);
}

static int read_global(struct machine *m, struct pickle_node **out)
{
	struct pickle_node *n = new_node(m, PICKLE_GLOBAL);
	int rc = n ? read_name(m, &n->module) : failed(m);

	if (rc == 0)
		rc = read_name(m, &n->name);
	*out = n;
	return rc;
}

/* INT lines of the memo's opcodes. */
static int read_index(struct machine *m, uint64_t *out)
{
	struct pickle_node n = {0};
	size_t len;
	int rc = read_line(m, &len);

	if (rc < 0)
		return rc;
	if (!pickle_text_int(m->a, m->line, len, true, &n) ||
	    n.kind != PICKLE_INT || n.i < 0)
		return fail(m, EINVAL, "no memo number");
	*out = (uint64_t)n.i;
	return 0;
}

/* ---- containers ---- */

static int push_items(struct machine *m, enum pickle_kind kind, size_t count)
{
	struct pickle_node *n = new_node(m, kind);
	int rc;

	if (!n)
		return failed(m);
	if (m->depth - floor_of(m) < count)
		return fail(m, EINVAL, "the stack is empty");
	m->depth -= count;
	rc = add_items(m, n, m->stack ? m->stack + m->depth : NULL, count);
	return rc < 0 ? rc : push(m, n);
}

static int push_marked(struct machine *m, enum pickle_kind kind)
{
	struct pickle_node *n = new_node(m, kind), **items = NULL;
	size_t count = 0;
	int rc = n ? pop_mark(m, &items, &count) : failed(m);

	if (rc == 0 && kind == PICKLE_DICT && count % 2 != 0)
		rc = fail(m, EINVAL, "a key without a value");
	if (rc == 0)
		rc = add_items(m, n, items, count);
	return rc < 0 ? rc : push(m, n);
}

/* What is appended to or set in the node on top must be able to hold it. */
static int extend(struct machine *m, struct pickle_node **items, size_t count,
		  enum pickle_kind kind)
{
	struct pickle_node *n = top(m);
	bool pairs = kind == PICKLE_DICT;

	if (!n)
		return failed(m);
	if (pairs && count % 2 != 0)
		return fail(m, EINVAL, "a key without a value");
	if (n->kind == PICKLE_OBJECT) {
		if (n->nitems > 0 && n->has_pairs != pairs)
			return fail(m, EINVAL, "neither a list nor a dict");
		n->has_pairs = pairs;
	} else if (n->kind != kind) {
		return fail(m, EINVAL, "the object takes no items");
	}
	return add_items(m, n, items, count);
}

static int extend_top(struct machine *m, size_t count, enum pickle_kind kind)
{
	if (m->depth - floor_of(m) < count + 1)
		return fail(m, EINVAL, "the stack is empty");
	m->depth -= count;
	return extend(m, m->stack + m->depth, count, kind);
}

static int extend_marked(struct machine *m, enum pickle_kind kind)
{
	struct pickle_node **items = NULL;
	size_t count = 0;
	int rc = pop_mark(m, &items, &count);

	return rc < 0 ? rc : extend(m, items, count, kind);
}

/* ---- objects ---- */

/* "abc" of (str, "latin1") as bytes: how protocol 2 writes them. */
static struct pickle_node *decode_latin1(struct machine *m,
					 const struct pickle_text *s)
{
	struct pickle_node *n = new_node(m, PICKLE_BYTES);
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

/* OrderedDict([[key, value], …]), as Python 2 wrote it. */
static int add_pairs(struct machine *m, struct pickle_node *dict,
		     const struct pickle_node *list)
{
	int rc = 0;

	if (!list || list->kind != PICKLE_LIST)
		return 0;
	for (size_t i = 0; rc == 0 && i < list->nitems; i++) {
		const struct pickle_node *pair = list->items[i];

		if (!pickle_item(pair, 1) || pair->nitems != 2)
			return fail(m, EINVAL, "a dict without pairs");
		rc = add_items(m, dict, pair->items, 2);
	}
	return rc;
}

/* Containers and bytes that older protocols write as calls. */
static int simplify(struct machine *m, struct pickle_node *f,
		    struct pickle_node *args, struct pickle_node **out)
{
	const struct pickle_node *first = pickle_item(args, 0);

	*out = NULL;
	if (is_dict_class(f)) {
		*out = new_node(m, PICKLE_DICT);
		if (!*out)
			return failed(m);
		(*out)->class = f;
		return add_pairs(m, *out, first);
	}
	if ((is_builtin(f, "set") || is_builtin(f, "frozenset")) &&
	    (!first || first->kind == PICKLE_LIST)) {
		*out = new_node(m, PICKLE_SET);
		if (!*out || !first)
			return *out ? 0 : failed(m);
		return add_items(m, *out, first->items, first->nitems);
	}
	if (is_builtin(f, "bytes") && args->kind == PICKLE_TUPLE && !first) {
		*out = new_node(m, PICKLE_BYTES);
		if (!*out)
			return failed(m);
		(*out)->s.p = "";
		return 0;
	}
	if (pickle_is_global(f, "_codecs", "encode") && first &&
	    first->kind == PICKLE_STRING) {
		*out = decode_latin1(m, &first->s);
		return *out ? 0 : failed(m);
	}
	return 0;
}

static int push_call(struct machine *m, struct pickle_node *f,
		     struct pickle_node *args, bool is_new)
{
	struct pickle_node *n;
	int rc = simplify(m, f, args, &n);

	if (rc < 0 || n)
		return rc < 0 ? rc : push(m, n);
	n = new_node(m, PICKLE_OBJECT);
	if (n) {
		n->callable = f;
		n->args = args;
		n->is_new = is_new;
	}
	return push(m, n);
}

/* REDUCE and NEWOBJ: callable and arguments; NEWOBJ_EX: and keywords. */
static int reduce(struct machine *m, size_t nargs, bool is_new)
{
	struct pickle_node *kwargs = nargs > 1 ? pop(m) : NULL;
	struct pickle_node *args, *f;

	if (nargs > 1 && !kwargs)
		return failed(m);
	args = pop(m);
	f = args ? pop(m) : NULL;
	return f ? push_call(m, f, args, is_new) : failed(m);
}

/* OBJ and INST: the arguments are above the mark. */
static int object(struct machine *m, struct pickle_node *f)
{
	struct pickle_node *args = new_node(m, PICKLE_TUPLE), **items = NULL;
	size_t count = 0;
	int rc = args ? pop_mark(m, &items, &count) : failed(m);

	if (rc < 0)
		return rc;
	if (!f) {
		if (count == 0)
			return fail(m, EINVAL, "no class");
		f = *items++;
		count--;
	}
	rc = add_items(m, args, items, count);
	return rc < 0 ? rc : push_call(m, f, args, true);
}

static int inst(struct machine *m)
{
	struct pickle_node *f;
	int rc = read_global(m, &f);

	return rc < 0 ? rc : object(m, f);
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
static void skip_padding(struct machine *m, const struct pickle_node *state)
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

static int read_nested(struct machine *m, struct pickle_node **out);

/*
 * joblib puts the elements of an array into the stream, right behind the BUILD
 * of its wrapper (joblib/numpy_pickle.py); of objects, a pickle of them.  They
 * become the wrapper's argument.
 */
static int read_raw_array(struct machine *m, struct pickle_node *n)
{
	struct pickle_node *data, *args = new_node(m, PICKLE_TUPLE);
	uint64_t nbytes, size;
	bool objects;
	int rc = 0;

	size = dtype_nbytes_of(pickle_get(n->state, "dtype"), &objects);
	if (!args || !count_bytes(n->state, size, &nbytes))
		return args ? fail(m, EINVAL, "an array without shape or dtype")
			    : failed(m);
	if (objects) {
		rc = read_nested(m, &data);
	} else {
		skip_padding(m, n->state);
		if (!reader_fits(m->r, nbytes, 1))
			return fail(m, EINVAL, "an array beyond the file");
		data = new_node(m, PICKLE_BYTES);
		if (!data)
			return failed(m);
		data->off = m->r->off;
		data->s.len = nbytes;
		reader_skip(m->r, nbytes);
	}
	if (rc == 0)
		rc = add_items(m, args, &data, 1);
	n->args = args;
	return rc;
}

static int build(struct machine *m)
{
	struct pickle_node *state = pop(m);
	struct pickle_node *n = state ? top(m) : NULL;

	if (!n)
		return failed(m);
	if (n->kind != PICKLE_OBJECT && n->kind != PICKLE_DICT)
		return fail(m, EINVAL, "the object takes no state");
	n->state = state;
	if (pickle_is_call(n, "joblib.numpy_pickle", "NumpyArrayWrapper"))
		return read_raw_array(m, n);
	return 0;
}

static int stack_global(struct machine *m)
{
	struct pickle_node *name = pop(m), *n;
	struct pickle_node *module = name ? pop(m) : NULL;

	if (!module)
		return failed(m);
	if (name->kind != PICKLE_STRING || module->kind != PICKLE_STRING)
		return fail(m, EINVAL, "no name of a global");
	n = new_node(m, PICKLE_GLOBAL);
	if (n) {
		n->module = module->s;
		n->name = name->s;
	}
	return push(m, n);
}

static int push_global(struct machine *m)
{
	struct pickle_node *n;
	int rc = read_global(m, &n);

	return rc < 0 ? rc : push(m, n);
}

static int push_persid(struct machine *m, struct pickle_node *id)
{
	struct pickle_node *n = id ? new_node(m, PICKLE_PERSID) : NULL;

	if (n)
		n->callable = id;
	return push(m, n);
}

static int text_persid(struct machine *m)
{
	struct pickle_node *n = new_node(m, PICKLE_STRING);
	int rc = n ? read_name(m, &n->s) : failed(m);

	return rc < 0 ? rc : push_persid(m, n);
}

/* ---- opcodes ---- */

static int signed_length(struct machine *m, uint64_t *out)
{
	int32_t len = (int32_t)reader_u32(m->r);

	if (len < 0)
		return fail(m, EINVAL, "a negative length");
	*out = (uint64_t)len;
	return 0;
}

static int run_text(struct machine *m)
{
	uint64_t idx = 0;
	int rc;

	switch (m->op) {
	case 'F':
		return push_text_float(m);
	case 'I':
		return push_text_number(m, false);
	case 'L':
		return push_text_number(m, true);
	case 'S':
		return push_text_string(m, true);
	case 'V':
		return push_text_string(m, false);
	case 'P':
		return text_persid(m);
	case 'c':
		return push_global(m);
	case 'i':
		return inst(m);
	case 'g':
		rc = read_index(m, &idx);
		return rc < 0 ? rc : memo_get(m, idx);
	case 'p':
		rc = read_index(m, &idx);
		return rc < 0 ? rc : put_top(m, idx);
	default:
		return fail(m, EINVAL, "no opcode");
	}
}

static int run_number(struct machine *m)
{
	uint64_t len = 0;
	int rc;

	switch (m->op) {
	case 'J':
		return push_int(m, (int32_t)reader_u32(m->r));
	case 'K':
		return push_int(m, reader_u8(m->r));
	case 'M':
		len = reader_u8(m->r);
		len |= (uint64_t)reader_u8(m->r) << 8;
		return push_int(m, (int64_t)len);
	case 'G':
		return push_float(m);
	case 0x8a: /* LONG1 */
		return push_long(m, reader_u8(m->r));
	case 0x8b: /* LONG4 */
		rc = signed_length(m, &len);
		return rc < 0 ? rc : push_long(m, len);
	default:
		return run_text(m);
	}
}

static int run_string(struct machine *m)
{
	uint64_t len = 0;
	int rc;

	switch (m->op) {
	case 'U':  /* SHORT_BINSTRING */
	case 0x8c: /* SHORT_BINUNICODE */
		return push_string(m, reader_u8(m->r));
	case 'X': /* BINUNICODE */
		return push_string(m, reader_u32(m->r));
	case 0x8d: /* BINUNICODE8 */
		return push_string(m, reader_u64(m->r));
	case 'T': /* BINSTRING */
		rc = signed_length(m, &len);
		return rc < 0 ? rc : push_string(m, len);
	case 'C': /* SHORT_BINBYTES */
		return push_bytes(m, reader_u8(m->r));
	case 'B': /* BINBYTES */
		return push_bytes(m, reader_u32(m->r));
	case 0x8e: /* BINBYTES8 */
	case 0x96: /* BYTEARRAY8 */
		return push_bytes(m, reader_u64(m->r));
	default:
		return run_number(m);
	}
}

static int run_object(struct machine *m)
{
	switch (m->op) {
	case 'R': /* REDUCE */
		return reduce(m, 1, false);
	case 0x81: /* NEWOBJ */
		return reduce(m, 1, true);
	case 0x92: /* NEWOBJ_EX */
		return reduce(m, 2, true);
	case 'o': /* OBJ */
		return object(m, NULL);
	case 'b': /* BUILD */
		return build(m);
	case 0x93: /* STACK_GLOBAL */
		return stack_global(m);
	case 'Q': /* BINPERSID */
		return push_persid(m, pop(m));
	case 0x82: /* EXT1, EXT2, EXT4: a registry of Python's own */
	case 0x83:
	case 0x84:
		return fail(m, EOPNOTSUPP, "an extension");
	case 0x97: /* NEXT_BUFFER, READONLY_BUFFER */
	case 0x98:
		return fail(m, EOPNOTSUPP, "a buffer outside the pickle");
	default:
		return run_string(m);
	}
}

static int run_container(struct machine *m)
{
	switch (m->op) {
	case ')':
		return push_items(m, PICKLE_TUPLE, 0);
	case 0x85:
	case 0x86:
	case 0x87:
		return push_items(m, PICKLE_TUPLE, m->op - 0x84u);
	case 't':
		return push_marked(m, PICKLE_TUPLE);
	case ']':
		return push_items(m, PICKLE_LIST, 0);
	case 'l':
		return push_marked(m, PICKLE_LIST);
	case '}':
		return push_items(m, PICKLE_DICT, 0);
	case 'd':
		return push_marked(m, PICKLE_DICT);
	case 0x8f: /* EMPTY_SET */
		return push_items(m, PICKLE_SET, 0);
	case 0x91: /* FROZENSET */
		return push_marked(m, PICKLE_SET);
	case 'a':
		return extend_top(m, 1, PICKLE_LIST);
	case 'e':
		return extend_marked(m, PICKLE_LIST);
	case 's':
		return extend_top(m, 2, PICKLE_DICT);
	case 'u':
		return extend_marked(m, PICKLE_DICT);
	case 0x90: /* ADDITEMS */
		return extend_marked(m, PICKLE_SET);
	default:
		return run_object(m);
	}
}

/* POP of a mark is legal, too. */
static int run_pop(struct machine *m)
{
	if (m->nmarks > 0 && m->depth == floor_of(m)) {
		m->nmarks--;
		return 0;
	}
	return pop(m) ? 0 : failed(m);
}

static int skip_frame(struct machine *m)
{
	uint64_t len = reader_u64(m->r);

	return reader_fits(m->r, len, 1)
		       ? 0
		       : fail(m, EINVAL, "a frame beyond the file");
}

static int run_stack(struct machine *m)
{
	struct pickle_node **items;
	size_t count;

	switch (m->op) {
	case 0x80: /* PROTO */
		return reader_u8(m->r) <= 5
			       ? 0
			       : fail(m, EOPNOTSUPP, "an unknown protocol");
	case 0x95:
		return skip_frame(m);
	case '(':
		return push_mark(m);
	case '0':
		return run_pop(m);
	case '1':
		return pop_mark(m, &items, &count);
	case '2':
		return top(m) ? push(m, top(m)) : failed(m);
	case 'N':
		return push(m, new_node(m, PICKLE_NONE));
	case 0x88:
	case 0x89:
		return push_bool(m, m->op == 0x88);
	case 'h':
		return memo_get(m, reader_u8(m->r));
	case 'j':
		return memo_get(m, reader_u32(m->r));
	case 'q':
		return put_top(m, reader_u8(m->r));
	case 'r':
		return put_top(m, reader_u32(m->r));
	case 0x94: /* MEMOIZE */
		return put_top(m, m->nmemo);
	default:
		return run_container(m);
	}
}

static int run(struct machine *m, struct pickle_node **out)
{
	for (;;) {
		int rc;

		m->at = m->r->off;
		m->op = reader_u8(m->r);
		if (m->r->bad)
			return fail(m, EINVAL, "no STOP");
		if (m->op == '.')
			break;
		rc = run_stack(m);
		if (rc < 0)
			return rc;
		if (m->r->bad)
			return fail(m, EINVAL, "the file ends");
	}
	*out = pop(m);
	return *out ? 0 : failed(m);
}

static void free_machine(struct machine *m)
{
	free(m->stack);
	free(m->marks);
	free(m->memo);
	free(m->line);
	map_free(m->sparse);
}

static int read_nested(struct machine *m, struct pickle_node **out)
{
	struct machine inner = {.r = m->r,
				.a = m->a,
				.e = m->e,
				.start = m->start,
				.nnodes = m->nnodes,
				.level = m->level + 1};
	int rc;

	if (m->level == LEVEL_MAX)
		return fail(m, EFBIG, "pickles nest too deeply");
	rc = run(&inner, out);
	m->nnodes = inner.nnodes;
	free_machine(&inner);
	return rc;
}

int pickle_read(struct reader *r, struct arena *a, struct pickle_node **out,
		struct err *e)
{
	struct err local = {0};
	struct machine m = {
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
