/* SPDX-License-Identifier: MIT */
/* sandbox - see sandbox/sandbox.h. */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "modelfs/err.h"

#include "sandbox/filter.h"

/* ---- Landlock ---- */

#define READING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* A file that could not be written as a whole is removed again. */
#define FILLING                                                                \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |      \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |           \
	 LANDLOCK_ACCESS_FS_MAKE_SYM)

/* All that this version of the kernel can forbid. */
static uint64_t known_accesses(long abi)
{
	uint64_t all = LANDLOCK_ACCESS_FS_EXECUTE |
		       LANDLOCK_ACCESS_FS_WRITE_FILE | READING |
		       LANDLOCK_ACCESS_FS_REMOVE_DIR |
		       LANDLOCK_ACCESS_FS_REMOVE_FILE |
		       LANDLOCK_ACCESS_FS_MAKE_CHAR |
		       LANDLOCK_ACCESS_FS_MAKE_DIR |
		       LANDLOCK_ACCESS_FS_MAKE_REG |
		       LANDLOCK_ACCESS_FS_MAKE_SOCK |
		       LANDLOCK_ACCESS_FS_MAKE_FIFO |
		       LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		       LANDLOCK_ACCESS_FS_MAKE_SYM;

	if (abi >= 2)
		all |= LANDLOCK_ACCESS_FS_REFER;
	return all;
}

static int allow_folder(int ruleset, int dirfd, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = access,
		.parent_fd = dirfd,
	};

	return (int)syscall(SYS_landlock_add_rule, ruleset,
			    LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

/* The hub's cache keeps a snapshot's files in ../../blobs. */
static int allow_hub(int ruleset, int dirfd)
{
	int fd = openat(dirfd, "../../blobs",
			O_PATH | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return 0;
	rc = allow_folder(ruleset, fd, READING);
	close(fd);
	return rc;
}

/* Where the system has its libraries, and the list of them. */
static int allow_libraries(int ruleset)
{
	static const char *const places[] = {"/etc/ld.so.cache", "/lib",
					     "/lib64", "/usr/lib",
					     "/usr/lib64", "/usr/local/lib"};
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < sizeof(places) / sizeof(places[0]); i++) {
		int fd = open(places[i], O_PATH | O_CLOEXEC);

		if (fd < 0)
			continue;
		rc = allow_folder(ruleset, fd,
				  i == 0 ? LANDLOCK_ACCESS_FS_READ_FILE
					 : READING);
		close(fd);
	}
	return rc;
}

/* 1: the wall stands; 0: the kernel has none. */
static int enter_landlock(const struct sandbox_options *o)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
			   LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr;
	int ruleset, rc = 0;
	size_t i;

	if (abi < 1)
		return 0;
	attr = (struct landlock_ruleset_attr){
		.handled_access_fs = known_accesses(abi),
	};
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr,
			       sizeof(attr), 0);
	if (ruleset < 0)
		return -errno;
	for (i = 0; rc == 0 && i < o->ndirfds; i++) {
		rc = allow_folder(ruleset, o->dirfds[i], READING);
		if (rc == 0)
			rc = allow_hub(ruleset, o->dirfds[i]);
	}
	if (rc == 0 && o->may_load)
		rc = allow_libraries(ruleset);
	if (rc == 0 && o->target >= 0)
		rc = allow_folder(ruleset, o->target, READING | FILLING);
	if (rc == 0)
		rc = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
	if (rc < 0)
		rc = -errno;
	close(ruleset);
	return rc < 0 ? rc : 1;
}

/* ---- both ---- */

/* The sanitizers read /proc and trace their own process. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAVE_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAVE_SANITIZER 1
#endif
#endif
#ifndef HAVE_SANITIZER
#define HAVE_SANITIZER 0
#endif

int sandbox_enter(const struct sandbox_options *o, const char **walls,
		  struct err *e)
{
	int landlock, seccomp;

	if (HAVE_SANITIZER) {
		*walls = "none";
		return 0;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, errno, "no_new_privs: %s", strerror(errno));
	landlock = enter_landlock(o);
	if (landlock < 0)
		return err_set(e, -landlock, "landlock: %s",
			       strerror(-landlock));
	seccomp = filter_load(o->target < 0 ? FILTER_OPEN_TO_READ
					    : FILTER_OPEN_TO_FILL,
			      o->may_load);
	/* A kernel, or a container, without it. */
	if (seccomp == -EINVAL || seccomp == -ENOSYS || seccomp == -EACCES)
		seccomp = 1;
	if (seccomp < 0)
		return err_set(e, -seccomp, "seccomp: %s",
			       strerror(-seccomp));
	if (seccomp == 0)
		*walls = landlock ? "seccomp landlock" : "seccomp";
	else
		*walls = landlock ? "landlock" : "none";
	return 0;
}

int sandbox_close_files(struct err *e)
{
	int rc = HAVE_SANITIZER ? 0 : filter_load(FILTER_OPEN_NOTHING, false);

	if (rc == -EINVAL || rc == -ENOSYS || rc == -EACCES)
		return 0;
	return rc < 0 ? err_set(e, -rc, "seccomp: %s", strerror(-rc)) : 0;
}
