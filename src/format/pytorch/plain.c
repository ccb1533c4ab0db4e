/* SPDX-License-Identifier: MIT */
/*
 * plain - a pickle of anything: dicts of NumPy arrays, estimators of
 * scikit-learn, tensors that were pickled without torch.save.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/reader.h"
#include "modelfs/source.h"

#include "format/formats.h"
#include "format/pytorch/plain.h"
#include "format/pytorch/pytorch.h"

/* There is no container: a persistent id means nothing here. */
static int find_storage(struct torch *t, struct pickle_text key,
			uint64_t nbytes, struct blob **out, struct err *e)
{
	(void)t, (void)key, (void)nbytes, (void)out;
	return err_set(e, EINVAL, "a storage outside of the pickle");
}

static int read_root(struct torch *t, uint64_t off, struct pickle_node **root,
		     struct err *e)
{
	struct reader *r = reader_new(t->src, off, source_size(t->src) - off);
	int rc;

	if (!r)
		return err_nomem(e, sizeof(*r));
	rc = pickle_read(r, t->arena, root, e);
	reader_free(r);
	return rc;
}

/* t holds how: m, under, seps, in; the rest is made and freed here. */
static int read_at(struct torch *t, struct source *src, uint64_t off,
		   struct err *e)
{
	struct pickle_node *root;
	int rc;

	t->src = source_ref(src);
	t->arena = arena_new();
	t->storages = map_new();
	t->find = find_storage;
	rc = t->arena && t->storages ? 0 : err_nomem(e, 0);
	if (rc == 0)
		rc = read_root(t, off, &root, e);
	if (rc == 0)
		rc = torch_walk(t, root, e);
	torch_finish(t);
	arena_free(t->arena);
	return rc;
}

int torch_pickle_read(struct source *src, uint64_t off, const char *under,
		      const char *seps, struct model *m, struct err *e)
{
	struct torch t = {.m = m, .under = under, .seps = seps};

	return read_at(&t, src, off, e);
}

static int read(const struct input *in, struct model *m, struct err *e)
{
	struct torch t = {.m = m, .in = in};

	return read_at(&t, in->file, 0, e);
}

/* Protocol 0 is text: "(dp0" begins a dict, "(lp0" a list, "c" a global. */
static bool is_text_pickle(const struct input *in)
{
	static const char *const heads[] = {"(dp",
					    "(lp",
					    "(dq",
					    "}q",
					    "]q",
					    "ccopy_reg\n_reconstructor\n",
					    "cnumpy.core.multiarray\n",
					    "ccollections\nOrderedDict\n"};
	uint8_t last;

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		size_t len = strlen(heads[i]);

		if (in->nhead < len || memcmp(in->head, heads[i], len) != 0)
			continue;
		return source_read(in->file, &last, 1,
				   source_size(in->file) - 1, NULL) == 0 &&
		       last == '.';
	}
	return false;
}

/*
 * Protocols 2 to 5 say so; 0 and 1 begin like any text, and end with a dot.  A
 * broken file of torch.save is not to be taken for the pickle that it begins with.
 */
static int probe(const struct input *in)
{
	if (!in->file || in->nhead < 3)
		return 0;
	if (in->head[0] != 0x80)
		return is_text_pickle(in) ? 40 : 0;
	if (in->head[1] < 2 || in->head[1] > 5 ||
	    format_pytorch_legacy.probe(in) > 0)
		return 0;
	return 50;
}

const struct format format_pickle = {
	.name = "pickle",
	.title = "pickles of arrays and tensors; nothing in them is run",
	.probe = probe,
	.read = read,
};
