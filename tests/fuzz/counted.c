/* SPDX-License-Identifier: MIT */
/* counted - see counted.h. */
#include "counted.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

static _Atomic long long now, peak;

static void count(long long nbytes)
{
	long long v = atomic_fetch_add(&now, nbytes) + nbytes;
	long long most = atomic_load(&peak);

	while (v > most && !atomic_compare_exchange_weak(&peak, &most, v))
		;
}

long long counted_now(void)
{
	return atomic_load(&now);
}

long long counted_peak(void)
{
	return atomic_load(&peak);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAVE_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAVE_SANITIZER 1
#endif
#endif

#ifdef HAVE_SANITIZER

/* compiler-rt: sanitizer/allocator_interface.h */
int __sanitizer_install_malloc_and_free_hooks(
	void (*malloc_hook)(const volatile void *, size_t),
	void (*free_hook)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *p);
int __lsan_do_recoverable_leak_check(void);

static void on_malloc(const volatile void *p, size_t n)
{
	(void)p;
	count((long long)n);
}

static void on_free(const volatile void *p)
{
	if (p)
		count(-(long long)__sanitizer_get_allocated_size(p));
}

void counted_start(void)
{
	static int is_installed;

	if (!is_installed)
		__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
	is_installed = 1;
	atomic_store(&now, 0);
	atomic_store(&peak, 0);
}

void counted_explain(void)
{
	__lsan_do_recoverable_leak_check();
}

#else

/* What glibc's own functions are called besides. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

void counted_start(void)
{
	atomic_store(&now, 0);
	atomic_store(&peak, 0);
}

void counted_explain(void)
{
}

static void *counted(void *p)
{
	if (p)
		count((long long)malloc_usable_size(p));
	return p;
}

void *malloc(size_t n)
{
	return counted(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
	return counted(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *q = __libc_realloc(p, n);

	/* The old block stays when there is no new one; n = 0 frees it. */
	if (q || n == 0)
		count(-(long long)old);
	return counted(q);
}

void *memalign(size_t align, size_t n)
{
	return counted(__libc_memalign(align, n));
}

void *aligned_alloc(size_t align, size_t n)
{
	return memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
	void *p = memalign(align, n);

	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

void free(void *p)
{
	int old = errno;

	if (p)
		count(-(long long)malloc_usable_size(p));
	__libc_free(p);
	errno = old;
}

#endif
