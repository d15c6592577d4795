// SPDX-License-Identifier: Apache-2.0
//
// The frame of a page about one kind of service: heading, choice among its instances, state. What the page shows stays
// while its service is away, so that nothing typed is lost; above it stands what became of the service, or why it is not well.
import { useEffect, useState } from 'preact/hooks';
import { may } from '../api.js';
import { t } from '../i18n.js';
import { act, isDown, kindOf, nameOf, programOf, services, servicesError, watchServices } from '../state.js';
import { ErrorBox } from './errors.jsx';
import { HealthItem } from './health_item.jsx';
import { Icon } from './icon.jsx';
import { Loading } from './loading.jsx';
import { Pill } from './pill.jsx';
import { ServiceChoice } from './service_choice.jsx';

function Away({ s }) {
	const why = s.state === 'late' ? t('state.late.why') : s.exit?.error;
	return (
		<div class="box failed section away" role="status">
			<Icon name="failed" />
			<div>
				<p>{t('service.away', { who: programOf(s), state: t(`state.${s.state}`) })}</p>
				{why && <p class="muted">{why}</p>}
				{isDown(s) && s.can?.includes('start') && may('operator') && (
					<button type="button" onClick={() => act(s, 'start')}>
						{t('act.start')}
					</button>
				)}
			</div>
		</div>
	);
}

// kind: "turn", or several; children: (name of the service, its row) => what is shown of it.
export function ServicePage({ kind, title, children }) {
	const [chosen, choose] = useState('');
	const [seen, see] = useState({});
	useEffect(watchServices, []);
	const all = (services.value ?? []).filter(s => [kind].flat().includes(kindOf(s)));
	const s = all.find(x => nameOf(x) === chosen) ?? all.find(x => !isDown(x)) ?? all[0];
	const name = s && nameOf(s);
	useEffect(() => {
		if (s) choose(was => was || name); // it stays the page's when it stops; a choice made meanwhile counts
		if (s && !isDown(s)) see(was => ({ ...was, [name]: true }));
	}, [name, s?.state]);
	return (
		<>
			<div class="bar">
				<h1>{t(title)}</h1>
				{s && <Pill s={s} />}
				<span class="grow" />
				{all.length > 1 && <ServiceChoice label={t('instance')} value={name} choose={choose} all={all} />}
			</div>
			{!services.value && (servicesError.value ? <ErrorBox error={servicesError.value} /> : <Loading />)}
			{services.value && !s && <p class="muted section">{t('service.none')}</p>}
			{s && (isDown(s) || s.state === 'late') && <Away s={s} />}
			{s && !isDown(s) && s.items?.map(item => <HealthItem key={`${item.id} ${item.subject} ${item.text}`} s={s} item={item} />)}
			{s && (!isDown(s) || seen[name]) && <div key={name}>{children(name, s)}</div>}
		</>
	);
}
