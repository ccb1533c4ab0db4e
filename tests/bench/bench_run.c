/* SPDX-License-Identifier: MIT */
/*
 * bench_run - how long a model takes, and where the time goes.
 *
 *	bench_run [-n ROUNDS] [-t THREADS] [-alv] MODEL INPUT=FILE.npy...
 *	          [OUTPUT:FILE.npy...]
 *
 * Every round is a fresh run of which the outputs are demanded (-a: every
 * value, in the order of the graph); weights stay loaded.  Prints the median
 * in milliseconds, and the share of each operator (-v: and each node's least
 * seconds: name, operator, shape), and how far it is from the limits of the
 * machine (-l).  OUTPUT:FILE compares.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/npy.h"
#include "modelfs/run.h"
#include "modelfs/source.h"
#include "modelfs/text.h"

#include "limits.h"

#define TYPES_MAX 256

struct share {
	char type[64];
	double seconds;
};

struct least {
	char *line; /* name, operator, shape */
	double seconds;
};

struct bench {
	struct model *model;
	struct engine *en;
	char **args;
	int nargs;
	bool all, limits, verbose;
	unsigned threads;
	double flops, nbytes; /* of the last round */
	struct least *nodes;  /* in the order of the profile */
	size_t nnodes;
	struct share shares[TYPES_MAX];
	size_t nshares;
	double cpu_seconds; /* of the last round, all threads */
};

static void die(const char *what, const struct err *e)
{
	fprintf(stderr, "bench_run: %s: %s\n", what, e->msg);
	exit(1);
}

static double now_seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct tensor read_npy(const char *path)
{
	struct err e = {0};
	struct source *src;
	struct tensor t;
	struct blob *file;

	if (source_open(AT_FDCWD, path, &src, &e) < 0 ||
	    blob_file(src, 0, source_size(src), &file, &e) < 0 ||
	    npy_read(file, &t, &e) < 0)
		die(path, &e);
	blob_unref(file);
	source_unref(src);
	return t;
}

static value_id find(const struct bench *b, const char *name, size_t len)
{
	value_id v = graph_find(b->model->graph, name, len);
	struct err e = {.msg = "no such value"};

	if (v == NO_VALUE)
		die(name, &e);
	return v;
}

static void bind(const struct bench *b, struct run *r)
{
	struct err e = {0};

	for (int i = 0; i < b->nargs; i++) {
		char *eq = strchr(b->args[i], '=');
		struct tensor t;

		if (!eq)
			continue;
		t = read_npy(eq + 1);
		if (run_bind(r, find(b, b->args[i], (size_t)(eq - b->args[i])),
			     &t, &e) < 0)
			die(b->args[i], &e);
	}
}

static void demand(struct run *r, value_id v)
{
	struct err e = {0};
	struct tensor t;

	if (run_demand(r, v, NULL, &t, &e) < 0)
		die("demand", &e);
	tensor_drop(&t);
}

static void demand_values(const struct bench *b, struct run *r)
{
	const struct graph *g = b->model->graph;

	for (uint32_t i = 0; b->all && i < g->nnodes; i++)
		for (uint32_t k = 0; k < g->nodes[i].nout; k++)
			if (g->nodes[i].out[k] != NO_VALUE)
				demand(r, g->nodes[i].out[k]);
	for (uint32_t i = 0; i < g->noutputs; i++)
		demand(r, g->outputs[i]);
}

/* ---- where the time goes ---- */

static void add_share(struct bench *b, const char *type, double seconds)
{
	size_t i = 0;

	while (i < b->nshares && strcmp(b->shares[i].type, type) != 0)
		i++;
	if (i == TYPES_MAX)
		return;
	if (i == b->nshares)
		snprintf(b->shares[b->nshares++].type,
			 sizeof(b->shares[i].type), "%s", type);
	b->shares[i].seconds += seconds;
}

