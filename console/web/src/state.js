// SPDX-License-Identifier: Apache-2.0
//
// What several pages show of the services: the list of them, live, and what can be done with one. A row of
// GET /services: { service, program, instance, state, version, uptime, health, items, exit, can }.
import { computed, signal } from '@preact/signals';
import { get, post, serviceAt } from './api.js';
import { either, t } from './i18n.js';
import { subscribe } from './live.js';
import { confirm } from './ui/dialog.jsx';
import { sayError } from './ui/errors.jsx';
import { toast } from './ui/toast.jsx';

const listed = signal(null);
const ORDER = ['turn', 'tunnel', 'agent', 'sip', 'gateway', 'fastpath', 'console'];
const rank = s => ORDER.indexOf(kindOf(s)) + (ORDER.includes(kindOf(s)) ? 0 : ORDER.length + 1);

export const services = computed(() => listed.value?.toSorted((a, b) => rank(a) - rank(b) || a.service.localeCompare(b.service)) ?? null);
export const servicesError = signal(null);

// When it was told, by this page's clock: the machines' clocks may differ.
const stamped = row => ({ ...row, told: performance.now() });
export const uptimeOf = s => (s.uptime ?? 0) + (performance.now() - s.told) / 1000;

// An answer that is under way may be older than what comes meanwhile: it is asked for again then.
let busy = false;
let again = false;

export async function refreshServices() {
	again = true;
	if (busy) return;
	busy = true;
	while (again) {
		again = false;
		try {
			listed.value = (await get('/services')).services.map(stamped);
			servicesError.value = null;
		} catch (e) {
			servicesError.value = e;
		}
	}
	busy = false;
}

// An event has one service's row.
function merge(row) {
	again = true;
	const list = listed.value ?? [];
	const at = list.findIndex(s => s.service === row.service);
	listed.value = at < 0 ? [...list, stamped(row)] : list.with(at, stamped(row));
}

// While a page shows services: asks once, then follows the stream.
export function watchServices() {
	refreshServices();
	return subscribe('console:services', merge, refreshServices);
}

export const nameOf = s => s.service; // "turn", "turn@lab"
export const programOf = s => (s.instance ? `${s.program}@${s.instance}` : s.program);
export const isDown = s => s.state === 'stopped' || s.state === 'failed';
export const kindOf = s => s.service.split('@')[0];
export const titleOf = s => either(`service.${kindOf(s)}`, s.program);

// One of start, stop, restart, reload, drain; those that end sessions ask first and name how many.
export async function act(s, action, sessions) {
	const who = programOf(s);
	if (action === 'stop' || action === 'restart' || action === 'drain') {
		const sure = await confirm({
			title: t(`act.${action}.title`, { who }),
			action: t(`act.${action}`),
			danger: action !== 'drain',
			help: 'overview/services',
			text: t(`act.${action}.text`),
			items: sessions ? [`${who}: ${t(`sessions.${kindOf(s)}`, { n: sessions })}`] : [],
		});
		if (!sure) return;
	}
	try {
		await post(`${serviceAt(nameOf(s))}/${action}`);
		toast('ok', t(`act.${action}.done`, { who }));
	} catch (e) {
		sayError(e);
	}
	refreshServices();
}
