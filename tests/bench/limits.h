/* SPDX-License-Identifier: MIT */
/* limits - what this machine can do at the moment, to measure against. */
#ifndef BENCH_LIMITS_H
#define BENCH_LIMITS_H

/* Multiplications and additions a second; 0: not known here. */
double limit_flops(unsigned threads);
/* Bytes a second that can be read from memory. */
double limit_bytes(unsigned threads);

#endif
