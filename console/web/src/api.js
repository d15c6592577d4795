// SPDX-License-Identifier: Apache-2.0
//
// Requests to /api/v1. Every failure is an ApiError whose `code` is the API's word for it; what is not the API's
// answer has one of ours: "offline" (nothing answered), "slow" (not within the time), "garbled".
import { signal } from '@preact/signals';

const WAIT_MS = 35_000; // the console itself gives a service 30 s at most

export const session = signal(undefined); // undefined: not asked yet; null: nobody is logged in; else GET /me
export const expired = signal(false); // a session ended under an open page: the login stands over it

export class ApiError extends Error {
	constructor(status, error, etag) {
		super(error.text ?? error.code);
		this.status = status;
		this.code = error.code;
		this.hint = error.hint;
		this.reason = error.reason; // a stable word for the text, for which the catalogue may have one
		this.values = error.values; // {0}, {1} … of that
		this.field = error.field; // the path of a value that was refused
		this.fields = error.fields; // or several: [{ field, text }]
		this.key = error.key;
		this.theirs = error.theirs; // of a conflict: { body, revision, who, at } as it stands now
		this.etag = etag;
		this.wait = error.retry_after; // seconds
	}
}

// What is thrown for an answer that is a refusal; a session that has ended puts the login over the page.
export function refusal(status, error, etag) {
	if (error.code === 'not-logged-in' && session.value) expired.value = true;
	return new ApiError(status, error, etag);
}

async function answerOf(response) {
	const etag = response.headers.get('ETag');
	const text = await response.text();
	let body = null;
	try {
		if (text) body = JSON.parse(text);
	} catch {
		throw new ApiError(response.status, { code: 'garbled' });
	}
	if (response.ok) return { body, etag };
	const error = body?.error ?? { code: `http-${response.status}` };
	const after = Number(response.headers.get('Retry-After'));
	if (after) error.retry_after = after;
	throw refusal(response.status, error, etag);
}

// → { body, etag }. With an etag the change is made only if nobody else has made one since (If-Match).
export async function request(method, path, body, etag, signalOfCaller) {
	const headers = { Accept: 'application/json' };
	if (body !== undefined) headers['Content-Type'] = 'application/json';
	if (etag) headers['If-Match'] = etag;
	if (method !== 'GET' && session.value?.csrf) headers['X-Stile-CSRF'] = session.value.csrf;
	const out = new AbortController();
	const timer = setTimeout(() => out.abort(), WAIT_MS);
	signalOfCaller?.addEventListener('abort', () => out.abort());
	try {
		const response = await fetch(`/api/v1${path}`, {
			method,
			headers,
			signal: out.signal,
			credentials: 'same-origin',
			cache: 'no-store',
			body: body === undefined ? undefined : JSON.stringify(body),
		});
		return await answerOf(response);
	} catch (e) {
		if (e instanceof ApiError) throw e;
		throw new ApiError(0, { code: out.signal.aborted ? 'slow' : 'offline' });
	} finally {
		clearTimeout(timer);
	}
}

export const get = async (path, signalOfCaller) => (await request('GET', path, undefined, undefined, signalOfCaller)).body;
export const post = async (path, body = {}) => (await request('POST', path, body)).body;
export const serviceAt = service => `/services/${encodeURIComponent(service)}`;

const ROLES = ['viewer', 'operator', 'administrator'];

export const may = role => ROLES.indexOf(session.value?.role) >= ROLES.indexOf(role);
