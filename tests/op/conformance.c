/* SPDX-License-Identifier: MIT */
/*
 * conformance - runs ONNX's backend cases and compares.
 *
 *	conformance [-v] [-t THREADS] [DIR...]
 *
 * A case is a directory with model.onnx and test_data_set_N/input_M.pb,
 * output_M.pb.  Without DIR: Debian's libonnx-testdata and, when
 * MODELFS_CORPUS is set, the newest cases and classic networks in it (older
 * releases hold results that newer ones call wrong).  One line per operator, -v one per
 * failed or skipped case; a case is skipped when an operator or a type is not
 * supported, or when data-errors.txt says what is wrong with its data.  A case
 * with random numbers is compared in type and shape.
 */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compare.h"
#include "interpret.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/onnx_tensor.h"
#include "modelfs/run.h"
#include "modelfs/source.h"

#define SYSTEM_CASES "/usr/share/libonnx-testdata/data"
#define OPERATORS_MAX 1024
#define BUDGET ((uint64_t)2 << 30)

enum outcome { PASSED, FAILED, SKIPPED };

struct tally {
	char name[80];
	unsigned count[3];
};

static struct tally tallies[OPERATORS_MAX];
static size_t ntallies;
static bool verbose;
static struct pool *pool;
static unsigned nthreads = 2;

static void note(const char *name, enum outcome o)
{
	size_t i = 0;

	while (i < ntallies && strcmp(tallies[i].name, name) != 0)
		i++;
	if (i == OPERATORS_MAX)
		abort();
	if (i == ntallies) {
		snprintf(tallies[i].name, sizeof(tallies[i].name), "%s", name);
		ntallies++;
	}
	tallies[i].count[o]++;
}

/* Owned by the caller. */
__attribute__((format(printf, 1, 2))) static char *path_of(const char *fmt, ...)
{
	char *path = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&path, fmt, ap) < 0)
		abort();
	va_end(ap);
	return path;
}

static bool is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* DIR/input_I.pb or output_I.pb, into memory. */
static int read_value(const char *dir, const char *what, unsigned i,
		      enum dtype want, struct tensor *out, struct err *e)
{
	char *path = path_of("%s/%s_%u.pb", dir, what, i);
	struct source *src;
	int rc = source_open(-1, path, &src, e);

	free(path);
	if (rc < 0)
		return rc;
	rc = onnx_tensor_read(src, want, out, NULL, e);
	source_unref(src);
	/* NumPy has no bfloat16: older cases hold its bits as uint16. */
	if (rc == 0 && want == DTYPE_BF16 && out->dtype == DTYPE_U16)
		out->dtype = DTYPE_BF16;
	return rc < 0 ? rc : tensor_load(out, e);
}

static enum outcome outcome_of(int rc)
{
	return rc == -EOPNOTSUPP ? SKIPPED : FAILED;
}

static enum outcome compare_outputs(const struct graph *g, const char *dir,
				    const struct tensor *values,
				    enum agreement how, struct err *e)
{
	for (uint32_t i = 0; i < g->noutputs; i++) {
		const struct tensor *got = &values[g->outputs[i]];
		struct tensor want = {0};
		bool same;
		int rc = read_value(dir, "output", i, got->dtype, &want, e);

		if (rc < 0)
			return outcome_of(rc);
		same = tensors_agree(got, &want, how, e->msg, sizeof(e->msg));
		tensor_drop(&want);
		if (!same)
			return FAILED;
	}
	return PASSED;
}

