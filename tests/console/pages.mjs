// SPDX-License-Identifier: Apache-2.0
//
// What a person does with the pages, in Chromium, against the services that pages.py has started: first run, login, Overview,
// Configuration, the manual, languages, keyboard, a narrow window. Cases build on each other: the first one sets the console up.
import { spawn } from 'node:child_process';
import { accessible, api, click, fits, launch, noFaults, open, run, shot, until } from './browser.mjs';
import { equal, holds, test } from './cases.mjs';

const { STILE_URL: url, STILE_TOKEN: token, STILE_TURN: turnArgv, STILE_TURN_PID: turnPid } = process.env;
const USER = 'admin';
const PASSWORD = 'a password for the test';
const UNKNOWN = /status of 401/; // the question whether somebody is logged in, answered with no
const browser = await launch();
let state; // the cookie of a login, for the cases that need one
let turn; // a stile-turn that a case has started

const card = (page, service) => page.locator(`[data-service="${service}"]`);

async function act(page, service, action) {
	await card(page, service).locator('.menu > button').click();
	await page.getByRole('menuitem', { name: action, exact: true }).click();
}

// What has the focus gets it when the page has been drawn.
const focused = (page, attribute, value, what) =>
	until(async () => (await page.evaluate(a => document.activeElement.getAttribute(a), attribute)) === value, what);

async function opened(more = {}, path = '') {
	const page = await open(browser, `${url}${path}`, { state, chosen: (more.language ?? 'en').slice(0, 2), ...more });
	if (state) await page.locator('nav').waitFor({ state: 'attached' });
	return page;
}

// Confirms a change; the question goes when the service has taken the answer.
async function keep(page) {
	await click(page, 'Keep it');
	await page.getByRole('dialog', { name: 'Keep this change?' }).waitFor({ state: 'detached' });
}

// Esc does not close it; a browser closes what was told twice, whatever the page says.
async function stays(page, name) {
	for (let i = 0; i < 4; i++) {
		await page.keyboard.press('Escape');
		await page.waitForTimeout(100);
	}
	await page.getByRole('dialog', { name }).waitFor();
}

async function login(page, password = PASSWORD) {
	await page.locator('input[name=username]').fill(USER);
	await page.locator('input[name=password]').fill(password);
	await page.keyboard.press('Enter');
}

test('First run in Italian: token, password, address and domain, ports, and tests that end green', async () => {
	const page = await open(browser, `${url}#/setup?token=${token}`, { language: 'it-IT', allowed: [UNKNOWN] });
	await page.getByRole('heading', { name: 'Configurare Stile' }).waitFor();
	await accessible(page, 'step 1');
	await shot(page, 'wizard-1-it');
	await click(page, 'Avanti');
	equal(await page.locator('input[name=token]').inputValue(), token, 'the token comes out of the address');
	await page.locator('input[name=password]').fill('short');
	await page.locator('input[name=again]').fill('other');
	await click(page, 'Avanti');
	await page.getByText('Meno di 10 caratteri.').waitFor();
	await accessible(page, 'step 2 with its errors');
	await shot(page, 'wizard-2-it');
	await page.locator('input[name=password]').fill(PASSWORD);
	await page.locator('input[name=again]').fill(PASSWORD);
	await click(page, 'Avanti');
	await page.locator('input[name=address]').waitFor();
	await accessible(page, 'step 3');
	await shot(page, 'wizard-3-it');
	if (!(await page.locator('input[name=address]').inputValue())) await page.locator('input[name=address]').fill('192.0.2.10');
	await page.locator('input[name=domain]').fill('example.org');
	await click(page, 'Avanti');
	await page.getByRole('cell', { name: 'aperta' }).first().waitFor();
	await accessible(page, 'step 4');
	await shot(page, 'wizard-4-it');
	await click(page, 'Prova');
	await page.getByText('Tutte le prove riuscite').waitFor({ timeout: 120_000 });
	await accessible(page, 'step 5');
	await shot(page, 'wizard-5-it');
	await click(page, 'Alla panoramica');
	await page.getByRole('heading', { name: 'Panoramica', level: 1 }).waitFor();
	const me = (await api(page, 'GET', '/me')).body;
	equal([me.user, me.role, me.language], [USER, 'administrator', 'it'], 'the account');
	noFaults(page);
});

