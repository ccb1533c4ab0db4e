/* SPDX-License-Identifier: MIT */
/* cli - see cli/cli.h. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/text.h"
#include "modelfs/vfs.h"

#define LINKS_MAX 40
#define COPY_BYTES (1 << 20)

/* ---- paths ---- */

struct walk {
	struct vfs *vfs;
	vfs_ino stack[4096 / 2]; /* the way down, for ".." */
	size_t depth;
	unsigned nlinks;
};

static int walk_path(struct walk *w, const char *path, struct err *e);

static int follow_link(struct walk *w, vfs_ino ino, struct err *e)
{
	char target[4096];
	struct blob *b;
	size_t got;
	int rc;

	if (++w->nlinks > LINKS_MAX)
		return err_set(e, ELOOP, "too many symbolic links");
	rc = vfs_readlink(w->vfs, ino, &b, e);
	if (rc < 0)
		return rc;
	rc = blob_read(b, target, sizeof(target) - 1, 0, &got, e);
	blob_unref(b);
	if (rc < 0)
		return rc;
	target[got] = '\0';
	return walk_path(w, target, e);
}

static int walk_part(struct walk *w, const char *name, struct err *e)
{
	vfs_ino ino;
	struct stat st;
	int rc;

	if (strcmp(name, ".") == 0)
		return 0;
	if (strcmp(name, "..") == 0) {
		w->depth -= w->depth > 0;
		return 0;
	}
	rc = vfs_lookup(w->vfs, w->stack[w->depth], name, true, NULL, &ino, e);
	if (rc < 0)
		return rc;
	rc = vfs_stat(w->vfs, ino, true, NULL, &st, e);
	if (rc < 0)
		return rc;
	if (S_ISLNK(st.st_mode))
		return follow_link(w, ino, e);
	if (w->depth + 1 >= sizeof(w->stack) / sizeof(w->stack[0]))
		return err_set(e, ENAMETOOLONG, "too deep");
	w->stack[++w->depth] = ino;
	return 0;
}

static int walk_path(struct walk *w, const char *path, struct err *e)
{
	char name[512];

	while (*path) {
		size_t len = strcspn(path, "/");
		int rc;

		if (len >= sizeof(name))
			return err_set(e, ENAMETOOLONG, "name too long");
		memcpy(name, path, len);
		name[len] = '\0';
		rc = len ? walk_part(w, name, e) : 0;
		if (rc < 0)
			return rc;
		path += len + (path[len] == '/');
	}
	return 0;
}

static int find(struct vfs *v, const char *path, vfs_ino *out, struct err *e)
{
	struct walk *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return err_nomem(e, sizeof(*w));
	w->vfs = v;
	w->stack[0] = VFS_ROOT;
	rc = walk_path(w, path, e);
	if (rc == 0)
		*out = w->stack[w->depth];
	free(w);
	return rc < 0 ? err_wrap(e, "%s", path) : 0;
}

/* ---- --ls ---- */

static int print_entry(struct vfs *v, const char *name, vfs_ino ino,
		       struct err *e)
{
	struct stat st;
	int rc = vfs_stat(v, ino, false, NULL, &st, e);

	if (rc < 0 && rc != -EAGAIN)
		return rc;
	printf("%s%s\n", name, rc == 0 && S_ISDIR(st.st_mode) ? "/" : "");
	return 0;
}

int cli_ls(struct vfs *v, const char *path, struct err *e)
{
	char name[512];
	struct stat st;
	vfs_ino dir, ino;
	uint64_t i;
	int rc = find(v, path, &dir, e);

	if (rc == 0)
		rc = vfs_stat(v, dir, true, NULL, &st, e);
	if (rc < 0)
		return rc;
	if (!S_ISDIR(st.st_mode)) {
		printf("%s\n", path);
		return 0;
	}
	for (i = 0; rc == 0; i++) {
		rc = vfs_entry(v, dir, i, true, NULL, name, &ino, e);
		if (rc == 0)
			rc = print_entry(v, name, ino, e);
	}
	return rc == -ENOENT ? 0 : rc;
}

int cli_totals(struct vfs *v, struct err *e)
{
	struct text line = {0};

	vfs_totals(v, &line);
	if (line.failed) {
		text_free(&line);
		return err_nomem(e, line.len);
	}
	printf("# %s\n", line.p);
	text_free(&line);
	return 0;
}

/* ---- --cat ---- */

static int write_all(int fd, const char *buf, size_t len, struct err *e)
{
	while (len > 0) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, errno, "cannot write: %s",
				       strerror(errno));
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

static int copy_blob(struct blob *b, int fd, struct err *e)
{
	char *buf = malloc(COPY_BYTES);
	uint64_t off = 0;
	int rc = buf ? vfs_prepare(b, NULL, e) : err_nomem(e, COPY_BYTES);

	while (rc == 0 && off < b->size) {
		size_t got;

		rc = blob_read(b, buf, COPY_BYTES, off, &got, e);
		if (rc == 0)
			rc = write_all(fd, buf, got, e);
		off += rc == 0 ? got : 0;
	}
	free(buf);
	return rc;
}

static int copy_file(struct vfs *v, vfs_ino ino, int fd, struct err *e)
{
	struct blob *b;
	int rc = vfs_open(v, ino, true, NULL, &b, e);

	if (rc < 0)
		return rc;
	rc = copy_blob(b, fd, e);
	blob_unref(b);
	return rc;
}

