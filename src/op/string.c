/* SPDX-License-Identifier: MIT */
/* string - StringNormalizer, StringConcat, StringSplit, TfIdfVectorizer. */
#include "kernel/stride.h"
#include "op/impl.h"

static bool same(const struct span *a, const struct span *b)
{
	return a->len == b->len &&
	       (a->len == 0 || memcmp(a->p, b->p, a->len) == 0);
}

static int strings(struct op_call *c, size_t i, const struct span **out,
		   struct err *e)
{
	const void *p = NULL;
	size_t size;
	int rc;

	if (op_dtype(c, i) != DTYPE_STRING)
		return op_bad_dtype(c, i, e);
	rc = op_elems(c, i, &p, &size, e);
	*out = p;
	return rc;
}

/* ---- StringNormalizer ---- */
static int infer_normalizer(struct op_call *c, struct err *e)
{
	const struct span *stop;
	struct shape s = *op_shape(c, 0);
	size_t nstop;
	int rc = op_need_rank(c, 0, 1, 2, e);

	op_attr_strings(c, "stopwords", &stop, &nstop);
	/* Of nothing an empty string remains. */
	if (s.rank > 0 && (nstop > 0 || s.dims[s.rank - 1] == 0))
		s.dims[s.rank - 1] = DIM_UNKNOWN;
	op_out(c, 0, DTYPE_STRING, &s);
	return rc;
}

enum letters { CASE_NONE, CASE_LOWER, CASE_UPPER };

static uint8_t fold(uint8_t b, enum letters to)
{
	if (to == CASE_LOWER && b >= 'A' && b <= 'Z')
		return (uint8_t)(b + 32);
	if (to == CASE_UPPER && b >= 'a' && b <= 'z')
		return (uint8_t)(b - 32);
	return b;
}

/*
 * Letters of ASCII, and those of Latin-1 and Greek and Cyrillic whose other
 * case is a fixed distance away and takes as many bytes.
 */
static void change_case(const struct span *in, uint8_t *out, enum letters to)
{
	static const struct {
		unsigned lo, hi, distance;
	} upper[] = {{0xc0, 0xd6, 32},	 {0xd8, 0xde, 32},
		     {0x391, 0x3a1, 32}, {0x3a3, 0x3ab, 32},
		     {0x410, 0x42f, 32}, {0x400, 0x40f, 80}};

	for (size_t i = 0; i < in->len; i++) {
		unsigned b = (uint8_t)in->p[i], cp, shift = 0;

		out[i] = fold((uint8_t)b, to);
		if ((b & 0xe0) != 0xc0 || i + 1 >= in->len || to == CASE_NONE)
			continue;
		cp = (b & 0x1f) << 6 | ((uint8_t)in->p[i + 1] & 0x3f);
		for (size_t k = 0; k < sizeof(upper) / sizeof(upper[0]); k++) {
			unsigned d = to == CASE_LOWER ? 0 : upper[k].distance;

			if (cp >= upper[k].lo + d && cp <= upper[k].hi + d)
				shift = upper[k].distance;
		}
		cp = to == CASE_LOWER ? cp + shift : cp - shift;
		out[i] = (uint8_t)(0xc0 | cp >> 6);
		out[++i] = (uint8_t)(0x80 | (cp & 0x3f));
	}
}

static enum letters letters_of(const struct op_call *c)
{
	const char *name = op_attr_str(c, "case_change_action", "NONE");

	return strcmp(name, "LOWER") == 0   ? CASE_LOWER
	       : strcmp(name, "UPPER") == 0 ? CASE_UPPER
					    : CASE_NONE;
}

static int changed(struct op_call *c, const struct span *in, enum letters to,
		   struct span *out, struct err *e)
{
	void *p;
	int rc = op_temp(c, in->len + 1, &p, e);

	if (rc < 0)
		return rc;
	change_case(in, p, to);
	out->p = p;
	out->len = in->len;
	return 0;
}

/* Compares as the node says: with case, or both lowered. */
static int is_stopword(struct op_call *c, const struct span *word, bool *yes,
		       struct err *e)
{
	bool exact = op_attr_int(c, "is_case_sensitive", 0) != 0;
	const struct span *stop;
	size_t n;
	int rc = 0;

	*yes = false;
	op_attr_strings(c, "stopwords", &stop, &n);
	for (size_t i = 0; i < n && rc == 0 && !*yes; i++) {
		struct span a = *word, b = stop[i];

		if (!exact && a.len == b.len) {
			rc = changed(c, word, CASE_LOWER, &a, e);
			if (rc == 0)
				rc = changed(c, &stop[i], CASE_LOWER, &b, e);
		}
		*yes = rc == 0 && same(&a, &b);
	}
	return rc;
}

