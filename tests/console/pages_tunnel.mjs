// SPDX-License-Identifier: Apache-2.0
// The page Tunnel, against what tunnel_pages_world.py has started. The first cases leave agents behind that later ones look at.
import { readFileSync } from 'node:fs';
import {
	api, base, cases, click, counted, dialog, equal, grid, HOSTILE, holds, inAllLooks, LANGUAGES, looked, noFaults, opened, test, until,
	url, words, world,
} from './page_kit.mjs';

const jobPort = i => base + 10 + i;
const target = base + 30;
const add = page => page.getByRole('form', { name: 'Add' });
const toast = (page, text) => page.locator('.toast').filter({ hasText: text }).first().waitFor();
const tab = name => ({ control: 'Control connections', jobs: 'Forward jobs', connections: 'Data connections', agents: 'Agents', sites: 'Direct or relayed', sockets: 'Sockets' })[name];
const at = (name, more) => opened(more, `#/tunnel/${name}`).then(async page => {
	if (tab(name)) await page.getByRole('grid', { name: tab(name), exact: true }).waitFor();
	return page;
});

async function addJob(page, port, to) {
	await add(page).locator('select[name=agent]').selectOption('site');
	await add(page).locator('[name=port]').fill(String(port));
	await add(page).locator('[name=target]').fill(to);
	await page.keyboard.press('Enter');
}

test('Agents are let in or not by one switch, which names who is cut off; where they reach it stands beside', async () => {
	const page = await at('control');
	await page.getByText(`Reachable at tunnel.example.org:${base}`).waitFor();
	await grid(page, tab('control')).row('site').locator('.pill.ok').waitFor();
	await looked(page, 'tunnel-control', 'control connections');
	await page.getByRole('switch').click();
	await dialog(page, 'Let no agents in').getByText('site').waitFor();
	await looked(page, 'tunnel-close', 'the question');
	await page.keyboard.press('Escape');
	holds(await page.getByText('Reachable at').isVisible(), 'Esc is no');
	await page.getByRole('switch').click();
	await dialog(page, 'Let no agents in').getByRole('button', { name: 'Let no agents in' }).click();
	await page.getByText('No agents are let in.').waitFor();
	await grid(page, tab('control')).row('site').getByText('disconnected').waitFor();
	await world('closed', { port: base });
	await page.getByRole('switch', { name: 'Let agents in' }).click();
	await page.getByText('Reachable at').waitFor();
	await world('connected', { name: 'site' });
	await grid(page, tab('control')).row('site').locator('.pill.ok').waitFor();
	noFaults(page);
});

test('A control connection is reset and comes back; an agent is kicked with its connections; who is gone already is said so', async () => {
	const page = await at('control', { allowed: [/status of 404/] });
	const held = await world('hold', { port: jobPort(0) });
	await grid(page, tab('control')).choose('site');
	await click(page, 'Reset');
	await dialog(page, 'Reset 1 agent?').getByRole('button', { name: 'Reset' }).click();
	await toast(page, '1 control connection closed.');
	await world('connected', { name: 'site' });
	equal(await world('say', { held, text: 'still there' }), 'still there', 'the data connection');
	const again = await api(page, 'POST', '/services/tunnel/verbs/tunnel.drop', { agent: 'nobody' });
	equal([again.status, again.body.error.code], [404, 'not-found'], 'an agent that is not connected');
	await until(async () => /data connections: 1/.test(await page.locator('.card').innerText()), 'the count above');
	await until(async () => (await grid(page, tab('control')).cell('site', 5).innerText()) === '1', 'the count of the row');
	await grid(page, tab('control')).at.focus();
	await grid(page, tab('control')).row('site').locator('.pill.ok').waitFor();
	await page.keyboard.press('Delete');
	await dialog(page, 'Kick 1 agent?').getByText('site – 1 connection ends').waitFor();
	await dialog(page, 'Kick 1 agent?').getByRole('button', { name: 'Kick' }).click();
	await toast(page, '1 agent kicked.');
	equal(await world('over', { held }), true, 'the data connection');
	await world('restart', { service: 'stile-agent@site' }); // it would stay away for a minute
	await world('connected', { name: 'site' });
	noFaults(page);
});

