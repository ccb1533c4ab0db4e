/* SPDX-License-Identifier: MIT */
/* source - see modelfs/source.h. */
#include "modelfs/source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "modelfs/err.h"

struct source {
	atomic_uint refs;
	int fd;	    /* -1: in memory */
	void *data; /* owned; NULL: a file */
	uint64_t size;
	struct stat identity; /* as it was when opened */
	char *name;
};

/* What a path that comes from a file may look like (THREATS §3). */
#define PARTS_MAX 16
#define PART_BYTES_MAX 255

#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

static bool is_clean_relative(const char *path)
{
	size_t nparts = 0;

	while (*path) {
		size_t len = strcspn(path, "/");

		if (len == 0 || len > PART_BYTES_MAX || ++nparts > PARTS_MAX)
			return false;
		if (path[0] == '.' &&
		    (len == 1 || (len == 2 && path[1] == '.')))
			return false;
		path += len;
		if (*path == '/' && *++path == '\0')
			return false;
	}
	return nparts > 0;
}

/*
 * In the Hugging Face cache a snapshot's files are links to
 * ../../blobs/HASH, inside the same models--X folder (or deeper, for files in
 * subfolders).  Nothing else may leave the directory.
 */
static bool is_hub_link(int dirfd, const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dirfd, path, target, sizeof(target) - 1);
	const char *p = target;

	if (n <= 0)
		return false;
	target[n] = '\0';
	if (strncmp(p, "../../", 6) != 0)
		return false;
	while (strncmp(p, "../", 3) == 0)
		p += 3;
	return strncmp(p, "blobs/", 6) == 0 && !strchr(p + 6, '/') &&
	       p[6] != '.' && p[6] != '\0';
}

static bool is_hub_blob(int fd, int dirfd)
{
	char link[64], where[PATH_MAX], root[PATH_MAX];
	ssize_t n;
	char *cut;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
	n = readlink(link, root, sizeof(root) - 1);
	if (n <= 0)
		return false;
	root[n] = '\0';
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, where, sizeof(where) - 1);
	if (n <= 0)
		return false;
	where[n] = '\0';
	cut = strstr(root, "/snapshots/");
	if (!cut)
		return false;
	strcpy(cut, "/blobs/");
	return strncmp(where, root, strlen(root)) == 0;
}

static int open_beneath(int dirfd, const char *path)
{
	struct open_how how = {
		.flags = OPEN_FLAGS,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

	if (fd >= 0 || errno != EXDEV)
		return fd;
	if (is_hub_link(dirfd, path))
		fd = openat(dirfd, path, OPEN_FLAGS);
	if (fd >= 0 && is_hub_blob(fd, dirfd))
		return fd;
	if (fd >= 0)
		close(fd);
	errno = EXDEV;
	return -1;
}

static int open_error(const char *path, int code, struct err *e)
{
	char q[ERR_QUOTED];

	if (code == EXDEV || code == ELOOP)
		return err_set(e, EPERM, "%s: leads outside the model's folder",
			       err_quote(q, path, strlen(path)));
	return err_set(e, code, "%s: %s", err_quote(q, path, strlen(path)),
		       strerror(code));
}

static int open_path(int dirfd, const char *path, struct err *e)
{
	char q[ERR_QUOTED];
	int fd;

	if (dirfd >= 0 && !is_clean_relative(path))
		return err_set(e, EPERM,
			       "%s: not a plain relative file name",
			       err_quote(q, path, strlen(path)));
	fd = dirfd >= 0 ? open_beneath(dirfd, path)
			: openat(AT_FDCWD, path, OPEN_FLAGS);
	if (fd < 0)
		return open_error(path, errno, e);
	return fd;
}

static struct source *new_source(const char *name)
{
	struct source *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	atomic_init(&s->refs, 1);
	s->fd = -1;
	s->name = strdup(name);
	if (s->name)
		return s;
	free(s);
	return NULL;
}

static const char *last_component(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

int source_open(int dirfd, const char *path, struct source **out,
		struct err *e)
{
	char q[ERR_QUOTED];
	struct source *s;
	int fd = open_path(dirfd, path, e);

	if (fd < 0)
		return fd;
	s = new_source(last_component(path));
	if (!s) {
		close(fd);
		return err_nomem(e, sizeof(*s));
	}
	s->fd = fd;
	if (fstat(fd, &s->identity) < 0) {
		source_unref(s);
		return err_set(e, errno, "%s", strerror(errno));
	}
	if (!S_ISREG(s->identity.st_mode)) {
		source_unref(s);
		return err_set(e, dirfd >= 0 ? EPERM : EINVAL,
			       "%s: not a regular file",
			       err_quote(q, path, strlen(path)));
	}
	s->size = (uint64_t)s->identity.st_size;
	*out = s;
	return 0;
}

int source_from_memory(void *data, size_t len, const char *name,
		       struct source **out, struct err *e)
{
	struct source *s = new_source(name);

	if (!s) {
		free(data);
		return err_nomem(e, sizeof(*s));
	}
	s->data = data;
	s->size = len;
	*out = s;
	return 0;
}

struct source *source_ref(struct source *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void source_unref(struct source *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	if (s->fd >= 0)
		close(s->fd);
	free(s->data);
	free(s->name);
	free(s);
}

uint64_t source_size(const struct source *s)
{
	return s->size;
}

time_t source_mtime(const struct source *s)
{
	return s->identity.st_mtime;
}

const char *source_name(const struct source *s)
{
	return s->name;
}

int source_fd(const struct source *s)
{
	return s->fd;
}

int source_check(struct source *s, struct err *e)
{
	struct stat now;

	if (s->fd < 0)
		return 0;
	if (fstat(s->fd, &now) < 0)
		return err_set(e, errno, "%s: %s", s->name, strerror(errno));
	if (now.st_size == s->identity.st_size &&
	    now.st_mtim.tv_sec == s->identity.st_mtim.tv_sec &&
	    now.st_mtim.tv_nsec == s->identity.st_mtim.tv_nsec)
		return 0;
	return err_set(e, ESTALE, "%s: changed since it was opened", s->name);
}

static int read_file(struct source *s, char *buf, size_t len, uint64_t off,
		     struct err *e)
{
	while (len > 0) {
		ssize_t n = pread(s->fd, buf, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, errno, "%s: byte %llu: %s", s->name,
				       (unsigned long long)off,
				       strerror(errno));
		if (n == 0)
			return err_set(e, EIO, "%s: ends at byte %llu", s->name,
				       (unsigned long long)off);
		buf += n;
		len -= (size_t)n;
		off += (size_t)n;
	}
	return 0;
}

int source_read(struct source *s, void *buf, size_t len, uint64_t off,
		struct err *e)
{
	int rc;

	if (off > s->size || len > s->size - off)
		return err_set(e, EIO,
			       "%s: bytes %llu+%zu are beyond the end (%llu)",
			       s->name, (unsigned long long)off, len,
			       (unsigned long long)s->size);
	if (len == 0)
		return 0;
	if (s->data) {
		memcpy(buf, (const char *)s->data + off, len);
		return 0;
	}
	rc = source_check(s, e);
	if (rc < 0)
		return rc;
	return read_file(s, buf, len, off, e);
}
