// SPDX-License-Identifier: Apache-2.0
// The pages Agent and Relay, against what tunnel_pages_world.py has started.
import {
	api, applied, base, cases, click, counted, dialog, equal, grid, HOSTILE, holds, inAllLooks, LANGUAGES, looked, noFaults, opened, test,
	until, url, words, world,
} from './page_kit.mjs';

const jobPort = i => base + 10 + i;
const target = base + 30;
const ROUTE = 15;
const HOSTILE_ROUTE = HOSTILE.replaceAll(' ', '/'); // a route's name has no blanks
const form = (page, name) => page.getByRole('form', { name });
// Of several agents; alone there is nothing to choose.
const instance = async (page, name) => {
	await page.locator('h1 ~ .pill').first().waitFor(); // the services are known
	if (await page.locator('.bar select').count()) await page.locator('select').first().selectOption(name);
};
// The status of a file that is posted there.
const posted = (page, path) =>
	page.evaluate(async p => {
		const { csrf } = await fetch('/api/v1/me').then(r => r.json());
		return (await fetch(`/api/v1${p}`, { method: 'POST', headers: { 'X-Stile-CSRF': csrf, 'Content-Type': 'application/octet-stream' }, body: 'x' })).status;
	}, path);
const toast = (page, text) => page.locator('.toast').filter({ hasText: text }).first().waitFor();
const at = (place, more) => opened(more, `#/${place}`).then(async page => {
	await page.getByRole('grid').first().waitFor();
	return page;
});

