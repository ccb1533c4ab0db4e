/* SPDX-License-Identifier: MIT */
/*
 * mutants - damaged files of every format, opened as a mount would.
 *
 *	mutants [-n COUNT] [-s SEED] [-b BYTES] [-f FORMAT] [-i INDEX] [-o DIR]
 *		PATH...
 *
 * Every model of at most BYTES beneath the PATHs is a seed (seeds.h); without
 * a path, those of this folder.  COUNT mutants are made for each format.  A worker process
 * opens one after the other, walks its tree and reads a little of every file.
 * What crashes, hangs, takes more than CPU_MS or BYTES_MAX, or leaves memory
 * allocated is a failure: it is reported with its index, and saved in DIR.
 * -f with -i does one mutant again.  The same SEED and PATHs give the same
 * mutants.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"

#include "counted.h"
#include "fuzz.h"
#include "mutate.h"
#include "seeds.h"

#define PATH_BYTES 4096
#define FAILURES_MAX 20
#define COUNT_DEFAULT 300

/* Far above what a file of 64 KiB may cost, far below what would hurt. */
#define CPU_MS 1000
#define BYTES_MAX (128ll << 20)
/* Until the worker is killed: processor time, and time of the clock. */
#define CPU_KILL_SECONDS 20
#define CLOCK_KILL_SECONDS 120

/* What the worker tells, also when it dies. */
struct report {
	_Atomic uint64_t index; /* at work on this mutant */
	_Atomic uint64_t seed;	/* or on this one, before all mutants */
	uint64_t nread;		/* mutants that were models */
	uint64_t slowest_us, slowest_index;
	uint64_t largest, largest_index; /* bytes allocated at once */
	char failure[300];
};

struct job {
	struct seeds seeds;
	size_t chosen[SEEDS_MAX]; /* of the format at work */
	size_t nchosen, format;
	uint64_t first, count, seed;
	const char *only; /* a format; NULL: all */
	const char *out;  /* NULL: failures are not saved */
	char dir[64];	  /* a folder for every seed, by number */
	struct report *report;
};

