/* SPDX-License-Identifier: MIT */
/*
 * objects - a checkpoint of TensorFlow 2 names its variables by the way that
 * leads to them through Python's objects; the object graph beside them knows
 * what people call them ("dense_1/kernel").
 *
 * The graph is general, with cycles; nothing here walks along its edges.
 */
#include <errno.h>
#include <string.h>

#include "modelfs/arena.h"
#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/map.h"
#include "modelfs/source.h"

#include "format/keras/keras.h"
#include "format/tf/tf.h"
#include "wire/json.h"
#include "wire/protobuf.h"

static int add_names(struct tf *t, const Tf__TrackableObject *o, struct err *e)
{
	for (size_t i = 0; i < o->n_attributes; i++) {
		const Tf__SerializedTensor *a = o->attributes[i];
		struct span *full, key;
		int rc;

		if (a->full_name.len == 0 || a->checkpoint_key.len == 0)
			continue;
		full = arena_alloc(t->m->arena, sizeof(*full));
		if (!full)
			return err_nomem(e, sizeof(*full));
		rc = tf_copy(t, tf_span(&a->full_name), full, e);
		if (rc == 0)
			rc = tf_copy(t, tf_span(&a->checkpoint_key), &key, e);
		if (rc < 0)
			return rc;
		if (map_set(t->human, key.p, key.len, (uintptr_t)full) < 0)
			return err_nomem(e, key.len);
	}
	return 0;
}

int tf_objects(struct tf *t, struct source *src, uint64_t off, uint64_t len,
	       struct err *e)
{
	ProtobufCMessage *msg = NULL;
	const Tf__TrackableObjectGraph *g;
	int rc =
		protobuf_read(src, off, len,
			      &tf__trackable_object_graph__descriptor, &msg, e);

	if (rc < 0)
		return err_wrap(e, "object graph");
	g = (const Tf__TrackableObjectGraph *)msg;
	for (size_t i = 0; rc == 0 && i < g->n_nodes; i++)
		rc = add_names(t, g->nodes[i], e);
	protobuf_free(msg);
	return rc;
}

/*
 * What Keras saved of the model, as JSON: classes and hyper-parameters of its
 * layers.  Text that is none is passed over.
 */
static int describe(struct tf *t, const ProtobufCBinaryData *text,
		    struct err *e)
{
	struct json *config = NULL;
	struct blob *copy;
	int rc;

	if (text->len == 0 ||
	    json_parse(text->data, text->len, JSON_PYTHON, &config, NULL) < 0)
		return 0;
	rc = keras_describe(t->m, config, e);
	json_free(config);
	copy = rc == 0 ? blob_copy(text->data, text->len) : NULL;
	if (rc == 0)
		rc = copy ? model_config(t->m, "keras.json", copy, e)
			  : err_nomem(e, text->len);
	return rc;
}

/* Object 0 is the model.  Since TensorFlow 2.5 there is a file for it. */
static int describe_model(struct tf *t, const Tf__SavedObjectGraph *g,
			  struct err *e)
{
	static const char name[] = "keras_metadata.pb";
	const Tf__SavedUserObject *root =
		g->n_nodes > 0 ? g->nodes[0]->user_object : NULL;
	const Tf__KerasMetadata *k;
	ProtobufCMessage *msg = NULL;
	struct source *src = NULL;
	int rc = 0;

	if (root && root->metadata.len > 0)
		return describe(t, &root->metadata, e);
	if (input_sibling(t->in, name, strlen(name), &src, NULL) < 0)
		return 0;
	/* Only what people read depends on it: a broken one is passed over. */
	if (protobuf_read(src, 0, source_size(src),
			  &tf__keras_metadata__descriptor, &msg, NULL) == 0) {
		k = (const Tf__KerasMetadata *)msg;
		for (size_t i = 0; rc == 0 && i < k->n_nodes; i++)
			if (k->nodes[i]->node_id == 0)
				rc = describe(t, &k->nodes[i]->metadata, e);
	}
	protobuf_free(msg);
	source_unref(src);
	return rc;
}

int tf_saved_objects(struct tf *t, const Tf__SavedObjectGraph *g, struct err *e)
{
	for (size_t i = 0; i < g->n_nodes; i++) {
		const Tf__SavedVariable *v = g->nodes[i]->variable;
		struct span name;
		int rc;

		if (!v || v->name.len == 0)
			continue;
		rc = tf_copy(t, tf_span(&v->name), &name, e);
		if (rc < 0)
			return rc;
		rc = map_set(t->kinds, name.p, name.len,
			     v->trainable ? PARAM_PARAMETER : PARAM_BUFFER);
		if (rc < 0)
			return err_nomem(e, name.len);
	}
	return describe_model(t, g, e);
}
