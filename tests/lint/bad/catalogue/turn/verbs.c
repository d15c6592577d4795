/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refuses with a code that
 * nobody has
 * explained.
 */
void verb(struct control_request *rq)
{
	control_fail(rq, "strange", NULL, "it cannot be");
}
