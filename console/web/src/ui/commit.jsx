// SPDX-License-Identifier: Apache-2.0
//
// The way of a change: begin, each value with the revision it was seen at, validate, differences, commit. A commit is
// taken back by the service unless it is confirmed within a minute, so that a change which cuts this page off undoes
// itself. A value that somebody else changed meanwhile is a conflict, and both versions are shown.
import { useEffect, useState } from 'preact/hooks';
import { may } from '../api.js';
import { abortChange, commitChange, confirmChange, prepareChange, undoChange } from '../config.js';
import { t } from '../i18n.js';
import { inWords, saidReady } from '../said.js';
import { Conflict } from './conflict.jsx';
import { Dialog } from './dialog.jsx';
import { sayError } from './errors.jsx';
import { PlainTable } from './plain_table.jsx';
import { toast } from './toast.jsx';
import { MASK, textOf } from './value.js';

const CONFIRM_MS = 60_000;

export function Commit({ service, edits, setEdits, close, refused, done, failed }) {
	const [ready, setReady] = useState(null);
	const [conflict, setConflict] = useState(null);
	const [n, again] = useState(0);

	async function onError(e) {
		if (e.theirs && edits[e.key]) return setConflict(e);
		let fields = e.fields?.filter(f => f.path) ?? [];
		if (!fields.length && e.path) fields = [{ path: e.path, text: e.message }];
		if (!fields.length) return failed(e);
		// of an item of a list ("turn.peers.deny[0]") the reason stands beside the list
		const keyOf = path => Object.keys(edits).find(k => path.startsWith(`${k}[`) || path.startsWith(`${k}.`)) ?? path;
		refused(Object.fromEntries(fields.map(f => [keyOf(f.path), f.text])));
		// another key's, which the page may not show
		await saidReady();
		const others = fields.filter(f => !edits[keyOf(f.path)]).map(f => `${f.path}: ${inWords(f.text)}`);
		toast('failed', t('refused', { n: fields.length }), others.join('; '));
	}
	useEffect(() => {
		let gone = false;
		setReady(null);
		prepareChange(service, edits).then(
			made => (gone ? abortChange(service, made.transaction) : setReady(made)),
			e => gone || onError(e),
		);
		return () => {
			gone = true;
		};
	}, [n]);

	async function commit() {
		try {
			await commitChange(service, ready.transaction, { confirm_within_ms: CONFIRM_MS });
			done();
		} catch (e) {
			onError(e);
		}
	}
	const leave = () => {
		if (ready) abortChange(service, ready.transaction);
		close();
	};
	if (conflict)
		return (
			<Both
				e={conflict}
				edits={edits}
				setEdits={setEdits}
				again={() => {
					setConflict(null);
					again(n + 1);
				}}
				close={close}
			/>
		);
	return (
		<Dialog
			title={t('review.title', { service })}
			close={leave}
			wide
			help="changes"
			actions={
				<>
					<button type="button" onClick={leave}>
						{t('cancel')}
					</button>
					<button type="button" class="main" disabled={!ready} onClick={commit}>
						{t('apply')}
					</button>
				</>
			}>
			{!ready && <p role="status">{t('checking')}</p>}
			{ready && (
				<div class="scroll" tabIndex={0} role="region" aria-label={t('review')}>
					<PlainTable heads={[t('conflict.value'), t('was'), t('becomes')]}>
						{ready.rows.map(r => (
							<tr key={r.key}>
								<th scope="row">
									<code>{r.key}</code>
									{r.restart && <p class="muted">{t('restart_needed')}</p>}
								</th>
								<td>{r.was ?? '–'}</td>
								<td>{r.is ?? '–'}</td>
							</tr>
						))}
					</PlainTable>
					{!ready.rows.length && <p>{t('review.nothing')}</p>}
				</div>
			)}
			<p class="muted">{t('review.confirm')}</p>
		</Dialog>
	);
}

function Both({ e, edits, setEdits, again, close }) {
	const edit = edits[e.key];
	const theirs = e.theirs ?? {};
	const inside = body => e.key.split('.').reduce((v, name) => v?.[name], body); // the store has it as the file would
	const shown = body => (body ? (textOf(edit.row, inside(body)) ?? MASK) : t('source.default'));
	return (
		<Conflict
			mine={{ [e.key]: edit.text }}
			theirs={{ [e.key]: shown(theirs.body) }}
			who={theirs.who}
			close={close}
			keepMine={() => {
				edit.revision = theirs.revision ?? 0;
				again();
			}}
			takeTheirs={() => {
				const next = { ...edits };
				delete next[e.key];
				setEdits(next);
				close();
			}}
		/>
	);
}

function useCountdown(until) {
	const [now, set] = useState(Date.now());
	useEffect(() => {
		const timer = setInterval(() => set(Date.now()), 500);
		return () => clearInterval(timer);
	}, []);
	return Math.max(0, Math.ceil((until - now) / 1000));
}

// A commit that waits for its confirmation, of whomever.
function Waiting({ service, pending, done }) {
	const left = useCountdown(pending.until);
	const run = change => change.catch(sayError).then(done);
	return (
		<Dialog
			title={t('confirm.title')}
			help="changes/confirm"
			actions={
				<>
					<button type="button" onClick={() => run(undoChange(service, pending.change))}>
						{t('confirm.back')}
					</button>
					<button type="button" class="main" autofocus onClick={() => run(confirmChange(service))}>
						{t('confirm.keep')}
					</button>
				</>
			}>
			<p>{t('confirm.text', { who: pending.who })}</p>
			<p class="big" role="timer">
				{t('seconds', { n: left })}
			</p>
		</Dialog>
	);
}

// Its time is the service's: a browser whose clock is ahead must not think that it is over.
export const Pending = ({ pending, ...rest }) => pending && may('administrator') && <Waiting pending={pending} {...rest} />;
