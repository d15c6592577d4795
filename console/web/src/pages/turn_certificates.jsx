// SPDX-License-Identifier: Apache-2.0
//
// The certificates of the configuration as their files are now. One that was renewed is not shown to clients before the next
// reload, which is offered here; the keys that name the files are below.
import { dateTime, t } from '../i18n.js';
import { may } from '../api.js';
import { inWords } from '../said.js';
import { act } from '../state.js';
import { LiveTable } from '../ui/live_table.jsx';
import { Reason } from '../ui/reason.jsx';
import { Setting, SettingsBar, SettingsDialogs, useSettings } from '../ui/settings.jsx';
import { ErrorBox } from '../ui/errors.jsx';
import { Loading } from '../ui/loading.jsx';

const stateOf = r => (r.faults.length ? 'bad' : !r.needed ? 'unused' : !r.at_work ? 'waiting' : r.warnings.length ? 'ending' : 'good');
const KINDS = { bad: 'failed', unused: 'off', waiting: 'warning', ending: 'warning', good: 'ok' };

const COLUMNS = [
	{ id: 'file', title: 'turn.cert.file', value: r => r.file.split('/').pop() },
	{ id: 'subject', title: 'turn.cert.subject' },
	{ id: 'names', title: 'turn.cert.names' },
	{ id: 'issuer', title: 'turn.cert.issuer' },
	{ id: 'not_after', title: 'turn.until', kind: 'time', value: r => r.not_after * 1000 },
	{
		id: 'state',
		title: 'wizard.opens.state',
		width: 'minmax(18rem, 2fr)',
		value: r => t(`turn.cert.${stateOf(r)}`),
		cell: r => <Reason kind={KINDS[stateOf(r)]} word={`turn.cert.${stateOf(r)}`} of="turn" text={[...r.faults, ...r.warnings].map(inWords).join('; ')} />,
	},
];

const pairs = r => [
	[t('turn.cert.path'), r.file],
	[t('turn.cert.from'), dateTime(r.not_before * 1000)],
	[t('turn.cert.key'), `${r.kind}, ${t(r.key_matches ? 'turn.cert.key.good' : 'turn.cert.key.bad')}`],
	[t('turn.cert.chain'), r.chain.join(' → ')],
	['SHA-256', <code>{r.sha256}</code>],
	[t('turn.cert.for'), (r.server_names ?? []).join(', ')],
];

const FILES = [
	{ path: 'turn.certificate', label: 'turn.cert' },
	{ path: 'turn.key', label: 'turn.cert.key' },
];

const shared = { columns: COLUMNS, detail: { title: r => r.subject, pairs }, rowKey: r => `${r.file} ${r.server_names?.join()}`, help: 'turn/certificates' };

// The keys that name the files, and what lies there to be put in their place.
function Choice({ service }) {
	const s = useSettings(service);
	if (!s.config) return s.error ? <ErrorBox error={s.error} retry={s.load} /> : <Loading />;
	const rows = FILES.map(f => ({ ...f, row: s.config.rows.find(r => r.path === f.path) }));
	const use = found => {
		const chosen = [found.file, found.key];
		s.setEdits(Object.fromEntries(rows.map(({ path, row }, i) => [path, { text: chosen[i], value: chosen[i], revision: row.revision ?? 0, row }])));
		s.commit(true);
	};
	return (
		<>
			<SettingsDialogs s={s} />
			<div class="card section">
				{rows.map(r => (
					<Setting key={r.path} s={s} {...r} />
				))}
			</div>
			<SettingsBar s={s} />
			{may('administrator') && !rows[0].row.locked && (
				<section class="section">
					<h2>{t('turn.found')}</h2>
					<LiveTable
						{...shared}
						columns={COLUMNS.slice(0, -1)}
						label="turn.found"
						service={service}
						verb="turn.certificate.files"
						poll={false}
						actions={[{ id: 'use', title: 'turn.use', role: 'administrator', single: true, can: r => Boolean(r.key), open: use }]}
					/>
				</section>
			)}
		</>
	);
}

export function Certificates({ service, s }) {
	return (
		<>
			<LiveTable
				{...shared}
				label="turn.certificates"
				service={service}
				verb="turn.certificates"
				topics={['config.changed']}
				pick={r => r.rows.map(row => ({ ...row, needed: r.needed }))}
				tools={
					may('operator') && (
						<button type="button" onClick={() => act(s, 'reload')}>
							{t('turn.cert.reload')}
						</button>
					)
				}
			/>
			{may('operator') && <Choice service={service} />}
		</>
	);
}
