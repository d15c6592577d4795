// SPDX-License-Identifier: Apache-2.0
// The pages Agent and Relay, against what tunnel_pages_world.py has started.
import { api, base, cases, click, dialog, equal, grid, HOSTILE, holds, inAllLooks, LANGUAGES, looked, noFaults, opened, test, until, world } from './page_kit.mjs';

const jobPort = i => base + 10 + i;
const target = base + 30;
const ROUTE = 15;
const HOSTILE_ROUTE = HOSTILE.replaceAll(' ', '/'); // a route's name has no blanks
const form = (page, name) => page.getByRole('form', { name });
const toast = (page, text) => page.locator('.toast').filter({ hasText: text }).first().waitFor();
const at = (place, more) => opened(more, `#/${place}`).then(async page => {
	await page.getByRole('grid').first().waitFor();
	return page;
});

test('The agent shows its server with name, host, address, port and version; it is disconnected and connected again', async () => {
	const page = await at('agent');
	const rows = grid(page, 'Servers');
	await rows.row('Control room').getByText('connected').waitFor();
	for (const part of ['127.0.0.1', 'tunnel.example.org', 'stile-tunnel']) holds((await rows.row('Control room').innerText()).includes(part), part);
	await looked(page, 'agent-servers', 'servers of the agent');
	const held = await world('hold', { port: jobPort(0) });
	await until(async () => (await api(page, 'GET', '/services/agent@site/verbs/agent.status')).body.servers[0].connections === 1, 'the connection is counted');
	await rows.row('Control room').dblclick();
	await dialog(page, `127.0.0.1:${base}`).getByText('sha256:').waitFor();
	await looked(page, 'agent-server', 'details of a server');
	await page.keyboard.press('Escape');
	await rows.choose('Control room');
	await click(page, 'Disconnect');
	await dialog(page, 'Disconnect from 1 server?').getByRole('button', { name: 'Disconnect' }).click();
	equal(await world('over', { held }), true, 'its data connection');
	await rows.row('disconnected').waitFor();
	await rows.choose('disconnected');
	await click(page, 'Connect');
	await rows.row('connected').getByText('connected', { exact: true }).first().waitFor();
	await world('connected', { name: 'site' });
	noFaults(page);
});

test('A code that is none is refused beside the form; who is enrolled already may not use another one', async () => {
	const page = await at('agent', { allowed: [/status of 4/] });
	await click(page, 'Enrol with a code');
	const f = dialog(page, 'Enrol with a code');
	await f.locator('[name=code]').fill('not a code');
	await f.getByRole('button', { name: 'Enrol with a code' }).click();
	await f.locator('.box.failed').waitFor();
	await looked(page, 'agent-enrol', 'a code that is refused');
	noFaults(page);
});

