/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names in certificates, by RFC 5922 7.1; see identity.c. Each is one block: free() it.
 * What such a name covers is sip_identity_covers() of sip-proxy/transport.h; nobody else compares names.
 * Whoever asks owns the answer.
 */
#pragma once
#include <openssl/ssl.h>
#include "sip-proxy/transport.h"

/* Of the finished handshake. NULL: no certificate, or no memory. */
struct sip_identity *sip_identity_of(SSL *ssl);
/* Of a certificate, whose chain somebody has verified or not. NULL: no memory. */
struct sip_identity *sip_identity_of_x509(X509 *x, bool verified);
/* Of the first certificate of a PEM file, as if it were verified. NULL: it cannot be read. */
struct sip_identity *sip_identity_of_file(const char *path);
