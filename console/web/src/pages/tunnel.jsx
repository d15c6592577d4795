// SPDX-License-Identifier: Apache-2.0
//
// The tunnel server: whether agents are let in and where they reach it, the three live tables (control connections, forward
// jobs, data connections), the agents that are known and their enrolment, which site is direct and which is relayed and
// why, the kernel's sockets, and a connection tester.
import { useState } from 'preact/hooks';
import { may, request, serviceAt } from '../api.js';
import { keysOf, lockedAt } from '../config.js';
import { dateTime, t } from '../i18n.js';
import { inWords } from '../said.js';
import { deleteObject, objectsOf, putObject } from '../objects.js';
import { confirm } from '../ui/dialog.jsx';
import { ErrorBox, sayError } from '../ui/errors.jsx';
import { Locked } from '../ui/field.jsx';
import { LiveTable, RowTable } from '../ui/live_table.jsx';
import { ObjectForm } from '../ui/object_form.jsx';
import { ServicePage } from '../ui/service_page.jsx';
import { Settings } from '../ui/settings.jsx';
import { Tabs } from '../ui/tabs.jsx';
import { useLive, useVerb } from '../ui/use_verb.js';
import { read, readRows, tell } from '../verbs.js';
import { AddRow, cols, ends, EnrolCode, fieldsOf, jobFields, jobName, Reach, State } from './tunnel_parts.jsx';
import { Tester } from './tunnel_tester.jsx';
import { Connections } from './tunnel_watch.jsx';

// ---- let in or not ----

function Door({ service }) {
	const { data: s } = useVerb(service, 'tunnel.status', { topics: ['tunnel.agents', 'config.changed'], poll: true });
	const { data: keys, load } = useLive(`${service} accept`, () => (may('operator') ? keysOf(service, 'tunnel.accept') : []), [`${service}:config.changed`]);
	const row = keys?.[0];
	if (!s) return null;
	async function turn() {
		const links = s.accept ? (await read(service, 'tunnel.links').catch(() => ({ rows: [] }))).rows : [];
		if (
			s.accept &&
			!(await confirm({
				title: t('tunnel.close'),
				text: t('tunnel.close.text'),
				action: t('tunnel.close'),
				danger: true,
				help: 'tunnel',
				items: links.map(l => `${l.name}${ends(l.connections)}`),
			}))
		)
			return;
		await request('PUT', `${serviceAt(service)}/config/tunnel.accept`, { value: !s.accept }, `"${row.revision ?? 0}"`).catch(sayError);
		load();
	}
	const at = s.listen.map(l => (s.public_name && !l.startsWith('unix:') ? `${s.public_name}${l.slice(l.lastIndexOf(':'))}` : l));
	return (
		<div class="card section" data-help="tunnel">
			<div class="bar">
				<State s={s.accept ? 'open' : 'disabled'} />
				<span>{t(s.accept ? 'tunnel.reachable' : 'tunnel.closed', { at: at.join(', ') })}</span>
				<span class="grow" />
				{row?.locked && <Locked where={lockedAt(row)} />}
				{row && !row.locked && may('administrator') && (
					<button type="button" role="switch" aria-checked={s.accept} onClick={turn}>
						{t(s.accept ? 'tunnel.close' : 'tunnel.let_in')}
					</button>
				)}
			</div>
			<p class="muted">{t('tunnel.counts', { links: s.links, jobs: s.jobs, n: s.connections })}</p>
		</div>
	);
}

// ---- control connections ----

// Those that are known and away, too.
async function allControl(service) {
	const [links, agents] = await Promise.all([readRows(service, 'tunnel.links'), readRows(service, 'tunnel.agents')]);
	const away = agents.filter(a => a.state === 'approved' && !links.some(l => l.identity === a.fingerprint));
	return [...links, ...away.map(a => ({ ...a, version: a.program, identity: a.fingerprint, state: 'disconnected', up: false }))];
}

function Control({ service }) {
	const { data, error, load } = useLive(`${service} control`, () => allControl(service), [`${service}:tunnel.agents`], true);
	return (
		<>
			{error && <ErrorBox error={error} retry={load} />}
			<ControlTable service={service} rows={data ?? []} changed={load} />
		</>
	);
}

