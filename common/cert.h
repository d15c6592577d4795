/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates as an administrator meets them: what is in a file and what is wrong with it, each thing in a sentence of its
 * own; and new ones: a key with a request for a CA (RFC 2986), or with a certificate that it signs itself, for tests.
 *
 * Connections are common/tls.h's affair; this reads the same files beside them.
 */
#pragma once
#include <jansson.h>
#include "common/tls.h"

enum { CERT_CHAIN_MAX = 8, CERT_SAYINGS_MAX = 8, CERT_NAMES_MAX = 32, CERT_WARN_DAYS = 30 };

struct cert_files {
	const char *cert, *key, *ca; /* key NULL: not looked at; ca NULL: the chain's end is not judged */
	const char *name; /* that it should be for, without wildcards (RFC 5922 7.2); NULL: any */
};
struct cert_report {
	bool readable; /* there is a certificate: info, chain and days_left mean something */
	struct tls_cert_info info;
	char key_kind[64];		 /* "EC prime256v1", "RSA 2048 bits"; of the certificate */
	char chain[CERT_CHAIN_MAX][256]; /* subjects behind the first */
	unsigned n_chain;
	bool key_matches;  /* a key was given, and it is the certificate's */
	int64_t days_left; /* cert_days_left() */
	char faults[CERT_SAYINGS_MAX][TLS_ERRLEN],
		warnings[CERT_SAYINGS_MAX][TLS_ERRLEN]; /* sentences without a full stop */
	unsigned n_faults, n_warnings;
};
void cert_examine(const struct cert_files *f, time_t now, struct cert_report *ret_r);
/* What was found as a row for people and programs: file, key, ca, subject, issuer, names, kind, chain, not_before, not_after,
 * days_left, key_matches, sha256, faults, warnings. NULL without memory. */
json_t *cert_row(const struct cert_files *f, time_t now);
json_t *cert_report_row(const struct cert_files *f, const struct cert_report *r); /* the same of what was examined before */
/* Whole days until its end; -1: it ended less than a day ago. Unix seconds. */
int64_t cert_days_left(int64_t not_after, int64_t now);
/* "it ends in 12 days …", or "" if it lasts CERT_WARN_DAYS or more, or is over. */
void cert_warn_end(const struct tls_cert_info *i, time_t now, char out[static TLS_ERRLEN]);

/* A service's own certificate and key: what is wrong with them becomes an error of the configuration under this key (a date: a warning). */
struct cfg;
void cert_check(struct cfg *c, const char *key, const char *cert_file, const char *key_file);

struct cert_wish {
	const char *names[CERT_NAMES_MAX]; /* host names or addresses; the first is the common name, too */
	unsigned n_names;
	const char *key_file; /* used if it is there; else made (EC P-256, mode 0600) */
	const char *out_file; /* must not be there */
	unsigned days;	      /* of a self-signed certificate; 0: a request for a CA */
};
/* 0, or -errno and a sentence. */
int cert_make(const struct cert_wish *w, char err[static TLS_ERRLEN]);
