/* SPDX-License-Identifier: MIT */
/*
 * zip - see zip.h.
 *
 * libzip reads the directory but does not say where a member's data is.  It
 * does ask its source for the member's local header when the member is
 * opened, so our source notes where it was asked to seek; we then read and
 * check that header ourselves.
 */
#include "wire/zip.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/cursor.h"
#include "modelfs/err.h"
#include "modelfs/map.h"
#include "modelfs/source.h"

#define LOCAL_HEADER 30
#define END_RECORD 22
#define LOCAL_SIGNATURE 0x04034b50u
#define FLAG_ENCRYPTED 1u
#define METHOD_STORED 0
#define METHOD_DEFLATED 8
/* Deflate cannot do better than this. */
#define RATIO_MAX 1032

/* What libzip reads from. */
struct feed {
	struct source *src; /* borrowed */
	uint64_t off, len;  /* the archive in it */
	uint64_t pos;
	uint64_t sought; /* first place it went to since this was reset */
	bool has_sought;
	zip_error_t error;
};

struct zipfile {
	struct source *src; /* owned */
	struct arena *arena;
	struct map *names; /* name → index */
	struct zipfile_member *members;
	size_t nmembers;
};

/* ---- libzip's source ---- */

static zip_int64_t feed_fail(struct feed *f, int code)
{
	zip_error_set(&f->error, ZIP_ER_READ, code);
	return -1;
}

static zip_int64_t feed_read(struct feed *f, void *data, zip_uint64_t len)
{
	uint64_t left = f->pos < f->len ? f->len - f->pos : 0;
	size_t n = len < left ? len : left;
	int rc = source_read(f->src, data, n, f->off + f->pos, NULL);

	if (rc < 0)
		return feed_fail(f, -rc);
	f->pos += n;
	return (zip_int64_t)n;
}

static zip_int64_t feed_seek(struct feed *f, void *data, zip_uint64_t len)
{
	zip_int64_t to = zip_source_seek_compute_offset(f->pos, f->len, data,
							len, &f->error);

	if (to < 0)
		return -1;
	f->pos = (uint64_t)to;
	if (!f->has_sought)
		f->sought = f->pos;
	f->has_sought = true;
	return 0;
}

static zip_int64_t feed_stat(struct feed *f, void *data, zip_uint64_t len)
{
	zip_stat_t st;

	if (len < sizeof(st))
		return feed_fail(f, EINVAL);
	zip_stat_init(&st);
	st.size = f->len;
	st.valid = ZIP_STAT_SIZE;
	memcpy(data, &st, sizeof(st));
	return sizeof(st);
}

static zip_int64_t feed_call(void *ctx, void *data, zip_uint64_t len,
			     zip_source_cmd_t cmd)
{
	struct feed *f = ctx;

	switch (cmd) {
	case ZIP_SOURCE_OPEN:
		f->pos = 0;
		return 0;
	case ZIP_SOURCE_READ:
		return feed_read(f, data, len);
	case ZIP_SOURCE_SEEK:
		return feed_seek(f, data, len);
	case ZIP_SOURCE_TELL:
		return (zip_int64_t)f->pos;
	case ZIP_SOURCE_STAT:
		return feed_stat(f, data, len);
	case ZIP_SOURCE_ERROR:
		return zip_error_to_data(&f->error, data, len);
	case ZIP_SOURCE_CLOSE:
	case ZIP_SOURCE_FREE:
		return 0;
	case ZIP_SOURCE_SUPPORTS:
		return ZIP_SOURCE_SUPPORTS_SEEKABLE;
	default:
		zip_error_set(&f->error, ZIP_ER_OPNOTSUPP, 0);
		return -1;
	}
}

static int open_archive(struct feed *f, zip_t **out, struct err *e)
{
	zip_error_t why;
	zip_source_t *s;

	zip_error_init(&why);
	zip_error_init(&f->error);
	s = zip_source_function_create(feed_call, f, &why);
	*out = s ? zip_open_from_source(s, ZIP_RDONLY, &why) : NULL;
	if (*out) {
		zip_error_fini(&why);
		return 0;
	}
	err_set(e, EINVAL, "no ZIP archive: %s", zip_error_strerror(&why));
	zip_error_fini(&why);
	zip_source_free(s);
	return -EINVAL;
}

/* ---- members ---- */

static void spoil(struct zipfile_member *m, int error, const char *why)
{
	if (m->error)
		return;
	m->error = error;
	m->why = why;
}

/* Where libzip looks for the member's local header. */
static bool find_header(struct feed *f, zip_t *za, zip_uint64_t i,
			uint64_t *out)
{
	zip_file_t *file;

	f->has_sought = false;
	file = zip_fopen_index(
		za, i, ZIP_FL_COMPRESSED | ZIP_FL_UNCHANGED | ZIP_FL_ENCRYPTED);
	if (file)
		zip_fclose(file);
	*out = f->sought;
	return f->has_sought;
}

