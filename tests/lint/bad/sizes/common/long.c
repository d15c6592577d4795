/* SPDX-License-Identifier: Apache-2.0 */
static const char *brace = "{"; /* } in a comment */
static const int table[] = {
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
	1,
};
int exactly_eighty(int a, int b, int c, int d, int e, int (*f)(int, int))
{
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
}
int eighty_one(void)
{
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
}
int seven(int a, int b, int c, int d, int e, int f, int g)
{
	x();
}
int excepted_long(void)
{
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
}
struct s {
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
	int a;
};
__attribute__((format(printf, 1, 2))) void attributed(const char *f, ...)
{
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
	x();
}
