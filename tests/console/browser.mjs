// SPDX-License-Identifier: Apache-2.0
//
// Debian's Chromium, driven by playwright-core, for the tests of the pages. A page that logs an error, throws, asks
// another host or breaks the Content-Security-Policy fails its case; axe finds what a reader with other senses could not use.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failed, main } from './cases.mjs';

export const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
export const web = join(root, 'console/web');
const require = createRequire(join(web, 'package.json'));
const { chromium } = require('playwright-core');
const axeSource = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const WAIT_MS = 40_000; // a machine with much to do answers late; only what fails waits so long

const ARGS = [
	'--no-sandbox',
	'--disable-gpu',
	'--disable-quic',
	'--no-first-run',
	'--disable-background-networking',
	'--disable-component-update',
	'--disable-sync',
	'--disable-dev-shm-usage',
	'--allow-loopback-in-peer-connection', // WebRTC's relay on this machine
	'--force-webrtc-ip-handling-policy=default',
];

export async function launch() {
	// The one without windows takes half the CPU time; the script /usr/bin/chromium looks at the desktop first.
	const path = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);
	if (!path) throw new Failed('there is no Chromium: tools/install-packages check');
	return chromium.launch({ executablePath: path, args: ARGS });
}

// What a page did wrong is collected in page.faults; `allowed` are patterns of what the case brings about itself.
export async function open(browser, url, { language = 'en-GB', dark = false, width = 1280, height = 900, allowed = [], state, chosen } = {}) {
	const context = await browser.newContext({
		viewport: { width, height },
		locale: language,
		timezoneId: 'UTC',
		colorScheme: dark ? 'dark' : 'light',
		reducedMotion: 'reduce',
		storageState: state,
		ignoreHTTPSErrors: true, // certificates of a test
	});
	context.setDefaultTimeout(WAIT_MS);
	// chosen: somebody has chosen this language in this browser; otherwise the account's counts, then the browser's own.
	if (chosen) await context.addInitScript(l => localStorage.getItem('stile.language') ?? localStorage.setItem('stile.language', l), chosen);
	const page = await context.newPage();
	page.faults = [];
	const fault = text => allowed.some(p => p.test(text)) || page.faults.push(text);
	page.on('console', m => m.type() === 'error' && fault(`console: ${m.text()} ${m.location().url}`));
	page.on('pageerror', e => fault(`threw: ${e.stack}`));
	page.on('request', r => !r.url().startsWith(new URL(url).origin) && !r.url().startsWith('data:') && fault(`asked ${r.url()}`));
	await page.goto(url);
	return page;
}

export function noFaults(page) {
	if (page.faults.length) throw new Failed(page.faults.join('\n'));
}

// Waits until fn, run here, gives something true.
export async function until(fn, what) {
	const end = Date.now() + WAIT_MS;
	for (;;) {
		const got = await fn();
		if (got) return got;
		if (Date.now() > end) throw new Failed(`not within ${WAIT_MS / 1000} s: ${what}`);
		await new Promise(done => setTimeout(done, 50));
	}
}

// Violations of WCAG 2.2 A and AA and of axe's own best practices, each with the element.
export async function accessible(page, what) {
	if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axeSource);
	const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
	const list = found.violations.flatMap(v => v.nodes.map(n => `${v.id}: ${v.help}\n    ${n.html.slice(0, 200)}\n    ${n.failureSummary}`));
	if (list.length) throw new Failed(`${what}:\n${list.join('\n')}`);
}

// A picture for eyes, where STILE_SHOTS names a folder.
export async function shot(page, name) {
	const folder = process.env.STILE_SHOTS;
	if (!folder) return;
	mkdirSync(folder, { recursive: true });
	await page.screenshot({ path: join(folder, `${name}.png`) });
}

// Nothing of the page is wider than the window.
export async function fits(page, what) {
	const wide = await page.evaluate(() => {
		const w = document.documentElement.clientWidth;
		const inScroller = e => e.closest('.scroll, .wide-table, .grid, pre, .chart');
		return [...document.querySelectorAll('body *')]
			.filter(e => e.getBoundingClientRect().right > w + 1 && !inScroller(e) && !e.closest('.hidden, .skip'))
			.map(e => e.outerHTML.slice(0, 120));
	});
	if (wide.length) throw new Failed(`${what} is wider than the window:\n${wide.slice(0, 5).join('\n')}`);
}

export const click = (page, name, role = 'button') => page.getByRole(role, { name, exact: true }).click();

// The API as a page of this origin calls it: with its cookie.
export const api = (page, method, path, body) =>
	page.evaluate(
		async ([m, p, b]) => {
			const me = m === 'GET' ? {} : await fetch('/api/v1/me').then(r => (r.ok ? r.json() : {}));
			const headers = { 'X-Stile-CSRF': me.csrf ?? '', 'Content-Type': 'application/json' };
			const r = await fetch(`/api/v1${p}`, { method: m, headers, body: b && JSON.stringify(b) });
			return { status: r.status, body: await r.json().catch(() => null) };
		},
		[method, path, body],
	);

// Runs the cases; a failed one says what its pages showed.
export async function run(browser) {
	try {
		await main(async fn => {
			try {
				await fn();
			} catch (e) {
				for (const p of browser.contexts().flatMap(c => c.pages())) {
					await shot(p, `failed-${Date.now()}`);
					e.message += `\nthe page said: ${(await p.locator('body').innerText().catch(() => '')).replace(/\s+/g, ' ').slice(0, 1200)}\n${p.faults?.join('\n')}`;
					e.stack = e.message;
				}
				throw e;
			} finally {
				for (const c of browser.contexts()) await c.close();
			}
		});
	} finally {
		await browser.close();
	}
}
