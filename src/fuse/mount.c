/* SPDX-License-Identifier: MIT */
/* mount - see fuse/mount.h. */
#include "fuse/mount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuse/lane.h"
#include "fuse/serve.h"
#include "modelfs/err.h"
#include "modelfs/text.h"

#define LANE_THREADS 8
#define LOOP_THREADS 4

struct mount_session {
	struct fuse_session *se;
	struct server server;
	bool foreground;
	bool is_mounted;
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

int mount_open(const struct mount_options *o, struct mount_session **out,
	       struct err *e)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct mount_session *m;
	int rc = check_mountpoint(o->mountpoint, e);

	if (rc < 0)
		return rc;
	m = calloc(1, sizeof(*m));
	if (!m || make_args(o, &args) < 0) {
		free(m);
		fuse_opt_free_args(&args);
		return err_nomem(e, sizeof(*m));
	}
	m->foreground = o->foreground || o->debug;
	m->se = fuse_session_new(&args, &serve_ops, sizeof(serve_ops),
				 &m->server);
	fuse_opt_free_args(&args);
	if (m->se && fuse_session_mount(m->se, o->mountpoint) == 0)
		m->is_mounted = true;
	if (m->is_mounted && fuse_set_signal_handlers(m->se) == 0)
		m->has_handlers = true;
	if (!m->has_handlers) {
		mount_close(m);
		return err_set(e, EIO, "%s: cannot mount", o->mountpoint);
	}
	*out = m;
	return 0;
}

int mount_daemonize(struct mount_session *m, struct err *e)
{
	if (fuse_daemonize(m->foreground) < 0)
		return err_set(e, errno, "cannot go to the background: %s",
			       strerror(errno));
	return 0;
}

int mount_serve(struct mount_session *m, struct vfs *v)
{
	struct fuse_loop_config *cfg = fuse_loop_cfg_create();
	int rc;

	m->server.vfs = v;
	m->server.lane = lane_new(LANE_THREADS);
	if (!cfg || !m->server.lane) {
		lane_free(m->server.lane);
		if (cfg)
			fuse_loop_cfg_destroy(cfg);
		return -ENOMEM;
	}
	fuse_loop_cfg_set_max_threads(cfg, LOOP_THREADS);
	rc = fuse_session_loop_mt(m->se, cfg);
	fuse_loop_cfg_destroy(cfg);
	/* Jobs reply through the session: end them while it is there. */
	lane_free(m->server.lane);
	m->server.lane = NULL;
	/* A signal is a way to end; libfuse reports its number. */
	return rc < 0 ? rc : 0;
}

void mount_close(struct mount_session *m)
{
	if (!m)
		return;
	if (m->has_handlers)
		fuse_remove_signal_handlers(m->se);
	if (m->is_mounted)
		fuse_session_unmount(m->se);
	if (m->se)
		fuse_session_destroy(m->se);
	free(m);
}
