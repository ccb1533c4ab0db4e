/* SPDX-License-Identifier: MIT */
#include "kernel/recurrent.h"

#include <math.h>

#define REAL float
#define T(name) name##_f32
#define M(name) name##f
#include "kernel/recurrent_body.h"
#undef REAL
#undef T
#undef M

#define REAL double
#define T(name) name##_f64
#define M(name) name
#include "kernel/recurrent_body.h"
