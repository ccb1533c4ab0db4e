/* SPDX-License-Identifier: MIT */
/* crc32c - Castagnoli's CRC-32, as TensorFlow's files use it. */
#ifndef WIRE_CRC32C_H
#define WIRE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues a checksum; the first one starts with 0. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* What is stored: rotated, so that checksums of checksums stay good. */
uint32_t crc32c_mask(uint32_t crc);

#endif
