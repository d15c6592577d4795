// SPDX-License-Identifier: Apache-2.0
//
// Who may use the server: named users, and shared secrets of time-limited credentials. Those of the file are shown and
// locked; the others are objects of the store. A user who is deleted takes his sessions with him, which the question names.
import { useMemo, useState } from 'preact/hooks';
import { may } from '../api.js';
import { lockedAt } from '../config.js';
import { groupBy } from '../group.js';
import { dateTime, t } from '../i18n.js';
import { deleteObject, objectsOf, putObject } from '../objects.js';
import { Dialog } from '../ui/dialog.jsx';
import { Locked } from '../ui/field.jsx';
import { RowTable } from '../ui/live_table.jsx';
import { Loading } from '../ui/loading.jsx';
import { ObjectForm } from '../ui/object_form.jsx';
import { useVerb } from '../ui/use_verb.js';
import { ErrorBox } from '../ui/errors.jsx';
import { readRows, tell } from '../verbs.js';

const FROM = {
	id: 'from',
	title: 'turn.from',
	width: '16rem',
	value: r => lockedAt(r) ?? '',
	cell: r => (r.locked && r.file ? <Locked where={lockedAt(r)} /> : t('source.store')),
};

// An object of the default realm goes by its name alone.
const placeOf = (kind, main, row, name) => (!row.realm || row.realm === main ? [`turn.${kind}`, name] : [`turn.realms.${kind}`, `${row.realm}/${name}`]);

async function revisionOf(service, [kind, key]) {
	return (await objectsOf(service, kind)).find(o => o.key === key)?.revision ?? 0;
}

// What both tables share: rows of the verb, a form that is open or not, and the names of the realms.
function usePeople(service, what) {
	const list = useVerb(service, `turn.${what}.list`, { topics: ['config.changed'], poll: true, rows: true });
	const status = useVerb(service, 'turn.status');
	const [form, open] = useState(null);
	const realms = status.data?.realms.filter(r => !r.removed).map(r => r.name) ?? [];
	return { list, form, open, realms };
}

const realmField = realms => ({ path: 'realm', label: 'turn.realm', type: 'enum', choices: realms, default: realms[0], fixed: true, show: () => realms.length > 1, kept: true });

function People({ people, what, service, columns, actions, fields, title, tools }) {
	const { list, form, open, realms } = people;
	const [main] = realms;
	const id = fields[0].path;
	if (!list.data) return list.error ? <ErrorBox error={list.error} retry={list.load} /> : <Loading />;
	const admin = { role: 'administrator', can: r => r.from === 'store' && !r.locked };
	const whose = form?.row && { [id]: form.row[id], realm: form.row.realm }; // the store's body has the password or secret alone
	return (
		<>
			{list.error && <ErrorBox error={list.error} retry={list.load} />}
			<RowTable
				label={title}
				help={`turn/${what}s`}
				rows={list.data}
				rowKey={r => `${r.realm}/${r[id]}`}
				columns={[...columns, { id: 'realm', title: 'turn.realm' }, FROM]}
				changed={list.load}
				tools={
					<>
						{tools}
						{may('administrator') && (
							<button type="button" class="main" onClick={() => open({ row: null })}>
								{t(`turn.${what}.add`)}
							</button>
						)}
					</>
				}
				actions={[
					{
						...admin,
						id: 'change',
						title: `turn.${what}.change`,
						single: true,
						open: async row => open({ row, revision: await revisionOf(service, placeOf(what, main, row, row[id])) }),
					},
					{
						...admin,
						id: 'delete',
						title: 'turn.delete',
						danger: true,
						del: true,
						ask: `turn.${what}.ask`,
						text: `turn.${what}.text`,
						done: `turn.${what}.gone`,
						...actions(main),
					},
				]}
			/>
			{form && (
				<ObjectForm
					title={t(`turn.${what}.${form.row ? 'change' : 'add'}`)}
					help={`turn/${what}s`}
					fields={[...fields, realmField(realms)]}
					value={whose}
					shape={body => ({ ...body, ...whose })}
					revision={form.revision ?? 0}
					close={() => open(null)}
					save={async (body, revision) => {
						const { [id]: name, realm, ...rest } = body;
						await putObject(service, ...placeOf(what, main, { realm }, name), rest, revision);
						list.load();
					}}
				/>
			)}
		</>
	);
}

