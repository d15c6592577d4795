// SPDX-License-Identifier: Apache-2.0
//
// What needs somebody: services that are down, and each service's own items (service.health). An item's id has a
// headline in the reader's language; beside it stands what the service says, and what to do.
import { date, either, t } from '../i18n.js';
import { programOf } from '../state.js';
import { Icon } from '../ui/icon.jsx';

function headline(item) {
	const args = { subject: item.subject, ...item.args };
	if (args.ends_at) args.until = date(args.ends_at);
	if (typeof args.days === 'number') args.days = t('days', { n: args.days });
	return either(`warning.${item.id}`, item.id, args);
}

function Item({ s, item }) {
	const kind = item.severity === 'error' ? 'failed' : 'warning';
	return (
		<div class={`box ${kind}`} data-id={item.id}>
			<Icon name={kind} />
			<div>
				<p>
					<b>{programOf(s)}</b>: {headline(item)}
				</p>
				<p class="muted" lang="en">
					{item.text}
					{item.hint && ` – ${item.hint}`}
				</p>
			</div>
		</div>
	);
}

const DOWN = ['failed', 'late', 'unreachable'];

export function Warnings({ all }) {
	const items = all.flatMap(s => (s.items ?? []).map(item => ({ s, item })));
	const down = all.filter(s => DOWN.includes(s.state));
	if (!items.length && !down.length)
		return (
			<div class="box ok">
				<Icon name="ok" />
				<p>{t('warnings.none', { n: all.length })}</p>
			</div>
		);
	return (
		<>
			{down.map(s => (
				<div key={programOf(s)} class="box failed">
					<Icon name="failed" />
					<div>
						<p>
							<b>{programOf(s)}</b>: {t(`state.${s.state}`)}
						</p>
						{s.exit?.error && <p class="muted">{s.exit.error}</p>}
					</div>
				</div>
			))}
			{items.map(({ s, item }) => (
				<Item key={`${programOf(s)} ${item.id} ${item.subject} ${item.text}`} s={s} item={item} />
			))}
		</>
	);
}
