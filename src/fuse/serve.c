/* SPDX-License-Identifier: MIT */
/* serve - the table of operations, and what we want of the kernel. */
#include "fuse/serve.h"

#include "fuse/ops.h"

static void serve_init(void *data, struct fuse_conn_info *conn)
{
	(void)data;
	conn->max_read = SERVE_MAX_READ;
	conn->max_readahead = SERVE_MAX_READ;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	conn->want |= conn->capable &
		      (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
		       FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS |
		       FUSE_CAP_READDIRPLUS | FUSE_CAP_NO_OPENDIR_SUPPORT |
		       FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_EXPORT_SUPPORT |
		       FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_ATOMIC_O_TRUNC);
	conn->want &=
		~(unsigned)(FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_SPLICE_READ |
			    FUSE_CAP_AUTO_INVAL_DATA);
}

const struct fuse_lowlevel_ops serve_ops = {
	.init = serve_init,
	.lookup = serve_lookup,
	.getattr = serve_getattr,
	.setattr = serve_setattr,
	.readlink = serve_readlink,
	.mknod = refuse_mknod,
	.mkdir = serve_mkdir,
	.unlink = serve_unlink,
	.rmdir = serve_rmdir,
	.symlink = refuse_symlink,
	.rename = refuse_rename,
	.link = refuse_link,
	.open = serve_open,
	.read = serve_read,
	.write = serve_write,
	.flush = serve_flush,
	.release = serve_release,
	.fsync = serve_fsync,
	.opendir = serve_opendir,
	.readdir = serve_readdir,
	.readdirplus = serve_readdirplus,
	.statfs = serve_statfs,
	.setxattr = refuse_setxattr,
	.getxattr = serve_getxattr,
	.listxattr = serve_listxattr,
	.removexattr = refuse_removexattr,
	.create = serve_create,
};
