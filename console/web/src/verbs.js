// SPDX-License-Identifier: Apache-2.0
//
// A control verb of a service, through the API. tell() acts; read() asks, by GET, so that a look is no action.
import { get, post, serviceAt } from './api.js';

export const verbAt = (service, verb) => `${serviceAt(service)}/verbs/${verb}`;

export const tell = (service, verb, args = {}) => post(verbAt(service, verb), args);
export const read = (service, verb, args = {}) => get(`${verbAt(service, verb)}?args=${encodeURIComponent(JSON.stringify(args))}`);

const MOST = 10_000;

// All rows of a verb that gives them page by page.
export async function readRows(service, verb, args = {}, pick = r => r.rows) {
	const rows = [];
	for (let cursor; ; ) {
		const part = await read(service, verb, cursor === undefined ? args : { ...args, cursor });
		rows.push(...pick(part));
		cursor = part.cursor;
		if (cursor === undefined || cursor === null || rows.length >= MOST) return rows;
	}
}
