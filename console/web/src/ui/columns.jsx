// SPDX-License-Identifier: Apache-2.0
//
// Columns as data: { id, title (a key of the words), kind, unit, width, value(row), cell(row) } become what table.jsx takes.
// A kind says how a value is shown and that numbers stand at the right; the value itself is what is sorted by.
import { bytes, dateTime, duration, number, rate, t } from '../i18n.js';

const NARROW = '8rem';
const KINDS = {
	text: { width: 'minmax(9rem, 1fr)', show: v => String(v) },
	number: { width: '7rem', show: number, right: true },
	bytes: { width: NARROW, show: bytes, right: true },
	rate: { width: NARROW, show: rate, right: true }, // of bytes a second
	seconds: { width: NARROW, show: duration, right: true },
	ms: { width: NARROW, show: v => (v < 10_000 ? `${number(v)}\u00a0ms` : duration(v / 1000)), right: true },
	time: { width: '13rem', show: dateTime }, // unix, ms
	on: { width: '6rem', show: v => t(v ? 'on' : 'off') },
};

export function show(kind, v) {
	return v === null || v === undefined || v === '' ? '–' : KINDS[kind ?? 'text'].show(v);
}

export function columnsOf(list) {
	return list.map(c => {
		const kind = KINDS[c.kind ?? 'text'];
		const value = c.value ?? (row => row[c.id]);
		const text = row => show(c.kind, value(row));
		return { width: kind.width, number: kind.right, text, cell: text, ...c, value, title: t(c.title) };
	});
}
