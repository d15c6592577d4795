// SPDX-License-Identifier: Apache-2.0
//
// Does it work, and what does a WebRTC page need? The test is `stile test turn --live` on the console's machine: real traffic
// over each listener, by a user that the server makes for it. The snippet is the server's own word; where it has no shared
// secret it gives no password away, and says whose is to be filled in.
import { useState } from 'preact/hooks';
import { number, t } from '../i18n.js';
import { inWords } from '../said.js';
import { Copy } from '../ui/copy.jsx';
import { ErrorBox, messageOf } from '../ui/errors.jsx';
import { Field } from '../ui/field.jsx';
import { Icon } from '../ui/icon.jsx';
import { useTool } from '../ui/use_tool.js';
import { tell } from '../verbs.js';

// What is well is closed, what failed stands open.
function Steps({ result }) {
	return result.transports.map(x => {
		const good = x.steps.every(s => s.ok);
		return (
			<details key={`${x.transport} ${x.address}`} class="section" open={!good}>
				<summary>
					<Icon name={good ? 'ok' : 'failed'} />
					<b>
						{x.transport.toUpperCase()} {x.address}
					</b>
				</summary>
				<ul class="checks">
					{x.steps.map(s => (
						<li key={s.step}>
							<Icon name={s.ok ? 'ok' : 'failed'} />
							<div class="check">
								<b>{t(`turn.step.${s.step}`)}</b> <span class="muted">{`${number(s.ms, 1)}\u00a0ms`}</span>
								<p class={s.ok ? 'muted' : 'error'}>{inWords(s.text)}</p>
							</div>
						</li>
					))}
				</ul>
			</details>
		);
	});
}

function Outcome({ run }) {
	const [result] = run.results;
	const bad = result?.transports ? result.bad : 1;
	return (
		<>
			<div class={`box section ${bad ? 'failed' : 'ok'}`} role="status">
				<Icon name={bad ? 'failed' : 'ok'} />
				<div>
					<p>{bad ? t('turn.test.bad', { n: bad }) : t('turn.test.good')}</p>
					{!result?.transports && <pre tabIndex={0}>{run.text}</pre>}
				</div>
			</div>
			{result?.transports && <Steps result={result} />}
		</>
	);
}

function Run({ service }) {
	const { run, busy, error, start } = useTool();
	return (
		<section class="card" aria-label={t('turn.test')} data-help="turn/test">
			<h2>{t('turn.test')}</h2>
			<p class="muted">{t('turn.test.text')}</p>
			<button type="button" class="main" disabled={busy} onClick={() => start({ what: 'turn', service })}>
				{t('turn.test')}
			</button>
			{busy && (
				<p class="loading" role="status">
					{t('wizard.tests.running')}
				</p>
			)}
			{error && <ErrorBox error={error} />}
			{run?.done && <Outcome run={run} />}
		</section>
	);
}

// Asked for by a click, not by a look: the server mints a credential for it, which stands in the audit.
function Snippet({ service }) {
	const [host, type] = useState('');
	const [got, set] = useState(null);
	const [error, fail] = useState(null);
	async function show(e) {
		e.preventDefault();
		try {
			set(await tell(service, 'turn.snippet', { host: host.trim() }));
			fail(null);
		} catch (why) {
			fail(why);
		}
	}
	const text = got && JSON.stringify({ iceServers: [{ urls: got.urls, username: got.username, credential: got.credential ?? '…' }] }, null, 2);
	return (
		<section class="card section" aria-label={t('turn.snippet')} data-help="turn/snippet">
			<h2>{t('turn.snippet')}</h2>
			<form class="bar peer" onSubmit={show}>
				<Field label={t('turn.snippet.host')} name="host" value={host} onInput={type} placeholder="turn.example.org" autocomplete="off" error={error && messageOf(error)} />
				<button type="submit">{t('turn.snippet.show')}</button>
				{text && <Copy text={text} />}
			</form>
			{text && <pre tabIndex={0}>{text}</pre>}
			{got && !got.credential && <p class="muted">{t('turn.snippet.own', { of: got.credential_of })}</p>}
		</section>
	);
}

export function Test({ service }) {
	return (
		<>
			<Run service={service} />
			<Snippet service={service} />
		</>
	);
}