const ControlTable = ({ service, ...rest }) => (
	<RowTable
		{...rest}
		label="tunnel.control"
		help="tunnel"
		rowKey={r => r.identity}
		columns={cols(
			'name state address rtt_us:us age_ms:ms connections jobs:number id:number version host dns_name lan local encrypted:on started_at:time type identity reconnects:number last_seen:unix carriers:number bytes_up:bytes bytes_down:bytes',
		)}
		actions={[
			{ id: 'reset', title: 'tunnel.reset', ask: 'tunnel.reset.ask', text: 'tunnel.reset.text', done: 'tunnel.reset.done', can: r => r.up, name: r => r.name, run: r => tell(service, 'tunnel.drop', { agent: r.name }) },
			{ id: 'kick', title: 'tunnel.kick', del: true, danger: true, ask: 'tunnel.kick.ask', text: 'tunnel.kick.text', done: 'tunnel.kick.done', can: r => r.up, name: r => r.name + ends(r.connections), run: r => tell(service, 'tunnel.drop', { agent: r.name, over: true }) },
		]}
		detail={{ title: r => r.name }}
	/>
);

// ---- forward jobs: of connected agents, and those made here whose agent is away ----

async function allJobs(service) {
	const [live, made, stored] = await Promise.all([
		readRows(service, 'tunnel.jobs'),
		readRows(service, 'tunnel.job.list'),
		may('operator') ? objectsOf(service, 'tunnel.job') : [],
	]);
	const key = r => `${r.agent}/${r.name}`;
	const there = new Map(live.map(r => [key(r), r]));
	for (const r of made)
		if (!there.has(key(r))) there.set(key(r), { ...r, ...r.job, name: r.name, mark: '-||-', origin: 'server', state: 'not connected', encrypted: r.job.encrypt });
	return [...there.values()].map(r => ({ ...r, reason: r.held ? t('tunnel.held') : r.reason, object: r.origin === 'server' ? stored.find(o => o.key === key(r)) : undefined }));
}

function Jobs({ service }) {
	const { data, error, load } = useLive(`${service} jobs`, () => allJobs(service), ['tunnel.jobs', 'tunnel.agents', 'config.changed'].map(x => `${service}:${x}`), true);
	const { data: links } = useVerb(service, 'tunnel.agents', { topics: ['tunnel.agents'] });
	const [form, open] = useState(null);
	const agents = (links?.rows ?? []).filter(a => a.state === 'approved').map(a => a.name);
	const put = async (agent, job, revision) => {
		const name = jobName(job);
		await putObject(service, 'tunnel.job', `${agent}/${name}`, { agent, name, job: { ...job, name } }, revision);
		load();
	};
	const own = r => r.origin === 'server';
	const off = r => r.state === 'interrupted' || r.job?.enabled === false;
	const name = r => `${r.agent}/${r.name}${ends(r.connections)}`;
	const act = verb => r => tell(service, verb, { agent: r.agent, name: r.name, origin: r.origin });
	const on = r => (own(r) ? !off(r) : r.state !== 'interrupted');
	const of = (verb, more) => r => tell(service, verb, { agent: r.agent, job: r.name, ...more });
	return (
		<>
			{error && <ErrorBox error={error} retry={load} />}
			<RowTable
				label="tunnel.jobs"
				help="tunnel/jobs"
				rows={data ?? []}
				changed={load}
				rowKey={r => `${r.agent}/${r.name}`}
				columns={cols('agent name address:wide mark target:wide state connections protocol encrypted:on bytes_up:bytes bytes_down:bytes accepted:number refused:number errors:number last_error lan origin number:number link:number connect_us:us started_at:time expires_at:time logged:on allow note', {
					address: { cell: r => <Reach row={r} /> },
					mark: { width: '5rem' },
					origin: { value: r => t(`tunnel.origin.${r.origin}`) },
				})}
				actions={[
					{ id: 'start', title: 'tunnel.start', can: r => (own(r) ? off(r) : r.held), run: act('tunnel.job.start') },
					{ id: 'stop', title: 'tunnel.stop', ask: 'tunnel.stop.ask', name, can: on, run: act('tunnel.job.stop') },
					{ id: 'edit', title: 'tunnel.edit', role: 'administrator', single: true, can: r => r.object, open },
					{ id: 'kick', title: 'tunnel.end_all', danger: true, ask: 'tunnel.end_all.ask', done: 'tunnel.end.done', name, can: r => r.connections, run: of('tunnel.kick') },
					{ id: 'log', title: 'tunnel.log', done: 'tunnel.log.done', can: r => r.id && !r.logged, run: of('tunnel.log', { on: true }) },
					{ id: 'nolog', title: 'tunnel.nolog', can: r => r.logged, run: of('tunnel.log', { on: false }) },
					{ id: 'zero', title: 'tunnel.zero', can: r => r.id, run: of('tunnel.reset') },
					{ id: 'delete', title: 'tunnel.delete', role: 'administrator', del: true, danger: true, ask: 'tunnel.delete.ask', done: 'tunnel.delete.done', name, can: own, run: r => deleteObject(service, 'tunnel.job', `${r.agent}/${r.name}`) },
				]}
				detail={{ title: r => `${r.agent}/${r.name}`, body: r => (own(r) ? <Reach row={r} all /> : <><Reach row={r} all /><p class="muted">{t('tunnel.agents_own')}</p></>) }}
			/>
			{may('administrator') && (
				<AddRow
					title="tunnel.add"
					fields={[{ ...fieldsOf('agent:must')[0], type: 'enum', choices: agents }, ...fieldsOf('port:ports target:place', { target: { default: '127.0.0.1:' } })]}
					save={({ agent, ...job }) => put(agent, job, 0)}
				/>
			)}
			{form && (
				<ObjectForm
					title={`${form.agent}/${form.name}`}
					help="tunnel/jobs"
					fields={jobFields(':address')}
					value={form.object.body.job}
					shape={body => body.job}
					revision={form.object.revision}
					close={() => open(null)}
					save={(job, revision) => put(form.agent, job, revision)}
				/>
			)}
		</>
	);
}

