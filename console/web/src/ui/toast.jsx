// SPDX-License-Identifier: Apache-2.0
// Short messages at the lower edge. Good ones go by themselves; a failure stays until it is closed.
import { signal } from '@preact/signals';
import { t } from '../i18n.js';
import { Icon } from './icon.jsx';

const toasts = signal([]);
let next = 1;

const drop = id => {
	toasts.value = toasts.value.filter(x => x.id !== id);
};

export function toast(kind, text, hint) {
	const id = next++;
	toasts.value = [...toasts.value.slice(-4), { id, kind, text, hint }];
	if (kind === 'ok') setTimeout(drop, 6000, id);
}

export function Toasts() {
	return (
		<div class="toasts" role="status" aria-live="polite">
			{toasts.value.map(x => (
				<div key={x.id} class={`toast ${x.kind}`}>
					<Icon name={x.kind} />
					<div>
						<p>{x.text}</p>
						{x.hint && <p class="muted">{x.hint}</p>}
					</div>
					<button type="button" class="icon" aria-label={t('close')} onClick={() => drop(x.id)}>
						<Icon name="close" />
					</button>
				</div>
			))}
		</div>
	);
}
