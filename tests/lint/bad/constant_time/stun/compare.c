/* SPDX-License-Identifier: Apache-2.0 */
int f(void)
{
	return memcmp(mac, given, 20) || strcmp(a->password, b) || text_eq(nonce, other) ||
	       memcmp(ticket->text,
		      shown, 24) ||
	       strcmp(mac, "sha256") || memcmp(name, other_name, name_len) || bytes_equal_ct(mac, given, 20);
}
