// SPDX-License-Identifier: Apache-2.0
//
// Where clients connect, and from where the server relays: turn.listen as a table with the state of each listener, the
// relay addresses with the public address of each and why it is not known, and the keys of the relay. What is changed goes
// through review and confirmation, as every setting.
import { useState } from 'preact/hooks';
import { dateTime, t } from '../i18n.js';
import { beside } from '../said.js';
import { ErrorBox } from '../ui/errors.jsx';
import { RowTable } from '../ui/live_table.jsx';
import { Loading } from '../ui/loading.jsx';
import { ObjectForm } from '../ui/object_form.jsx';
import { Reason } from '../ui/reason.jsx';
import { AddToList, Setting, SettingsBar, SettingsDialogs, useSettings } from '../ui/settings.jsx';
import { useVerb } from '../ui/use_verb.js';
import { read } from '../verbs.js';

const RELAY = [
	{ path: 'turn.relay.ports', label: 'turn.ports' },
	{ path: 'turn.relay.addresses', label: 'turn.relays' },
	{ path: 'turn.relay.external', label: 'turn.external' },
	{ path: 'stun_servers', label: 'turn.stun' },
];
const STATES = { listening: 'ok', covered: 'warning', draining: 'warning', waiting: 'failed' };

// "tls:[::]:5349" → { transport, address, port }; of a Unix socket the address is all there is.
function parts(text) {
	const [, transport, address, port] = /^([a-z]+):(.*?)(?::(\d+))?$/.exec(text) ?? [];
	return { transport, address: address?.replace(/^\[|\]$/g, ''), port };
}
const joined = ({ transport, address, port }) => `${transport}:${address.includes(':') && port ? `[${address}]` : address}${port ? `:${port}` : ''}`;

// In the order of the configuration; then those that it no longer has and that still serve sessions.
function rowsOf(listeners, listed) {
	const left = new Map(listeners.map(l => [`${l.transport}:${l.address}`, l]));
	const own = listed.map(text => {
		const l = left.get(text);
		left.delete(text);
		return { key: text, listed: true, state: 'waiting', ...parts(text), ...(l && { state: l.state, allocations: l.allocations, connections: l.connections }) };
	});
	return [...own, ...[...left].map(([key, l]) => ({ ...l, key, ...parts(key) }))];
}

const LISTENERS = [
	{ id: 'transport', title: 'turn.transport', width: '8rem', value: r => r.transport?.toUpperCase() },
	{ id: 'address', title: 'wizard.opens.address' },
	{ id: 'port', title: 'wizard.opens.port', width: '6rem', number: true },
	{ id: 'state', title: 'wizard.opens.state', value: r => t(`turn.state.${r.state}`), cell: r => <Reason kind={STATES[r.state]} word={`turn.state.${r.state}`} of="turn" code={r.state === 'waiting' ? 'waiting' : undefined} /> },
	{ id: 'allocations', title: 'sessions.name.turn', kind: 'number', width: '9rem' },
	{ id: 'connections', title: 'sessions.name.tunnel', kind: 'number', width: '9rem' },
];

const FIELDS = [
	{ path: 'transport', label: 'turn.transport', type: 'enum', choices: ['udp', 'tcp', 'tls', 'dtls', 'front'], default: 'udp', required: true },
	{ path: 'address', label: 'wizard.opens.address', type: 'address', default: '0.0.0.0', required: true },
];
const portField = transport => ({ path: 'port', label: 'wizard.opens.port', type: 'port', listen: true, transport, required: true });

