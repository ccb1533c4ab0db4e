/* SPDX-License-Identifier: MIT */
/*
 * zip_recipe - archives built record by record, honest ones and others.
 */
#ifndef TESTS_UNIT_ZIP_RECIPE_H
#define TESTS_UNIT_ZIP_RECIPE_H

#include <zlib.h>

#include "recipe.h"

struct zip_entry {
	const char *name;
	const char *data;  /* NUL-terminated */
	const void *bytes; /* instead, with a length */
	size_t nbytes;
	size_t zeros; /* instead: so many of them */
	bool deflate;
	uint16_t flags, method;
	/* ways to lie */
	const char *local_name;
	uint16_t local_method;
	size_t local_extra; /* bytes of padding */
	size_t grow;	    /* both sizes in the directory */
	size_t grow_size;   /* the inflated one only */
	bool bad_crc;
	bool same_header; /* points at the first local header */
};

struct zip_recipe {
	struct recipe file, directory;
	size_t n;
};

/* Raw deflate of len bytes at p, appended. */
static inline size_t zip_deflate(struct recipe *out, const void *p, size_t len)
{
	z_stream s = {0};
	size_t bound = len / 500 + 1000 + len / 1000;
	uint8_t *buf;
	size_t n;

	if (deflateInit2(&s, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	bound = deflateBound(&s, len) < bound ? bound : deflateBound(&s, len);
	buf = malloc(bound);
	s.next_in = (Bytef *)p;
	s.avail_in = (uInt)len;
	s.next_out = buf;
	s.avail_out = (uInt)bound;
	if (!buf || deflate(&s, Z_FINISH) != Z_STREAM_END)
		abort();
	n = s.total_out;
	recipe_bytes(out, buf, n);
	free(buf);
	deflateEnd(&s);
	return n;
}

/* The fields that both kinds of header have in common. */
static inline void zip_header(struct recipe *r, const struct zip_entry *e,
			      uint16_t method, uint32_t crc, size_t csize,
			      size_t size)
{
	recipe_int(r, e->flags, 2);
	recipe_int(r, method, 2);
	recipe_int(r, 0x00210000, 4);
	recipe_int(r, crc, 4);
	recipe_int(r, csize, 4);
	recipe_int(r, size, 4);
}

static inline void zip_add(struct zip_recipe *z, const struct zip_entry *e)
{
	const char *name = e->local_name ? e->local_name : e->name;
	size_t size = e->data	 ? strlen(e->data)
		      : e->zeros ? e->zeros
				 : e->nbytes;
	uint16_t method = e->deflate ? 8 : e->method;
	size_t header = e->same_header ? 0 : z->file.len, csize = size;
	struct recipe data = {0};
	char *zeros = calloc(1, e->zeros + 1);
	const void *p = e->data	   ? (const void *)e->data
			: e->zeros ? zeros
				   : e->bytes;
	uint32_t crc = (uint32_t)crc32(0, p ? p : (const void *)"", (uInt)size);

	if (e->deflate)
		csize = zip_deflate(&data, p, size);
	else
		recipe_bytes(&data, p, size);
	free(zeros);
	crc ^= e->bad_crc;
	recipe_text(&z->file, "PK\3\4");
	recipe_int(&z->file, 20, 2);
	/* with bit 3 the local header knows no sizes */
	if (e->flags & 8)
		zip_header(&z->file, e, method, 0, 0, 0);
	else
		zip_header(&z->file, e,
			   e->local_method ? e->local_method : method, crc,
			   csize, size);
	recipe_int(&z->file, strlen(name), 2);
	recipe_int(&z->file, e->local_extra, 2);
	recipe_text(&z->file, name);
	recipe_zeros(&z->file, e->local_extra);
	recipe_bytes(&z->file, data.p, data.len);
	recipe_free(&data);
	recipe_text(&z->directory, "PK\1\2");
	recipe_int(&z->directory, 20, 2);
	recipe_int(&z->directory, 20, 2);
	zip_header(&z->directory, e, method, crc, csize + e->grow,
		   size + e->grow + e->grow_size);
	recipe_int(&z->directory, strlen(e->name), 2);
	recipe_zeros(&z->directory, 12);
	recipe_int(&z->directory, header, 4);
	recipe_text(&z->directory, e->name);
	z->n++;
}

/* The archive; the recipe is empty again. */
static inline struct recipe zip_finish(struct zip_recipe *z)
{
	struct recipe file = z->file;
	size_t at = file.len;

	recipe_bytes(&file, z->directory.p, z->directory.len);
	recipe_text(&file, "PK\5\6");
	recipe_zeros(&file, 4);
	recipe_int(&file, z->n, 2);
	recipe_int(&file, z->n, 2);
	recipe_int(&file, z->directory.len, 4);
	recipe_int(&file, at, 4);
	recipe_zeros(&file, 2);
	recipe_free(&z->directory);
	*z = (struct zip_recipe){0};
	return file;
}

#endif