/* The same nodes run in the same order in every round. */
static void add_node(struct bench *b, size_t i, const char *line, size_t len,
		     double seconds)
{
	if (i >= b->nnodes) {
		b->nodes = realloc(b->nodes, (i + 1) * sizeof(*b->nodes));
		if (!b->nodes)
			exit(1);
		b->nodes[i] = (struct least){strndup(line, len), seconds};
		b->nnodes = i + 1;
	}
	b->nodes[i].seconds = fmin(b->nodes[i].seconds, seconds);
}

/* The end of a line's third field, or NULL. */
static const char *end_of_shape(const char *line)
{
	for (int i = 0; i < 3 && line; i++)
		line = strchr(line + (i > 0), '\t');
	return line;
}

static void add_profile(struct bench *b, struct run *r)
{
	struct text t = {0};
	char *line, *rest = NULL;
	size_t i = 0;

	run_profile(r, &t);
	for (line = strtok_r(t.p, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		char type[64], *tab = strchr(line, '\t');
		const char *end = end_of_shape(line);

		if (!end || sscanf(tab, "\t%63[^\t]", type) != 1)
			continue;
		add_share(b, type, atof(end));
		add_node(b, i++, line, (size_t)(end - line), atof(end));
	}
	text_free(&t);
}

static int compare_shares(const void *a, const void *b)
{
	const struct share *x = a, *y = b;

	return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static void print_shares(struct bench *b, double total)
{
	qsort(b->shares, b->nshares, sizeof(b->shares[0]), compare_shares);
	for (size_t i = 0; i < b->nshares; i++)
		if (b->shares[i].seconds > 0.005 * total)
			printf("  %-24s %5.1f %%\n", b->shares[i].type,
			       100 * b->shares[i].seconds / total);
	for (size_t i = 0; i < b->nnodes && b->verbose; i++)
		printf("%s\t%.6f\n", b->nodes[i].line, b->nodes[i].seconds);
}

/* ---- how much there was to do ---- */

static double nelems(struct run *r, value_id v, struct tensor *t)
{
	uint64_t n = 0;

	if (v == NO_VALUE || run_describe(r, v, t, NULL) < 0 ||
	    !shape_nelems(&t->shape, &n))
		return 0;
	return (double)n;
}

/* Multiplications and additions of the products and convolutions. */
static double flops_of(struct run *r, const struct node *n)
{
	struct tensor out, a, w;
	double results = nelems(r, n->out[0], &out);

	if (n->nin < 2 || results == 0 || nelems(r, n->in[0], &a) == 0)
		return 0;
	if (strcmp(n->type, "Conv") == 0) {
		double all = nelems(r, n->in[1], &w);

		return all ? 2 * results * all / (double)w.shape.dims[0] : 0;
	}
	if (strcmp(n->type, "MatMul") && strcmp(n->type, "Gemm"))
		return 0;
	return 2 * results * (double)a.shape.dims[a.shape.rank - 1];
}

/* Of parameters once, of values once written. */
static double nbytes_of(const struct bench *b, struct run *r)
{
	double sum = 0;
	struct tensor t;

	for (uint32_t i = 0; i < b->model->nparams; i++)
		if (!b->model->params[i]->tied)
			sum += (double)param_tensor(b->model->params[i])
				       .data->size;
	for (uint32_t i = 0; i < b->model->graph->nnodes; i++)
		sum += 4 * nelems(r, b->model->graph->nodes[i].out[0], &t);
	return sum;
}

static void count_work(struct bench *b, struct run *r)
{
	const struct graph *g = b->model->graph;

	b->flops = 0;
	for (uint32_t i = 0; i < g->nnodes; i++)
		b->flops += flops_of(r, &g->nodes[i]);
	b->nbytes = nbytes_of(b, r);
}

static void print_limits(const struct bench *b, double least)
{
	double flops = limit_flops(b->threads), bytes = limit_bytes(b->threads);

	printf("  %.1f of %.1f GFLOP/s, at least %.1f of %.1f GB/s\n",
	       b->flops / least / 1e9, flops / 1e9, b->nbytes / least / 1e9,
	       bytes / 1e9);
}

/* ---- right, too? ---- */

static void compare(struct run *r, value_id v, const char *path)
{
	struct tensor want = read_npy(path), got;
	const float *x, *y;
	double worst = 0, most = 0;
	struct err e = {0};
	uint64_t n;

	if (run_demand(r, v, NULL, &got, &e) < 0)
		die(path, &e);
	if (got.dtype != DTYPE_F32 || !shape_equal(&got.shape, &want.shape) ||
	    !shape_nelems(&got.shape, &n))
		die(path, &(struct err){.msg = "another type or shape"});
	x = blob_bytes(got.data);
	y = malloc(n * sizeof(*y));
	if (!y || blob_read_full(want.data, (void *)y, n * sizeof(*y), 0, &e))
		die(path, &e);
	for (uint64_t i = 0; i < n; i++) {
		worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
		most = fmax(most, fabs((double)y[i]));
	}
	printf("difference %.2e of %.3g\n", worst, most);
	free((void *)y);
	tensor_drop(&got);
	tensor_drop(&want);
}

static void compare_outputs(const struct bench *b, struct run *r)
{
	for (int i = 0; i < b->nargs; i++) {
		char *colon = strchr(b->args[i], ':');

		if (colon && !strchr(b->args[i], '='))
			compare(r,
				find(b, b->args[i],
				     (size_t)(colon - b->args[i])),
				colon + 1);
	}
}

/* ---- rounds ---- */

static double run_round(struct bench *b, bool first)
{
	struct err e = {0};
	struct run *r;
	double start, cpu, seconds;

	if (run_new(b->en, b->model, &r, &e) < 0)
		die("run", &e);
	bind(b, r);
	cpu = now_seconds(CLOCK_PROCESS_CPUTIME_ID);
	start = now_seconds(CLOCK_MONOTONIC);
	demand_values(b, r);
	seconds = now_seconds(CLOCK_MONOTONIC) - start;
	b->cpu_seconds = now_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	if (first) {
		compare_outputs(b, r);
		count_work(b, r);
	} else {
		add_profile(b, r);
	}
	run_unref(r);
	return seconds;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void run_rounds(struct bench *b, int rounds)
{
	double *all = calloc((size_t)rounds, sizeof(*all)), total = 0, first;
	double cpu = INFINITY;
	struct rusage use;

	if (!all)
		exit(1);
	first = run_round(b, true);
	for (int i = 0; i < rounds; i++) {
		all[i] = run_round(b, false);
		total += all[i];
		cpu = fmin(cpu, b->cpu_seconds);
	}
	qsort(all, (size_t)rounds, sizeof(*all), compare_doubles);
	getrusage(RUSAGE_SELF, &use);
	printf("median %.3f ms, least %.3f ms, first %.3f ms, cpu %.3f ms, "
	       "peak %ld KiB\n",
	       1e3 * all[rounds / 2], 1e3 * all[0], 1e3 * first, 1e3 * cpu,
	       use.ru_maxrss);
	print_shares(b, total);
	if (b->limits)
		print_limits(b, all[0]);
	free(all);
}

int main(int argc, char **argv)
{
	struct bench b = {0};
	struct err e = {0};
	int rounds = 10, threads = 2, opt;

	while ((opt = getopt(argc, argv, "n:t:alv")) != -1) {
		if (opt == 'n')
			rounds = atoi(optarg);
		else if (opt == 't')
			threads = atoi(optarg);
		else if (opt == 'a')
			b.all = true;
		else if (opt == 'l')
			b.limits = true;
		else if (opt == 'v')
			b.verbose = true;
		else
			return 2;
	}
	if (optind >= argc || rounds < 1 || threads < 0)
		return 2;
	if (format_load(argv[optind], false, &b.model, &e) < 0)
		die(argv[optind], &e);
	b.args = argv + optind + 1;
	b.nargs = argc - optind - 1;
	b.threads = (unsigned)threads;
	b.en = engine_new(b.threads, 0);
	if (!b.en || !b.model->graph)
		return 1;
	run_rounds(&b, rounds);
	for (size_t i = 0; i < b.nnodes; i++)
		free(b.nodes[i].line);
	free(b.nodes);
	engine_free(b.en);
	model_free(b.model);
	return 0;
}