function Listeners({ s, status }) {
	const [form, open] = useState(null);
	const row = s.config.rows.find(r => r.path === 'turn.listen');
	const listed = row.value ?? row.default;
	const list = Array.isArray(listed) ? listed : String(listed).split(', ');
	const put = next => {
		s.change(row, next.join(', '));
		s.commit(true);
	};
	const action = { role: 'administrator', can: r => r.listed && !row.locked && !row.cut && !r.address.startsWith('unix:') };
	return (
		<>
			{s.errors[row.path] && (
				<p class="error" role="alert">
					{beside(s.errors[row.path], t('turn.listeners'), row.path)}
				</p>
			)}
			<RowTable
				label="turn.listeners"
				help="turn/interfaces"
				rows={rowsOf(status.listeners, list)}
				rowKey={r => r.key}
				columns={LISTENERS}
				tools={<AddToList row={row} title="turn.listener.add" add={() => open({})} />}
				actions={[
					{ ...action, id: 'edit', title: 'turn.edit', single: true, open: r => open(r) },
					{
						...action,
						id: 'delete',
						title: 'turn.delete',
						danger: true,
						del: true,
						ask: 'turn.listener.ask',
						text: 'turn.listener.text',
						prepare: () => read(s.service, 'turn.status'),
						name: (r, now = status) => `${r.key}: ${t('turn.user.open', { n: now.listeners.find(l => `${l.transport}:${l.address}` === r.key)?.allocations ?? 0 })}`,
						many: async rows => put(list.filter(l => !rows.some(r => r.key === l))),
					},
				]}
			/>
			{form && (
				<Form
					form={form}
					close={() => open(null)}
					save={async body => {
						const text = joined(body);
						put(form.key ? list.map(l => (l === form.key ? text : l)) : [...list, text]);
					}}
				/>
			)}
		</>
	);
}

// The usual port follows the transport.
function Form({ form, close, save }) {
	const fields = [...FIELDS, ...['udp', 'tls', 'https'].map(of => ({ ...portField(of), show: v => (v.transport === 'front' ? 'https' : v.transport?.endsWith('tls') ? 'tls' : 'udp') === of }))];
	return (
		<ObjectForm
			title={t(form.key ? 'turn.edit' : 'turn.listener.add')}
			help="turn/interfaces"
			action={t('next')}
			fields={fields}
			value={form.key ? { transport: form.transport, address: form.address, port: form.port } : null}
			close={close}
			save={save}
		/>
	);
}

const KINDS = { none: 'off', given: 'ok', found: 'ok', remembered: 'warning', unknown: 'failed' };

const relays = [
	{ id: 'address', title: 'wizard.opens.address' },
	{ id: 'external', title: 'turn.external', width: 'minmax(11rem, 1fr)', value: r => r.external ?? (r.external_state === 'none' ? r.address : '') },
	{
		id: 'state',
		title: 'turn.how',
		width: 'minmax(18rem, 2fr)',
		value: r => t(`turn.how.${r.external_state}`),
		cell: r => <Reason kind={KINDS[r.external_state]} word={`turn.how.${r.external_state}`} of="turn" code={r.external_why_key} text={r.external_why} />,
	},
	{ id: 'server', title: 'turn.how.server', value: r => r.external_server },
	{ id: 'since', title: 'turn.how.since', kind: 'time', value: r => r.external_found_at && r.external_found_at * 1000, cell: r => (r.external_found_at ? dateTime(r.external_found_at * 1000) : '–') },
];

export function Interfaces({ service }) {
	const s = useSettings(service);
	const { data: status, error, load } = useVerb(service, 'turn.status', { poll: true });
	const failed = s.error ?? error;
	if (!s.config || !status) return failed ? <ErrorBox error={failed} retry={load} /> : <Loading />;
	return (
		<>
			{failed && <ErrorBox error={failed} retry={load} />}
			<SettingsDialogs s={s} />
			<section class="section" aria-label={t('turn.listeners')}>
				<h2>{t('turn.listeners')}</h2>
				<Listeners s={s} status={status} />
			</section>
			<section class="section" aria-label={t('turn.relays')} data-help="turn/relay">
				<h2>{t('turn.relays')}</h2>
				<RowTable label="turn.relays" help="turn/relay" rows={status.relay_addresses} rowKey={r => r.address} columns={relays} />
				<div class="card section">
					{RELAY.map(r => ({ ...r, row: s.config.rows.find(x => x.path === r.path) })).map(r => r.row && <Setting key={r.path} s={s} {...r} />)}
				</div>
				<SettingsBar s={s} />
			</section>
		</>
	);
}
