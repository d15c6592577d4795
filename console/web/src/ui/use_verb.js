// SPDX-License-Identifier: Apache-2.0
//
// What a service says, kept fresh for as long as a part of the page is shown: by the service's events, or every two
// seconds while somebody can see it. A service that restarts under the page is asked again until it answers; until then
// the last answer stays, with the reason above it.
import { useEffect, useRef, useState } from 'preact/hooks';
import { subscribe } from '../live.js';
import { read, readRows } from '../verbs.js';

const TICK_MS = 2000;
const CALM_MS = 1000; // a service whose events come faster is asked once a second
const lookers = new Set();
let timer = 0;

function tick() {
	if (!document.hidden) for (const fn of lookers) fn();
}

document.addEventListener('visibilitychange', tick);

// One timer for all that is looked at. Returns what ends it.
export function everyTick(fn) {
	lookers.add(fn);
	timer ||= setInterval(tick, TICK_MS);
	return () => {
		lookers.delete(fn);
		if (lookers.size) return;
		clearInterval(timer);
		timer = 0;
	};
}

// ask() → the data. key: with another one everything begins anew. topics: full names, "turn:turn.sessions".
export function useLive(key, ask, topics = [], poll = false) {
	const [state, set] = useState({ key, data: null, error: null });
	const latest = useRef(null);
	latest.current = ask;
	const load = useRef(() => {});
	useEffect(() => {
		const now = { busy: false, again: false, failed: false, gone: false };
		let later = 0;
		load.current = async () => {
			if (now.busy) {
				now.again = true;
				return;
			}
			now.busy = true;
			try {
				const data = await latest.current();
				if (!now.gone) set({ key, data, error: null });
				now.failed = false;
			} catch (error) {
				now.failed = error.status !== 403 && error.status !== 404;
				if (!now.gone) set(was => ({ key, data: was.key === key ? was.data : null, error }));
			}
			now.busy = false;
			if (now.again && !now.gone) {
				now.again = false;
				load.current();
			}
		};
		const soon = () => {
			later ||= setTimeout(() => {
				later = 0;
				load.current();
			}, CALM_MS);
		};
		load.current();
		const ends = topics.map(topic => subscribe(topic, soon, () => load.current()));
		ends.push(everyTick(() => (poll || now.failed) && !now.busy && load.current())); // an answer that takes longer is not asked for again at once
		return () => {
			now.gone = true;
			clearTimeout(later);
			for (const end of ends) end();
		};
	}, [key]);
	return { ...(state.key === key ? state : { data: null, error: null }), load: () => load.current() };
}

// rows: true (follows the cursor), or how to take them out of a page of the answer.
export function useVerb(service, verb, { args = {}, topics = [], poll = false, rows } = {}) {
	const key = JSON.stringify([service, verb, args]);
	const pick = typeof rows === 'function' ? rows : r => r.rows;
	const ask = () => (rows ? readRows(service, verb, args, pick) : read(service, verb, args));
	return useLive(key, ask, topics.map(t => `${service}:${t}`), poll);
}
