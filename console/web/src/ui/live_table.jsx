// SPDX-License-Identifier: Apache-2.0
//
// A table of what a service has now. What can be done with its rows is data: { id, title, role, danger, del, single,
// ask, text, done, prepare(rows), name(row, prepared), can(row), and one of run(row), many(rows), open(row) }. An action with
// `ask` asks once for all that are chosen, and names each of them; `del` is what the Del key does.
import { useState } from 'preact/hooks';
import { may } from '../api.js';
import { t } from '../i18n.js';
import { inWords, saidReady } from '../said.js';
import { columnsOf, show } from './columns.jsx';
import { confirm, Dialog } from './dialog.jsx';
import { ErrorBox, messageOf, sayError } from './errors.jsx';
import { Loading } from './loading.jsx';
import { Table } from './table.jsx';
import { toast } from './toast.jsx';
import { useVerb } from './use_verb.js';

// What says nothing of a row says no.
const can = (action, row) => !action.can || Boolean(action.can(row));

async function perform(action, rows) {
	if (action.many) {
		const n = await action.many(rows); // how many, if it says so: some may have gone meanwhile
		return typeof n === 'number' ? n : rows.length;
	}
	let failed = null;
	let done = 0;
	for (const row of rows) {
		try {
			await action.run(row);
			done++;
		} catch (e) {
			if (rows.length === 1) throw e;
			failed ??= e;
		}
	}
	if (failed) await saidReady();
	if (failed) toast('failed', t('table.failed', { n: rows.length - done, all: rows.length, text: messageOf(failed) }), inWords(failed.hint));
	return done;
}

// → true if something was done.
async function act(action, chosen, help) {
	const rows = chosen.filter(r => can(action, r));
	if (!rows.length) return false;
	const n = rows.length;
	if (action.ask) {
		const known = await action.prepare?.(rows).catch(() => undefined);
		const sure = await confirm({
			title: t(action.ask, { n }),
			text: action.text ? t(action.text, { n }) : '',
			action: t(action.title),
			danger: action.danger,
			items: rows.map(r => action.name(r, known)),
			help,
		});
		if (!sure) return false;
	}
	try {
		if (action.open) {
			await action.open(rows[0]);
			return false;
		}
		const done = await perform(action, rows);
		if (done && action.done) toast('ok', t(action.done, { n: done }));
	} catch (e) {
		sayError(e);
	}
	return true;
}

function Buttons({ actions, rows, run }) {
	return actions
		.filter(a => (!a.single || rows.length === 1) && rows.some(r => can(a, r)))
		.map(a => (
			<button key={a.id} type="button" class={a.danger ? 'danger' : ''} onClick={() => run(a, rows)}>
				{t(a.title)}
			</button>
		));
}

function Details({ row, gone, detail, columns, actions, run, close, help }) {
	const pairs = [...columns.map(c => [t(c.title), c.cell ? c.cell(row) : show(c.kind, c.value ? c.value(row) : row[c.id])]), ...(detail.pairs?.(row) ?? [])];
	return (
		<Dialog
			title={detail.title(row)}
			close={close}
			wide
			help={help}
			actions={
				<>
					{!gone && <Buttons actions={actions} rows={[row]} run={run} />}
					<button type="button" onClick={close}>
						{t('close')}
					</button>
				</>
			}>
			{gone && <p role="status">{t('table.gone')}</p>}
			<dl class="pairs">
				{pairs.map(([label, value]) => (
					<>
						<dt>{label}</dt>
						<dd>{value === '' || value === undefined || value === null ? '–' : value}</dd>
					</>
				))}
			</dl>
			{detail.body?.(row)}
		</Dialog>
	);
}

// label: a key of the words, too.
export function RowTable({ label, rows, rowKey, columns, actions = [], detail, tools, sortBy, help, changed }) {
	const [open, show] = useState(null);
	const allowed = actions.filter(a => may(a.role ?? 'operator'));
	const run = async (action, chosen, clear) => {
		if (await act(action, chosen, help)) {
			clear?.();
			changed?.();
		}
	};
	const dels = allowed.filter(a => a.del); // of rows of several kinds each has its own
	const del = chosen => dels.find(a => chosen.some(r => can(a, r))) ?? dels[0];
	const shown = open && { row: rows.find(r => rowKey(r) === rowKey(open)) ?? open, gone: !rows.some(r => rowKey(r) === rowKey(open)) };
	return (
		<div data-help={help}>
			<Table
				label={t(label)}
				rows={rows}
				rowKey={rowKey}
				columns={columnsOf(columns)}
				sortBy={sortBy}
				tools={tools}
				details={detail && show}
				remove={dels.length > 0 && (chosen => run(del(chosen), chosen))}
				bulk={(chosen, clear) => (
					<>
						{detail && chosen.length === 1 && (
							<button type="button" onClick={() => show(chosen[0])}>
								{t('details')}
							</button>
						)}
						<Buttons actions={allowed} rows={chosen} run={(a, list) => run(a, list, clear)} />
					</>
				)}
			/>
			{shown && (
				<Details {...shown} detail={detail} columns={columns} actions={allowed} run={run} close={() => show(null)} help={help} />
			)}
		</div>
	);
}

export function LiveTable({ service, verb, args, topics, poll = true, pick = true, ...rest }) {
	const { data, error, load } = useVerb(service, verb, { args, topics, poll, rows: pick });
	return (
		<>
			{error && <ErrorBox error={error} retry={load} />}
			{data ? <RowTable {...rest} rows={data} changed={load} /> : !error && <Loading />}
		</>
	);
}
