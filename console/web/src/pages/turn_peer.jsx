// SPDX-License-Identifier: Apache-2.0
// May clients reach this address, and which rule decides? The service is asked, so that the answer is its own.
import { useState } from 'preact/hooks';
import { t } from '../i18n.js';
import { Field } from '../ui/field.jsx';
import { messageOf } from '../ui/errors.jsx';
import { Reason } from '../ui/reason.jsx';
import { read } from '../verbs.js';

export function Peer({ service }) {
	const [address, type] = useState('');
	const [found, show] = useState(null);
	async function ask(e) {
		e.preventDefault();
		show(await read(service, 'turn.peer', { address: address.trim() }).catch(error => ({ error })));
	}
	return (
		<form class="card bar peer" onSubmit={ask} data-help="turn/peers">
			<Field label={t('turn.peer')} name="peer" value={address} onInput={type} placeholder="192.0.2.7" required autocomplete="off" error={found?.error && messageOf(found.error)} />
			<button type="submit">{t('turn.peer.ask')}</button>
			<div role="status">{found && !found.error && <Reason kind={found.allowed ? 'ok' : 'failed'} word={`turn.peer.${found.allowed ? 'yes' : 'no'}`} of="turn" text={found.rule} />}</div>
		</form>
	);
}
