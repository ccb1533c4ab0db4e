/* SPDX-License-Identifier: MIT */
/* hf - the files of a folder; see hf.h. */
#include "format/hf/hf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/model.h"
#include "modelfs/source.h"

#include "format/formats.h"
#include "format/safetensors.h"
#include "wire/json.h"

/* More files in a folder are not looked at. */
#define FILES_MAX 100000
/* Files that become config/; the largest is a tokenizer. */
#define CONFIG_FILES_MAX 256

/* What weights are called, the best first; "*" stands for any beginning. */
static const char *const weights[] = {
	"model.safetensors.index.json",
	"model.safetensors",
	"*.safetensors.index.json",
	"*.safetensors.index.fp16.json",
	"diffusion_pytorch_model.safetensors",
	"adapter_model.safetensors",
	"*.safetensors",
	"pytorch_model.bin.index.json",
	"pytorch_model.bin",
	"*.bin.index.json",
	"adapter_model.bin",
};

#define NWEIGHTS (sizeof(weights) / sizeof(weights[0]))

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n > k && strcmp(name + n - k, end) == 0;
}

static bool matches(const char *name, const char *pattern)
{
	return pattern[0] == '*' ? ends_with(name, pattern + 1)
				 : strcmp(name, pattern) == 0;
}

static bool is_index(const char *name)
{
	return ends_with(name, ".json") && strstr(name, ".index.");
}

static bool is_config(const char *name)
{
	static const char *const ends[] = {".json", ".jinja", ".txt", ".model",
					   ".tiktoken"};

	if (is_index(name))
		return false;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (ends_with(name, ends[i]))
			return true;
	return false;
}

/* ---- the folder ---- */

struct folder {
	char *weights; /* owned; the best name; NULL: none */
	size_t rank;   /* in the list of names */
	bool has_config;
	bool is_short;			/* of memory */
	char *config[CONFIG_FILES_MAX]; /* owned */
	size_t nconfig;
};

static void free_folder(struct folder *f)
{
	free(f->weights);
	for (size_t i = 0; i < f->nconfig; i++)
		free(f->config[i]);
	free(f);
}

