// SPDX-License-Identifier: Apache-2.0
//
// The certificates of the configuration as their files are now. One that was renewed is not shown to clients before the next
// reload, which is offered here; the keys that name the files are below.
import { dateTime, t } from '../i18n.js';
import { may } from '../api.js';
import { act } from '../state.js';
import { LiveTable } from '../ui/live_table.jsx';
import { Reason } from '../ui/reason.jsx';
import { Settings } from '../ui/settings.jsx';

const stateOf = r => (r.faults.length ? 'bad' : !r.at_work ? 'waiting' : r.warnings.length ? 'ending' : 'good');
const KINDS = { bad: 'failed', waiting: 'warning', ending: 'warning', good: 'ok' };

const COLUMNS = [
	{ id: 'file', title: 'turn.cert.file' },
	{ id: 'subject', title: 'turn.cert.subject' },
	{ id: 'names', title: 'turn.cert.names' },
	{ id: 'issuer', title: 'turn.cert.issuer' },
	{ id: 'not_after', title: 'turn.until', kind: 'time', value: r => r.not_after * 1000 },
	{
		id: 'state',
		title: 'wizard.opens.state',
		width: 'minmax(18rem, 2fr)',
		value: r => t(`turn.cert.${stateOf(r)}`),
		cell: r => <Reason kind={KINDS[stateOf(r)]} word={`turn.cert.${stateOf(r)}`} of="turn" text={[...r.faults, ...r.warnings].join('; ')} />,
	},
];

const pairs = r => [
	[t('turn.cert.from'), dateTime(r.not_before * 1000)],
	[t('turn.cert.key'), `${r.kind}, ${t(r.key_matches ? 'turn.cert.key.good' : 'turn.cert.key.bad')}`],
	[t('turn.cert.chain'), r.chain.join(' → ')],
	['SHA-256', <code>{r.sha256}</code>],
	[t('turn.cert.for'), r.server_names.join(', ')],
];

const FILES = [
	{
		title: 'turn.cert.files',
		rows: [
			{ path: 'turn.certificate', label: 'turn.cert', hint: 'turn.cert.hint' },
			{ path: 'turn.key', label: 'turn.cert.key' },
		],
	},
];

export function Certificates({ service, s }) {
	return (
		<>
			<LiveTable
				label="turn.certificates"
				help="turn/certificates"
				service={service}
				verb="turn.certificates"
				topics={['config.changed']}
				rowKey={r => `${r.file} ${r.server_names.join()}`}
				columns={COLUMNS}
				detail={{ title: r => r.subject, pairs }}
				tools={
					may('operator') && (
						<button type="button" onClick={() => act(s, 'reload')}>
							{t('turn.cert.reload')}
						</button>
					)
				}
			/>
			{may('operator') && <Settings service={service} groups={FILES} help="turn/certificates" />}
		</>
	);
}
