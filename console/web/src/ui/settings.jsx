// SPDX-License-Identifier: Apache-2.0
//
// Keys of a service's configuration, edited in place: where each value comes from, locked if the file sets it, with unit,
// range and help; changed here, checked, shown as differences, and committed with a way back (commit.jsx). What is
// edited and not applied stays in this page's memory only.
//
// useSettings() holds the edits of one service; Settings shows groups of its keys: { title, prefix, rows: [{ path, label,
// hint, choices }] }, whose title, label and hint are keys of the words. All of them are reviewed and applied as one change.
import { useEffect, useState } from 'preact/hooks';
import { may } from '../api.js';
import { configOf, lockedAt } from '../config.js';
import { t } from '../i18n.js';
import { beside } from '../said.js';
import { Commit, Pending } from './commit.jsx';
import { ErrorBox, sayError } from './errors.jsx';
import { Locked } from './field.jsx';
import { judge } from './judge.js';
import { Loading } from './loading.jsx';
import { toast } from './toast.jsx';
import { useLive } from './use_verb.js';
import { helpOf, isSecret, textOf, valueOf } from './value.js';
import { ValueField } from './value_field.jsx';

export function useSettings(service) {
	const { data, error, load } = useLive(service, () => configOf(service), [`${service}:config.changed`]);
	const [edits, setEdits] = useState({});
	const [errors, setErrors] = useState({});
	const [committing, commit] = useState(false);

	// v: what was typed; null: back to the default; undefined: the edit is dropped.
	function change(row, v) {
		const next = { ...edits };
		if (v === undefined) delete next[row.path];
		else
			next[row.path] = {
				text: v ?? textOf(row, row.default),
				value: v === null ? null : valueOf(row, v),
				revision: edits[row.path]?.revision ?? row.revision ?? 0, // that which its reader saw when he began
				row,
			};
		setErrors({ ...errors, [row.path]: undefined });
		setEdits(next);
	}
	const drop = () => {
		setEdits({});
		setErrors({});
	};
	function review() {
		const bad = Object.entries(edits)
			.map(([path, e]) => [path, e.value === null ? undefined : judge(e.row, e.text)])
			.filter(([, why]) => why);
		setErrors(Object.fromEntries(bad));
		if (!bad.length) return commit(true);
		toast('failed', t('refused', { n: bad.length }));
	}
	useEffect(drop, [service]);
	return { service, config: data, error, load, edits, setEdits, errors, setErrors, change, drop, review, committing, commit };
}

// Of a long list the service gives the beginning: written back, the rest would be lost.
const Cut = ({ row }) => row.cut > 0 && <p class="muted">{t('list.cut', { n: row.cut })}</p>;

// Where a list of maps is changed: "sip.lan.servers" on the tab lan of the page SIP.
function placeOf(path) {
	const [page, tab] = path.split('.');
	if (tab === 'front' || tab === 'direct') return <p class="muted">{t('elsewhere.file')}</p>;
	return <a href={page === 'tunnel' ? '#/relay' : `#/${page}/${tab}`}>{t('elsewhere')}</a>;
}

export function Setting({ row: plain, s, label, hint, choices }) {
	const row = choices ? { ...plain, choices } : plain; // choices: words for the values
	const edit = s.edits[row.path];
	const text = edit ? edit.text : textOf(row, row.value ?? row.default);
	const readOnly = !may('administrator') || row.columns?.length > 0 || row.cut > 0;
	return (
		<div class="setting" data-path={row.path}>
			<div>
				{label ? <b>{t(label)}</b> : <code>{row.path}</code>}
				<p class="muted">
					{!row.locked && t(`source.${row.source}`)}
					{edit && ` · ${t('edited')}`}
				</p>
			</div>
			<div>
				<ValueField
					row={row}
					label={<span class="hidden">{label ? t(label) : row.path}</span>}
					text={text}
					onInput={v => s.change(row, isSecret(row) && v === '' ? undefined : v)}
					locked={lockedAt(row)}
					readOnly={readOnly}
					help={hint ? helpOf({ ...row, help: t(hint) }) : helpOf(row)}
					error={s.errors[row.path] && beside(s.errors[row.path], label ? t(label) : row.path, row.path)}
					topic="configuration/values"
				/>
				{row.columns?.length > 0 && placeOf(row.path)}
				<Cut row={row} />
				{!readOnly && !row.locked && (edit || row.source === 'store') && (
					<button type="button" onClick={() => s.change(row, edit ? undefined : null)}>
						{edit ? t('edit.undo') : t('edit.default')}
					</button>
				)}
			</div>
		</div>
	);
}

// How many edits wait, and what to do with them.
export function SettingsBar({ s, children }) {
	const n = Object.keys(s.edits).length;
	return (
		<div class="bar section edits">
			{children}
			<span class="grow" />
			{n > 0 && (
				<>
					<span role="status">{t('changes', { n })}</span>
					<button type="button" onClick={s.drop}>
						{t('discard')}
					</button>
					<button type="button" class="main" onClick={s.review}>
						{t('review')}
					</button>
				</>
			)}
		</div>
	);
}

export function SettingsDialogs({ s }) {
	const end = () => s.commit(false);
	return (
		<>
			<Pending service={s.service} pending={s.error ? null : s.config.pending} done={s.load} />
			{s.committing && (
				<Commit
					service={s.service}
					edits={s.edits}
					setEdits={s.setEdits}
					close={end}
					refused={fields => {
						end();
						s.setErrors(fields);
					}}
					done={() => {
						end();
						s.drop();
						s.load();
					}}
					failed={e => {
						end();
						sayError(e);
						s.load();
					}}
				/>
			)}
		</>
	);
}

const within = (path, prefix) => path === prefix || path.startsWith(`${prefix}.`);

// The rows that a group names, in its order; then those of its prefix, in the schema's.
function rowsOf(group, all) {
	const named = (group.rows ?? []).map(r => ({ ...r, row: all.find(x => x.path === r.path) })).filter(r => r.row);
	const rest = group.prefix ? all.filter(x => within(x.path, group.prefix) && !named.some(r => r.path === x.path)) : [];
	return [...named, ...rest.map(row => ({ path: row.path, row }))];
}

function Groups({ service, groups, help }) {
	const s = useSettings(service);
	if (!s.config) return s.error ? <ErrorBox error={s.error} retry={s.load} /> : <Loading />;
	return (
		<div data-help={help}>
			{s.error && <ErrorBox error={s.error} retry={s.load} />}
			<SettingsDialogs s={s} />
			<SettingsBar s={s} />
			{groups.map(g => (
				<section key={g.title} class="card section" aria-label={t(g.title)}>
					<h2>{t(g.title)}</h2>
					{rowsOf(g, s.config.rows).map(r => (
						<Setting key={r.path} s={s} {...r} />
					))}
				</section>
			))}
		</div>
	);
}

// A viewer may not read them: he is shown none, and no refusal.
export const Settings = props => may('operator') && <Groups {...props} />;

// At the table of a list: the button that adds to it, or where the file sets it.
export const AddToList = ({ row, title, add }) =>
	row.locked ? (
		<Locked where={lockedAt(row)} />
	) : row.cut ? (
		<Cut row={row} />
	) : (
		may('administrator') && (
			<button type="button" class="main" onClick={add}>
				{t(title)}
			</button>
		)
	);
