// SPDX-License-Identifier: Apache-2.0
//
// First run: language, the one-time token and the administrator's password, public address and domain, what will be
// open, self-tests. It can be walked again later (#/setup); then the account is there already.
import { useEffect, useState } from 'preact/hooks';
import { post, session } from './api.js';
import { lockedAt } from './config.js';
import { LANGUAGES, language, setLanguage, t } from './i18n.js';
import { go, route } from './route.js';
import { Alone } from './ui/alone.jsx';
import { ErrorBox, messageOf, sayError } from './ui/errors.jsx';
import { Field } from './ui/field.jsx';
import { Icon } from './ui/icon.jsx';
import { Loading } from './ui/loading.jsx';
import { PlainTable } from './ui/plain_table.jsx';
import { useTool } from './ui/use_tool.js';
import { apply, facts as findFacts } from './wizard_facts.js';

const SHORTEST = 10;

// The lower edge of a step's form: back, if there is a way back, and on.
function Actions({ back, text = t('next'), busy }) {
	return (
		<div class="bar actions">
			{back && (
				<button type="button" onClick={back}>
					{t('back')}
				</button>
			)}
			<span class="grow" />
			<button type="submit" class="main" disabled={busy}>
				{text}
			</button>
		</div>
	);
}

function Language({ next }) {
	return (
		<form
			onSubmit={e => {
				e.preventDefault();
				next();
			}}
			data-help="first-run/language">
			<fieldset class="choices">
				<legend>{t('wizard.language.ask')}</legend>
				{Object.entries(LANGUAGES).map(([code, name]) => (
					<label key={code} lang={code}>
						<input
							type="radio"
							name="language"
							value={code}
							checked={language.value === code}
							onChange={() => setLanguage(code).catch(sayError)}
						/>
						{name}
					</label>
				))}
			</fieldset>
			<Actions />
		</form>
	);
}

// The address that quickstart prints has the token in its fragment: #/setup?token=…
const tokenOfAddress = () => route.value.query.get('token') ?? '';

function Account({ next, whoAmI }) {
	const [token, setToken] = useState(tokenOfAddress);
	const [user, setUser] = useState('admin');
	const [password, setPassword] = useState('');
	const [again, setAgain] = useState('');
	const [error, setError] = useState(null);
	const [busy, setBusy] = useState(false);
	const [tried, setTried] = useState(false);
	const short = password.length < SHORTEST && t('wizard.password.short', { n: SHORTEST });
	const differs = again !== password && t('wizard.password.differs');

	async function submit(e) {
		e.preventDefault();
		setTried(true);
		setError(null);
		if (short || differs) return;
		setBusy(true);
		try {
			await post('/setup', { token: token.trim(), user, password, language: language.value });
			await whoAmI();
			next();
		} catch (problem) {
			setError(problem);
			setBusy(false);
		}
	}
	return (
		<form onSubmit={submit} data-help="first-run/password">
			<Field
				label={t('wizard.token')}
				name="token"
				value={token}
				onInput={setToken}
				help={t('wizard.token.help')}
				autocomplete="off"
				required
				autofocus={!token}
			/>
			<Field label={t('user')} name="username" value={user} onInput={setUser} autocomplete="username" required />
			<Field
				label={t('password')}
				name="password"
				type="password"
				value={password}
				onInput={setPassword}
				autocomplete="new-password"
				required
				help={t('wizard.password.help', { n: SHORTEST })}
				error={tried && short}
				autofocus={!!token}
			/>
			<Field
				label={t('wizard.password.again')}
				name="again"
				type="password"
				value={again}
				onInput={setAgain}
				autocomplete="new-password"
				required
				error={tried && differs}
			/>
			<p class="error" role="alert">
				{error && messageOf(error)}
			</p>
			<Actions busy={busy} />
		</form>
	);
}

function useFacts() {
	const [facts, setFacts] = useState(null);
	const [error, setError] = useState(null);
	const ask = () => {
		setError(null);
		return findFacts(facts?.public).then(setFacts, setError);
	};
	useEffect(() => {
		ask();
	}, []);
	return { facts, error, ask };
}

const first = row => [row?.value ?? []].flat()[0];

function Found({ found }) {
	if (!found.address) {
		return (
			<div class="box warning">
				<Icon name="warning" />
				<p>
					{t('wizard.address.none')} {found.reason}
				</p>
			</div>
		);
	}
	return (
		<div class="box ok">
			<Icon name="ok" />
			<p>{t('wizard.address.found', { address: found.address, how: t(`wizard.how.${found.how}`) })}</p>
		</div>
	);
}

