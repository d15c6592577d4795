// SPDX-License-Identifier: Apache-2.0
//
// What one looks at when something is wrong: the log of a service as it grows, its settings and files, what the network
// lets through, and which version runs.
import { useEffect, useState } from 'preact/hooks';
import { may, request } from '../api.js';
import { keysOf } from '../config.js';
import { bytes, dateTime, duration, either, number, t } from '../i18n.js';
import { inWords } from '../said.js';
import { isDown, nameOf, programOf, services, watchServices } from '../state.js';
import { read, tell } from '../verbs.js';
import { confirm } from '../ui/dialog.jsx';
import { ErrorBox, sayError } from '../ui/errors.jsx';
import { LiveTable } from '../ui/live_table.jsx';
import { Loading } from '../ui/loading.jsx';
import { ObjectForm } from '../ui/object_form.jsx';
import { PlainTable } from '../ui/plain_table.jsx';
import { OfService } from '../ui/service_choice.jsx';
import { Settings } from '../ui/settings.jsx';
import { Tabs } from '../ui/tabs.jsx';
import { toast } from '../ui/toast.jsx';
import { useTool } from '../ui/use_tool.js';
import { useLive } from '../ui/use_verb.js';
import { LevelChoice, LEVELS, Log } from './diagnosis_log.jsx';

// ---- settings and files of a log ----

const LOG_ROWS = ['level', 'dir', 'max_size', 'keep', 'delete_daily', 'format'];

// A service's own section counts where the file has one, else the common one.
const groupsOf = section => [
	{
		title: 'diagnosis.settings',
		rows: LOG_ROWS.map(key => ({
			path: `${section}.${key}`,
			label: `diagnosis.log.${key}`,
			choices: key === 'level' ? LEVELS : undefined,
		})),
	},
];

function LogSettings({ service }) {
	const { data, error, load } = useLive(`log of ${service}`, () => keysOf(service, `${service.split('@')[0]}.log`).catch(e => (e.status === 404 ? [] : Promise.reject(e))));
	if (!data) return error ? <ErrorBox error={error} retry={load} /> : <Loading />;
	const own = data.some(r => r.source !== 'default');
	return <Settings service={service} groups={groupsOf(own ? `${service.split('@')[0]}.log` : 'log')} help="diagnosis/settings" />;
}

// The level for a while: until the next reload.
function LevelNow({ service }) {
	const { data, load } = useLive(`level of ${service}`, () => read(service, 'log.level'), [], true);
	const set = level => tell(service, 'log.level', { level }).then(load, sayError);
	return data && <LevelChoice label={t('diagnosis.level')} value={data.level} choose={set} help="diagnosis/level" />;
}

const FILES = [
	{ id: 'name', title: 'diagnosis.file' },
	{ id: 'size', title: 'diagnosis.size', kind: 'bytes' },
	{ id: 'modified', title: 'diagnosis.modified', kind: 'time' },
	{ id: 'current', title: 'diagnosis.current', width: '6rem', value: r => t(r.current ? 'yes' : 'no') },
];

const DAYS = [{ path: 'days', label: 'diagnosis.older', unit: 'd', type: 'count', min: 1, max: 36_500, default: 7, required: true }];
const logsOf = (service, query) => `/logs?service=${encodeURIComponent(service)}&${query}`;

function Files({ service }) {
	const [older, ask] = useState(false);
	async function remove(query) {
		const { rows } = await request('DELETE', logsOf(service, query)).then(r => r.body);
		toast('ok', t('diagnosis.deleted', { n: rows.reduce((n, r) => n + r.deleted.length, 0) }));
	}
	async function all() {
		const sure = await confirm({ title: t('diagnosis.delete.all'), text: t('diagnosis.delete.text'), action: t('diagnosis.delete'), danger: true, items: [service], help: 'diagnosis/files' });
		if (sure) await remove('all=1').catch(sayError);
	}
	return (
		<>
			<LiveTable
				label="diagnosis.files"
				service={service}
				verb="log.files"
				columns={FILES}
				rowKey={r => r.name}
				sortBy={{ id: 'modified', down: true }}
				help="diagnosis/files"
				actions={[
					{
						id: 'delete',
						title: 'diagnosis.delete',
						role: 'administrator',
						danger: true,
						del: true,
						ask: 'diagnosis.delete.ask',
						text: 'diagnosis.delete.text',
						done: 'diagnosis.deleted',
						name: row => `${row.name}, ${bytes(row.size)}`,
						run: row => request('DELETE', logsOf(service, `file=${encodeURIComponent(row.name)}`)),
					},
				]}
				tools={
					may('administrator') && (
						<>
							<button type="button" onClick={() => ask(true)}>
								{t('diagnosis.delete.older')}
							</button>
							<button type="button" class="danger" onClick={all}>
								{t('diagnosis.delete.all')}
							</button>
						</>
					)
				}
			/>
			{older && (
				<ObjectForm
					title={t('diagnosis.delete.older')}
					fields={DAYS}
					close={() => ask(false)}
					help="diagnosis/files"
					action={t('diagnosis.delete')}
					save={({ days }) => remove(`older_than_days=${days}`)}
				/>
			)}
		</>
	);
}

// ---- the network ----

