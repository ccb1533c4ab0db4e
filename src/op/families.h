/* SPDX-License-Identifier: MIT */
/* families - every array of operators; each ends with an empty entry. */
#ifndef OP_FAMILIES_H
#define OP_FAMILIES_H

#include "modelfs/op.h"

#define OP_FAMILIES(X) X(cast)

#define DECLARE(name) extern const struct op ops_##name[];
OP_FAMILIES(DECLARE)
#undef DECLARE

#endif
