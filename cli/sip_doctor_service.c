/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the running service adds to the file for the doctor: a static route or a partner that was made with the tool, and the
 * mode of federation that holds. Without a service the file is all there is, and the doctor says so.
 * Nothing is changed; the verbs are a viewer's.
 */
#include <stdlib.h>
#include <string.h>
#include "cli/services.h"
#include "cli/sip.h"
#include "cli/sip_doctor.h"
#include "common/json.h"
#include "common/service.h"
#include "common/text.h"

enum { PATIENCE_MS = 5000 };

/* The row of this domain that is in use; NULL: there is none, or the verb is not known. */
static const json_t *row_of(struct doctor *d, struct control_client *cl, const char *verb)
{
	json_t *result = services_ask(cl, verb), *row;
	const json_t *found = NULL;
	size_t i;

	json_array_foreach(json_object_get(result, "rows"), i, row)
		if (text_ieq(text_of(text_of_key(row, "domain")), text_of(d->domain)) && !strstr(text_of_key(row, "from"), "not in use"))
			found = row;
	if (found)
		json_array_append(d->kept, (json_t *)found);
	json_decref(result);
	return found;
}

/* Numbers and switches are text where they were typed, and themselves where they were not. */
static bool is_true(const json_t *v)
{
	return json_is_true(v) || (json_is_string(v) && strcmp(json_string_value(v), "true") == 0);
}

static void take_route(struct doctor *d, const json_t *row)
{
	struct sip_route_section *r = &d->stored;
	const json_t *port = json_object_get(row, "port"), *active = json_object_get(row, "active");
	const char *transport = text_of_key(row, "transport");
	uint64_t n = json_is_integer(port) ? (uint64_t)json_integer_value(port) : 0;

	if (json_is_string(port) && text_u64(text_of(json_string_value(port)), &n) < 0)
		n = 0;
	*r = (struct sip_route_section){ .domain = (char *)text_of_key(row, "domain"),
					 .host = (char *)text_of_key(row, "host"),
					 .port = n,
					 .transport = SIP_LISTEN_TLS,
					 .active = !active || is_true(active),
					 .trusted = is_true(json_object_get(row, "trusted")) };
	for (unsigned i = 0; sip_route_protocols[i]; i++)
		if (strcmp(sip_route_protocols[i], transport) == 0)
			r->transport = i;
	d->route = r;
}

static void take_mode(struct doctor *d, struct control_client *cl)
{
	json_t *result = services_ask(cl, "sip.federation");

	for (unsigned i = 0; sip_federation_modes[i]; i++)
		if (strcmp(sip_federation_modes[i], text_of_key(result, "mode")) == 0)
			d->mode = i;
	json_decref(result);
}

static struct control_client *client_of(const struct cli *cli)
{
	struct control_client *cl = NULL;
	struct instance at;
	char err[256];

	if (cli_place(cli, SIP_PROGRAM, &at, err, sizeof err) < 0 ||
	    control_connect(at.socket_path, PATIENCE_MS, &cl) < 0)
		return NULL;
	return cl;
}

const char *doctor_config(struct cli *cli, char *buf, size_t n)
{
	_cleanup_(control_client_freep) struct control_client *cl = cli_has(cli, "config") ? NULL : client_of(cli);
	json_t *status = cl ? services_ask(cl, "service.status") : NULL;

	(void)snprintf(buf, n, "%s", text_of_key(status, "config"));
	json_decref(status);
	return buf[0] ? buf : cli_config_path(cli);
}

void doctor_ask_service(struct doctor *d, struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	const json_t *row;

	d->kept = json_array();
	if (cli_has(cli, "config") && !cli_has(cli, "runtime-dir") && !cli_instance(cli))
		return; /* a file to be looked at, which is not the running service's */
	cl = client_of(cli);
	if (!cl) {
		cli_report(&d->report, true, "service",
			   "not running, or not ours to ask: routes and partners that were made with the tool are not known");
		return;
	}
	row = row_of(d, cl, "sip.route.list");
	if (row)
		take_route(d, row);
	row = row_of(d, cl, "sip.partner.list");
	d->listed = row && (!json_object_get(row, "allow") || is_true(json_object_get(row, "allow")));
	d->denied = row && !d->listed;
	take_mode(d, cl);
	d->asked = true;
}

void doctor_forget_service(struct doctor *d)
{
	json_decref(d->kept);
	d->kept = NULL;
}
