/* SPDX-License-Identifier: MIT */
/*
 * filter - the system calls that may still be made, as a program that the
 * kernel runs before each (seccomp(2)).  All else gives EPERM: what tries
 * something new gets an error, not a signal.
 *
 * The program is written by hand, and not by libseccomp: it takes no memory
 * (libseccomp 2.5 spoils the heap when it gets none) and a tenth of the time.
 */
#ifndef SANDBOX_FILTER_H
#define SANDBOX_FILTER_H

#include <stdbool.h>

enum filter_opening {
	FILTER_OPEN_NOTHING,
	FILTER_OPEN_TO_READ,
	FILTER_OPEN_TO_FILL /* new files, folders and links, too */
};

/*
 * For the calling thread and all it will start, for good; a second one holds
 * besides the first.  may_load: files may be mapped to be executed, as
 * libraries are.  -ENOSYS: nobody has said what this processor's calls are;
 * else what the kernel says.
 */
int filter_load(enum filter_opening what, bool may_load);

#endif
