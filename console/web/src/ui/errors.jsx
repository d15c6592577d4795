// SPDX-License-Identifier: Apache-2.0
// Failures in the reader's words. An API error has a code and perhaps a reason, for which a message may stand in the
// catalogue ("reason.last-administrator", "error.forbidden"); otherwise what the service said is shown as it is.
import { Component } from 'preact';
import { duration, either, t } from '../i18n.js';
import { Icon } from './icon.jsx';
import { toast } from './toast.jsx';

export function messageOf(e) {
	const wait = e.wait ? duration(e.wait) : '';
	if (wait) return t('error.throttled', { wait });
	const values = e.values?.map(v => either(`role.${v}`, v));
	const known = either(`reason.${e.reason}`, '', { ...values }) || either(`error.${e.code}`, '', { text: e.message });
	return known || (e.code ? e.message : t('error.page', { text: e.message }));
}

export function sayError(e) {
	if (e.status !== 401) toast('failed', messageOf(e), e.hint); // else the login stands over the page
}

export function ErrorBox({ error, retry }) {
	return (
		<div class="box failed" role="alert">
			<Icon name="failed" />
			<div>
				<p>{messageOf(error)}</p>
				{error.hint && <p class="muted">{error.hint}</p>}
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