test('The wizard again: where the address is the machine’s own, the one that was set before goes', async () => {
	state = null;
	const page = await open(browser, url, { chosen: 'en', allowed: [UNKNOWN] });
	await login(page);
	await page.locator('nav').waitFor();
	const external = async () => (await api(page, 'GET', '/services/turn/config')).body.rows.find(r => r.path === 'turn.relay.external');
	const { addresses } = (await api(page, 'GET', '/wizard')).body;
	holds(addresses.length, 'this machine has no address');
	for (const [address, source] of [['203.0.113.9', 'store'], [addresses[0].address, 'default']]) {
		await page.goto(`${url}#/setup`);
		await page.reload();
		await click(page, 'Next');
		await page.locator('input[name=address]').fill(address);
		await click(page, 'Next');
		await page.getByRole('columnheader', { name: 'Port' }).waitFor();
		equal((await external()).source, source, `where the address is from, told ${address}`);
	}
	noFaults(page);
});

test('A wrong password is refused in words, the right one opens the Overview', async () => {
	const page = await open(browser, url, { allowed: [UNKNOWN] });
	await page.locator('input[name=password]').waitFor();
	await accessible(page, 'the login');
	await shot(page, 'login-en-light');
	await login(page, 'not the password');
	await page.getByText('User name or password is wrong.').waitFor();
	await accessible(page, 'the refused login');
	await login(page);
	await page.getByRole('heading', { name: 'Panoramica', level: 1 }).waitFor(); // the language of the account
	const [cookie] = await page.context().cookies();
	equal([cookie.name, cookie.httpOnly, cookie.secure, cookie.sameSite], ['__Host-stile', true, true, 'Strict'], 'the cookie');
	state = await page.context().storageState();
	noFaults(page);
});

test('The Overview shows each service with version, uptime and load, the charts and the machine', async () => {
	const page = await opened();
	await card(page, 'turn').getByText('running').first().waitFor();
	for (const s of ['turn', 'tunnel', 'console']) await until(async () => /\d+\.\d+\.\d+/.test(await card(page, s).textContent()), `the version of ${s}`);
	await until(async () => /up for \d/.test(await card(page, 'turn').textContent()), 'the uptime of stile-turn');
	const quiet = await card(page, 'console').textContent();
	const chart = page.getByRole('img', { name: /Throughput: In .*bit\/s/ });
	await chart.waitFor();
	const legend = chart.locator('xpath=following-sibling::ul');
	const pointed = async what => until(async () => /\d\d:\d\d:\d\d/.test(await legend.innerText()), `the time of the point, by ${what}`);
	await chart.hover();
	await pointed('the pointer');
	await page.mouse.move(0, 0);
	await chart.focus();
	await page.keyboard.press('ArrowLeft');
	await pointed('the keyboard');
	await page.keyboard.press('Escape');
	await until(async () => !/\d\d:\d\d:\d\d/.test(await legend.innerText()), 'no point');
	const drawn = () => chart.locator('canvas').evaluate(c => [c.width === Math.round(c.clientWidth * devicePixelRatio), new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size > 2]);
	await until(async () => (await drawn()).every(Boolean), 'lines and labels');
	await until(async () => (await card(page, 'console').textContent()) !== quiet, 'the uptime of a service without figures');
	await page.setViewportSize({ width: 700, height: 900 });
	await until(async () => (await drawn()).every(Boolean), 'the chart in a narrower window');
	await page.setViewportSize({ width: 1280, height: 900 });
	await page.getByRole('meter', { name: 'Memory' }).waitFor();
	await page.getByRole('rowheader', { name: 'lo', exact: true }).waitFor();
	await accessible(page, 'the Overview');
	await shot(page, 'overview-en-light');
	noFaults(page);
});

async function startTurn(page) {
	const [program, ...args] = JSON.parse(turnArgv);
	turn = spawn(program, args, { stdio: 'ignore' });
	await card(page, 'turn').locator('.pill.ok, .pill.warning').filter({ hasText: 'running' }).waitFor();
}

test('A service that was killed shows its end without a reload of the page, and its return', async () => {
	const page = await opened();
	await card(page, 'turn').getByText('running').first().waitFor();
	process.kill(Number(turnPid), 'SIGKILL');
	await card(page, 'turn').locator('.pill.failed, .pill.off').waitFor();
	await page.locator('.box.failed').filter({ hasText: 'stile-turn' }).waitFor();
	await accessible(page, 'the Overview with a failed service');
	await shot(page, 'overview-failed');
	await startTurn(page);
	noFaults(page);
});