function Address({ facts, error: failed, ask, next, back, chosen, choose }) {
	const [error, setError] = useState(null);
	const [busy, setBusy] = useState(false);
	if (failed) return <ErrorBox error={failed} retry={ask} />;
	if (!facts) return <Loading text={t('wizard.address.finding')} />;
	const { keys } = facts;
	const address = chosen.address ?? (keys.address?.locked ? first(keys.address) : facts.public.address) ?? '';
	const domain = chosen.domain ?? keys.domain?.value ?? '';
	const errorOf = row => error?.fields?.find(f => f.path === row?.path)?.text;

	async function submit(e) {
		e.preventDefault();
		setBusy(true);
		setError(null);
		try {
			await apply(facts, { address: address.trim(), domain: domain.trim() });
			choose({ address, domain });
			await ask();
			next();
		} catch (problem) {
			setError(problem);
			setBusy(false);
		}
	}
	const machine = facts.addresses.map(a => `${a.address} (${a.interface})`).join(', ') || '–';
	return (
		<form onSubmit={submit} data-help="first-run/address">
			<Found found={facts.public} />
			<Field
				label={t('wizard.address')}
				name="address"
				value={address}
				onInput={v => choose({ ...chosen, address: v })}
				required
				locked={lockedAt(keys.address)}
				help={t('wizard.address.help', { list: machine })}
				error={errorOf(keys.address)}
			/>
			<Field
				label={t('wizard.domain')}
				name="domain"
				value={domain}
				onInput={v => choose({ ...chosen, domain: v })}
				required
				locked={lockedAt(keys.domain)}
				help={t('wizard.domain.help')}
				error={errorOf(keys.domain)}
			/>
			<p class="error" role="alert">
				{error && !errorOf(keys.address) && !errorOf(keys.domain) && messageOf(error)}
			</p>
			<Actions back={back} busy={busy} />
		</form>
	);
}

function Opens({ facts, error, ask, next, back }) {
	if (error) return <ErrorBox error={error} retry={ask} />;
	if (!facts) return <Loading />;
	return (
		<form
			onSubmit={e => {
				e.preventDefault();
				next();
			}}
			data-help="first-run/ports">
			<p>{t('wizard.opens.text')}</p>
			<div class="scroll" tabIndex={0} role="region" aria-label={t('wizard.step.opens')}>
				<PlainTable heads={[t('wizard.opens.port'), t('wizard.opens.address'), t('wizard.opens.service'), t('wizard.opens.state')]}>
					{facts.opens.map(o => (
						<tr key={`${o.transport} ${o.address} ${o.port}`}>
							<th scope="row">
								{o.transport.toUpperCase()} {o.port}
							</th>
							<td>{o.address}</td>
							<td>{o.service}</td>
							<td class={o.state === 'taken' ? 'error' : ''}>{t(`wizard.opens.${o.state}`)}</td>
						</tr>
					))}
				</PlainTable>
			</div>
			<p class="muted">{t('wizard.opens.firewall')}</p>
			<Actions back={back} text={t('wizard.opens.next')} />
		</form>
	);
}

const lastLine = text => text.trim().split('\n').pop().trim();

function Tests({ end, back }) {
	const { run, error, start } = useTool();
	const again = () => start('all');
	useEffect(() => {
		again();
	}, []);
	const bad = run && (run.results.filter(r => !r.good).length || (run.status ? 1 : 0));
	return (
		<div data-help="first-run/tests">
			{error && <ErrorBox error={error} retry={again} />}
			{run && (
				<ul class="checks">
					{run.results.map(r => (
						<li key={r.test}>
							<Icon name={r.good ? 'ok' : 'failed'} />
							<div class="check">
								<b>{r.test}</b> <span class="muted">{t('seconds.took', { n: r.seconds })}</span>
								{r.good ? <p class="muted">{lastLine(r.output)}</p> : <pre tabIndex={0}>{r.output}</pre>}
							</div>
						</li>
					))}
				</ul>
			)}
			{bad > 0 && run.done && run.text && <pre tabIndex={0}>{run.text}</pre>}
			<div role="status">
				{!error && !run?.done && (
					<p class="loading">
						{t('wizard.tests.running')} {run?.progress && `${run.progress.number}/${run.progress.of}: ${run.progress.begins}`}
					</p>
				)}
				{run?.done &&
					(bad ? (
						<div class="box failed">
							<Icon name="failed" />
							<p>{t('wizard.tests.bad', { n: bad })}</p>
						</div>
					) : (
						<div class="box ok">
							<Icon name="ok" />
							<p>{t('wizard.tests.good')}</p>
						</div>
					))}
			</div>
			<div class="bar actions">
				<button type="button" onClick={back}>
					{t('back')}
				</button>
				<span class="grow" />
				{run?.done && (
					<button type="button" onClick={again}>
						{t('wizard.tests.again')}
					</button>
				)}
				<button type="button" class="main" disabled={!run?.done && !error} onClick={end}>
					{t('wizard.end')}
				</button>
			</div>
		</div>
	);
}

export default function Wizard({ done }) {
	const [withAccount] = useState(!session.value);
	const steps = ['language', withAccount && 'account', 'address', 'opens', 'tests'].filter(Boolean);
	const [at, set] = useState(0);
	return (
		<Alone title={t('wizard')} wide>
			<ol class="steps">
				{steps.map((s, i) => (
					<li key={s} aria-current={i === at ? 'step' : undefined}>
						{t(`wizard.step.${s}`)}
					</li>
				))}
			</ol>
			<Step
				name={steps[at]}
				next={() => set(at + 1)}
				back={() => set(at - 1)}
				whoAmI={done}
				end={() => {
					go('overview');
					done();
				}}
			/>
		</Alone>
	);
}

function Step({ name, ...rest }) {
	if (name === 'language') return <Language {...rest} />;
	if (name === 'account') return <Account {...rest} />;
	return <Inside name={name} {...rest} />;
}

// The steps that need the account: the facts are asked for once, when the first of them is shown.
function Inside({ name, ...rest }) {
	const facts = useFacts();
	const [chosen, choose] = useState({});
	if (name === 'address') return <Address {...facts} {...rest} chosen={chosen} choose={choose} />;
	if (name === 'opens') return <Opens {...facts} {...rest} />;
	return <Tests {...rest} />;
}
