/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of calls is what systemd's @system-service is without @privileged, @resources and @obsolete (the filter of our units), less
 * what none of our programs and libraries uses: namespaces, keyrings, other processes' memory, asynchronous I/O (but for a ring
 * that was made before, common/ring.h), System V IPC.
 * libseccomp knows their numbers on each machine and passes over those that a machine does not have.
 *
 * Landlock is spoken to by its system calls, with the rights of versions that Debian 12's headers do not have yet.
 *
 * Sanitizers trace the process to look for leaks, and coverage is written where it was built; builds for them may.
 */
#include "common/sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "common/defs.h"
#include "common/fd.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TRACED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TRACED 1
#endif
#endif

/* ---- files ---- */

enum { /* Landlock's rights, by the version that brought them; linux/landlock.h of 6.1 ends at REFER */
	VERSION_REFER = 2, VERSION_TRUNCATE = 3, VERSION_DEVICES = 5, VERSION_SIGNALS = 6,
};
#define RIGHTS_1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define RIGHT_REFER (1ull << 13)
#define RIGHT_TRUNCATE (1ull << 14)
#define RIGHT_DEVICES (1ull << 15)
#define SCOPE_SIGNALS (1ull << 1)
#define READING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define OF_FILES (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | RIGHT_TRUNCATE | RIGHT_DEVICES)
#define NEVER (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK | RIGHT_DEVICES)

struct ruleset_attr { /* of version 6; an older kernel takes it where what it does not know is zero */
	uint64_t files, net, scoped;
};

struct ruleset {
	int fd, version;
	uint64_t handled;
};

static int ruleset_new(struct ruleset *ret_s)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct ruleset_attr a = { .files = RIGHTS_1 };
	long fd;

	if (version < 1)
		return version < 0 ? -errno : -EOPNOTSUPP;
	a.files |= version >= VERSION_REFER ? RIGHT_REFER : 0;
	a.files |= version >= VERSION_TRUNCATE ? RIGHT_TRUNCATE : 0;
	a.files |= version >= VERSION_DEVICES ? RIGHT_DEVICES : 0;
	a.scoped = version >= VERSION_SIGNALS ? SCOPE_SIGNALS : 0;
	fd = syscall(SYS_landlock_create_ruleset, &a, version >= VERSION_SIGNALS ? sizeof(a) : sizeof(a.files), 0);
	if (fd < 0)
		return -errno;
	*ret_s = (struct ruleset){ (int)fd, (int)version, a.files };
	return 0;
}

static int leave(const struct ruleset *s, const char *path, uint64_t rights)
{
	_cleanup_(closep) int fd = open(path, O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr a = { .parent_fd = fd, .allowed_access = rights & s->handled };
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == EACCES || errno == ENOTDIR ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		a.allowed_access &= OF_FILES;
	return syscall(SYS_landlock_add_rule, s->fd, LANDLOCK_RULE_PATH_BENEATH, &a, 0) < 0 ? -errno : 0;
}

/* The loader, without which the kernel starts no dynamic program. */
static int find_loader(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char **ret_loader = arg;

	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_INTERP)
			*ret_loader = (const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr); /* NOLINT(performance-no-int-to-ptr) */
	return 1; /* the program comes first, and is all that is asked */
}

static int leave_program(const struct ruleset *s, const char *program)
{
	const char *loader = NULL;
	char folder[PATH_MAX], *slash;
	int r = leave(s, program, LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE);

	dl_iterate_phdr(find_loader, &loader);
	/* Its folder, for an upgrade of libc puts another file there. */
	slash = r == 0 && loader && realpath(loader, folder) ? strrchr(folder, '/') : NULL;
	if (!slash)
		return r;
	*slash = '\0';
	return leave(s, folder, LANDLOCK_ACCESS_FS_EXECUTE | READING);
}

int sandbox_files(const char *const *writable, size_t n, const char *program)
{
	struct ruleset s = { .fd = -1 };
	int r = ruleset_new(&s);

	if (r < 0)
		return r;
	r = leave(&s, "/", READING);
	if (r == 0)
		r = leave(&s, "/dev/null", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | RIGHT_TRUNCATE);
#ifdef STILE_COVERAGE
	if (r == 0)
		r = leave(&s, "/", s.handled & ~NEVER);
#endif
	for (size_t i = 0; i < n && r == 0; i++)
		r = leave(&s, writable[i], s.handled & ~NEVER);
	if (r == 0 && program)
		r = leave_program(&s, program);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0 && syscall(SYS_landlock_restrict_self, s.fd, 0) < 0)
		r = -errno;
	close(s.fd);
	return r < 0 ? r : s.version;
}

/* ---- calls ---- */

