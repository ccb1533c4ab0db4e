/* SPDX-License-Identifier: MIT */
/* inputs - the files of --in, opened before the process is confined. */
#ifndef CLI_INPUTS_H
#define CLI_INPUTS_H

#include <stddef.h>

struct err;
struct source;
struct vfs;

#define CLI_INPUTS_MAX 256

struct cli_input {
	char *name; /* of the graph's input; owned */
	const char *path;
	struct source *file;
};

struct cli_inputs {
	struct cli_input all[CLI_INPUTS_MAX];
	size_t n;
};

/* Opens what spec, "NAME=FILE", names; spec must live as long. */
int cli_inputs_open(struct cli_inputs *in, const char *spec, struct err *e);
void cli_inputs_close(struct cli_inputs *in);
/* Gives them to this run. */
int cli_inputs_bind(const struct cli_inputs *in, struct vfs *v, const char *run,
		    struct err *e);

#endif
