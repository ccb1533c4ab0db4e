/* SPDX-License-Identifier: MIT */
/* safetensors - one file of tensors, for other readers of the folder. */
#ifndef FORMAT_SAFETENSORS_H
#define FORMAT_SAFETENSORS_H

struct err;
struct model;
struct source;

/* Adds every tensor of the file to the model.  EINVAL when it is malformed. */
int safetensors_read(struct source *src, struct model *m, struct err *e);

#endif
