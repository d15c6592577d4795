// SPDX-License-Identifier: Apache-2.0
//
// Settings of a service and the way of a change: begin, each value with the revision it was seen at (If-Match), validate,
// diff, commit. `edits` is { path: { value (null: back to the default), revision } }.
import { get, post, request, serviceAt } from './api.js';
import { read } from './verbs.js';

// The schema's words for types, as forms have them (ui/object_form.jsx).
const TYPES = { 'true or false': 'bool', choice: 'enum', number: 'count' };
const typed = row => ({ ...row, type: TYPES[row.type] ?? row.type });

export async function configOf(service) {
	const config = await get(`${serviceAt(service)}/config`);
	return { ...config, rows: config.rows.map(typed) };
}

// The keys at one path alone, for what is asked for again and again.
export const keysOf = async (service, path) => (await read(service, 'config.get', { path })).rows;

export const confirmChange = service => post(`${serviceAt(service)}/confirm`);
export const undoChange = (service, change) => post(`${serviceAt(service)}/undo`, { change });
export const abortChange = (service, id) => post(`${serviceAt(service)}/changes/${id}/abort`).catch(() => {}); // it ends by itself, too

export async function commitChange(service, id, more = {}) {
	try {
		return await post(`${serviceAt(service)}/changes/${id}/commit`, more);
	} catch (e) {
		abortChange(service, id);
		throw e;
	}
}

// Where the file sets a locked value: "stile.yaml:12".
export const lockedAt = row => (row?.locked ? `${(row.file ?? '').split('/').pop()}:${row.line}` : undefined);

function step(service, id, path, { value, revision }) {
	const at = `${serviceAt(service)}/config/${encodeURIComponent(path)}?transaction=${id}`;
	return value === null ? request('DELETE', at, undefined, `"${revision}"`) : request('PUT', at, { value }, `"${revision}"`);
}

// → { transaction, rows } of what would change, or throws; an error of one value has its path.
export async function prepareChange(service, edits) {
	const { transaction } = await post(`${serviceAt(service)}/changes`);
	try {
		for (const [path, edit] of Object.entries(edits)) {
			await step(service, transaction, path, edit).catch(e => {
				e.path = path;
				throw e;
			});
		}
		const verdict = await post(`${serviceAt(service)}/changes/${transaction}/validate`);
		if (!verdict.good) throw Object.assign(new Error(verdict.errors[0].text), { code: 'bad-request', fields: verdict.errors });
		return { transaction, rows: (await get(`${serviceAt(service)}/changes/${transaction}`)).rows };
	} catch (e) {
		await abortChange(service, transaction);
		throw e;
	}
}
