/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of the configuration as JSON, and back: routes and forward jobs are written as a JSON object of texts and
 * booleans by their schema rows, and read again against the same rows. So one of the store or of a control verb
 * is checked as one of the file, in the same words, and two are the same if their JSON is.
 */
#pragma once
#include <jansson.h>
#include "common/config.h"

struct values_kind {
	const char *name; /* "route": the one key of the document that root describes */
	const struct cfg_root *root;
	void (*check)(struct cfg *c, const char *path); /* between the keys; adds errors */
};

/* What is empty or has no default and was not written is left out. */
json_t *values_json(const struct cfg_schema *s, const void *values);
/* The checked configuration of one object; -EINVAL and all errors' sentences in err, or -ENOMEM. */
int values_parse(const struct values_kind *k, const json_t *o, char *err, size_t err_n,
		 struct cfg **ret_cfg);
