// SPDX-License-Identifier: Apache-2.0
//
// What several pages show of the services: the list of them, live, and what can be done with one. A row of
// GET /services: { service, program, instance, state, version, uptime, health, items, exit, can }.
import { signal } from '@preact/signals';
import { get, post } from './api.js';
import { either, t } from './i18n.js';
import { subscribe } from './live.js';
import { confirm } from './ui/dialog.jsx';
import { sayError } from './ui/errors.jsx';
import { toast } from './ui/toast.jsx';

export const services = signal(null);
export const servicesError = signal(null);

export async function refreshServices() {
	try {
		services.value = (await get('/services')).services;
		servicesError.value = null;
	} catch (e) {
		servicesError.value = e;
	}
}

// While a page shows services: asks once, then follows the stream.
export function watchServices() {
	refreshServices();
	return subscribe(
		'console:services',
		data => {
			services.value = data.services;
		},
		refreshServices,
	);
}

export const nameOf = s => (s.instance ? `${s.service}@${s.instance}` : s.service);
export const programOf = s => (s.instance ? `${s.program}@${s.instance}` : s.program);
export const titleOf = s => either(`service.${s.service}`, s.service);

// One of start, stop, restart, reload, drain; those that end sessions ask first and name how many.
export async function act(s, action, sessions) {
	const who = nameOf(s);
	if (action === 'stop' || action === 'restart' || action === 'drain') {
		const sure = await confirm({
			title: t(`act.${action}.title`, { who }),
			action: t(`act.${action}`),
			danger: action !== 'drain',
			text: t(`act.${action}.text`),
			items: sessions ? [`${who}: ${t(`sessions.${s.service}`, { n: sessions })}`] : [],
		});
		if (!sure) return;
	}
	try {
		await post(`/services/${encodeURIComponent(who)}/${action}`);
		toast('ok', t(`act.${action}.done`, { who }));
	} catch (e) {
		sayError(e);
	}
	refreshServices();
}
