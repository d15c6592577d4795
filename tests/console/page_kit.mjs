// SPDX-License-Identifier: Apache-2.0
//
// What the cases of single pages share (pages_NAME.mjs; page_world.py has started the services): an administrator who is
// logged in, other accounts, the API as a page calls it, and world(), which asks page_world.py for traffic and restarts.
//
//	test('…', async () => {
//		const page = await opened({}, '#/turn');          // as the administrator; { role: 'viewer' }, { language: 'de-DE' }, …
//		await world('client', { name: 'alice' });
//		await grid(page, 'Sessions').row('alice').waitFor();
//		await looked(page, 'turn', 'the sessions');       // axe, nothing wider than the window, a picture
//		noFaults(page);
//	});
//	await cases();
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { accessible, api, click, fits, launch, noFaults, open, run, shot, until, web } from './browser.mjs';
import { Failed } from './cases.mjs';

export { accessible, api, click, fits, noFaults, shot, until } from './browser.mjs';
export { Failed, equal, holds, test } from './cases.mjs';

export const { STILE_URL: url, STILE_TOKEN: token } = process.env;
export const base = Number(process.env.STILE_BASE);
export const USER = 'admin';
export const PASSWORD = 'a password for the test';
export const UNKNOWN = /status of 401/; // the question whether somebody is logged in, answered with no
export const HOSTILE = '<img src=x onerror=alert(1)>'; // for every name that a stranger can choose
const browser = await launch();
const states = {}; // role → the cookie of a login

export const LANGUAGES = ['en-GB', 'de-DE', 'it-IT'];
export const dialog = (page, name) => page.getByRole('dialog', { name });

// The words of a language, those of the frame and of every page: words('de')['tunnel.add'].
export function words(language) {
	const folder = join(web, 'src/lang');
	const files = readdirSync(folder).filter(f => f === `${language}.json` || f.endsWith(`.${language}.json`));
	return Object.assign({}, ...files.map(f => JSON.parse(readFileSync(join(folder, f), 'utf8'))));
}

// A word that has a plural, with its number.
export const counted = (word, n) => word[n === 1 ? 'one' : 'other'].replace('{n}', n);

// A key that the page shows gets this value (null: its default again), which is reviewed, applied and kept; w: the page's words.
export async function applied(page, w, path, value) {
	const row = page.locator(`[data-path="${path}"]`);
	const input = row.locator(`[name="${path}"]`);
	if (value === null) await row.getByRole('button', { name: w['edit.default'], exact: true }).click();
	else if ((await input.evaluate(e => e.tagName)) === 'SELECT') await input.selectOption(value);
	else await input.fill(value);
	await click(page, w.review);
	await click(page, w.apply);
	await click(page, w['confirm.keep']);
	await dialog(page, w['confirm.title']).waitFor({ state: 'detached' });
	await row.getByText(w[value === null ? 'source.default' : 'source.store'], { exact: true }).waitFor();
}

// As a hand does it: a click puts the caret behind what stands there.
export async function typed(at, text) {
	await at.click();
	await at.page().keyboard.type(text);
}

// page_world.py's do_WHAT(args); → what it returned.
export function world(what, args = {}) {
	return new Promise((resolve, reject) => {
		const s = connect(process.env.STILE_CASES);
		let text = '';
		s.on('error', reject);
		s.on('data', d => {
			text += d;
			if (!text.endsWith('\n')) return;
			s.end();
			const { result, error } = JSON.parse(text);
			if (error === undefined) resolve(result);
			else reject(new Failed(`${what}: ${error}`));
		});
		s.write(`${JSON.stringify({ do: what, args })}\n`);
	});
}

async function begin(path, body) {
	const page = await open(browser, url, { allowed: [UNKNOWN] });
	const got = await api(page, 'POST', path, body);
	if (got.status !== 200) throw new Failed(`${path}: ${got.status} ${JSON.stringify(got.body)}`);
	const state = await page.context().storageState();
	await page.context().close();
	return state;
}

// The cookie of an account of this role; the first administrator is made by the set-up token.
export async function login(role = 'administrator') {
	if (role === 'administrator') return (states[role] ??= await begin('/setup', { token, user: USER, password: PASSWORD, language: 'en' }));
	if (!states[role]) {
		const page = await opened();
		await api(page, 'POST', '/users', { name: role, role, password: PASSWORD });
		await page.context().close();
		states[role] = await begin('/login', { user: role, password: PASSWORD });
	}
	return states[role];
}

// The page at this place ("#/turn") once its frame is there.
export async function opened({ role = 'administrator', ...more } = {}, place = '') {
	const state = await login(role);
	const page = await open(browser, `${url}${place}`, { state, chosen: (more.language ?? 'en').slice(0, 2), ...more });
	await page.locator('nav').waitFor({ state: 'attached' });
	return page;
}

// The table of this name: its rows, cells and what chooses one.
export function grid(page, name) {
	const at = page.getByRole('grid', { name, exact: true });
	const row = text => at.locator('.rows [role=row]').filter({ hasText: new RegExp(text.replace(/[^\w ]/g, '\\$&')) }).first();
	return {
		at,
		row,
		cell: (text, column) => row(text).locator('[role=gridcell]').nth(column),
		rows: () => at.locator('.rows [role=row]'),
		choose: (...texts) => choose(row, texts),
	};
}

async function choose(row, texts) {
	for (const [i, text] of texts.entries()) await row(text).locator('[role=gridcell]').first().click({ modifiers: i ? ['Control'] : [] });
}

// What a reader with other senses, a narrow window and eyes would see of it.
export async function looked(page, name, what) {
	await accessible(page, what);
	await fits(page, what);
	await shot(page, name);
}

const LOOKS = [
	['en-GB', false, 1280],
	['en-GB', true, 1280],
	['de-DE', false, 390],
	['it-IT', true, 390],
];

// Places ([place, name, ready(page, language)], …) in light, dark and phone width; ready waits until there is what to look at.
export async function inAllLooks(...places) {
	for (const [language, dark, width] of LOOKS) {
		const page = await opened({ language, dark, width, height: width < 500 ? 844 : 900 });
		for (const [place, name, ready] of places) {
			const look = `${name}-${language.slice(0, 2)}-${dark ? 'dark' : 'light'}-${width}`;
			await page.goto(`${url}${place}`);
			await ready(page, language.slice(0, 2));
			await looked(page, look, look);
		}
		noFaults(page);
		await page.context().close();
	}
}

export const cases = () => run(browser);
