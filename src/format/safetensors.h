/* SPDX-License-Identifier: MIT */
/* safetensors - one file of tensors, for other readers of the folder. */
#ifndef FORMAT_SAFETENSORS_H
#define FORMAT_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct model;
struct source;

/* What to take of a file that is one of several. */
struct safetensors_part {
	bool (*wants)(void *ctx, const char *name, size_t len);
	void *ctx;
	bool has_config; /* __metadata__ is wanted, too */
};

/*
 * Adds the tensors of the file to the model, all where part is NULL.  EINVAL
 * when it is malformed; then nothing was added.
 */
int safetensors_read(struct source *src, const struct safetensors_part *part,
		     struct model *m, struct err *e);

#endif
