// SPDX-License-Identifier: Apache-2.0
// What goes on now: registrations, transactions, connections, and next hops that failed.
import { may } from '../api.js';
import { t } from '../i18n.js';
import { LiveTable } from '../ui/live_table.jsx';
import { tell } from '../verbs.js';
import { columns } from './sip_objects.jsx';

const MS = { kind: 'ms' };
const NARROW = { width: '6rem' };

const tables = service => [
	{
		label: 'sip.registrations',
		verb: 'sip.registrations',
		topics: ['sip.registrations'],
		role: 'operator',
		rowKey: r => `${r.user} ${r.contact}`,
		columns: columns(
			{ user: 'sip.user', contact: 'sip.contact', transport: 'sip.transport', source: 'sip.peer', expires_s: 'sip.expires' },
			{ transport: NARROW, expires_s: { kind: 'seconds' } },
		),
		actions: [
			{
				id: 'end',
				title: 'sip.unregister',
				danger: true,
				del: true,
				ask: 'sip.unregister.ask',
				text: 'sip.unregister.text',
				done: 'sip.unregister.done',
				name: r => `${r.user}, ${r.contact}`,
				run: ({ user, contact }) => tell(service, 'sip.registration.delete', { user, contact }),
			},
		],
	},
	{
		label: 'sip.transactions',
		verb: 'sip.transactions',
		rowKey: r => Object.values({ ...r, age_ms: 0, bytes: 0, state: 0 }).join(),
		columns: columns(
			{
				method: 'sip.method',
				side: 'sip.side',
				state: 'sip.state',
				transport: 'sip.transport',
				peer: 'sip.peer',
				age_ms: 'sip.age',
				bytes: 'sip.memory',
			},
			{ transport: NARROW, age_ms: MS, bytes: { kind: 'bytes' } },
		),
	},
	{
		label: 'sip.connections',
		verb: 'sip.flows',
		rowKey: r => r.id,
		columns: columns(
			{
				remote: 'sip.peer',
				local: 'sip.local',
				transport: 'sip.transport',
				direction: 'sip.side',
				state: 'sip.state',
				name: 'sip.identity',
				in: 'sip.in',
				out: 'sip.out',
				queued: 'sip.queued',
				idle_ms: 'sip.quiet',
				age_ms: 'sip.age',
			},
			{
				transport: NARROW,
				name: { value: r => r.identity?.join(', ') },
				in: { kind: 'number' },
				out: { kind: 'number' },
				queued: { kind: 'bytes' },
				idle_ms: MS,
				age_ms: MS,
			},
		),
		actions: [
			{
				id: 'kick',
				title: 'sip.kick',
				danger: true,
				del: true,
				ask: 'sip.kick.ask',
				text: 'sip.kick.text',
				done: 'sip.kick.done',
				name: r => `${r.transport} ${r.remote}`,
				run: ({ id }) => tell(service, 'sip.kick', { id }),
			},
		],
	},
	{
		label: 'sip.hops',
		verb: 'sip.health',
		rowKey: r => `${r.transport} ${r.address}`,
		columns: columns(
			{ address: 'sip.address', transport: 'sip.transport', failures: 'sip.failures', error: 'sip.last_error', retry_ms: 'sip.retry' },
			{ transport: NARROW, failures: { kind: 'number' }, retry_ms: MS },
		),
	},
];

export const Live = ({ service }) =>
	tables(service)
		.filter(x => may(x.role ?? 'viewer'))
		.map(x => (
			<section key={x.label} class="section">
				<h2>{t(x.label)}</h2>
				<LiveTable service={service} help="sip/live" detail={{ title: r => r.user ?? r.remote ?? r.peer ?? r.address }} {...x} />
			</section>
		));