static int eval_normalizer(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	uint64_t n = op_nelems(c, 0), kept = 0;
	const struct span *in;
	struct span *words;
	void *p = NULL, *out;
	int rc = op_need_rank(c, 0, 1, 2, e);

	if (rc == 0 && s.rank == 2 && s.dims[0] != 1)
		return op_invalid(c, e, "more than one row");
	if (rc == 0)
		rc = strings(c, 0, &in, e);
	if (rc == 0)
		rc = op_temp_array(c, n + 1, sizeof(*words), &p, e);
	words = p;
	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		bool stop;

		rc = is_stopword(c, &in[i], &stop, e);
		if (rc == 0 && !stop)
			rc = changed(c, &in[i], letters_of(c), &words[kept++],
				     e);
		if (rc == 0 && i % 1024 == 0)
			rc = op_check_stop(c, e);
	}
	if (rc < 0)
		return rc;
	if (kept == 0) { /* what is empty becomes one empty string */
		words[0] = (struct span){.p = "", .len = 0};
		kept = 1;
	}
	s.dims[s.rank - 1] = (int64_t)kept;
	rc = op_alloc_elems(c, 0, DTYPE_STRING, &s, &out, e);
	if (rc == 0)
		memcpy(out, words, kept * sizeof(*words));
	return rc;
}

/* ---- StringConcat ---- */
struct join {
	struct op_call *c;
	struct err *e;
	int rc;
};

static void join_row(const void *const in[], const size_t step[], void *out,
		     size_t n, const void *arg)
{
	struct join *j = *(struct join *const *)arg;
	const struct span *a = in[0], *b = in[1];
	struct span *o = out;

	for (size_t i = 0; i < n && j->rc == 0; i++) {
		const struct span *x = &a[i * step[0]], *y = &b[i * step[1]];
		void *p;

		j->rc = op_temp(j->c, x->len + y->len + 1, &p, j->e);
		if (j->rc < 0)
			return;
		memcpy(p, x->p, x->len);
		memcpy((char *)p + x->len, y->p, y->len);
		o[i] = (struct span){.p = p, .len = x->len + y->len};
		if (i % 1024 == 0)
			j->rc = op_check_stop(j->c, j->e);
	}
}

static int eval_concat(struct op_call *c, struct err *e)
{
	const struct shape *shapes[2] = {op_shape(c, 0), op_shape(c, 1)};
	struct join j = {.c = c, .e = e}, *arg = &j;
	const struct span *a, *b;
	struct stride_plan p;
	struct shape s;
	void *out;
	int rc = op_broadcast(c, shapes[0], shapes[1], &s, e);

	if (rc == 0)
		rc = strings(c, 0, &a, e);
	if (rc == 0)
		rc = strings(c, 1, &b, e);
	if (rc == 0)
		rc = op_alloc_elems(c, 0, DTYPE_STRING, &s, &out, e);
	if (rc < 0)
		return rc;
	op_stride_plan(&p, &s, shapes, 2);
	p.in_size[0] = p.in_size[1] = p.out_size = sizeof(struct span);
	/* On this thread alone: it allocates. */
	stride_for(&(struct kernel){.stop = c->env->kernel.stop}, &p,
		   (const void *[]){a, b}, out, join_row, &arg);
	return j.rc;
}

/* ---- StringSplit ---- */
static bool is_space(char b)
{
	return b == ' ' || (b >= '\t' && b <= '\r');
}

/* The next part of s from *at on; false at the end. */
static bool next_part(const struct span *s, const struct span *sep, size_t *at,
		      struct span *part)
{
	size_t i = *at;

	if (sep->len == 0) { /* any white space, as much as there is */
		while (i < s->len && is_space(s->p[i]))
			i++;
		part->p = s->p + i;
		while (i < s->len && !is_space(s->p[i]))
			i++;
		part->len = (size_t)(s->p + i - part->p);
		*at = i;
		return part->len > 0;
	}
	if (i > s->len)
		return false;
	part->p = s->p + i;
	while (i < s->len && (s->len - i < sep->len ||
			      memcmp(s->p + i, sep->p, sep->len) != 0))
		i++;
	part->len = (size_t)(s->p + i - part->p);
	*at = i < s->len ? i + sep->len : s->len + 1;
	return true;
}

/* The rest of s as the last part. */
static bool last_part(const struct span *s, const struct span *sep, size_t at,
		      struct span *part)
{
	size_t end = s->len;

