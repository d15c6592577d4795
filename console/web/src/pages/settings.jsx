// SPDX-License-Identifier: Apache-2.0
//
// What is the console's own: one's account (language, password, one-time codes), the accounts of others with their roles,
// API tokens, who is logged in, backup and restore; the audit log is a page of its own.
import { useState } from 'preact/hooks';
import { get, may, post, request, session } from '../api.js';
import { whoAmI } from '../app.jsx';
import { LANGUAGES, language, t } from '../i18n.js';
import { chooseLanguage } from '../ui/choices.jsx';
import { Copy } from '../ui/copy.jsx';
import { Dialog } from '../ui/dialog.jsx';
import { ErrorBox, sayError } from '../ui/errors.jsx';
import { Field } from '../ui/field.jsx';
import { Loading } from '../ui/loading.jsx';
import { RowTable } from '../ui/live_table.jsx';
import { ObjectForm } from '../ui/object_form.jsx';
import { Tabs } from '../ui/tabs.jsx';
import { toast } from '../ui/toast.jsx';
import { useLive } from '../ui/use_verb.js';
import { Backup } from './settings_backup.jsx';

const PASSWORD_MIN = 10;
const ROLES = { viewer: 'role.viewer', operator: 'role.operator', administrator: 'role.administrator' };
const DAY_S = 86_400;

const password = { path: 'password', label: 'password', type: 'password', required: true };
const longEnough = { ...password, judge: (f, text) => (text.length < PASSWORD_MIN ? t('settings.password.short', { n: PASSWORD_MIN }) : undefined) };
const OLD = { path: 'old_password', label: 'settings.password.old', type: 'password', required: true, autocomplete: 'current-password' };
const AGAIN = { ...password, path: 'again', label: 'settings.password.again', judge: (f, text, all) => (text === all.password ? undefined : t('settings.password.differs')) };
const CODE = { path: 'code', label: 'login.code', hint: 'login.code.help', required: true };

function TotpOn({ made, close }) {
	return (
		<ObjectForm
			title={t('settings.totp')}
			fields={[CODE]}
			close={close}
			help="settings/totp"
			action={t('settings.totp.on')}
			save={async ({ code }) => {
				await post('/me/totp/confirm', { code });
				await whoAmI();
				toast('ok', t('settings.totp.is_on'));
			}}>
			<p>{t('settings.totp.scan')}</p>
			<img class="qr" src={`data:image/svg+xml,${encodeURIComponent(made.qr)}`} alt={t('settings.totp.qr')} />
			<p>
				{t('settings.totp.secret')} <code>{made.secret.match(/.{1,4}/g).join(' ')}</code>
			</p>
		</ObjectForm>
	);
}

function Account() {
	const [open, show] = useState(null);
	const me = session.value;
	const close = () => show(null);
	const begin = () => post('/me/totp').then(made => show({ made }), sayError);
	return (
		<section class="card" data-help="settings/account">
			<h2>{t('account', { name: me.user })}</h2>
			<p class="muted">{t(`role.${me.role}`)}</p>
			<Field
				label={t('language')}
				name="language"
				value={language.value}
				onInput={code => chooseLanguage(code).catch(sayError)}
				options={Object.entries(LANGUAGES).map(([value, name]) => ({ value, name }))}
			/>
			<div class="bar">
				<button type="button" onClick={() => show('password')}>
					{t('settings.password.change')}
				</button>
				<button type="button" onClick={me.totp ? () => show('off') : begin}>
					{t(me.totp ? 'settings.totp.off' : 'settings.totp.on')}
				</button>
				<span class="muted">{t(me.totp ? 'settings.totp.is_on' : 'settings.totp.is_off')}</span>
			</div>
			{open === 'password' && (
				<ObjectForm
					title={t('settings.password.change')}
					fields={[OLD, longEnough, AGAIN]}
					close={close}
					help="settings/account"
					save={async body => {
						await request('PUT', '/me', { password: body.password, old_password: body.old_password });
						toast('ok', t('settings.password.done'));
					}}
				/>
			)}
			{open === 'off' && (
				<ObjectForm
					title={t('settings.totp.off')}
					fields={[password]}
					close={close}
					help="settings/totp"
					action={t('settings.totp.off')}
					save={async body => {
						await post('/me/totp/off', { password: body.password });
						await whoAmI();
						toast('ok', t('settings.totp.is_off'));
					}}
				/>
			)}
			{open?.made && <TotpOn made={open.made} close={close} />}
		</section>
	);
}

