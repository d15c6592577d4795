/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key of the tokens in our Record-Routes and Paths: made once and kept in the store, or the dialogs and flows of
 * before a restart could not go on. Without a store it lives as long as the process. It is a secret: the audit and
 * every listing hide it.
 */
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/service.h"

enum { KEY = 32 };

struct secret_section {
	char *value;
};
static const struct cfg_row secret_rows[] = {
	{ .name = "value",
	  .type = &cfg_string,
	  CFG_AT(struct secret_section, value),
	  .flags = CFG_SECRET,
	  .help = "Hex digits." },
};
const struct cfg_schema sip_secret_schema = { .name = "sip.secret",
					      .rows = secret_rows,
					      .n_rows = ARRAY_LEN(secret_rows),
					      .size = sizeof(struct secret_section) };

struct found {
	uint8_t *key;
	bool good;
};

static void on_secret(const struct store_object *o, void *arg)
{
	struct found *f = arg;
	const char *hex = json_string_value(json_object_get(o->body, "value"));
	size_t n;

	if (strcmp(o->key, "token") == 0 && hex)
		f->good = hex_decode(text_of(hex), f->key, KEY, &n) == 0 && n == KEY;
}

int sip_service_token_key(struct sip_service *ss, uint8_t key[static KEY])
{
	struct found f = { .key = key };
	char hex[2 * KEY + 1];
	const struct store_call by = { .who = "stile-sip" };
	int r;

	if (ss->svc->store)
		(void)store_load(ss->svc->store, "sip.secret", on_secret, &f);
	if (f.good)
		return 0;
	r = bytes_random(key, KEY);
	if (r < 0 || !ss->svc->store)
		return r;
	hex_encode(key, KEY, hex);
	/* A store that does not take it is no reason not to run. */
	(void)store_put(ss->svc->store, &by, "sip.secret", "token", STORE_ANY,
			json_pack("{s:s}", "value", hex));
	bytes_wipe(hex, sizeof(hex));
	return 0;
}
