/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a relayed packet costs this machine, for stile capacity: measured on a stile-turn of its own.
 *
 *   capacity.c          the question and its answer
 *   capacity_measure.c  the measurement
 */
#pragma once
#include "common/defs.h"

/* Each for so long. Microseconds of CPU a packet: audio by itself, video in bursts as a camera's frames are. 0, or -errno and a
 * sentence. */
int capacity_measure(uint64_t ms, double *ret_audio, double *ret_video, char *err, size_t err_n);
