/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile-sip says in service.health: interfaces that are not served, public addresses that are not known, gateways of
 * routes that do not answer.
 * The rows of interfaces are those of `stile sip interface list`.
 */
#include <string.h>
#include "common/health.h"
#include "common/json.h"
#include "sip-proxy/service.h"

static void say_interface(const json_t *row, struct health *h)
{
	const char *name = text_of_key(row, "name"), *why = text_of_key(row, "why");

	if (!json_is_true(json_object_get(row, "active")))
		return;
	if (strcmp(text_of_key(row, "state"), "not served") == 0) {
		health_add(h, HEALTH_LISTENER_NOT_BOUND, HEALTH_ERROR, name, "the interface %s is not served%s%s", name, *why ? ": " : "", why);
	} else if (strncmp(text_of_key(row, "advertise"), "auto", 4) == 0 && !*text_of_key(row, "public")) {
		health_add(h, HEALTH_PUBLIC_ADDRESS, HEALTH_WARNING, name, "the public address of the interface %s is not known: %s", name, why);
	} else {
		return;
	}
	health_arg_str(h, "why", why);
}

static void say_gateway(void *arg, const char *host, const char *why)
{
	struct health *h = arg;

	health_add(h, HEALTH_PARTNER_FAILING, HEALTH_ERROR, host, "the gateway %s of a route does not answer: %s", host, why);
	health_arg_str(h, "why", why);
}

void sip_service_health(struct service *s, struct health *h)
{
	struct sip_service *ss = s->state;
	json_t *rows = sip_interfaces_json(ss->interfaces), *row;
	size_t i;

	json_array_foreach(rows, i, row)
		say_interface(row, h);
	json_decref(rows);
	sip_probes_each_failing(ss->probes, say_gateway, h);
}
