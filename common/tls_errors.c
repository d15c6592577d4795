/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What OpenSSL reports, in one line of text, and what a failed call on a stream means. Its errors lie in a queue of
 * the thread; each function here leaves it empty, so that nobody reads another's.
 *
 * A bare FIN is an end of the stream as close_notify is, because many clients never send one; what stands above
 * TLS must know its own end, as it does over TCP.
 */
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include "common/tls.h"

const char *tls_error_text(char *buf, size_t n)
{
	unsigned long e = ERR_get_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;

	if (!e)
		(void)snprintf(buf, n, "no error reported");
	else if (reason)
		(void)snprintf(buf, n, "%s", reason);
	else
		ERR_error_string_n(e, buf, n);
	ERR_clear_error();
	return buf;
}

const char *tls_failure_text(SSL *ssl, char *buf, size_t n)
{
	long verdict = SSL_get_verify_result(ssl);

	if (verdict == X509_V_OK || ERR_GET_REASON(ERR_peek_error()) != SSL_R_CERTIFICATE_VERIFY_FAILED)
		return tls_error_text(buf, n);
	(void)snprintf(buf, n, "the peer's certificate is refused: %s", X509_verify_cert_error_string(verdict));
	ERR_clear_error();
	return buf;
}

int tls_stream_broken(SSL *ssl, int ssl_error, int sys_error, char *why, size_t n)
{
	char text[96];

	if (ssl_error == SSL_ERROR_SYSCALL && sys_error) {
		ERR_clear_error();
		(void)snprintf(why, n, "%s", strerror(sys_error));
		return -sys_error;
	}
	if (ssl_error == SSL_ERROR_SYSCALL || ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		ERR_clear_error();
		(void)snprintf(why, n, "closed by the peer without a TLS close_notify");
		return 0;
	}
	(void)snprintf(why, n, "TLS: %s", tls_failure_text(ssl, text, sizeof(text)));
	return -EPROTO;
}
