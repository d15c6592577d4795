// SPDX-License-Identifier: Apache-2.0
//
// A service's log as it grows: its last lines, those that pass the filter, and older ones on demand. It follows the end
// unless somebody has scrolled up or stopped it.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { t } from '../i18n.js';
import { read } from '../verbs.js';
import { Choice } from '../ui/choice.jsx';
import { ErrorBox } from '../ui/errors.jsx';
import { Search } from '../ui/search.jsx';
import { everyTick } from '../ui/use_verb.js';

const LINES = 200;
const MOST = 2000;
export const LEVELS = Object.fromEntries(['error', 'warn', 'info', 'debug', 'trace'].map(l => [l, `diagnosis.level.${l}`]));
const KINDS = { ERROR: 'error', WARN: 'warn', error: 'error', warn: 'warn' };
const kindOf = line => KINDS[/\b(ERROR|WARN)\b|"level":"(error|warn)"/.exec(line)?.slice(1).find(Boolean)] ?? '';

function useLog(service, match, level, paused) {
	const [log, set] = useState({ rows: [] });
	const [error, fail] = useState(null);
	const now = useRef({});
	const filter = { match: match || undefined, level };
	useEffect(() => {
		const own = { rows: [], first: null, next: null, busy: false, gone: false };
		now.current = own;
		set({ rows: [] });
		own.load = async () => {
			if (own.busy) return;
			own.busy = true;
			try {
				for (let more = true; more && !own.gone; ) {
					const part = await read(service, 'log.tail', { lines: LINES, ...filter, after: own.next ?? undefined });
					own.first ??= { at: part.first, more: part.more };
					more = own.next !== null && part.more && part.rows.length > 0;
					own.next = part.next;
					if (part.rows.length) own.rows = own.rows.concat(part.rows).slice(-MOST);
				}
				if (!own.gone) set({ rows: own.rows, older: own.first.more && own.rows.length < MOST });
				if (!own.gone) fail(null);
			} catch (e) {
				if (!own.gone) fail(e);
			}
			own.busy = false;
		};
		own.older = async () => {
			const { at } = own.first;
			const part = await read(service, 'log.tail', { lines: LINES, ...filter, before: at });
			if (own.first.at !== at) return; // asked for twice
			own.rows = part.rows.concat(own.rows).slice(0, MOST);
			own.first = { at: part.first, more: part.more };
			if (!own.gone) set({ rows: own.rows, older: part.more && own.rows.length < MOST });
		};
		own.load();
		return () => {
			own.gone = true;
		};
	}, [service, match, level]);
	useEffect(() => (paused ? undefined : everyTick(() => now.current.load())), [paused]);
	return { ...log, error, load: () => now.current.load(), older: log.older && (() => now.current.older().catch(fail)) };
}

function useLater(value) {
	const [later, set] = useState(value);
	useEffect(() => {
		const timer = setTimeout(set, 300, value);
		return () => clearTimeout(timer);
	}, [value]);
	return later;
}

export const LevelChoice = props => <Choice {...props} options={Object.entries(LEVELS).map(([value, word]) => ({ value, name: t(word) }))} />;

export function Log({ service, tools }) {
	const [match, setMatch] = useState('');
	const [level, setLevel] = useState('trace');
	const [paused, pause] = useState(false);
	const log = useLog(service, useLater(match.trim()), level, paused);
	const pane = useRef(null);
	const follows = useRef(true);
	useLayoutEffect(() => {
		if (follows.current) pane.current.scrollTop = pane.current.scrollHeight;
	}, [log.rows]);
	const scrolled = e => {
		const el = e.currentTarget;
		follows.current = el.scrollTop + el.clientHeight > el.scrollHeight - 24;
	};
	return (
		<div class="section" data-help="diagnosis/log">
			<div class="bar">
				<Search label={t('diagnosis.filter')} placeholder={t('filter')} value={match} onInput={setMatch} />
				<LevelChoice label={t('diagnosis.from')} value={level} choose={setLevel} />
				<button type="button" aria-pressed={paused} onClick={() => pause(!paused)}>
					{t(paused ? 'diagnosis.go_on' : 'diagnosis.pause')}
				</button>
				<span class="grow" />
				{tools}
			</div>
			{log.error && <ErrorBox error={log.error} retry={log.load} />}
			<div class="log section" role="log" tabIndex={0} ref={pane} onScroll={scrolled} aria-label={t('diagnosis.log')} aria-live="off">
				{log.older && (
					<button type="button" onClick={log.older}>
						{t('diagnosis.log.before')}
					</button>
				)}
				{log.rows.map((line, i) => (
					<div key={i} class={kindOf(line)}>
						{line}
					</div>
				))}
				{!log.rows.length && !log.error && <p class="muted">{t(match ? 'table.none' : 'table.empty')}</p>}
			</div>
		</div>
	);
}