test('A job is added in the blank last row, carries bytes, is interrupted, started, changed and deleted', async () => {
	const page = await at('jobs', { allowed: [/status of 4(09|12)/] });
	const rows = grid(page, tab('jobs'));
	await rows.row('ssh').getByText('active').waitFor();
	equal(await add(page).locator('[name=target]').inputValue(), '127.0.0.1:', 'the preset');
	await addJob(page, 0, '127.0.0.1');
	await add(page).getByText('Must be a port from 1 to 65535').waitFor();
	await looked(page, 'tunnel-jobs-bad', 'a bad port');
	await addJob(page, jobPort(1), `127.0.0.1:${target}`);
	const name = String(jobPort(1));
	await rows.row(name).getByText('active').waitFor();
	await world('carries', { port: jobPort(1) });
	await addJob(page, jobPort(1), `127.0.0.1:${target}`);
	await add(page).locator('.error').waitFor();
	await addJob(page, jobPort(3), '10.9.9.9:22'); // the agent's own list decides
	await rows.row(String(jobPort(3))).getByText('refused').waitFor();
	await rows.row(String(jobPort(3))).getByText('agent.allow').first().waitFor();
	await looked(page, 'tunnel-jobs', 'jobs, one of them refused');
	// Two at once, with one question that names the connections of each; one of them is the agent's own, which is interrupted on this side.
	const held = [await world('hold', { port: jobPort(1) }), await world('hold', { port: jobPort(0) })];
	for (const n of [name, 'ssh']) {
		await rows.choose(n);
		await page.getByRole('button', { name: 'End connections' }).waitFor(); // the table knows of it
	}
	await rows.choose(name, 'ssh');
	await click(page, 'Interrupt -||-');
	const question = page.getByRole('dialog', { name: 'Interrupt 2 entries?' });
	for (const n of [name, 'ssh']) await question.getByText(`site/${n} – 1 connection ends`).waitFor();
	await question.getByRole('button', { name: 'Interrupt -||-' }).click();
	for (const h of held) equal(await world('over', { held: h }), true, 'its connection');
	await rows.row(name).getByText('interrupted').waitFor();
	await rows.row('ssh').getByText('on the server’s side').waitFor();
	await world('closed', { port: jobPort(0) });
	await rows.choose('ssh');
	equal(await page.getByRole('button', { name: 'Edit' }).count(), 0, 'it is changed at the agent');
	await rows.choose(name, 'ssh');
	await click(page, 'Start --->');
	for (const n of [name, 'ssh']) await rows.row(n).getByText('active').waitFor();
	await world('carries', { port: jobPort(0) });
	await rows.row(String(jobPort(3))).getByText('refused').waitFor(); // what the agent has refused is so still
	await rows.choose(name);
	await click(page, 'Edit');
	const form = dialog(page, `site/${name}`);
	await form.locator('[name=note]').fill(HOSTILE);
	await form.locator('[name=port]').fill('70000');
	await form.getByRole('button', { name: 'Save' }).click();
	await form.getByText('Must be a port from 1 to 65535').waitFor();
	await looked(page, 'tunnel-job-form', 'the form of a job');
	await form.locator('[name=port]').fill(String(jobPort(2)));
	await form.getByRole('button', { name: 'Save' }).click();
	await form.waitFor({ state: 'detached' });
	await world('carries', { port: jobPort(2) });
	// What only TCP has goes with it: it would be refused, and stand nowhere.
	const protocol = async (before, text) => {
		await rows.choose(name);
		await click(page, 'Edit');
		for (const [field, v] of Object.entries(before)) await form.locator(`[name=${field}]`).selectOption(v);
		await form.locator('[name=protocol]').selectOption(text);
		await form.getByRole('button', { name: 'Save' }).click();
		await form.waitFor({ state: 'detached' });
	};
	await protocol({ proxy_protocol: 'v2', encrypt: 'true' }, 'tcp');
	await protocol({}, 'udp');
	await protocol({}, 'tcp');
	await world('carries', { port: jobPort(2) });
	await rows.row(name).dblclick();
	const details = dialog(page, `site/${name}`);
	await details.getByText(HOSTILE).waitFor();
	const link = scheme => details.getByRole('link', { name: `Open tunnel.example.org:${jobPort(2)} with ${scheme}`, exact: true });
	await link('ssh').waitFor(); // its address is the new one by now
	for (const scheme of ['http', 'rtsp', 'ssh']) equal(await link(scheme).getAttribute('href'), `${scheme}://tunnel.example.org:${jobPort(2)}`, scheme);
	const [file] = await Promise.all([page.waitForEvent('download'), link('rdp').click()]);
	equal(file.suggestedFilename(), 'stile.rdp', 'the remote desktop file');
	equal(readFileSync(await file.path(), 'utf8'), `full address:s:tunnel.example.org:${jobPort(2)}\r\n`, 'what it says');
	await looked(page, 'tunnel-job-details', 'the details of a job');
	await click(page, 'Close').catch(() => page.keyboard.press('Escape'));
	await details.waitFor({ state: 'detached' });
	await rows.choose(name);
	await rows.at.focus();
	await page.keyboard.press('Delete');
	await dialog(page, 'Delete 1 job?').getByRole('button', { name: 'Delete' }).click();
	await rows.row(name).waitFor({ state: 'detached' });
	await world('closed', { port: jobPort(2) });
	noFaults(page);
});

