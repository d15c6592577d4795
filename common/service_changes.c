/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reload changes, gathered before it happens: the differences between the two files by their
 * schema, and what the service itself sees beyond them. The same rows go to the log and to whoever asked.
 * Bounded: of a file that was written anew from top to bottom the rest is counted.
 */
#include <errno.h>
#include "common/log_msgs.h"
#include "common/service_priv.h"

enum { CHANGES_KEPT = 500, CHANGES_LOGGED = 50 };

int service_changes_add(struct service_changes *c, const struct cfg_change *ch)
{
	json_t *row;

	if (json_array_size(c->rows) >= CHANGES_KEPT) {
		c->more++;
		return 0;
	}
	row = json_pack("{s:s, s:s, s:b}", "key", ch->key, "what", ch->what, "restart", ch->restart);
	if (row && ch->was && ch->is &&
	    (json_object_set_new(row, "was", json_string(ch->was)) < 0 || json_object_set_new(row, "is", json_string(ch->is)) < 0)) {
		json_decref(row);
		return -ENOMEM;
	}
	return row && json_array_append_new(c->rows, row) == 0 ? 0 : -ENOMEM;
}

static int on_change(const struct cfg_change *ch, void *arg)
{
	return service_changes_add(arg, ch);
}

int service_changes_init(struct service_changes *c, const struct cfg *was, const struct cfg *is)
{
	*c = (struct service_changes){ .rows = json_array() };
	return c->rows ? cfg_diff(was, is, on_change, c) : -ENOMEM;
}

void service_changes_deinit(struct service_changes *c)
{
	json_decref(c->rows);
	*c = (struct service_changes){ 0 };
}

static struct log_field field(const json_t *row, const char *key)
{
	const char *s = json_string_value(json_object_get(row, key));

	return s ? LF_STR(key, s) : (struct log_field){ .type = LF_END };
}

void service_changes_log(const struct service_changes *c)
{
	size_t n = json_array_size(c->rows);

	for (size_t i = 0; i < MIN(n, CHANGES_LOGGED); i++) {
		const json_t *row = json_array_get(c->rows, i);

		log_emit(&MSG_SERVICE_CHANGED, field(row, "key"), field(row, "what"), field(row, "was"), field(row, "is"));
	}
	if (n > CHANGES_LOGGED)
		log_emit(&MSG_SERVICE_CHANGED_MORE, LF_U64("more", n - CHANGES_LOGGED + c->more));
}
