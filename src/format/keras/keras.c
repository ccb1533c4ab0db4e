/* SPDX-License-Identifier: MIT */
/*
 * keras - Keras' HDF5 files: of a whole model or of its weights.  Any other
 * HDF5 file is shown as the tree of its datasets.
 */
#include "format/keras/keras.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/source.h"

#include "format/formats.h"
#include "format/keras/call.h"
#include "wire/json.h"

int keras_text(struct keras *k, hdf5_id id, const char *name,
	       struct hdf5_string *out, struct err *e)
{
	const struct hdf5_string *s;
	size_t n = 0;
	int rc = hdf5_strings(k->h, id, name, &s, &n, e);

	*out = (struct hdf5_string){NULL, 0};
	if (rc == 0 && n > 0)
		*out = s[0];
	return rc == -ENOENT ? 0 : rc;
}

int keras_config_text(struct keras *k, const char *name, const char *p,
		      size_t len, struct err *e)
{
	struct blob *data = blob_copy(p, len);

	return data ? model_config(k->m, name, data, e) : err_nomem(e, len);
}

/* Two bytes that HDF5 has no type for. */
static int fix_type(struct keras *k, hdf5_id id, struct param_spec *p,
		    struct err *e)
{
	struct hdf5_string s;
	int rc;

	if (p->tensor.dtype != DTYPE_U16 && p->tensor.dtype != DTYPE_I16)
		return 0;
	rc = keras_text(k, id, "dtype", &s, e);
	if (rc == 0 && s.p && strcmp(s.p, "bfloat16") == 0)
		p->tensor.dtype = DTYPE_BF16;
	return rc;
}

int keras_param(struct keras *k, hdf5_id id, const struct param_spec *where,
		struct err *e)
{
	struct param_spec p = *where;
	struct err why = {0};
	char q[ERR_QUOTED];
	int rc = hdf5_dataset(k->h, id, &p.tensor, &p.dtype_text, &why);

	if (rc == 0)
		rc = fix_type(k, id, &p, &why);
	if (rc < 0) {
		tensor_drop(&p.tensor);
		err_set(e, -rc, "%s", why.msg);
		return err_wrap(e, "%s",
				err_quote(q, p.full_name.p, p.full_name.len));
	}
	return model_param(k->m, &p, NULL, e);
}

/* ---- HDF5 ---- */

void keras_set_version(struct keras *k, const char *p, size_t len)
{
	if (len > 0 && p[0] >= '1' && p[0] <= '9')
		k->version = p[0] - '0';
}

/* Attributes of the root that say what the model is. */
static int add_configs(struct keras *k, struct err *e)
{
	static const char *const names[] = {"model_config", "training_config",
					    "keras_version", "backend"};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 4; i++) {
		struct hdf5_string s;

		rc = keras_text(k, hdf5_root(k->h), names[i], &s, e);
		if (rc < 0 || !s.p)
			continue;
		rc = keras_config_text(k, names[i], s.p, s.len, e);
		if (i == 0)
			keras_parse_config(k, s.p, s.len);
		if (i == 2)
			keras_set_version(k, s.p, s.len);
		if (i == 2 && rc == 0 &&
		    model_info(k->m, "producer", "Keras %.*s", (int)s.len,
			       s.p) < 0)
			rc = err_nomem(e, 0);
	}
	return rc;
}

static int read_tree(struct keras *k, struct err *e)
{
	hdf5_id weights;
	int rc = hdf5_find(k->h, hdf5_root(k->h), "model_weights", 13, &weights,
			   e);

	if (rc == -ENOENT)
		weights = hdf5_root(k->h);
	else if (rc < 0)
		return rc;
	rc = keras_legacy(k, weights, e);
	return rc == -ENOENT ? keras_weights(k, e) : rc;
}

int keras_hdf5(struct keras *k, struct source *src, uint64_t off, uint64_t len,
	       struct err *e)
{
	int rc = hdf5_open(src, off, len, &k->h, e);

	if (rc == 0)
		rc = add_configs(k, e);
	if (rc == 0 && !k->is_described)
		rc = keras_describe(k->m, k->config, e);
	k->is_described = true;
	if (rc == 0)
		rc = read_tree(k, e);
	hdf5_close(k->h);
	k->h = NULL;
	return rc;
}

static int read_h5(const struct input *in, struct model *m, struct err *e)
{
	struct keras k = {.m = m};
	int rc = keras_hdf5(&k, in->file, 0, source_size(in->file), e);

	if (rc == 0 && k.config)
		rc = keras_graph(m, k.config, k.version, e);
	json_free(k.config);
	return rc;
}

static int probe_h5(const struct input *in)
{
	uint64_t start;

	return in->file && hdf5_find_start(in->file, 0, source_size(in->file),
					   &start)
		       ? 80
		       : 0;
}

const struct format format_keras_h5 = {
	.name = "keras-h5",
	.title = "Keras models and weights in HDF5; other HDF5 as a tree",
	.probe = probe_h5,
	.read = read_h5,
};
