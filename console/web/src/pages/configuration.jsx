// SPDX-License-Identifier: Apache-2.0
//
// Every key of a service's configuration, from its schema rows: where its value comes from, locked if the file sets it,
// with unit, range and help; changed here, checked, shown as differences, and committed with a way back
// (configuration_commit.jsx). What is edited and not applied stays in this page's memory only.
import { useEffect, useMemo, useState } from 'preact/hooks';
import { may } from '../api.js';
import { configOf, lockedAt } from '../config.js';
import { t } from '../i18n.js';
import { subscribe } from '../live.js';
import { isDown, nameOf, services, watchServices } from '../state.js';
import { ErrorBox, sayError } from '../ui/errors.jsx';
import { Field } from '../ui/field.jsx';
import { Loading } from '../ui/loading.jsx';
import { Search } from '../ui/search.jsx';
import { ServiceChoice } from '../ui/service_choice.jsx';
import { Commit, Pending } from './configuration_commit.jsx';
import { helpOf, textOf, valueOf } from './configuration_value.js';

function useConfig(service) {
	const [config, set] = useState(null);
	const [error, setError] = useState(null);
	const load = () =>
		configOf(service).then(r => {
			set(r);
			setError(null);
		}, setError);
	useEffect(() => {
		set(null);
		if (!service) return undefined;
		load();
		return subscribe(`${service}:config.changed`, load, load);
	}, [service]);
	return { config, error, load };
}

function Setting({ row, edit, change, error, readOnly }) {
	const text = edit ? edit.text : textOf(row, row.value ?? row.default);
	const choices = row.type === 'bool' ? ['true', 'false'] : row.choices;
	const options = choices?.length
		? choices.map(c => ({ value: c, name: row.type === 'bool' ? t(c === 'true' ? 'on' : 'off') : c }))
		: undefined;
	const source = row.locked ? null : t(`source.${row.source}`);
	const set = v => change(row, v);
	return (
		<div class="setting" data-path={row.path}>
			<div>
				<code>{row.path}</code>
				<p class="muted">
					{source}
					{edit && ` · ${t('edited')}`}
				</p>
			</div>
			<div>
				<Field
					label={<span class="hidden">{row.path}</span>}
					name={row.path}
					value={text}
					onInput={set}
					options={options}
					unit={row.unit}
					locked={lockedAt(row)}
					readOnly={readOnly || row.columns?.length > 0}
					type={row.secret ? 'password' : 'text'}
					autocomplete="off"
					help={helpOf(row)}
					error={error}
					topic="configuration/values"
				/>
				{!readOnly && !row.locked && (edit || row.source === 'store') && (
					<button type="button" onClick={() => change(row, edit ? undefined : null)}>
						{edit ? t('edit.undo') : t('edit.default')}
					</button>
				)}
			</div>
		</div>
	);
}

function groupOf(path) {
	const names = path.split('.');
	return names.slice(0, names.length > 2 ? 2 : 1).join('.');
}

function grouped(rows) {
	const groups = new Map();
	for (const r of rows) {
		const name = groupOf(r.path);
		if (!groups.has(name)) groups.set(name, []);
		groups.get(name).push(r);
	}
	return groups;
}

function Groups({ rows, edits, filtered, ...rest }) {
	const groups = useMemo(() => grouped(rows), [rows]);
	return [...groups].map(([name, list]) => (
		<details key={name} class="card section" open={filtered || groups.size === 1 || list.some(r => edits[r.path] || rest.errors[r.path])}>
			<summary>
				<b>{name}</b> <span class="muted">{t('configuration.keys', { n: list.length })}</span>
			</summary>
			{list.map(row => (
				<Setting key={row.path} row={row} edit={edits[row.path]} error={rest.errors[row.path]} {...rest} />
			))}
		</details>
	));
}

function Editor({ service }) {
	const { config, error, load } = useConfig(service);
	const [edits, setEdits] = useState({});
	const [errors, setErrors] = useState({});
	const [filter, setFilter] = useState('');
	const [committing, commit] = useState(false);
	const needle = filter.trim().toLowerCase();
	const rows = useMemo(
		() => config?.rows.filter(r => !needle || `${r.path} ${r.help}`.toLowerCase().includes(needle)) ?? [],
		[config, needle],
	);
	if (error && !config) return <ErrorBox error={error} retry={load} />;
	if (!config) return <Loading />;
	const n = Object.keys(edits).length;

	// v: what was typed; null: back to the default; undefined: the edit is dropped.
	function change(row, v) {
		const next = { ...edits };
		if (v === undefined) delete next[row.path];
		else
			next[row.path] = {
				text: v ?? textOf(row, row.default),
				value: v === null ? null : valueOf(row, v),
				revision: row.revision ?? 0,
				row,
			};
		setErrors({ ...errors, [row.path]: undefined });
		setEdits(next);
	}
	const drop = () => {
		setEdits({});
		setErrors({});
	};
	return (
		<>
			<Pending service={service} pending={config.pending} done={load} />
			<div class="bar section">
				<Search label={t('configuration.filter')} placeholder={t('filter')} value={filter} onInput={setFilter} />
				<span class="grow" />
				{n > 0 && (
					<>
						<span role="status">{t('changes', { n })}</span>
						<button type="button" onClick={drop}>
							{t('discard')}
						</button>
						<button type="button" class="main" onClick={() => commit(true)}>
							{t('review')}
						</button>
					</>
				)}
			</div>
			<Groups filtered={needle !== ''} rows={rows} edits={edits} errors={errors} change={change} readOnly={!may('administrator')} />
			{!rows.length && <p class="muted">{t('table.none')}</p>}
			{committing && (
				<Commit
					service={service}
					edits={edits}
					setEdits={setEdits}
					close={() => commit(false)}
					refused={fields => {
						commit(false);
						setErrors(fields);
					}}
					done={() => {
						commit(false);
						drop();
						load();
					}}
					failed={e => {
						commit(false);
						sayError(e);
						load();
					}}
				/>
			)}
		</>
	);
}

export default function Configuration() {
	const [chosen, choose] = useState('');
	useEffect(watchServices, []);
	const all = (services.value ?? []).filter(s => !isDown(s));
	const service = all.some(s => nameOf(s) === chosen) ? chosen : all[0] ? nameOf(all[0]) : '';
	return (
		<>
			<div class="bar">
				<h1>{t('nav.configuration')}</h1>
				<span class="grow" />
				<ServiceChoice label={t('service')} value={service} choose={choose} all={all} />
			</div>
			{service ? <Editor key={service} service={service} /> : <p class="muted section">{t('configuration.no_service')}</p>}
		</>
	);
}
