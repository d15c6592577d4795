/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line
 * line
 * line
 * line
 * line
 * line
 * line
 * line
 * line
 * line
 * line
 * line
 * line
 * line
 * line
 * line
 */