test('A list of services that comes later than the news of one does not hide it', async () => {
	const page = await opened();
	let hold = true;
	let release;
	let asked;
	const released = new Promise(done => (release = done));
	const held = new Promise(done => (asked = done));
	await page.route('**/api/v1/services', async route => {
		if (!hold) return route.continue();
		const response = await route.fetch();
		asked();
		await released;
		await route.fulfill({ response });
	});
	await page.reload();
	await held;
	await page.waitForTimeout(500); // the stream of events begins meanwhile, and lists are asked for again
	hold = false;
	turn.kill('SIGKILL');
	await card(page, 'turn').locator('.pill.failed, .pill.off').waitFor(); // from the stream: no list is there yet
	equal(await card(page, 'tunnel').count(), 0, 'a list');
	release();
	await card(page, 'tunnel').waitFor();
	await card(page, 'turn').locator('.pill.failed, .pill.off').waitFor();
	await page.unroute('**/api/v1/services');
	await startTurn(page);
	noFaults(page);
});

test('Reload acts at once; Stop asks first, and Esc is no', async () => {
	const page = await opened();
	await act(page, 'turn', 'Reload');
	await page.getByText('stile-turn has reloaded its configuration.').waitFor();
	await act(page, 'tunnel', 'Stop');
	await page.getByRole('dialog', { name: 'Stop stile-tunnel?' }).waitFor();
	await accessible(page, 'the question');
	await shot(page, 'question');
	await page.keyboard.press('Escape');
	await page.getByRole('dialog').waitFor({ state: 'detached' });
	await page.waitForTimeout(300);
	holds(/running/.test(await card(page, 'tunnel').textContent()), 'the tunnel server goes on');
	noFaults(page);
});

test('A value of the file is locked with its line; another is changed, reviewed, applied and confirmed', async () => {
	const page = await opened({}, '#/configuration');
	await page.locator('select').first().selectOption('turn');
	await page.getByLabel('Filter of the keys').fill('turn.listen');
	await page.locator('[data-path="turn.listen"]').getByText(/set in stile\.yaml:\d+/).waitFor();
	await page.getByLabel('Filter of the keys').fill('turn.limits.allocations');
	const value = page.locator('[name="turn.limits.allocations"]');
	await value.waitFor();
	await value.fill('nonsense');
	await click(page, 'Review and apply');
	await page.locator('[data-path="turn.limits.allocations"] .error').waitFor();
	await accessible(page, 'an error beside its field');
	await shot(page, 'configuration-error');
	await value.fill('5000');
	await click(page, 'Review and apply');
	await page.getByRole('dialog', { name: 'Changes of turn' }).getByText('5000').waitFor();
	await accessible(page, 'the review');
	await shot(page, 'configuration-review');
	await click(page, 'Apply');
	await page.getByRole('dialog', { name: 'Keep this change?' }).waitFor();
	await accessible(page, 'the confirmation');
	await shot(page, 'configuration-confirm');
	await stays(page, 'Keep this change?');
	await keep(page);
	await page.locator('[data-path="turn.limits.allocations"]').getByText('set in the console').waitFor();
	noFaults(page);
});

test('Two administrators: the second one is shown both versions and may use his', async () => {
	const [a, b] = [await opened({}, '#/configuration'), await opened({ allowed: [/status of 4(09|12)/] }, '#/configuration')];
	for (const [page, value] of [
		[a, '6000'],
		[b, '7009'],
	]) {
		await page.locator('select').first().selectOption('turn');
		await page.getByLabel('Filter of the keys').fill('turn.limits.allocations');
		await page.locator('[name="turn.limits.allocations"]').fill(value);
	}
	await click(a, 'Review and apply');
	const reloaded = b.waitForResponse(r => r.url().endsWith('/services/turn/config'));
	await click(a, 'Apply');
	await keep(a);
	await reloaded;
	await b.waitForTimeout(300); // what was read is drawn
	await b.locator('[name="turn.limits.allocations"]').press('End');
	for (const key of ['Backspace', '0']) await b.keyboard.press(key);
	await click(b, 'Review and apply');
	await click(b, 'Apply');
	const both = b.getByRole('dialog', { name: 'Somebody else changed it too' });
	await both.getByRole('cell', { name: '6000' }).waitFor();
	await both.getByRole('cell', { name: '7000' }).waitFor();
	await accessible(b, 'the conflict');
	await shot(b, 'conflict');
	await click(b, 'Use mine');
	await click(b, 'Apply');
	await keep(b);
	await until(async () => (await b.locator('[name="turn.limits.allocations"]').inputValue()) === '7000', 'the value of the second one');
	noFaults(a);
	noFaults(b);
});

