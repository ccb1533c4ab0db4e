/* SPDX-License-Identifier: MIT */
/* log - see modelfs/log.h. */
#include "modelfs/log.h"

#include <stdarg.h>
#include <stdio.h>

static enum log_level max_level = LOG_WARNING;

void log_set_level(enum log_level level)
{
	max_level = level;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	if (level > max_level)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(stderr, "modelfs: %s\n", line);
}
