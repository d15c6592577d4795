// SPDX-License-Identifier: Apache-2.0
//
// The input that fits a value, by its row: a row of a service's schema, or of a form's fields. What is typed is text;
// value.js makes the value of it.
import { t } from '../i18n.js';
import { inWords } from '../said.js';
import { AddressList, AddressPicker } from './address_picker.jsx';
import { Field } from './field.jsx';
import { PortField } from './port_field.jsx';
import { isSecret, MASK } from './value.js';

const WORDS = { true: 'on', false: 'off' };

const WRITTEN = ['size', 'duration']; // values with a unit of their own: 10MB, 12h

function optionsOf(row, text) {
	if (row.type === 'bool') return Object.entries(WORDS).map(([value, word]) => ({ value, name: t(word) }));
	if ((row.type ?? 'enum') !== 'enum' || row.list) return undefined; // an endpoint has choices for its first word, too
	const choices = row.choices ?? [];
	const list = Array.isArray(choices) ? choices.map(c => ({ value: c, name: c })) : Object.entries(choices).map(([value, word]) => ({ value, name: t(word) }));
	if (!list.length) return undefined;
	return list.some(o => o.value === text) ? list : [{ value: text, name: text }, ...list];
}

export function ValueField({ row, text, ...rest }) {
	const common = { ...rest, name: row.path, value: text, unit: WRITTEN.includes(row.type) ? undefined : inWords(row.unit), required: row.required };
	if (row.type === 'port') return <PortField {...common} transport={row.transport} listen={row.listen} />;
	if (row.type === 'address') return row.list ? <AddressList {...common} /> : <AddressPicker {...common} any={row.any} />;
	if (isSecret(row)) return <Field {...common} value={text ?? ''} placeholder={text === null ? MASK : undefined} type="password" autocomplete="new-password" />;
	return <Field {...common} options={optionsOf(row, text)} autocomplete="off" />;
}
