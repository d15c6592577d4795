/* SPDX-License-Identifier: Apache-2.0 */
int thing_new(void);
void thing_alone(int a,
		 int b); /* thing_alone() is only spoken of here */
static inline int thing_inline(void)
{
	return 1;
}
