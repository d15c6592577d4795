// SPDX-License-Identifier: Apache-2.0
//
// What needs somebody: services that are down, and each service's own items (service.health).
import { t } from '../i18n.js';
import { programOf } from '../state.js';
import { HealthItem } from '../ui/health_item.jsx';
import { Icon } from '../ui/icon.jsx';

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
				<HealthItem key={`${programOf(s)} ${item.id} ${item.subject} ${item.text}`} s={s} item={item} />
			))}
		</>
	);
}
