// SPDX-License-Identifier: Apache-2.0
//
// The table that every page uses, alone in Chromium with 10,000 rows: what it costs, that it holds still under the
// reader, keyboard and choice. Built by Vite as the pages are, served by this script with the console's policy.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { accessible, launch, noFaults, open, root, shot, web } from './browser.mjs';
import { equal, holds, main, test } from './cases.mjs';

const { build } = await import(createRequire(join(web, 'package.json')).resolve('vite').replace(/index\.cjs$/, 'dist/node/index.js'));
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'";
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
const folder = mkdtempSync(join(tmpdir(), 'stile-tables-'));
const grid = p => p.locator('[role=grid]');
const cells = (p, n) => p.$$eval('.rows [role=row]', (list, k) => list.map(r => r.children[k].textContent), n);
const sorted = list => list.every((v, i) => !i || Number(list[i - 1]) <= Number(v));
let browser;
let server;
let url;

async function prepare() {
	writeFileSync(
		join(folder, 'index.html'),
		`<!doctype html><html lang="en"><head><title>Table</title></head><body><div id="app"></div>
<script type="module" src="${root}/tests/console/table_page.jsx"></script></body></html>`,
	);
	await build({
		root: folder,
		configFile: false,
		logLevel: 'error',
		esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
		resolve: { alias: ['preact/jsx-runtime', 'preact/hooks', 'preact', '@preact/signals'].map(m => ({ find: new RegExp(`^${m}$`), replacement: join(web, 'node_modules', m) })) },
		build: { outDir: join(folder, 'dist'), target: 'es2022', modulePreload: { polyfill: false } },
	});
	server = createServer((req, res) => {
		try {
			const path = req.url === '/' ? '/index.html' : req.url;
			const data = readFileSync(join(folder, 'dist', path));
			res.writeHead(200, { 'Content-Type': TYPES[extname(path)] ?? 'text/plain', 'Content-Security-Policy': CSP });
			res.end(data);
		} catch {
			res.writeHead(req.url === '/favicon.ico' ? 204 : 404).end();
		}
	});
	await new Promise(done => server.listen(0, '127.0.0.1', done));
	url = `http://127.0.0.1:${server.address().port}/`;
	browser = await launch();
}

test('10,000 rows are some dozens of elements, and a change of a tenth of them costs less than a fifth of a second', async page => {
	await grid(page).waitFor();
	equal(await grid(page).getAttribute('aria-rowcount'), '10001', 'rows told to a screen reader');
	const elements = await page.locator('.rows [role=row]').count();
	holds(elements > 10 && elements < 80, `${elements} rows are elements`);
	await page.locator('[role=columnheader] button').nth(2).click(); // by a column that changes
	const times = [];
	for (let i = 0; i < 12; i++) times.push(await page.evaluate(() => window.tick()));
	const median = times.sort((a, b) => a - b)[6];
	console.log(`  median of ${times.length} updates, sorted by what changes: ${median.toFixed(1)} ms`);
	holds(median < 200, `an update takes ${median} ms`);
	holds(sorted(await cells(page, 2)), 'the rows in sight are in order after the changes');
	await accessible(page, 'the table');
	await shot(page, 'table');
});

test('The wheel and the keys reach every row; what is chosen stays chosen while rows change', async page => {
	await grid(page).focus();
	await page.keyboard.press('End');
	await page.locator('.rows .active').waitFor();
	equal(await page.locator('.rows .active [role=gridcell]').first().textContent(), '9999', 'the last row');
	await page.keyboard.press('ArrowUp');
	await page.keyboard.press('Space');
	await page.evaluate(() => window.tick());
	equal(await page.locator('.rows [aria-selected=true] [role=gridcell]').first().textContent(), '9998', 'the chosen row after a change');
	await page.keyboard.press('Shift+ArrowUp');
	await page.keyboard.press('Shift+ArrowUp');
	equal(await page.locator('.rows [aria-selected=true]').count(), 3, 'rows chosen with Shift');
	await page.keyboard.press('Delete');
	equal(await page.evaluate(() => window.removed), [9996, 9997, 9998], 'what Del is for');
	await page.keyboard.press('Enter');
	equal(await page.evaluate(() => window.opened), 9996, 'what Enter opens');
	await page.keyboard.press('Home');
	equal(await grid(page).evaluate(g => g.scrollTop), 0, 'Home goes to the top');
	await grid(page).evaluate(g => g.scrollTo(0, 36 * 5000));
	await page.waitForFunction(() => [...document.querySelectorAll('.rows [role=row]')].some(r => r.getAttribute('aria-rowindex') === '5002'));
});

test('A filter leaves what passes it, Ctrl+A chooses only that, and HTML in a name is text', async page => {
	await page.locator('input[type=search]').fill('user-12');
	await page.waitForFunction(() => document.querySelector('[role=grid]').getAttribute('aria-rowcount') === '112');
	await grid(page).focus();
	await page.keyboard.press('Control+a');
	await page.getByRole('button', { name: 'Kill 111' }).waitFor();
	holds((await cells(page, 1)).every(x => x.includes('<b>x</b>')), 'names are shown as they are');
	equal(await page.locator('.rows b').count(), 0, 'elements that a name made');
	await page.locator('input[type=search]').fill('nobody');
	await page.getByText('Nothing passes the filter.').waitFor();
	await accessible(page, 'the empty table');
});

try {
	await prepare();
	await main(async fn => {
		const page = await open(browser, url);
		try {
			await fn(page);
			noFaults(page);
		} finally {
			await page.context().close();
		}
	});
} finally {
	await browser?.close();
	server?.close();
	rmSync(folder, { recursive: true, force: true });
}
