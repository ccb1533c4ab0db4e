/* SPDX-License-Identifier: MIT */
/* formats - one line per reader, in the order of the registry. */
#ifndef FORMAT_FORMATS_H
#define FORMAT_FORMATS_H

#include "modelfs/format.h"

extern const struct format format_ggml_old;
extern const struct format format_compressed;
extern const struct format format_flax;
extern const struct format format_gguf;
extern const struct format format_hf;
extern const struct format format_llama2c;
extern const struct format format_json;
extern const struct format format_npy;
extern const struct format format_npz;
extern const struct format format_keras;
extern const struct format format_keras_h5;
extern const struct format format_onnx;
extern const struct format format_pickle;
extern const struct format format_pytorch;
extern const struct format format_pytorch_legacy;
extern const struct format format_pytorch_tar;
extern const struct format format_safetensors;
extern const struct format format_tf_checkpoint;
extern const struct format format_tf_graph;
extern const struct format format_tf_meta_graph;
extern const struct format format_tf_saved_model;
extern const struct format format_caffe;
extern const struct format format_coreml;
extern const struct format format_darknet;
extern const struct format format_paddle;
extern const struct format format_tf_text;
extern const struct format format_tfjs;
extern const struct format format_tflite;

#endif
