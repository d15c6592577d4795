// SPDX-License-Identifier: Apache-2.0
//
// The manual beside the page. F1, or ? where nothing is being typed, opens it at the topic of the element with the
// focus: the nearest data-help, "topic" or "topic/anchor". It comes with the console, so it is there without a network.
import { signal } from '@preact/signals';
import { h } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { load } from 'virtual:manual';
import { compare, language, t } from '../i18n.js';
import { sayError } from './errors.jsx';
import { Icon } from './icon.jsx';
import { Search } from './search.jsx';

const at = signal(null); // { topic, anchor, modal } or null: closed
const guides = signal({}); // "en/tutorial" → page: those that were opened
let before = null; // the focus goes back there

export function openHelp(where) {
	const from = document.activeElement;
	const target =
		where ??
		from?.closest?.('[data-help]')?.dataset.help ??
		document.querySelector('main[data-help], form[data-help]')?.dataset.help ??
		'overview';
	const [topic, anchor] = target.split('/');
	if (!at.value) before = from;
	// Beside a dialog nothing can be used: help becomes a dialog above it.
	at.value = { topic, anchor, modal: at.value?.modal ?? !!document.querySelector('dialog[open]') };
}

function closeHelp() {
	at.value = null;
	if (before?.isConnected) before.focus();
}

const typing = el => el?.matches?.('input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]');

export function useHelpKeys() {
	useEffect(() => {
		const key = e => {
			if (e.key === 'Escape' && at.value && !e.defaultPrevented && !document.querySelector('dialog[open]:not(.help)'))
				return closeHelp();
			if (e.key !== 'F1' && (e.key !== '?' || typing(e.target) || e.ctrlKey || e.altKey || e.metaKey)) return;
			e.preventDefault();
			openHelp();
		};
		addEventListener('keydown', key);
		return () => removeEventListener('keydown', key);
	}, []);
}

function useManual(lang, wanted) {
	const [manual, set] = useState(null);
	useEffect(() => {
		let gone = false;
		if (wanted)
			load[lang]().then(
				m => gone || set({ lang, topics: m.default, guides: m.guides }),
				() => sayError({ code: 'offline' }),
			);
		return () => {
			gone = true;
		};
	}, [lang, wanted]);
	return manual?.lang === lang ? manual : null;
}

function useGuides(lang, manual, topics) {
	const missing = manual ? topics.filter(t => manual.guides[t] && !guides.value[`${lang}/${t}`]) : [];
	useEffect(() => {
		for (const t of missing)
			manual.guides[t].load().then(
				m => {
					guides.value = { ...guides.value, [`${lang}/${t}`]: m.default };
				},
				() => sayError({ code: 'offline' }),
			);
	}, [lang, missing.join()]);
}

function link(target, children) {
	return (
		<a
			href="#"
			onClick={e => {
				e.preventDefault();
				openHelp(target);
			}}>
			{children}
		</a>
	);
}

// A node of build/markdown.mjs as elements.
function node(n) {
	if (typeof n === 'string') return n;
	const [kind, ...rest] = n;
	if (kind === 'a') return link(rest[0], rest.slice(1).map(node));
	if (kind === 'pre')
		return (
			<pre tabIndex={0}>
				<code>{rest[0]}</code>
			</pre>
		);
	if (kind === 'ul' || kind === 'ol')
		return h(
			kind,
			null,
			rest.map(item => <li>{item.map(node)}</li>),
		);
	if (kind === 'h2' || kind === 'h3') return h(kind, { id: `help-${rest[0]}`, tabIndex: -1 }, rest.slice(1).map(node));
	if (kind === 'table') {
		return (
			<table>
				<thead>
					<tr>
						{rest[0].map(c => (
							<th scope="col">{c.map(node)}</th>
						))}
					</tr>
				</thead>
				<tbody>
					{rest[1].map(r => (
						<tr>
							{r.map(c => (
								<td>{c.map(node)}</td>
							))}
						</tr>
					))}
				</tbody>
			</table>
		);
	}
	return h(kind, null, rest.map(node));
}

const plain = n => (typeof n === 'string' ? n : Array.isArray(n) ? n.map(plain).join(' ') : '');

function Titles({ pages, topic }) {
	return (
		<ul class="contents">
			{pages.map(([id, page]) => (
				<li key={id}>
					<a
						href="#"
						aria-current={id === topic ? 'true' : undefined}
						onClick={e => {
							e.preventDefault();
							openHelp(id);
						}}>
						{page.title}
					</a>
				</li>
			))}
		</ul>
	);
}

function Contents({ lang, manual, topic }) {
	const [query, setQuery] = useState('');
	const needle = query.trim().toLowerCase();
	useGuides(lang, manual, needle ? Object.keys(manual.guides) : []); // a search is in their texts, too
	const found = table => {
		const some = Object.entries(table).filter(([id, page]) => {
			const body = page.body ?? guides.value[`${lang}/${id}`]?.body ?? [];
			return !needle || `${page.title} ${plain(body)}`.toLowerCase().includes(needle);
		});
		return needle ? some.sort((a, b) => compare()(a[1].title, b[1].title)) : some;
	};
	const topics = found(manual.topics);
	const how = found(manual.guides);
	return (
		<>
			<Search label={t('help.search')} placeholder={t('help.search')} value={query} onInput={setQuery} />
			<Titles pages={topics} topic={topic} />
			{how.length > 0 && <h4>{t('help.guides')}</h4>}
			<Titles pages={how} topic={topic} />
			<p role="status" class="muted">
				{needle && !topics.length && !how.length ? t('help.none') : ''}
			</p>
		</>
	);
}

function Pane({ modal, wide, children }) {
	const ref = useRef(null);
	useLayoutEffect(() => {
		if (modal) ref.current.showModal();
	}, [modal]);
	if (!modal)
		return (
			<aside class={wide ? 'help wide' : 'help'} aria-label={t('help')}>
				{children}
			</aside>
		);
	return (
		<dialog
			ref={ref}
			class={wide ? 'help wide' : 'help'}
			aria-label={t('help')}
			onCancel={e => {
				e.preventDefault();
				closeHelp();
			}}>
			{children}
		</dialog>
	);
}

export function Help() {
	const where = at.value;
	const manual = useManual(language.value, !!where);
	const body = useRef(null);
	const lang = language.value;
	const page = where && (manual?.topics[where.topic] ?? guides.value[`${lang}/${where.topic}`]);
	useGuides(lang, manual, where ? [where.topic] : []);
	useLayoutEffect(() => {
		if (!where || !manual) return;
		const target = (where.anchor && document.getElementById(`help-${where.anchor}`)) || body.current;
		target?.focus();
		if (target !== body.current) target.scrollIntoView();
	}, [where, manual, page]);
	if (!where) return null;
	return (
		<Pane modal={where.modal} wide={!!manual?.guides[where.topic]}>
			<div class="bar">
				<strong>{t('help')}</strong>
				<span class="grow" />
				<button type="button" class="icon" aria-label={t('close')} onClick={closeHelp}>
					<Icon name="close" />
				</button>
			</div>
			{manual && (
				<div class="page">
					<article ref={body} tabIndex={-1} key={where.topic} aria-label={page?.title ?? t('help')}>
						{page ? (
							<>
								<h2>{page.title}</h2>
								{page.body.map(node)}
							</>
						) : (
							!manual.guides[where.topic] && <p>{t('help.none')}</p>
						)}
					</article>
					<section aria-label={t('help.contents')}>
						<h3>{t('help.contents')}</h3>
						<Contents lang={lang} manual={manual} topic={where.topic} />
					</section>
				</div>
			)}
		</Pane>
	);
}
