// SPDX-License-Identifier: Apache-2.0
// Three lists as data: the UC servers of the LAN, static routes to other domains, and the registrar's accounts.
import { useMemo } from 'preact/hooks';
import { groupBy } from '../group.js';
import { t } from '../i18n.js';
import { PlainTable } from '../ui/plain_table.jsx';
import { Reason } from '../ui/reason.jsx';
import { Settings } from '../ui/settings.jsx';
import { useVerb } from '../ui/use_verb.js';
import { tell } from '../verbs.js';
import { may } from '../api.js';
import { columns, fields, isOn, Objects, Warn, warningOf } from './sip_objects.jsx';

/* ---- UC servers ---- */

const SERVER_WORDS = { failed: 'sip.logged_off', warning: 'sip.logged_on', ok: 'sip.logged_on' };

function ServerState({ row }) {
	const sick = row.on && row.health !== 'well';
	const kind = !row.on ? 'failed' : sick ? 'warning' : 'ok';
	return <Reason kind={kind} word={SERVER_WORDS[kind]} of="sip" text={row.last_error || (sick ? row.health : '')} />;
}

const SERVERS = {
	kind: 'sip.server',
	verb: 'sip.server.list',
	id: 'user',
	label: 'sip.servers',
	path: () => 'sip.lan.servers',
	change: (service, user, body) => tell(service, 'sip.server.put', { server: { ...body, user }, create: false }),
	defaults: { weight: 100 },
	name: row => `${row.user}: ${t('sip.server.users', { n: row.known ?? 0 })}`,
	columns: columns(
		{
			user: 'sip.name',
			seen: 'sip.address',
			transport: 'sip.transport',
			state: 'sip.state',
			since: 'sip.since',
			known: 'sip.known',
			weight: 'sip.weight',
			last_error: 'sip.last_error',
		},
		{
			transport: { width: '6rem' },
			state: { width: 'minmax(16rem, 2fr)', value: row => row.health, cell: row => <ServerState row={row} /> },
			since: { kind: 'time', value: row => (row.since ? row.since * 1000 : null) },
			known: { kind: 'number', width: '9.5rem' },
			weight: { kind: 'number', value: row => Number(row.weight ?? 100) },
		},
	),
	fields: fields(
		{
			user: 'sip.name',
			password: 'sip.password',
			addresses: 'sip.addresses',
			certificate_name: 'sip.certificate_name',
			contact: 'sip.contact',
			users: 'sip.users',
			group: 'sip.group',
			weight: 'sip.weight',
		},
		{
			user: { fixed: true, required: true },
			password: { type: 'password', hint: 'sip.server.hint' },
			addresses: { type: 'list' },
			contact: { hint: 'sip.contact.hint' },
			users: { type: 'list', hint: 'sip.users.hint' },
			weight: { type: 'count', max: 1000, default: 100 },
		},
	),
};

function KnownUsers({ service, server }) {
	const { data } = useVerb(service, 'sip.server.users', { rows: true, poll: true });
	const own = data?.filter(u => u.server === server) ?? [];
	return own.length > 0 && (
		<PlainTable heads={[t('sip.user'), t('sip.how')]}>
			{own.slice(0, 200).map(u => (
				<tr key={u.user}>
					<td>{u.user}</td>
					<td>{u.how}</td>
				</tr>
			))}
		</PlainTable>
	);
}

export function Lan({ service }) {
	const states = useVerb(service, 'sip.servers', { rows: true, topics: ['sip.servers'], poll: true }).data;
	const list = {
		...SERVERS,
		pick: rows =>
			rows.map(r => {
				const { name, address, users, weight, ...now } = states?.find(s => s.name === r.user) ?? {};
				return { ...now, ...r, seen: address, known: users };
			}),
		detail: {
			pairs: row => [[t('sip.contact'), row.contact], [t('sip.group'), row.group]],
			body: row => may('operator') && <KnownUsers service={service} server={row.user} />,
		},
	};
	return (
		<>
			<Objects service={service} list={list} help="sip/lan" />
			<Settings
				service={service}
				groups={[{ title: 'nav.settings', rows: ['domains', 'listen', 'lan.listen', 'lan.remember', 'lan.ask'].map(x => ({ path: `sip.${x}` })) }]}
				help="sip/lan"
			/>
		</>
	);
}