/* clang-format off */
static const char *const calls[] = {
	"_llseek", "_newselect", "accept", "accept4", "access", "alarm", "arch_prctl", "arm_fadvise64_64", "bind", "brk",
	"cacheflush", "capget", "capset", "chdir", "chmod", "chown", "clock_getres", "clock_getres_time64", "clock_gettime",
	"clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "close", "close_range", "connect",
	"copy_file_range", "creat", "dup", "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait",
	"epoll_pwait2", "epoll_wait", "eventfd", "eventfd2", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64",
	"fadvise64_64", "fallocate", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "fcntl", "fcntl64",
	"fdatasync", "fgetxattr", "flistxattr", "flock", "fork", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64",
	"fsync", "ftruncate", "ftruncate64", "futex", "futex_time64", "futex_waitv", "futimesat", "get_mempolicy",
	"get_robust_list", "get_thread_area", "getcpu", "getcwd", "getdents", "getdents64", "getegid", "getegid32", "geteuid",
	"geteuid32", "getgid", "getgid32", "getgroups", "getgroups32", "getitimer", "getpeername", "getpgid", "getpgrp",
	"getpid", "getppid", "getpriority", "getrandom", "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit",
	"getrusage", "getsid", "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "getuid32", "getxattr",
	"inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "ioctl", "ioprio_get", "kill",
	"landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "lchown", "lgetxattr", "link", "linkat",
	"listen", "listxattr", "llistxattr", "lseek", "lstat", "lstat64", "madvise", "membarrier", "memfd_create", "mkdir",
	"mkdirat", "mlock", "mlock2", "mlockall", "mremap", "msync", "munlock", "munlockall", "munmap", "nanosleep",
	"newfstatat", "open", "openat", "openat2", "pause", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2", "poll",
	"ppoll", "ppoll_time64", "prctl", "pread64", "preadv", "preadv2", "prlimit64", "pselect6", "pselect6_time64",
	"pwrite64", "pwritev", "pwritev2", "read", "readahead", "readdir", "readlink", "readlinkat", "readv", "recv",
	"recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", "rename", "renameat", "renameat2", "restart_syscall",
	"riscv_flush_icache", "rmdir", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo",
	"rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo",
	"sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam",
	"sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_yield", "seccomp", "select",
	"send", "sendfile", "sendfile64", "sendmmsg", "sendmsg", "sendto", "set_robust_list", "set_thread_area",
	"set_tid_address", "set_tls", "setitimer", "setpgid", "setsockopt", "shutdown", "sigaction", "sigaltstack", "signal",
	"signalfd", "signalfd4", "sigpending", "sigprocmask", "sigreturn", "sigsuspend", "socketcall", "socketpair", "splice",
	"stat", "stat64", "statfs", "statfs64", "statx", "sync", "sync_file_range", "sync_file_range2", "syncfs", "sysinfo",
	"tgkill", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64",
	"timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime",
	"timerfd_settime64", "times", "tkill", "truncate", "truncate64", "ugetrlimit", "umask", "uname", "unlink", "unlinkat",
	"utime", "utimensat", "utimensat_time64", "utimes", "vfork", "wait4", "waitid", "waitpid", "write", "writev",
};
/* A program that is started shuts itself in further. */
/* clang-format on */
static const char *const calls_of_programs[] = { "execve", "execveat" }, *const calls_of_bpf[] = { "bpf", "perf_event_open" };
static const char *const calls_of_rings[] = { "io_uring_enter" };
#ifdef TRACED
static const char *const calls_of_tracers[] = { "ptrace", "process_vm_readv", "process_vm_writev", "personality" };
#endif

static int allow(scmp_filter_ctx ctx, const char *const *names, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		int nr = seccomp_syscall_resolve_name(names[i]);

		if (nr >= 0) /* else this machine has no such call */
			r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 0, NULL);
	}
	return r;
}

/* A rule for one argument of a call, if this machine has it. */
static int allow_if(scmp_filter_ctx ctx, const char *name, struct scmp_arg_cmp arg)
{
	int nr = seccomp_syscall_resolve_name(name);

	return nr < 0 ? 0 : seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 1, &arg);
}

/* Threads and processes, but none in a namespace of its own. clone3() has its flags behind a pointer: without it libraries go back
 * to clone(). */
static int allow_clone(scmp_filter_ctx ctx)
{
	const unsigned namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

	return allow_if(ctx, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces, 0));
}

static int allow_memory(scmp_filter_ctx ctx)
{
	int r = allow_if(ctx, "mprotect", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	for (int i = 0; i < 2 && r == 0; i++) {
		const char *name = i ? "mmap2" : "mmap";

		r = allow_if(ctx, name, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
		if (r == 0)
			r = allow_if(ctx, name, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC));
	}
	return r;
}

static int allow_sockets(scmp_filter_ctx ctx)
{
	static const int families[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(families) && r == 0; i++)
		r = allow_if(ctx, "socket", SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	return r;
}

static int add_rules(scmp_filter_ctx ctx, unsigned flags)
{
	int r = allow(ctx, calls, ARRAY_LEN(calls));

	if (r == 0 && flags & SANDBOX_PROGRAMS)
		r = allow(ctx, calls_of_programs, ARRAY_LEN(calls_of_programs));
	if (r == 0 && flags & SANDBOX_BPF)
		r = allow(ctx, calls_of_bpf, ARRAY_LEN(calls_of_bpf));
	if (r == 0 && flags & SANDBOX_RING)
		r = allow(ctx, calls_of_rings, ARRAY_LEN(calls_of_rings));
#ifdef TRACED
	if (r == 0)
		r = allow(ctx, calls_of_tracers, ARRAY_LEN(calls_of_tracers));
#endif
	if (r == 0)
		r = allow_clone(ctx);
	if (r == 0)
		r = allow_memory(ctx);
	return r < 0 ? r : allow_sockets(ctx);
}

int sandbox_calls(unsigned flags)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int r;

	if (!ctx)
		return -ENOMEM;
	r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree instead of one comparison after the other */
	if (r == 0)
		r = add_rules(ctx, flags);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}
