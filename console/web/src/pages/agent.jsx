// SPDX-License-Identifier: Apache-2.0
//
// The tunnel agent: its servers (connect, disconnect, enrol), its forward jobs and data connections, the agents it is linked
// with and over what path, visits to their networks, and what is shared from here.
import { useState } from 'preact/hooks';
import { may } from '../api.js';
import { keysOf, lockedAt } from '../config.js';
import { t } from '../i18n.js';
import { deleteObject, objectsOf, putObject } from '../objects.js';
import { ErrorBox } from '../ui/errors.jsx';
import { LiveTable, RowTable } from '../ui/live_table.jsx';
import { ObjectForm } from '../ui/object_form.jsx';
import { ServicePage } from '../ui/service_page.jsx';
import { Settings } from '../ui/settings.jsx';
import { Tabs } from '../ui/tabs.jsx';
import { useLive, useVerb } from '../ui/use_verb.js';
import { readRows, tell } from '../verbs.js';
import { Shares, Visits } from './agent_visits.jsx';
import { AddRow, cols, ends, EnrolCode, fieldsOf, jobFields, jobName, Reach, RowForm, stateOf } from './tunnel_parts.jsx';

// ---- servers ----

function Servers({ service }) {
	const { data, error, load } = useVerb(service, 'agent.status', { topics: ['agent.status'], poll: true });
	const [form, open] = useState(false);
	const off = r => r.state === 'disconnected';
	const name = r => r.server + ends(r.connections);
	return (
		<>
			{error && <ErrorBox error={error} retry={load} />}
			<p>{data && t('agent.self', { name: data.name, host: data.host })}</p>
			<RowTable
				label="agent.servers"
				help="agent"
				rows={data?.servers ?? []}
				changed={load}
				rowKey={r => r.number}
				columns={cols('name state host public_name address port:number version rtt_us:us encrypted:on known_as since:time connections reconnects:number tries:number retry_in_ms:ms way local observed carriers:number ready:number keepalive_ms:ms bytes_up:bytes bytes_down:bytes fingerprint', {
					host: { value: r => r.server.replace(/:\d+$/, '') },
					port: { value: r => Number(r.server.match(/\d+$/)), cell: r => r.server.match(/\d+$/) },
					encrypted: { value: r => r.state === 'connected' && r.encrypted },
				})}
				actions={[
					{ id: 'connect', title: 'agent.connect', can: off, run: r => tell(service, 'agent.connect', { server: r.server }) },
					{ id: 'disconnect', title: 'agent.disconnect', danger: true, ask: 'agent.disconnect.ask', text: 'agent.disconnect.text', name, can: r => !off(r), run: r => tell(service, 'agent.disconnect', { server: r.server }) },
				]}
				detail={{ title: r => r.server }}
				tools={
					may('administrator') && (
						<button type="button" onClick={() => open(true)}>
							{t('agent.enrol')}
						</button>
					)
				}
			/>
			<p class="muted">{t('agent.own_key', { key: data?.identity })}</p>
			{form && (
				<ObjectForm
					title={t('agent.enrol')}
					action={t('agent.enrol')}
					help="agent"
					fields={fieldsOf('code:must server', { server: { type: 'enum', choices: (data?.servers ?? []).map(s => s.server) }, code: { hint: 'agent.code.hint' } })}
					close={() => open(false)}
					save={b => tell(service, 'agent.enrol', b).then(load)}
				/>
			)}
		</>
	);
}

// ---- forward jobs ----

async function allJobs(service) {
	const [rows, stored, keys] = await Promise.all([
		readRows(service, 'agent.jobs'),
		may('operator') ? objectsOf(service, 'agent.job') : [],
		may('operator') ? keysOf(service, 'agent.jobs') : [],
	]);
	const where = lockedAt(keys[0]);
	const told = r => r.servers.find(s => s.state === 'active') ?? r.servers[0] ?? {};
	const why = s => (s.reason === 'kicked' ? t('tunnel.held') : s.text); // the one sentence that the server says in every case
	return rows.map(r => ({
		...r,
		state: r.enabled ? (r.target_down ? 'target down' : (told(r).state ?? 'not connected')) : 'interrupted',
		reason: r.target_error || why(told(r)),
		address: told(r).address,
		mark: r.enabled && told(r).state === 'active' ? '--->' : '-||-',
		encrypted: r.encrypt,
		note: r.config.note,
		allow: r.config.allow,
		where: r.origin === 'file' ? where : undefined,
		object: stored.find(o => o.key === r.name),
	}));
}

