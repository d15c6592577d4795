// SPDX-License-Identifier: Apache-2.0
//
// Certificates: those of the configuration with what is wrong with them, those that lie beside them to be put in their
// place, and the picker of a form.
import { commitChange, prepareChange } from '../config.js';
import { date, t } from '../i18n.js';
import { inWords } from '../said.js';
import { LiveTable } from '../ui/live_table.jsx';
import { Reason } from '../ui/reason.jsx';
import { Settings } from '../ui/settings.jsx';
import { useVerb } from '../ui/use_verb.js';
import { may } from '../api.js';
import { columns, useConfig } from './sip_objects.jsx';

const WORDS = { failed: 'sip.bad', warning: 'sip.good', ok: 'sip.good' };

function State({ row }) {
	const why = [...row.faults, ...row.warnings].map(inWords).join(' · ');
	const kind = row.faults.length ? 'failed' : why ? 'warning' : 'ok';
	return <Reason kind={kind} word={WORDS[kind]} of="sip" text={why} />;
}

const COLUMNS = columns(
	{ file: 'sip.file', subject: 'sip.subject', issuer: 'sip.issuer', not_before: 'sip.not_before', not_after: 'sip.not_after', state: 'sip.state' },
	{
		file: { value: row => row.file.split('/').pop() },
		not_before: { kind: 'time', value: row => row.not_before * 1000 },
		not_after: { kind: 'time', value: row => row.not_after * 1000 },
		state: { width: 'minmax(16rem, 2fr)', value: row => row.faults.length, cell: row => <State row={row} /> },
	},
);

const PAIRS = { file: 'sip.file', names: 'sip.names', key: 'sip.key', for: 'sip.for', listeners: 'sip.interfaces', sha256: 'sip.sha256' };

const detail = {
	title: row => row.file,
	pairs: row => [
		...Object.entries(PAIRS).map(([id, word]) => [t(word), row[id] === 'all' ? 'sip.certificate' : [row[id]].flat().join(', ')]),
		[t('sip.kind'), row.kind],
		[t('sip.chain'), [row.subject, ...row.chain].join(' ← ')],
	],
};

// Chooses certificate and key of a form out of what lies in the folders; says of the chosen one what is in it.
export function Pick({ service, chosen, type }) {
	const { data } = useVerb(service, 'sip.certificate.files', { rows: true });
	const row = data?.find(r => r.file === chosen);
	return (
		<div class="field">
			<select
				aria-label={t('sip.pick')}
				value={row?.file ?? ''}
				onChange={e => {
					const next = data.find(r => r.file === e.currentTarget.value);
					type('certificate', next?.file ?? '');
					type('key', next?.key ?? '');
				}}>
				<option value="">{t('sip.pick')}</option>
				{data?.map(r => (
					<option key={r.file} value={r.file}>
						{r.file.split('/').pop()} – {r.subject}
					</option>
				))}
			</select>
			{row && (
				<p class="muted">
					{row.subject} ← {row.issuer} · {date(row.not_before * 1000)} – {date(row.not_after * 1000)} <State row={row} />
				</p>
			)}
		</div>
	);
}

export function Certificates({ service }) {
	const config = useConfig(service).data;
	const change = path => config?.rows.find(r => r.path === path);
	const use = {
		id: 'use',
		title: 'sip.use',
		role: 'administrator',
		single: true,
		ask: 'sip.use.ask',
		name: row => row.file,
		done: 'sip.use.done',
		can: row => row.key && !change('sip.certificate')?.locked,
		async run(row) {
			const edits = { 'sip.certificate': row.file, 'sip.key': row.key };
			for (const path in edits) edits[path] = { value: edits[path], revision: change(path)?.revision ?? 0 };
			const { transaction } = await prepareChange(service, edits);
			await commitChange(service, transaction);
		},
	};
	const shared = { service, columns: COLUMNS, detail, rowKey: row => `${row.for} ${row.file}`, help: 'sip/certificates' };
	return (
		<>
			<LiveTable {...shared} label="sip.certificates" verb="sip.certificates" topics={['config.changed']} poll={false} />
			{may('administrator') && <h2>{t('sip.found')}</h2>}
			{may('administrator') && <LiveTable {...shared} label="sip.found" verb="sip.certificate.files" poll={false} actions={[use]} />}
			<Settings
				service={service}
				groups={[
					{ title: 'nav.settings', rows: ['certificate', 'key', 'ca', 'crl'].map(x => ({ path: `sip.${x}` })) },
				]}
				help="sip/certificates"
			/>
		</>
	);
}
