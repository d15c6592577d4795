// SPDX-License-Identifier: Apache-2.0
// Failures in the reader's words. An API error has a code and perhaps a reason, for which a message may stand in the
// catalogue ("reason.last-administrator", "error.forbidden"), with what the service said behind it (said.js).
import { Component } from 'preact';
import { duration, either, t } from '../i18n.js';
import { beside, inWords, saidReady } from '../said.js';
import { Icon } from './icon.jsx';
import { toast } from './toast.jsx';

// Of several values each with its key, for no field may be beside it.
const sentenceOf = e => e.fields?.map(f => [f.path, beside(f.text, f.path ?? '', f.path ?? '')].filter(Boolean).join(': ')).join('; ') || inWords(e.message);

export function messageOf(e) {
	const wait = e.wait ? duration(e.wait) : '';
	if (wait) return t('error.throttled', { wait });
	const values = e.values?.map(v => either(`role.${v}`, v));
	const known = either(`reason.${e.reason}`, '', { ...values }) || either(`error.${e.code}`, '', { text: sentenceOf(e) });
	return known || (e.code ? t('error.failed', { text: sentenceOf(e) }) : t('error.page', { text: e.message }));
}

export async function sayError(e) {
	if (e.status === 401) return; // the login stands over the page
	await saidReady();
	toast('failed', messageOf(e), inWords(e.hint));
}

export function ErrorBox({ error, retry }) {
	return (
		<div class="box failed" role="alert">
			<Icon name="failed" />
			<div>
				<p>{messageOf(error)}</p>
				{error.hint && <p class="muted">{inWords(error.hint)}</p>}
				{retry && (
					<button type="button" onClick={retry}>
						{t('retry')}
					</button>
				)}
			</div>
		</div>
	);
}

// A fault of one page's own code must not take the frame away.
export class Boundary extends Component {
	componentDidCatch(error) {
		console.error(error);
		this.setState({ error });
	}

	render({ children }, { error }) {
		return error ? <ErrorBox error={error} retry={() => this.setState({ error: null })} /> : children;
	}
}
