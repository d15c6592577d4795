// SPDX-License-Identifier: Apache-2.0
//
// A control verb of a service, through the API. tell() acts; read() asks, by GET where the verb is every viewer's, so that
// a look is no action.
import { get, post, serviceAt } from './api.js';

const verbAt = (service, verb) => `${serviceAt(service)}/verbs/${verb}`;
const open = new Map(); // service → the verbs that every viewer may call, once it has said so

function openVerbs(service) {
	if (!open.has(service)) {
		const asked = get(`${serviceAt(service)}/verbs`).then(r => new Set(r.rows.filter(v => v.role === 'viewer').map(v => v.verb)));
		open.set(service, asked);
		asked.catch(() => open.delete(service));
	}
	return open.get(service);
}

export const tell = (service, verb, args = {}) => post(verbAt(service, verb), args);

export async function read(service, verb, args = {}) {
	if ((await openVerbs(service)).has(verb)) return get(`${verbAt(service, verb)}?args=${encodeURIComponent(JSON.stringify(args))}`);
	return tell(service, verb, args);
}

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