test('The audit log has who changed what, before and after; a change is undone there', async () => {
	const page = await opened({}, '#/audit');
	await page.getByRole('grid', { name: 'Audit log' }).waitFor();
	await page.getByRole('gridcell', { name: 'console.action' }).first().waitFor();
	await accessible(page, 'the audit log');
	await fits(page, 'the audit log');
	await shot(page, 'audit');
	await page.locator('select').first().selectOption('turn');
	await page.getByRole('gridcell', { name: 'turn.limits.allocations' }).first().dblclick();
	const dialog = page.getByRole('dialog', { name: 'setting turn.limits.allocations' });
	await dialog.getByText('7000').waitFor();
	await dialog.getByText('6000').waitFor();
	await accessible(page, 'before and after');
	await shot(page, 'audit-details');
	await click(page, 'Undo');
	await page.getByRole('dialog', { name: 'Undo this change?' }).getByRole('button', { name: 'Undo', exact: true }).click();
	await page.getByText('The change was undone.').waitFor();
	await page.goto(`${url}#/configuration`);
	await page.locator('select').first().selectOption('turn');
	await until(async () => (await page.locator('[name="turn.limits.allocations"]').inputValue()) === '6000', 'the value before the change');
	noFaults(page);
});

test('The audit of a service goes on behind the 200 changes that it gives at a time', async () => {
	const page = await opened({}, '#/audit');
	const at = '/api/v1/services/turn/config/turn.limits.channels';
	await page.evaluate(async path => {
		const { csrf } = await fetch('/api/v1/me').then(r => r.json());
		const headers = { 'X-Stile-CSRF': csrf, 'Content-Type': 'application/json' };
		for (let i = 0; i < 210; i++) await fetch(path, { method: 'PUT', headers, body: JSON.stringify({ value: 1000 + i }) });
		await fetch(path, { method: 'DELETE', headers });
	}, at);
	await page.locator('select').first().selectOption('turn');
	await page.getByRole('gridcell', { name: 'turn.limits.channels' }).first().waitFor();
	await page.getByRole('columnheader', { name: 'Time' }).click(); // the oldest first
	await page.getByRole('gridcell', { name: 'turn.realm', exact: true }).dblclick(); // set by the wizard
	await page.getByRole('dialog', { name: 'setting turn.realm' }).getByText('example.org').waitFor();
	noFaults(page);
});

test('F1 and ? open the manual at the topic of the field or page, in the language of the page', async () => {
	const page = await opened({}, '#/configuration');
	await page.locator('select').first().selectOption('turn');
	await page.getByLabel('Filter of the keys').fill('turn.realm');
	await page.locator('[name="turn.realm"]').focus();
	await page.keyboard.press('F1');
	await page.getByRole('heading', { name: 'Values and where they come from' }).waitFor();
	await accessible(page, 'the manual');
	await shot(page, 'manual');
	await page.keyboard.press('Escape');
	await focused(page, 'name', 'turn.realm', 'where the focus goes back to');
	await page.keyboard.type('?');
	equal(await page.locator('.help').count(), 0, 'a ? that is typed into a field opens nothing');
	await page.goto(`${url}#/overview`);
	await card(page, 'turn').waitFor();
	await page.locator('main').focus();
	await page.keyboard.press('?');
	await page.locator('.help').getByRole('heading', { name: 'Overview', level: 2 }).waitFor();
	await page.getByRole('searchbox', { name: 'Search the manual' }).fill('yescrypt');
	await page.locator('.contents').getByText('First run').waitFor();
	await page.getByRole('searchbox', { name: 'Search the manual' }).fill('resume');
	await page.locator('.contents').getByText('Cameras behind LTE').click();
	await page.locator('.help').getByRole('heading', { name: 'For two hours only' }).waitFor();
	await page.locator('.help').getByRole('link', { name: 'Publishing devices with care' }).first().click();
	await page.locator('.help').getByRole('heading', { name: 'Protocols without protection' }).waitFor();
	await accessible(page, 'a guide');
	await shot(page, 'guide');
	noFaults(page);
});

