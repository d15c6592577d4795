/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of SCRAM. The first byte chooses the end, the rest is what its peer says, messages divided
 * by NUL. Checked: nobody who does not know the password gets in, on either side, and every answer is
 * a text that fits. Rounds are few here, so that the arithmetic does not take all the time.
 */
#include <assert.h>
#include <string.h>
#include "tunnel/link/scram.h"

enum { ROUNDS = 1 };

static void check_answer(const struct scram_text *t)
{
	assert(t->n < SCRAM_MESSAGE_MAX && strlen(t->p) == t->n);
}

static void as_server(struct text rest)
{
	static struct scram_verifier v;
	struct scram s = { .binding = { .type = "tls-exporter", .n = 32 }, .nonce = "server" };
	struct scram_text t;
	enum scram_result r;

	if (!v.rounds &&
	    scram_verifier_make(TEXT("no input holds this"), "salt", 4, ROUNDS, &v) != SCRAM_OK)
		abort();
	r = scram_server_first(&s, &v, text_cut(&rest, 0), &t);
	if (r != SCRAM_OK)
		return;
	check_answer(&t);
	assert(text_is_utf8(text_of(s.name)));
	r = scram_server_final(&s, &v, text_cut(&rest, 0), &t);
	assert(r != SCRAM_OK);
	check_answer(&t);
}

/* A peer that proposes many rounds is let go: 2^20 of them take a second. */
static bool costs_time(struct text t)
{
	uint64_t n = 0;

	while (t.p) {
		struct text a = text_cut(&t, ',');
		if (text_starts(a, TEXT("i=")) && text_u64(text_drop(a, 2), &n) == 0 && n > 64)
			return true;
	}
	return false;
}

static void as_client(struct text rest)
{
	struct scram s = { .binding = { .type = "tls-exporter", .n = 32 },
			   .nonce = "client",
			   .rounds_min = ROUNDS };
	struct text challenge = text_cut(&rest, 0);
	struct scram_text t;

	if (costs_time(challenge))
		return;
	assert(scram_client_first(&s, TEXT("site=17,x"), &t) == SCRAM_OK);
	check_answer(&t);
	if (scram_client_final(&s, challenge, TEXT("no input holds this"), &t) != SCRAM_OK)
		return;
	check_answer(&t);
	assert(scram_client_done(&s, text_cut(&rest, 0)) != SCRAM_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy;

	if (size == 0)
		return 0;
	copy = malloc(size);
	if (!copy)
		abort();
	memcpy(copy, data + 1, size - 1);
	if (data[0] & 1)
		as_client((struct text){ copy, size - 1 });
	else
		as_server((struct text){ copy, size - 1 });
	free(copy);
	return 0;
}
