// SPDX-License-Identifier: Apache-2.0
// Files and streams to and from the API: what is too big, or no JSON, for request().
import { ApiError, refusal, session } from './api.js';

const JSON_TYPE = { 'Content-Type': 'application/json' };

async function send(path, body, headers, signal) {
	let response;
	try {
		response = await fetch(`/api/v1${path}`, {
			method: 'POST',
			signal,
			credentials: 'same-origin',
			cache: 'no-store',
			headers: { 'X-Stile-CSRF': session.value?.csrf ?? '', ...headers },
			body,
		});
	} catch {
		throw new ApiError(0, { code: 'offline' });
	}
	if (response.ok) return response;
	throw refusal(response.status, (await response.json().catch(() => null))?.error ?? { code: `http-${response.status}` });
}

export const upload = async (path, file) => (await send(path, file, { 'Content-Type': 'application/octet-stream' })).json();

// Server-sent events of a POST, which EventSource cannot ask for: hear(name, data), until the stream ends.
export async function listen(path, body, hear, signal) {
	const response = await send(path, JSON.stringify(body), { ...JSON_TYPE, Accept: 'text/event-stream' }, signal);
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	for (let rest = ''; ; ) {
		const { value, done } = await reader.read();
		if (done) return;
		const events = (rest + value).split('\n\n');
		rest = events.pop();
		for (const e of events) {
			const field = name => e.match(new RegExp(`^${name}: (.*)`, 'm'))?.[1];
			if (field('data')) hear(field('event'), JSON.parse(field('data')));
		}
	}
}

// Asks for a file and lets the browser keep it under the name that the console gives it.
export async function download(path, body) {
	const response = await send(path, JSON.stringify(body), JSON_TYPE);
	const name = /filename="([^"]+)"/.exec(response.headers.get('Content-Disposition') ?? '')?.[1] ?? 'stile';
	const at = URL.createObjectURL(await response.blob());
	const link = Object.assign(document.createElement('a'), { href: at, download: name });
	link.click();
	setTimeout(() => URL.revokeObjectURL(at), 60_000);
	return name;
}