test('Of a job that somebody else has changed meanwhile both versions are shown, and theirs fills the form', async () => {
	const page = await at('jobs', { allowed: [/status of 412/] });
	const name = String(jobPort(4));
	const put = async note => {
		const job = { name, port: name, target: `127.0.0.1:${target}`, note };
		equal((await api(page, 'PUT', '/services/tunnel/objects/tunnel.job', { key: `site/${name}`, body: { agent: 'site', name, job } })).status, 200, note);
	};
	await put('as it was');
	const rows = grid(page, tab('jobs'));
	await rows.row(name).getByText('active').waitFor();
	await rows.choose(name);
	await click(page, 'Edit');
	const form = dialog(page, `site/${name}`);
	await form.locator('[name=note]').fill('mine');
	await put('theirs');
	await click(page, 'Save');
	await dialog(page, 'Somebody else changed it too').getByRole('row', { name: /note.*mine theirs/ }).waitFor();
	await click(page, 'Take theirs');
	equal(await form.locator('[name=note]').inputValue(), 'theirs', 'their note');
	equal(await form.locator('[name=port]').inputValue(), name, 'the port');
	await click(page, 'Save');
	await form.waitFor({ state: 'detached' });
	await api(page, 'DELETE', `/services/tunnel/objects/tunnel.job?key=${encodeURIComponent(`site/${name}`)}`);
	noFaults(page);
});

