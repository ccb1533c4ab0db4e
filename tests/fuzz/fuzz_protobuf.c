/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "modelfs/blob.h"
#include "modelfs/err.h"
#include "modelfs/onnx_tensor.h"
#include "modelfs/source.h"

#include "fuzz.h"
#include "wire/onnx.pb-c.h"
#include "wire/protobuf.h"

static void read_tensor(struct source *src, enum dtype want)
{
	struct tensor t;
	struct err e = {0};
	char *name = NULL;

	if (onnx_tensor_read(src, want, &t, &name, &e) == 0)
		tensor_drop(&t);
	else if (e.code == 0)
		abort();
	free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source *src = fuzz_source(data, size);
	ProtobufCMessage *msg = NULL;
	struct err e = {0};

	if (protobuf_read(src, 0, size, &onnx__model__descriptor, &msg, &e) ==
	    0)
		protobuf_free(msg);
	read_tensor(src, DTYPE_F32);
	read_tensor(src, DTYPE_SEQUENCE);
	read_tensor(src, DTYPE_OPTIONAL);
	source_unref(src);
	return 0;
}