	while (sep->len == 0 && at < end && is_space(s->p[at]))
		at++;
	while (sep->len == 0 && end > at && is_space(s->p[end - 1]))
		end--;
	if (at > s->len || (sep->len == 0 && at == end))
		return false;
	*part = (struct span){.p = s->p + at, .len = end - at};
	return true;
}

/* Calls for every part of a string; returns how many; out may be NULL. */
static int64_t split(const struct span *s, const struct span *sep, int64_t most,
		     struct span *out)
{
	int64_t n = 0;
	size_t at = 0;
	struct span part;

	while (n < most && next_part(s, sep, &at, &part)) {
		if (out)
			out[n] = part;
		n++;
	}
	if (n == most && last_part(s, sep, at, &part)) {
		if (out)
			out[n] = part;
		n++;
	}
	return n;
}

static int infer_split(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);

	op_out(c, 1, DTYPE_I64, &s);
	if (s.rank >= SHAPE_RANK_MAX)
		return op_unsupported(c, e, "the rank");
	if (s.rank >= 0)
		s.dims[s.rank++] = DIM_UNKNOWN;
	op_out(c, 0, DTYPE_STRING, &s);
	return 0;
}

static int eval_split(struct op_call *c, struct err *e)
{
	const char *delimiter = op_attr_str(c, "delimiter", "");
	struct span sep = {.p = delimiter, .len = strlen(delimiter)};
	int64_t most = op_attr_int(c, "maxsplit", INT64_MAX), widest = 0;
	uint64_t n = op_nelems(c, 0);
	struct shape s = *op_shape(c, 0);
	const struct span *in;
	void *count, *out;
	int rc = infer_split(c, e);

	most = most < 0 ? INT64_MAX : most;
	if (rc == 0)
		rc = strings(c, 0, &in, e);
	if (rc == 0)
		rc = op_alloc(c, 1, DTYPE_I64, &s, &count, e);
	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		int64_t parts = split(&in[i], &sep, most, NULL);

		((int64_t *)count)[i] = parts;
		widest = parts > widest ? parts : widest;
	}
	if (rc < 0)
		return rc;
	s.dims[s.rank++] = widest;
	rc = op_alloc_elems(c, 0, DTYPE_STRING, &s, &out, e);
	for (uint64_t i = 0; rc == 0 && i < n; i++)
		split(&in[i], &sep, most,
		      (struct span *)out + i * (uint64_t)widest);
	return rc;
}

static int infer_concat(struct op_call *c, struct err *e)
{
	struct shape s;
	int rc = op_broadcast(c, op_shape(c, 0), op_shape(c, 1), &s, e);

	if (rc == 0)
		op_out(c, 0, DTYPE_STRING, &s);
	return rc;
}

/* ---- TfIdfVectorizer ---- */
struct tfidf {
	const int64_t *starts, *columns, *ints;
	const struct span *words;
	const float *weights;
	size_t nstarts, ncolumns, nweights, npool;
	int64_t least, most, skip, width;
};

static int tfidf_read(struct op_call *c, struct tfidf *t, struct err *e)
{
	size_t nwords, nints;

	op_attr_ints(c, "ngram_counts", &t->starts, &t->nstarts);
	op_attr_ints(c, "ngram_indexes", &t->columns, &t->ncolumns);
	op_attr_floats(c, "weights", &t->weights, &t->nweights);
	op_attr_strings(c, "pool_strings", &t->words, &nwords);
	op_attr_ints(c, "pool_int64s", &t->ints, &nints);
	t->npool = nwords ? nwords : nints;
	t->least = op_attr_int(c, "min_gram_length", 1);
	t->most = op_attr_int(c, "max_gram_length", 1);
	t->skip = op_attr_int(c, "max_skip_count", 0);
	t->width = 0;
	if (t->least < 1 || t->most < t->least || t->skip < 0 ||
	    t->most > 1024 || (t->nweights && t->nweights != t->ncolumns))
		return op_invalid(c, e, "gram lengths");
	for (size_t i = 0; i < t->ncolumns; i++) {
		if (t->columns[i] < 0 || t->columns[i] > INT32_MAX)
			return op_invalid(c, e, "ngram_indexes");
		if (t->columns[i] >= t->width)
			t->width = t->columns[i] + 1;
	}
	for (size_t i = 0; i < t->nstarts; i++) {
		int64_t last = i ? t->starts[i - 1] : 0;

		if (t->starts[i] < last || (uint64_t)t->starts[i] > t->npool)
			return op_invalid(c, e, "ngram_counts");
	}
	return 0;
}

