/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forward job as the other side tells it: the payload of a JOB frame, read by the wire's codec, then through the schema
 * rows as if it stood in a file. Checked: whatever is taken comes back the same over JSON and over the wire, and a name, a
 * note or a host that a stranger chose never becomes another key.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "tunnel/job_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct job_config *j, int64_t expires)
{
	struct wire_job w;
	struct cfg *c = NULL;
	char err[512], name[JOB_NAME_STRLEN];
	json_t *a = job_config_json(j), *b;

	job_to_wire(j, job_name(j, name), expires, &w);
	w.id = 1;
	assert(job_from_wire(&w, err, sizeof(err), &c) == 0);
	b = job_config_json(cfg_values(c));
	json_object_del(a, "name"); /* now it has one, whether it was written or not */
	json_object_del(b, "name");
	json_object_del(a, "health_check"); /* how often is not told */
	json_object_del(b, "health_check");
	assert(json_equal(a, b));
	json_decref(a);
	json_decref(b);
	cfg_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *block = malloc(size ? size : 1);
	union wire_msg m;
	struct cfg *c = NULL;
	char err[512];

	assert(block);
	memcpy(block, data, size);
	if (wire_parse(WIRE_JOB, block, size, &m) == WIRE_OK && job_from_wire(&m.job, err, sizeof(err), &c) == 0) {
		const struct job_config *j = cfg_values(c);

		assert(!m.job.note.n || !memcmp(j->note, m.job.note.p, m.job.note.n));
		check_same(j, j->expire.at);
	}
	cfg_free(c);
	free(block);
	return 0;
}
