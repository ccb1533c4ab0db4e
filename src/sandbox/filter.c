/* SPDX-License-Identifier: MIT */
/* filter - see sandbox/filter.h. */
#include "sandbox/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCH AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define ARCH AUDIT_ARCH_PPC64LE
#else
#define ARCH 0
#endif

#define EXEC PROT_EXEC
#define NEW_THREAD 0x00010000	   /* CLONE_THREAD */
#define WRITING (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)

/* What reading models, computing and answering the kernel takes. */
static const int allowed[] = {
	/* files that are open, pipes for splice */
	SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_preadv2, SYS_write,
	SYS_writev, SYS_pwrite64, SYS_lseek, SYS_close, SYS_fstat,
	SYS_newfstatat, SYS_statx, SYS_readlinkat, SYS_getdents64, SYS_fcntl,
	SYS_dup, SYS_dup3, SYS_pipe2, SYS_splice, SYS_vmsplice, SYS_tee,
	SYS_ppoll, SYS_chdir, SYS_fadvise64, SYS_faccessat, SYS_faccessat2,
	SYS_getcwd,
	/* what was asked of the mounting process comes back this way */
	SYS_recvmsg, SYS_recvfrom, SYS_sendto, SYS_sendmsg, SYS_shutdown,
	/* memory */
	SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_mlock, SYS_munlock,
	/* threads, time, signals */
	SYS_futex, SYS_exit, SYS_exit_group, SYS_set_robust_list,
	SYS_get_robust_list, SYS_rseq, SYS_gettid, SYS_getpid, SYS_getppid,
	SYS_tgkill, SYS_sched_yield, SYS_sched_getaffinity,
	SYS_sched_setaffinity, SYS_membarrier, SYS_nanosleep,
	SYS_clock_nanosleep, SYS_clock_gettime, SYS_clock_getres,
	SYS_gettimeofday, SYS_rt_sigaction, SYS_rt_sigprocmask,
	SYS_rt_sigreturn, SYS_rt_sigtimedwait, SYS_sigaltstack,
	SYS_restart_syscall, SYS_getrandom, SYS_getrusage, SYS_wait4,
	SYS_setitimer,
	/* names of threads; the second filter, loaded under the first */
	SYS_prctl, SYS_seccomp,
	/* who and where we are */
	SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_uname,
	SYS_sysinfo, SYS_umask, SYS_setsid,
	/* those that younger processors do without */
#ifdef SYS_stat
	SYS_stat,
#endif
#ifdef SYS_lstat
	SYS_lstat,
#endif
#ifdef SYS_readlink
	SYS_readlink,
#endif
#ifdef SYS_dup2
	SYS_dup2,
#endif
#ifdef SYS_pipe
	SYS_pipe,
#endif
#ifdef SYS_poll
	SYS_poll,
#endif
#ifdef SYS_access
	SYS_access,
#endif
#ifdef SYS_time
	SYS_time,
#endif
#ifdef SYS_getrlimit
	SYS_getrlimit,
#endif
};

/* A call that is allowed when (argument & mask) == value. */
struct check {
	int call;
	unsigned arg;
	uint32_t mask, value;
};

/*
 * Threads, but no processes; memory, but none that can be executed; limits are
 * read, not set; a terminal is recognised, not changed.  Of wider arguments
 * the kernel ignores the upper half, or refuses it, but for the pointer to new
 * limits, which check_pointer looks at.
 */
static const struct check checks[] = {
	{SYS_clone, 0, NEW_THREAD, NEW_THREAD},
	{SYS_mprotect, 2, EXEC, 0},
	{SYS_ioctl, 1, UINT32_MAX, TCGETS},
};

/* openat2 can't be filtered by flags, which lie in memory; Landlock does. */
static const struct check to_read[] = {
	{SYS_openat, 2, WRITING, 0},
	{SYS_openat2, 0, 0, 0},
};

static const struct check to_fill[] = {
	{SYS_openat, 0, 0, 0},	  {SYS_openat2, 0, 0, 0},
	{SYS_mkdirat, 0, 0, 0},	  {SYS_symlinkat, 0, 0, 0},
	{SYS_unlinkat, 0, 0, 0},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* ---- the program ---- */

#define PROGRAM_MAX 512

struct program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned short n;
};

