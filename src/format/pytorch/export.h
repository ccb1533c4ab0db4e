/* SPDX-License-Identifier: MIT */
/* export - the program of torch.export, as a graph. */
#ifndef FORMAT_PYTORCH_EXPORT_H
#define FORMAT_PYTORCH_EXPORT_H

#include <stdint.h>

#include "modelfs/dtype.h"

struct err;
struct json;
struct model;

/* The element type of a number in a program; DTYPE_NONE: none of ours. */
enum dtype torch_export_type(int64_t number);

/*
 * Adds the graph of an ExportedProgram; the model's parameters are there
 * already.  Operators become ONNX's where it has them (aten.h).
 */
int torch_program_read(struct model *m, const struct json *root, struct err *e);

#endif
