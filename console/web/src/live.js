// SPDX-License-Identifier: Apache-2.0
//
// The one event stream of the page (Server-Sent Events). A part of a page subscribes to a topic for as long as it
// is shown. The browser resumes by Last-Event-ID; when the stream begins, or the console says that events were lost,
// every subscriber is told to ask for the whole again.
import { signal } from '@preact/signals';
import { expired, get, session } from './api.js';

export const connected = signal(true);

const topics = new Map(); // topic → Set of { event, lost }
let source = null;
let asked = '';
let opening = 0;
let again = 0;
let pause = 1000;

function tellAll(name, data) {
	for (const set of topics.values()) for (const s of set) s[name]?.(data);
}

function onEvent(e) {
	for (const s of topics.get(e.type) ?? []) s.event(JSON.parse(e.data));
}

// EventSource gives up on an answer that is not 200: a session that has ended, or too many streams.
async function onError() {
	connected.value = false;
	if (source?.readyState !== EventSource.CLOSED) return;
	close();
	try {
		await get('/me');
	} catch (e) {
		if (e.status === 401) return; // api.js shows the login; its success calls open()
	}
	clearTimeout(again);
	again = setTimeout(open, pause);
	pause = Math.min(pause * 2, 30_000);
}

function close() {
	source?.close();
	source = null;
	asked = '';
}

export function open() {
	clearTimeout(again);
	const names = [...topics.keys()].sort();
	if (!session.value || expired.value || !names.length) return close();
	if (source && asked === names.join()) return;
	close();
	asked = names.join();
	source = new EventSource(`/api/v1/events?topics=${names.map(encodeURIComponent).join(',')}`);
	source.onopen = () => {
		tellAll('lost'); // who asked before has not heard what came until now
		connected.value = true;
		pause = 1000;
	};
	source.onerror = onError;
	source.addEventListener('lost', () => tellAll('lost'));
	for (const name of names) source.addEventListener(name, onEvent);
}

// Subscriptions of one render come together: the stream is opened once for all of them.
function soon() {
	clearTimeout(opening);
	opening = setTimeout(open, 0);
}

// event(data) for each event; lost() when some may have been missed. Returns what ends the subscription.
export function subscribe(topic, event, lost) {
	const s = { event, lost };
	if (!topics.has(topic)) topics.set(topic, new Set());
	topics.get(topic).add(s);
	soon();
	return () => {
		const set = topics.get(topic);
		set?.delete(s);
		if (set?.size === 0) topics.delete(topic);
		soon();
	};
}