test('Jobs of the file are locked with their line; others are added, changed, interrupted, started and deleted', async () => {
	const page = await at('agent/jobs', { allowed: [/status of 4/] });
	const rows = grid(page, 'Forward jobs');
	await rows.row('ssh').locator('.pill.ok').waitFor();
	await rows.choose('ssh');
	equal(await page.getByRole('button', { name: 'Interrupt -||-' }).count(), 0, 'a job of the file is not interrupted here');
	await click(page, 'Edit');
	await dialog(page, 'ssh').getByText(/set in site\.yaml:\d+/).first().waitFor();
	await looked(page, 'agent-locked', 'a locked job');
	await page.keyboard.press('Escape');
	const add = form(page, 'Add');
	await add.locator('[name=port]').fill('99999');
	await add.locator('[name=target]').fill(`127.0.0.1:${target}`);
	await page.keyboard.press('Enter');
	await add.getByText('Must be a port from 1 to 65535').waitFor();
	await add.locator('[name=port]').fill(String(jobPort(1)));
	await page.keyboard.press('Enter');
	const name = String(jobPort(1));
	await rows.row(name).locator('.pill.ok').waitFor();
	const held = await world('hold', { port: jobPort(1) });
	await rows.choose(name);
	await click(page, 'Edit');
	await dialog(page, name).locator('[name=note]').fill(HOSTILE);
	await dialog(page, name).locator('[name=expire]').fill('soon');
	await click(page, 'Save');
	await dialog(page, name).locator('.error, .box.failed').first().waitFor();
	await dialog(page, name).locator('[name=expire]').fill('2h');
	await click(page, 'Save');
	await dialog(page, name).waitFor({ state: 'detached' });
	await rows.row(name).getByText(HOSTILE).waitFor();
	await rows.choose(name);
	await click(page, 'Interrupt -||-');
	await dialog(page, 'Interrupt 1 entry?').getByRole('button', { name: 'Interrupt -||-' }).click();
	equal(await world('over', { held }), true, 'its connection');
	await rows.row(name).locator('.pill.off').waitFor();
	await rows.choose(name);
	await click(page, 'Start --->');
	await rows.row(name).locator('.pill.ok').waitFor();
	await looked(page, 'agent-jobs', 'jobs of the agent');
	await rows.choose(name);
	await rows.at.focus();
	await page.keyboard.press('Delete');
	await dialog(page, 'Delete 1 job?').getByRole('button', { name: 'Delete' }).click();
	await rows.row(name).waitFor({ state: 'detached' });
	noFaults(page);
});

test('Data connections of the agent are live, and one is ended', async () => {
	const page = await at('agent/connections');
	const held = await world('hold', { port: jobPort(0) });
	const rows = grid(page, 'Data connections');
	await rows.row(`127.0.0.1:${held}`).getByText('open').waitFor();
	await rows.choose(`127.0.0.1:${held}`);
	await click(page, 'End connection');
	await dialog(page, 'End 1 connection?').getByRole('button', { name: 'End connection' }).click();
	equal(await world('over', { held }), true, 'the connection');
	await rows.row(`127.0.0.1:${held}`).waitFor({ state: 'detached' });
	noFaults(page);
});

test('Peers with path and reason, visits, who is known, an invitation with its QR code, shares, settings', async () => {
	await world('agent', { agent: 'home' });
	await world('introduce', { visitor: 'home', host: 'site' });
	const page = await at('agent/peers', { allowed: [/status of 4/] });
	await page.locator('select').first().selectOption('agent@home');
	await grid(page, 'Peers and paths').row('site').getByText('up').waitFor();
	await grid(page, 'Visits').row('site').getByText(`127.0.0.1:${target + 5}`).waitFor();
	await looked(page, 'agent-peers', 'peers');
	await page.locator('select').first().selectOption('agent@site');
	await grid(page, 'Known agents').row('home').waitFor();
	await click(page, 'Invite a visitor');
	await dialog(page, 'Invite a visitor').locator('[name=allow]').fill('nonsense/99');
	await dialog(page, 'Invite a visitor').getByRole('button', { name: 'Invite a visitor' }).click();
	await dialog(page, 'Invite a visitor').locator('.box.failed').waitFor();
	await dialog(page, 'Invite a visitor').locator('[name=allow]').fill('10.1.0.0/24:22');
	await dialog(page, 'Invite a visitor').getByRole('button', { name: 'Invite a visitor' }).click();
	await page.getByRole('img', { name: 'The code as QR code' }).waitFor();
	await page.keyboard.press('Escape');
	await page.getByRole('link', { name: 'Shares' }).click();
	await page.getByRole('grid', { name: 'Shares' }).waitFor();
	await page.getByRole('link', { name: 'Settings', exact: true }).last().click();
	await page.locator('[data-path="agent.server"]').getByText(/set in site\.yaml:\d+/).waitFor();
	await page.locator('[data-path="agent.auto_connect"]').waitFor();
	await looked(page, 'agent-settings', 'settings of the agent');
	noFaults(page);
});