function Jobs({ service }) {
	const { data, error, load } = useLive(`${service} jobs`, () => allJobs(service), ['agent.jobs', 'agent.status', 'config.changed'].map(x => `${service}:${x}`), true);
	const [form, open] = useState(null);
	const put = async (job, revision) => {
		await putObject(service, 'agent.job', jobName(job), { ...job, name: jobName(job) }, revision);
		load();
	};
	const own = r => !r.locked;
	const name = r => r.name + ends(r.connections);
	const act = verb => r => tell(service, verb, { name: r.name });
	return (
		<>
			{error && <ErrorBox error={error} retry={load} />}
			<RowTable
				label="tunnel.jobs"
				help="agent/jobs"
				rows={data ?? []}
				changed={load}
				rowKey={r => `${r.origin} ${r.name}`}
				columns={cols('name port address:wide mark target:wide state connections protocol encrypted:on bytes_up:bytes bytes_down:bytes accepted:number errors:number last_error last_error_at:time origin servers expires_at:time allow note', {
					address: { cell: r => <Reach row={r} /> },
					mark: { width: '5rem' },
					origin: { value: r => t(`tunnel.origin.${r.origin}`) },
					servers: { width: '20rem', value: r => r.servers.map(s => `${s.server}: ${stateOf(s.state, s.text)}`).join('; ') },
				})}
				actions={[
					{ id: 'start', title: 'tunnel.start', can: r => own(r) && !r.enabled, run: act('agent.job.start') },
					{ id: 'stop', title: 'tunnel.stop', ask: 'tunnel.stop.ask', name, can: r => own(r) && r.enabled, run: act('agent.job.stop') },
					{ id: 'edit', title: 'tunnel.edit', role: 'administrator', single: true, can: r => r.object || r.where, open },
					{ id: 'delete', title: 'tunnel.delete', role: 'administrator', del: true, danger: true, ask: 'tunnel.delete.ask', done: 'tunnel.delete.done', name, can: own, run: r => deleteObject(service, 'agent.job', r.name, r.object?.revision) },
				]}
				detail={{ title: r => r.name, body: r => <Reach row={r} all /> }}
			/>
			{may('administrator') && (
				<AddRow title="tunnel.add" fields={fieldsOf('port:ports target:place', { target: { default: '127.0.0.1:' } })} save={job => put(job, 0)} />
			)}
			{form && <RowForm form={form} help="agent/jobs" fields={jobFields('')} close={() => open(null)} save={put} />}
		</>
	);
}

const Connections = ({ service }) => (
	<LiveTable
		label="tunnel.connections"
		help="agent"
		service={service}
		verb="agent.connections"
		rowKey={r => r.id}
		columns={cols('id:number job source source_name target:wide state bytes_up:bytes rate_up:rate bytes_down:bytes rate_down:rate age_ms:ms quiet_ms:ms protocol encrypted:on opened_at:time server listener carrier_server carrier_agent agent_local resumed:number')}
		actions={[
			{ id: 'end', title: 'tunnel.end', del: true, danger: true, ask: 'tunnel.end.ask', done: 'tunnel.end.done', name: r => `${r.id}: ${r.source} → ${r.job}`, run: r => tell(service, 'agent.kick', { id: r.id }) },
		]}
		detail={{ title: r => `${r.id}: ${r.source} → ${r.job}` }}
	/>
);

// ---- other agents ----

const ALLOW = { allow: { required: true, hint: 'agent.allow.hint' } };

