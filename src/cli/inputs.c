/* SPDX-License-Identifier: MIT */
/* inputs - see cli/inputs.h. */
#include "cli/inputs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/source.h"
#include "modelfs/vfs.h"

int cli_inputs_open(struct cli_inputs *in, const char *spec, struct err *e)
{
	const char *eq = strchr(spec, '=');
	struct cli_input *x = &in->all[in->n];
	int rc;

	if (!eq || in->n == CLI_INPUTS_MAX)
		return err_set(e, EINVAL, "%s: not NAME=FILE", spec);
	rc = source_open(-1, eq + 1, &x->file, e);
	if (rc < 0)
		return err_wrap(e, "%s", eq + 1);
	x->path = eq + 1;
	x->name = strndup(spec, (size_t)(eq - spec));
	in->n++;
	return x->name ? 0 : err_nomem(e, (uint64_t)(eq - spec));
}

void cli_inputs_close(struct cli_inputs *in)
{
	size_t i;

	for (i = 0; i < in->n; i++) {
		free(in->all[i].name);
		source_unref(in->all[i].file);
	}
	in->n = 0;
}

int cli_inputs_bind(const struct cli_inputs *in, struct vfs *v, const char *run,
		    struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < in->n; i++) {
		const struct cli_input *x = &in->all[i];

		rc = vfs_bind_source(v, run, x->name, x->file, e);
		if (rc < 0)
			err_wrap(e, "%s", x->path);
	}
	return rc;
}
