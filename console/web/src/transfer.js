// SPDX-License-Identifier: Apache-2.0
// Files to and from the API: what is too big, or no JSON, for request().
import { ApiError, session } from './api.js';

async function send(method, path, body, type) {
	let response;
	try {
		response = await fetch(`/api/v1${path}`, {
			method,
			credentials: 'same-origin',
			cache: 'no-store',
			headers: { 'Content-Type': type, 'X-Stile-CSRF': session.value?.csrf ?? '' },
			body,
		});
	} catch {
		throw new ApiError(0, { code: 'offline' });
	}
	if (response.ok) return response;
	throw new ApiError(response.status, (await response.json().catch(() => null))?.error ?? { code: `http-${response.status}` });
}

export const upload = async (path, file) => (await send('POST', path, file, 'application/octet-stream')).json();

// Asks for a file and lets the browser keep it under the name that the console gives it.
export async function download(path, body) {
	const response = await send('POST', path, JSON.stringify(body), 'application/json');
	const name = /filename="([^"]+)"/.exec(response.headers.get('Content-Disposition') ?? '')?.[1] ?? 'stile';
	const at = URL.createObjectURL(await response.blob());
	const link = Object.assign(document.createElement('a'), { href: at, download: name });
	link.click();
	setTimeout(() => URL.revokeObjectURL(at), 60_000);
	return name;
}
