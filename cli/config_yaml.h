/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON of maps, lists and texts (cfg_export, objects of the store) as the YAML that our services read.
 * Every value is a text there, so a number needs no care; whatever could mean something else to a YAML
 * reader is quoted.
 */
#pragma once
#include <jansson.h>
#include <stdio.h>

void print_yaml(FILE *f, const json_t *root);