test('Three languages, with their numbers and plurals, light and dark, wide and narrow', async () => {
	const looks = [
		['de-DE', false, 1280, 'Übersicht', /\d,\d+ (GiB|MiB)|\d (GiB|MiB)/],
		['it-IT', true, 1280, 'Panoramica', /\d (GiB|MiB)/],
		['en-GB', true, 390, 'Overview', /\d (GiB|MiB)/],
		['de-DE', false, 390, 'Übersicht', /\d (GiB|MiB)/],
	];
	for (const [language, dark, width, title, numbers] of looks) {
		const name = `${language.slice(0, 2)}-${dark ? 'dark' : 'light'}-${width}`;
		const page = await opened({ language, dark, width, height: width < 500 ? 844 : 900 });
		await page.getByRole('heading', { name: title, level: 1 }).waitFor();
		await card(page, 'turn').waitFor();
		await page.getByRole('meter').first().waitFor();
		equal(await page.evaluate(() => document.documentElement.lang), language.slice(0, 2), 'the language of the document');
		holds(numbers.test((await page.locator('main').textContent()).replace(/\u00a0/g, ' ')), `numbers in ${language}`);
		await accessible(page, `the Overview, ${name}`);
		await fits(page, `the Overview, ${name}`);
		await shot(page, `overview-${name}`);
		await page.goto(`${url}#/configuration`);
		await page.locator('details').first().waitFor();
		await accessible(page, `the Configuration, ${name}`);
		await fits(page, `the Configuration, ${name}`);
		await shot(page, `configuration-${name}`);
		noFaults(page);
		await page.context().close();
	}
});

test('By keyboard alone: skip link, menus with arrows; a narrow window has its navigation behind a button', async () => {
	const page = await opened();
	await card(page, 'turn').waitFor();
	await page.keyboard.press('Tab');
	await page.keyboard.press('Enter');
	await focused(page, 'id', 'main', 'the first Tab and Enter skip to the page');
	await page.getByRole('button', { name: 'Language' }).focus();
	await page.keyboard.press('Enter');
	await page.waitForFunction(() => document.activeElement.getAttribute('role') === 'menuitemradio');
	await page.keyboard.press('ArrowDown');
	await page.keyboard.press('Enter');
	await page.getByRole('heading', { name: 'Übersicht', level: 1 }).waitFor();
	await focused(page, 'aria-haspopup', 'menu', 'the focus is back at the button');
	await page.setViewportSize({ width: 390, height: 844 });
	await page.locator('nav').waitFor({ state: 'hidden' });
	await page.getByRole('button', { name: 'Seiten' }).click();
	await accessible(page, 'the open navigation');
	await shot(page, 'navigation-390');
	await page.getByRole('link', { name: 'Konfiguration' }).click();
	await page.getByRole('heading', { name: 'Konfiguration', level: 1 }).waitFor();
	await page.locator('nav').waitFor({ state: 'hidden' });
	await page.evaluate(() => localStorage.clear());
	equal((await api(page, 'PUT', '/me', { language: 'en' })).status, 200, 'the language of the account');
	noFaults(page);
});

test('A session that ends under the page is renewed over it; what was typed is kept', async () => {
	const page = await opened({ allowed: [UNKNOWN, /status of 403/] }, '#/configuration');
	await page.locator('select').first().selectOption('turn');
	await page.getByLabel('Filter of the keys').fill('turn.limits.allocations');
	await page.locator('[name="turn.limits.allocations"]').fill('8000');
	await page.context().clearCookies();
	await click(page, 'Review and apply');
	const again = page.getByRole('dialog', { name: 'Log in again' });
	await again.waitFor();
	await focused(page, 'name', 'password', 'the focus of the login over the page');
	await accessible(page, 'the login over the page');
	await shot(page, 'login-again');
	await stays(page, 'Log in again');
	await focused(page, 'name', 'password', 'the focus of the login that has stayed');
	await again.locator('input[name=password]').fill(PASSWORD);
	await page.keyboard.press('Enter');
	await again.waitFor({ state: 'detached' });
	equal(await page.locator('[name="turn.limits.allocations"]').inputValue(), '8000', 'what was typed');
	state = await page.context().storageState();
	noFaults(page);
});

test('Logging out ends the session for every page of this browser', async () => {
	const page = await opened({ allowed: [UNKNOWN] });
	await page.getByRole('button', { name: 'Account of admin' }).click();
	await page.getByRole('menuitem', { name: 'Log out' }).click();
	await page.locator('input[name=password]').waitFor();
	equal((await api(page, 'GET', '/services')).status, 401, 'the API after the logout');
	noFaults(page);
});

try {
	await run(browser);
} finally {
	turn?.kill('SIGTERM');
	if (turn) await until(() => turn.exitCode !== null || turn.signalCode !== null, 'the end of stile-turn');
}
