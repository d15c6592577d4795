// SPDX-License-Identifier: Apache-2.0
// Federation: with whom, whether others find us and believe us, and the partners with what was spoken.
import { useState } from 'preact/hooks';
import { t } from '../i18n.js';
import { inWords } from '../said.js';
import { ErrorBox } from '../ui/errors.jsx';
import { Icon } from '../ui/icon.jsx';
import { PlainTable } from '../ui/plain_table.jsx';
import { Settings } from '../ui/settings.jsx';
import { useVerb } from '../ui/use_verb.js';
import { read } from '../verbs.js';
import { Determine } from './sip_interfaces.jsx';
import { columns, fields, isOn, Objects, useConfig, warningOf } from './sip_objects.jsx';

const WAYS = { both: 'sip.way.both', in: 'sip.way.in', out: 'sip.way.out', none: 'sip.way.none' };
const SERVICES = { presence: 'sip.presence', messages: 'sip.messages', calls: 'sip.calls' };
const sum = counts => Object.values(counts ?? {}).reduce((n, x) => n + x, 0);
const perService = counts =>
	Object.entries({ ...SERVICES, other: 'sip.other' })
		.map(([id, word]) => counts?.[id] > 0 && `${t(word)} ${counts[id]}`)
		.filter(Boolean)
		.join(', ');
const way = id => ({ value: row => t(WAYS[row[id] ?? 'both']), width: '8rem' });

const PARTNERS = {
	kind: 'sip.partner',
	verb: 'sip.partner.list',
	id: 'domain',
	label: 'sip.partners',
	path: () => 'sip.federation.partners',
	text: 'sip.go_on',
	defaults: { allow: true, presence: 'both', messages: 'both', calls: 'both', rate: 0 },
	keyOf: v => v.domain.toLowerCase(),
	columns: columns(
		{
			domain: 'sip.domain',
			allow: 'sip.allowed',
			...SERVICES,
			in: 'sip.in',
			out: 'sip.out',
			refused: 'sip.refused',
			limited: 'sip.limited',
			idle_ms: 'sip.quiet',
			last: 'sip.last',
		},
		{
			allow: { kind: 'on', value: row => isOn(row.allow, row.by_mode) },
			presence: way('presence'),
			messages: way('messages'),
			calls: way('calls'),
			in: { kind: 'number', value: row => sum(row.in) },
			out: { kind: 'number', value: row => sum(row.out) },
			refused: { kind: 'number' },
			limited: { kind: 'number' },
			idle_ms: { kind: 'ms' },
		},
	),
	fields: fields(
		{ domain: 'sip.domain', allow: 'sip.allowed', ...SERVICES, rate: 'sip.rate' },
		{
			domain: { fixed: true, required: true },
			allow: { type: 'bool', default: true },
			...Object.fromEntries(Object.keys(SERVICES).map(id => [id, { type: 'enum', choices: WAYS, default: 'both', show: v => v.allow === 'true', kept: true }])),
			rate: { type: 'count', unit: 'messages/s', max: 1_000_000, default: 0, hint: 'sip.rate.hint', show: v => v.allow === 'true', kept: true },
		},
	),
	detail: { pairs: row => [[t('sip.in'), perService(row.in)], [t('sip.out'), perService(row.out)]] },
};

const Line = ({ good, children }) => (
	<li>
		<Icon name={good ? 'ok' : 'failed'} />
		<div class="check">{children}</div>
	</li>
);

// Our certificate against our SRV record, host by host.
function Found({ found }) {
	return (
		<ul class="checks">
			<Line good={found.mode !== 'off'}>
				{t('sip.mode')}: {found.mode} · {found.listen || t('sip.no_listener')}
			</Line>
			{found.domains.map(d => (
				<>
					<Line key={d.domain} good={d.named}>
						{t(d.named ? 'sip.named' : 'sip.not_named', { domain: d.domain, file: found.certificate || '–', names: found.names.join(', ') || '–' })}
					</Line>
					{d.hosts.map(h => (
						<Line key={`${d.domain} ${h.host} ${h.port}`} good={h.port_fits && h.public && !h.why}>
							{t('sip.record', { domain: d.domain, host: h.host, port: String(h.port), addresses: h.addresses.join(', ') || '–' })}
							<p class="error">
								{[inWords(h.why), !h.port_fits && t('sip.port_differs', { port: String(found.port) }), !h.why && !h.public && t('sip.not_public')].filter(Boolean).join(' · ')}
							</p>
						</Line>
					))}
					{d.why && (
						<Line key={`${d.domain} why`} good={false}>
							{d.domain}: {warningOf(d.why)}
							<pre tabIndex={0}>
								_sipfederationtls._tcp.{d.domain}. 3600 IN SRV 10 0 {found.port} HOST.
							</pre>
						</Line>
					)}
				</>
			))}
		</ul>
	);
}

function Check({ service, address }) {
	const [state, set] = useState({});
	async function check() {
		set({ busy: true });
		set(await read(service, 'sip.federation.check').then(found => ({ found }), error => ({ error })));
	}
	return (
		<section class="card section" aria-label={t('sip.check')} data-help="sip/federation">
			<h3>{t('sip.check')}</h3>
			<button type="button" class="main" disabled={state.busy} onClick={check}>
				{t('sip.check.do')}
			</button>
			{state.busy && <p role="status">{t('checking')}</p>}
			{state.error && <ErrorBox error={state.error} retry={check} />}
			{state.found && <Found found={state.found} />}
			<Determine service={service} address={address} />
		</section>
	);
}

export function Federation({ service }) {
	const spoken = useVerb(service, 'sip.federation', { poll: true }).data;
	const listen = useConfig(service).data?.rows.find(r => r.path === 'sip.federation.listen');
	const seen = spoken?.seen ?? [];
	const list = {
		...PARTNERS,
		// Those that are known by name, and those that the mode lets in.
		pick: rows => [
			...rows.map(r => ({ ...r, ...seen.find(s => s.domain === r.domain) })),
			...seen.filter(s => !rows.some(r => r.domain === s.domain)).map(s => ({ ...s, by_mode: spoken.mode === 'open', locked: false })),
		],
	};
	return (
		<>
			<Objects service={service} list={list} help="sip/federation" />
			<Check service={service} address={String([listen?.value ?? ''].flat()[0] ?? '').replace(/^\w+:(.*):\d+$/, '$1').replace(/^\[|\]$/g, '')} />
			<Settings
				service={service}
				groups={[
					{ title: 'nav.settings', rows: ['mode', 'listen', 'advertise', 'certificate', 'key', 'ca', 'rate', 'addresses', 'sips_srv'].map(x => ({ path: `sip.federation.${x}` })) },
				]}
				help="sip/federation"
			/>
		</>
	);
}
