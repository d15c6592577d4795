/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent's child cannot do any more (tunnel/direct/confine.h): tried in a process that ends with it. */
#include "tunnel/direct/confine.h"
#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/unit/support.h"

/* The errno of a call without arguments in a confined process; 0: it succeeds. */
static int outcome(long number)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(confine() < 0 ? 255 : syscall(number, 0, 0, 0, 0, 0, 0) < 0 ? errno : 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void other_programs_are_not_started_and_others_are_not_looked_into(void **state)
{
	(void)state;
	assert_int_equal(outcome(SYS_getppid), 0);
	assert_int_equal(outcome(SYS_execve), EPERM);
	assert_int_equal(outcome(SYS_execveat), EPERM);
	assert_int_equal(outcome(SYS_process_vm_readv), EPERM);
}

/* The 32-bit calls of the same table have a bit in front of their numbers. */
static void there_is_no_way_round_by_the_x32_numbers(void **state)
{
	(void)state;
#ifdef __x86_64__
	assert_int_equal(outcome(0x40000000 | 520 /* execve */), EPERM);
	assert_int_equal(outcome(0x40000000 | SYS_getppid), EPERM);
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_programs_are_not_started_and_others_are_not_looked_into),
		cmocka_unit_test(there_is_no_way_round_by_the_x32_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