function Peers({ service }) {
	const { data, error, load } = useVerb(service, 'agent.peers', { topics: ['agent.peers', 'config.changed'], poll: true });
	const [form, open] = useState(null);
	const [code, show] = useState(null);
	const table = { changed: load, help: 'agent/peers' };
	const who = r => `${r.name}, ${r.identity}`;
	const forms = {
		accept: { title: 'agent.accept', fields: fieldsOf('string:must allow:list', { ...ALLOW, string: { default: form?.row?.string, hint: 'agent.string.hint' } }), save: b => tell(service, 'agent.peer.accept', { agent: b.string, allow: b.allow }) },
		invite: { title: 'agent.invite', fields: fieldsOf('allow:list', ALLOW), save: async b => show(await tell(service, 'agent.invite', b)) },
		contact: { title: 'agent.contact', fields: fieldsOf('agent:must code', { code: { hint: 'agent.contact.hint' } }), save: b => tell(service, 'agent.contact', b) },
	};
	const of = form && forms[form.id];
	return (
		<>
			{error && <ErrorBox error={error} retry={load} />}
			<h3>{t('agent.links')}</h3>
			<RowTable
				{...table}
				label="agent.links"
				rows={data?.rows ?? []}
				rowKey={r => r.link}
				columns={cols('peer path reason:wide state rtt_us:us connections loss_ppm:number rate_up:rate rate_down:rate bytes_up:bytes bytes_down:bytes since:time role local remote pair moves:number gap_max_us:us server identity')}
				detail={{ title: r => r.peer }}
			/>
			{data?.pending.length > 0 && <h3>{t('agent.pending')}</h3>}
			{data?.pending.length > 0 && (
				<RowTable
					{...table}
					label="agent.pending"
					rows={data.pending}
					rowKey={r => r.identity + r.role}
					columns={cols('name string role identity changed:on')}
					actions={[
						{ id: 'accept', title: 'agent.accept', role: 'administrator', single: true, open: row => open({ id: 'accept', row }) },
						{ id: 'forget', title: 'tunnel.forget', role: 'administrator', del: true, danger: true, ask: 'agent.forget.ask', name: who, run: r => tell(service, 'agent.peer.forget', { agent: r.string }) },
					]}
				/>
			)}
			<h3>{t('agent.known')}</h3>
			<RowTable
				{...table}
				label="agent.known"
				rows={data?.known ?? []}
				rowKey={r => r.identity}
				columns={cols('name visitor:yes host_role:yes allow origin identity', { host_role: { value: r => t(r.host ? 'yes' : 'no') }, origin: { value: r => t(`tunnel.origin.${r.origin}`) } })}
				actions={[{ id: 'forget', title: 'tunnel.forget', role: 'administrator', del: true, danger: true, ask: 'agent.forget.ask', text: 'agent.forget.text', name: who, can: r => r.origin === 'store', run: r => tell(service, 'agent.peer.forget', { agent: r.identity }) }]}
				tools={['contact', 'invite'].filter(id => may(id === 'invite' ? 'administrator' : 'operator')).map(id => (
					<button key={id} type="button" onClick={() => open({ id })}>
						{t(forms[id].title)}
					</button>
				))}
			/>
			{of && (
				<ObjectForm
					title={t(of.title)}
					action={t(of.title)}
					help="agent/peers"
					fields={of.fields}
					close={() => open(null)}
					save={async b => {
						await of.save(b);
						load();
					}}
				/>
			)}
			{code && <EnrolCode code={code} close={() => show(null)} />}
		</>
	);
}

const GROUPS = [
	{ title: 'agent.settings', rows: ['name', 'server', 'auto_connect', 'fallback_ports', 'proxy', 'allow', 'allow_plain'].map(k => ({ path: `agent.${k}` })) },
	{ title: 'tunnel.between', prefix: `agent.direct` },
];

const TABS = service => [
	{ id: 'servers', title: 'agent.servers', body: () => <Servers service={service} /> },
	{ id: 'jobs', title: 'tunnel.jobs', body: () => <Jobs service={service} /> },
	{ id: 'connections', title: 'tunnel.connections', body: () => <Connections service={service} /> },
	{ id: 'peers', title: 'agent.peers', body: () => <Peers service={service} /> },
	{ id: 'visits', title: 'agent.visits', body: () => <Visits service={service} /> },
	{ id: 'shares', title: 'agent.shares', body: () => <Shares service={service} /> },
	{ id: 'settings', title: 'nav.settings', role: 'operator', body: () => <Settings service={service} groups={GROUPS} /> },
];

export default () => (
	<ServicePage kind="agent" title="nav.agent">
		{service => <Tabs page="agent" tabs={TABS(service)} />}
	</ServicePage>
);
