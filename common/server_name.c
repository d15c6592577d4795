/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of servers, compared label by label. A pattern was looked at when the configuration was read, a name
 * comes from a stranger with each handshake: nothing is allocated and nothing copied. What a client sends is not checked for its form: bytes that no
 * host name has match no pattern, since a pattern has none of them.
 */
#include "common/server_name.h"
#include <string.h>

enum { NAME_MAX_LEN = 253, LABEL_MAX = 63 }; /* RFC 1035 2.3.4 */

static bool good_label(struct text label)
{
	if (!label.n || label.n > LABEL_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-')
		return false;
	for (size_t i = 0; i < label.n; i++) {
		char c = label.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
	}
	return true;
}

static struct text without_dot(struct text t)
{
	if (t.n && t.p[t.n - 1] == '.')
		t.n--;
	return t;
}

static bool only_digits_and_dots(struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] != '.' && (t.p[i] < '0' || t.p[i] > '9'))
			return false;
	return true;
}

const char *server_name_fault(struct text pattern)
{
	struct text rest = without_dot(pattern);
	bool wild = text_starts(rest, TEXT("*."));

	for (size_t i = 0; i < pattern.n; i++)
		if ((unsigned char)pattern.p[i] >= 0x80)
			return "must be written in ASCII, as clients send it (xn--…)";
	if (text_find(pattern, ':') >= 0 || (rest.n && only_digits_and_dots(rest)))
		return "must be a host name: clients send no addresses as a server name";
	if (rest.n > NAME_MAX_LEN)
		return "is longer than a host name can be (253 bytes)";
	if (wild)
		rest = text_drop(rest, 2);
	if (memchr(rest.p ? rest.p : "", '*', rest.n))
		return "may have a * only as its whole first label, as in \"*.partner.example\"";
	while (rest.p)
		if (!good_label(text_cut(&rest, '.')))
			return "is no host name: labels of letters, digits and hyphens, with dots between";
	return NULL;
}

int server_name_match(struct text pattern, struct text name)
{
	ptrdiff_t dot;

	pattern = without_dot(pattern);
	name = without_dot(name);
	if (text_ieq(pattern, name))
		return 2;
	dot = text_find(name, '.');
	if (!text_starts(pattern, TEXT("*.")) || dot <= 0)
		return 0;
	return text_ieq(text_drop(pattern, 1), text_drop(name, (size_t)dot));
}
