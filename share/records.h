/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content of a share as records (docs/decisions/0024-sharing.md): 65,536 plain bytes each but the last, which may be shorter;
 * AES-256-GCM under a key of the stream alone, 16 bytes of tag behind each; the nonce holds the record's number and whether it is the last,
 * so that none can be left out, moved, or put behind the end. A stream of no bytes is one empty record.
 *
 * Records are as long as their plain bytes and 16: a range of one is a range of the other. No I/O; a context is for one
 * stream and one thread.
 */
#pragma once
#include "share/code.h"

enum { RECORD_PLAIN = 65536, RECORD_TAG = 16, RECORD_SIZE = RECORD_PLAIN + RECORD_TAG };
#define RECORDS_PLAIN_MAX (UINT64_C(1) << 47) /* numbers are 32 bits; this is far below */

uint64_t share_records_size(uint64_t plain);	/* bytes of all records of so many plain ones */
uint64_t share_records_count(uint64_t plain); /* at least 1 */
/* The reverse: -EINVAL if no plain size has it. */
int share_records_plain(uint64_t size, uint64_t *ret_plain);

struct share_records_ctx;
int share_records_new(const uint8_t key[static SHARE_KEY], bool seal, struct share_records_ctx **ret_c); /* 0, -ENOMEM */
/* Of the stream whose key is share_stream_key()'s, which is not kept. 0, -ENOMEM, -EIO. */
int share_records_of(const uint8_t secret[static SHARE_SECRET], const uint8_t salt[static SHARE_SALT], const char *kind, bool seal,
		     struct share_records_ctx **ret_c);
struct share_records_ctx *share_records_free(struct share_records_ctx *c);
DEFINE_CLEANUP(struct share_records_ctx, share_records_free)
/* in and out may be the same. n: at most RECORD_PLAIN. out has room for n + RECORD_TAG. 0 or -EIO. */
int share_records_seal(struct share_records_ctx *c, uint32_t number, bool last, const uint8_t *in, size_t n, uint8_t *out);
/* n: with the tag. *out gets n - RECORD_TAG bytes. -EBADMSG: not what was sealed, or not there. */
int share_records_open(struct share_records_ctx *c, uint32_t number, bool last, const uint8_t *in, size_t n, uint8_t *out);

/* A whole small stream with a salt of its own in front (SEALED in the decision). *ret_p is malloc'd. 0, -ENOMEM, -EIO. */
int sealed_make(const uint8_t secret[static SHARE_SECRET], const char *kind, struct text plain, uint8_t **ret_p, size_t *ret_n);
/* *ret_p is malloc'd, with a NUL behind *ret_n bytes. 0, -ENOMEM, -EBADMSG. */
int sealed_open(const uint8_t secret[static SHARE_SECRET], const char *kind, struct text sealed, char **ret_p, size_t *ret_n);