test('The agent restarts under the open page: it says so, and goes on', async () => {
	const page = await at('agent', { allowed: [/status of 50/] });
	await page.locator('select').first().selectOption('agent@site');
	await grid(page, 'Servers').row('Control room').waitFor();
	await world('stop', { service: 'stile-agent@site' });
	await page.locator('.away').first().waitFor();
	await world('start', { service: 'stile-agent@site' });
	await grid(page, 'Servers').row('Control room').getByText('connected').waitFor();
	await until(async () => (await page.locator('.away').count()) === 0, 'the end of the complaints');
	noFaults(page);
});

test('Relay: the route of the file is locked, with a hostile name; one is added, refused, changed, interrupted and deleted', async () => {
	const page = await at('relay', { allowed: [/status of 4/] });
	const rows = grid(page, 'Routes');
	await rows.row(HOSTILE_ROUTE).getByText('listening').waitFor();
	await rows.choose(HOSTILE_ROUTE);
	await click(page, 'Edit');
	await dialog(page, HOSTILE_ROUTE).getByText(/set in stile\.yaml:\d+/).first().waitFor();
	await page.keyboard.press('Escape');
	const add = form(page, 'Add route');
	await add.locator('[name=at_address]').selectOption('127.0.0.1');
	await add.locator('[name=at_port]').fill('0');
	await add.locator('[name=target]').fill(`127.0.0.1:${target}`);
	await page.keyboard.press('Enter');
	await add.getByText('Must be a port from 1 to 65535').waitFor();
	await add.locator('[name=at_port]').fill(String(jobPort(ROUTE)));
	await page.keyboard.press('Enter');
	await add.getByText(/has this port already/).waitFor();
	await looked(page, 'relay-taken', 'a port that is taken');
	await add.locator('[name=at_port]').fill(String(jobPort(16)));
	await add.locator('[name=target]').fill('a b');
	await page.keyboard.press('Enter');
	await add.getByText('Must be host and port').waitFor();
	await add.locator('[name=target]').fill(`127.0.0.1:${target}`);
	await page.keyboard.press('Enter');
	const name = `127.0.0.1:${jobPort(16)}`;
	await rows.row(name).getByText('listening').waitFor();
	await world('carries', { port: jobPort(16) });
	await rows.choose(name);
	await click(page, 'Edit');
	await dialog(page, name).locator('[name="limits.connections"]').fill('0');
	await click(page, 'Save');
	await dialog(page, name).getByText('Must be a whole number').waitFor();
	await looked(page, 'relay-form', 'the form of a route');
	await dialog(page, name).locator('[name="limits.connections"]').fill('7');
	await dialog(page, name).locator('[name=note]').fill(HOSTILE);
	await click(page, 'Save');
	await dialog(page, name).waitFor({ state: 'detached' });
	const held = await world('hold', { port: jobPort(16) });
	await until(async () => /· connections: 1/.test(await page.locator('.card').innerText()), 'the count');
	await rows.choose(name);
	await page.getByRole('button', { name: 'End connections' }).waitFor(); // the table knows of it
	await click(page, 'Interrupt -||-');
	await dialog(page, 'Interrupt 1 entry?').getByText(`${name} – 1 connection ends`).waitFor();
	await dialog(page, 'Interrupt 1 entry?').getByRole('button', { name: 'Interrupt -||-' }).click();
	equal(await world('over', { held }), true, 'its connection');
	await rows.row(name).getByText('off').first().waitFor();
	await world('closed', { port: jobPort(16) });
	await rows.choose(name);
	await click(page, 'Start --->');
	await rows.row(name).getByText('listening').waitFor();
	await looked(page, 'relay-routes', 'routes');
	await rows.choose(name);
	await rows.at.focus();
	await page.keyboard.press('Delete');
	await dialog(page, 'Delete 1 route?').getByRole('button', { name: 'Delete' }).click();
	await rows.row(name).waitFor({ state: 'detached' });
	noFaults(page);
});

