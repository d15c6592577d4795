/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of the listeners: from 30 days before their end the log says so once a day, and whoever reloads hears it,
 * too. `stile sip certificate list` examines the files as they are now, which may be others than those at work: then a
 * reload is what is missing.
 *
 *	day	fires once a day
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "common/cert_find.h"
#include "sip-proxy/log_msgs.h"
#include "sip-proxy/metrics.h"
#include "sip-proxy/service.h"

enum { DAY_MS = 24 * 3600 * 1000 };

struct sip_certificates {
	struct sip_service *ss;
	struct timer day;
};

struct look {
	time_t now, first_end;
};

static void look_at(void *arg, const char *listener, const struct tls_cert_info *info)
{
	struct look *l = arg;
	char why[TLS_ERRLEN];

	if (!l->first_end || info->not_after < l->first_end)
		l->first_end = info->not_after;
	cert_warn_end(info, l->now, why);
	if (info->not_after < l->now)
		(void)snprintf(why, sizeof(why), "it is over: who connects refuses it");
	if (why[0])
		log_emit(&MSG_SIP_CERTIFICATE_ENDS, LF_STR("listener", listener),
			 LF_STR("certificate", info->subject), LF_STR("why", why));
}

void sip_service_certificates_look(struct sip_service *ss)
{
	struct look l = { .now = time(NULL) };

	sip_edge_each_certificate(ss->edge, look_at, &l);
	metric_set(ss->metrics, 0, SIP_M_CERTIFICATE_END, 0, (int64_t)l.first_end);
}

static void on_day(struct timer *t, uint64_t now)
{
	struct sip_certificates *c = container_of(t, struct sip_certificates, day);

	(void)now;
	sip_service_certificates_look(c->ss);
	loop_timer_set(c->ss->svc->loop, &c->day, DAY_MS);
}

/* ---- shown ---- */

struct at_work {
	json_t *shown; /* sha256 → listeners */
};

static void note(void *arg, const char *listener, const struct tls_cert_info *info)
{
	struct at_work *w = arg;
	json_t *l = json_object_get(w->shown, info->sha256);

	if (!l) {
		l = json_array();
		json_object_set_new(w->shown, info->sha256, l);
	}
	json_array_append_new(l, json_string(listener));
}

static void add_row(json_t *rows, const struct at_work *w, const char *used_by,
		    const struct cert_files *f)
{
	json_t *row = cert_row(f, time(NULL)),
	       *by = json_object_get(w->shown, json_string_value(json_object_get(row, "sha256")));

	json_object_set_new(row, "for", json_string(used_by));
	json_object_set_new(row, "listeners", by ? json_incref(by) : json_array());
	json_object_set_new(row, "at_work", json_boolean(by != NULL));
	json_array_append_new(rows, row);
}

static const struct sip_config *config_of(const struct sip_service *ss)
{
	return &((const struct sip_root *)cfg_values(ss->svc->cfg))->sip;
}

/* Of the file's list by its place, of the store by its name. */
static void interface_word(const struct sip_config *c, const struct sip_interface_section *f, size_t i, char *out, size_t n)
{
	char at[ADDR_STRLEN];

	if (i < c->interfaces.n)
		(void)snprintf(out, n, "%s", cfg_path_item("sip.interfaces", i, "").s);
	else
		(void)snprintf(out, n, "%s:%s", sip_listen_protocols[f->listen.proto], addr_print(&f->listen.at, at));
}

static void verb_certificates(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	const struct sip_config *c = config_of(ss);
	const struct sip_interface_section *f = c->interfaces.items;
	struct at_work w = { json_object() };
	char used_by[sizeof(struct cfg_path)];
	size_t n = c->interfaces.n;
	json_t *rows = json_array();

	(void)args;
	sip_edge_each_certificate(ss->edge, note, &w);
	if (c->certificate)
		add_row(rows, &w, "all",
			&(struct cert_files){ .cert = c->certificate, .key = c->key, .ca = NULL });
	if (c->federation.certificate)
		add_row(rows, &w, "sip.federation",
			&(struct cert_files){ .cert = c->federation.certificate, .key = c->federation.key ? c->federation.key : c->key });
	if (sip_interfaces_all(ss->interfaces, c, &f, &n) < 0)
		n = 0;
	for (size_t i = 0; i < n; i++) {
		if (!f[i].certificate)
			continue;
		interface_word(c, &f[i], i, used_by, sizeof(used_by));
		add_row(rows, &w, used_by, &(struct cert_files){ .cert = f[i].certificate, .key = f[i].key ? f[i].key : c->key });
	}
	json_decref(w.shown);
	control_reply(rq, json_pack("{s:o}", "rows", rows));
}

/* ---- to pick from ---- */

/* Where certificates of this configuration are, and where the configuration itself is. */
static void verb_files(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	const struct sip_config *c = config_of(ss);
	const struct sip_interface_section *v = NULL;
	json_t *rows = NULL;
	const char **files;
	size_t n = 0;

	(void)args;
	if (sip_interfaces_all(ss->interfaces, c, &v, &n) < 0)
		n = 0;
	files = calloc(n + 3, sizeof(*files));
	if (files) {
		files[0] = ss->svc->config_path;
		files[1] = c->certificate;
		files[2] = c->federation.certificate;
		for (size_t i = 0; i < n; i++)
			files[i + 3] = v[i].certificate;
		rows = cert_find(files, n + 3, time(NULL));
	}
	free(files);
	control_reply(rq, rows ? json_pack("{s:o}", "rows", rows) : NULL);
}

static const struct control_verb verbs[] = {
	{ "sip.certificates", CONTROL_VIEWER, verb_certificates,
	  "certificates of the configuration as their files are now: names, issuer, validity, chain, key, faults, warnings, and at which listeners they are at work" },
	{ "sip.certificate.files", CONTROL_ADMIN, verb_files,
	  "certificates to choose from: the PEM files in the folders of the configuration and of its certificates, with their keys" },
};

int sip_service_certificates(struct sip_service *ss)
{
	struct sip_certificates *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->ss = ss;
	c->day.fire = on_day;
	ss->certificates = c;
	sip_service_certificates_look(ss);
	loop_timer_set(ss->svc->loop, &c->day, DAY_MS);
	control_add_verbs(ss->svc->control, verbs, ARRAY_LEN(verbs), ss);
	return 0;
}

void sip_service_certificates_free(struct sip_service *ss)
{
	if (ss->certificates)
		timer_stop(&ss->certificates->day);
	free(ss->certificates);
	ss->certificates = NULL;
}
