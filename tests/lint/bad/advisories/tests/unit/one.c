/* SPDX-License-Identifier: Apache-2.0 */
/* Advisory: CVE-1. */
static void it_is_held(void **state)
{
}

/* Long ago. Advisory: CVE-9, CVE-1. */
static void it_is_held_too(void **state)
{
}

/* Advisory: CVE-5. */
static void it_is_not_run(void **state)
{
}

static void it_is_silent(void **state)
{
}

int main(void)
{
	run(it_is_held, it_is_held_too, it_is_silent);
}
