// SPDX-License-Identifier: Apache-2.0
// A configuration value as text in a field and back. Lists are written with commas; the service judges what it gets.
import { bytes, duration, number, rate, t } from '../i18n.js';
import { inWords } from '../said.js';

export const MASK = '***'; // what a service gives in place of a secret
export const isSecret = row => row.secret || row.type === 'password';

const listed = (row, value) => row.list || Array.isArray(value);

// null: a secret that is set and not shown; it stays unless something is typed.
export function textOf(row, value) {
	if (isSecret(row) && value === MASK) return null;
	if (value === null || value === undefined) return '';
	if (Array.isArray(value)) return value.map(v => (typeof v === 'object' ? JSON.stringify(v) : v)).join(', ');
	return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

export function valueOf(row, text) {
	if (isSecret(row) || row.exact) return text; // as it is typed at a login
	const trimmed = text.trim();
	if (listed(row, row.value ?? row.default))
		return trimmed
			? trimmed
					.split(',')
					.map(s => s.trim())
					.filter(Boolean)
			: [];
	if (row.type === 'bool') return trimmed === 'true';
	return /^-?\d+$/.test(trimmed) && row.type === 'count' ? Number(trimmed) : trimmed;
}

// A bound in what its type counts, with its unit: that of a duration is ms, of a text and a size bytes.
const SIZED = { duration: v => (v % 1000 ? `${number(v)}\u00a0ms` : duration(v / 1000)), 'bit rate': v => rate(v / 8), size: bytes, count: number, 'number or unlimited': number, text: v => `${number(v)}\u00a0B` };
const sized = (row, v) => (typeof v === 'number' && SIZED[row.type]?.(v)) || String(v);

// The row's help, its range and whether a restart is needed, in one line.
export function helpOf(row) {
	const range = row.min != null && row.max != null && row.max > row.min ? t('range', { min: sized(row, row.min), max: sized(row, row.max) }) : '';
	const word = (row.type === 'bool' ? { true: 'on', false: 'off' } : row.choices)?.[row.default];
	const usual = word ? t(word) : textOf(row, row.default);
	return [inWords(row.help), range, usual && t('default', { value: usual }), row.reload === false && t('restart_needed')].filter(Boolean).join(' · ');
}