/* The local header must say what the directory says. */
static int check_header(struct feed *f, struct zipfile_member *m,
			uint64_t header, struct err *e)
{
	uint8_t head[LOCAL_HEADER];
	struct cursor c = cursor_make(head, sizeof(head), 0);
	uint16_t flags, method, nlen, xlen;
	uint64_t at = header + LOCAL_HEADER;
	char *name;
	int rc;

	if (header > f->len || f->len - header < LOCAL_HEADER) {
		spoil(m, EIO, "its header is outside the archive");
		return 0;
	}
	rc = source_read(f->src, head, sizeof(head), f->off + header, e);
	if (rc < 0)
		return rc;
	if (cursor_u32(&c) != LOCAL_SIGNATURE)
		spoil(m, EIO, "no header where the directory says");
	cursor_skip(&c, 2);
	flags = cursor_u16(&c);
	method = cursor_u16(&c);
	cursor_skip(&c, 16);
	nlen = cursor_u16(&c);
	xlen = cursor_u16(&c);
	m->data_off = f->off + at + nlen + xlen;
	if (flags & FLAG_ENCRYPTED)
		spoil(m, EOPNOTSUPP, "encrypted");
	if (method != m->method || nlen != m->name_len)
		spoil(m, EIO, "its header contradicts the directory");
	if (f->len - at < (uint64_t)nlen + xlen ||
	    f->len - at - nlen - xlen < m->csize)
		spoil(m, EIO, "its data is outside the archive");
	if (m->error)
		return 0;
	name = malloc((size_t)nlen + 1);
	if (!name)
		return err_nomem(e, nlen);
	rc = source_read(f->src, name, nlen, f->off + at, e);
	if (rc == 0 && memcmp(name, m->name, nlen) != 0)
		spoil(m, EIO, "its header has another name");
	free(name);
	return rc;
}

static void check_method(struct zipfile_member *m, const zip_stat_t *st)
{
	if ((st->valid & ZIP_STAT_ENCRYPTION_METHOD) &&
	    st->encryption_method != ZIP_EM_NONE)
		spoil(m, EOPNOTSUPP, "encrypted");
	if (m->method != METHOD_STORED && m->method != METHOD_DEFLATED)
		spoil(m, EOPNOTSUPP, "unknown compression");
	if (m->method == METHOD_STORED && m->size != m->csize)
		spoil(m, EIO, "stored, but of two sizes");
	if (m->csize == 0 && m->size > 0)
		spoil(m, EIO, "nothing cannot inflate to something");
	if (m->method == METHOD_DEFLATED && m->size / RATIO_MAX > m->csize)
		spoil(m, EIO, "it cannot inflate to its size");
}

static int read_member(struct zipfile *z, struct feed *f, zip_t *za,
		       zip_uint64_t i, uint64_t *header, struct err *e)
{
	struct zipfile_member *m = &z->members[i];
	char quoted[ERR_QUOTED];
	zip_stat_t st;
	const char *name = zip_get_name(za, i, ZIP_FL_ENC_RAW);
	int rc;

	if (!name || zip_stat_index(za, i, ZIP_FL_ENC_RAW, &st) < 0)
		return err_set(e, EINVAL, "member %llu: %s",
			       (unsigned long long)i, zip_strerror(za));
	m->name_len = strlen(name);
	m->name = arena_strndup(z->arena, name, m->name_len);
	if (!m->name)
		return err_nomem(e, m->name_len);
	m->size = st.size;
	m->csize = st.comp_size;
	m->crc = st.crc;
	m->method = st.comp_method;
	check_method(m, &st);
	rc = map_add(z->names, m->name, m->name_len, i);
	if (rc == -EEXIST)
		return err_set(e, EINVAL, "%s: two members of this name",
			       err_quote(quoted, m->name, m->name_len));
	if (rc < 0)
		return err_nomem(e, m->name_len);
	/* Of an empty member libzip does not look at the header, either. */
	if (m->csize == 0)
		return 0;
	if (!find_header(f, za, i, header)) {
		spoil(m, EIO, "no header");
		return 0;
	}
	return check_header(f, m, *header, e);
}

struct interval {
	uint64_t begin, end;
};

static int by_begin(const void *pa, const void *pb)
{
	const struct interval *a = pa, *b = pb;

	return a->begin < b->begin ? -1 : a->begin > b->begin;
}

/* Overlapping members are how small archives become large files. */
static int check_overlap(struct interval *iv, size_t n, struct err *e)
{
	if (n > 0)
		qsort(iv, n, sizeof(*iv), by_begin);
	for (size_t i = 1; i < n; i++)
		if (iv[i].begin < iv[i - 1].end)
			return err_set(e, EINVAL,
				       "members overlap at byte %llu",
				       (unsigned long long)iv[i].begin);
	return 0;
}