test('The agent shows its server with name, host, address, port and version; it is disconnected and connected again', async () => {
	const page = await at('agent');
	const rows = grid(page, 'Servers');
	await rows.row('Control room').getByText('connected').waitFor();
	for (const part of ['127.0.0.1', 'tunnel.example.org', 'stile-tunnel']) await until(async () => (await rows.row('Control room').innerText()).includes(part), part);
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

test('A code that is none is refused beside the form; the code of the page Tunnel lets the agent in at once', async () => {
	await world('strange_agent', { agent: 'new' });
	const page = await at('agent', { allowed: [/status of 4/] });
	await page.locator('select').first().selectOption('agent@new');
	const rows = grid(page, 'Servers');
	await rows.row(`127.0.0.1`).locator('.pill').first().waitFor();
	await click(page, 'Enrol with a code');
	const f = dialog(page, 'Enrol with a code');
	await f.locator('[name=code]').fill('not a code');
	await f.getByRole('button', { name: 'Enrol with a code' }).click();
	await f.locator('.box.failed').waitFor();
	await looked(page, 'agent-enrol', 'a code that is refused');
	const { code } = await world('verb', { service: 'stile-tunnel', verb: 'tunnel.enrol', args: { name: 'new' } });
	await f.locator('[name=code]').fill(code);
	await f.getByRole('button', { name: 'Enrol with a code' }).click();
	await f.waitFor({ state: 'detached' });
	await rows.row('Control room').getByText('connected', { exact: true }).first().waitFor();
	await world('connected', { name: 'new' });
	await world('stop', { service: 'stile-agent@new' });
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

test('Peers with the path of a visit and its reason, who is known, an invitation with its QR code, settings', async () => {
	await world('agent', { agent: 'home' });
	await world('introduce', { visitor: 'home', host: 'site' });
	const page = await at('agent/peers', { allowed: [/status of 4/] });
	await page.locator('select').first().selectOption('agent@home');
	await grid(page, 'Peers and paths').row('site').getByText('up').waitFor();
	await looked(page, 'agent-peers', 'peers');
	await instance(page, 'agent@site');
	await grid(page, 'Known agents').row('home').waitFor();
	await click(page, 'Invite a visitor');
	await dialog(page, 'Invite a visitor').locator('[name=allow]').fill('nonsense/99');
	await dialog(page, 'Invite a visitor').getByRole('button', { name: 'Invite a visitor' }).click();
	await dialog(page, 'Invite a visitor').locator('.box.failed').waitFor();
	await dialog(page, 'Invite a visitor').locator('[name=allow]').fill('10.1.0.0/24:22');
	await dialog(page, 'Invite a visitor').getByRole('button', { name: 'Invite a visitor' }).click();
	await page.getByRole('img', { name: 'The code as QR code' }).waitFor();
	await page.keyboard.press('Escape');
	await page.getByRole('link', { name: 'Settings', exact: true }).last().click();
	await page.locator('[data-path="agent.server"]').getByText(/set in site\.yaml:\d+/).waitFor();
	await page.locator('[data-path="agent.auto_connect"]').waitFor();
	await looked(page, 'agent-settings', 'settings of the agent');
	noFaults(page);
});

test('Visits are added, changed, interrupted, started and deleted; those of the file are locked, one of stile connect is ended', async () => {
	const page = await at('agent', { allowed: [/status of 4/] });
	await page.locator('select').first().selectOption('agent@home');
	await page.getByRole('link', { name: 'Visits' }).click();
	const rows = grid(page, 'Visits');
	const file = `site 127.0.0.1:${target}`;
	await rows.row(file).getByText(`127.0.0.1:${target + 5}`).waitFor();
	const add = form(page, 'Add');
	await add.locator('[name=agent]').fill('site');
	await add.locator('[name=target]').fill('nowhere:0');
	await add.locator('[name=at_port]').fill('0');
	await page.keyboard.press('Enter');
	await add.getByText('Must be host and port').waitFor();
	await add.getByText('Port 0 cannot be listened on.').waitFor();
	await add.locator('[name=target]').fill(`localhost:${target}`);
	await add.locator('[name=at_port]').fill(String(target + 5));
	await page.keyboard.press('Enter');
	await add.getByText(/listens on .* already/).waitFor();
	await add.locator('[name=at_port]').fill(String(target + 6));
	await page.keyboard.press('Enter');
	const name = `site localhost:${target}`;
	await rows.row(name).getByText(`127.0.0.1:${target + 6}`).waitFor();
	await rows.row(name).locator('.pill.ok').waitFor();
	const held = await world('hold', { port: target + 6 });
	await until(async () => (await rows.cell(name, 5).innerText()) === '1', 'the connection is counted');
	await looked(page, 'agent-visits', 'visits');
	await rows.choose(name);
	await click(page, 'Interrupt -||-');
	await dialog(page, 'Interrupt 1 entry?').getByText(`${name} – 1 connection ends`).waitFor();
	await dialog(page, 'Interrupt 1 entry?').getByRole('button', { name: 'Interrupt -||-' }).click();
	equal(await world('over', { held }), true, 'its connection');
	await rows.row(name).locator('.pill.off').waitFor();
	await rows.choose(name);
	await click(page, 'Edit');
	await dialog(page, name).locator('[name=head_start]').fill('soon');
	await click(page, 'Save');
	await dialog(page, name).locator('.error, .box.failed').first().waitFor();
	await looked(page, 'agent-visit-form', 'the form of a visit');
	await dialog(page, name).locator('[name=head_start]').fill('1s');
	await dialog(page, name).locator('[name=at_port]').fill('');
	await click(page, 'Save');
	await dialog(page, name).waitFor({ state: 'detached' });
	await rows.choose(name);
	await click(page, 'Start --->');
	await rows.row(name).locator('.pill.ok').waitFor();
	await rows.row(file).click();
	await click(page, 'Edit');
	await dialog(page, file).getByText(/set in home\.yaml:\d+/).first().waitFor();
	await page.keyboard.press('Escape');
	await world('tool', { name: 'connect', argv: ['connect', 'site', `127.0.0.2:${target}`, '--instance', 'home'] });
	const connect = `site 127.0.0.2:${target}`;
	await rows.row(connect).getByText('stile connect').waitFor();
	await rows.choose(name, connect); // each of the two goes in its own way
	await click(page, 'End');
	await dialog(page, 'End 1 visit?').getByRole('button', { name: 'End' }).click();
	holds((await world('ended', { name: 'connect' })).includes('ended at the agent'), 'stile connect says why');
	await rows.row(connect).waitFor({ state: 'detached' });
	await rows.choose(name);
	await rows.at.focus();
	await page.keyboard.press('Delete');
	await dialog(page, 'Delete 1 visit?').getByRole('button', { name: 'Delete' }).click();
	await rows.row(name).waitFor({ state: 'detached' });
	noFaults(page);
});

test('A file and a service are shared with code and QR code; shares get another end, and are ended with the program that made them', async () => {
	const page = await at('agent', { allowed: [/status of 4/] });
	await instance(page, 'agent@site');
	await page.getByRole('link', { name: 'Shares' }).click();
	const rows = grid(page, 'Shares');
	await world('tool', { name: 'share', argv: ['share', '--tcp', `127.0.0.1:${target}`, '--instance', 'site'] });
	const name = `127.0.0.1 port ${target}`;
	await rows.row(name).getByText('found').waitFor();
	for (const [place, status] of [['agent@site/shares?name=..%2Fx', 400], ['agent@site/shares?name=x&hours=0', 400], ['agent@site/shares?name=x&hours=%zz', 400], ['agent@site/shares?name=x&target=%zz', 400],
		['agent@site/shares?target=--help', 400], ['tunnel/shares?name=x', 404]])
		equal(await posted(page, `/services/${place}`), status, place);
	await click(page, 'Share a file');
	const f = dialog(page, 'Share a file');
	await f.getByRole('button', { name: 'Share', exact: true }).click();
	await f.getByText('Please fill this in.').waitFor();
	await looked(page, 'agent-share-file', 'the form of a share');
	await f.locator('[name=file]').setInputFiles({ name: `${HOSTILE.replace('/', '')}.txt`, mimeType: 'text/plain', buffer: Buffer.from('of the page\n') });
	await f.locator('[name=hours]').fill('2');
	await f.getByRole('button', { name: 'Share', exact: true }).click();
	const code = dialog(page, `${HOSTILE}.txt`);
	await code.getByRole('img', { name: 'The code as QR code' }).waitFor();
	await looked(page, 'agent-share-code', 'the code of a share');
	equal(await world('got', { code: (await code.locator('pre').first().innerText()).split(' ')[2] }), 'of the page\n', 'what stile get has of it');
	await page.keyboard.press('Escape');
	await click(page, 'Share a service');
	const s = dialog(page, 'Share a service');
	await s.locator('[name=target]').fill('a b');
	await s.getByRole('button', { name: 'Share', exact: true }).click();
	await s.getByText('Must be host and port').waitFor();
	await s.locator('[name=target]').fill(`localhost:${target}`);
	await s.getByRole('button', { name: 'Share', exact: true }).click();
	await dialog(page, `localhost:${target}`).locator('pre').waitFor();
	await page.keyboard.press('Escape');
	await rows.row(`localhost port ${target}`).waitFor();
	const made = (await api(page, 'GET', '/audit?limit=50')).body.rows.filter(r => r.kind === 'console.action' && r.after?.action === 'share');
	equal(made.map(r => [r.key, r.after.args.name]), [['agent@site', `localhost:${target}`], ['agent@site', `${HOSTILE}.txt`]], 'what the audit has of both');
	await rows.choose(`${HOSTILE}.txt`, `localhost port ${target}`); // both at once, with one question
	await click(page, 'End');
	await dialog(page, 'End 2 shares?').getByText(`${HOSTILE}.txt – 1 guest`).waitFor();
	await dialog(page, 'End 2 shares?').getByRole('button', { name: 'End' }).click();
	await rows.row(`${HOSTILE}.txt`).waitFor({ state: 'detached' });
	await rows.row(`localhost port ${target}`).waitFor({ state: 'detached' });
	await rows.choose(name);
	await click(page, 'Change the end');
	await dialog(page, name).locator('[name=hours]').fill('0');
	await click(page, 'Save');
	await dialog(page, name).getByText('Must be a whole number').waitFor();
	await dialog(page, name).locator('[name=hours]').fill('48');
	await click(page, 'Save');
	await dialog(page, name).waitFor({ state: 'detached' });
	const left = async () => (await api(page, 'GET', '/services/agent@site/verbs/agent.shares')).body.rows[0].expires - Date.now() / 1000;
	holds(Math.abs((await left()) - 48 * 3600) < 600, 'its end');
	await looked(page, 'agent-shares', 'shares');
	await rows.choose(name);
	await rows.at.focus();
	await page.keyboard.press('Delete');
	await dialog(page, 'End 1 share?').getByText(`${name} – 0 guests`).waitFor();
	await dialog(page, 'End 1 share?').getByRole('button', { name: 'End' }).click();
	holds((await world('ended', { name: 'share' })).includes('was ended at the agent'), 'stile share says why');
	await rows.row(name).waitFor({ state: 'detached' });
	noFaults(page);
});

test('The agent restarts under the open page: it says so, and goes on', async () => {
	const page = await at('agent', { allowed: [/status of 50/] });
	await instance(page, 'agent@site');
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
	await add.locator('select[name=at_address]').selectOption('127.0.0.1');
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
	await add.locator('select[name=at_address]').selectOption('other'); // one that this machine does not have yet
	await add.getByLabel('Listens at', { exact: false }).last().fill('192.0.2.77');
	await add.getByText('This machine does not have this address now').waitFor();
	await add.locator('[name=at_port]').fill(String(jobPort(16)));
	await add.locator('[name=target]').fill(`127.0.0.1:${target}`);
	await page.keyboard.press('Enter');
	await rows.row(`192.0.2.77:${jobPort(16)}`).getByText('waits for its address').waitFor();
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
	await rows.choose(`192.0.2.77:${jobPort(16)}`);
	await rows.at.focus();
	await page.keyboard.press('Delete');
	await dialog(page, 'Delete 1 route?').getByRole('button', { name: 'Delete' }).click();
	await rows.row(`192.0.2.77:${jobPort(16)}`).waitFor({ state: 'detached' });
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

test('Relay: TLS to the target that is switched off is off, whatever stood beside it; without a word on it the certificate is checked', async () => {
	const page = await at('relay');
	const name = `127.0.0.1:${jobPort(17)}`;
	const rows = grid(page, 'Routes');
	const body = async () => (await api(page, 'GET', '/services/tunnel/objects/relay.route')).body.rows.find(o => o.key === name).body;
	for (const target_tls of [{ verify: true, server_name: 'cam.test' }, { server_name: 'cam.test' }, {}]) {
		const put = { key: name, body: { name, listen: name, target: [`127.0.0.1:${target}`], target_tls } };
		equal((await api(page, 'PUT', '/services/tunnel/objects/relay.route', put)).status, 200, 'the route');
		await rows.row(name).getByText('listening').waitFor();
		await rows.choose(name);
		const tls = dialog(page, name).locator('[name="target_tls.verify"]');
		await until(async () => { // the page may not have heard of it yet
			await click(page, 'Edit');
			if (await tls.inputValue() === 'true')
				return true;
			await click(page, 'Cancel');
			await dialog(page, name).waitFor({ state: 'detached' });
			return false;
		}, `TLS is shown for ${JSON.stringify(target_tls)}`);
		await tls.selectOption('');
		await click(page, 'Save');
		await dialog(page, name).waitFor({ state: 'detached' });
		equal((await body()).target_tls, undefined, 'TLS to the target');
	}
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
	const other = await world('hold', { port: jobPort(ROUTE) });
	await rows.row(`127.0.0.1:${other}`).waitFor();
	await rows.choose(`127.0.0.1:${held}`, `127.0.0.1:${other}`);
	await click(page, 'End connection');
	for (const h of [held, other]) await dialog(page, 'End 2 connections?').getByText(`127.0.0.1:${h} → `).waitFor();
	await dialog(page, 'End 2 connections?').getByRole('button', { name: 'End connection' }).click();
	for (const h of [held, other]) equal(await world('over', { held: h }), true, 'the connection');
	await page.getByRole('link', { name: 'Events' }).click();
	await grid(page, 'Events').row('Service started').getByText('100').waitFor();
	await grid(page, 'Events').row(HOSTILE_ROUTE).getByText('101').waitFor();
	await looked(page, 'relay-events', 'events');
	await page.getByRole('link', { name: 'Settings', exact: true }).last().click();
	await page.locator('[data-path="tunnel.records.dir"]').getByText(/set in stile\.yaml:\d+/).waitFor();
	await looked(page, 'relay-settings', 'settings of the records');
	noFaults(page);
});

test('Bad values of the forms are refused and good ones kept in three languages', async () => {
	const wrong = { en: 'Must be host and port', de: 'Muss Host und Port sein', it: 'Deve essere host e porta' };
	for (const language of LANGUAGES)
		for (const place of ['#/agent/jobs', '#/relay']) {
			const page = await opened({ language }, place);
			const l = language.slice(0, 2);
			const [relay, port] = [place === '#/relay', String(jobPort(18))];
			if (!relay) await instance(page, 'agent@site');
			await page.locator('form.add [name=target]').fill('a b');
			await page.keyboard.press('Enter');
			await page.getByText(wrong[l]).waitFor();
			if (relay) await page.locator('form.add [name=at_address]').selectOption('127.0.0.1');
			await page.locator(`form.add [name=${relay ? 'at_port' : 'port'}]`).fill(port);
			await page.locator('form.add [name=target]').fill(`127.0.0.1:${target}`);
			await page.keyboard.press('Enter');
			const row = page.locator('.grid .rows [role=row]').filter({ hasText: port });
			await row.locator('.pill.ok').waitFor();
			await row.locator('[role=gridcell]').first().click();
			await click(page, { en: 'Edit', de: 'Bearbeiten', it: 'Modifica' }[l]);
			await page.locator('dialog [name=note]').fill(`${l}: ${HOSTILE}`);
			await page.locator('dialog button[type=submit]').click();
			await page.locator('dialog').waitFor({ state: 'detached' });
			await row.getByText(`${l}: ${HOSTILE}`).waitFor();
			const key = relay ? `tunnel/objects/relay.route?key=127.0.0.1:${port}` : `agent@site/objects/agent.job?key=${port}`;
			equal((await api(page, 'DELETE', `/services/${key}`)).status, 200, 'deleted');
			await row.waitFor({ state: 'detached' });
			noFaults(page);
			await page.context().close();
		}
});

// What the cases above do in English, in the words w of another language. said(): the button of a dialog.
const said = (page, title, action) => dialog(page, title).getByRole('button', { name: action, exact: true }).click();

async function visitsKept(page, w) {
	await page.goto(`${url}#/agent/visits`);
	await instance(page, 'agent@home');
	const rows = grid(page, w['agent.visits']);
	await rows.row(`site 127.0.0.1:${target}`).waitFor();
	const add = form(page, w['tunnel.add']);
	await add.locator('[name=agent]').fill('site');
	await add.locator('[name=target]').fill(`localhost:${target}`);
	await add.locator('[name=at_port]').fill(String(target + 6));
	await page.keyboard.press('Enter');
	const name = `site localhost:${target}`;
	await rows.row(name).locator('.pill.ok').waitFor();
	await world('carries', { port: target + 6 });
	await rows.choose(name);
	await click(page, w['tunnel.stop']);
	await said(page, counted(w['tunnel.stop.ask'], 1), w['tunnel.stop']);
	await rows.row(name).locator('.pill.off').waitFor();
	await world('closed', { port: target + 6 });
	await rows.choose(name);
	await click(page, w['tunnel.edit']);
	await dialog(page, name).locator('[name=head_start]').fill('1s');
	await said(page, name, w.save);
	await dialog(page, name).waitFor({ state: 'detached' });
	const { rows: stored } = (await api(page, 'GET', '/services/agent@home/objects/agent.visit')).body;
	equal(stored.map(o => [o.key, o.body.head_start]), [[name, '1s']], 'what is stored');
	await rows.choose(name);
	await click(page, w['tunnel.start']);
	await rows.row(name).locator('.pill.ok').waitFor();
	await rows.choose(name);
	await rows.at.focus();
	await page.keyboard.press('Delete');
	await said(page, counted(w['agent.visit.delete.ask'], 1), w['tunnel.delete']);
	await rows.row(name).waitFor({ state: 'detached' });
}

async function sharesKept(page, w, file) {
	await page.goto(`${url}#/agent/shares`);
	await instance(page, 'agent@site');
	const rows = grid(page, w['agent.shares']);
	await rows.at.waitFor();
	await click(page, w['agent.share.file']);
	const f = dialog(page, w['agent.share.file']);
	await f.locator('[name=file]').setInputFiles({ name: file, mimeType: 'text/plain', buffer: Buffer.from(`${file}\n`) });
	await f.locator('[name=hours]').fill('2');
	await said(page, w['agent.share.file'], w['agent.share.make']);
	await dialog(page, file).getByRole('img', { name: w['tunnel.code.qr'] }).waitFor();
	const [, , code] = (await dialog(page, file).locator('pre').first().innerText()).split(' ');
	equal(await world('got', { code }), `${file}\n`, 'what stile get has of it');
	await page.keyboard.press('Escape');
	await click(page, w['agent.share.target']);
	await dialog(page, w['agent.share.target']).locator('[name=target]').fill(`localhost:${target}`);
	await said(page, w['agent.share.target'], w['agent.share.make']);
	await dialog(page, `localhost:${target}`).locator('pre').first().waitFor();
	await page.keyboard.press('Escape');
	const name = `localhost port ${target}`;
	await rows.row(file).waitFor();
	await rows.row(name).waitFor();
	await rows.choose(name);
	await click(page, w['agent.share.change']);
	await dialog(page, name).locator('[name=hours]').fill('48');
	await said(page, name, w.save);
	await dialog(page, name).waitFor({ state: 'detached' });
	const shares = (await api(page, 'GET', '/services/agent@site/verbs/agent.shares')).body.rows;
	holds(Math.abs(shares.find(r => r.name === name).expires - Date.now() / 1000 - 48 * 3600) < 600, 'its end');
	await rows.choose(file, name);
	await click(page, w['agent.end']);
	await said(page, counted(w['agent.share.end.ask'], 2), w['agent.end']);
	await rows.row(file).waitFor({ state: 'detached' });
	await rows.row(name).waitFor({ state: 'detached' });
}

async function enrolled(page, w, agent) {
	await page.goto(`${url}#/agent`);
	await instance(page, `agent@${agent}`);
	await page.getByText(w['agent.self'].replace('{name}', agent).split(' {host}')[0]).waitFor();
	const { code } = await world('verb', { service: 'stile-tunnel', verb: 'tunnel.enrol', args: { name: agent } });
	await click(page, w['agent.enrol']);
	await dialog(page, w['agent.enrol']).locator('[name=code]').fill(code);
	await said(page, w['agent.enrol'], w['agent.enrol']);
	await dialog(page, w['agent.enrol']).waitFor({ state: 'detached' });
	await grid(page, w['agent.servers']).row('Control room').locator('.pill.ok').waitFor();
	await world('connected', { name: agent });
}

test('Visits, shares, an enrolment and settings of the agent are kept in German and Italian, too, and are removed again', async () => {
	for (const language of LANGUAGES.slice(1)) {
		const l = language.slice(0, 2);
		const w = words(l);
		const fresh = `new${l}`;
		await world('strange_agent', { agent: fresh });
		const page = await opened({ language }, '#/agent');
		await enrolled(page, w, fresh);
		await visitsKept(page, w);
		await sharesKept(page, w, `${l}.txt`);
		await page.goto(`${url}#/agent/settings`);
		await instance(page, 'agent@site');
		const keys = async () => (await api(page, 'GET', '/services/agent@site/config')).body.rows;
		const plain = async () => (await keys()).find(r => r.path === 'agent.allow_plain').source;
		await applied(page, w, 'agent.allow_plain', 'true');
		equal(await plain(), 'store', 'where the value comes from');
		await applied(page, w, 'agent.allow_plain', null);
		equal(await plain(), 'default', 'where the value comes from');
		noFaults(page);
		await page.context().close();
		await world('stop', { service: `stile-agent@${fresh}` });
		await world('verb', { service: 'stile-tunnel', verb: 'tunnel.agents.delete', args: { agent: fresh } });
	}
});

test('Both pages in three languages, light, dark and a narrow window', async () => {
	const ready = page => page.locator('.grid .rows [role=row]').first().waitFor();
	const of = name => async (page, l) => {
		await instance(page, 'agent@home');
		await grid(page, words(l)[name]).rows().first().waitFor();
	};
	await world('tool', { name: 'looked at', argv: ['share', '--tcp', `127.0.0.1:${target}`, '--instance', 'home'] });
	await inAllLooks(
		['#/agent', 'agent', ready],
		['#/agent/visits', 'agent-visits', of('agent.visits')],
		['#/agent/shares', 'agent-shares', of('agent.shares')],
		['#/relay', 'relay', ready],
	);
});

await cases();
