/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the doctor says of certificates: is the chain of theirs good, does it name their domain, do they ask for ours and
 * will it do. Each verdict comes with who has to change what.
 * Nothing is kept.
 */
#include "cli/sip_doctor.h"
#include <stdlib.h>
#include <string.h>
#include <openssl/x509v3.h>
#include "common/text.h"

void doctor_judge_chain(struct doctor *d, SSL *ssl)
{
	long verdict = SSL_get_verify_result(ssl);
	const char *what = X509_verify_cert_error_string(verdict), *then = "";

	switch (verdict) {
	case X509_V_OK: break;
	case X509_V_ERR_CERT_HAS_EXPIRED: then = ": they must renew it"; break;
	case X509_V_ERR_CERT_NOT_YET_VALID: then = ": or this clock is wrong"; break;
	case X509_V_ERR_CERT_REVOKED: then = ": it is in our sip.crl"; break;
	case X509_V_ERR_CRL_HAS_EXPIRED: then = ": get a newer list for sip.crl"; break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		then = ": its CA is not among ours (sip.ca, or the system's), or they do not send the chain";
		break;
	default: break;
	}
	cli_report(&d->report, verdict == X509_V_OK, "  their certificate", "%s%s",
		   verdict == X509_V_OK ? "the chain is good" : what, then);
}

void doctor_judge_name(struct doctor *d, SSL *ssl)
{
	X509 *x = SSL_get1_peer_certificate(ssl);
	struct sip_identity *id = sip_identity_of_x509(x, true);
	const char *wanted = d->route && d->route->transport != SIP_LISTEN_MTLS ? d->route->host
										: d->domain;
	char names[300] = "";
	struct sb b = sb_init(names, sizeof names);
	bool good = id && sip_identity_covers(id, text_of(wanted));

	for (unsigned i = 0; id && i < id->n; i++)
		sb_fmt(&b, "%s%s", i ? ", " : "", id->names[i]);
	cli_report(&d->report, good, "  their name",
		   good ? "the certificate names %s"
			: "the certificate does not name %s, but %s: they need one that does (RFC 5922; no wildcards)",
		   wanted, b.n ? names : "nothing");
	free(id);
	X509_free(x);
}

void doctor_judge_ours(struct doctor *d)
{
	struct sip_identity *id = d->certificate ? sip_identity_of_file(d->certificate) : NULL;
	const struct cfg_list none = { 0 }, *domains = d->c ? &d->c->domains : &none;
	char *const *own = domains->items;

	if (!d->asked_for_ours)
		cli_report(&d->report, d->route && d->route->transport == SIP_LISTEN_TLS,
			   "  our certificate", "they did not ask for it: they cannot know who we are");
	else if (!d->certificate || !d->key)
		cli_report(&d->report, false, "  our certificate",
			   "they ask for it, and there is none: set sip.certificate and sip.key");
	else
		cli_report(&d->report, true, "  our certificate", "they ask for it, and it is shown");
	for (size_t i = 0; id && i < domains->n; i++)
		if (!sip_identity_covers(id, text_of(own[i])))
			cli_report(&d->report, false, "  our name",
				   "%s does not name %s: they will refuse what its users send",
				   d->certificate, own[i]);
	free(id);
}
