/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capabilities by libcap-ng, system calls by a seccomp filter that names what is refused (EPERM): a list of what is allowed would
 * have to know what GLib and GnuTLS do in each version.
 *
 * Sanitizers trace the process to look for leaks; builds with one may.
 */
#include "tunnel/direct/confine.h"
#include <cap-ng.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TRACED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TRACED 1
#endif
#endif

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define FOREIGN 0x40000000 /* numbers of x32 begin here: the same calls once more */
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#define FOREIGN 0x80000000 /* there are none */
#endif

static const uint32_t refused[] = {
	__NR_execve, __NR_execveat,
#ifndef TRACED
	__NR_ptrace,
#endif
	__NR_process_vm_readv, __NR_process_vm_writev, __NR_kcmp, __NR_pidfd_getfd,
	__NR_setns, __NR_unshare, __NR_mount, __NR_umount2, __NR_pivot_root, __NR_chroot,
	__NR_bpf, __NR_perf_event_open, __NR_userfaultfd, __NR_io_uring_setup,
	__NR_add_key, __NR_request_key, __NR_keyctl,
	__NR_init_module, __NR_finit_module, __NR_delete_module, __NR_kexec_load, __NR_reboot, __NR_swapon, __NR_swapoff,
	__NR_acct, __NR_settimeofday, __NR_clock_settime, __NR_sethostname, __NR_quotactl,
};

static int refuse_calls(void)
{
#ifdef ARCH
	struct sock_filter code[7 + 2 * ARRAY_LEN(refused)];
	struct sock_fprog filter = { .filter = code };
	unsigned short n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM); /* calls of another table */
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FOREIGN, 0, 1);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	filter.len = n;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0 && errno != EINVAL) /* a kernel without it */
		return -errno;
#endif
	return 0;
}

int confine(void)
{
	const struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none); /* it holds the agent's key */
#ifndef TRACED
	(void)prctl(PR_SET_DUMPABLE, 0);
#endif
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_BOTH) < 0) { /* the bounding set is root's to change; what it bounds is given up below */
		capng_clear(CAPNG_SELECT_CAPS);
		if (capng_apply(CAPNG_SELECT_CAPS) < 0)
			return -EPERM;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return refuse_calls();
}
