// SPDX-License-Identifier: Apache-2.0
//
// The frame around the pages: who is logged in decides between set-up, login and the page of the address.
import { signal, useSignalEffect } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { expired, get, may, post, session } from './api.js';
import { language, preferred, setLanguage, t } from './i18n.js';
import { connected, open } from './live.js';
import { Login } from './login.jsx';
import { PAGES } from './pages.jsx';
import { go, route } from './route.js';
import { Choices } from './ui/choices.jsx';
import { Question } from './ui/dialog.jsx';
import { Boundary, ErrorBox, sayError } from './ui/errors.jsx';
import { Help, useHelpKeys } from './ui/help.jsx';
import { Icon } from './ui/icon.jsx';
import { Loading } from './ui/loading.jsx';
import { Menu } from './ui/menu.jsx';
import { Toasts } from './ui/toast.jsx';

const setup = signal(null); // { needed } before anybody is logged in
const failed = signal(null);

// Who am I; 401 is an answer too.
export async function whoAmI() {
	failed.value = null;
	try {
		session.value = await get('/me');
		expired.value = false;
		if (!localStorage.getItem('stile.language') && session.value.language) await setLanguage(session.value.language, false);
		open();
	} catch (e) {
		if (e.status !== 401) {
			failed.value = e;
			return;
		}
		session.value = null;
		setup.value = await get('/setup').catch(() => ({ needed: false }));
	}
}

export async function begin() {
	await setLanguage(preferred(), false);
	await whoAmI();
	if (setup.value?.needed && route.value.path !== 'setup') go('setup');
}

function useLazy(load) {
	const [state, set] = useState({});
	useEffect(() => {
		let gone = false;
		set({});
		load().then(
			m => gone || set({ Page: m.default }),
			error => gone || set({ error }),
		);
		return () => {
			gone = true;
		};
	}, [load]);
	return state;
}

function Lazy({ load, ...rest }) {
	const { Page, error } = useLazy(load);
	if (error) return <ErrorBox error={{ code: 'offline' }} retry={() => location.reload()} />;
	return Page ? <Page {...rest} /> : <Loading />;
}

const loadWizard = () => import('./wizard.jsx');

const byPath = path => PAGES.find(p => path === p.path || path.startsWith(`${p.path}/`));

async function logout() {
	try {
		await post('/logout');
	} catch (e) {
		if (e.status !== 401) return sayError(e);
	}
	location.reload(); // nothing of the session stays in memory
}

function Navigation({ shown, close }) {
	const current = byPath(route.value.path);
	return (
		<nav id="nav" class={shown ? 'open' : ''} aria-label={t('nav.label')}>
			<ul>
				{PAGES.filter(p => may(p.role)).map(p => (
					<li key={p.path}>
						<a href={`#/${p.path}`} aria-current={p === current ? 'page' : undefined} onClick={close}>
							<Icon name={p.icon} />
							{t(p.title)}
						</a>
					</li>
				))}
			</ul>
		</nav>
	);
}

function Header({ toggle, shown }) {
	return (
		<header class="top">
			<button
				type="button"
				class="icon burger"
				aria-label={t('nav.label')}
				aria-expanded={shown}
				aria-controls="nav"
				onClick={toggle}>
				<Icon name="menu" />
			</button>
			<a class="brand" href="#/overview">
				<img src="/icon.svg" alt="" width="24" height="24" />
				Stile
			</a>
			<span class="grow" />
			{!connected.value && (
				<span class="pill warn" role="status">
					{t('live.off')}
				</span>
			)}
			<Choices />
			<Menu
				icon="user"
				label={t('account', { name: session.value.user })}
				text={session.value.user}
				items={[
					{ name: t(`role.${session.value.role}`), note: true },
					{ name: t('logout'), run: logout },
				]}
			/>
		</header>
	);
}

function Frame() {
	const [shown, show] = useState(false);
	const page = byPath(route.value.path);
	useSignalEffect(() => {
		route.value;
		document.getElementById('main')?.scrollTo(0, 0);
	});
	useEffect(() => {
		document.title = page ? `${t(page.title)} · Stile` : 'Stile';
	}, [page, language.value]);
	return (
		<>
			<a
				class="skip"
				href="#main"
				onClick={e => {
					e.preventDefault();
					document.getElementById('main').focus();
				}}>
				{t('skip')}
			</a>
			<Header toggle={() => show(!shown)} shown={shown} />
			<div class="body">
				<Navigation shown={shown} close={() => show(false)} />
				<main id="main" tabIndex={-1} data-help={page?.path ?? 'overview'}>
					<Boundary key={page?.path}>
						{page ? (
							<Lazy load={page.load} />
						) : (
							<p>
								{t('page.none')} <a href="#/overview">{t('nav.overview')}</a>
							</p>
						)}
					</Boundary>
				</main>
			</div>
			{expired.value && <Login over done={whoAmI} />}
		</>
	);
}

function Inside() {
	if (failed.value)
		return (
			<main class="alone">
				<ErrorBox error={failed.value} retry={whoAmI} />
			</main>
		);
	// One place in the tree for the wizard: it goes on when its second step has logged in.
	if (route.value.path === 'setup' && (session.value || setup.value?.needed)) return <Lazy load={loadWizard} done={whoAmI} />;
	return session.value ? <Frame /> : <Login done={whoAmI} />;
}

export function App() {
	useHelpKeys();
	return (
		<>
			<Inside />
			<Question />
			<Help />
			<Toasts />
		</>
	);
}
