// SPDX-License-Identifier: Apache-2.0
// The login, alone or over a page whose session has ended: what was typed into that page stays.
import { useState } from 'preact/hooks';
import { post, session } from './api.js';
import { t } from './i18n.js';
import { Alone } from './ui/alone.jsx';
import { Dialog } from './ui/dialog.jsx';
import { messageOf } from './ui/errors.jsx';
import { Field } from './ui/field.jsx';

function Form({ done, user: known }) {
	const [user, setUser] = useState(known ?? '');
	const [password, setPassword] = useState('');
	const [code, setCode] = useState('');
	const [wantsCode, setWantsCode] = useState(false);
	const [error, setError] = useState(null);
	const [busy, setBusy] = useState(false);

	async function submit(e) {
		e.preventDefault();
		setBusy(true);
		setError(null);
		try {
			await post('/login', { user, password, ...(wantsCode ? { totp: code } : {}) });
			await done();
		} catch (problem) {
			if (problem.code === 'totp-needed') setWantsCode(true);
			else setError(problem);
		}
		setBusy(false);
	}
	return (
		<form class="form" onSubmit={submit} data-help="login">
			<Field label={t('user')} name="username" value={user} onInput={setUser} autocomplete="username" required readOnly={!!known} />
			<Field
				label={t('password')}
				name="password"
				type="password"
				value={password}
				onInput={setPassword}
				autocomplete="current-password"
				required
				autofocus={!!known}
			/>
			{wantsCode && (
				<Field
					label={t('login.code')}
					name="totp"
					value={code}
					onInput={setCode}
					inputMode="numeric"
					autocomplete="one-time-code"
					help={t('login.code.help')}
					required
					autofocus
				/>
			)}
			<p class="error" role="alert">
				{error && messageOf(error)}
			</p>
			<button type="submit" class="main" disabled={busy}>
				{t('login')}
			</button>
		</form>
	);
}

export function Login({ done, over }) {
	if (over) {
		return (
			<Dialog title={t('login.again')}>
				<p>{t('login.again.why')}</p>
				<Form done={done} user={session.value?.user} />
			</Dialog>
		);
	}
	return (
		<Alone title="Stile">
			<Form done={done} />
		</Alone>
	);
}