/* ---- routes ---- */

const isTrusted = row => row.transport === 'mtls' || isOn(row.trusted, false);

const ROUTE_WORDS = { off: 'off', failed: 'sip.silent', warning: 'sip.in_use', ok: 'sip.in_use' };

function RouteState({ row }) {
	const on = isOn(row.active);
	const kind = !on ? 'off' : row.why ? 'failed' : row.warn ? 'warning' : 'ok';
	return <Reason kind={kind} word={ROUTE_WORDS[kind]} of="sip" code={row.why ? undefined : row.warn} text={row.why} />;
}

const ROUTES = {
	kind: 'sip.route',
	verb: 'sip.route.list',
	id: 'domain',
	label: 'sip.routes',
	path: () => 'sip.routes',
	text: 'sip.go_on',
	defaults: { transport: 'tls', active: true, trusted: false },
	keyOf: v => v.domain.toLowerCase(),
	turn: (service, row, active) => tell(service, 'sip.route.switch', { domain: row.domain, active }),
	columns: columns(
		{
			active: 'sip.active',
			trusted: 'sip.trusted',
			domain: 'sip.domain',
			host: 'sip.gateway',
			port: 'sip.port',
			transport: 'sip.transport',
			bind: 'sip.bind',
			state: 'sip.state',
		},
		{
			active: { kind: 'on', value: row => isOn(row.active) },
			trusted: { kind: 'on', value: isTrusted },
			port: { width: '5rem', number: true, value: row => Number(row.port) || 0 },
			transport: { width: '6rem', value: row => row.transport ?? 'tls' },
			state: { width: 'minmax(16rem, 2fr)', value: row => row.why || row.warn, cell: row => <RouteState row={row} /> },
		},
	),
	fields: fields(
		{
			domain: 'sip.domain',
			host: 'sip.gateway',
			transport: 'sip.transport',
			port: 'sip.port',
			bind: 'sip.bind',
			trusted: 'sip.trusted',
			user: 'sip.user',
			active: 'sip.active',
		},
		{
			domain: { fixed: true, required: true },
			host: { required: true },
			transport: {
				type: 'enum',
				choices: ['udp', 'tcp', 'tls', 'mtls'],
				default: 'tls',
				after: v => ['udp', 'tcp'].includes(v.transport) && <Warn text={warningOf('not-protected')} />,
			},
			port: { type: 'port', hint: 'sip.port.hint', transport: v => (v.transport.endsWith('tls') ? 'sips' : 'sip') },
			bind: { type: 'address', any: false },
			trusted: {
				type: 'bool',
				default: false,
				after: v => v.trusted === 'true' && v.transport !== 'mtls' && <Warn text={warningOf('trusted-by-address')} />,
			},
			user: { hint: 'sip.account.hint', show: v => v.trusted !== 'true' && v.transport !== 'mtls' },
			active: { type: 'bool', default: true },
		},
	),
};

export const Routes = ({ service }) => (
	<>
		<Objects service={service} list={ROUTES} help="sip/routes" />
		<Settings service={service} groups={[{ title: 'nav.settings', rows: [{ path: 'sip.use_routes', label: 'sip.use_routes' }] }]} help="sip/routes" />
	</>
);

/* ---- accounts ---- */

const USERS = {
	kind: 'sip.user',
	verb: 'sip.user.list',
	id: 'name',
	label: 'sip.users',
	path: () => 'sip.users',
	name: row => `${row.name}: ${t('sip.registered', { n: row.registered })}`,
	text: 'sip.user.text',
	columns: columns({ name: 'sip.user', registered: 'sip.contacts' }, { registered: { kind: 'number' } }),
	fields: fields({ name: 'sip.user', password: 'sip.password' }, { name: { fixed: true, required: true, hint: 'sip.user.hint' }, password: { type: 'password', required: true } }),
};

export function Users({ service }) {
	const contacts = useVerb(service, 'sip.registrations', { rows: true, topics: ['sip.registrations'] }).data;
	const of = useMemo(() => groupBy(contacts ?? [], c => c.user), [contacts]);
	return <Objects service={service} list={{ ...USERS, pick: rows => rows.map(r => ({ ...r, registered: of.get(r.name)?.length ?? 0 })) }} help="sip/users" />;
}