const USER = [
	{ path: 'name', label: 'user', required: true, fixed: true },
	{ path: 'password', label: 'password', type: 'password', required: true },
];

export function Users({ service }) {
	const people = usePeople(service, 'user');
	const sessions = useVerb(service, 'turn.sessions', { args: { limit: 1000 }, topics: ['turn.sessions'], rows: true });
	// Once for all: a table of many users asks for each of them, and a sort again and again.
	const open = useMemo(() => groupBy(sessions.data ?? [], s => `${s.realm}/${s.user}`), [sessions.data]);
	const of = u => open.get(`${u.realm}/${u.name}`) ?? [];
	const remove = main => ({
		prepare: () => readRows(service, 'turn.sessions', { limit: 1000 }),
		name: (u, now = sessions.data ?? []) => {
			const own = now.filter(s => s.user === u.name && s.realm === u.realm);
			return [`${u.name}: ${t('turn.user.open', { n: own.length })}`, ...own.map(s => s.client)].join(', ');
		},
		run: async u => {
			await deleteObject(service, ...placeOf('user', main, u, u.name));
			const now = await readRows(service, 'turn.sessions', { limit: 1000, realm: u.realm }); // the question may have stood for long
			const ids = now.filter(s => s.user === u.name).map(s => s.id);
			if (ids.length) await tell(service, 'turn.kill', { ids });
		},
	});
	return (
		<People
			people={people}
			what="user"
			service={service}
			title="turn.users"
			fields={USER}
			columns={[
				{ id: 'name', title: 'user' },
				{ id: 'sessions', title: 'turn.sessions', kind: 'number', value: u => of(u).length },
			]}
			actions={remove}
		/>
	);
}

// 192 random bits.
const random = () => btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(24))));

export function Secrets({ service }) {
	const people = usePeople(service, 'secret');
	const [mint, minting] = useState(null);
	const secret = [
		{ path: 'id', label: 'turn.id', required: true, fixed: true },
		{ path: 'secret', label: 'turn.secret', hint: 'turn.secret.hint', required: true, exact: true, default: random() },
	];
	return (
		<>
			<People
				people={people}
				what="secret"
				service={service}
				title="turn.secrets"
				fields={secret}
				columns={[{ id: 'id', title: 'turn.id' }]}
				tools={
					people.list.data?.length > 0 && (
						<button type="button" onClick={() => minting({})}>
							{t('turn.mint')}
						</button>
					)
				}
				actions={main => ({ name: s => s.id, run: s => deleteObject(service, ...placeOf('secret', main, s, s.id)) })}
			/>
			{mint && !mint.made && <Mint service={service} people={people} close={() => minting(null)} made={made => minting({ made })} />}
			{mint?.made && <Minted made={mint.made} close={() => minting(null)} />}
		</>
	);
}

function Mint({ service, people, close, made }) {
	const rows = people.list.data;
	const fields = [
		{ path: 'secret', label: 'turn.secret', type: 'enum', choices: [...new Set(rows.map(r => r.id))], default: rows[0].id, required: true },
		{ path: 'name', label: 'user', required: true },
		{ path: 'hours', label: 'turn.mint.for', type: 'count', unit: t('unit.h'), min: 1, max: 8760, default: '24', required: true },
	];
	return (
		<ObjectForm
			title={t('turn.mint')}
			help="turn/secrets"
			action={t('turn.mint')}
			fields={fields}
			close={close}
			done={() => {}}
			save={async ({ secret, name, hours }) => {
				const { realm } = rows.find(r => r.id === secret);
				made(await tell(service, 'turn.credentials', { secret, name, ttl: Number(hours) * 3600, realm }));
			}}
		/>
	);
}

function Minted({ made, close }) {
	return (
		<Dialog
			title={t('turn.mint')}
			help="turn/secrets"
			close={close}
			actions={
				<button type="button" onClick={close}>
					{t('close')}
				</button>
			}>
			<dl class="pairs">
				<dt>{t('user')}</dt>
				<dd>
					<code>{made.username}</code>
				</dd>
				<dt>{t('password')}</dt>
				<dd>
					<code>{made.password}</code>
				</dd>
				<dt>{t('turn.until')}</dt>
				<dd>{dateTime(made.expires * 1000)}</dd>
			</dl>
		</Dialog>
	);
}
