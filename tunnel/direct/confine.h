/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the child gives up before it reads a stranger's byte: capabilities, the way to any new ones, core dumps, and the
 * system calls by which a process that was taken over becomes another program or gets at others. It is called once, while there is
 * one thread.
 */
#pragma once
#include "common/defs.h"

int confine(void); /* 0 or -errno: then it must not begin */
