/* SPDX-License-Identifier: MIT */
/* report - status, log and profile of a run, as text for the shell. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "modelfs/blob.h"
#include "run/engine.h"

/* The log keeps its last part. */
#define LOG_BYTES_MAX 65536

static void trim_log(struct text *log)
{
	char *cut;
	size_t rest;

	if (log->len <= LOG_BYTES_MAX)
		return;
	cut = strchr(log->p + log->len / 2, '\n');
	if (!cut)
		return;
	rest = log->len - (size_t)(cut + 1 - log->p);
	memmove(log->p, cut + 1, rest + 1);
	log->len = rest;
}

void report_log(struct run *r, const char *fmt, ...)
{
	char line[512], when[32];
	time_t now = time(NULL);
	struct tm tm;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	localtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	pthread_mutex_lock(&r->en->lock);
	text_printf(&r->log, "%s %s\n", when, line);
	/* A line is lost when there is no memory for it, not the log. */
	r->log.failed = false;
	trim_log(&r->log);
	pthread_mutex_unlock(&r->en->lock);
}

void run_note(struct run *r, const char *text)
{
	report_log(r, "%s", text);
	pthread_mutex_lock(&r->en->lock);
	snprintf(r->note, sizeof(r->note), "%s", text);
	pthread_mutex_unlock(&r->en->lock);
}

void run_log(struct run *r, struct text *out)
{
	pthread_mutex_lock(&r->en->lock);
	text_add_bytes(out, r->log.p ? r->log.p : "", r->log.len);
	pthread_mutex_unlock(&r->en->lock);
}

static bool is_missing(const struct run *r, value_id v)
{
	return !r->slots[v].is_given;
}

static const char *state_name(const struct run *r)
{
	uint32_t i;

	if (r->nrunning > 0)
		return "running";
	if (r->failure.code || r->g->broken)
		return "failed";
	for (i = 0; i < r->g->ninputs; i++)
		if (is_missing(r, r->g->inputs[i]))
			return "waiting";
	return "ready";
}

static uint64_t cached_nbytes(const struct run *r)
{
	uint64_t n = 0;
	uint32_t i;

	for (i = 0; i < r->g->nvalues; i++)
		if (r->slots[i].value.t.data)
			n += r->slots[i].value.t.data->size;
	return n;
}

void run_status(struct run *r, struct text *out)
{
	uint32_t i;

	pthread_mutex_lock(&r->en->lock);
	text_printf(out, "state\t%s\n", state_name(r));
	for (i = 0; i < r->g->ninputs; i++)
		if (is_missing(r, r->g->inputs[i]))
			text_printf(out, "missing\t%s\n",
				    r->g->values[r->g->inputs[i]].name);
	if (r->nrunning > 0)
		text_printf(out, "node\t%u of %u\n", r->plan_done + 1,
			    r->plan_total);
	text_printf(out, "computed\t%llu\n", (unsigned long long)r->ncomputed);
	text_printf(out, "seconds\t%.6f\n", r->seconds);
	text_printf(out, "bytes\t%llu\n", (unsigned long long)cached_nbytes(r));
	if (r->failure.code)
		text_printf(out, "error\t%s\n", r->failure.msg);
	else if (r->g->broken)
		text_printf(out, "error\t%s\n", r->g->broken);
	else if (r->note[0])
		text_printf(out, "error\t%s\n", r->note);
	pthread_mutex_unlock(&r->en->lock);
}

struct line {
	uint64_t order;
	uint32_t node;
};

static int compare_lines(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return (x->order > y->order) - (x->order < y->order);
}

static void profile_line(const struct run *r, uint32_t i, struct text *out)
{
	const struct node *n = &r->g->nodes[i];
	char shape[256] = "";

	if (n->nout > 0 && n->out[0] != NO_VALUE)
		shape_format(&r->slots[n->out[0]].value.t.shape, shape,
			     sizeof(shape));
	text_printf(out, "%s\t%s\t%s\t%.6f\t%llu\t%.6f\n", n->name, n->type,
		    shape, r->nodes[i].seconds,
		    (unsigned long long)r->nodes[i].nbytes,
		    r->nodes[i].form_seconds);
}

void run_profile(struct run *r, struct text *out)
{
	struct line *lines;
	uint32_t i, n = 0;

	pthread_mutex_lock(&r->en->lock);
	lines = calloc((size_t)r->g->nnodes + 1, sizeof(*lines));
	for (i = 0; lines && i < r->g->nnodes; i++)
		if (r->nodes[i].order)
			lines[n++] = (struct line){r->nodes[i].order, i};
	if (lines)
		qsort(lines, n, sizeof(*lines), compare_lines);
	for (i = 0; i < n; i++)
		profile_line(r, lines[i].node, out);
	pthread_mutex_unlock(&r->en->lock);
	free(lines);
}
