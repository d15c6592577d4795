// SPDX-License-Identifier: Apache-2.0
//
// An address of this machine: any, one that it has (with its interface), or one that is typed because it is not there yet.
import { useEffect, useState } from 'preact/hooks';
import { get } from '../api.js';
import { t } from '../i18n.js';
import { Field } from './field.jsx';
import { isAddress } from './judge.js';

const ANY = ['0.0.0.0', '::'];
const LOOPBACK = ['127.0.0.1', '::1'];
let asked = null; // addresses change rarely: once for a form

function useAddresses() {
	const [rows, set] = useState(null);
	useEffect(() => {
		asked ??= get('/wizard').then(r => r.addresses);
		asked.then(set, () => set([]));
		return () => {
			asked = null;
		};
	}, []);
	return rows;
}

const named = rows => [
	...(rows ?? []).map(r => ({ value: r.address, name: `${r.address} – ${r.interface}` })),
	...LOOPBACK.map(a => ({ value: a, name: `${a} – ${t('address.loopback')}` })),
];

// Several of them, typed with commas or added one by one.
export function AddressList({ value, onInput, ...rest }) {
	const list = value.split(',').map(a => a.trim()).filter(Boolean);
	const left = named(useAddresses()).filter(o => !list.includes(o.value));
	return (
		<>
			<Field {...rest} value={value} onInput={onInput} autocomplete="off" />
			{!rest.locked && !rest.readOnly && (
				<select aria-label={t('address.add')} value="" onChange={e => onInput([...list, e.currentTarget.value].join(', '))}>
					{[{ value: '', name: t('address.add') }, ...left].map(o => (
						<option key={o.value} value={o.value}>
							{o.name}
						</option>
					))}
				</select>
			)}
		</>
	);
}

// any: false where a single address is needed, as for one that others are told.
export function AddressPicker({ value, onInput, label, help, error, any = true, locked, ...rest }) {
	const rows = useAddresses();
	const [typing, type] = useState(false);
	const options = [
		...(any ? ANY.map(a => ({ value: a, name: `${a} – ${t(a === '::' ? 'address.any.v6' : 'address.any')}` })) : []),
		...named(rows),
	];
	const known = options.some(o => o.value === value);
	const other = typing || (value !== '' && !known);
	options.unshift({ value: '', name: rest.required ? '' : t('address.unset') });
	options.push({ value: 'other', name: t('address.other') });
	const away = rows && other && isAddress(value) && !known;
	return (
		<>
			<Field
				{...rest}
				label={label}
				locked={locked}
				options={options}
				value={other ? 'other' : value}
				help={other ? undefined : help}
				error={other ? undefined : error}
				onInput={v => {
					type(v === 'other');
					onInput(v === 'other' ? (known ? '' : value) : v);
				}}
			/>
			{other && (
				<Field
					label={t('address.typed', { label })}
					value={value}
					onInput={onInput}
					locked={locked}
					autocomplete="off"
					error={error}
					help={[help, away && t('address.away')].filter(Boolean).join(' · ')}
				/>
			)}
		</>
	);
}