const yes = v => (v === null || v === undefined ? t('diagnosis.unknown') : t(v ? 'yes' : 'no'));

function Family({ name, f }) {
	if (!f) return null;
	const pairs = [
		['diagnosis.udp', yes(f.udp)],
		['diagnosis.nat', either(`diagnosis.nat.${f.type_key}`, f.type)],
		['diagnosis.public', f.public],
		['diagnosis.local', f.local],
		['diagnosis.varies', yes(f.mapping_varies)],
		['diagnosis.hairpin', yes(f.hairpinning)],
		['diagnosis.kept', yes(f.port_kept)],
	];
	return (
		<section class="card">
			<h2>{name}</h2>
			<dl class="pairs">
				{pairs.map(([label, value]) => (
					<>
						<dt>{t(label)}</dt>
						<dd>{value ?? '–'}</dd>
					</>
				))}
			</dl>
			<p>{either(`diagnosis.nat.${f.type_key}.means`, f.meaning)}</p>
		</section>
	);
}

const ms = v => (v === null ? '–' : `${number(v, 1)}\u00a0ms`);

function Found({ found }) {
	return (
		<>
			<div class="charts">
				<Family name="IPv4" f={found.ipv4} />
				<Family name="IPv6" f={found.ipv6} />
			</div>
			<div class="wide-table section" tabIndex={0} role="region" aria-label={t('diagnosis.servers')}>
				<PlainTable heads={[t('diagnosis.server'), 'UDP IPv4', 'UDP IPv6', 'TCP', 'TCP 443', 'TLS 443']}>
					{found.servers.map(s => (
						<tr key={s.name}>
							<th scope="row">{s.name}</th>
							<td>{ms(s.udp_ipv4_ms)}</td>
							<td>{ms(s.udp_ipv6_ms)}</td>
							<td>{inWords(s.tcp)}</td>
							<td>{inWords(s.tcp_443)}</td>
							<td>{inWords(s.tls_443) || '–'}</td>
						</tr>
					))}
				</PlainTable>
			</div>
			{found.port_mapping && (
				<dl class="pairs">
					{Object.entries(found.port_mapping).map(([name, m]) => (
						<>
							<dt>{name.replace('_', '-').toUpperCase()}</dt>
							<dd>
								{yes(m.available)} {m.external || m.text}
							</dd>
						</>
					))}
				</dl>
			)}
		</>
	);
}

function Network() {
	const { run, busy, error, start } = useTool();
	const [found] = run?.results ?? [];
	return (
		<div data-help="diagnosis/network">
			<p class="muted">{t('diagnosis.network.help')}</p>
			<button type="button" class="main" disabled={busy} onClick={() => start('network')}>
				{t('diagnosis.network.begin')}
			</button>
			<div role="status" class="section">
				{busy && <p class="loading">{t('diagnosis.network.running')}</p>}
				{error && <ErrorBox error={error} />}
				{run?.done && (found ? <Found found={found} /> : <pre tabIndex={0}>{run.text || t('diagnosis.network.none')}</pre>)}
			</div>
		</div>
	);
}

// ---- versions ----

function Versions() {
	const names = (services.value ?? []).filter(s => !isDown(s)).map(nameOf);
	const { data } = useLive(`versions ${names}`, () => Promise.all(names.map(n => read(n, 'service.status').catch(() => null))));
	useEffect(watchServices, []);
	if (!services.value) return <Loading />;
	return (
		<div class="wide-table" tabIndex={0} role="region" aria-label={t('diagnosis.versions')} data-help="diagnosis/versions">
			<PlainTable heads={[t('service'), t('diagnosis.version'), t('diagnosis.build'), t('diagnosis.config'), t('diagnosis.since')]}>
				{services.value.map(s => {
					const own = data?.[names.indexOf(nameOf(s))];
					return (
						<tr key={nameOf(s)}>
							<th scope="row">{programOf(s)}</th>
							<td>{own?.version ?? s.version ?? '–'}</td>
							<td>{own?.build ?? '–'}</td>
							<td>{own ? <code>{own.config}</code> : '–'}</td>
							<td>{own ? `${dateTime(own.started_at)} (${duration(own.uptime_ms / 1000)})` : t(`state.${s.state}`)}</td>
						</tr>
					);
				})}
			</PlainTable>
		</div>
	);
}

const TABS = [
	{
		id: 'log',
		title: 'diagnosis.log',
		body: () => <OfService>{s => <Log service={s} tools={<LevelNow service={s} />} />}</OfService>,
	},
	{ id: 'settings', title: 'diagnosis.settings', body: () => <OfService>{s => <LogSettings service={s} />}</OfService> },
	{ id: 'files', title: 'diagnosis.files', body: () => <OfService>{s => <Files service={s} />}</OfService> },
	{ id: 'network', title: 'diagnosis.network', body: () => <Network /> },
	{ id: 'versions', title: 'diagnosis.versions', body: () => <Versions /> },
];

export default function Diagnosis() {
	return (
		<>
			<div class="bar">
				<h1>{t('nav.diagnosis')}</h1>
				<span class="grow" />
				<a href="/api/v1/logs.zip" download>
					{t('diagnosis.zip')}
				</a>
			</div>
			<Tabs page="diagnosis" tabs={TABS} />
		</>
	);
}