// ---- data connections ----

const DataConnections = ({ service }) => (
	<Connections
		service={service}
		of="tunnel"
		help="tunnel/connections"
		topics={['tunnel.connections']}
		name={r => `${r.id}: ${r.source} → ${r.agent}/${r.job}`}
		columns={cols('id:number agent job source source_name target:wide state bytes_up:bytes rate_up:rate bytes_down:bytes rate_down:rate age_ms:ms quiet_ms:ms protocol encrypted:on opened_at:time listener carrier_server carrier_agent agent_local held_up:bytes held_down:bytes resumed:number logged:on watched:on job_number:number link:number')}
	/>
);

// ---- who is known, and who may become so ----

function Agents({ service }) {
	const { data, error, load } = useVerb(service, 'tunnel.agents', { topics: ['tunnel.agents', 'config.changed'], poll: true });
	const [form, open] = useState(null);
	const [code, show] = useState(null);
	const name = r => `${r.name}, ${r.fingerprint}`;
	const act = verb => r => tell(service, `tunnel.agents.${verb}`, { agent: r.fingerprint });
	return (
		<>
			{error && <ErrorBox error={error} retry={load} />}
			<RowTable
				label="tunnel.agents"
				help="tunnel/enrolment"
				rows={data?.rows ?? []}
				changed={load}
				rowKey={r => r.fingerprint}
				columns={cols('name state address last_seen:unix ports program host created:unix enrolled_by fingerprint root note copied', {
					copied: { value: r => r.copied_key && `${r.copied_key.connected}, ${r.copied_key.refused}: ${dateTime(r.copied_key.at * 1000)}` },
					enrolled_by: { value: r => t(`tunnel.by.${r.enrolled_by}`) },
				})}
				actions={[
					{ id: 'approve', title: 'tunnel.approve', role: 'administrator', ask: 'tunnel.approve.ask', text: 'tunnel.approve.text', done: 'tunnel.approve.done', name, can: r => r.state !== 'approved', run: act('approve') },
					{ id: 'edit', title: 'tunnel.edit', role: 'administrator', single: true, open: r => open({ agent: r }) },
					{ id: 'revoke', title: 'tunnel.revoke', role: 'administrator', danger: true, ask: 'tunnel.revoke.ask', text: 'tunnel.revoke.text', name, can: r => r.state === 'approved', run: act('revoke') },
					{ id: 'delete', title: 'tunnel.forget', role: 'administrator', danger: true, del: true, ask: 'tunnel.forget.ask', text: 'tunnel.forget.text', name, run: act('delete') },
				]}
				detail={{ title: r => r.name }}
				tools={
					may('administrator') && (
						<button type="button" class="main" onClick={() => open({})}>
							{t('tunnel.enrol')}
						</button>
					)
				}
			/>
			<p class="muted">{t('tunnel.own_key', { key: data?.fingerprint })}</p>
			{data?.codes.length > 0 && <h3>{t('tunnel.codes')}</h3>}
			{data?.codes.length > 0 && (
				<RowTable
					label="tunnel.codes"
					rows={data.codes}
					changed={load}
					rowKey={r => r.id}
					columns={cols('name expires:unix replace:on id')}
					actions={[{ id: 'cancel', title: 'tunnel.cancel', role: 'administrator', del: true, danger: true, ask: 'tunnel.cancel.ask', name: r => r.name, run: r => tell(service, 'tunnel.enrol.cancel', { name: r.id }) }]}
				/>
			)}
			{form?.agent && <AgentForm service={service} agent={form.agent} close={() => open(null)} done={load} />}
			{form && !form.agent && (
				<ObjectForm
					title={t('tunnel.enrol')}
					action={t('tunnel.enrol')}
					help="tunnel/enrolment"
					fields={fieldsOf('name:must hours:count for replace:bool', { hours: { default: 1, unit: 'h', max: 720 }, for: { hint: 'tunnel.for.hint' }, replace: { hint: 'tunnel.replace.hint' } })}
					close={() => open(null)}
					save={async ({ hours, ...b }) => show(await tell(service, 'tunnel.enrol', { ...b, expire: (hours ?? 1) * 3600 }))}
				/>
			)}
			{code && <EnrolCode code={code} close={() => show(null)} />}
		</>
	);
}

