/* SPDX-License-Identifier: MIT */
/*
 * The walls, tried from inside: each case runs in a process of its own, which
 * confines itself and then tries what a parser that was taken over would.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "modelfs/err.h"

#include "check.h"
#include "sandbox/sandbox.h"

static char top[] = "/tmp/modelfs-test-XXXXXX"; /* in/, out/, secret */

static void make_files(void)
{
	char path[64];
	int fd;

	if (!mkdtemp(top))
		abort();
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", top, i ? "out" : "in");
		mkdir(path, 0700);
	}
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", top,
			 i ? "secret" : "in/model");
		fd = open(path, O_CREAT | O_WRONLY, 0600);
		if (fd < 0)
			abort();
		close(fd);
	}
}

static int open_below(const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	return open(path, flags, 0600);
}

/* True when f() finds nothing wrong, confined. */
static bool holds(void (*f)(const char *walls), bool may_fill, bool may_load)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int dirfd = open_below("in", O_PATH | O_DIRECTORY);
		struct sandbox_options o = {
			.dirfds = &dirfd,
			.ndirfds = 1,
			.target = may_fill ? open_below("out", O_RDONLY) : -1,
			.may_load = may_load,
		};
		const char *walls;
		struct err e;

		check_failed = false;
		CHECK_INT(sandbox_enter(&o, &walls, &e), 0);
		f(walls);
		fflush(stdout);
		_exit(check_failed);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

#define CHECK_REFUSED(call)                                                    \
	do {                                                                   \
		errno = 0;                                                     \
		CHECK_INT((call), -1);                                         \
		CHECK_INT(errno, EPERM);                                       \
	} while (0)

static void *nothing(void *arg)
{
	return arg;
}

static void try_calls(const char *walls)
{
	struct rlimit limit = {1, 1};
	char *argv[] = {(char *)"true", NULL};
	pthread_t t;

	if (!strstr(walls, "seccomp"))
		return;
	CHECK_REFUSED(execv("/bin/true", argv));
	CHECK_REFUSED(fork());
	CHECK_REFUSED((int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
	CHECK_REFUSED(socket(AF_INET, SOCK_STREAM, 0));
	CHECK_REFUSED(kill(getppid(), 0));
	CHECK_REFUSED(setrlimit(RLIMIT_CORE, &limit));
	CHECK_REFUSED(chmod(top, 0777));
	CHECK_REFUSED(mkdir("/tmp/modelfs-test-new", 0700));
	CHECK_REFUSED(ioctl(0, FIONREAD, argv));
	CHECK_REFUSED((int)syscall(SYS_ptrace, 0, 0, 0, 0));
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
	CHECK_INT(mprotect((void *)((uintptr_t)top & ~(uintptr_t)4095), 4096,
			   PROT_READ | PROT_EXEC),
		  -1);
	CHECK_INT(getrlimit(RLIMIT_CORE, &limit), 0);
	CHECK_INT(pthread_create(&t, NULL, nothing, NULL), 0);
	CHECK_INT(pthread_join(t, NULL), 0);
}

TEST(calls)
{
	CHECK(holds(try_calls, false, false));
	CHECK(holds(try_calls, true, true));
}

static void try_files(const char *walls)
{
	if (strcmp(walls, "none") == 0)
		return;
	if (strstr(walls, "seccomp"))
		CHECK_REFUSED(open_below("in/new", O_CREAT | O_WRONLY));
	CHECK(open_below("in/model", O_RDONLY) >= 0);
	CHECK(open_below("in/model", O_RDWR) < 0);
	if (!strstr(walls, "landlock"))
		return;
	CHECK(open_below("secret", O_RDONLY) < 0);
	CHECK_INT(errno, EACCES);
	CHECK(open("/etc/passwd", O_RDONLY) < 0);
}

TEST(files)
{
	CHECK(holds(try_files, false, false));
}

static void try_filling(const char *walls)
{
	CHECK(open_below("out/new", O_CREAT | O_EXCL | O_WRONLY) >= 0);
	CHECK(open_below("in/model", O_RDONLY) >= 0);
	if (!strstr(walls, "landlock"))
		return;
	CHECK(open_below("in/new", O_CREAT | O_WRONLY) < 0);
	CHECK(open_below("in/model", O_WRONLY) < 0);
	CHECK(open_below("new", O_CREAT | O_WRONLY) < 0);
	CHECK(open_below("secret", O_RDONLY) < 0);
}

TEST(a_folder_to_fill)
{
	CHECK(holds(try_filling, true, false));
}

static void try_nothing(const char *walls)
{
	CHECK_INT(sandbox_close_files(NULL), 0);
	if (strstr(walls, "seccomp"))
		CHECK_REFUSED(open_below("in/model", O_RDONLY));
}

TEST(the_second_step)
{
	CHECK(holds(try_nothing, false, true));
}

static void *map_file(const char *path)
{
	int fd = open(path, O_RDONLY);

	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
}

static void try_to_load(const char *walls)
{
	(void)walls;
	CHECK(access("/etc/ld.so.cache", F_OK) < 0 ||
	      map_file("/etc/ld.so.cache") != MAP_FAILED);
}

static void try_not_to_load(const char *walls)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/in/model", top);
	if (strstr(walls, "seccomp"))
		CHECK(map_file(path) == MAP_FAILED);
}

TEST(libraries)
{
	CHECK(holds(try_to_load, false, true));
	CHECK(holds(try_not_to_load, false, false));
}

static void remove_files(void)
{
	static const char *const names[] = {"in/model", "out/new", "secret",
					    "in", "out", ""};
	char path[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", top, names[i]);
		remove(path);
	}
}

int main(void)
{
	make_files();
	RUN(calls);
	RUN(files);
	RUN(a_folder_to_fill);
	RUN(the_second_step);
	RUN(libraries);
	remove_files();
	return check_result();
}