static int read_members(struct zipfile *z, struct feed *f, zip_t *za,
			struct err *e)
{
	zip_int64_t n = zip_get_num_entries(za, ZIP_FL_UNCHANGED);
	struct interval *iv;
	size_t niv = 0;
	int rc = 0;

	if (n < 0 || n > ZIPFILE_MEMBERS_MAX)
		return err_set(e, EFBIG, "more than %u members",
			       ZIPFILE_MEMBERS_MAX);
	z->nmembers = (size_t)n;
	z->members =
		arena_array(z->arena, z->nmembers + 1, sizeof(*z->members));
	iv = calloc(z->nmembers + 1, sizeof(*iv));
	if (!z->members || !iv)
		rc = err_nomem(e, z->nmembers * sizeof(*z->members));
	for (size_t i = 0; rc == 0 && i < z->nmembers; i++) {
		uint64_t header = 0;

		rc = read_member(z, f, za, i, &header, e);
		if (rc == 0 && z->members[i].data_off > 0 &&
		    z->members[i].error != EIO)
			iv[niv++] = (struct interval){
				f->off + header,
				z->members[i].data_off + z->members[i].csize};
	}
	if (rc == 0)
		rc = check_overlap(iv, niv, e);
	free(iv);
	return rc;
}

int zipfile_open(struct source *src, uint64_t off, uint64_t len,
		 struct zipfile **out, struct err *e)
{
	struct feed f = {.src = src, .off = off, .len = len};
	struct zipfile *z;
	zip_t *za = NULL;
	int rc;

	/* To libzip, nothing at all is an archive of nothing. */
	if (len < END_RECORD)
		return err_set(e, EINVAL, "no ZIP archive");
	z = calloc(1, sizeof(*z));
	if (!z)
		return err_nomem(e, sizeof(*z));
	z->src = source_ref(src);
	z->arena = arena_new();
	z->names = map_new();
	rc = z->arena && z->names ? open_archive(&f, &za, e)
				  : err_nomem(e, sizeof(*z));
	if (rc == 0)
		rc = read_members(z, &f, za, e);
	if (za)
		zip_discard(za);
	zip_error_fini(&f.error);
	if (rc < 0)
		zipfile_close(z);
	else
		*out = z;
	return rc;
}

void zipfile_close(struct zipfile *z)
{
	if (!z)
		return;
	source_unref(z->src);
	arena_free(z->arena);
	map_free(z->names);
	free(z);
}

size_t zipfile_count(const struct zipfile *z)
{
	return z->nmembers;
}

const struct zipfile_member *zipfile_at(const struct zipfile *z, size_t i)
{
	return &z->members[i];
}

const struct zipfile_member *zipfile_find(const struct zipfile *z,
					  const char *name, size_t len)
{
	uint64_t i;

	return map_get(z->names, name, len, &i) ? &z->members[i] : NULL;
}

int zipfile_data(const struct zipfile *z, const struct zipfile_member *m,
		 struct blob **out, struct err *e)
{
	if (m->error) {
		*out = blob_fail(m->size, m->error, m->why);
		return *out ? 0 : err_nomem(e, 0);
	}
	if (m->size == 0) {
		*out = blob_copy("", 0);
		return *out ? 0 : err_nomem(e, 0);
	}
	if (m->method == METHOD_STORED)
		return blob_file(z->src, m->data_off, m->size, out, e);
	return blob_inflate(z->src, m->data_off, m->csize, m->size, m->crc, out,
			    e);
}

int zipfile_read(const struct zipfile *z, const struct zipfile_member *m,
		 char **out, size_t *len, struct err *e)
{
	char quoted[ERR_QUOTED];
	struct blob *b;
	char *data;
	int rc;

	err_quote(quoted, m->name, m->name_len);
	if (m->error)
		return err_set(e, m->error, "%s: %s", quoted, m->why);
	if (m->size > ZIPFILE_LOAD_MAX)
		return err_set(e, EFBIG, "%s: %llu bytes of metadata", quoted,
			       (unsigned long long)m->size);
	data = malloc(m->size + 1);
	if (!data)
		return err_nomem(e, m->size);
	rc = zipfile_data(z, m, &b, e);
	if (rc == 0) {
		rc = blob_read_full(b, data, m->size, 0, e);
		blob_unref(b);
	}
	if (rc < 0) {
		free(data);
		return err_wrap(e, "%s", quoted);
	}
	data[m->size] = '\0';
	*out = data;
	*len = m->size;
	return 0;
}

int zipfile_load(const struct zipfile *z, const struct zipfile_member *m,
		 struct source **out, struct err *e)
{
	char *data;
	size_t len;
	int rc = zipfile_read(z, m, &data, &len, e);

	if (rc < 0)
		return rc;
	return source_from_memory(data, len, m->name, out, e);
}
