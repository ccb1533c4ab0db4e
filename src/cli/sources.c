/* SPDX-License-Identifier: MIT */
/* sources - see cli/sources.h. */
#include "cli/sources.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/* NAME=SOURCE, unless a file of that very name is there. */
static void split_source(char *arg, struct vfs_mount *out)
{
	char *eq = strchr(arg, '=');
	struct stat st;

	out->path = arg;
	out->name = base_name(arg);
	if (!eq || eq == arg || memchr(arg, '/', (size_t)(eq - arg)) ||
	    stat(arg, &st) == 0)
		return;
	*eq = '\0';
	out->name = arg;
	out->path = eq + 1;
}

static int name_file(const char *path, struct err *e)
{
	char q[ERR_QUOTED];

	return err_wrap(e, "%s", err_quote(q, path, strlen(path)));
}

static int open_one(struct sources *s, char *arg, bool lenient, struct err *e)
{
	struct vfs_mount *m = &s->mounts[s->n];
	struct stat st;
	size_t i;
	int rc;

	split_source(arg, m);
	for (i = 0; i < s->n; i++)
		if (strcmp(s->mounts[i].name, m->name) == 0)
			return err_set(e, EEXIST,
				       "two models of one name: use "
				       "NAME=SOURCE");
	rc = input_open(m->path, lenient, &s->inputs[s->n], e);
	if (rc < 0)
		return name_file(m->path, e);
	if (stat(m->path, &st) == 0)
		m->mtime = st.st_mtime;
	s->n++;
	return 0;
}

int sources_open(struct sources *s, char **args, size_t n, const char *graph,
		 bool lenient, struct err *e)
{
	size_t i;
	int rc = 0;

	memset(s, 0, sizeof(*s));
	for (i = 0; rc == 0 && i < n; i++)
		rc = open_one(s, args[i], lenient, e);
	if (rc < 0 || !graph)
		return rc;
	rc = input_open(graph, lenient, &s->graph, e);
	return rc < 0 ? name_file(graph, e) : 0;
}

size_t sources_folders(const struct sources *s, int *dirfds)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		dirfds[i] = s->inputs[i]->dirfd;
	if (s->graph)
		dirfds[i++] = s->graph->dirfd;
	return i;
}

static int read_grafted(const struct input *graph, const struct input *in,
			struct model **out, struct err *e)
{
	struct model *weights;
	int rc = format_read(in, &weights, e);

	if (rc < 0)
		return rc;
	rc = format_read(graph, out, e);
	if (rc == 0) {
		rc = model_graft(*out, weights, e);
		if (rc < 0) {
			model_free(*out);
			*out = NULL;
		}
	}
	model_free(weights);
	return rc;
}

int sources_read(struct sources *s, struct err *e)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		struct model **m = &s->mounts[i].model;
		int rc = s->graph ? read_grafted(s->graph, s->inputs[i], m, e)
				  : format_read(s->inputs[i], m, e);

		if (rc < 0)
			return name_file(s->mounts[i].path, e);
	}
	return 0;
}

void sources_close(struct sources *s)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		input_close(s->inputs[i]);
		model_free(s->mounts[i].model);
	}
	input_close(s->graph);
	s->n = 0;
	s->graph = NULL;
}
