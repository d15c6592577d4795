// SPDX-License-Identifier: Apache-2.0
//
// What the wizard knows before it asks, and how it writes what it was told. The public address is found by itself: on an
// interface of this machine, else by what stile-turn has learned from its STUN servers, else by `stile netcheck`,
// which asks STUN servers and the router. Values go through the same transactions as those of the page Configuration.
import { get, post } from './api.js';
import { commitChange, configOf, prepareChange } from './config.js';
import { nameOf } from './state.js';
import { tell } from './verbs.js';

const wait = ms => new Promise(done => setTimeout(done, ms));
const withoutPort = endpoint => endpoint.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');

// A run of the tool to its end; each look at it goes to seen(). what: a word, or the whole request.
export async function runTool(what, seen = () => {}, stopped = () => false) {
	const { id } = await post('/tests', what.what ? what : { what });
	for (;;) {
		const run = await get(`/tests/${id}`);
		seen(run);
		if (run.done || stopped()) return run;
		await wait(500);
	}
}

async function byNetcheck() {
	const run = await runTool('network');
	const [found] = run.results;
	const stun = found?.ipv4?.public ?? found?.ipv6?.public;
	if (stun) return { address: withoutPort(stun), how: 'stun' };
	const router = Object.values(found?.port_mapping ?? {}).find(m => m.available && m.external);
	return router ? { address: router.external, how: 'router' } : { reason: run.text.trim().split('\n')[0] };
}

export async function findPublic(addresses) {
	const own = addresses.find(a => a.public);
	if (own) return { address: own.address, how: 'interface' };
	const relays = await tell('turn', 'turn.status').then(
		s => s.relay_addresses ?? [],
		() => [],
	);
	const told = relays.find(r => r.external && r.external_state !== 'none');
	if (told) return { address: told.external, how: told.external_state === 'given' ? 'given' : 'stun' };
	return byNetcheck().catch(e => ({ reason: e.message }));
}

const isUp = s => s.state === 'running' || s.state === 'draining';
const LISTENS = /(^|\.)listen$/;

// "udp:0.0.0.0:3478", "[::]:8443" → what it opens.
function opened(service, text) {
	const m = /^(?:([a-z]+):)?(.*):(\d+)$/.exec(text);
	return m && { service, transport: m[1] ?? 'tcp', address: m[2], port: m[3] };
}

// The health of a service names the listeners that it could not open.
function stateOf(s, text) {
	if (!isUp(s)) return 'later';
	return (s.items ?? []).some(i => i.id === 'listener-not-bound' && i.subject?.includes(text.replace(/^[a-z]+:/, ''))) ? 'taken' : 'open';
}

function opensOf(s, rows) {
	const out = [];
	for (const row of rows.filter(r => LISTENS.test(r.path))) {
		for (const text of [row.value ?? row.default ?? []].flat()) {
			const o = typeof text === 'string' && opened(nameOf(s), text);
			if (o) out.push({ ...o, state: stateOf(s, text) });
		}
	}
	return out;
}

// → { hostname, addresses, public, keys: { domain, address }, opens }. found: the public address, if it was looked for already.
export async function facts(found) {
	const machine = await get('/wizard');
	const { services } = await get('/services');
	const config = {};
	for (const s of services.filter(isUp)) {
		const answer = await configOf(nameOf(s)).catch(() => null); // it may have gone meanwhile
		if (answer) config[nameOf(s)] = answer.rows;
	}
	const key = path => config.turn?.find(r => r.path === path);
	return {
		...machine,
		public: found ?? (await findPublic(machine.addresses)),
		keys: { domain: key('turn.realm'), address: key('turn.relay.external') },
		opens: services.flatMap(s => opensOf(s, config[nameOf(s)] ?? [])),
	};
}

// Sets what differs, in one transaction; locked values stay as the file has them. An address of this machine needs no word: what
// was set before goes (null: back to the default).
export async function apply(known, { address, domain }) {
	const own = known.addresses.some(a => a.address === address);
	const wanted = [
		[known.keys.domain, domain],
		[known.keys.address, own ? null : [address]],
	];
	const changes = wanted.filter(([row, v]) => row && !row.locked && (v === null ? row.source === 'store' : JSON.stringify(row.value) !== JSON.stringify(v)));
	if (!changes.length) return null;
	const edits = Object.fromEntries(changes.map(([row, value]) => [row.path, { value, revision: row.revision ?? 0 }]));
	return commitChange('turn', (await prepareChange('turn', edits)).transaction);
}
