// SPDX-License-Identifier: Apache-2.0
//
// What the pages Tunnel, Agent and Relay share: columns by their names, states, the blank last row, the fields of a forward
// job, links to what a port leads to, and a code for enrolment. Their words are in lang/tunnel.*.json.
import { useState } from 'preact/hooks';
import { post } from '../api.js';
import { dateTime, has, number, t } from '../i18n.js';
import { beside } from '../said.js';
import { Copy } from '../ui/copy.jsx';
import { Dialog } from '../ui/dialog.jsx';
import { messageOf } from '../ui/errors.jsx';
import { judge } from '../ui/judge.js';
import { errorsOf, ObjectForm } from '../ui/object_form.jsx';
import { Reason } from '../ui/reason.jsx';
import { useLive } from '../ui/use_verb.js';
import { valueOf } from '../ui/value.js';
import { ValueField } from '../ui/value_field.jsx';

// ---- states ----

const GOOD = ['connected', 'active', 'open', 'up', 'approved', 'listening', 'found', 'info'];
const BAD = ['refused', 'port taken', 'target down', 'not listening', 'partly listening', 'target not resolved', 'revoked', 'error'];
const OFF = ['interrupted', 'disconnected', 'disabled', 'expired', 'ended', 'not connected'];

const wordOf = s => (has(`tunnel.state.${s}`) ? `tunnel.state.${s}` : s);

// In words alone: "connected (why)".
export const stateOf = (s, why) => t(wordOf(s)) + (why ? ` (${why})` : '');

export const State = ({ s, why }) => (
	<Reason kind={GOOD.includes(s) ? 'ok' : BAD.includes(s) ? 'failed' : OFF.includes(s) ? 'off' : 'warning'} word={wordOf(s)} text={why} />
);

// What goes with it, behind a name in a question.
export const ends = connections => (connections ? ` – ${t('sessions.tunnel', { n: connections })}` : '');

// The form of a row that lies in the store (object) or in the file (config, locked where it stands).
export const RowForm = ({ form, shape = body => body, ...rest }) => (
	<ObjectForm {...rest} title={form.name} value={shape(form.object?.body ?? form.config)} shape={shape} revision={form.object?.revision} locked={form.where} />
);

const titleOf = id => (has(`tunnel.col.${id}`) ? `tunnel.col.${id}` : id);

// ---- columns: "name id:number since:time" ----

const MORE = {
	state: { width: '16rem', value: r => stateOf(r.state), cell: r => <State s={r.state} why={r.reason || r.why || r.answer} /> },
	us: c => ({ number: true, width: '7rem', value: r => r[c.id] / 1000, cell: r => (r[c.id] ? `${number(r[c.id] / 1000, 2)}\u00a0ms` : '–') }),
	unix: c => ({ kind: 'time', value: r => r[c.id] * 1000 || '' }),
	time: c => ({ kind: 'time', value: r => r[c.id] || '' }),
	connections: { kind: 'number', width: '9rem' },
	yes: c => ({ width: '9rem', value: r => t(r[c.id] ? 'yes' : 'no') }),
	wide: () => ({ width: 'minmax(18rem, 1fr)' }),
	...Object.fromEntries(
		// an address with its port is not cut
		['address', 'listen', 'listener', 'local', 'remote', 'observed', 'peer', 'source', 'agent_local', 'carrier_agent', 'carrier_server'].map(id => [
			id,
			{ width: 'minmax(12.5rem, 1fr)' },
		]),
	),
};

export function cols(spec, own = {}) {
	return spec.split(' ').map(s => {
		const [id, kind] = s.split(':');
		const c = { id, title: titleOf(id) };
		const more = MORE[kind ?? id];
		return { ...c, ...(typeof more === 'function' ? more(c) : (more ?? { kind })), ...own[id] };
	});
}

// ---- fields ----

