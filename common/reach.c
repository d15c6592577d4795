/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Question and answer of a connection back (reach.h). The proof is a digest, not a secret: it shows that a program of ours
 * has read the question, and nothing about who runs it. Whose listener it was, its owner knows: he has seen the nonce come.
 * Neither side keeps anything between question and answer.
 */
#include "common/reach.h"
#include <openssl/sha.h>
#include <stdio.h>

#define LABEL "stile-reach/1 "

void reach_proof(const uint8_t nonce[static REACH_NONCE], char ret_hex[static REACH_PROOF + 1])
{
	uint8_t in[sizeof(LABEL) - 1 + REACH_NONCE], digest[SHA256_DIGEST_LENGTH];

	memcpy(in, LABEL, sizeof(LABEL) - 1);
	memcpy(in + sizeof(LABEL) - 1, nonce, REACH_NONCE);
	(void)SHA256(in, sizeof(in), digest);
	hex_encode(digest, REACH_PROOF / 2, ret_hex);
}

size_t reach_question(const uint8_t nonce[static REACH_NONCE], char buf[static REACH_QUESTION_MAX])
{
	char hex[2 * REACH_NONCE + 1];

	hex_encode(nonce, REACH_NONCE, hex);
	return (size_t)snprintf(buf, REACH_QUESTION_MAX, "GET " REACH_PATH "%s HTTP/1.1\r\nHost: stile\r\nConnection: close\r\n\r\n", hex);
}

bool reach_path_nonce(struct text path, uint8_t ret_nonce[static REACH_NONCE])
{
	uint8_t nonce[REACH_NONCE];
	size_t n = 0;

	if (!text_starts(path, TEXT(REACH_PATH)) || path.n != sizeof(REACH_PATH) - 1 + (size_t)2 * REACH_NONCE)
		return false;
	if (hex_decode(text_drop(path, sizeof(REACH_PATH) - 1), nonce, sizeof(nonce), &n) < 0 || n != REACH_NONCE)
		return false;
	memcpy(ret_nonce, nonce, REACH_NONCE);
	return true;
}

bool reach_asked(struct text request, uint8_t ret_nonce[static REACH_NONCE])
{
	ptrdiff_t end;

	if (!text_starts(request, TEXT("GET ")))
		return false;
	request = text_drop(request, 4);
	end = text_find(request, ' ');
	return end >= 0 && reach_path_nonce((struct text){ request.p, (size_t)end }, ret_nonce);
}

size_t reach_answer(const uint8_t nonce[static REACH_NONCE], char buf[static REACH_ANSWER_MAX])
{
	char proof[REACH_PROOF + 1];

	reach_proof(nonce, proof);
	return (size_t)snprintf(buf, REACH_ANSWER_MAX,
				"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %u\r\nCache-Control: no-store\r\n"
				"Connection: close\r\n\r\n%s\n",
				REACH_PROOF + 1u, proof);
}

bool reach_is_answer(const uint8_t nonce[static REACH_NONCE], struct text answer)
{
	char proof[REACH_PROOF + 1];

	reach_proof(nonce, proof);
	return answer.n >= REACH_PROOF && memmem(answer.p, answer.n, proof, REACH_PROOF) != NULL;
}
