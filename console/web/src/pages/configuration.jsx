// SPDX-License-Identifier: Apache-2.0
//
// Every key of a service's configuration, from its schema rows, in groups that open (ui/settings.jsx).
import { useState } from 'preact/hooks';
import { groupBy } from '../group.js';
import { t } from '../i18n.js';
import { inWords } from '../said.js';
import { ErrorBox } from '../ui/errors.jsx';
import { Loading } from '../ui/loading.jsx';
import { Search } from '../ui/search.jsx';
import { OfService } from '../ui/service_choice.jsx';
import { Setting, SettingsBar, SettingsDialogs, useSettings } from '../ui/settings.jsx';

function groupOf(path) {
	const names = path.split('.');
	return names.slice(0, names.length > 2 ? 2 : 1).join('.');
}

function Groups({ rows, s, filtered }) {
	const groups = groupBy(rows, r => groupOf(r.path));
	return [...groups].map(([name, list]) => (
		<details key={name} class="card section" open={filtered || groups.size === 1 || list.some(r => s.edits[r.path] || s.errors[r.path])}>
			<summary>
				<b>{name}</b> <span class="muted">{t('configuration.keys', { n: list.length })}</span>
			</summary>
			{list.map(row => (
				<Setting key={row.path} row={row} s={s} />
			))}
		</details>
	));
}

function Editor({ service }) {
	const s = useSettings(service);
	const [filter, setFilter] = useState('');
	const needle = filter.trim().toLowerCase();
	const rows = s.config?.rows.filter(r => !needle || `${r.path} ${inWords(r.help)}`.toLowerCase().includes(needle)) ?? [];
	if (!s.config) return s.error ? <ErrorBox error={s.error} retry={s.load} /> : <Loading />;
	return (
		<>
			{s.error && <ErrorBox error={s.error} retry={s.load} />}
			<SettingsDialogs s={s} />
			<SettingsBar s={s}>
				<Search label={t('configuration.filter')} placeholder={t('filter')} value={filter} onInput={setFilter} />
			</SettingsBar>
			<Groups filtered={needle !== ''} rows={rows} s={s} />
			{!rows.length && <p class="muted">{t('table.none')}</p>}
		</>
	);
}

export default () => <OfService title="nav.configuration">{service => <Editor service={service} />}</OfService>;