const PORTS = /^(\*|\d{1,5}(-\d{1,5})?)$/;
const badPorts = (f, text) => (PORTS.test(text) && text.split('-').every(p => p === '*' || (p > 0 && p < 65_536)) ? undefined : t('tunnel.bad.ports'));
const badListen = (f, text) => (text === '*' || badPorts(f, text) ? t('tunnel.bad.listen') : undefined);
// HOST:PORT, or a host alone; [::1]:22
const badPlace = (f, text) => {
	const [, host, port] = text.match(/^(\[[^\]\s]+\]|[^:\s]+)(?::(\d*))?$/) ?? [];
	return host && (port === undefined || (port > 0 && port < 65_536)) ? undefined : t('tunnel.bad.place');
};

const KINDS = {
	ports: { judge: badPorts, required: true },
	listen: { judge: badListen, required: true },
	any: { type: 'address', default: '0.0.0.0', required: true },
	free: { type: 'port', listen: true, hint: 'tunnel.free.hint' },
	place: { judge: badPlace, required: true },
	places: { type: 'list', judge: (f, text) => text.split(',').map(x => badPlace(f, x.trim())).find(Boolean), required: true },
	bool: { type: 'bool', default: false },
	yes: { type: 'bool', default: true },
	list: { type: 'list' },
	address: { type: 'address', any: false },
	count: { type: 'count', min: 1 },
	proxy: { type: 'enum', choices: ['off', 'v2'], default: 'off' },
	must: { required: true },
};

// "port:ports target:place …" as cols().
export const fieldsOf = (spec, own = {}) =>
	spec.split(' ').map(s => {
		const [path, kind] = s.split(':');
		return { path, label: titleOf(path), ...KINDS[kind], ...own[path] };
	});

// bind: an address of the server, which on the agent's side is another machine.
export const jobFields = bind =>
	fieldsOf(
		`name port:ports target:place protocol encrypt:yes enabled:yes bind${bind} allow:list expire limits.connections:count limits.bitrate proxy_protocol:proxy health_check connect_timeout note`,
		{
			name: { fixed: true },
			port: { hint: 'tunnel.port.hint' },
			target: { default: '127.0.0.1:' },
			protocol: { type: 'enum', choices: ['tcp', 'udp'], default: 'tcp' },
			allow: { hint: 'tunnel.allow.hint' },
			expire: { hint: 'tunnel.expire.hint' },
			'limits.connections': { default: 1000 },
			'limits.bitrate': { default: 'unlimited', unit: 'bit/s' },
			health_check: { default: '0s', show: v => v.protocol !== 'udp' },
			proxy_protocol: { show: v => v.protocol !== 'udp' },
			encrypt: { show: v => v.protocol !== 'udp' },
			connect_timeout: { default: '10s' },
		},
	);

export const jobName = j => j.name || `${j.port}${j.port === '*' ? `:${j.target}` : ''}${j.protocol === 'udp' ? '/udp' : ''}`;

// What has nothing in it was not meant.
export const filled = body => Object.fromEntries(Object.entries(body).filter(([, v]) => v?.constructor !== Object || Object.keys(v).length));

// An address and ports are one text in a body, "127.0.0.1:22", and two fields in a form.
export const LISTEN = { label: 'tunnel.col.listen' };
export const joined = ({ at_address: a, at_port: p, ...b }) => ({ ...b, listen: `${a.includes(':') ? `[${a}]` : a}:${p ?? 0}` });
export const parted = b => {
	const [, a, p] = b.listen.match(/^(?:(.*):)?([^:]*)$/);
	return { ...b, at_address: (a ?? '0.0.0.0').replace(/[[\]]/g, ''), at_port: p === '0' ? '' : p };
};

// ---- the blank last row: type, Enter, and the next one ----

