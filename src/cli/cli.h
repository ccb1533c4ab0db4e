/* SPDX-License-Identifier: MIT */
/* cli - --ls, --cat and --extract: the tree without a mount. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stddef.h>

struct err;
struct vfs;

/* Each prints to standard output; 0 or -errno with the reason. */
int cli_ls(struct vfs *v, const char *path, struct err *e);
/* A last line for the listing of a whole model: "# 100 parameters, ...". */
int cli_totals(struct vfs *v, struct err *e);
int cli_cat(struct vfs *v, const char *path, struct err *e);
/* The folder to extract into, made if need be; a descriptor. */
int cli_open_target(const char *dir, struct err *e);
/* Copies what path holds into this folder. */
int cli_extract(struct vfs *v, const char *path, int dirfd, struct err *e);

#endif
