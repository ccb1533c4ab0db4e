/* SPDX-License-Identifier: MIT */
/*
 * ggml_old - GGML files from before GGUF, to say what they are.  What follows
 * the magic number is a list of hyper-parameters that differs from program to
 * program and names nothing; only the program itself can read it.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/format.h"

#include "format/formats.h"

/* As the number's bytes lie in the file. */
static const char magics[][5] = {"lmgg", "fmgg", "tjgg", "algg"};

static int probe(const struct input *in)
{
	if (!in->file || in->nhead < 4)
		return 0;
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (memcmp(in->head, magics[i], 4) == 0)
			return 90;
	return 0;
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	const uint8_t *p = in->head;

	(void)m;
	return err_set(e, EOPNOTSUPP,
		       "a %c%c%c%c file from before GGUF, whose layout only "
		       "the program it was made for knows; convert it to GGUF",
		       p[3], p[2], p[1], p[0]);
}

const struct format format_ggml_old = {
	.name = "ggml",
	.title = "recognised, not read: GGML files from before GGUF",
	.probe = probe,
	.read = read,
};
