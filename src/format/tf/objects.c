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
#include "modelfs/err.h"
#include "modelfs/map.h"

#include "format/tf/tf.h"
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
	return 0;
}
