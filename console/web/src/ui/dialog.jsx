// SPDX-License-Identifier: Apache-2.0
// Dialogs are the browser's own: they hold the focus, Esc closes them, and the focus goes back to where it was.
import { signal } from '@preact/signals';
import { useEffect, useId, useRef } from 'preact/hooks';
import { t } from '../i18n.js';
import { Icon } from './icon.jsx';

export function Dialog({ title, close, wide, children, actions, help }) {
	const ref = useRef(null);
	const id = useId();
	useEffect(() => {
		const from = document.activeElement;
		if (!ref.current.open) ref.current.showModal();
		return () => from?.isConnected && from.focus();
	}, []);
	return (
		<dialog
			ref={ref}
			aria-labelledby={id}
			class={wide ? 'wide' : ''}
			data-help={help}
			onCancel={e => {
				e.preventDefault();
				close?.();
			}}
			onClose={() => {
				// Esc without anything in between closes it all the same (HTML, close watchers): what must be answered comes back.
				if (!close) ref.current?.showModal();
			}}>
			<div class="bar">
				<h2 id={id}>{title}</h2>
				<span class="grow" />
				{close && (
					<button type="button" class="icon" aria-label={t('close')} onClick={close}>
						<Icon name="close" />
					</button>
				)}
			</div>
			{children}
			{actions && (
				<div class="bar actions">
					<span class="grow" />
					{actions}
				</div>
			)}
		</dialog>
	);
}

const asking = signal(null);

// One question with what will happen; → true if it was confirmed.
export function confirm(question) {
	return new Promise(resolve => {
		asking.value = { ...question, resolve };
	});
}

export function Question() {
	const q = asking.value;
	if (!q) return null;
	const end = answer => {
		asking.value = null;
		q.resolve(answer);
	};
	return (
		<Dialog
			key={q}
			title={q.title}
			help={q.help}
			close={() => end(false)}
			actions={
				<>
					<button type="button" onClick={() => end(false)}>
						{t('cancel')}
					</button>
					<button type="button" class={q.danger ? 'danger' : 'main'} autofocus onClick={() => end(true)}>
						{q.action}
					</button>
				</>
			}>
			<p>{q.text}</p>
			{q.items?.length > 0 && (
				<ul class="named">
					{q.items.map(x => (
						<li key={x}>{x}</li>
					))}
				</ul>
			)}
		</Dialog>
	);
}