const AgentForm = ({ service, agent, close, done }) => (
	<ObjectForm
		title={agent.name}
		help="tunnel/enrolment"
		fields={fieldsOf('name:must ports note', { ports: { hint: 'tunnel.ports.hint' } })}
		value={{ ...agent, ports: agent.ports.join(', ') }}
		close={close}
		save={async b => {
			if (b.name !== agent.name) await tell(service, 'tunnel.agents.rename', { agent: agent.fingerprint, name: b.name });
			await tell(service, 'tunnel.agents.set', { agent: agent.fingerprint, ports: (b.ports ?? '').replaceAll(' ', ''), note: b.note ?? '' });
			done();
		}}
	/>
);

// ---- the rest ----

const Sites = ({ service }) => (
	<LiveTable
		label="tunnel.sites"
		help="tunnel/sites"
		service={service}
		verb="tunnel.paths"
		topics={['tunnel.paths']}
		rowKey={r => `${r.agent} ${r.identity} ${r.role}`}
		columns={cols('agent peer direct path reason:wide state rtt_us:us connections since:time role identity', {
			direct: { width: '8rem', value: r => r.path === 'none' ? t('tunnel.none') : r.direct ? t('tunnel.direct') : t('tunnel.relayed') },
			state: { cell: r => <State s={r.state} /> },
		})}
		detail={{ title: r => `${r.agent} – ${r.peer}` }}
	/>
);

const Sockets = ({ service }) => (
	<LiveTable
		label="tunnel.sockets"
		service={service}
		verb="tunnel.sockets"
		rowKey={r => `${r.protocol} ${r.local} ${r.peer}`}
		columns={cols('what agent job connection:number protocol state local peer recv_queue:bytes send_queue:bytes rtt_us:us retransmits:number lost:number', { state: { width: '8rem', cell: r => r.state }, what: { value: r => inWords(r.what) } })}
	/>
);

const GROUPS = [
	{ title: 'tunnel.settings', rows: ['name', 'public_name', 'listen', 'accept', 'password', 'ports', 'bind', 'binds', 'allow_plain', 'resume', 'window'].map(k => ({ path: `tunnel.${k}` })) },
	{ title: 'tunnel.limits', prefix: `tunnel.limits` },
	{ title: 'tunnel.between', prefix: `tunnel.direct` },
];

const TABS = service => [
	{ id: 'control', title: 'tunnel.control', body: () => <Control service={service} /> },
	{ id: 'jobs', title: 'tunnel.jobs', body: () => <Jobs service={service} /> },
	{ id: 'connections', title: 'tunnel.connections', body: () => <DataConnections service={service} /> },
	{ id: 'agents', title: 'tunnel.agents', body: () => <Agents service={service} /> },
	{ id: 'sites', title: 'tunnel.sites', body: () => <Sites service={service} /> },
	{ id: 'sockets', title: 'tunnel.sockets', body: () => <Sockets service={service} /> },
	{ id: 'test', title: 'tunnel.test', role: 'operator', body: () => <Tester service={service} /> },
	{ id: 'settings', title: 'nav.settings', role: 'operator', body: () => <Settings service={service} groups={GROUPS} /> },
];

export default function Tunnel() {
	return (
		<ServicePage kind="tunnel" title="nav.tunnel">
			{service => (
				<>
					<Door service={service} />
					<Tabs page="tunnel" tabs={TABS(service)} />
				</>
			)}
		</ServicePage>
	);
}
