// SPDX-License-Identifier: Apache-2.0
//
// Two questions: the doctor walks the way to another domain as the proxy would, and says where it stops; explain says which
// rule decides about a request. Both change nothing.
import { useState } from 'preact/hooks';
import { may } from '../api.js';
import { t } from '../i18n.js';
import { inWords } from '../said.js';
import { runTool } from '../wizard_facts.js';
import { ErrorBox } from '../ui/errors.jsx';
import { Field } from '../ui/field.jsx';
import { Icon } from '../ui/icon.jsx';
import { read } from '../verbs.js';

// fields: { name: props of a Field }; ask(values, set) sets { rows: [{ good, what, text }], busy } or throws.
function Question({ title, text, fields, ask }) {
	const [values, type] = useState(Object.fromEntries(Object.entries(fields).map(([name, f]) => [name, f.value ?? ''])));
	const [state, set] = useState({});
	async function submit() {
		set({ busy: true });
		await ask(values, set).catch(error => set({ error }));
	}
	return (
		<section class="card section" aria-label={t(title)} data-help="sip/questions">
			<h3>{t(title)}</h3>
			<p class="muted">{t(text)}</p>
			<form
				style={{ maxWidth: '32rem' }}
				onSubmit={e => {
					e.preventDefault();
					submit();
				}}>
				{Object.entries(fields).map(([name, { label, ...f }]) => (
					<Field key={name} name={name} autocomplete="off" {...f} label={t(label)} value={values[name]} onInput={v => type({ ...values, [name]: v })} />
				))}
				<button type="submit" class="main" disabled={state.busy}>
					{t('sip.ask')}
				</button>
			</form>
			{state.error && <ErrorBox error={state.error} />}
			<div role="status">
				{state.busy && <p class="loading">{t('checking')}</p>}
				<ul class="checks">
					{state.rows?.map((r, i) => (
						<li key={i}>
							<Icon name={r.good ? 'ok' : 'failed'} />
							<div class="check">
								<b>{r.what}</b> {inWords(r.text)}
							</div>
						</li>
					))}
				</ul>
			</div>
		</section>
	);
}

const TRANSPORTS = ['lan', 'udp', 'tcp', 'tls', 'mtls', 'ws', 'wss'];
const EXPLAIN = {
	from: { label: 'sip.sender', required: true },
	to: { label: 'sip.target', required: true },
	method: { label: 'sip.method', value: 'MESSAGE', options: ['MESSAGE', 'INVITE', 'SUBSCRIBE', 'REGISTER', 'OPTIONS'].map(v => ({ value: v, name: v })) },
	via: { label: 'sip.transport', value: 'lan', options: TRANSPORTS.map(v => ({ value: v, name: v })) },
	source: { label: 'sip.peer' },
	certificate: { label: 'sip.certificate_name' },
};

async function explain(service, { certificate, ...args }, set) {
	const names = certificate.split(/[\s,]+/).filter(Boolean);
	for (const k in args) if (!args[k]) delete args[k];
	const { code, steps } = await read(service, 'sip.explain', { ...args, ...(names.length && { certificate: names }) });
	const good = code < 300;
	set({ rows: [...steps.map(s => ({ good: true, what: s.rule, text: s.says })), { good, what: code ? String(code) : '', text: t(good ? 'sip.goes' : 'sip.refused') }] });
}

async function diagnose(service, { domain }, set) {
	await runTool({ what: 'sip-doctor', domain: domain.trim(), service }, run =>
		set({
			busy: !run.done,
			rows: [
				...run.results.map(r => ({ good: r.good, what: r.check, text: r.text })),
				...(run.done && run.text ? [{ good: !run.status, what: '', text: run.text }] : []),
			],
		}),
	);
}

export const Questions = ({ service }) => (
	<>
		{may('operator') && (
			<Question
				title="sip.doctor"
				text="sip.doctor.text"
				fields={{ domain: { label: 'sip.domain', required: true } }}
				ask={(values, set) => diagnose(service, values, set)}
			/>
		)}
		<Question title="sip.explain" text="sip.explain.text" fields={EXPLAIN} ask={(values, set) => explain(service, values, set)} />
	</>
);
