// SPDX-License-Identifier: Apache-2.0
// Language, colours and the manual: at the top of every page, and before anybody is logged in.
import { request, session } from '../api.js';
import { LANGUAGES, language, setLanguage, t } from '../i18n.js';
import { theme } from '../theme.js';
import { sayError } from './errors.jsx';
import { openHelp } from './help.jsx';
import { Icon } from './icon.jsx';
import { Menu } from './menu.jsx';

// Kept with the account too, so that it is there in another browser.
export async function chooseLanguage(code) {
	await setLanguage(code);
	if (session.value) await request('PUT', '/me', { language: code });
}

const languageItems = () =>
	Object.entries(LANGUAGES).map(([code, name]) => ({
		name,
		lang: code,
		checked: language.value === code,
		run: () => chooseLanguage(code).catch(sayError),
	}));

const themeItems = () =>
	['auto', 'light', 'dark'].map(name => ({
		name: t(`theme.${name}`),
		checked: theme.value === name,
		run: () => {
			theme.value = name;
		},
	}));

export function Choices() {
	return (
		<>
			<Menu icon="globe" label={t('language')} items={languageItems()} />
			<Menu icon="theme" label={t('theme')} items={themeItems()} />
			<button type="button" class="icon" title={t('help.open')} aria-label={t('help.open')} onClick={() => openHelp()}>
				<Icon name="help" />
			</button>
		</>
	);
}
