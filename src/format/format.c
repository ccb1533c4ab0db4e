/* SPDX-License-Identifier: MIT */
/* format - the registry, and choosing a reader.  See modelfs/format.h. */
#include "modelfs/format.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "modelfs/err.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/formats.h"

#define NFORMATS_MAX 64

const struct format *const formats[] = {
	&format_ggml_old,
	&format_compressed,
	&format_flax,
	&format_gguf,
	&format_hf,
	&format_llama2c,
	&format_json,
	&format_npy,
	&format_npz,
	&format_keras,
	&format_keras_h5,
	&format_onnx,
	&format_pickle,
	&format_pytorch,
	&format_pytorch_legacy,
	&format_pytorch_tar,
	&format_safetensors,
	&format_tf_checkpoint,
	&format_tf_graph,
	&format_tf_meta_graph,
	&format_tf_saved_model,
	&format_caffe,
	&format_coreml,
	&format_darknet,
	&format_paddle,
	&format_tf_text,
	&format_tfjs,
	&format_tflite,
	NULL,
};

struct bid {
	const struct format *format;
	int score;
};

/* Bidders, the best first; equal ones in the order of the registry. */
static size_t ask_formats(const struct input *in, struct bid *bids)
{
	size_t n = 0, i, j;

	for (i = 0; formats[i] && n < NFORMATS_MAX; i++) {
		struct bid b = {formats[i], formats[i]->probe(in)};

		if (b.score <= 0)
			continue;
		for (j = n++; j > 0 && bids[j - 1].score < b.score; j--)
			bids[j] = bids[j - 1];
		bids[j] = b;
	}
	return n;
}

static int read_as(const struct format *f, const struct input *in,
		   struct model **out, struct err *e)
{
	struct model *m = model_new(f->name);
	int rc;

	if (!m)
		return err_nomem(e, sizeof(*m));
	m->lenient = in->lenient;
	rc = f->read(in, m, e);
	if (rc == 0)
		rc = model_seal(m, e);
	if (rc < 0) {
		model_free(m);
		return err_wrap(e, "%s", f->name);
	}
	*out = m;
	return 0;
}

static int read_best(const struct input *in, struct model **out, struct err *e)
{
	struct bid bids[NFORMATS_MAX];
	size_t n = ask_formats(in, bids), i;
	struct err later;

	if (n == 0)
		return err_set(e, EINVAL, "not a model file of a known format");
	for (i = 0; i < n; i++) {
		int rc = read_as(bids[i].format, in, out, i ? &later : e);

		/* Reading leaves holes: a quarter of what stays (glibc). */
		malloc_trim(0);
		if (rc == 0)
			return 0;
	}
	return -e->code;
}

static int read_head(struct input *in, struct err *e)
{
	uint64_t size = source_size(in->file);

	in->nhead = size < INPUT_HEAD ? (size_t)size : INPUT_HEAD;
	return source_read(in->file, in->head, in->nhead, 0, e);
}

int format_load_source(struct source *file, bool lenient, struct model **out,
		       struct err *e)
{
	struct input in = {
		.path = source_name(file),
		.file = file,
		.dirfd = -1,
		.lenient = lenient,
	};
	struct err local = {0};
	int rc = read_head(&in, &local);

	if (rc == 0)
		rc = read_best(&in, out, &local);
	if (rc < 0 && e)
		*e = local;
	return rc;
}

static int open_folder_of(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char *dir =
		slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int fd;

	if (!dir)
		return err_nomem(e, strlen(path));
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	return fd < 0 ? err_set(e, errno, "%s", strerror(errno)) : fd;
}

static int open_path(const char *path, struct input *in, struct err *e)
{
	struct stat st;
	int rc;

	if (stat(path, &st) < 0)
		return err_set(e, errno, "%s", strerror(errno));
	if (S_ISDIR(st.st_mode)) {
		in->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		return in->dirfd < 0 ? err_set(e, errno, "%s", strerror(errno))
				     : 0;
	}
	rc = open_folder_of(path, e);
	if (rc < 0)
		return rc;
	in->dirfd = rc;
	rc = source_open(-1, path, &in->file, e);
	return rc < 0 ? rc : read_head(in, e);
}

int input_open(const char *path, bool lenient, struct input **out,
	       struct err *e)
{
	struct input *in = calloc(1, sizeof(*in));
	int rc;

	if (!in)
		return err_nomem(e, sizeof(*in));
	in->path = path;
	in->dirfd = -1;
	in->lenient = lenient;
	rc = open_path(path, in, e);
	if (rc < 0) {
		input_close(in);
		return rc;
	}
	*out = in;
	return 0;
}

void input_close(struct input *in)
{
	if (!in)
		return;
	source_unref(in->file);
	if (in->dirfd >= 0)
		close(in->dirfd);
	free(in);
}

int format_read(const struct input *in, struct model **out, struct err *e)
{
	struct err local = {0};
	int rc = read_best(in, out, &local);

	if (rc < 0 && e)
		*e = local;
	return rc;
}

int format_load(const char *path, bool lenient, struct model **out,
		struct err *e)
{
	struct input *in;
	int rc = input_open(path, lenient, &in, e);

	if (rc < 0)
		return rc;
	rc = format_read(in, out, e);
	input_close(in);
	return rc;
}

int input_sibling(const struct input *in, const char *name, size_t len,
		  struct source **out, struct err *e)
{
	char q[ERR_QUOTED];
	char *path;
	int rc;

	if (in->dirfd < 0)
		return err_set(e, ENOENT, "%s: no folder to look in",
			       err_quote(q, name, len));
	if (memchr(name, '\0', len))
		return err_set(e, EPERM, "%s: not a file name",
			       err_quote(q, name, len));
	path = strndup(name, len);
	if (!path)
		return err_nomem(e, len);
	rc = source_open(in->dirfd, path, out, e);
	free(path);
	return rc;
}
