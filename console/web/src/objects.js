// SPDX-License-Identifier: Apache-2.0
//
// Objects of a service's store: { key, body, revision, changed_at }. A change names the revision that it was made on, so
// that what somebody else changed meanwhile is a conflict (revision 0: it must not be there yet).
import { get, request, serviceAt } from './api.js';

const at = (service, kind) => `${serviceAt(service)}/objects/${kind}`;

export async function objectsOf(service, kind) {
	let rows = [];
	for (let after = ''; ; ) {
		const part = await get(`${at(service, kind)}${after}`);
		rows = rows.concat(part.rows);
		if (!part.cursor) return rows;
		after = `?after=${encodeURIComponent(part.cursor)}`;
	}
}

export const putObject = (service, kind, key, body, revision) => request('PUT', at(service, kind), { key, body }, `"${revision ?? 0}"`);
export const deleteObject = (service, kind, key, revision) =>
	request('DELETE', `${at(service, kind)}?key=${encodeURIComponent(key)}`, undefined, revision === undefined ? undefined : `"${revision}"`);
