// SPDX-License-Identifier: Apache-2.0
//
// Words, numbers and dates in the reader's language. A message is a string with {names}, or an object of plural
// forms chosen by the argument n (Intl.PluralRules). tests/console/words.mjs holds the three catalogues against each
// other, against what the sources ask for, and against docs/glossary.md.
//
// lang/en.json has the words of the frame, lang/PAGE.en.json those of one page; all of a language come in one file.
import { signal } from '@preact/signals';

const LOAD = import.meta.glob('./lang/*.json', { import: 'default' });
export const LANGUAGES = { en: 'English', de: 'Deutsch', it: 'Italiano' };

export const language = signal('en');
const words = signal({});
let locale = 'en-GB';
let plural = new Intl.PluralRules('en');

// The keys of a tree of words (build/words.mjs): what is no tree is a text, or plural forms in a list.
function flat(tree, above = '', all = {}) {
	for (const [name, below] of Object.entries(tree)) {
		const key = name ? above + name : above.slice(0, -1);
		if (below.constructor === Object) flat(below, `${key}.`, all);
		else all[key] = [below].flat()[0];
	}
	return all;
}

export function preferred() {
	const kept = localStorage.getItem('stile.language');
	const asked = [kept, ...navigator.languages].map(l => (l ?? '').slice(0, 2));
	return asked.find(l => l in LANGUAGES) ?? 'en';
}

// keep: somebody chose it; else the browser's own languages decide again next time.
export async function setLanguage(lang, keep = true) {
	const files = Object.keys(LOAD).filter(f => f.endsWith(`/${lang}.json`) || f.endsWith(`.${lang}.json`));
	const parts = await Promise.all(files.map(f => LOAD[f]()));
	const regional = navigator.languages.find(l => l.startsWith(lang));
	locale = regional ?? (lang === 'en' ? 'en-GB' : lang);
	plural = new Intl.PluralRules(locale);
	if (keep) localStorage.setItem('stile.language', lang);
	document.documentElement.lang = lang;
	words.value = Object.assign({}, ...parts.map(tree => flat(tree)));
	language.value = lang;
}

export function t(key, args) {
	let text = words.value[key];
	if (text === undefined) return key;
	if (typeof text === 'object') text = text[plural.select(args.n)] ?? text.other;
	return text.replace(/\{(\w+)\}/g, (all, name) => {
		const v = args?.[name];
		return typeof v === 'number' ? number(v, 1) : (v ?? all);
	});
}

// For words that come from outside, as a warning's id: the fallback is what the service itself said.
export const has = key => key in words.value;
export const either = (key, fallback, args) => (has(key) ? t(key, args) : fallback);

export function number(x, digits = 0) {
	return new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(x);
}

export const percent = x => new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: x < 0.1 ? 1 : 0 }).format(x);

function scaled(x, step, units) {
	let i = 0;
	while (x >= step * 0.9995 && i < units.length - 1) {
		x /= step;
		i++;
	}
	return `${number(x, x < 9.995 && i > 0 ? 2 : x < 99.95 && i > 0 ? 1 : 0)}\u00a0${units[i]}`;
}

export const bytes = x => scaled(x, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']);
// Of bytes a second, shown as networks are sold: bits a second, decimal.
export const rate = x => scaled(x * 8, 1000, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s']);

const SPANS = [
	['d', 86400],
	['h', 3600],
	['min', 60],
	['s', 1],
];

// The two largest units: "3 d 4 h". Their symbols are those of SI, alike in the three languages but for the day.
export function duration(s) {
	s = Math.max(0, Math.floor(s));
	const i = Math.max(
		0,
		SPANS.findIndex(([, size]) => s >= size),
	);
	const at = s === 0 ? SPANS.length - 1 : i;
	return SPANS.slice(at, at + 2)
		.map(([unit, size]) => {
			const n = Math.floor(s / size);
			s -= n * size;
			return n || unit === SPANS[at][0] ? `${number(n)}\u00a0${t(`unit.${unit}`)}` : '';
		})
		.filter(Boolean)
		.join(' ');
}

export const dateTime = ms => new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' }).format(ms);
export const date = ms => new Intl.DateTimeFormat(locale, { dateStyle: 'medium' }).format(ms);
export const time = ms => new Intl.DateTimeFormat(locale, { timeStyle: 'medium' }).format(ms);
export const compare = () => new Intl.Collator(locale, { numeric: true, sensitivity: 'base' }).compare;
