/* SPDX-License-Identifier: MIT */
/*
 * checkpoint - PyTorch's ZIP archives, of which there are several kinds: what
 * records there are tells.  This is torch.save since 1.6
 * (torch/serialization.py):
 *
 *	NAME/data.pkl	the object
 *	NAME/data/KEY	the bytes of storage KEY
 *	NAME/version	of the archive, NAME/byteorder "little" or "big"
 */
#include <errno.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/formats.h"
#include "format/pytorch/archive.h"
#include "format/pytorch/pytorch.h"

#define LOCAL_HEADER 30

static int read_checkpoint(struct torch_archive *a, struct model *m,
			   struct err *e)
{
	struct torch t = {.m = m};
	int rc = torch_archive_head(a, m, &t.swapped, e);

	return rc == 0 ? torch_archive_walk(a, &t, "data.pkl", e) : rc;
}

static const struct kind {
	const char *record; /* that only this kind has */
	const char *format;
	int (*read)(struct torch_archive *a, struct model *m, struct err *e);
} kinds[] = {
	{"archive_format", "pytorch-export", torch_export_read},
	{"serialized_exported_program.json", "pytorch-export",
	 torch_export_read},
	{"constants.pkl", "torchscript", torch_script_read},
	{"model.json", "torchscript", torch_script_v1_read},
	{"data.pkl", "pytorch", read_checkpoint},
	{".data/version", "pytorch-package", torch_package_read},
};

static int read_kind(struct torch_archive *a, struct model *m, struct err *e)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!torch_archive_has(a, kinds[i].record))
			continue;
		m->format = kinds[i].format;
		return kinds[i].read(a, m, e);
	}
	return err_set(e, EINVAL, "no data.pkl");
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct torch_archive a;
	int rc = torch_archive_open(in->file, 0, source_size(in->file), &a, e);

	if (rc < 0)
		return rc;
	rc = read_kind(&a, m, e);
	torch_archive_close(&a);
	return rc;
}

/* The first member of a checkpoint is its pickle; others are still ZIP. */
static int probe(const struct input *in)
{
	static const char name[] = "data.pkl";
	size_t len;

	if (!in->file || in->nhead < LOCAL_HEADER ||
	    memcmp(in->head, "PK\3\4", 4) != 0)
		return 0;
	len = in->head[26] | (size_t)in->head[27] << 8;
	if (len <= in->nhead - LOCAL_HEADER && len >= sizeof(name) - 1 &&
	    memcmp(in->head + LOCAL_HEADER + len - (sizeof(name) - 1), name,
		   sizeof(name) - 1) == 0)
		return 90;
	return 20;
}

const struct format format_pytorch = {
	.name = "pytorch",
	.title = "PyTorch archives: torch.save, TorchScript, torch.export, "
		 "torch.package",
	.probe = probe,
	.read = read,
};
