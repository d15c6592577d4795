// SPDX-License-Identifier: Apache-2.0
//
// The Overview: is everything well, what runs, what it carries, what the machine has left. Services and machine come
// whole by events; the charts keep the last quarter of an hour.
import { useEffect, useState } from 'preact/hooks';
import { may } from '../api.js';
import { dateTime, duration, t } from '../i18n.js';
import { act, isDown, kindOf, nameOf, programOf, services, servicesError, titleOf, uptimeOf, watchServices } from '../state.js';
import { ErrorBox } from '../ui/errors.jsx';
import { Loading } from '../ui/loading.jsx';
import { Menu } from '../ui/menu.jsx';
import { Pill } from '../ui/pill.jsx';
import { ServiceChoice } from '../ui/service_choice.jsx';
import { SessionChart, ThroughputChart, useLoad } from './overview_load.jsx';
import { Machine } from './overview_machine.jsx';
import { Warnings } from './overview_warnings.jsx';

const ACTIONS = [
	['start', 'operator'],
	['reload', 'operator'],
	['drain', 'administrator'],
	['restart', 'administrator'],
	['stop', 'administrator'],
];

function Actions({ s, sessions }) {
	const items = ACTIONS.filter(([name, role]) => s.can?.includes(name) && may(role)).map(([name]) => ({
		name: t(`act.${name}`),
		icon: name,
		run: () => act(s, name, sessions),
	}));
	return items.length > 0 && <Menu icon="more" label={t('actions', { who: nameOf(s) })} items={items} />;
}

// Why it does not run: the signal or code it ended with, its last error, when.
function Exit({ exit }) {
	if (!exit) return null;
	const how = exit.signal ? t('exit.signal', { signal: exit.signal }) : t('exit.code', { code: exit.code ?? 0 });
	return (
		<dl class="pairs">
			<dt>{t('exit')}</dt>
			<dd>{how}</dd>
			{exit.error && (
				<>
					<dt>{t('exit.error')}</dt>
					<dd>{exit.error}</dd>
				</>
			)}
			{exit.time && (
				<>
					<dt>{t('exit.time')}</dt>
					<dd>{dateTime(exit.time)}</dd>
				</>
			)}
		</dl>
	);
}

function Numbers({ load, service }) {
	if (!load) return null;
	return (
		<div class="stats">
			<div>
				<span class="muted">{t('rate.in')}</span>
				<span class="big">{load.in}</span>
			</div>
			<div>
				<span class="muted">{t('rate.out')}</span>
				<span class="big">{load.out}</span>
			</div>
			{load.sessions !== null && (
				<div>
					<span class="muted">{t(`sessions.name.${service}`)}</span>
					<span class="big">{load.sessions}</span>
				</div>
			)}
		</div>
	);
}

// uptime is a prop so that a card without figures goes on counting: what has the same props is not drawn again.
function Service({ s, load, uptime }) {
	const name = nameOf(s);
	return (
		<article class="card service" aria-label={name} data-help="overview/services" data-service={name}>
			<div class="head-line">
				<div>
					<h3>{titleOf(s)}</h3>
					<span class="muted">
						{programOf(s)}
						{s.version && ` · ${s.version}`}
					</span>
				</div>
				<Actions s={s} sessions={load?.count} />
			</div>
			<div class="bar">
				<Pill s={s} />
				{s.uptime > 0 && s.state !== 'stopped' && <span class="muted">{t('uptime', { time: duration(uptime) })}</span>}
			</div>
			{s.state === 'late' && <p class="error">{t('state.late.why')}</p>}
			{isDown(s) ? <Exit exit={s.exit} /> : <Numbers load={load} service={kindOf(s)} />}
		</article>
	);
}

export default function Overview() {
	const [which, setWhich] = useState('');
	const load = useLoad();
	useEffect(watchServices, []);
	const all = services.value;
	if (!all) return servicesError.value ? <ErrorBox error={servicesError.value} /> : <Loading />;
	const running = all.filter(s => !isDown(s));
	return (
		<>
			<h1>{t('nav.overview')}</h1>
			{servicesError.value && (
				<div class="section">
					<ErrorBox error={servicesError.value} />
				</div>
			)}
			<section class="section" aria-labelledby="warnings" data-help="overview/warnings">
				<div class="bar">
					<h2 id="warnings">{t('warnings')}</h2>
				</div>
				<Warnings all={all} />
			</section>
			<section class="section" aria-labelledby="services">
				<div class="bar">
					<h2 id="services">{t('services')}</h2>
					<span class="muted">{t('services.running', { n: running.length, all: all.length })}</span>
				</div>
				<div class="cards">
					{all.map(s => (
						<Service key={nameOf(s)} s={s} load={load.now(nameOf(s))} uptime={Math.floor(uptimeOf(s))} />
					))}
				</div>
			</section>
			<section class="section" aria-labelledby="charts" data-help="overview/charts">
				<div class="bar">
					<h2 id="charts">{t('charts')}</h2>
					<span class="grow" />
					<ServiceChoice label={t('charts.of')} value={which} choose={setWhich} none={t('charts.all')} all={all} />
				</div>
				<div class="charts">
					<div class="card">
						<h3>{t('charts.throughput')}</h3>
						<ThroughputChart load={load} which={which} />
					</div>
					<div class="card">
						<h3>{t('charts.sessions')}</h3>
						<SessionChart load={load} which={which} />
					</div>
				</div>
			</section>
			<Machine />
		</>
	);
}
