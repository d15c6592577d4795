/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain of the policy as this service has it, in the order of the stages: which side somebody comes from, who it
 * is, what must not pass, where it goes. A new policy is its file and its line here. The hooks live in the service, and
 * what they look at is replaced under them by a reload.
 */
#include <errno.h>
#include "sip-proxy/service.h"

static int add(struct sip_service *ss, const struct sip_hook *h)
{
	if (ss->n_hooks == SIP_HOOKS_MAX)
		return -ENOSPC;
	ss->hooks[ss->n_hooks] = *h;
	ss->chain[ss->n_hooks] = &ss->hooks[ss->n_hooks];
	ss->n_hooks++;
	return 0;
}

int sip_service_hooks(struct sip_service *ss)
{
	const struct sip_hook chain[] = {
		{ .name = "sides",
		  .stage = SIP_STAGE_ADMISSION,
		  .request = sip_sides_request,
		  .arg = &ss->routing },
		{ .name = "servers",
		  .stage = SIP_STAGE_IDENTITY,
		  .request = sip_servers_request,
		  .response = sip_mesh_response,
		  .arg = ss->mesh },
		{ .name = "trust",
		  .stage = SIP_STAGE_IDENTITY,
		  .request = sip_trust_request,
		  .response = sip_trust_response,
		  .arg = &ss->trusting },
		{ .name = "credentials",
		  .stage = SIP_STAGE_IDENTITY,
		  .request = sip_auth_request,
		  .arg = ss->registrar },
		{ .name = "hygiene",
		  .stage = SIP_STAGE_HYGIENE,
		  .request = sip_hygiene_request,
		  .response = sip_hygiene_response,
		  .arg = ss->registrar },
		{ .name = "turn",
		  .stage = SIP_STAGE_HYGIENE,
		  .request = sip_turn_request,
		  .response = sip_turn_response,
		  .arg = &ss->turn },
		{ .name = "mesh", .stage = SIP_STAGE_ROUTING, .request = sip_mesh_request, .arg = ss->mesh },
		{ .name = "registrar",
		  .stage = SIP_STAGE_ROUTING,
		  .request = sip_registrar_request,
		  .arg = ss->registrar },
		{ .name = "routes",
		  .stage = SIP_STAGE_ROUTING,
		  .request = sip_routes_request,
		  .arg = &ss->routing },
		{ .name = "federation",
		  .stage = SIP_STAGE_ROUTING,
		  .request = sip_federation_request,
		  .arg = &ss->federating },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(chain) && r == 0; i++)
		r = add(ss, &chain[i]);
	return r;
}
