/* SPDX-License-Identifier: MIT */
#include "kernel/strip.h"

#include <stdint.h>

#define GRAIN 16384
/* Elements of a strip, of which some in a row stay in the nearest cache. */
#define STRIP 1024

/* Of the widest type there is. */
struct room {
	uint64_t v[STRIP];
} __attribute__((aligned(64)));

struct job {
	const struct strip_step *steps;
	size_t nsteps, strip;
	char *out;
};

/* Input i from its element `at` on; room: for what has to be converted. */
static const void *fetch(const struct strip_step *s, size_t i, size_t at,
			 size_t n, struct room *room)
{
	const struct strip_input *in = &s->in[i];
	const char *p = (const char *)in->p + at * in->size;

	if (!in->load)
		return p;
	in->load(p, room, n);
	return room;
}

/* Elements [begin, end) of a result; flow: what the step before gave of it. */
static void run_step(const struct strip_step *s, const char *flow, size_t begin,
		     size_t end, char *out)
{
	const struct stride_plan *p = &s->plan;
	size_t width = p->rank ? p->dims[p->rank - 1] : 1;
	size_t step[STRIDE_IN_MAX], at[STRIDE_IN_MAX], column;
	struct room rooms[STRIDE_IN_MAX];
	const void *in[STRIDE_IN_MAX];

	for (size_t i = 0; i < p->nin; i++)
		step[i] = p->rank ? p->step[i][p->rank - 1] : 0;
	for (size_t done = 0; begin + done < end;) {
		size_t n = end - begin - done;

		stride_seek(p, begin + done, at, &column);
		n = width - column < n ? width - column : n;
		for (size_t i = 0; i < p->nin; i++)
			in[i] = i == s->flow
					? flow + done * p->in_size[i]
					: fetch(s, i, at[i], step[i] ? n : 1,
						&rooms[i]);
		s->fn(in, step, out + done * p->out_size, n, s->arg);
		done += n;
	}
}

static void run_strip(const struct job *j, size_t begin, size_t end)
{
	struct room rooms[2];
	const void *flow = NULL;

	for (size_t i = 0; i < j->nsteps; i++) {
		const struct strip_step *s = &j->steps[i];
		bool last = i + 1 == j->nsteps;
		char *out = j->out + begin * s->stored_size;
		void *to = last && !s->store ? out : (void *)&rooms[i % 2];

		run_step(s, flow, begin, end, to);
		if (s->store && last)
			s->store(to, out, end - begin);
		else if (s->round)
			s->round(to, to, end - begin);
		flow = to;
	}
}

static void run_strips(void *ctx, size_t begin, size_t end)
{
	const struct job *j = ctx;

	for (size_t n; begin < end; begin += n) {
		n = end - begin < j->strip ? end - begin : j->strip;
		run_strip(j, begin, begin + n);
	}
}

/* Nothing is in between. */
static bool is_direct(const struct strip_step *s)
{
	for (size_t i = 0; i < s->plan.nin; i++) {
		if (s->in[i].load)
			return false;
	}
	return !s->store;
}

void strip_run(const struct kernel *k, const struct strip_step *steps,
	       size_t nsteps, size_t n, void *out)
{
	struct job j = {
		.steps = steps, .nsteps = nsteps, .strip = STRIP, .out = out};

	if (nsteps == 1 && is_direct(steps))
		j.strip = SIZE_MAX;
	kernel_for(k, n, GRAIN, run_strips, &j);
}
