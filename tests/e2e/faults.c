/* SPDX-License-Identifier: MIT */
/*
 * faults - preloaded into modelfs, it makes chosen calls fail.
 *
 * What fails is told through a file that both sides map, $FAULTS: the test
 * writes to it while modelfs runs.  See faults.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

struct faults {
	_Atomic int32_t read_error;  /* errno of pread and splice; 0: none */
	_Atomic int32_t read_cut;    /* > 0: pread gives so many bytes at most */
	_Atomic int64_t allocations; /* until one fails; negative: none does */
	_Atomic int64_t failed;	     /* allocations that failed */
	_Atomic int64_t too_large;   /* so many bytes are; 0: nothing is */
};

static struct faults *faults;

__attribute__((constructor)) static void map_faults(void)
{
	const char *path = getenv("FAULTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		abort();
	p = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 0);
	if (p == MAP_FAILED)
		abort();
	close(fd);
	faults = p;
}

/* ---- a failing disk ---- */

static int is_source(int fd)
{
	/* Pipes and the kernel's own device are none. */
	return lseek(fd, 0, SEEK_CUR) >= 0;
}

static ssize_t faulty_pread(const char *name, int fd, void *buf, size_t n,
			    off_t off)
{
	ssize_t (*real)(int, void *, size_t, off_t) =
		(ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, name);
	int32_t cut = faults->read_cut;

	if (faults->read_error && is_source(fd)) {
		errno = faults->read_error;
		return -1;
	}
	return real(fd, buf, cut > 0 && (size_t)cut < n ? (size_t)cut : n, off);
}

ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
	return faulty_pread("pread", fd, buf, n, off);
}

ssize_t pread64(int fd, void *buf, size_t n, off_t off)
{
	return faulty_pread("pread64", fd, buf, n, off);
}

ssize_t splice(int in, off_t *in_off, int out, off_t *out_off, size_t n,
	       unsigned flags)
{
	ssize_t (*real)(int, off_t *, int, off_t *, size_t, unsigned) =
		(ssize_t(*)(int, off_t *, int, off_t *, size_t,
			    unsigned))dlsym(RTLD_NEXT, "splice");

	if (faults->read_error && in_off && is_source(in)) {
		errno = faults->read_error;
		return -1;
	}
	return real(in, in_off, out, out_off, n, flags);
}

/* ---- no memory ---- */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

static int is_due(size_t n)
{
	int64_t limit;

	if (!faults)
		return 0;
	limit = faults->too_large;
	if ((limit == 0 || n < (size_t)limit) &&
	    (faults->allocations < 0 || faults->allocations-- != 0))
		return 0;
	faults->failed++;
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t n)
{
	return is_due(n) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return is_due(n * size) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return is_due(n) ? NULL : __libc_realloc(p, n);
}

void *reallocarray(void *p, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, total);
}

void *aligned_alloc(size_t align, size_t n)
{
	return is_due(n) ? NULL : __libc_memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
	void *p = is_due(n) ? NULL : __libc_memalign(align, n);

	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}
