/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few words with which a server that connects back finds out whose port it has reached: it asks for
 * /.well-known/stile-reach/NONCE, and a program of ours answers with a digest of the nonce. Any other program that listens
 * there is reached as well, but is not taken for ours; an echo of the question is no answer.
 *
 * No I/O. The server's side is tunnel/server/reach.c; stile test reach and a share's HTTP server answer.
 */
#pragma once
#include "common/text.h"

enum {
	REACH_NONCE = 16,
	REACH_PROOF = 32,	/* hexadecimal digits, without NUL */
	REACH_QUESTION_MAX = 160,
	REACH_ANSWER_MAX = 256, /* of the answer as we write it, with NUL */
	REACH_READ_MAX = 1024,	/* so much of an answer is looked at */
};
#define REACH_PATH "/.well-known/stile-reach/"

void reach_proof(const uint8_t nonce[static REACH_NONCE], char ret_hex[static REACH_PROOF + 1]);
/* The whole request, NUL-terminated; its length. */
size_t reach_question(const uint8_t nonce[static REACH_NONCE], char buf[static REACH_QUESTION_MAX]);
/* The nonce in a request's path ("/.well-known/stile-reach/…"); false: it is something else. */
bool reach_path_nonce(struct text path, uint8_t ret_nonce[static REACH_NONCE]);
/* The same of what has come of a request, head or first line. */
bool reach_asked(struct text request, uint8_t ret_nonce[static REACH_NONCE]);
/* The whole answer of a program that has no HTTP server; its length. */
size_t reach_answer(const uint8_t nonce[static REACH_NONCE], char buf[static REACH_ANSWER_MAX]);
/* Is the proof in what came back? */
bool reach_is_answer(const uint8_t nonce[static REACH_NONCE], struct text answer);
