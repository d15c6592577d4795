/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes to a message on its way through: a list of splices over the received bytes. Nothing is parsed again and
 * nothing written anew but what was changed: sip_edit_write() copies the runs between the splices and the new texts
 * into one buffer.
 *
 * The new texts are copied into the edit when they are given (SIP_EDIT_TEXT bytes in all), so the caller may build them
 * on the stack. Failure latches (too many splices, no room, two changes of the same bytes); one test at the end. No
 * memory but the struct's. The message must stay as it is until sip_edit_write().
 */
#pragma once
#include <sys/types.h>
#include "sip-proxy/msg.h"

enum { SIP_EDIT_MAX = 48, SIP_EDIT_TEXT = 4096 };

struct sip_splice {
	uint32_t at, n;	       /* bytes of raw that go; n 0: an insertion in front of at */
	uint32_t text, text_n; /* what comes in their place, in the edit's text */
	uint16_t order; /* insertions at one place stay in the order in which they were made */
	bool value; /* one value of a list: the comma that goes with it is decided when writing */
};
struct sip_edit {
	const struct sip_msg *m;
	bool failed;
	uint16_t n_splices;
	uint32_t text_n;
	struct sip_splice splices[SIP_EDIT_MAX];
	char text[SIP_EDIT_TEXT];
};

void sip_edit_init(struct sip_edit *e, const struct sip_msg *m);
/* The Request-URI; a response has none: failed. */
void sip_edit_uri(struct sip_edit *e, struct text uri);
/* A line of its own in front of the first header of this id (so it is the topmost value), or behind the start line. */
void sip_edit_prepend(struct sip_edit *e, enum sip_header id, struct text value);
/* Behind the last header of this id, or at the end of the head. */
void sip_edit_append(struct sip_edit *e, enum sip_header id, struct text value);
/* The same for a header that has no id. */
void sip_edit_append_named(struct sip_edit *e, struct text name, struct text value);
/* A single-value header gets this value, whether it was there or not. */
void sip_edit_set(struct sip_edit *e, enum sip_header id, struct text value);
void sip_edit_remove(struct sip_edit *e, enum sip_header id);		    /* all of this id */
void sip_edit_remove_field(struct sip_edit *e, const struct head_field *f); /* this one */
/* One value that sip_values_next() gave out, with the comma that separates it; the last of its line takes the line. */
void sip_edit_remove_value(struct sip_edit *e, struct text value);
/* Any slice of the message's head (a value, a parameter, an address), or an insertion in front of it if n is 0. */
void sip_edit_replace(struct sip_edit *e, struct text old, struct text with);

/* Length of the changed message, or -ENOSPC (buffer), -EOVERFLOW (the edit failed). buf does not overlap the message. */
ssize_t sip_edit_write(const struct sip_edit *e, char *buf, size_t cap);
/* What a buffer needs at most. */
static inline size_t sip_edit_bound(const struct sip_edit *e)
{
	return e->m->raw.n + e->text_n;
}