/* Of two names that match the same pattern, the first by alphabet. */
static void look_at(struct folder *f, const char *name)
{
	size_t rank = 0;

	while (rank < NWEIGHTS && !matches(name, weights[rank]))
		rank++;
	if (rank < NWEIGHTS &&
	    (!f->weights || rank < f->rank ||
	     (rank == f->rank && strcmp(name, f->weights) < 0))) {
		free(f->weights);
		f->weights = strdup(name);
		f->rank = rank;
		f->is_short = f->is_short || !f->weights;
	}
	if (strcmp(name, "config.json") == 0)
		f->has_config = true;
	if (is_config(name) && f->nconfig < CONFIG_FILES_MAX) {
		f->config[f->nconfig] = strdup(name);
		f->is_short = f->is_short || !f->config[f->nconfig];
		f->nconfig += f->config[f->nconfig] != NULL;
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct folder *list_folder(int dirfd)
{
	struct folder *f = calloc(1, sizeof(*f));
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (fd >= 0 && !dir)
		close(fd);
	if (f)
		f->is_short = fd >= 0 && !dir;
	for (size_t i = 0; f && dir && i < FILES_MAX; i++) {
		entry = readdir(dir);
		if (!entry)
			break;
		look_at(f, entry->d_name);
	}
	if (dir)
		closedir(dir);
	if (f && f->nconfig > 0)
		qsort(f->config, f->nconfig, sizeof(char *), by_name);
	return f;
}

/* ---- weights ---- */

static int move_param(struct model *to, const struct param *p,
		      const struct safetensors_part *part, struct err *e)
{
	struct param_spec spec = {
		.full_name = {p->full_name, p->full_len},
		.kind = (enum param_kind)p->kind,
		.dtype_text = p->dtype_text,
	};
	struct tensor t = param_tensor(p);
	int rc;

	if (part && !part->wants(part->ctx, p->full_name, p->full_len))
		return 0;
	rc = model_path(to, model_root(to), p->full_name, p->full_len, ".",
			&spec.module, &spec.name, e);
	if (rc < 0)
		return rc;
	spec.tensor = tensor_ref(&t);
	return model_param(to, &spec, NULL, e);
}

/* A file of another format, read as a model of its own. */
static int read_pickled(struct source *src, const struct safetensors_part *part,
			struct model *m, struct err *e)
{
	struct model *sub;
	int rc = format_load_source(src, m->lenient, &sub, e);

	if (rc < 0)
		return rc;
	if (strncmp(sub->format, "pytorch", 7) != 0)
		rc = err_set(e, EINVAL, "a file of format %s", sub->format);
	for (uint32_t i = 0; rc == 0 && i < sub->nparams; i++)
		rc = move_param(m, sub->params[i], part, e);
	model_free(sub);
	return rc;
}

/* A ZIP archive, or one of the older streams of pickles. */
static bool is_pickled(struct source *src)
{
	uint8_t head[4] = {0};

	if (source_size(src) < 4 || source_read(src, head, 4, 0, NULL) < 0)
		return false;
	return memcmp(head, "PK\3\4", 4) == 0 ||
	       (head[0] == 0x80 && head[1] >= 2 && head[1] <= 5);
}

int hf_read_weights(struct source *src, const struct safetensors_part *part,
		    struct model *m, struct err *e)
{
	return is_pickled(src) ? read_pickled(src, part, m, e)
			       : safetensors_read(src, part, m, e);
}

/* ---- config ---- */

static int add_file(const struct input *in, const char *name, struct model *m,
		    struct err *e)
{
	struct source *src = NULL;
	struct blob *data = NULL;
	struct err why = {0};
	int rc = input_sibling(in, name, strlen(name), &src, &why);

	if (rc == 0)
		rc = blob_file(src, 0, source_size(src), &data, &why);
	source_unref(src);
	if (rc < 0)
		data = blob_fail(0, why.code, why.msg);
	if (!data)
		return err_nomem(e, strlen(name));
	return model_config(m, name, data, e);
}

/* config.json, or NULL where it is none that we can read. */
static struct json *read_config(const struct input *in)
{
	static const char name[] = "config.json";
	struct json *config = NULL;
	struct source *src;
	struct err e = {0};
	char *text;
	size_t len;

	if (input_sibling(in, name, strlen(name), &src, &e) < 0)
		return NULL;
	if (hf_read_text(src, &text, &len, &e) == 0) {
		if (json_parse(text, len, JSON_PYTHON, &config, &e) < 0)
			config = NULL;
		free(text);
	}
	source_unref(src);
	return config;
}

static int add_config(const struct input *in, const struct folder *f,
		      struct model *m, struct err *e)
{
	struct json *config;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < f->nconfig; i++)
		rc = add_file(in, f->config[i], m, e);
	config = rc == 0 && f->has_config ? read_config(in) : NULL;
	if (config)
		rc = hf_set_types(m, config, e);
	if (rc == 0 && config)
		rc = hf_set_graph(m, config, e);
	json_free(config);
	return rc;
}

/* ---- the format ---- */

/* The source of the weights: an index the user named, or the folder's. */
static int open_weights(const struct input *in, const struct folder *f,
			struct source **out, const char **name, struct err *e)
{
	*name = f->weights;
	if (in->file) {
		*name = "x.index.json"; /* the probe saw that it is one */
		*out = source_ref(in->file);
		return 0;
	}
	if (!f->weights)
		return err_set(e, EINVAL, "no weights in the folder");
	return input_sibling(in, f->weights, strlen(f->weights), out, e);
}

static int read_folder(const struct input *in, const struct folder *f,
		       struct model *m, struct err *e)
{
	struct source *src;
	const char *name;
	int rc = open_weights(in, f, &src, &name, e);

	if (rc < 0)
		return rc;
	if (is_index(name))
		rc = hf_read_index(in, src, m, e);
	else
		rc = hf_read_weights(src, NULL, m, e);
	if (rc < 0 && f->weights)
		err_wrap(e, "%s", source_name(src));
	source_unref(src);
	return rc == 0 ? add_config(in, f, m, e) : rc;
}

static int read_model(const struct input *in, struct model *m, struct err *e)
{
	struct folder *f =
		in->dirfd >= 0 ? list_folder(in->dirfd) : calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return err_nomem(e, sizeof(*f));
	rc = f->is_short ? err_nomem(e, sizeof(*f)) : read_folder(in, f, m, e);
	free_folder(f);
	return rc;
}

static int probe_folder(const struct input *in)
{
	struct folder *f;
	int score = 0;

	if (in->dirfd < 0)
		return 0;
	f = list_folder(in->dirfd);
	if (!f)
		return 80; /* so that reading says why */
	if (f->is_short)
		score = 80;
	else if (f->weights)
		score = f->has_config || is_index(f->weights) ? 80 : 50;
	free_folder(f);
	return score;
}

static int probe(const struct input *in)
{
	size_t i = 0;

	if (!in->file)
		return probe_folder(in);
	while (i < in->nhead && in->head[i] && strchr(" \t\r\n", in->head[i]))
		i++;
	if (i == in->nhead || in->head[i] != '{')
		return 0;
	return memmem(in->head, in->nhead, "\"weight_map\"", 12) ? 85 : 0;
}

const struct format format_hf = {
	.name = "huggingface",
	.title = "folders with config.json and weights, whole or in shards",
	.probe = probe,
	.read = read_model,
};
