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

/* sip_pcap.c: a file of decrypted packets for Wireshark, sngrep and tcpdump. */
int sip_pcap_begin(FILE *f); /* 0 or -EIO */
/* A message as sip.trace tells it: {time_us, transport, out, remote, local, data}. 0, -EIO, -EBADMSG, -ENOMEM */
int sip_pcap_write(FILE *f, const json_t *message);
