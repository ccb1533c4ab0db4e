/* SPDX-License-Identifier: MIT */
/* mount - see fuse/mount.h. */
#include "fuse/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse/lane.h"
#include "fuse/loop.h"
#include "fuse/mounter.h"
#include "fuse/serve.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/text.h"
#include "modelfs/vfs.h"

#define LANE_THREADS 8
#define LOOP_THREADS 4

struct mount_session {
	struct fuse_args args;
	struct fuse_session *se;
	struct server server;
	int mounter;	/* socket */
	int waiting_fd; /* who started us waits at its end; -1: nobody */
	int null_fd;	/* opened while that was allowed */
	bool has_handlers;
};

const char *mount_fuse_version(void)
{
	return fuse_pkgversion();
}

static int add_arg(struct fuse_args *args, const char *s)
{
	return fuse_opt_add_arg(args, s) < 0 ? -ENOMEM : 0;
}

/* Commas and backslashes have a meaning of their own in options. */
static int add_option(struct fuse_args *args, const char *key,
		      const char *value)
{
	struct text t = {0};
	int rc;

	text_printf(&t, "-o%s", key);
	for (; *value; value++) {
		if (*value == ',' || *value == '\\')
			text_add(&t, "\\");
		text_add_bytes(&t, value, 1);
	}
	rc = t.failed ? -ENOMEM : add_arg(args, t.p);
	text_free(&t);
	return rc;
}

static int make_args(const struct mount_options *o, struct fuse_args *args)
{
	char max_read[64];
	unsigned i;
	int rc = add_arg(args, "modelfs");

	snprintf(max_read, sizeof(max_read), "%d", SERVE_MAX_READ);
	if (rc == 0)
		rc = add_option(args, "fsname=", o->source);
	if (rc == 0)
		rc = add_option(args, "subtype=", "modelfs");
	if (rc == 0)
		rc = add_option(args, "max_read=", max_read);
	if (rc == 0)
		rc = add_option(args, "default_permissions", "");
	if (rc == 0 && o->debug)
		rc = add_arg(args, "-d");
	for (i = 0; rc == 0 && i < o->no; i++) {
		rc = add_arg(args, "-o");
		if (rc == 0)
			rc = add_arg(args, o->o[i]);
	}
	return rc;
}

static int check_mountpoint(const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "%s: not a directory", path);
	return 0;
}

/* ---- to the background ---- */

/* Waits for the daemon to be ready, or to end. */
static void wait_for_daemon(pid_t pid, int fd)
{
	char byte;
	int status = 0;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static int start_daemon(struct mount_session *m, struct err *e)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(e, errno, "pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return err_set(e, errno, "fork: %s", strerror(errno));
	}
	if (pid > 0) {
		close(fds[1]);
		wait_for_daemon(pid, fds[0]);
	}
	close(fds[0]);
	m->waiting_fd = fds[1];
	setsid();
	return 0;
}

/* Ready: from here on nobody reads what we say. */
static void end_waiting(struct mount_session *m)
{
	int i;

	if (m->waiting_fd < 0)
		return;
	if (chdir("/") < 0 || write(m->waiting_fd, "r", 1) != 1)
		return;
	for (i = 0; i < 3; i++)
		dup2(m->null_fd, i);
	close(m->waiting_fd);
	m->waiting_fd = -1;
}

/* ---- mounting ---- */

/* The mounter may run after we left the directory the user is in. */
static int start_mounter(struct mount_session *m, const char *mountpoint,
			 struct err *e)
{
	char *path = realpath(mountpoint, NULL);
	int rc;

	if (!path)
		return err_set(e, errno, "%s: %s", mountpoint, strerror(errno));
	rc = mounter_start(&m->args, path, &m->mounter, e);
	free(path);
	return rc;
}

static struct mount_session *new_session(const struct mount_options *o)
{
	struct mount_session *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	pthread_mutex_init(&m->server.recent_lock, NULL);
	m->mounter = -1;
	m->waiting_fd = -1;
	m->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (make_args(o, &m->args) == 0)
		return m;
	mount_close(m);
	return NULL;
}

int mount_prepare(const struct mount_options *o, struct mount_session **out,
		  struct err *e)
{
	struct mount_session *m;
	int rc = check_mountpoint(o->mountpoint, e);

	if (rc < 0)
		return rc;
	m = new_session(o);
	if (!m)
		return err_nomem(e, sizeof(*m));
	if (!o->foreground && !o->debug)
		rc = start_daemon(m, e);
	if (rc == 0)
		rc = start_mounter(m, o->mountpoint, e);
	if (rc < 0) {
		mount_close(m);
		return rc;
	}
	*out = m;
	return 0;
}

int mount_open(struct mount_session *m, struct vfs *v, struct err *e)
{
	char path[32];
	int fd;

	m->server.vfs = v;
	m->server.is_plain = vfs_is_plain(v);
	fd = mounter_mount(m->mounter, m->server.is_plain, e);
	if (fd < 0)
		return err_wrap(e, "cannot mount");
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	m->se = fuse_session_new(&m->args, &serve_ops, sizeof(serve_ops),
				 &m->server);
	if (!m->se || fuse_session_mount(m->se, path) != 0 ||
	    fuse_set_signal_handlers(m->se) != 0) {
		close(fd);
		return err_set(e, EIO, "cannot mount");
	}
	m->has_handlers = true;
	return 0;
}

int mount_serve(struct mount_session *m)
{
	int rc;

	m->server.lane = lane_new(LANE_THREADS);
	if (!m->server.lane)
		return -ENOMEM;
	end_waiting(m);
	rc = loop_run(m->se, LOOP_THREADS);
	/* Jobs reply through the session: end them while it is there. */
	lane_free(m->server.lane);
	m->server.lane = NULL;
	return rc;
}

void mount_close(struct mount_session *m)
{
	size_t i;

	if (!m)
		return;
	if (m->has_handlers)
		fuse_remove_signal_handlers(m->se);
	if (m->se)
		fuse_session_destroy(m->se);
	mounter_stop(m->mounter);
	for (i = 0; i < RECENT_FILES; i++)
		blob_unref(m->server.recent[i].blob);
	pthread_mutex_destroy(&m->server.recent_lock);
	fuse_opt_free_args(&m->args);
	if (m->null_fd >= 0)
		close(m->null_fd);
	free(m);
}