export function AddRow({ title, fields, save, keep }) {
	const blank = Object.fromEntries(fields.map(f => [f.path, String(f.default ?? '')]));
	const [texts, set] = useState(blank);
	const [errors, setErrors] = useState({});
	async function add(e) {
		e.preventDefault();
		const bad = fields.map(f => [f.path, judge(f, texts[f.path])]).filter(([, why]) => why);
		setErrors(Object.fromEntries(bad));
		if (bad.length) return;
		try {
			await save(Object.fromEntries(fields.map(f => [f.path, valueOf({ ...f, list: f.type === 'list' }, texts[f.path])]).filter(([, v]) => v !== '')));
			if (!keep) set(was => (was === texts ? blank : was)); // the next one may be typed already
		} catch (error) {
			const { beside, rest } = errorsOf(fields, error);
			setErrors(rest ? { ...beside, [fields.at(-1).path]: messageOf(error) } : beside);
		}
	}
	return (
		<form class="bar add" noValidate aria-label={t(title)} onSubmit={add}>
			{fields.map(f => (
				<ValueField
					key={f.path}
					row={f}
					label={t(f.label)}
					help={f.hint && t(f.hint)}
					text={texts[f.path]}
					error={errors[f.path] && beside(errors[f.path], t(f.label), f.path)}
					onInput={v => set({ ...texts, [f.path]: v })}
				/>
			))}
			<button type="submit">{t(title)}</button>
		</form>
	);
}

// ---- "reach it at …" ----

const SCHEMES = { 22: 'ssh', 80: 'http', 443: 'https', 554: 'rtsp', 3389: 'rdp', 8080: 'http', 8443: 'https', 8554: 'rtsp' };
const portOf = place => place?.slice(place.lastIndexOf(':') + 1);

// A remote desktop is opened by a file: browsers know no rdp:// of their own.
const linkOf = (scheme, at) => (scheme === 'rdp' ? { href: `data:application/x-rdp,${encodeURIComponent(`full address:s:${at}\r\n`)}`, download: `stile.rdp` } : { href: `${scheme}://${at}` });

function Open({ scheme, at }) {
	return (
		<a {...linkOf(scheme, at)} target={scheme.startsWith('http') ? '_blank' : undefined} rel="noreferrer" aria-label={t('tunnel.open', { scheme, at })}>
			{scheme}
		</a>
	);
}

export function Reach({ row, all }) {
	const guess = SCHEMES[portOf(row.target)] ?? SCHEMES[portOf(row.address)];
	const schemes = all ? ['http', 'https', 'rdp', 'rtsp', 'ssh'] : guess ? [guess] : [];
	if (!row.address || (row.protocol === 'udp' && !all)) return row.address || '–';
	return (
		<>
			{all ? t('tunnel.reach', { at: row.address }) : row.address}
			{row.protocol !== 'udp' &&
				schemes.map(s => (
					<>
						{' '}
						<Open key={s} scheme={s} at={row.address} />
					</>
				))}
			{all && ' '}
			{all && <Copy text={row.address} />}
		</>
	);
}

// ---- a code, as text and as QR code ----

// lines: the last one is that of the QR code, unless qr says otherwise.
export function Code({ title, text, lines, qr = lines.at(-1), close, children, ...rest }) {
	const { data } = useLive(qr, () => post('/qr', { text: qr }));
	return (
		<Dialog title={title} close={close} {...rest}>
			<p>{text}</p>
			{lines.map(line => (
				<pre key={line} class="wrap">
					{line}
				</pre>
			))}
			{data && <img class="qr" alt={t('tunnel.code.qr')} src={`data:image/svg+xml,${encodeURIComponent(data.svg)}`} />}
			{children}
		</Dialog>
	);
}

// That lets an agent in. Shown once: the server keeps no code that could be read again.
export const EnrolCode = ({ code, close }) => (
	<Code title={t('tunnel.code', { name: code.name ?? '' })} text={t('tunnel.code.text', { until: dateTime(code.expires * 1000) })} lines={[code.code]} close={close} help="tunnel/enrolment">
		{code.fingerprint && <p class="muted">{t('tunnel.own_key', { key: code.fingerprint })}</p>}
	</Code>
);
