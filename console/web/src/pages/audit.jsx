// SPDX-License-Identifier: Apache-2.0
//
// Who changed what and when, with before and after: of the console itself (logins, accounts, what was asked of services)
// and of each service's own store, whose changes can be undone here.
import { useEffect, useState } from 'preact/hooks';
import { get, may, serviceAt } from '../api.js';
import { undoChange } from '../config.js';
import { dateTime, t } from '../i18n.js';
import { services, watchServices } from '../state.js';
import { Dialog, confirm } from '../ui/dialog.jsx';
import { ErrorBox, sayError } from '../ui/errors.jsx';
import { ServiceChoice } from '../ui/service_choice.jsx';
import { Table } from '../ui/table.jsx';
import { toast } from '../ui/toast.jsx';

const PAGE = 500;
const MOST = 10_000;
const path = of => (of ? `${serviceAt(of)}/audit` : '/audit');

// All rows, newest first, page by page; each page is shown when it is there.
function useRows(of, n) {
	const [got, set] = useState({});
	const [error, setError] = useState(null);
	useEffect(() => {
		const out = new AbortController();
		async function load() {
			let all = [];
			for (let before = ''; all.length < MOST; before = `&before=${all.at(-1).audit}`) {
				const page = (await get(`${path(of)}?limit=${PAGE}${before}`, out.signal)).rows;
				all = all.concat(page);
				if (out.signal.aborted) return;
				set({ of, rows: all });
				if (!page.length) return; // a service gives fewer at a time than it is asked for
			}
		}
		setError(null);
		load().catch(e => out.signal.aborted || setError(e));
		return () => out.abort();
	}, [of, n]);
	return { rows: got.of === of ? got.rows : null, error }; // never another service's: Undo would take back a change of its own
}

const words = v => (v === null || v === undefined ? '–' : typeof v === 'object' ? JSON.stringify(v, null, 2) : String(v));

function Details({ row, of, close, undone }) {
	async function undo() {
		const sure = await confirm({ title: t('undo.title'), text: t('undo.text', { n: row.change }), action: t('undo'), help: 'changes' });
		if (!sure) return;
		try {
			await undoChange(of, row.change);
			toast('ok', t('undo.done'));
			undone();
		} catch (e) {
			sayError(e);
		}
	}
	return (
		<Dialog title={`${row.kind} ${row.key}`} close={close} wide help="audit" actions={
			<>
				{of && row.change && may('administrator') && (
					<button type="button" class="danger" onClick={undo}>
						{t('undo')}
					</button>
				)}
				<button type="button" onClick={close}>
					{t('close')}
				</button>
			</>
		}>
			<p class="muted">
				{dateTime(row.at)} · {row.who}
			</p>
			<div class="charts">
				<div>
					<h3>{t('audit.before')}</h3>
					<pre tabIndex={0}>{words(row.before)}</pre>
				</div>
				<div>
					<h3>{t('audit.after')}</h3>
					<pre tabIndex={0}>{words(row.after)}</pre>
				</div>
			</div>
		</Dialog>
	);
}

const columns = () => [
	{ id: 'at', title: t('audit.at'), width: '13rem', value: r => r.at, cell: r => dateTime(r.at), text: r => dateTime(r.at) },
	{ id: 'who', title: t('audit.who'), width: '13rem', value: r => r.who },
	{ id: 'kind', title: t('audit.kind'), width: '9rem', value: r => r.kind },
	{ id: 'key', title: t('audit.key'), width: 'minmax(14rem, 1fr)', value: r => r.key },
	{ id: 'what', title: t('audit.what'), width: '9rem', value: r => t(`audit.${!r.before ? 'made' : !r.after ? 'deleted' : 'changed'}`) },
];

export default function Audit() {
	const [of, choose] = useState('');
	const [open, show] = useState(null);
	const [n, again] = useState(0);
	const { rows, error } = useRows(of, n);
	useEffect(watchServices, []);
	const own = (services.value ?? []).filter(s => s.state === 'running' && s.service !== 'console');
	return (
		<>
			<div class="bar">
				<h1>{t('nav.audit')}</h1>
				<span class="grow" />
				<ServiceChoice label={t('charts.of')} value={of} choose={choose} none={t('service.console')} all={own} />
			</div>
			<div class="section">
				{error && <ErrorBox error={error} retry={() => again(n + 1)} />}
				{rows && (
					<Table key={of} label={t('nav.audit')} rows={rows} columns={columns()} rowKey={r => r.audit} details={show} sortBy={{ id: 'at', down: true }}
						bulk={list => list.length === 1 && <button type="button" onClick={() => show(list[0])}>{t('details')}</button>} />
				)}
			</div>
			{open && <Details row={open} of={of} close={() => show(null)} undone={() => { show(null); again(n + 1); }} />}
		</>
	);
}
