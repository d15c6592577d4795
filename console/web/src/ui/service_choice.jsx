// SPDX-License-Identifier: Apache-2.0
// Which service a part of a page is about.
import { useEffect, useState } from 'preact/hooks';
import { t } from '../i18n.js';
import { isDown, nameOf, refreshServices, services, servicesError, watchServices } from '../state.js';
import { Choice } from './choice.jsx';
import { ErrorBox } from './errors.jsx';
import { Loading } from './loading.jsx';

// none: a name for the choice of no single one, whose value is ''.
export function ServiceChoice({ none, all, ...rest }) {
	const options = all.map(s => ({ value: nameOf(s), name: nameOf(s) }));
	return <Choice {...rest} options={none ? [{ value: '', name: none }, ...options] : options} />;
}

// One of those that run, with what children(name) shows of it; title: of a page that is all about it. One that stops stays
// chosen, so that nothing typed is lost.
export function OfService({ title, children }) {
	const [chosen, choose] = useState('');
	useEffect(watchServices, []);
	const all = (services.value ?? []).filter(s => !isDown(s) || nameOf(s) === chosen);
	const s = all.find(x => nameOf(x) === chosen) ?? all[0];
	const name = s ? nameOf(s) : '';
	useEffect(() => {
		choose(was => (was === chosen ? name : was)); // a choice made meanwhile counts
	}, [name]);
	return (
		<>
			<div class="bar">
				{title && (
					<>
						<h1>{t(title)}</h1>
						<span class="grow" />
					</>
				)}
				<ServiceChoice label={t('service')} value={name} choose={choose} all={all} />
			</div>
			{!services.value && (servicesError.value ? <ErrorBox error={servicesError.value} retry={refreshServices} /> : <Loading />)}
			{services.value && !s && <p class="muted section">{t('configuration.no_service')}</p>}
			{s && <div key={name}>{children(name)}</div>}
		</>
	);
}