static void add(struct program *p, uint16_t code, uint32_t k, uint8_t yes,
		uint8_t no)
{
	p->code[p->n++] = (struct sock_filter){code, yes, no, k};
}

static void load_word(struct program *p, size_t off)
{
	add(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)off, 0, 0);
}

/* The next instruction when it is k; the one after `skip` others if not. */
static void skip_unless(struct program *p, uint32_t k, uint8_t skip)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, k, 0, skip);
}

static void answer(struct program *p, uint32_t what)
{
	add(p, BPF_RET | BPF_K, what, 0, 0);
}

static void load_call(struct program *p)
{
	load_word(p, offsetof(struct seccomp_data, nr));
}

/* Numbers are little-endian on all that ARCH knows: the lower half first. */
static size_t arg_at(unsigned arg)
{
	return offsetof(struct seccomp_data, args) + 8 * arg;
}

static void refuse(struct program *p, uint32_t code)
{
	answer(p, SECCOMP_RET_ERRNO | code);
}

static void add_checks(struct program *p, const struct check *c, size_t n)
{
	for (; n-- > 0; c++) {
		skip_unless(p, (uint32_t)c->call, 5);
		load_word(p, arg_at(c->arg));
		add(p, BPF_ALU | BPF_AND | BPF_K, c->mask, 0, 0);
		skip_unless(p, c->value, 1);
		answer(p, SECCOMP_RET_ALLOW);
		refuse(p, EPERM);
	}
}

/* mmap(addr, len, prot, flags, …): what can be executed is no new memory. */
static void check_mapping(struct program *p, bool may_load)
{
	skip_unless(p, SYS_mmap, may_load ? 9 : 5);
	load_word(p, arg_at(2));
	add(p, BPF_ALU | BPF_AND | BPF_K, EXEC, 0, 0);
	skip_unless(p, 0, 1);
	answer(p, SECCOMP_RET_ALLOW);
	if (may_load) {
		load_word(p, arg_at(3));
		add(p, BPF_ALU | BPF_AND | BPF_K, MAP_ANONYMOUS, 0, 0);
		skip_unless(p, 0, 1);
		answer(p, SECCOMP_RET_ALLOW);
	}
	refuse(p, EPERM);
}

/* prlimit64(pid, resource, new = NULL, old) */
static void check_pointer(struct program *p)
{
	skip_unless(p, SYS_prlimit64, 6);
	load_word(p, arg_at(2));
	skip_unless(p, 0, 3);
	load_word(p, arg_at(2) + 4);
	skip_unless(p, 0, 1);
	answer(p, SECCOMP_RET_ALLOW);
	refuse(p, EPERM);
}

/* Another processor's calls have other numbers. */
static void check_arch(struct program *p)
{
	load_word(p, offsetof(struct seccomp_data, arch));
	add(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	refuse(p, EPERM);
}

static void write_program(struct program *p, enum filter_opening what,
			  bool may_load)
{
	check_arch(p);
	load_call(p);
	for (size_t i = 0; i < COUNT(allowed); i++) {
		skip_unless(p, (uint32_t)allowed[i], 1);
		answer(p, SECCOMP_RET_ALLOW);
	}
	add_checks(p, checks, COUNT(checks));
	check_mapping(p, may_load);
	check_pointer(p);
	if (what == FILTER_OPEN_TO_READ)
		add_checks(p, to_read, COUNT(to_read));
	if (what == FILTER_OPEN_TO_FILL)
		add_checks(p, to_fill, COUNT(to_fill));
	/* Its flags lie in memory; glibc then uses clone, which can be seen. */
	skip_unless(p, SYS_clone3, 1);
	refuse(p, ENOSYS);
	refuse(p, EPERM);
}

int filter_load(enum filter_opening what, bool may_load)
{
	struct program p = {.n = 0};
	struct sock_fprog prog = {.filter = p.code};

	if (ARCH == 0)
		return -ENOSYS;
	write_program(&p, what, may_load);
	prog.len = p.n;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		return -errno;
	return 0;
}