test('Data connections come and go live; the bytes of one are watched in hex and ASCII, which is audited; one is logged and ended', async () => {
	const page = await at('connections');
	const rows = grid(page, tab('connections'));
	const held = await world('hold', { port: jobPort(0) });
	await rows.row(`127.0.0.1:${held}`).getByText('open').waitFor();
	await looked(page, 'tunnel-connections', 'data connections');
	await rows.choose(`127.0.0.1:${held}`);
	await click(page, 'Watch the bytes');
	await page.getByText('No byte has passed yet.').waitFor();
	await until(async () => {
		await world('say', { held, text: '<b>hello</b>' });
		return page.getByText('3c 62 3e 68 65 6c 6c 6f').count();
	}, 'the bytes');
	holds((await page.locator('dialog pre').innerText()).includes('<b>hello</b>'), 'as ASCII');
	await looked(page, 'tunnel-watch', 'the watch pane');
	await page.keyboard.press('Escape');
	const audited = async () => (await api(page, 'GET', '/audit?limit=50')).body.rows.find(r => r.after?.action === 'tunnel.watch');
	await until(async () => (await audited())?.after.args.id > 0, 'the watch in the audit');
	await until(async () => !(await api(page, 'GET', '/services/tunnel/verbs/tunnel.connections')).body.rows[0].watched, 'the tap goes off with the pane');
	await rows.choose(`127.0.0.1:${held}`);
	await click(page, 'Log data');
	await toast(page, 'Every byte is written');
	await until(async () => (await world('records')).some(f => f.startsWith('RL')), 'the data log');
	await rows.choose(`127.0.0.1:${held}`);
	await click(page, 'Stop logging');
	await until(async () => !(await api(page, 'GET', '/services/tunnel/verbs/tunnel.connections')).body.rows[0].logged, 'the data log is closed');
	const other = await world('hold', { port: jobPort(0) });
	await rows.row(`127.0.0.1:${other}`).waitFor();
	await rows.choose(`127.0.0.1:${held}`, `127.0.0.1:${other}`);
	await rows.at.focus();
	await page.keyboard.press('Delete');
	const question = dialog(page, 'End 2 connections?');
	for (const h of [held, other]) await question.getByText(`127.0.0.1:${h} → site/ssh`).waitFor();
	await question.getByRole('button', { name: 'End connection' }).click();
	for (const h of [held, other]) equal(await world('over', { held: h }), true, 'the connection');
	await rows.row(`127.0.0.1:${held}`).waitFor({ state: 'detached' });
	noFaults(page);
});

test('A viewer sees the tables and no action; the pane is for operators', async () => {
	const page = await at('connections', { role: 'viewer', allowed: [/status of 403/] });
	const held = await world('hold', { port: jobPort(0) });
	const rows = grid(page, tab('connections'));
	await rows.row(`127.0.0.1:${held}`).waitFor();
	await rows.choose(`127.0.0.1:${held}`);
	equal(await page.getByRole('button', { name: 'Watch the bytes' }).count() + (await page.getByRole('button', { name: 'End connection' }).count()), 0, 'actions');
	equal((await api(page, 'POST', '/services/tunnel/verbs/tunnel.watch', { id: 1 })).status, 403, 'a watch by the API');
	await world('let_go', { held });
	await page.goto(`${page.url().split('#')[0]}#/tunnel/jobs`);
	await grid(page, tab('jobs')).row('ssh').waitFor();
	equal(await add(page).count(), 0, 'the blank last row');
	noFaults(page);
});

test('An agent enrols with the code and QR code of the page; one with the password waits, is approved, revoked and forgotten', async () => {
	const page = await at('agents', { allowed: [/status of 4/] });
	const rows = grid(page, tab('agents'));
	await click(page, 'Enrol an agent');
	const form = dialog(page, 'Enrol an agent');
	await form.getByRole('button', { name: 'Enrol an agent' }).click();
	await form.getByText('Please fill this in.').waitFor();
	await form.locator('[name=name]').fill('site');
	await form.getByRole('button', { name: 'Enrol an agent' }).click();
	await form.getByText('There is one of this name already.').waitFor();
	await looked(page, 'tunnel-enrol', 'the form of an enrolment');
	await form.locator('[name=name]').fill('home');
	await form.getByRole('button', { name: 'Enrol an agent' }).click();
	const code = dialog(page, 'Code for home');
	await code.getByRole('img', { name: 'The code as QR code' }).waitFor();
	await looked(page, 'tunnel-code', 'the code');
	const text = (await code.locator('pre').innerText()).trim();
	await page.keyboard.press('Escape');
	await grid(page, 'Codes that are out').row('home').waitFor();
	await world('agent', { agent: 'home', code: `"${text}"` });
	await rows.row('home').getByText('approved').waitFor();
	await grid(page, 'Codes that are out').at.waitFor({ state: 'detached' });
	await world('password_agent', { agent: 'evil', name: HOSTILE });
	await rows.row(HOSTILE).getByText('waits for approval').waitFor();
	await looked(page, 'tunnel-agents', 'agents, one of them with a hostile name');
	await rows.choose(HOSTILE);
	await click(page, 'Approve');
	await dialog(page, 'Approve 1 agent?').getByText(/sha256:/).waitFor();
	await dialog(page, 'Approve 1 agent?').getByRole('button', { name: 'Approve' }).click();
	await toast(page, '1 agent approved.');
	await rows.row(HOSTILE).getByText('approved').waitFor();
	await world('connected', { name: HOSTILE });
	await rows.choose(HOSTILE);
	await click(page, 'Edit');
	await dialog(page, HOSTILE).locator('[name=ports]').fill('1-');
	await click(page, 'Save');
	await dialog(page, HOSTILE).locator('.box.failed').waitFor();
	await dialog(page, HOSTILE).locator('[name=ports]').fill(`${jobPort(5)}-${jobPort(6)}`);
	await click(page, 'Save');
	await dialog(page, HOSTILE).waitFor({ state: 'detached' });
	await rows.row(`${jobPort(5)}-${jobPort(6)}`).waitFor();
	await rows.choose(HOSTILE);
	await click(page, 'Revoke');
	await dialog(page, 'Revoke 1 agent?').getByRole('button', { name: 'Revoke' }).click();
	await rows.row(HOSTILE).getByText('revoked').waitFor();
	await world('stop', { service: 'stile-agent@evil' });
	await rows.choose(HOSTILE);
	await rows.at.focus();
	await page.keyboard.press('Delete');
	await dialog(page, 'Forget 1 agent?').getByRole('button', { name: 'Forget' }).click();
	await rows.row(HOSTILE).waitFor({ state: 'detached' });
	noFaults(page);
});

