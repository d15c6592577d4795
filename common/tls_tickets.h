/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of a server's session tickets (RFC 5077, RFC 8446 4.6.1), which change while the service runs: a ticket opens for as long as
 * its session may be resumed, and what was recorded is nobody's soon after. Only common/tls.c calls this, but for tests.
 * The keys belong to the context.
 */
#pragma once
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

/* Before the context is shared. -ENOMEM, -EIO. */
int tls_tickets_prepare(SSL_CTX *ctx);
/* Each session of a server's context, which is prepared or gives no tickets, before its handshake. False: out of memory. */
bool tls_tickets_begin(SSL *ssl);
/* New keys, if it is time for them at now (clock_steady_ms()); each handshake does so. -EIO: there is no randomness, and the keys stay. */
int tls_tickets_renew(SSL_CTX *ctx, uint64_t now);
