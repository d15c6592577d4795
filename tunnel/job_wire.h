/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forward job between its configuration and its frame (JOB, OFFER-JOB). What comes from the other side is read
 * through the schema rows once more, so that nothing gets in by the wire that could not be written in a file.
 * No I/O; a wire_job that is made here borrows from the configuration.
 */
#pragma once
#include "tunnel/job.h"
#include "tunnel/link/wire.h"

/* "active", "interrupted", "refused", "port taken", "target down", "expired"; "not connected" of 0. */
const char *job_state_text(unsigned state);
/* expires: unix s, 0: never. */
void job_to_wire(const struct job_config *j, const char *name, int64_t expires, struct wire_job *ret_w);
/* The checked configuration; -EINVAL and what is wrong, or -ENOMEM. */
int job_from_wire(const struct wire_job *w, char *err, size_t err_n, struct cfg **ret_cfg);