static void die(const char *what)
{
	fprintf(stderr, "mutants: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* ---- files ---- */

static void write_file(const char *path, const uint8_t *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		die(path);
	close(fd);
}

static void seed_path(const struct job *j, size_t seed, const char *name,
		      char *path)
{
	snprintf(path, PATH_BYTES, "%s/%zu/%s", j->dir, seed, name);
}

static void lay_out(const struct job *j, size_t n)
{
	const struct seed *s = &j->seeds.all[n];
	char path[PATH_BYTES];

	seed_path(j, n, "", path);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		die(path);
	for (size_t i = 0; i < s->nfiles; i++) {
		char *slash;

		seed_path(j, n, s->files[i].name, path);
		slash = strrchr(path, '/');
		*slash = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			die(path);
		*slash = '/';
		write_file(path, s->files[i].data, s->files[i].len);
	}
}

static int remove_one(const char *path, const struct stat *st, int flag,
		      struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void remove_all(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- one mutant ---- */

/* Which file of which seed became what. */
struct made {
	struct mutant m;
	size_t seed, file;
	bool lenient;
};

static void make(const struct job *j, uint64_t index, uint8_t *room,
		 struct made *out)
{
	struct mutant *m = &out->m;
	const struct seed *s, *other;
	const struct seed_file *f, *from;

	*m = (struct mutant){
		.data = room,
		.cap = SEED_BYTES_MAX + MUTANT_GROWTH,
		.random = j->seed * 0x100000001b3u + index * 0x9e3779b9u +
			  j->format,
	};
	out->seed = j->chosen[mutant_pick(m, j->nchosen)];
	s = &j->seeds.all[out->seed];
	other = &j->seeds.all[j->chosen[mutant_pick(m, j->nchosen)]];
	out->file = mutant_pick(m, s->nfiles);
	out->lenient = mutant_pick(m, 4) == 0;
	f = &s->files[out->file];
	from = &other->files[mutant_pick(m, other->nfiles)];
	memcpy(room, f->data, f->len);
	m->len = f->len;
	mutate(m, from->data, from->len);
	if (mutant_pick(m, 4))
		mutant_mend(m);
}

static bool open_mutant(const struct job *j, const struct made *x)
{
	const struct seed *s = &j->seeds.all[x->seed];
	char path[PATH_BYTES];
	struct model *m;
	struct err e = {0};

	seed_path(j, x->seed, s->opened, path);
	if (format_load(path, x->lenient, &m, &e) == 0) {
		fuzz_walk_run(m);
		return true;
	}
	if (e.code == 0 || e.msg[0] == '\0')
		abort(); /* a failure without a reason */
	return false;
}

static uint64_t cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void set_alarms(void)
{
	struct itimerval cpu = {.it_value.tv_sec = CPU_KILL_SECONDS};

	setitimer(ITIMER_PROF, &cpu, NULL);
	alarm(CLOCK_KILL_SECONDS);
}

/* Writes what it cost into the report; a failure ends the worker. */
static void check_cost(struct report *r, uint64_t index, uint64_t us,
		       long long left)
{
	uint64_t most = (uint64_t)counted_peak();

	if (us > r->slowest_us) {
		r->slowest_us = us;
		r->slowest_index = index;
	}
	if (most > r->largest) {
		r->largest = most;
		r->largest_index = index;
	}
	if (us > CPU_MS * 1000)
		snprintf(r->failure, sizeof(r->failure), "took %llu ms",
			 (unsigned long long)us / 1000);
	else if (most > BYTES_MAX)
		snprintf(r->failure, sizeof(r->failure), "allocated %llu MiB",
			 (unsigned long long)most >> 20);
	else if (left > 0)
		snprintf(r->failure, sizeof(r->failure), "lost %lld bytes",
			 left);
	if (left > 0)
		counted_explain();
	if (r->failure[0])
		_exit(1);
}

static void open_and_check(struct job *j, uint64_t index, uint8_t *room)
{
	struct report *r = j->report;
	const struct seed_file *f;
	char path[PATH_BYTES];
	struct made x;
	uint64_t start;

	make(j, index, room, &x);
	f = &j->seeds.all[x.seed].files[x.file];
	seed_path(j, x.seed, f->name, path);
	write_file(path, x.m.data, x.m.len);
	set_alarms();
	counted_start();
	start = cpu_us();
	r->nread += open_mutant(j, &x);
	check_cost(r, index, cpu_us() - start, counted_now());
	write_file(path, f->data, f->len);
}

/* ---- the worker, and who watches it ---- */

/* What libraries make once and keep is none of a mutant's. */
static void warm_up(struct job *j)
{
	tzset();
	for (size_t i = 0; i < j->nchosen; i++) {
		struct made x = {.seed = j->chosen[i]};

		atomic_store(&j->report->seed, i);
		open_mutant(j, &x);
	}
}

static void work(struct job *j, uint64_t from)
{
	uint8_t *room = malloc(SEED_BYTES_MAX + MUTANT_GROWTH);
	uint64_t i;

	if (!room)
		die("memory");
	set_alarms();
	atomic_store(&j->report->index, UINT64_MAX);
	warm_up(j);
	for (i = from; i < j->first + j->count; i++) {
		atomic_store(&j->report->index, i);
		open_and_check(j, i, room);
	}
	_exit(0);
}

/* The exact bytes of a mutant, and what is beside it, in DIR/FORMAT-INDEX. */
static void save(struct job *j, const struct made *x, uint64_t index)
{
	char from[PATH_BYTES], to[PATH_BYTES];

	snprintf(from, sizeof(from), "%s/%zu", j->dir, x->seed);
	snprintf(to, sizeof(to), "%s/%s-%llu", j->out, formats[j->format]->name,
		 (unsigned long long)index);
	if (mkdir(to, 0777) < 0 && errno != EEXIST)
		die(to);
	for (size_t i = 0; i < j->seeds.all[x->seed].nfiles; i++) {
		const struct seed_file *f = &j->seeds.all[x->seed].files[i];
		char name[PATH_BYTES / 2];

		/* Folders within become a part of the name. */
		snprintf(name, sizeof(name), "%s", f->name);
		for (char *p = strchr(name, '/'); p; p = strchr(p, '/'))
			*p = '+';
		snprintf(from, sizeof(from), "%.2000s/%.2000s", to, name);
		if (i == x->file)
			write_file(from, x->m.data, x->m.len);
		else
			write_file(from, f->data, f->len);
	}
}

static void report_failure(struct job *j, int status, uint64_t index)
{
	uint8_t *room = malloc(SEED_BYTES_MAX + MUTANT_GROWTH);
	const char *why = j->report->failure;
	char text[64];
	struct made x;

	if (!room)
		die("memory");
	if (!*why) {
		snprintf(text, sizeof(text), "%s %d",
			 WIFSIGNALED(status) ? "signal" : "exit",
			 WIFSIGNALED(status) ? WTERMSIG(status)
					     : WEXITSTATUS(status));
		why = text;
	}
	make(j, index, room, &x);
	printf("# %s: mutant %llu of %s: %s\n", formats[j->format]->name,
	       (unsigned long long)index, j->seeds.all[x.seed].path, why);
	if (j->out)
		save(j, &x, index);
	lay_out(j, x.seed);
	j->report->failure[0] = '\0';
	free(room);
}

/* A worker from this mutant on; its exit status. */
static int watch(struct job *j, uint64_t from)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		work(j, from);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return status;
}

static void print_result(const struct job *j, uint64_t done, unsigned nfailed)
{
	const struct report *r = j->report;

	printf("%s - mutants: %s: %llu mutants of %zu seeds, %llu were models,"
	       " at most %llu ms (%llu), %llu KiB (%llu), %u failed\n",
	       nfailed ? "not ok" : "ok", formats[j->format]->name,
	       (unsigned long long)done, j->nchosen,
	       (unsigned long long)r->nread,
	       (unsigned long long)r->slowest_us / 1000,
	       (unsigned long long)r->slowest_index,
	       (unsigned long long)r->largest >> 10,
	       (unsigned long long)r->largest_index, nfailed);
	fflush(stdout);
}

static unsigned run_format(struct job *j)
{
	uint64_t from = j->first;
	unsigned nfailed = 0;
	int status;

	memset(j->report, 0, sizeof(*j->report));
	for (;;) {
		status = watch(j, from);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
			from = j->first + j->count;
			break;
		}
		if (j->report->index == UINT64_MAX) {
			printf("# %s fails already\n",
			       j->seeds.all[j->chosen[j->report->seed]].path);
			nfailed++;
			break;
		}
		from = j->report->index + 1;
		report_failure(j, status, from - 1);
		if (++nfailed == FAILURES_MAX)
			break;
	}
	print_result(j, from - j->first, nfailed);
	return nfailed;
}

static void choose(struct job *j, size_t format)
{
	j->format = format;
	j->nchosen = 0;
	for (size_t i = 0; i < j->seeds.n; i++)
		if (j->seeds.all[i].format == format)
			j->chosen[j->nchosen++] = i;
}

static unsigned run_all(struct job *j)
{
	unsigned nfailed = 0;

	for (size_t i = 0; formats[i]; i++) {
		choose(j, i);
		if (j->only && strcmp(formats[i]->name, j->only) != 0)
			continue;
		if (j->nchosen == 0) {
			printf("skip - mutants: %s (no seed)\n",
			       formats[i]->name);
			continue;
		}
		nfailed += run_format(j);
	}
	return nfailed;
}

/* ---- options ---- */

static void find_seeds(struct job *j, char **paths, int n)
{
	const char *top = getenv("srcdir");
	char own[PATH_BYTES];
	char *here[] = {own};

	snprintf(own, sizeof(own), "%s/tests/fuzz/corpus", top ? top : ".");
	if (n == 0) {
		paths = here;
		n = 1;
	}
	for (int i = 0; i < n; i++)
		if (seeds_find(&j->seeds, paths[i]) < 0)
			die(paths[i]);
}

static void make_folders(struct job *j)
{
	bool has_shm = access("/dev/shm", W_OK) == 0;

	snprintf(j->dir, sizeof(j->dir), "%s/modelfs-mutants-XXXXXX",
		 has_shm ? "/dev/shm" : "/tmp");
	if (!mkdtemp(j->dir))
		die(j->dir);
	for (size_t i = 0; i < j->seeds.n; i++)
		lay_out(j, i);
	if (j->out && mkdir(j->out, 0777) < 0 && errno != EEXIST)
		die(j->out);
}

static bool parse_option(struct job *j, int c)
{
	switch (c) {
	case 'n':
		j->count = strtoull(optarg, NULL, 10);
		return true;
	case 's':
		j->seed = strtoull(optarg, NULL, 10);
		return true;
	case 'b':
		j->seeds.most = strtoull(optarg, NULL, 10);
		return true;
	case 'f':
		j->only = optarg;
		return true;
	case 'i':
		j->first = strtoull(optarg, NULL, 10);
		j->count = 1;
		return true;
	case 'o':
		j->out = optarg;
		return true;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	static struct job j = {.count = COUNT_DEFAULT, .seed = 1};
	unsigned nfailed;
	int c;

	while (c = getopt(argc, argv, "n:s:b:f:i:o:"), c != -1)
		if (!parse_option(&j, c))
			return 2;
	find_seeds(&j, argv + optind, argc - optind);
	j.report = mmap(NULL, sizeof(*j.report), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (j.report == MAP_FAILED)
		die("mmap");
	make_folders(&j);
	nfailed = run_all(&j);
	remove_all(j.dir);
	seeds_free(&j.seeds);
	return nfailed ? 1 : 0;
}