test('Relay: of a route that somebody else has changed meanwhile both versions are shown, and theirs fills the form', async () => {
	const page = await at('relay', { allowed: [/status of 4/] });
	const name = `127.0.0.1:${jobPort(17)}`;
	const put = async note => equal((await api(page, 'PUT', '/services/tunnel/objects/relay.route', { key: name, body: { name, listen: name, target: [`127.0.0.1:${target}`], note } })).status, 200, note);
	await put('as it was');
	const rows = grid(page, 'Routes');
	await rows.row(name).getByText('listening').waitFor();
	await rows.choose(name);
	await click(page, 'Edit');
	await dialog(page, name).locator('[name=note]').fill('mine');
	await put('theirs');
	await click(page, 'Save');
	await dialog(page, 'Somebody else changed it too').getByRole('row', { name: /note.*mine theirs/ }).waitFor();
	await click(page, 'Take theirs');
	equal(await dialog(page, name).locator('[name=note]').inputValue(), 'theirs', 'their note');
	equal(await dialog(page, name).locator('[name=at_port]').inputValue(), String(jobPort(17)), 'the port');
	await click(page, 'Save');
	await dialog(page, name).waitFor({ state: 'detached' });
	await api(page, 'DELETE', `/services/tunnel/objects/relay.route?key=${encodeURIComponent(name)}`);
	noFaults(page);
});

test('Relay: connections are watched, logged and ended; events have their numbers; the log directory stands above', async () => {
	const page = await at('relay/connections');
	await page.getByText(/Log directory .*records/).waitFor();
	const held = await world('hold', { port: jobPort(ROUTE) });
	const rows = grid(page, 'Connections');
	await rows.row(`127.0.0.1:${held}`).waitFor();
	await rows.choose(`127.0.0.1:${held}`);
	await click(page, 'Watch the bytes');
	await until(async () => {
		await world('say', { held, text: 'relay' });
		return page.getByText('72 65 6c 61 79').count();
	}, 'the bytes');
	await page.keyboard.press('Escape');
	await rows.choose(`127.0.0.1:${held}`);
	await click(page, 'Log data');
	await toast(page, 'Every byte is written');
	await page.getByText(/data logs: 1, 1 open/).waitFor();
	await looked(page, 'relay-connections', 'connections of the relay');
	await rows.choose(`127.0.0.1:${held}`);
	await click(page, 'End connection');
	await dialog(page, 'End 1 connection?').getByRole('button', { name: 'End connection' }).click();
	equal(await world('over', { held }), true, 'the connection');
	await page.getByRole('link', { name: 'Events' }).click();
	await grid(page, 'Events').row('Service started').getByText('100').waitFor();
	await grid(page, 'Events').row(HOSTILE_ROUTE).getByText('101').waitFor();
	await looked(page, 'relay-events', 'events');
	await page.getByRole('link', { name: 'Settings', exact: true }).last().click();
	await page.locator('[data-path="tunnel.records.dir"]').getByText(/set in stile\.yaml:\d+/).waitFor();
	await looked(page, 'relay-settings', 'settings of the records');
	noFaults(page);
});

test('Bad values of the forms are refused in three languages', async () => {
	const wrong = { en: 'Must be host and port', de: 'Muss Host und Port sein', it: 'Deve essere host e porta' };
	for (const language of LANGUAGES)
		for (const place of ['#/agent/jobs', '#/relay']) {
			const page = await opened({ language }, place);
			await page.locator('form.add [name=target]').fill('a b');
			await page.keyboard.press('Enter');
			await page.getByText(wrong[language.slice(0, 2)]).waitFor();
			noFaults(page);
			await page.context().close();
		}
});

test('Both pages in three languages, light, dark and a narrow window', async () => {
	const ready = page => page.locator('.grid .rows [role=row]').first().waitFor();
	await inAllLooks(['#/agent', 'agent', ready], ['#/relay', 'relay', ready]);
});

await cases();