// A list of the API, with a table over it: what there is of /users, /tokens or /sessions.
function Listed({ of, children }) {
	const { data, error, load } = useLive(of, async () => (await get(`/${of}`)).rows, [], true);
	return (
		<>
			{error && <ErrorBox error={error} retry={load} />}
			{data ? children(data, load) : !error && <Loading />}
		</>
	);
}

const NAME = { path: 'name', label: 'settings.name', required: true };
const ROLE = { path: 'role', label: 'settings.role', hint: 'settings.role.help', choices: ROLES, default: 'viewer' };
const USER = [NAME, ROLE, longEnough];
const CHANGED_USER = [
	{ ...NAME, fixed: true },
	ROLE,
	{ ...longEnough, required: false, label: 'settings.password.new', hint: 'settings.password.keep' },
	{ path: 'totp_off', label: 'settings.totp', choices: { false: 'settings.totp.leave', true: 'settings.totp.off' }, default: 'false' },
];
const role = row => t(`role.${row.role}`);

const USERS = [
	{ id: 'name', title: 'settings.name' },
	{ id: 'role', title: 'settings.role', value: role },
	{ id: 'totp', title: 'settings.totp', kind: 'on', width: '12rem' },
	{ id: 'language', title: 'language', value: row => LANGUAGES[row.language] ?? '' },
	{ id: 'created_at', title: 'settings.made', kind: 'time' },
];

const ofUser = row => ({ name: row.name, role: row.role, totp_off: false });

function saveUser(row, { name, role: r, password: p, totp_off }, revision) {
	if (!row) return post('/users', { name, role: r, password: p });
	const body = { role: r, totp_off: String(totp_off) === 'true' || undefined, password: p };
	return request('PUT', `/users/${encodeURIComponent(row.name)}`, body, `"${revision}"`);
}

function Users() {
	const [open, show] = useState(null);
	return (
		<Listed of="users">
			{(rows, load) => (
				<>
					<RowTable
						label="settings.users"
						rows={rows}
						rowKey={r => r.name}
						columns={USERS}
						help="settings/users"
						changed={load}
						tools={<Add title="settings.user.add" show={show} />}
						actions={[
							{ id: 'change', title: 'settings.change', single: true, role: 'administrator', open: row => show({ row }) },
							{
								id: 'delete',
								title: 'settings.delete',
								role: 'administrator',
								danger: true,
								del: true,
								ask: 'settings.user.delete',
								text: 'settings.user.delete.text',
								done: 'settings.user.deleted',
								prepare: async () => (await get('/sessions')).rows,
								name: (row, sessions) => `${row.name}: ${t('settings.sessions.end', { n: (sessions ?? []).filter(s => s.user === row.name).length })}`,
								run: row => request('DELETE', `/users/${encodeURIComponent(row.name)}`, undefined, `"${row.revision}"`),
							},
						]}
					/>
					{open && (
						<ObjectForm
							title={open.row ? t('settings.user', { name: open.row.name }) : t('settings.user.add')}
							fields={open.row ? CHANGED_USER : USER}
							value={open.row && ofUser(open.row)}
							shape={ofUser}
							revision={open.row?.revision}
							close={() => show(null)}
							help="settings/users"
							save={async (body, revision) => {
								await saveUser(open.row, body, revision);
								load();
							}}
						/>
					)}
				</>
			)}
		</Listed>
	);
}

const Add = ({ title, show }) => (
	<button type="button" class="main" onClick={() => show({})}>
		{t(title)}
	</button>
);

const SCOPES = { read: 'settings.scope.read', 'read,write': 'settings.scope.write', metrics: 'settings.scope.metrics' };
const scope = row => t(SCOPES[row.scope.join(',')] ?? 'settings.scope.write');

