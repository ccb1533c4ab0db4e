/* SPDX-License-Identifier: MIT */
/* seeds - see seeds.h. */
#include "seeds.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "modelfs/format.h"

#define PATH_BYTES 4096

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* The best bidder, or -1. */
static long ask(const char *path)
{
	struct input *in;
	long best = -1;
	int most = 0;

	if (input_open(path, false, &in, NULL) < 0)
		return -1;
	for (long i = 0; formats[i]; i++) {
		int score = formats[i]->probe(in);

		if (score > most) {
			most = score;
			best = i;
		}
	}
	input_close(in);
	return best;
}

static uint8_t *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = must(malloc(SEED_BYTES_MAX + 1));

	*len = f ? fread(data, 1, SEED_BYTES_MAX + 1, f) : SEED_BYTES_MAX + 1;
	if (f)
		fclose(f);
	if (*len <= SEED_BYTES_MAX)
		return data;
	free(data);
	return NULL;
}

static void seed_clear(struct seed *s)
{
	for (size_t i = 0; i < s->nfiles; i++) {
		free(s->files[i].name);
		free(s->files[i].data);
	}
	free(s->path);
	*s = (struct seed){0};
}

static bool add_file(struct seed *s, const char *path, const char *name)
{
	struct seed_file *f = &s->files[s->nfiles];

	if (s->nfiles == SEED_FILES_MAX)
		return false;
	f->data = read_file(path, &f->len);
	if (!f->data)
		return false;
	f->name = must(strdup(name));
	s->nfiles++;
	return true;
}

/* ---- folders ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_shown(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

/* Calls f with every entry, in the order of the names. */
static int for_each(const char *dir, void *ctx,
		    bool (*f)(void *ctx, const char *path, const char *name))
{
	char path[PATH_BYTES];
	struct dirent **list;
	bool go_on = true;
	int n = scandir(dir, &list, is_shown, by_name);

	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);
		go_on = go_on && f(ctx, path, list[i]->d_name);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return n < 0 || !go_on ? -1 : 0;
}

struct below {
	struct seed *seed;
	const char *prefix;
};

/* A folder's files, and those one level down (variables/, assets/). */
static bool add_below(void *ctx, const char *path, const char *name)
{
	struct below *b = ctx;
	struct below deeper = {.seed = b->seed};
	char full[PATH_BYTES];
	struct stat st;

	snprintf(full, sizeof(full), "%s%s", b->prefix, name);
	if (stat(path, &st) < 0)
		return false;
	if (!S_ISDIR(st.st_mode))
		return add_file(b->seed, path, full);
	if (*b->prefix)
		return false;
	strncat(full, "/", sizeof(full) - strlen(full) - 1);
	deeper.prefix = full;
	return for_each(path, &deeper, add_below) == 0;
}

/* ---- one seed ---- */

static void keep(struct seeds *s, struct seed *seed, const char *path,
		 long format)
{
	if (format < 0 || s->n == SEEDS_MAX) {
		seed_clear(seed);
		return;
	}
	seed->format = (size_t)format;
	seed->path = must(strdup(path));
	s->all[s->n++] = *seed;
}

static void add_lone_file(struct seeds *s, const char *path, const char *name)
{
	struct seed seed = {0};

	if (!add_file(&seed, path, name)) {
		seed_clear(&seed);
		return;
	}
	seed.opened = seed.files[0].name;
	keep(s, &seed, path, ask(path));
}

static bool is_small(const struct seed *s, size_t most)
{
	for (size_t i = 0; i < s->nfiles; i++)
		if (s->files[i].len > most)
			return false;
	return true;
}

/* opened: "" for the folder itself. */
static void add_folder(struct seeds *s, const char *path, const char *opened)
{
	struct seed seed = {0};
	struct below b = {&seed, ""};
	char full[PATH_BYTES];
	long format;

	snprintf(full, sizeof(full), "%s/%s", path, opened);
	format = ask(full);
	if (format < 0)
		return;
	if (for_each(path, &b, add_below) < 0 || seed.nfiles == 0 ||
	    !is_small(&seed, s->most)) {
		seed_clear(&seed);
		return;
	}
	seed.opened = "";
	for (size_t i = 0; i < seed.nfiles; i++)
		if (strcmp(seed.files[i].name, opened) == 0)
			seed.opened = seed.files[i].name;
	keep(s, &seed, path, format);
}

/* X of "X.files", else NULL. */
static char *opened_file(const char *name)
{
	static const char end[] = ".files";
	size_t n = strlen(name), k = strlen(end);

	if (n < k || strcmp(name + n - k, end) != 0)
		return NULL;
	return must(strndup(name, n - k));
}

static bool find_at(void *ctx, const char *path, const char *name)
{
	struct seeds *s = ctx;
	struct stat st;
	char *opened;

	if (stat(path, &st) < 0)
		return true;
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size <= s->most)
		add_lone_file(s, path, name);
	if (!S_ISDIR(st.st_mode))
		return true;
	opened = opened_file(name);
	add_folder(s, path, opened ? opened : "");
	if (!opened)
		for_each(path, s, find_at);
	free(opened);
	return true;
}

int seeds_find(struct seeds *s, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (stat(path, &st) < 0)
		return -1;
	if (s->most == 0 || s->most > SEED_BYTES_MAX)
		s->most = SEED_BYTES_MAX;
	if (!s->all)
		s->all = must(calloc(SEEDS_MAX, sizeof(*s->all)));
	find_at(s, path, slash ? slash + 1 : path);
	return 0;
}

void seeds_free(struct seeds *s)
{
	for (size_t i = 0; i < s->n; i++)
		seed_clear(&s->all[i]);
	free(s->all);
}
