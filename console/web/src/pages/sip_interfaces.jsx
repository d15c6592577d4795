// SPDX-License-Identifier: Apache-2.0
// Where stile-sip listens: all interfaces with their state, and by what public address others know each.
import { useState } from 'preact/hooks';
import { t } from '../i18n.js';
import { inWords } from '../said.js';
import { sayError } from '../ui/errors.jsx';
import { Reason } from '../ui/reason.jsx';
import { toast } from '../ui/toast.jsx';
import { tell } from '../verbs.js';
import { Pick } from './sip_certificates.jsx';
import { columns, fields, isOn, Objects, SECURE, Warn, warningOf } from './sip_objects.jsx';

const INSIDE = /^(10\.|127\.|169\.254\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|fe80:|f[cd]..:|::1$)/i;
const isSecure = v => SECURE.includes(v.transport);
const bracketed = a => (a.includes(':') ? new URL(`x://[${a}]/`).hostname : a);
const PATHS = { file: 'sip.interfaces', 'file, lan': 'sip.lan.listen', 'file, federation': 'sip.federation.listen' };

// Asks from this address; take(public address) is offered what was found.
export function Determine({ service, address, take }) {
	const [found, set] = useState(null);
	async function ask() {
		set({ busy: true });
		try {
			const r = await tell(service, 'sip.interface.determine', { address: address || '0.0.0.0' });
			set(r);
			if (r.public) take?.(r.public);
		} catch (e) {
			set(null);
			sayError(e);
		}
	}
	return (
		<div class="field">
			<button type="button" disabled={found?.busy} onClick={ask}>
				{t('sip.determine')}
			</button>
			<p role="status" class={found?.why ? 'error' : 'muted'}>
				{found?.busy && t('checking')}
				{found?.public && [found.public, found.nat && `NAT: ${found.nat}`, inWords(found.means)].filter(Boolean).join(' · ')}
				{inWords(found?.why)}
			</p>
		</div>
	);
}

const WORDS = { off: 'off', failed: 'sip.not_served', warning: 'sip.listens', ok: 'sip.listens' };

function State({ row }) {
	const served = row.state === 'listening';
	const kind = !row.active ? 'off' : !served ? 'failed' : row.why || row.warn ? 'warning' : 'ok';
	return <Reason kind={kind} word={WORDS[kind]} of="sip" code={row.why ? undefined : row.warn} text={row.why} />;
}

const COLUMNS = columns(
	{
		active: 'sip.active',
		address: 'sip.address',
		port: 'sip.port',
		transport: 'sip.transport',
		state: 'sip.state',
		public: 'sip.known_as',
		connections: 'sip.connections',
	},
	{
		active: { kind: 'on' },
		port: { width: '5rem', number: true },
		transport: { width: '6rem' },
		state: { width: 'minmax(16rem, 2fr)', cell: row => <State row={row} /> },
		connections: { kind: 'number', width: '9rem' },
	},
);

const form = service =>
	fields(
		{
			transport: 'sip.transport',
			address: 'sip.address',
			port: 'sip.port',
			advertise: 'sip.public',
			certificate: 'sip.certificate',
			key: 'sip.key',
			ca: 'sip.ca',
			active: 'sip.active',
		},
		{
			transport: {
				type: 'enum',
				choices: ['udp', 'tcp', 'tls', 'mtls', 'ws', 'wss'],
				default: 'tls',
				fixed: true,
				after: v => !isSecure(v) && !INSIDE.test(v.address) && <Warn text={warningOf('not-protected')} />,
			},
			address: { type: 'address', default: '0.0.0.0', required: true, fixed: true },
			port: { type: 'port', listen: true, required: true, fixed: true, transport: v => (isSecure(v) ? 'sips' : 'sip') },
			advertise: {
				hint: 'sip.public.hint',
				after: (v, type) => <Determine service={service} address={v.address} take={a => type('advertise', a)} />,
			},
			certificate: { show: isSecure, after: (v, type) => <Pick service={service} chosen={v.certificate} type={type} /> },
			key: { show: isSecure },
			ca: { show: isSecure },
			active: { type: 'bool', default: true },
		},
	);

const LIST = {
	kind: 'sip.interface',
	verb: 'sip.interface.list',
	id: 'name',
	label: 'sip.interfaces',
	columns: COLUMNS,
	text: 'sip.go_on',
	path: row => (row.from === 'file' && !row.advertise ? 'sip.listen' : PATHS[row.from]),
	name: row => `${row.name}: ${t('sip.sessions', { n: row.connections })}`,
	turn: (service, row, active) => tell(service, 'sip.interface.set', { name: row.name, interface: { active } }),
	keyOf: v => `${v.transport}:${bracketed(v.address)}:${Number(v.port)}`,
	toForm: (body, key) => {
		const [, transport, address, port] = /^(\w+):\[?(.*?)\]?:(\d+)$/.exec(key ?? body.listen);
		return { ...body, transport, address, port, active: isOn(body.active) };
	},
	toBody({ transport, address, port, ...body }) {
		return { ...body, listen: LIST.keyOf({ transport, address, port }), name: undefined };
	},
	detail: { pairs: row => [[t('sip.nat'), row.nat], [t('sip.certificate'), row.certificate]] },
};

export function Interfaces({ service }) {
	const detect = () =>
		tell(service, 'sip.interface.detect').then(
			() => toast('ok', t('sip.determine.done')),
			sayError,
		);
	return (
		<Objects service={service} list={{ ...LIST, pick: rows => rows.map(r => ({ ...r, locked: r.from !== 'store' })), fields: form(service) }} help="sip/interfaces">
			<button type="button" onClick={detect}>
				{t('sip.determine')}
			</button>
		</Objects>
	);
}
