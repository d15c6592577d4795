// SPDX-License-Identifier: Apache-2.0
//
// One item of a service's health: its id has a headline in the reader's language; beside it stands what the service says,
// and what to do.
import { date, either, t } from '../i18n.js';
import { inWords } from '../said.js';
import { programOf } from '../state.js';
import { Icon } from './icon.jsx';

function headline(item) {
	const args = { subject: item.subject, ...item.args };
	if (args.ends_at) args.until = date(args.ends_at);
	if (typeof args.days === 'number') args.days = t('days', { n: args.days });
	return either(`warning.${item.id}`, item.id, args);
}

export function HealthItem({ s, item }) {
	const kind = item.severity === 'error' ? 'failed' : 'warning';
	return (
		<div class={`box ${kind}`} data-id={item.id}>
			<Icon name={kind} />
			<div>
				<p>
					<b>{programOf(s)}</b>: {headline(item)}
				</p>
				<p class="muted" lang={inWords(item.text) === item.text ? 'en' : undefined}>
					{inWords(item.text)}
					{item.hint && ` – ${inWords(item.hint)}`}
				</p>
			</div>
		</div>
	);
}
