// SPDX-License-Identifier: Apache-2.0
// Parts of one page, each with an address of its own: #/turn/sessions. They are links, so that Back works.
import { may } from '../api.js';
import { t } from '../i18n.js';
import { route } from '../route.js';

// tabs: { id, title (a key of the words), role, body() }
export function Tabs({ page, tabs }) {
	const own = tabs.filter(x => may(x.role ?? 'viewer'));
	const at = own.find(x => route.value.path === `${page}/${x.id}`) ?? own[0];
	return (
		<>
			<div class="tabs" role="navigation" aria-label={t(`nav.${page}`)}>
				{own.map(x => (
					<a key={x.id} href={`#/${page}/${x.id}`} aria-current={x === at ? 'page' : undefined}>
						{t(x.title)}
					</a>
				))}
			</div>
			<div class="section" key={at.id}>
				<h2 class="hidden">{t(at.title)}</h2>
				{at.body()}
			</div>
		</>
	);
}
