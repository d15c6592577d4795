// SPDX-License-Identifier: Apache-2.0
//
// Backup and restore in one file of all services. A restore is looked at first: what the file holds, which files of this
// machine differ; then it stops the services, writes, and starts them again.
import { useState } from 'preact/hooks';
import { post, request } from '../api.js';
import { dateTime, t } from '../i18n.js';
import { download, upload } from '../transfer.js';
import { confirm } from '../ui/dialog.jsx';
import { ErrorBox, sayError } from '../ui/errors.jsx';
import { Field } from '../ui/field.jsx';
import { ObjectForm } from '../ui/object_form.jsx';
import { PlainTable } from '../ui/plain_table.jsx';
import { toast } from '../ui/toast.jsx';

const PHRASE_MIN = 8;
const PHRASE = { path: 'passphrase', label: 'settings.passphrase', type: 'password', required: true };
const NEW_PHRASE = [
	{
		...PHRASE,
		hint: 'settings.passphrase.help',
		judge: (f, text) => (text.length < PHRASE_MIN ? t('settings.password.short', { n: PHRASE_MIN }) : undefined),
	},
	{ ...PHRASE, path: 'again', label: 'settings.passphrase.again', judge: (f, text, all) => (text === all.passphrase ? undefined : t('settings.passphrase.differs')) },
];
const FILES = { path: 'keep_files', label: 'settings.restore.files', choices: { false: 'settings.restore.all', true: 'settings.restore.store' }, default: 'false' };

const contents = s => (s.left_out ? t('settings.restore.left_out') : Object.entries(s.objects).map(([kind, n]) => `${kind}: ${n}`).join(', ') || '–');

function Preview({ plan, about, run, cancel }) {
	return (
		<div class="section">
			<p>
				{t('settings.restore.of', { host: about.host, at: dateTime(about.made_at), version: about.version })}
			</p>
			<PlainTable heads={[t('service'), t('settings.restore.holds')]}>
				{plan.services.map(s => (
					<tr key={s.service}>
						<th scope="row">{s.service}</th>
						<td>{contents(s)}</td>
					</tr>
				))}
			</PlainTable>
			{plan.files.length > 0 && (
				<PlainTable heads={[t('settings.restore.file'), t('settings.restore.state')]}>
					{plan.files.map(f => (
						<tr key={f.path} class={f.state === 'differs' ? 'differs' : ''}>
							<th scope="row">
								<code>{f.path}</code>
							</th>
							<td>
								{t(`settings.file.${f.state}`)}
								{!f.writable && f.state !== 'same' && <p class="error">{t('settings.file.not_writable')}</p>}
							</td>
						</tr>
					))}
				</PlainTable>
			)}
			<div class="bar actions">
				<button type="button" onClick={cancel}>
					{t('cancel')}
				</button>
				<button type="button" class="danger" onClick={run}>
					{t('settings.restore')}
				</button>
			</div>
		</div>
	);
}

function useRestore() {
	const [state, set] = useState({}); // { id, about } of an upload; then { plan, asked }; error of either
	async function take(file) {
		set({ busy: true });
		try {
			set(await upload('/restores', file));
		} catch (error) {
			set({ error });
		}
	}
	async function look(body) {
		const asked = { passphrase: body.passphrase, keep_files: body.keep_files === 'true' };
		const plan = await post(`/restores/${state.id}`, { ...asked, dry_run: true });
		set({ ...state, plan, asked });
	}
	function forget() {
		if (state.id) request('DELETE', `/restores/${state.id}`).catch(() => {}); // it goes by itself, too
		set({});
	}
	async function run() {
		const items = state.plan.services.filter(s => !s.left_out).map(s => s.service);
		const sure = await confirm({ title: t('settings.restore.ask'), text: t('settings.restore.text'), action: t('settings.restore'), danger: true, items, help: 'settings/restore' });
		if (!sure) return;
		try {
			await post(`/restores/${state.id}`, { ...state.asked, dry_run: false });
			toast('ok', t('settings.restore.done'));
			forget();
		} catch (e) {
			sayError(e);
		}
	}
	return { ...state, take, look, forget, run };
}

function Restore() {
	const r = useRestore();
	return (
		<section class="card section" data-help="settings/restore">
			<h2>{t('settings.restore')}</h2>
			<p class="muted">{t('settings.restore.help')}</p>
			{r.error && <ErrorBox error={r.error} />}
			{!r.plan && (
				<Field label={t('settings.restore.choose')} type="file" name="backup" accept=".backup" disabled={r.busy} onChange={e => e.currentTarget.files[0] && r.take(e.currentTarget.files[0])} onInput={() => {}} />
			)}
			{r.id && !r.plan && <ObjectForm title={t('settings.restore')} fields={[PHRASE, FILES]} close={r.forget} done={() => {}} save={r.look} action={t('settings.restore.look')} help="settings/restore" />}
			{r.plan && <Preview plan={r.plan} about={r.about} run={r.run} cancel={r.forget} />}
		</section>
	);
}

export function Backup() {
	const [asking, ask] = useState(false);
	return (
		<>
			<section class="card" data-help="settings/backup">
				<h2>{t('settings.backup')}</h2>
				<p class="muted">{t('settings.backup.help')}</p>
				<button type="button" onClick={() => ask(true)}>
					{t('settings.backup.make')}
				</button>
				{asking && (
					<ObjectForm
						title={t('settings.backup.make')}
						fields={NEW_PHRASE}
						close={() => ask(false)}
						help="settings/backup"
						action={t('settings.backup.make')}
						save={async ({ passphrase }) => {
							toast('ok', t('settings.backup.done', { name: await download('/backup', { passphrase }) }));
						}}
					/>
				)}
			</section>
			<Restore />
		</>
	);
}
