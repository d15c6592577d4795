// SPDX-License-Identifier: Apache-2.0
// The plain relay: its routes, their connections, what is recorded of them and where, and its events.
import { useState } from 'preact/hooks';
import { may } from '../api.js';
import { keysOf, lockedAt } from '../config.js';
import { bytes, t } from '../i18n.js';
import { deleteObject, objectsOf, putObject } from '../objects.js';
import { ErrorBox } from '../ui/errors.jsx';
import { LiveTable, RowTable } from '../ui/live_table.jsx';
import { ServicePage } from '../ui/service_page.jsx';
import { Settings } from '../ui/settings.jsx';
import { Tabs } from '../ui/tabs.jsx';
import { useLive, useVerb } from '../ui/use_verb.js';
import { readRows, tell } from '../verbs.js';
import { AddRow, cols, ends, fieldsOf, filled, joined, LISTEN, parted, RowForm, State } from './tunnel_parts.jsx';
import { Connections } from './tunnel_watch.jsx';

function Status({ service }) {
	const { data: s } = useVerb(service, 'relay.status', { topics: ['relay.events', 'relay.routes'], poll: true });
	if (!s) return null;
	const r = s.records;
	return (
		<div class="card section" data-help="relay/records">
			<p>{t('relay.counts', { listening: s.listening, routes: s.routes, n: s.connections })}</p>
			<p>
				{r.dir ? t('relay.records', { dir: r.dir, lines: r.lines, open: r.data_logs_open, logs: r.data_logs, size: bytes(r.data_bytes) }) : t('relay.no_dir')}{' '}
				{r.lines_lost > 0 && <span class="error">{t('relay.lost', { n: r.lines_lost })}</span>}
				{Object.entries(r.stops).map(([why, n]) => n > 0 && <span class="muted"> {why}: {n}</span>)}
			</p>
		</div>
	);
}

// ---- routes ----

const FIELDS = () =>
	fieldsOf(
		'name at_address:any at_port:listen target:places udp:bool enabled:yes log_data:bool allow:list limits.connections:count limits.bitrate source_address:address proxy_protocol:proxy connect_timeout idle_timeout half_close_timeout tls.certificate tls.key target_tls.verify target_tls.ca target_tls.server_name note',
		{
			name: { fixed: true },
			at_address: LISTEN,
			target: { hint: 'tunnel.targets.hint' },
			allow: { hint: 'tunnel.allow.hint' },
			'limits.connections': { default: 10_000 },
			'limits.bitrate': { default: 'unlimited', unit: 'bit/s' },
			connect_timeout: { default: '10s' },
			idle_timeout: { default: '0s' },
			half_close_timeout: { default: '5m' },
			'target_tls.verify': { type: 'enum', choices: { '': 'off', true: 'relay.tls.verified', false: 'relay.tls.unverified' } },
			'target_tls.ca': { show: v => v['target_tls.verify'] === 'true' },
			'target_tls.server_name': { show: v => v['target_tls.verify'] !== '' },
		},
	);

// The map target_tls is what switches TLS on: with nothing else in it, it verifies.
const shaped = b => parted(b.target_tls ? { ...b, target_tls: { verify: true, ...b.target_tls } } : b);

const keyOf = b => b.name || b.listen + (b.udp ? '/udp' : '');

async function allRoutes(service) {
	const [rows, stored, keys] = await Promise.all([
		readRows(service, 'relay.route.list'),
		may('operator') ? objectsOf(service, 'relay.route') : [],
		may('operator') ? keysOf(service, 'tunnel.routes') : [],
	]);
	const where = lockedAt(keys[0]);
	return rows.map(r => ({ ...r, protocol: r.config.udp ? 'udp' : 'tcp', logged: r.config.log_data, where: r.from === 'file' ? where : undefined, object: stored.find(o => o.key === r.name) }));
}

