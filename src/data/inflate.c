/* SPDX-License-Identifier: MIT */
#include "modelfs/inflate.h"

#include <errno.h>
#include <limits.h>
#include <zlib.h>

#include "modelfs/err.h"

int inflate_zlib(const void *in, size_t nin, void *out, size_t nout,
		 struct err *e)
{
	z_stream z = {.next_in = (Bytef *)in,
		      .avail_in = (uInt)nin,
		      .next_out = out,
		      .avail_out = (uInt)nout};
	int rc;

	if (nin > UINT_MAX || nout > UINT_MAX)
		return err_set(e, EFBIG, "a stream of more than 4 GiB");
	if (inflateInit(&z) != Z_OK)
		return err_nomem(e, sizeof(z));
	rc = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	if (z.avail_out > 0 || (rc != Z_STREAM_END && rc != Z_BUF_ERROR))
		return err_set(e, EINVAL, "a damaged stream");
	return 0;
}
