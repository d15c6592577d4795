/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows.
 * To be written.
 * Later.
 */