const TOKENS = [
	{ id: 'name', title: 'settings.name' },
	{ id: 'role', title: 'settings.role', value: role },
	{ id: 'scope', title: 'settings.scope', value: scope },
	{ id: 'user', title: 'settings.made.by' },
	{ id: 'expires_at', title: 'settings.expires', kind: 'time', value: row => row.expires_at || null },
	{ id: 'used_at', title: 'settings.used', kind: 'time', value: row => row.used_at || null },
];
const TOKEN = [
	NAME,
	{ ...ROLE, hint: undefined },
	{ path: 'scope', label: 'settings.scope', choices: SCOPES, default: 'read' },
	{ path: 'days', label: 'settings.days', hint: 'settings.days.help', unit: 'd', type: 'count', min: 1, max: 36_500, default: 90 },
];

// The secret of a new token: it is shown here, and never again.
function Secret({ made, close }) {
	return (
		<Dialog
			title={t('settings.token.made', { name: made.name })}
			close={close}
			help="settings/tokens"
			actions={
				<>
					<Copy text={made.token} />
					<button type="button" class="main" onClick={close}>
						{t('close')}
					</button>
				</>
			}>
			<p>{t('settings.token.once')}</p>
			<pre tabIndex={0}>{made.token}</pre>
		</Dialog>
	);
}

function Tokens() {
	const [open, show] = useState(null);
	return (
		<Listed of="tokens">
			{(rows, load) => (
				<>
					<RowTable
						label="settings.tokens"
						rows={rows}
						rowKey={r => r.id}
						columns={TOKENS}
						help="settings/tokens"
						changed={load}
						tools={<Add title="settings.token.add" show={show} />}
						actions={[
							{
								id: 'delete',
								title: 'settings.delete',
								role: 'administrator',
								danger: true,
								del: true,
								ask: 'settings.token.delete',
								text: 'settings.token.delete.text',
								done: 'settings.token.deleted',
								name: row => row.name,
								run: row => request('DELETE', `/tokens/${row.id}`),
							},
						]}
					/>
					{open && !open.made && (
						<ObjectForm
							title={t('settings.token.add')}
							fields={TOKEN}
							close={() => show(null)}
							help="settings/tokens"
							done={() => {}}
							save={async ({ name, role: r, scope: s, days }) => {
								show({ made: await post('/tokens', { name, role: r, scope: s.split(','), expires_in_s: days && days * DAY_S }) });
								load();
							}}
						/>
					)}
					{open?.made && <Secret made={open.made} close={() => show(null)} />}
				</>
			)}
		</Listed>
	);
}

const SESSIONS = [
	{ id: 'user', title: 'settings.name', value: row => (row.own ? t('settings.session.own', { name: row.user }) : row.user) },
	{ id: 'address', title: 'settings.address' },
	{ id: 'agent', title: 'settings.browser', width: 'minmax(14rem, 2fr)' },
	{ id: 'created_at', title: 'settings.session.since', kind: 'time' },
	{ id: 'seen_at', title: 'settings.session.seen', kind: 'time' },
];

const Sessions = () => (
	<Listed of="sessions">
		{(rows, load) => (
			<RowTable
				label="settings.sessions"
				rows={rows}
				rowKey={r => r.id}
				columns={SESSIONS}
				help="settings/sessions"
				changed={load}
				sortBy={{ id: 'seen_at', down: true }}
				detail={{ title: row => row.user }}
				actions={[
					{
						id: 'end',
						title: 'settings.session.end',
						role: 'administrator',
						danger: true,
						del: true,
						ask: 'settings.session.end.ask',
						text: 'settings.session.end.text',
						done: 'settings.session.ended',
						name: row => `${row.user}, ${row.address}`,
						can: row => !row.own,
						run: row => request('DELETE', `/sessions/${row.id}`),
					},
				]}
			/>
		)}
	</Listed>
);

const TABS = [
	{ id: 'account', title: 'settings.account', body: () => <Account /> },
	{ id: 'users', title: 'settings.users', role: 'administrator', body: () => <Users /> },
	{ id: 'tokens', title: 'settings.tokens', role: 'administrator', body: () => <Tokens /> },
	{ id: 'sessions', title: 'settings.sessions', role: 'administrator', body: () => <Sessions /> },
	{ id: 'backup', title: 'settings.backup', role: 'administrator', body: () => <Backup /> },
];

export default function Settings() {
	return (
		<>
			<div class="bar">
				<h1>{t('nav.settings')}</h1>
				<span class="grow" />
				{may('administrator') && <a href="#/audit">{t('nav.audit')}</a>}
			</div>
			<Tabs page="settings" tabs={TABS} />
		</>
	);
}
