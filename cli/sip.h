/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of `stile sip …` share. Each command is a call of a control verb of stile-sip, and its answer as a
 * table or as JSON; `stile sip trace` writes what it is sent into a file (sip_pcap.c), `stile test sip` needs no
 * service (sip_test.c).
 */
#pragma once
#include <stdio.h>
#include "cli/command.h"

extern const char SIP_PROGRAM[];
/* One call: 0 and *ret_result, or an exit code after saying why. args is taken. */
int sip_call(struct cli *cli, const char *verb, json_t *args, json_t **ret_result);

/* A verb that answers with rows, as a table or as JSON, page after page up to --limit. */
struct sip_shown {
	const char *verb, *none; /* none: what to say when there are no rows */
	const struct column *columns;
	unsigned n;
};
int sip_show(struct cli *cli, const struct sip_shown *l);
/* In a row that is shown: a key that is not there has its default, one that is true or false says so in a word. */
void sip_or_default(json_t *row, const char *key, const char *def);
/* A verb that changes something, and the sentence "user alice is deleted": name is the answer's, or the first word's. */
int sip_change(struct cli *cli, const char *what, const char *verb, json_t *args, const char *done);

/* The configuration of stile-sip, or an exit code after saying why not. */
struct cfg;
int sip_load_config(struct cli *cli, struct cfg **ret_c);

/* A message as sip.trace tells it: {time_us, transport, out, remote, local, data, cut}. */
struct sip_traced {
	uint64_t time_us;
	const char *transport; /* of the JSON */
	struct addr from, to;
	uint8_t *data; /* malloc'd */
	size_t n, cut; /* bytes of data; those behind them that stile-sip left out */
};
int sip_traced_read(const json_t *message, struct sip_traced *ret_t); /* 0, -EBADMSG, -ENOMEM */

/* sip_pcap.c: a file of decrypted packets for Wireshark, sngrep and tcpdump. */
int sip_pcap_begin(FILE *f); /* 0 or -EIO */
int sip_pcap_write(FILE *f, const struct sip_traced *t); /* 0, -EIO, -ENOMEM */

/* sip_hep.c: datagrams for a capture server. 0 or -errno. */
int sip_hep_open(const struct addr *to, int *ret_fd);
int sip_hep_send(int fd, const struct sip_traced *t);