test('Which site is direct and which relayed, and why, is told by both ends', async () => {
	const page = await at('sites');
	await world('introduce', { visitor: 'home', host: 'site' });
	const rows = grid(page, tab('sites'));
	await rows.row('visitor').getByText('up').waitFor();
	await rows.row('host').getByText('up').waitFor();
	await until(async () => /direct|relayed/.test(await rows.row('visitor').innerText()), 'the path in a word');
	await looked(page, 'tunnel-sites', 'sites');
	noFaults(page);
});

test('The sockets are the kernel’s, and the tester says where a connection stops', async () => {
	const page = await at('sockets');
	await grid(page, tab('sockets')).row('control').getByText(`127.0.0.1:${base}`).waitFor();
	await looked(page, 'tunnel-sockets', 'sockets');
	await page.goto(`${page.url().split('#')[0]}#/tunnel/test`);
	const place = page.getByRole('form', { name: 'Test this place' });
	await place.locator('[name=target]').fill('nonsense:0');
	await page.keyboard.press('Enter');
	await place.getByText('Must be host and port').waitFor();
	await place.locator('[name=target]').fill(`127.0.0.1:${target}`);
	await page.keyboard.press('Enter');
	await page.locator('.checks').getByText(`127.0.0.1:${target} in`).waitFor();
	await place.locator('[name=target]').fill('127.0.0.1:1');
	await page.keyboard.press('Enter');
	await page.locator('.checks').getByText('refused').waitFor();
	const site = page.getByRole('form', { name: 'Test this site' });
	await site.locator('select[name=agent]').selectOption('site');
	await click(page, 'Test this site');
	await page.locator('.checks').getByText('leads to').first().waitFor();
	await looked(page, 'tunnel-test', 'the tester');
	noFaults(page);
});

test('A value that the file sets is locked with its line, another may be changed', async () => {
	const page = await at('settings');
	const editable = path => page.locator(`[data-path="${path}"]`).locator('input, select').first().isEditable();
	await page.locator('[data-path="tunnel.ports"]').getByText(/set in stile\.yaml:\d+/).waitFor();
	equal([await editable('tunnel.ports'), await editable('tunnel.accept')], [false, true], 'what may be changed');
	await looked(page, 'tunnel-settings', 'settings');
	noFaults(page);
});

