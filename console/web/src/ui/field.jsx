// SPDX-License-Identifier: Apache-2.0
//
// One value of a form: label, input, unit, help, error beside it, and the lock of a value that the configuration
// file sets. `locked` is "stile.yaml:12"; `options` makes a choice of it.
import { useEffect, useId, useRef } from 'preact/hooks';
import { t } from '../i18n.js';
import { Icon } from './icon.jsx';

function Input({ id, options, value, onInput, type = 'text', describedBy, error, locked, autofocus, ...rest }) {
	const ref = useRef(null);
	useEffect(() => {
		if (autofocus) ref.current.focus();
	}, []);
	// autofocus: a dialog gives the focus to what has it.
	const common = { id, ref, autofocus, 'aria-describedby': describedBy, 'aria-invalid': error ? 'true' : undefined, ...rest };
	if (rest.required) {
		// the browser's own bubble, in the page's language
		common.onInvalid = e => e.currentTarget.setCustomValidity(t('required'));
		common.onKeyDown = e => e.currentTarget.setCustomValidity('');
	}
	if (options) {
		return (
			<select {...common} value={value} disabled={!!locked || rest.readOnly} onChange={e => onInput(e.currentTarget.value)}>
				{options.map(o => (
					<option key={o.value} value={o.value}>
						{o.name}
					</option>
				))}
			</select>
		);
	}
	if (type === 'checkbox') {
		return <input {...common} type="checkbox" checked={value} disabled={!!locked} onChange={e => onInput(e.currentTarget.checked)} />;
	}
	return (
		<input
			{...common}
			type={type}
			value={value}
			readOnly={!!locked || rest.readOnly}
			spellcheck={false}
			onInput={e => {
				e.currentTarget.setCustomValidity('');
				onInput(e.currentTarget.value);
			}}
		/>
	);
}

export function Locked({ where }) {
	return (
		<span class="lock">
			<Icon name="lock" />
			{t('locked', { where })}
		</span>
	);
}

export function Field({ label, unit, help, error, locked, topic, ...input }) {
	const id = useId();
	const notes = [error && `${id}e`, help && `${id}h`, locked && `${id}l`, unit && `${id}u`].filter(Boolean).join(' ') || undefined;
	return (
		<div class={`field ${input.type ?? ''}`} data-help={topic}>
			<label for={id}>{label}</label>
			<div class="input">
				<Input {...input} id={id} describedBy={notes} error={error} locked={locked} />
				{unit && (
					<span id={`${id}u`} class="unit">
						{unit}
					</span>
				)}
			</div>
			{locked && (
				<p id={`${id}l`}>
					<Locked where={locked} />
				</p>
			)}
			{help && (
				<p id={`${id}h`} class="muted">
					{help}
				</p>
			)}
			{error && (
				<p id={`${id}e`} class="error" role="alert">
					{error}
				</p>
			)}
		</div>
	);
}