static int infer_tfidf(struct op_call *c, struct err *e)
{
	struct shape s = *op_shape(c, 0);
	struct tfidf t;
	int rc = op_need_rank(c, 0, 0, 2, e);

	if (rc == 0)
		rc = tfidf_read(c, &t, e);
	if (rc < 0)
		return rc;
	if (s.rank >= 0) {
		s.rank = s.rank ? s.rank : 1;
		s.dims[s.rank - 1] = t.width;
	}
	op_out(c, 0, DTYPE_F32, &s);
	return 0;
}

/* True when the gram at `pool` is in the row from `at` on, `step` apart. */
static bool matches(const struct tfidf *t, const void *row, size_t at,
		    size_t step, size_t pool, size_t len)
{
	for (size_t k = 0; k < len; k++) {
		size_t i = at + k * step;

		if (t->words ? !same((const struct span *)row + i,
				     &t->words[pool + k])
			     : ((const int64_t *)row)[i] != t->ints[pool + k])
			return false;
	}
	return true;
}

/* Counts one gram of length len in a row of n. */
static double count_gram(const struct tfidf *t, const void *row, size_t n,
			 size_t pool, size_t len)
{
	size_t skips = len > 1 ? (size_t)t->skip : 0;
	double count = 0;

	for (size_t skip = 0; skip <= skips; skip++) {
		if ((len - 1) * (skip + 1) >= n)
			break;
		for (size_t at = 0; at + (len - 1) * (skip + 1) < n; at++)
			count += matches(t, row, at, skip + 1, pool, len);
	}
	return count;
}

static void count_row(const struct tfidf *t, const void *row, size_t n,
		      float *out)
{
	size_t gram = 0;

	for (size_t g = 0; g < t->nstarts; g++) {
		size_t len = g + 1, at = (size_t)t->starts[g];
		size_t end = g + 1 < t->nstarts ? (size_t)t->starts[g + 1]
						: t->npool;

		for (; at + len <= end && gram < t->ncolumns;
		     at += len, gram++) {
			if ((int64_t)len < t->least || (int64_t)len > t->most)
				continue;
			out[t->columns[gram]] =
				(float)count_gram(t, row, n, at, len);
		}
	}
}

static void weigh(const struct tfidf *t, const char *mode, float *out)
{
	bool tf = strcmp(mode, "TF") == 0, idf = strcmp(mode, "IDF") == 0;

	for (size_t i = 0; i < t->ncolumns && !tf; i++) {
		float *v = &out[t->columns[i]];

		if (idf)
			*v = *v > 0 ? 1 : 0;
		if (t->nweights)
			*v *= t->weights[i];
	}
}

static int eval_tfidf(struct op_call *c, struct err *e)
{
	const char *mode = op_attr_str(c, "mode", "TF");
	const struct shape *in = op_shape(c, 0);
	uint64_t rows = in->rank == 2 ? (uint64_t)in->dims[0] : 1, n;
	const struct span *words = NULL;
	const int64_t *ints = NULL;
	struct tfidf t;
	struct shape s;
	void *out;
	int rc = infer_tfidf(c, e);

	if (rc == 0)
		rc = tfidf_read(c, &t, e);
	if (rc < 0)
		return rc;
	s = c->out[0].shape;
	rc = t.words ? strings(c, 0, &words, e) : op_in_i64(c, 0, &ints, e);
	if (rc == 0)
		rc = op_alloc(c, 0, DTYPE_F32, &s, &out, e);
	if (rc < 0 || rows == 0)
		return rc;
	n = op_nelems(c, 0) / rows;
	for (uint64_t r = 0; r < rows && rc == 0; r++) {
		float *to = (float *)out + r * (uint64_t)t.width;

		count_row(&t,
			  t.words ? (const void *)(words + r * n)
				  : (const void *)(ints + r * n),
			  n, to);
		weigh(&t, mode, to);
		rc = op_check_stop(c, e);
	}
	return rc;
}

const struct op ops_string[] = {
	{ONNX, "StringNormalizer", 10, 1, 1, 1, 1, 0, 0, infer_normalizer,
	 eval_normalizer},
	{ONNX, "StringConcat", 20, 2, 2, 1, 1, 0, 0, infer_concat, eval_concat},
	{ONNX, "StringSplit", 20, 1, 1, 2, 2, 0, 0, infer_split, eval_split},
	{ONNX, "TfIdfVectorizer", 9, 1, 1, 1, 1, 0, 0, infer_tfidf, eval_tfidf},
	{0},
};
