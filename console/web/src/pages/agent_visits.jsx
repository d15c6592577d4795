// SPDX-License-Identifier: Apache-2.0
//
// Visits: ports here that lead into the networks of other agents, those of the file, of the store (made, changed, interrupted and
// deleted here) and of stile connect, which can be ended. And what is shared from here.
import { useState } from 'preact/hooks';
import { ApiError, get, may, serviceAt } from '../api.js';
import { keysOf, lockedAt } from '../config.js';
import { t } from '../i18n.js';
import { deleteObject, objectsOf, putObject } from '../objects.js';
import { upload } from '../transfer.js';
import { Copy } from '../ui/copy.jsx';
import { ErrorBox } from '../ui/errors.jsx';
import { Field } from '../ui/field.jsx';
import { RowTable } from '../ui/live_table.jsx';
import { ObjectForm } from '../ui/object_form.jsx';
import { useLive } from '../ui/use_verb.js';
import { read, readRows, tell } from '../verbs.js';
import { AddRow, Code, cols, ends, fieldsOf, joined, LISTEN, parted, RowForm } from './tunnel_parts.jsx';

const NAME_MAX = 63;

async function allVisits(service) {
	const [{ visits }, stored, keys] = await Promise.all([
		read(service, 'agent.peers'),
		may('operator') ? objectsOf(service, 'agent.visit') : [],
		may('operator') ? keysOf(service, 'agent.visits') : [],
	]);
	const where = lockedAt(keys[0]);
	return visits.map(r => ({ ...r, where: r.origin === 'file' ? where : undefined, object: stored.find(o => r.origin === 'store' && o.key === r.name) }));
}

const AT = { at_address: { ...LISTEN, default: '127.0.0.1' }, at_port: { label: 'tunnel.col.port' } };

const FIELDS = () =>
	fieldsOf('name agent:must target:place at_address:any at_port:free protocol head_start connections:count identity enabled:yes', {
		...AT,
		name: { fixed: true },
		protocol: { type: 'enum', choices: ['tcp', 'udp'], default: 'tcp' },
		head_start: { default: '200ms', hint: 'agent.head_start.hint' },
		connections: { label: 'tunnel.col.limits.connections', default: 1000 },
		identity: { hint: 'agent.identity.hint' },
	});

export function Visits({ service }) {
	const { data, error, load } = useLive(`${service} visits`, () => allVisits(service), ['agent.peers', 'config.changed'].map(x => `${service}:${x}`), true);
	const [form, open] = useState(null);
	const put = async (body, revision) => {
		const b = joined(body);
		const key = b.name || `${b.agent} ${b.target}${b.protocol === 'udp' ? '/udp' : ''}`;
		await putObject(service, 'agent.visit', key, { ...b, name: key.length > NAME_MAX ? undefined : key }, revision);
		load();
	};
	const own = r => r.origin === 'store';
	const name = r => r.name + ends(r.connections);
	const act = verb => r => tell(service, verb, { name: r.name });
	return (
		<>
			{error && <ErrorBox error={error} retry={load} />}
			<RowTable
				label="agent.visits"
				help="agent/visits"
				rows={data ?? []}
				changed={load}
				rowKey={r => `${r.origin} ${r.number || r.name}`}
				columns={cols('name agent target:wide listen state connections protocol opened:number refused:number origin', {
					name: { width: 'minmax(14rem, 1fr)' },
					origin: { value: r => t(`tunnel.origin.${r.origin}`) },
				})}
				actions={[
					{ id: 'start', title: 'tunnel.start', can: r => own(r) && !r.enabled, run: act('agent.visit.start') },
					{ id: 'stop', title: 'tunnel.stop', ask: 'tunnel.stop.ask', name, can: r => own(r) && r.enabled, run: act('agent.visit.stop') },
					{ id: 'edit', title: 'tunnel.edit', role: 'administrator', single: true, can: r => r.object || r.where, open },
					{ id: 'delete', title: 'tunnel.delete', role: 'administrator', del: true, danger: true, ask: 'agent.visit.delete.ask', name, can: own, run: r => deleteObject(service, 'agent.visit', r.name, r.object?.revision) },
					{ id: 'end', title: 'agent.end', del: true, danger: true, ask: 'agent.visit.end.ask', text: 'agent.visit.end.text', name, can: r => r.origin === 'connect', run: r => tell(service, 'agent.visit.end', { number: r.number }) },
				]}
				detail={{ title: r => r.name }}
			/>
			{may('administrator') && <AddRow title="tunnel.add" fields={fieldsOf('agent:must target:place at_address:any at_port:free', AT)} save={b => put(b, 0)} />}
			{form && <RowForm form={form} help="agent/visits" fields={FIELDS()} shape={parted} close={() => open(null)} save={put} />}
		</>
	);
}

