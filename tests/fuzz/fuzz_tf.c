/* SPDX-License-Identifier: MIT */
/* The first byte says which of TensorFlow's files, or Caffe's, the rest is. */
#include "fuzz.h"

#include "format/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct format *const which[] = {
		&format_tf_graph, &format_tf_meta_graph,
		&format_tf_saved_model, &format_tf_checkpoint,
		&format_tf_text,	&format_caffe};

	if (size > 0)
		fuzz_format(which[data[0] % 6], data + 1, size - 1);
	return 0;
}
