// SPDX-License-Identifier: Apache-2.0
//
// More realms on one server: each with its own way in, rules and limits, which a form of the schema's own columns changes. All of them
// are one setting, turn.realms, so a change of one goes through review and confirmation with the others; their users and
// secrets are on the tabs of that name. The default realm stands first; its settings are those of "Rules and limits".
import { useState } from 'preact/hooks';
import { abortChange, configOf, lockedAt, prepareChange } from '../config.js';
import { number, t } from '../i18n.js';
import { inWords } from '../said.js';
import { ErrorBox } from '../ui/errors.jsx';
import { RowTable } from '../ui/live_table.jsx';
import { Loading } from '../ui/loading.jsx';
import { ObjectForm } from '../ui/object_form.jsx';
import { AddToList, SettingsDialogs, useSettings } from '../ui/settings.jsx';
import { useVerb } from '../ui/use_verb.js';
import { helpOf, textOf } from '../ui/value.js';
import { read } from '../verbs.js';

const PATH = 'turn.realms';
export const LIMITS = {
	allocations: 'sessions.name.turn',
	allocations_per_user: 'turn.limit.user',
	bitrate: 'turn.limit.rate',
	bitrate_per_user: 'turn.limit.rate.user',
	permissions: 'turn.permissions',
	permissions_per_allocation: 'turn.limit.permissions',
	permissions_per_user: 'turn.limit.permissions.user',
	channels: 'turn.channels',
	channels_per_allocation: 'turn.limit.channels',
	channels_per_user: 'turn.limit.channels.user',
};
const LABELS = { name: 'turn.realm', server_names: 'turn.cert.for', listen: 'turn.listeners', certificate: 'turn.cert', key: 'turn.cert.key', password: 'password', allow: 'turn.allow', deny: 'turn.deny', ...LIMITS };

// Lists of maps (users, secrets) have pages of their own.
const fieldsOf = (columns, above = '') =>
	columns.flatMap(c => {
		if (c.columns) return c.list ? [] : fieldsOf(c.columns, `${c.name}.`);
		return [{ path: above + c.name, label: LABELS[c.name], hint: helpOf(c), type: c.type, list: c.list, unit: c.unit, secret: c.secret, required: c.required, fixed: c.name === 'name' }];
	});

// Without the maps of which nothing is left.
const tidy = body => Object.fromEntries(Object.entries(body).filter(([, v]) => typeof v !== 'object' || Array.isArray(v) || Object.keys(v).length));

const COLUMNS = [
	{ id: 'name', title: 'turn.realm' },
	{ id: 'server_names', title: 'turn.cert.for', value: r => r.server_names?.join(', ') },
	{ id: 'listen', title: 'turn.listeners', value: r => r.listen?.join(', ') },
	{ id: 'allocations', title: 'turn.sessions', kind: 'number' },
	{ id: 'allocations_limit', title: 'turn.limits', kind: 'number', cell: r => (r.allocations_limit > 0 ? number(r.allocations_limit) : '–') },
	{ id: 'users', title: 'turn.users', kind: 'number' },
	{ id: 'secrets', title: 'turn.secrets', kind: 'number', width: '14rem' },
	{ id: 'password', title: 'password', kind: 'on' },
	{ id: 'from', title: 'turn.from', width: 'minmax(14rem, 1fr)', value: r => r.from },
];

const editOf = (row, value, revision = row.revision ?? 0) => ({ value, revision, row, text: textOf(row, value) });

// name: of the realm that is changed. It is judged before it is reviewed, so that a fault stands beside its field.
function Form({ service, row, list, name, put, close }) {
	async function save(body, revision) {
		// A new one comes to the list as it is now. Else the list is that of the revision, or a newer one, which is a conflict at the review.
		const now = name && revision === (row.revision ?? 0) ? row : (await configOf(service)).rows.find(r => r.path === PATH);
		const all = now.value ?? [];
		const found = all.findIndex(x => x.name === name);
		const at = found < 0 ? all.length : found; // a new one, or one that somebody has deleted meanwhile
		const next = [...all.slice(0, at), tidy(body), ...all.slice(at + 1)];
		try {
			const { transaction } = await prepareChange(service, { [PATH]: editOf(row, next, revision) });
			await abortChange(service, transaction);
		} catch (e) {
			for (const f of e.fields ?? []) f.path = f.path?.replace(`${PATH}[${at}].`, '');
			throw e;
		}
		put(next, name ? revision : (now.revision ?? 0));
	}
	return (
		<ObjectForm
			title={name ?? t('turn.realm.add')}
			help="turn/realms"
			action={t('next')}
			fields={fieldsOf(row.columns)}
			value={name ? list.find(x => x.name === name) : null}
			revision={row.revision ?? 0}
			locked={lockedAt(row)}
			close={close}
			save={save}
		/>
	);
}

export function Realms({ service }) {
	const s = useSettings(service);
	const { data: status, error, load } = useVerb(service, 'turn.status', { poll: true });
	const [form, open] = useState(null);
	const failed = s.error ?? error;
	if (!s.config || !status) return failed ? <ErrorBox error={failed} retry={s.error ? s.load : load} /> : <Loading />;
	const row = s.config.rows.find(r => r.path === PATH);
	const list = row.value ?? [];
	const from = r => t(r.removed ? 'turn.state.draining' : r.name === status.realm ? 'turn.realm.main' : row.locked ? 'source.file' : 'source.store');
	const put = (next, revision) => {
		s.setEdits({ [PATH]: editOf(row, next, revision) });
		s.commit(true);
	};
	const action = { role: 'administrator', can: r => !row.cut && !r.removed && r.name !== status.realm };
	return (
		<div data-help="turn/realms">
			{failed && <ErrorBox error={failed} retry={s.error ? s.load : load} />}
			<SettingsDialogs s={s} />
			{s.errors[PATH] && (
				<p class="error" role="alert">
					{inWords(s.errors[PATH])}
				</p>
			)}
			<RowTable
				label="turn.realms"
				help="turn/realms"
				rows={status.realms.map(r => ({ ...r, from: from(r) }))}
				rowKey={r => `${r.name} ${r.removed}`}
				columns={COLUMNS}
				changed={load}
				detail={{ title: r => r.name }}
				tools={<AddToList row={row} title="turn.realm.add" add={() => open({})} />}
				actions={[
					{ ...action, id: 'edit', title: 'turn.edit', single: true, open: r => open({ key: r.name }) },
					{
						...action,
						id: 'delete',
						title: 'turn.delete',
						can: r => !row.locked && action.can(r),
						danger: true,
						del: true,
						ask: 'turn.realm.ask',
						text: 'turn.realm.text',
						prepare: () => read(service, 'turn.status'),
						name: (r, now = status) => `${r.name}: ${t('turn.user.open', { n: now.realms.find(x => x.name === r.name)?.allocations ?? 0 })}`,
						many: async rows => put(list.filter(x => !rows.some(r => r.name === x.name))),
					},
				]}
			/>
			{form && <Form service={service} row={row} list={list} name={form.key} put={put} close={() => open(null)} />}
		</div>
	);
}
