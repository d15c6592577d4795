// SPDX-License-Identifier: Apache-2.0
//
// The TURN server: who uses it, who was refused and why, users and shared secrets, where it listens and what it relays, its
// rules, certificates, and a test with real traffic. A part of the page with work of its own has a file of its own
// (turn_*.jsx); what is only a table is here.
import { t } from '../i18n.js';
import { inWords } from '../said.js';
import { reasonOf } from '../ui/reason.jsx';
import { LiveTable } from '../ui/live_table.jsx';
import { ServicePage } from '../ui/service_page.jsx';
import { Settings } from '../ui/settings.jsx';
import { Tabs } from '../ui/tabs.jsx';
import { tell } from '../verbs.js';
import { Certificates } from './turn_certificates.jsx';
import { Interfaces } from './turn_interfaces.jsx';
import { Peer } from './turn_peer.jsx';
import { Secrets, Users } from './turn_people.jsx';
import { LIMITS, Realms } from './turn_realms.jsx';
import { Test } from './turn_test.jsx';

const ADDRESS = 'minmax(12rem, 1fr)'; // an IPv4 address with its port is not cut

const SESSIONS = [
	{ id: 'user', title: 'turn.user', width: ADDRESS },
	{ id: 'client', title: 'turn.client', width: ADDRESS },
	{ id: 'transport', title: 'turn.transport', width: '7rem' },
	{ id: 'relay', title: 'turn.relayed', width: ADDRESS },
	{ id: 'bytes_up', title: 'turn.up', kind: 'bytes' },
	{ id: 'bytes_down', title: 'turn.down', kind: 'bytes' },
	{ id: 'age', title: 'turn.age', kind: 'seconds', value: r => r.age_ms / 1000 },
	{ id: 'left', title: 'turn.left', kind: 'seconds', value: r => r.remaining_ms / 1000 },
	{ id: 'packets_up', title: 'turn.packets_up', kind: 'number', width: '11rem' },
	{ id: 'packets_down', title: 'turn.packets_down', kind: 'number', width: '11rem' },
	{ id: 'permissions', title: 'turn.permissions', kind: 'number' },
	{ id: 'channels', title: 'turn.channels', kind: 'number' },
	{ id: 'local', title: 'turn.server', width: ADDRESS },
	{ id: 'realm', title: 'turn.realm' },
	{ id: 'id', title: 'turn.id', width: '8rem', number: true },
];

const Sessions = ({ service }) => (
	<LiveTable
		label="turn.sessions"
		help="turn/sessions"
		service={service}
		verb="turn.sessions"
		topics={['turn.sessions']}
		args={{ limit: 1000 }}
		rowKey={r => r.id}
		columns={SESSIONS}
		sortBy={{ id: 'age', down: false }}
		detail={{ title: r => `${r.user} – ${r.client}` }}
		actions={[
			{
				id: 'kill',
				title: 'turn.kill',
				danger: true,
				del: true,
				ask: 'turn.kill.ask',
				text: 'turn.kill.text',
				done: 'turn.kill.done',
				name: r => `${r.user}, ${r.client} → ${r.relay}`,
				many: async rows => (await tell(service, 'turn.kill', { ids: rows.map(r => r.id) })).killed.length,
			},
		]}
	/>
);

const REFUSED = [
	{ id: 'at', title: 'audit.at', kind: 'time' },
	{ id: 'code', title: 'turn.code', kind: 'number', width: '5rem' },
	{ id: 'user', title: 'turn.user' },
	{ id: 'client', title: 'turn.client', width: ADDRESS },
	{ id: 'reason', title: 'turn.why', width: 'minmax(26rem, 3fr)', value: r => [reasonOf('turn', r.key, ''), inWords(r.reason)].filter(Boolean).join(' – ') },
	{ id: 'method', title: 'turn.asked', width: '11rem' },
	{ id: 'realm', title: 'turn.realm' },
];

const Refused = ({ service }) => (
	<LiveTable
		label="turn.refused"
		help="turn/refused"
		service={service}
		verb="turn.why"
		args={{ limit: 1000 }}
		rowKey={r => r.id}
		columns={REFUSED}
		sortBy={{ id: 'at', down: true }}
		detail={{ title: r => `${r.code} – ${r.client}` }}
	/>
);

// Limits of the server as a whole; the others (LIMITS) are those of each realm, too.
const OTHER_LIMITS = {
	connections: 'sessions.name.tunnel',
	connections_per_address: 'turn.limit.connections',
	bad_credentials: 'turn.limit.bad',
	bad_credentials_per_address: 'turn.limit.bad.address',
	backoff: 'turn.limit.backoff',
	unauthenticated_bitrate: 'turn.limit.rate.nobody',
};
const LIFETIMES = { default: 'turn.lifetime.usual', max: 'turn.lifetime.longest', nonce: 'turn.lifetime.nonce' };

const RULES = [
	{ title: 'turn.access', rows: [{ path: 'turn.realm', label: 'turn.realm' }, { path: 'turn.password', label: 'password' }, { path: 'turn.mobility', label: 'turn.mobility' }] },
	{ title: 'turn.peers', rows: [{ path: 'turn.peers.allow', label: 'turn.allow' }, { path: 'turn.peers.deny', label: 'turn.deny' }] },
	{
		title: 'turn.limits',
		prefix: 'turn.limits',
		rows: Object.entries({ ...LIMITS, ...OTHER_LIMITS }).map(([name, label]) => ({ path: `turn.limits.${name}`, label })),
	},
	{ title: 'turn.lifetimes', rows: Object.entries(LIFETIMES).map(([name, label]) => ({ path: `turn.lifetime.${name}`, label })) },
];

const tabs = (service, s) => [
	{ id: 'sessions', title: 'turn.sessions', body: () => <Sessions service={service} /> },
	{ id: 'refused', title: 'turn.refused', role: 'operator', body: () => <Refused service={service} /> },
	{ id: 'users', title: 'turn.users', role: 'operator', body: () => <Users service={service} /> },
	{ id: 'secrets', title: 'turn.secrets', role: 'operator', body: () => <Secrets service={service} /> },
	{ id: 'interfaces', title: 'turn.interfaces', role: 'operator', body: () => <Interfaces service={service} /> },
	{
		id: 'rules',
		title: 'turn.rules',
		role: 'operator',
		body: () => (
			<>
				<Peer service={service} />
				<Settings service={service} groups={RULES} help="turn/rules" />
			</>
		),
	},
	{ id: 'realms', title: 'turn.realms', role: 'operator', body: () => <Realms service={service} /> },
	{ id: 'certificates', title: 'turn.certificates', body: () => <Certificates service={service} s={s} /> },
	{ id: 'test', title: 'turn.test', role: 'operator', body: () => <Test service={service} /> },
];

export default function Turn() {
	return (
		<ServicePage kind="turn" title="nav.turn">
			{(service, s) => <Tabs page="turn" tabs={tabs(service, s)} />}
		</ServicePage>
	);
}
