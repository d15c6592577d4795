// SPDX-License-Identifier: Apache-2.0
//
// What the lists of the page have in common: rows of the file, locked with their line, and of the store, made, changed,
// switched and deleted here. A list is data: { kind, verb, id, path, … }; what it does is the same for each.
import { useState } from 'preact/hooks';
import { may } from '../api.js';
import { configOf, lockedAt } from '../config.js';
import { either, t } from '../i18n.js';
import { inWords } from '../said.js';
import { deleteObject, objectsOf, putObject } from '../objects.js';
import { ErrorBox } from '../ui/errors.jsx';
import { Icon } from '../ui/icon.jsx';
import { RowTable } from '../ui/live_table.jsx';
import { Loading } from '../ui/loading.jsx';
import { ObjectForm } from '../ui/object_form.jsx';
import { useLive, useVerb } from '../ui/use_verb.js';
import { MASK } from '../ui/value.js';

const TURN = { true: 'sip.on', false: 'sip.off' };

export const SECURE = ['tls', 'mtls', 'wss'];
export const isOn = (v, or = true) => (v === undefined || v === '' ? or : String(v) === 'true'); // the store keeps what was typed
export const columns = (titles, more = {}) => Object.entries(titles).map(([id, title]) => ({ id, title, ...more[id] }));
export const fields = (labels, more = {}) => Object.entries(labels).map(([path, label]) => ({ path, label, ...more[path] }));
export const warningOf = code => code && either(`sip.reason.${code}`, inWords(code));
export const useConfig = service => useLive(`${service} config`, () => configOf(service), [`${service}:config.changed`]);

// A password that is not shown is no value to be written: what else has changed is changed beside it.
async function changeBeside(service, kind, key, { password, ...body }, revision, change) {
	const now = (await objectsOf(service, kind)).find(o => o.key === key);
	if (now && now.revision !== revision) throw Object.assign(new Error(), { theirs: now });
	const gone = Object.keys(now?.body ?? {}).filter(k => k !== 'password' && !(k in body));
	await change(service, key, { ...body, ...Object.fromEntries(gone.map(k => [k, null])) });
}

export const Warn = ({ text }) => (
	<p class="box warning">
		<Icon name="warning" />
		{text}
	</p>
);

// list: { kind, verb, label, id (what names a row), columns, fields, defaults, path(row) of the configuration, toForm(body, key),
// toBody(form), keyOf(form), turn(row, on), name(row), ask, more (actions), pick(rows), detail }
export function Objects({ service, list, help, children }) {
	const { data, error, load } = useVerb(service, list.verb, { topics: ['config.changed', ...(list.topics ?? [])], poll: true, rows: true });
	const config = useConfig(service);
	const [form, open] = useState(null);
	const { kind, id, keyOf = f => f[id] } = list;
	const locked = row => row.locked !== false && (lockedAt(config.data?.rows.find(r => r.path === list.path(row))) ?? list.path(row));
	const toForm = (body, key) => ({ ...list.defaults, ...(list.toForm?.(body, key) ?? body), [id]: key });

	async function edit(row) {
		if (locked(row)) return open({ value: toForm(row, row[id]), locked: locked(row) });
		const { body, revision } = (await objectsOf(service, kind)).find(o => o.key === row[id]) ?? {};
		open({ value: toForm(body ?? {}, row[id]), revision, key: row[id] }); // no object: a row of what is seen, not of what was set
	}
	async function save(value, revision) {
		const { [id]: _, ...body } = list.toBody?.(value) ?? value;
		const key = form.key ?? keyOf(value);
		const write = body.password === MASK && list.change ? changeBeside : putObject;
		await write(service, kind, key, body, revision, list.change);
		load();
	}
	const own = row => !locked(row);
	const name = list.name ?? (row => row[id]);
	const actions = [
		{ id: 'edit', title: 'sip.edit', role: 'administrator', single: true, open: edit },
		...(list.turn
			? [true, false].map(on => ({
					id: on,
					title: TURN[on],
					role: 'administrator',
					can: row => own(row) && isOn(row.active) !== on,
					run: row => list.turn(service, row, on),
				}))
			: []),
		...(list.more ?? []),
		{
			id: 'delete',
			title: 'sip.delete',
			role: 'administrator',
			danger: true,
			del: true,
			ask: 'sip.delete.ask',
			text: 'sip.delete.text',
			...(list.text && { text: list.text }),
			done: 'sip.delete.done',
			can: own,
			name,
			run: row => deleteObject(service, kind, row[id]),
		},
	];
	const add = may('administrator') && (
		<button type="button" class="main" onClick={() => open({})}>
			{t('sip.add')}
		</button>
	);
	return (
		<>
			{error && <ErrorBox error={error} retry={load} />}
			{data ? (
				<RowTable
					label={list.label}
					rows={list.pick?.(data) ?? data}
					rowKey={row => row[id]}
					columns={list.columns}
					actions={actions}
					detail={{
						...list.detail,
						title: row => row[id],
						pairs: row => [...(list.detail?.pairs(row) ?? []), [t('sip.from'), locked(row) || t('source.store')]],
					}}
					tools={
						<>
							{children}
							{add}
						</>
					}
					changed={load}
					help={help}
				/>
			) : (
				!error && <Loading />
			)}
			{form && (
				<ObjectForm
					title={form.value?.[id] ?? `${t(list.label)}: ${t('sip.add')}`}
					fields={list.fields}
					value={form.value ?? null}
					shape={body => toForm(body, form.key)}
					revision={form.revision ?? 0}
					locked={form.locked || undefined}
					save={save}
					close={() => open(null)}
					help={help}
				/>
			)}
		</>
	);
}
