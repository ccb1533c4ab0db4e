/* SPDX-License-Identifier: MIT */
/* sandbox - see sandbox/sandbox.h. */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "modelfs/err.h"

/* ---- seccomp ---- */

/*
 * What reading models, computing and answering the kernel takes.  All else
 * gives EPERM: a library that tries something new gets an error, not a signal.
 */
static const int allowed[] = {
	/* files that are open, pipes for splice */
	SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(preadv),
	SCMP_SYS(preadv2), SCMP_SYS(write), SCMP_SYS(writev),
	SCMP_SYS(pwrite64), SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(fstat),
	SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(stat), SCMP_SYS(lstat),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents64),
	SCMP_SYS(fcntl), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3),
	SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(splice), SCMP_SYS(vmsplice),
	SCMP_SYS(tee), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(chdir),
	SCMP_SYS(fadvise64), SCMP_SYS(access), SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2), SCMP_SYS(getcwd),
	/* what was asked of the mounting process comes back this way */
	SCMP_SYS(recvmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendto),
	SCMP_SYS(sendmsg), SCMP_SYS(shutdown),
	/* memory */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
	SCMP_SYS(mlock), SCMP_SYS(munlock),
	/* threads, time, signals */
	SCMP_SYS(futex), SCMP_SYS(exit), SCMP_SYS(exit_group),
	SCMP_SYS(set_robust_list), SCMP_SYS(get_robust_list), SCMP_SYS(rseq),
	SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(getppid),
	SCMP_SYS(tgkill), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_setaffinity), SCMP_SYS(membarrier),
	SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigtimedwait), SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall), SCMP_SYS(getrandom), SCMP_SYS(getrusage),
	SCMP_SYS(wait4), SCMP_SYS(setitimer),
	/* who and where we are */
	SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
	SCMP_SYS(getegid), SCMP_SYS(uname), SCMP_SYS(sysinfo),
	SCMP_SYS(umask), SCMP_SYS(getrlimit), SCMP_SYS(setsid),
};

static int allow_all(scmp_filter_ctx ctx)
{
	size_t i;

	for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);

		/* Not every machine has every old call. */
		if (rc < 0 && rc != -EDOM)
			return rc;
	}
	return 0;
}

/* Threads, but no processes; memory, but none that can be executed. */
static int allow_some(scmp_filter_ctx ctx)
{
	const struct scmp_arg_cmp thread = SCMP_A0(
		SCMP_CMP_MASKED_EQ, 0x00010000, 0x00010000); /* CLONE_THREAD */
	const struct scmp_arg_cmp no_exec =
		SCMP_A2(SCMP_CMP_MASKED_EQ, 4, 0); /* PROT_EXEC */
	const struct scmp_arg_cmp get_limit = SCMP_A2(SCMP_CMP_EQ, 0);
	/* Names of threads; the sanitizers' questions. */
	int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 0);

	/* Its flags lie in memory; glibc then uses clone, which can be seen. */
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS),
				      SCMP_SYS(clone3), 0);
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				      thread);
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				      no_exec);
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect),
				      1, no_exec);
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64),
				      1, get_limit);
	return rc;
}

/* Reading only; openat2 can't be filtered by flags, Landlock watches it. */
static int allow_opening(scmp_filter_ctx ctx)
{
	const unsigned writes = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
	int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
				  SCMP_A2(SCMP_CMP_MASKED_EQ, writes, 0));

	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(openat2),
				      0);
	return rc;
}

static int load_filter(bool may_open)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc;

	if (!ctx)
		return -ENOMEM;
	rc = allow_all(ctx);
	if (rc == 0)
		rc = allow_some(ctx);
	if (rc == 0 && may_open)
		rc = allow_opening(ctx);
	/* The second filter is loaded under the first. */
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(seccomp),
				      0);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc;
}

/* ---- Landlock ---- */

#define READING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

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

static int allow_folder(int ruleset, int dirfd)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = READING,
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
	rc = allow_folder(ruleset, fd);
	close(fd);
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
		rc = allow_folder(ruleset, o->dirfds[i]);
		if (rc == 0)
			rc = allow_hub(ruleset, o->dirfds[i]);
	}
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
	seccomp = load_filter(true);
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
	int rc = HAVE_SANITIZER ? 0 : load_filter(false);

	if (rc == -EINVAL || rc == -ENOSYS || rc == -EACCES)
		return 0;
	return rc < 0 ? err_set(e, -rc, "seccomp: %s", strerror(-rc)) : 0;
}