// ---- shares ----

const HOURS = { hours: { label: 'agent.ends_in', unit: 'h', max: 8760, hint: 'agent.ends_in.hint' } };
const inHours = h => (h ? Math.ceil(Date.now() / 1000 + h * 3600) : 0);

// Those that were made at a console have their codes, which operators are shown.
async function allShares(service) {
	const [rows, made] = await Promise.all([readRows(service, 'agent.shares'), may('operator') ? get(`${serviceAt(service)}/shares`) : { rows: [] }]);
	return rows.map(r => ({ ...made.rows.find(m => m.share === r.share), ...r }));
}

const makeShare = (service, words, file) => upload(`${serviceAt(service)}/shares?${new URLSearchParams(Object.entries(words).filter(([, v]) => v))}`, file);

const ShareCode = ({ share: { name, code, link }, close }) => {
	const command = `stile get ${code}`;
	return <Code title={name} text={t('agent.share.code.text')} lines={link ? [command, link] : [command]} qr={link || code} close={close} help="agent/shares" actions={<Copy text={link || command} />} />;
};

// what: "file" or "target".
function ShareForm({ service, what, close, done }) {
	const [file, choose] = useState(null);
	return (
		<ObjectForm
			title={t(`agent.share.${what}`)}
			action={t('agent.share.make')}
			help="agent/shares"
			fields={fieldsOf(what === 'file' ? 'hours:count' : 'target:place hours:count', { ...HOURS, target: { default: '127.0.0.1:' } })}
			close={close}
			done={() => {}}
			save={async b => {
				if (what === 'file' && !file) throw new ApiError(0, { code: 'required', text: t('required') });
				done(await makeShare(service, { ...b, name: file?.name }, file ?? undefined));
			}}>
			{what === 'file' && <Field label={t('agent.share.choose')} help={t('agent.share.choose.hint')} type="file" name="file" onChange={e => choose(e.currentTarget.files[0] ?? null)} onInput={() => {}} />}
		</ObjectForm>
	);
}

export function Shares({ service }) {
	const { data, error, load } = useLive(`${service} shares`, () => allShares(service), [], true);
	const [form, open] = useState(null);
	const title = r => r.name || r.share;
	const shut = () => open(null);
	return (
		<>
			{error && <ErrorBox error={error} retry={load} />}
			<RowTable
				label="agent.shares"
				help="agent/shares"
				rows={data ?? []}
				changed={load}
				rowKey={r => r.share}
				columns={cols('name share kind state guests:number expires:unix host port:number url', {
					name: { width: 'minmax(14rem, 1fr)' },
					kind: { value: r => t(`agent.share.${r.kind}`) },
					port: { cell: r => String(r.port) },
				})}
				actions={[
					{ id: 'code', title: 'agent.share.code', single: true, can: r => r.code, open: share => open({ share, code: true }) },
					{ id: 'change', title: 'agent.share.change', single: true, open: share => open({ share }) },
					{ id: 'end', title: 'agent.end', del: true, danger: true, ask: 'agent.share.end.ask', text: 'agent.share.end.text', name: r => `${title(r)} – ${t('agent.guests', { n: r.guests })}`, run: r => tell(service, 'agent.share.end', { share: r.share }) },
				]}
				detail={{ title }}
				tools={
					may('operator') &&
					['file', 'target'].map(what => (
						<button key={what} type="button" onClick={() => open({ what })}>
							{t(`agent.share.${what}`)}
						</button>
					))
				}
			/>
			{form?.what && (
				<ShareForm
					service={service}
					what={form.what}
					close={shut}
					done={share => {
						load();
						open({ share, code: true });
					}}
				/>
			)}
			{form?.code && <ShareCode share={form.share} close={shut} />}
			{form?.share && !form.code && (
				<ObjectForm
					title={title(form.share)}
					help="agent/shares"
					fields={fieldsOf('hours:count', HOURS)}
					close={shut}
					save={({ hours }) => tell(service, 'agent.share.change', { share: form.share.share, expires: inHours(hours) }).then(load)}
				/>
			)}
		</>
	);
}
