/* SPDX-License-Identifier: MIT */
/*
 * mounter - see fuse/mounter.h.  The daemon sends one byte to have it mount;
 * the answer is a line of text, empty when it worked, and then a descriptor.
 * The end of the connection means: unmount.
 */
#include "fuse/mounter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuse/serve.h"
#include "modelfs/err.h"

#define REASON_MAX 200

/* What the daemon asks for. */
#define MOUNT 'm'
#define MOUNT_READ_ONLY 'r'

/* The last thing libfuse complained about. */
static char complaint[REASON_MAX];

__attribute__((format(printf, 2, 0))) static void
keep_complaint(enum fuse_log_level level, const char *fmt, va_list ap)
{
	if (level > FUSE_LOG_WARNING)
		return;
	vsnprintf(complaint, sizeof(complaint), fmt, ap);
	complaint[strcspn(complaint, "\n")] = '\0';
}

/* ---- the mounter's side ---- */

static void reply(int sock, const char *reason, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {
		.iov_base = (char *)reason,
		.iov_len = strlen(reason) + 1,
	};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	sendmsg(sock, &msg, MSG_NOSIGNAL);
}

/* Nobody is to wait for the end of our output. */
static void leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR);
	int i;

	for (i = 0; fd >= 0 && i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void wait_for_end(int sock)
{
	char byte;

	while (recv(sock, &byte, 1, 0) > 0)
		;
}

static void serve_mounter(struct fuse_args *args, const char *mountpoint,
			  int sock)
{
	struct fuse_session *se;
	char byte;

	/* ^C is for the daemon: it ends, and then we unmount. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	fuse_set_log_func(keep_complaint);
	leave_terminal();
	if (recv(sock, &byte, 1, 0) != 1)
		return;
	if (byte == MOUNT_READ_ONLY && fuse_opt_add_arg(args, "-oro") < 0)
		return;
	se = fuse_session_new(args, &serve_ops, sizeof(serve_ops), NULL);
	if (!se || fuse_session_mount(se, mountpoint) != 0) {
		reply(sock,
		      *complaint ? complaint : "fusermount3 refused to mount",
		      -1);
		return;
	}
	reply(sock, "", fuse_session_fd(se));
	wait_for_end(sock);
	fuse_session_unmount(se);
	fuse_session_destroy(se);
}

/* ---- the daemon's side ---- */

int mounter_start(struct fuse_args *args, const char *mountpoint, int *sock,
		  struct err *e)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, errno, "socketpair: %s", strerror(errno));
	pid = fork();
	if (pid < 0) {
		close(pair[0]);
		close(pair[1]);
		return err_set(e, errno, "fork: %s", strerror(errno));
	}
	if (pid == 0) {
		close(pair[0]);
		serve_mounter(args, mountpoint, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	*sock = pair[0];
	return 0;
}

int mounter_mount(int sock, bool read_only, struct err *e)
{
	const char what = read_only ? MOUNT_READ_ONLY : MOUNT;
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	char reason[REASON_MAX] = "";
	struct iovec iov = {
		.iov_base = reason,
		.iov_len = sizeof(reason) - 1,
	};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *c;
	int fd;

	if (send(sock, &what, 1, MSG_NOSIGNAL) != 1 ||
	    recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) <= 0)
		return err_set(e, EIO, "the mounting process has ended");
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return err_set(e, EIO, "%s", reason);
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

void mounter_stop(int sock)
{
	char byte;

	if (sock < 0)
		return;
	shutdown(sock, SHUT_WR);
	while (recv(sock, &byte, 1, 0) > 0)
		;
	close(sock);
}
