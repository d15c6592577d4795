/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can other domains find us, and will they believe us? For each of our domains its SRV record with hosts, ports and addresses,
 * held against the listener of federation and the names of the certificate. Asked by an administrator, of the DNS, at once.
 *
 * What is missing is said in keys, which tool and console put into words; `stile sip federation check` needs no service for the
 * same question.
 */
#pragma once
#include "common/control.h"
#include "sip-proxy/config.h"

struct sip_record_checks;
int sip_record_checks_new(struct loop *loop, struct sip_record_checks **ret_c); /* 0 or -ENOMEM */
struct sip_record_checks *sip_record_checks_free(struct sip_record_checks *c);
/* Answers {mode, listen, port, certificate, names, domains: [{domain, named, why, hosts: [{host, port, port_fits, addresses,
 * public, why}]}]}; why "": there is nothing to say. */
void sip_record_check(struct sip_record_checks *c, struct control_request *rq, const struct sip_config *config);
