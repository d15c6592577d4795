/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revocation lists of a TLS context that verifies its peers; see tls_crl.c. Only common/tls.c calls this, with the
 * file of struct tls_options: nobody adds lists to a context that is at work.
 * What it reads belongs to the context.
 */
#pragma once
#include "common/tls.h"

/* 0, and a warning in err if a list is out of date; or -errno and a sentence. */
int tls_load_crls(SSL_CTX *ctx, const char *path, char err[static TLS_ERRLEN]);