/* Inputs beyond the files have defaults. */
static int read_inputs(const struct graph *g, const char *dir,
		       struct tensor *values, struct err *e)
{
	for (uint32_t i = 0; i < g->ninputs; i++) {
		char *path = path_of("%s/input_%u.pb", dir, i);
		bool given = is_file(path);
		value_id v = g->inputs[i];
		int rc;

		free(path);
		if (!given)
			continue;
		rc = read_value(dir, "input", i, g->values[v].dtype, &values[v],
				e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* How closely the results of what was run can agree. */
static enum agreement agreement(const struct interpreter *in,
				const struct graph *g)
{
	if (in->saw_random)
		return AGREE_SHAPE;
	if (g->nnodes == 1)
		return AGREE_EXACTLY;
	if (in->saw_quantise)
		return AGREE_QUANTISED;
	return in->saw_half ? AGREE_HALF : AGREE_CHAIN;
}

/*
 * What users get: the outputs through a run take the place of ours.  They are
 * memory of *out, the engine.
 */
static int run_outputs(const struct model *m, struct tensor *values,
		       struct engine **out, struct err *e)
{
	const struct graph *g = m->graph;
	struct engine *en = engine_new(nthreads, BUDGET);
	struct run *r = NULL;
	int rc = en ? run_new(en, m, &r, e) : err_nomem(e, BUDGET);

	for (uint32_t i = 0; rc == 0 && i < g->ninputs; i++) {
		struct tensor t = tensor_ref(&values[g->inputs[i]]);

		if (t.dtype != DTYPE_NONE)
			rc = run_bind(r, g->inputs[i], &t, e);
	}
	for (uint32_t i = 0; rc == 0 && i < g->noutputs; i++) {
		struct tensor *v = &values[g->outputs[i]];

		tensor_drop(v);
		rc = run_demand(r, g->outputs[i], NULL, v, e);
		if (rc == 0)
			rc = tensor_load(v, e);
	}
	run_unref(r);
	*out = en;
	return rc;
}

/*
 * Each node alone first, which also checks what is inferred of it; then the
 * model as a run computes it.
 */
static enum outcome run_set(const struct model *m, const char *dir,
			    struct err *e)
{
	const struct graph *g = m->graph;
	struct tensor *values = calloc(g->nvalues + 1, sizeof(*values));
	struct engine *en = NULL;
	struct interpreter in;
	enum outcome o;
	int rc;

	interpreter_init(&in, BUDGET, pool);
	rc = read_inputs(g, dir, values, e);
	if (rc == 0)
		rc = interpret(&in, g, NULL, values, e);
	if (rc == 0)
		rc = run_outputs(m, values, &en, e);
	o = rc < 0 ? outcome_of(rc)
		   : compare_outputs(g, dir, values, agreement(&in, g), e);
	for (uint32_t v = 0; v < g->nvalues; v++)
		tensor_drop(&values[v]);
	free(values);
	engine_free(en);
	return o;
}

/* The operator a case is about: its only one, or the case's own name. */
static const char *subject(const struct graph *g, const char *dir)
{
	const char *base = strrchr(dir, '/');

	for (uint32_t i = 1; i < g->nnodes; i++) {
		if (strcmp(g->nodes[i].type, g->nodes[0].type) != 0)
			return base ? base + 1 : dir;
	}
	return g->nnodes ? g->nodes[0].type : "(empty)";
}

/* True for a case that data-errors.txt names. */
static bool has_data_error(const char *dir)
{
	const char *top = getenv("top_srcdir"), *base = strrchr(dir, '/');
	char *path = path_of("%s/tests/op/data-errors.txt", top ? top : ".");
	FILE *f = fopen(path, "r");
	char line[512];
	bool found = false;

	free(path);
	base = base ? base + 1 : dir;
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\t\n")] = '\0';
		found = strcmp(line, base) == 0;
	}
	if (f)
		fclose(f);
	return found;
}

static void run_case(const char *dir)
{
	char *path = path_of("%s/model.onnx", dir);
	struct model *m = NULL;
	enum outcome o = PASSED;
	struct err e = {0};
	const char *name = "(unread)";
	int rc;

	rc = format_load(path, false, &m, &e);
	free(path);
	if (rc < 0)
		o = outcome_of(rc);
	else
		name = subject(m->graph, dir);
	for (unsigned set = 0; rc == 0 && o == PASSED; set++) {
		path = path_of("%s/test_data_set_%u", dir, set);
		rc = access(path, F_OK);
		if (rc == 0)
			o = run_set(m, path, &e);
		free(path);
	}
	if (o == FAILED && has_data_error(dir))
		o = SKIPPED;
	note(name, o);
	if (verbose && o != PASSED)
		printf("# %s %s: %s\n", o == FAILED ? "failed" : "skipped", dir,
		       e.msg);
	model_free(m);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void walk(const char *dir)
{
	char *path = path_of("%s/model.onnx", dir);
	bool is_case = is_file(path);
	struct dirent **list;
	int n;

	free(path);
	if (is_case) {
		run_case(dir);
		return;
	}
	n = scandir(dir, &list, NULL, by_name);
	for (int i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.' && list[i]->d_type == DT_DIR) {
			path = path_of("%s/%s", dir, list[i]->d_name);
			walk(path);
			free(path);
		}
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

static void walk_default(void)
{
	static const char *const parts[] = {"latest", "light-std"};
	const char *corpus = getenv("MODELFS_CORPUS");

	walk(SYSTEM_CASES);
	for (size_t i = 0; i < 2 && corpus; i++) {
		char *path = path_of("%s/onnx-node/%s", corpus, parts[i]);

		walk(path);
		free(path);
	}
}

static int by_tally(const void *a, const void *b)
{
	return strcmp(((const struct tally *)a)->name,
		      ((const struct tally *)b)->name);
}

int main(int argc, char **argv)
{
	unsigned total[3] = {0};
	int i = 1;

	if (i < argc && strcmp(argv[i], "-v") == 0) {
		verbose = true;
		i++;
	}
	if (i + 1 < argc && strcmp(argv[i], "-t") == 0) {
		nthreads = (unsigned)atoi(argv[i + 1]);
		i += 2;
	}
	pool = pool_new(nthreads);
	if (!pool)
		return 1;
	if (i == argc)
		walk_default();
	for (; i < argc; i++)
		walk(argv[i]);
	pool_free(pool);
	qsort(tallies, ntallies, sizeof(tallies[0]), by_tally);
	for (size_t k = 0; k < ntallies; k++) {
		printf("%-40s %5u %5u %5u\n", tallies[k].name,
		       tallies[k].count[0], tallies[k].count[1],
		       tallies[k].count[2]);
		for (int o = 0; o < 3; o++)
			total[o] += tallies[k].count[o];
	}
	printf("%u passed, %u failed, %u skipped\n", total[0], total[1],
	       total[2]);
	return total[FAILED] > 0;
}
