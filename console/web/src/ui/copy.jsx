// SPDX-License-Identifier: Apache-2.0
// A button that copies a text; a browser has no clipboard without TLS, or does not let it be used.
import { t } from '../i18n.js';
import { toast } from './toast.jsx';

export function Copy({ text }) {
	async function copy() {
		try {
			await navigator.clipboard.writeText(text);
			toast('ok', t('copied'));
		} catch {
			toast('failed', t('copy.failed'));
		}
	}
	return (
		<button type="button" onClick={copy}>
			{t('copy')}
		</button>
	);
}