function Routes({ service }) {
	const { data, error, load } = useLive(`${service} routes`, () => allRoutes(service), ['relay.events', 'relay.routes', 'config.changed'].map(x => `${service}:${x}`), true);
	const [form, open] = useState(null);
	const put = async (body, revision) => {
		const b = filled(joined(body));
		await putObject(service, 'relay.route', keyOf(b), { ...b, name: keyOf(b) }, revision);
		load();
	};
	const own = r => r.from === 'store';
	const name = r => r.name + ends(r.connections);
	const act = (verb, more) => r => tell(service, verb, { name: r.name, ...more });
	const log = on => r => putObject(service, 'relay.route', r.name, { ...r.object.body, log_data: on }, r.object.revision);
	return (
		<>
			{error && <ErrorBox error={error} retry={load} />}
			<RowTable
				label="relay.routes"
				help="relay"
				rows={data ?? []}
				changed={load}
				rowKey={r => r.name}
				columns={cols('name listen target:wide state connections bytes_up:bytes bytes_down:bytes accepted:number refused:number failed:number protocol logged:on ports:number ports_bound:number origin note', {
					origin: { value: r => t(`tunnel.origin.${r.from}`) },
				})}
				actions={[
					{ id: 'start', title: 'tunnel.start', role: 'administrator', can: r => own(r) && !r.enabled, run: act('relay.route.enable') },
					{ id: 'stop', title: 'tunnel.stop', role: 'administrator', ask: 'tunnel.stop.ask', name, can: r => own(r) && r.enabled, run: act('relay.route.disable', { drop: true }) },
					{ id: 'edit', title: 'tunnel.edit', role: 'administrator', single: true, can: r => r.object || r.where, open },
					{ id: 'end', title: 'tunnel.end_all', danger: true, ask: 'tunnel.end_all.ask', name, can: r => r.connections, run: r => tell(service, 'relay.kick', { route: r.name }) },
					{ id: 'log', title: 'tunnel.log', role: 'administrator', done: 'tunnel.log.done', can: r => r.object && !r.logged, run: log(true) },
					{ id: 'nolog', title: 'tunnel.nolog', role: 'administrator', can: r => r.object && r.logged, run: log(false) },
					{ id: 'delete', title: 'tunnel.delete', role: 'administrator', del: true, danger: true, ask: 'relay.delete.ask', name, can: own, run: act('relay.route.delete', { drop: true }) },
				]}
				detail={{ title: r => r.name }}
			/>
			{may('administrator') && <AddRow title="relay.add" fields={fieldsOf('at_address:any at_port:listen target:place', { at_address: LISTEN, target: { default: '127.0.0.1:' } })} save={b => put({ ...b, target: [b.target] }, 0)} />}
			{form && <RowForm form={form} help="relay" fields={FIELDS()} shape={shaped} close={() => open(null)} save={put} />}
		</>
	);
}

const RouteConnections = ({ service }) => (
	<Connections
		service={service}
		of="relay"
		help="relay"
		name={r => `${r.id}: ${r.source} → ${r.route}`}
		columns={cols('id:number route source source_name target:wide state bytes_up:bytes rate_up:rate bytes_down:bytes rate_down:rate age_ms:ms quiet_ms:ms protocol opened_at:time listener held_up:bytes held_down:bytes logged:on watched:on')}
	/>
);

const Events = ({ service }) => (
	<LiveTable
		label="relay.events"
		help="relay/events"
		service={service}
		verb="relay.events"
		topics={['relay.events']}
		poll={false}
		rowKey={r => `${r.at} ${r.id} ${r.route} ${r.reason}`}
		columns={cols('at:time event severity sentence:wide route listen target reason advice', {
			event: { width: '6rem' },
			severity: { width: '8rem', cell: r => <State s={r.severity} /> },
			sentence: { width: 'minmax(28rem, 1fr)' },
		})}
		sortBy={{ id: 'at', down: true }}
		detail={{ title: r => r.sentence }}
	/>
);

const GROUPS = [
	{ title: 'relay.settings', prefix: `tunnel.records` },
	{ title: 'nav.relay', rows: [{ path: `tunnel.resolve_names` }, { path: `tunnel.drain` }] },
];

const TABS = service => [
	{ id: 'routes', title: 'relay.routes', body: () => <Routes service={service} /> },
	{ id: 'connections', title: 'relay.connections', body: () => <RouteConnections service={service} /> },
	{ id: 'events', title: 'relay.events', body: () => <Events service={service} /> },
	{ id: 'settings', title: 'nav.settings', role: 'operator', body: () => <Settings service={service} groups={GROUPS} /> },
];

export default () => (
	<ServicePage kind="tunnel" title="nav.relay">
		{service => (
			<>
				<Status service={service} />
				<Tabs page="relay" tabs={TABS(service)} />
			</>
		)}
	</ServicePage>
);
