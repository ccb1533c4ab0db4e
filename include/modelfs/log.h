/* SPDX-License-Identifier: MIT */
/*
 * log - one line on standard error, for the top of the program only.
 *
 * Libraries return a struct err; they never log and return both.
 */
#ifndef MODELFS_LOG_H
#define MODELFS_LOG_H

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* Lines above this level are dropped.  Set once, before threads start. */
void log_set_level(enum log_level level);

/* "modelfs: " + text + newline, written in one call. */
void log_line(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
