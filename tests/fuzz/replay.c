/* SPDX-License-Identifier: MIT */
/*
 * replay - runs a fuzz target over files: those named, or the seeds
 * tests/fuzz/corpus/NAME of a target fuzz_NAME.  Of every seed it also tries
 * each prefix and, for small ones, each byte changed.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* Seeds up to this size are damaged systematically. */
#define DAMAGE_MAX 4096

static size_t nfiles;

static void damage(uint8_t *data, size_t len)
{
	size_t step = len > 1024 ? len / 256 : 1;

	for (size_t n = 0; n < len; n += step)
		LLVMFuzzerTestOneInput(data, n);
	for (size_t i = 0; i < len; i += step) {
		uint8_t old = data[i];

		data[i] ^= (uint8_t)(1u << (i % 8));
		LLVMFuzzerTestOneInput(data, len);
		data[i] = 0xff;
		LLVMFuzzerTestOneInput(data, len);
		data[i] = old;
	}
}

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	long len;
	int rc = 0;

	if (!f)
		return -1;
	fseek(f, 0, SEEK_END);
	len = ftell(f);
	rewind(f);
	data = len >= 0 ? malloc((size_t)len + 1) : NULL;
	if (!data || fread(data, 1, (size_t)len, f) != (size_t)len)
		rc = -1;
	fclose(f);
	if (rc == 0) {
		LLVMFuzzerTestOneInput(data, (size_t)len);
		if (len <= DAMAGE_MAX)
			damage(data, (size_t)len);
		nfiles++;
	}
	free(data);
	return rc;
}

static int replay_dir(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	char path[4096 + 256];
	int rc = 0;

	if (!d)
		return -1;
	for (entry = readdir(d); entry && rc == 0; entry = readdir(d)) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		rc = replay_file(path);
	}
	closedir(d);
	return rc;
}

static int replay_corpus(const char *program)
{
	const char *top = getenv("srcdir");
	const char *name = strrchr(program, '_');
	char dir[3072];

	snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", top ? top : ".",
		 name ? name + 1 : program);
	return replay_dir(dir);
}

int main(int argc, char **argv)
{
	int rc = 0;

	if (argc < 2)
		rc = replay_corpus(argv[0]);
	for (int i = 1; rc == 0 && i < argc; i++)
		rc = replay_file(argv[i]);
	if (rc < 0 || nfiles == 0) {
		printf("not ok - %s: no seeds\n", argv[0]);
		return 1;
	}
	printf("ok - %s: %zu seeds\n", argv[0], nfiles);
	return 0;
}
