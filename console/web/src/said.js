// SPDX-License-Identifier: Apache-2.0
//
// What comes from the services in English: help and units of their settings, refusals, reasons. said/LANGUAGE.json has it in another
// language by the English sentence, as gettext does, with {0}, {1} … where it differs from case to case; tests/console/words.mjs
// holds it complete against the C sources. It is fetched when a page first asks for a word of it, and the English stands until then.
import { signal } from '@preact/signals';
import { language, t } from './i18n.js';

const LOAD = import.meta.glob('./said/*.json', { import: 'default' });
const fileOf = lang => LOAD[`./said/${lang}.json`];
const got = signal({}); // language → { words, forms: [[RegExp, sentence]], known: what was looked up }
const asked = {};

const literal = text => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
const lengthOf = form => form.replace(/\{\d\}/g, '').length;

function ready(words) {
	// The form that says most is tried first: "user {0}: {1}" is nearly everything.
	const forms = Object.keys(words).filter(form => /\{\d\}/.test(form)).sort((a, b) => lengthOf(b) - lengthOf(a));
	return { words, forms: forms.map(form => [new RegExp(`^${form.split(/\{\d\}/).map(literal).join('(.*?)')}$`, 's'), words[form]]), known: new Map() };
}

// Resolves when the words are there, or cannot be had now.
export function saidReady() {
	const lang = language.value;
	if (!fileOf(lang) || got.value[lang]) return Promise.resolve();
	asked[lang] ??= fileOf(lang)().then(
		words => {
			got.value = { ...got.value, [lang]: ready(words) };
		},
		() => delete asked[lang], // the next one asks again
	);
	return asked[lang];
}

function find({ words, forms }, text) {
	if (Object.hasOwn(words, text)) return words[text];
	for (const [form, sentence] of forms) {
		const values = form.exec(text);
		// A value may be a sentence itself, as "Permission denied"; a name stays what it is.
		if (values) return sentence.replace(/\{(\d)\}/g, (_, i) => (/\w \w/.test(values[+i + 1]) ? inWords(values[+i + 1]) : values[+i + 1]));
	}
	// In front of an error of a file stands its place.
	const [, place, rest] = /^(\S+:\d+:\d+: )(.+)$/s.exec(text) ?? [];
	return rest && place + inWords(rest);
}

// The text in the reader's language, or as it is.
export function inWords(text) {
	const own = got.value[language.value];
	if (!text || !own) {
		if (text) saidReady();
		return text;
	}
	if (!own.known.has(text)) own.known.set(text, find(own, text) ?? text);
	return own.known.get(text);
}

// What a value was refused for, to stand beside its field: the service calls it by the last name of its key, the page by its label.
export function beside(text, label, path) {
	const [, item, key, why] = /^(an item of )?'([^']+)' (.+)$/s.exec(text) ?? [];
	if (key !== path && key !== path.split('.').pop().replace(/\[.*/, '')) return inWords(text);
	return t(item ? 'refused.item' : 'refused.value', { label, why: inWords(why) });
}
