// SPDX-License-Identifier: Apache-2.0
//
// A state in one word and colour, with the reason beside it where it is not well: in the page's words if it has some for
// the code (PAGE.reason.CODE), else as the service said it.
import { either, t } from '../i18n.js';
import { inWords } from '../said.js';
import { Icon } from './icon.jsx';

export const reasonOf = (of, code, text) => either(`${of}.reason.${code}`, inWords(text) ?? code ?? '');

export function Reason({ kind, word, of, code, text }) {
	const why = reasonOf(of, code, text);
	return (
		<span class="reason" title={why || undefined}>
			<span class={`pill ${kind}`}>
				{kind !== 'off' && <Icon name={kind} />}
				{t(word)}
			</span>
			{why && <span class={kind === 'failed' ? 'error' : 'muted'}>{why}</span>}
		</span>
	);
}