test('The tunnel restarts under the open page: it says so, and goes on', async () => {
	const page = await at('control', { allowed: [/status of 50/] });
	await grid(page, tab('control')).row('site').waitFor();
	await world('stop', { service: 'stile-tunnel' });
	await page.locator('.away').first().waitFor();
	await looked(page, 'tunnel-away', 'the page of a stopped service');
	await world('start', { service: 'stile-tunnel' });
	await world('connected', { name: 'site' });
	await grid(page, tab('control')).row('site').locator('.pill.ok').waitFor();
	await until(async () => (await page.locator('.away').count()) === 0, 'the end of the complaints');
	noFaults(page);
});

// A code for an agent, which is cancelled.
async function codeGiven(page, w, name) {
	await page.goto(`${url}#/tunnel/agents`);
	await click(page, w['tunnel.enrol']);
	const form = dialog(page, w['tunnel.enrol']);
	await form.locator('[name=name]').fill(name);
	await form.locator('[name=hours]').fill('2');
	await form.getByRole('button', { name: w['tunnel.enrol'], exact: true }).click();
	await dialog(page, w['tunnel.code'].replace('{name}', name)).getByRole('img', { name: w['tunnel.code.qr'] }).waitFor();
	await page.keyboard.press('Escape');
	const codes = grid(page, w['tunnel.codes']);
	await codes.row(name).waitFor();
	const out = async () => (await api(page, 'GET', '/services/tunnel/verbs/tunnel.agents')).body.codes.find(c => c.name === name);
	holds(Math.abs((await out()).expires - Date.now() / 1000 - 2 * 3600) < 600, 'its end');
	await codes.choose(name);
	await click(page, w['tunnel.cancel']);
	await dialog(page, counted(w['tunnel.cancel.ask'], 1)).getByRole('button', { name: w['tunnel.cancel'], exact: true }).click();
	await codes.row(name).waitFor({ state: 'detached' });
	equal(await out(), undefined, 'the code');
}

test('Bad values are refused and good ones kept in three languages', async () => {
	const wrong = { en: 'Must be a port from 1 to 65535', de: 'Muss ein Port von 1 bis 65535 sein', it: 'Deve essere una porta da 1 a 65535' };
	const place = { en: 'Must be host and port', de: 'Muss Host und Port sein', it: 'Deve essere host e porta' };
	for (const language of LANGUAGES) {
		const page = await opened({ language }, '#/tunnel/jobs');
		const l = language.slice(0, 2);
		await page.locator('form.add [name=port]').fill('0');
		await page.locator('form.add [name=target]').fill('a b');
		await page.keyboard.press('Enter');
		await page.getByText(wrong[l]).first().waitFor();
		await page.getByText(place[l]).first().waitFor();
		const rows = page.getByRole('grid').first().locator('.rows [role=row]');
		await page.locator('form.add select[name=agent]').selectOption('site');
		await page.locator('form.add [name=port]').fill(String(jobPort(7)));
		await page.locator('form.add [name=target]').fill(`127.0.0.1:${target}`);
		await page.keyboard.press('Enter');
		const row = rows.filter({ hasText: String(jobPort(7)) });
		await row.locator('.pill.ok').waitFor();
		await row.locator('[role=gridcell]').first().click();
		await click(page, { en: 'Edit', de: 'Bearbeiten', it: 'Modifica' }[l]);
		await page.locator('dialog [name=note]').fill(`${l}: ${HOSTILE}`);
		await page.locator('dialog [name=encrypt]').selectOption('false');
		await page.locator('dialog button[type=submit]').click();
		await page.locator('dialog').waitFor({ state: 'detached' });
		await row.getByText(`${l}: ${HOSTILE}`).waitFor();
		await api(page, 'DELETE', `/services/tunnel/objects/tunnel.job?key=${encodeURIComponent(`site/${jobPort(7)}`)}`);
		await row.waitFor({ state: 'detached' });
		await codeGiven(page, words(l), `code-${l}`);
		noFaults(page);
		await page.context().close();
	}
});

test('Three languages, light, dark and a narrow window', async () => {
	await inAllLooks(['#/tunnel/jobs', 'tunnel', page => page.locator('.grid .rows [role=row]').first().waitFor()]);
});

await cases();
