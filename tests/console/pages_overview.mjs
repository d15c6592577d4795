// SPDX-License-Identifier: Apache-2.0
// What can happen to services and console while somebody looks at the Overview; pages_overview.py makes it happen.
import { UNKNOWN, accessible, api, cases, click, dialog, equal, holds, login, looked, noFaults, opened, shot, test, until, world } from './page_kit.mjs';

const BROKEN = /status of (401|50[234])|ERR_(CONNECTION|EMPTY|SSL|INVALID_HTTP)/; // what a console or service that is away says
const card = page => page.locator('[data-service="turn"]');
const state = (page, text) => card(page).locator('.pill').filter({ hasText: text }).waitFor({ timeout: 60_000 });

async function act(page, name) {
	await card(page).locator('.menu > button').click();
	await page.getByRole('menuitem', { name, exact: true }).click();
}

test('Restart and Stop name what ends and do it, an operator starts it again and is not offered what he may not', async () => {
	const page = await opened();
	await state(page, 'running');
	await world('client');
	await until(async () => /Allocations\s*1/.test(await card(page).innerText()), 'the allocation');
	let pid = await world('pid');
	await act(page, 'Restart');
	const restart = dialog(page, 'Restart stile-turn?');
	await restart.getByText('stile-turn: 1 allocation ends').waitFor();
	await looked(page, 'overview-restart', 'the question before a restart');
	await click(restart, 'Restart');
	await until(async () => (await world('pid')) !== pid, 'another process');
	await state(page, 'running');
	await act(page, 'Stop');
	await click(dialog(page, 'Stop stile-turn?'), 'Stop');
	await state(page, 'stopped');
	await card(page).getByText('exit code 0').waitFor();
	await looked(page, 'overview-stopped', 'a stopped service');
	const his = await opened({ role: 'operator' });
	await state(his, 'stopped');
	await act(his, 'Start');
	await state(page, 'running');
	await act(his, 'Reload');
	await his.getByText('stile-turn has reloaded its configuration.').waitFor();
	await card(his).locator('.menu > button').click();
	equal(await his.getByRole('menuitem').allTextContents(), ['Reload'], 'what an operator may do with a running service');
	noFaults(page);
	noFaults(his);
});

test('A drained service takes nothing new and stops behind its last session', async () => {
	const page = await opened();
	await state(page, 'running');
	await world('client');
	await until(async () => /Allocations\s*1/.test(await card(page).innerText()), 'the allocation');
	await act(page, 'Drain');
	await click(dialog(page, 'Drain stile-turn?'), 'Drain');
	await state(page, 'draining');
	await accessible(page, 'a draining service');
	await shot(page, 'overview-draining');
	await world('leave');
	await state(page, 'stopped');
	await act(page, 'Start');
	await state(page, 'running');
	noFaults(page);
});

test('The Overview comes compressed, and how soon it is painted is told', async () => {
	const page = await opened();
	await state(page, 'running');
	await until(() => page.evaluate(() => performance.getEntriesByName('first-contentful-paint').length), 'the first paint'); // what is in the page may not be drawn yet
	const { paint, bytes, list } = await page.evaluate(() => {
		const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].filter(r => !r.name.includes('/api/'));
		return {
			paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
			bytes: all.reduce((n, r) => n + r.encodedBodySize, 0),
			list: all.map(r => `${r.name.split('/').pop()} ${r.encodedBodySize}`),
		};
	});
	console.log(`  first paint after ${Math.round(paint)} ms, ${bytes} bytes: ${list.join(', ')}`);
	holds(paint > 0 && bytes > 20_000 && bytes < 120_000, `${bytes} bytes: ${list.join(', ')}`); // words.mjs has the bar
	noFaults(page);
});

test('What needs attention is said in each language, with what to do', async () => {
	const words = { 'en-GB': /The certificate .*server\.pem ends in 10 days, on /, 'de-DE': /Zertifikat .*server\.pem .*10 Tage/, 'it-IT': /certificato .*server\.pem .*10 giorni/ };
	const todo = { 'en-GB': 'renew it, then: stile reload', 'de-DE': 'erneuern, dann: stile reload', 'it-IT': 'rinnovarlo, poi: stile reload' };
	for (const [language, text] of Object.entries(words)) {
		const page = await opened({ language });
		await page.locator('[data-id=certificate-ends]').getByText(text).waitFor();
		await page.locator('[data-id=certificate-ends]').getByText(todo[language]).waitFor();
		await looked(page, `overview-warning-${language.slice(0, 2)}`, 'a warning');
		noFaults(page);
		await page.context().close();
	}
});

test('A service that does not answer is said to be late, and well again when it answers', async () => {
	const page = await opened({ allowed: [BROKEN] });
	await state(page, 'running');
	const pid = await world('pid');
	await world('freeze');
	try {
		await state(page, 'does not answer');
		await card(page).getByText('It runs, but does not answer the console.').waitFor();
		await looked(page, 'overview-late', 'a late service');
		await page.getByRole('link', { name: 'Configuration' }).click();
		await page.locator('main select').first().selectOption('turn');
		await page.locator('main .box.failed').waitFor({ timeout: 60_000 });
		await shot(page, 'configuration-late');
	} finally {
		await world('thaw', { pid });
	}
	await page.getByRole('link', { name: 'Overview' }).click();
	await state(page, 'running');
	noFaults(page);
});

test('With two hundred streams of others open a page works and says that it is not live, until one ends', async () => {
	const state200 = await login();
	const cookie = state200.cookies.map(c => `${c.name}=${c.value}`).join('; ');
	await world('streams', { cookie, more: true });
	const page = await opened({ allowed: [BROKEN] });
	await page.getByText('Not live: reconnecting …').waitFor();
	await state(page, 'running');
	await looked(page, 'overview-not-live', 'a page that is not live');
	await world('streams', { cookie, more: false });
	await page.getByText('Not live: reconnecting …').waitFor({ state: 'detached', timeout: 60_000 });
	noFaults(page);
});

test('A change that cuts the console off is rolled back when nobody confirms it', async () => {
	const page = await opened({ allowed: [BROKEN, UNKNOWN] }, '#/configuration');
	// The page's minute is a quarter of one here; all else is as it is.
	await page.route('**/changes/*/commit', route => route.continue({ postData: JSON.stringify({ ...route.request().postDataJSON(), confirm_within_ms: 15_000 }) }));
	await page.locator('main select').first().selectOption('console');
	await page.getByLabel('Filter of the keys').fill('console.client_ca');
	await page.locator('[name="console.client_ca"]').fill(`${process.env.STILE_FOLDER}/web.pem`);
	await click(page, 'Review and apply');
	await click(dialog(page, 'Changes of console'), 'Apply');
	await until(async () => !(await world('reached')), 'the console wants certificates of its clients');
	await shot(page, 'configuration-cut-off');
	await until(async () => world('reached'), 'the roll-back');
	const again = await opened({ allowed: [UNKNOWN] }, '#/configuration');
	await again.locator('main select').first().selectOption('console');
	await again.getByLabel('Filter of the keys').fill('console.client_ca');
	await again.locator('[data-path="console.client_ca"]').getByText('default').first().waitFor();
	equal(await again.locator('[name="console.client_ca"]').inputValue(), '', 'the value after the roll-back');
	const { rows } = (await api(again, 'GET', '/services/console/audit?limit=10')).body;
	holds(rows.some(r => r.key === 'console.client_ca' && r.undoes), 'the roll-back stands in the audit log');
	noFaults(again);
});

await cases();