int cli_cat(struct vfs *v, const char *path, struct err *e)
{
	vfs_ino ino;
	int rc = find(v, path, &ino, e);

	if (rc < 0)
		return rc;
	rc = copy_file(v, ino, STDOUT_FILENO, e);
	return rc < 0 ? err_wrap(e, "%s", path) : 0;
}

/* ---- --extract ---- */

struct extraction {
	struct vfs *vfs;
	bool has_progress; /* standard error is a terminal */
	uint64_t nfiles;
	struct err first; /* what went wrong first; the rest is copied */
};

static void note_error(struct extraction *x, const char *name,
		       const struct err *e)
{
	if (x->first.code)
		return;
	x->first = *e;
	err_wrap(&x->first, "%s", name);
}

static void show_progress(struct extraction *x)
{
	x->nfiles++;
	if (x->has_progress && x->nfiles % 64 == 0)
		fprintf(stderr, "\r%llu files", (unsigned long long)x->nfiles);
}

/* Nothing that is there already is overwritten. */
static int extract_file(struct extraction *x, vfs_ino ino, int dirfd,
			const char *name, struct err *e)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			0644);
	int rc;

	if (fd < 0)
		return err_set(e, errno, "%s", strerror(errno));
	rc = copy_file(x->vfs, ino, fd, e);
	if (close(fd) < 0 && rc == 0)
		rc = err_set(e, errno, "%s", strerror(errno));
	if (rc < 0)
		unlinkat(dirfd, name, 0);
	show_progress(x);
	return rc;
}

static int extract_dir(struct extraction *x, vfs_ino dir, const char *path,
		       int dirfd, struct err *e);

/* A link to a file becomes the file; one to a directory stays a link. */
static int extract_link(struct extraction *x, vfs_ino ino, const char *path,
			int dirfd, const char *name, struct err *e)
{
	char target[4096];
	struct stat st;
	struct blob *b;
	vfs_ino to;
	size_t got;
	int rc = find(x->vfs, path, &to, e);

	if (rc == 0)
		rc = vfs_stat(x->vfs, to, true, NULL, &st, e);
	if (rc == 0 && !S_ISDIR(st.st_mode))
		return extract_file(x, to, dirfd, name, e);
	if (rc == 0)
		rc = vfs_readlink(x->vfs, ino, &b, e);
	if (rc < 0)
		return rc;
	rc = blob_read(b, target, sizeof(target) - 1, 0, &got, e);
	blob_unref(b);
	target[got] = '\0';
	if (rc == 0 && symlinkat(target, dirfd, name) < 0)
		rc = err_set(e, errno, "%s", strerror(errno));
	return rc;
}

static int extract_into(struct extraction *x, vfs_ino ino, const char *path,
			int dirfd, const char *name, struct err *e)
{
	struct stat st;
	int fd, rc = vfs_stat(x->vfs, ino, true, NULL, &st, e);

	if (rc < 0)
		return rc;
	if (S_ISLNK(st.st_mode))
		return extract_link(x, ino, path, dirfd, name, e);
	if (!S_ISDIR(st.st_mode))
		return extract_file(x, ino, dirfd, name, e);
	if (mkdirat(dirfd, name, 0777) < 0 && errno != EEXIST)
		return err_set(e, errno, "%s", strerror(errno));
	/* A link that is there already may lead anywhere. */
	fd = openat(dirfd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, errno, "%s", strerror(errno));
	rc = extract_dir(x, ino, path, fd, e);
	close(fd);
	return rc;
}

static int extract_dir(struct extraction *x, vfs_ino dir, const char *path,
		       int dirfd, struct err *e)
{
	char name[512];
	vfs_ino ino;
	uint64_t i;
	int rc;

	for (i = 0;; i++) {
		struct text below = {0};
		struct err why = {0};

		rc = vfs_entry(x->vfs, dir, i, true, NULL, name, &ino, e);
		if (rc < 0)
			break;
		text_printf(&below, "%s/%s", path, name);
		if (below.failed)
			return err_nomem(e, strlen(path));
		if (extract_into(x, ino, below.p, dirfd, name, &why) < 0)
			note_error(x, below.p, &why);
		text_free(&below);
	}
	return rc == -ENOENT ? 0 : rc;
}

int cli_open_target(const char *dir, struct err *e)
{
	int fd;

	if (mkdir(dir, 0777) < 0 && errno != EEXIST)
		return err_set(e, errno, "%s: %s", dir, strerror(errno));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_set(e, errno, "%s: %s", dir, strerror(errno)) : fd;
}

int cli_extract(struct vfs *v, const char *path, int dirfd, struct err *e)
{
	struct extraction x = {
		.vfs = v,
		.has_progress = isatty(STDERR_FILENO),
	};
	const char *slash = strrchr(path, '/');
	struct stat st;
	vfs_ino ino;
	int rc = find(v, path, &ino, e);

	if (rc == 0)
		rc = vfs_stat(v, ino, true, NULL, &st, e);
	if (rc < 0)
		return rc;
	if (S_ISDIR(st.st_mode))
		rc = extract_dir(&x, ino, path, dirfd, e);
	else
		rc = extract_file(&x, ino, dirfd, slash ? slash + 1 : path, e);
	if (x.has_progress)
		fprintf(stderr, "\r%llu files\n", (unsigned long long)x.nfiles);
	if (rc == 0 && x.first.code) {
		*e = x.first;
		rc = -e->code;
	}
	return rc;
}
