// SPDX-License-Identifier: Apache-2.0
//
// What a person does with the page TURN, in Chromium, against the services of pages_turn.py: every action with both outcomes, names
// that are HTML, values that the file sets, a service that ends under the page, and real clients on the other side.
import { readFileSync } from 'node:fs';
import { HOSTILE, Failed, LANGUAGES, accessible, api, base, cases, click, dialog, equal, fits, grid, holds, looked, noFaults, opened, shot, test, typed, until, url, world } from './page_kit.mjs';

const PORT = base;
const LAB = 'turn@lab';
const REFUSED = /status of (400|409|412|502)/; // what a case enters on purpose
const field = (page, label) => page.getByLabel(label, { exact: true });
const toast = (page, text) => page.locator('.toast').filter({ hasText: text });
const said = (page, text) => page.getByText(text).first().waitFor();

async function instance(page, name) {
	await page.getByLabel('Instance').selectOption(name);
}

// Reviews, applies and keeps what was changed.
async function applied(page, frame = words['en-GB']) {
	await click(page, frame.apply);
	await click(page, frame['confirm.keep']);
	await dialog(page, frame['confirm.title']).waitFor({ state: 'detached' });
}

test('Sessions of real clients are live; several are ended by Del after one question that names them', async () => {
	await world('uclient');
	await world('client', { user: HOSTILE, password: 'for-all-of-them' });
	await world('client', { user: 'bob', password: 'for-all-of-them' });
	const page = await opened({}, '#/turn');
	const table = grid(page, 'Sessions');
	await table.row('alice').waitFor();
	await table.row(HOSTILE).waitFor();
	await until(async () => /[1-9][\d.]*\s(KiB|MiB)/.test(await table.row('alice').textContent()), 'bytes of alice that move');
	const before = await table.cell('alice', 4).textContent();
	await until(async () => (await table.cell('alice', 4).textContent()) !== before, 'the bytes go on');
	await page.getByRole('searchbox').fill('<img');
	await until(async () => (await table.rows().count()) === 1, 'the filter leaves one');
	await page.getByRole('searchbox').fill('');
	await table.choose(HOSTILE, 'bob');
	await table.at.focus();
	await page.keyboard.press('Delete');
	const question = dialog(page, 'End 2 sessions?');
	await question.getByText(`${HOSTILE}, 127.0.0.1`).waitFor();
	await question.getByText('bob, 127.0.0.1').waitFor();
	await accessible(page, 'the question');
	await shot(page, 'turn-kill');
	await page.keyboard.press('Escape');
	await question.waitFor({ state: 'detached' });
	equal((await world('sessions')).filter(u => u === 'bob').length, 1, 'Esc is no');
	await table.at.focus();
	await page.keyboard.press('Delete');
	await question.getByRole('button', { name: 'End', exact: true }).click();
	await toast(page, '2 sessions ended.').waitFor();
	await world('gone', { user: 'bob' });
	await world('gone', { user: HOSTILE });
	await until(async () => !(await table.at.textContent()).includes('bob'), 'the rows go');
	await table.row('alice').dblclick();
	await dialog(page, 'alice').getByText('Relay address').waitFor();
	await shot(page, 'turn-session');
	noFaults(page);
});

test('Who was refused is told with the reason in the reader’s language', async () => {
	equal(await world('client', { user: 'alice', password: 'guess' }), 401, 'a wrong password');
	equal(await world('client', { user: HOSTILE, password: 'guess' }), 401, 'a hostile name');
	for (const [language, tab, reason] of [['en-GB', 'Refused', 'wrong user name or password'], ['de-DE', 'Abgewiesen', 'Passwort falsch']]) {
		const page = await opened({ language }, '#/turn/refused');
		const table = grid(page, tab);
		await table.row(HOSTILE).waitFor();
		holds((await table.row('alice').textContent()).includes(reason), `${reason} in ${await table.row('alice').textContent()}`);
		holds((await table.row('alice').textContent()).includes('401'), 'the code');
		noFaults(page);
	}
});

test('A user is made, used, changed and deleted with his sessions; what is bad stands beside its field; the file’s is locked', async () => {
	const page = await opened({ allowed: [REFUSED] }, '#/turn/users');
	const table = grid(page, 'Users');
	await table.row('alice').getByText(`set in stile.yaml:${await world('line', { text: 'users:' })}`).waitFor();
	await table.choose('alice');
	equal(await page.getByRole('button', { name: 'Delete', exact: true }).count(), 0, 'what the file sets cannot be deleted');
	await click(page, 'Add user');
	await click(page, 'Save');
	await page.getByText('Please fill this in.').first().waitFor();
	await field(page, 'User name').fill('caro\u00adl');
	await field(page, 'Password').fill('builders-tea');
	await click(page, 'Save');
	await said(page, 'a user name has 1 to 255 bytes');
	await field(page, 'User name').fill('carol');
	await accessible(page, 'the form of a user');
	await click(page, 'Save');
	await table.row('carol').waitFor();
	equal(await world('client', { user: 'carol', password: 'builders-tea' }), 0, 'carol may');
	await click(page, 'Add user');
	await field(page, 'User name').fill('carol');
	await field(page, 'Password').fill('another');
	await click(page, 'Save');
	await page.locator('dialog .box.failed').filter({ hasText: 'There is one of this name already.' }).waitFor();
	await shot(page, 'turn-user-exists');
	await click(page, 'Cancel');
	await table.choose('carol');
	await click(page, 'Change password');
	await field(page, 'Password').fill('earl-grey-now');
	await click(page, 'Save');
	await dialog(page, 'Change password').waitFor({ state: 'detached' });
	await table.choose('carol');
	await click(page, 'Change password');
	await field(page, 'Password').fill('mine');
	equal((await api(page, 'PUT', '/services/turn/objects/turn.user', { key: 'carol', body: { password: 'earl-grey-now' } })).status, 200, 'somebody else changes it');
	await click(page, 'Save');
	await dialog(page, 'Somebody else changed it too').waitFor();
	await click(page, 'Take theirs');
	equal(await field(page, 'User name').inputValue(), 'carol', 'whose password it is');
	await click(page, 'Cancel');
	equal(await world('client', { user: 'carol', password: 'builders-tea' }), 401, 'the old password');
	equal(await world('client', { user: 'carol', password: 'earl-grey-now' }), 0, 'the new one');
	await until(async () => (await table.cell('carol', 1).textContent()) === '2', 'two sessions of carol');
	await table.at.focus();
	await page.keyboard.press('Delete');
	await dialog(page, 'Delete 1 user?').getByText('carol: 2 sessions, 127.0.0.1').waitFor();
	await shot(page, 'turn-user-delete');
	await dialog(page, 'Delete 1 user?').getByRole('button', { name: 'Delete', exact: true }).click();
	await toast(page, '1 user deleted.').waitFor();
	await world('gone', { user: 'carol' });
	equal(await world('client', { user: 'carol', password: 'earl-grey-now' }), 401, 'carol may no longer');
	noFaults(page);
});

test('A shared secret is made, credentials minted from it are good, and refused once it is deleted', async () => {
	const page = await opened({ allowed: [REFUSED] }, '#/turn/secrets');
	const table = grid(page, 'Shared secrets');
	await table.row('2026a').getByText('set in stile.yaml:').waitFor();
	await click(page, 'Add secret');
	const made = await field(page, 'Secret').inputValue();
	holds(made.length >= 32, `a secret was made up: ${made}`);
	await field(page, 'Secret').fill('short');
	await field(page, 'Id').fill('2027');
	await click(page, 'Save');
	await said(page, '16 to 1024 bytes');
	await field(page, 'Secret').fill(made);
	await click(page, 'Save');
	await table.row('2027').waitFor();
	holds(!(await page.content()).includes(made), 'the secret is not shown again');
	await click(page, 'Mint a credential');
	const form = dialog(page, 'Mint a credential');
	await form.getByLabel('Secret', { exact: true }).selectOption('2027');
	await form.getByLabel('User name').fill('guest');
	await form.getByLabel('Valid for').fill('0');
	await form.getByRole('button', { name: 'Mint a credential' }).click();
	await said(page, /from 1 to 8,760|between 1 and 8,760|1.*8,760/);
	await form.getByLabel('Valid for').fill('1');
	await form.getByRole('button', { name: 'Mint a credential' }).click();
	const [username, password] = await until(async () => {
		const all = await page.locator('dialog code').allTextContents();
		return all.length === 2 && all;
	}, 'the credential');
	await shot(page, 'turn-minted');
	equal(await world('minted', { username, password }), 0, 'the credential is good');
	await page.locator('dialog').getByRole('button', { name: 'Close' }).last().click();
	await table.choose('2027');
	await click(page, 'Delete');
	await dialog(page, 'Delete 1 secret?').getByRole('button', { name: 'Delete', exact: true }).click();
	await toast(page, '1 secret deleted.').waitFor();
	equal(await world('minted', { username, password }), 401, 'the credential of a deleted secret');
	noFaults(page);
});

test('A listener is added, used and removed; port 0, a port beyond 65535 and one that is taken are refused', async () => {
	const page = await opened({ allowed: [REFUSED] }, '#/turn/interfaces');
	await instance(page, LAB);
	const table = grid(page, 'Listeners');
	await table.row(String(PORT + 4)).getByText('open').waitFor();
	await click(page, 'Add listener');
	const form = dialog(page, 'Add listener');
	const port = form.getByRole('textbox', { name: 'Port', exact: true });
	await form.getByLabel('Address').selectOption('127.0.0.1');
	for (const [n, why] of [['0', /0/], ['70000', /65535|65,535/]]) {
		await port.fill(n);
		await click(page, 'Next');
		await form.locator('.error').filter({ hasText: why }).waitFor();
	}
	await accessible(page, 'the form of a listener');
	await shot(page, 'turn-listener');
	await port.fill(String(PORT + 3)); // the console has it, over TCP
	await form.getByLabel('Transport').selectOption('tcp');
	await port.fill(String(PORT + 3));
	await click(page, 'Next');
	await said(page, /another program has this port|Address already in use/);
	await click(page, 'Add listener');
	await form.getByLabel('Address').selectOption('127.0.0.1');
	await port.fill(String(PORT + 4)); // the server has it
	await click(page, 'Next');
	await page.locator('main p.error').filter({ hasText: 'two listeners' }).waitFor();
	await click(page, 'Add listener');
	await form.getByLabel('Address').selectOption('127.0.0.1');
	await port.fill(String(PORT + 5));
	await click(page, 'Next');
	await applied(page);
	await table.row(String(PORT + 5)).getByText('open').waitFor();
	equal(await world('client', { user: 'dave', password: 'of-the-lab', port: PORT + 5 }), 0, 'a client comes by the new listener');
	await table.choose(String(PORT + 5));
	await click(page, 'Delete');
	const question = dialog(page, 'Close 1 listener?');
	await question.getByText(`udp:127.0.0.1:${PORT + 5}: 1 session`).waitFor();
	await question.getByRole('button', { name: 'Delete', exact: true }).click();
	await applied(page);
	await table.row(String(PORT + 5)).getByText('runs out').waitFor(); // dave is still there
	noFaults(page);
});

test('A realm is made, refused beside its field, used, changed with its password kept, and deleted with its sessions named', async () => {
	const page = await opened({ allowed: [REFUSED] }, '#/turn/realms');
	await grid(page, 'Realms').row('admin.test').getByText('default: see').waitFor();
	await instance(page, LAB);
	const table = grid(page, 'Realms');
	const form = page.getByRole('dialog');
	const put = (name, text) => form.locator(`[name="${name}"]`).fill(text);
	await click(page, 'Add realm');
	await put('name', '<b>r');
	await put('password', 'of-the-realm');
	await put('listen', `udp:127.0.0.1:${PORT + 99}`);
	await click(page, 'Next');
	await form.locator('.error').filter({ hasText: 'nothing listens on' }).waitFor();
	await looked(page, 'turn-realm', 'the form of a realm');
	await put('listen', `udp:127.0.0.1:${PORT + 4}`);
	equal((await api(page, 'PUT', `/services/${LAB}/config/turn.realms`, { value: [] })).status, 200, 'somebody else sets them meanwhile');
	await click(page, 'Next');
	await applied(page); // no conflict: it comes to what there is now
	await table.row('<b>r').getByText('set in the console').waitFor();
	equal(await world('client', { user: 'x', password: 'of-the-realm', port: PORT + 4 }), 0, 'a client of the realm');
	await table.choose('<b>r');
	await click(page, 'Edit');
	await put('limits.allocations', '1');
	await click(page, 'Next');
	await applied(page);
	await until(async () => (await table.cell('<b>r', 4).textContent()) === '1', 'the limit');
	holds(![0, 401].includes(await world('client', { user: 'y', password: 'of-the-realm', port: PORT + 4 })), 'the password is as it was, and the limit holds');
	await table.choose('<b>r');
	await click(page, 'Edit');
	await typed(form.locator('[name="password"]'), 'another');
	await click(page, 'Next');
	await applied(page);
	holds((await world('client', { user: 'y', password: 'another', port: PORT + 4 })) !== 401, 'the new password');
	equal(await world('client', { user: 'y', password: 'of-the-realm', port: PORT + 4 }), 401, 'the old one');
	await table.at.focus();
	await page.keyboard.press('Delete');
	await dialog(page, 'Delete 1 realm?').getByText('<b>r: 1 session').waitFor();
	await dialog(page, 'Delete 1 realm?').getByRole('button', { name: 'Delete', exact: true }).click();
	await applied(page);
	await table.row('<b>r').getByText('removed, runs out').waitFor();
	noFaults(page);
});

test('A password that is typed takes the place of the one that is not shown, blanks and all; what was typed can be dropped', async () => {
	const page = await opened({ allowed: [REFUSED] }, '#/configuration');
	const came = password => world('client', { user: 'gina', password, port: PORT + 4 });
	await page.locator('main select').first().selectOption(LAB);
	await page.getByLabel('Filter of the keys').fill('turn.password');
	const row = page.locator('[data-path="turn.password"]');
	const input = row.locator('input');
	await row.getByText('set in the console').waitFor();
	equal([await input.inputValue(), await input.getAttribute('placeholder')], ['', '***'], 'a password that is set');
	await typed(input, 'x');
	await page.keyboard.press('Backspace');
	await row.getByText('edited').waitFor({ state: 'detached' });
	equal(await page.getByRole('button', { name: 'Review and apply' }).count(), 0, 'changes of an empty field');
	await looked(page, 'configuration-password', 'a password that is set');
	await typed(input, ' *** a b ');
	await click(page, 'Review and apply');
	await applied(page);
	equal([await came(' *** a b '), await came('of-the-lab')], [0, 401], 'the new password and the old one');
	await typed(input, 'of-the-lab');
	await click(page, 'Review and apply');
	await applied(page);
	equal([await came('of-the-lab'), await came(' *** a b ')], [0, 401], 'the old one again');
	noFaults(page);
});

test('Listeners of the file are locked and say where; relay addresses say how their public address is known', async () => {
	const page = await opened({}, '#/turn/interfaces');
	await said(page, `set in stile.yaml:${await world('line', { text: '  listen: ["udp' })}`);
	equal(await page.getByRole('button', { name: 'Add listener' }).count(), 0, 'nothing can be added');
	await grid(page, 'Relay addresses').row('127.0.0.1').getByText('no NAT').waitFor();
	await instance(page, LAB);
	await page.locator('[data-path="turn.relay.addresses"] select').selectOption('127.0.0.1'); // of this machine
	equal(await page.getByRole('textbox', { name: 'Relay addresses' }).inputValue(), '127.0.0.1', 'the address that was added');
	await field(page, 'External address').fill('auto');
	await field(page, 'STUN servers').fill('127.0.0.1:9');
	await click(page, 'Review and apply');
	await applied(page);
	await grid(page, 'Relay addresses').row('127.0.0.1').getByText('not known').waitFor();
	await shot(page, 'turn-unknown');
	await accessible(page, 'an address that is not known');
	await page.locator('[data-path="turn.relay.external"]').getByRole('button', { name: 'Back to the default' }).click();
	await click(page, 'Review and apply');
	await applied(page);
	await grid(page, 'Relay addresses').row('127.0.0.1').getByText('no NAT').waitFor();
	noFaults(page);
});

test('Limits and peer rules are changed with review and confirmation, bad values stand beside their field, and a rule says itself', async () => {
	const page = await opened({ allowed: [REFUSED] }, '#/turn/rules');
	await instance(page, LAB);
	await field(page, 'May clients reach this address?').fill('nonsense');
	await click(page, 'Ask');
	await said(page, 'address is an IP address');
	await field(page, 'May clients reach this address?').fill('10.1.2.3');
	await click(page, 'Ask');
	await said(page, 'private');
	const own = page.locator('[data-path="turn.peers.deny"] input');
	await own.fill('8.8.8.8/99');
	await click(page, 'Review and apply');
	await page.locator('[data-path="turn.peers.deny"] .error').waitFor();
	await own.fill('8.8.8.0/24');
	await page.locator('[data-path="turn.limits.allocations_per_user"] input').fill('1');
	await click(page, 'Review and apply');
	await applied(page);
	await field(page, 'May clients reach this address?').fill('8.8.8.8');
	await click(page, 'Ask');
	await said(page, 'turn.peers.deny 8.8.8.0/24');
	equal(await world('client', { user: 'erin', password: 'of-the-lab', port: PORT + 4 }), 0, 'the first allocation');
	equal(await world('client', { user: 'erin', password: 'of-the-lab', port: PORT + 4 }), 486, 'the second one');
	noFaults(page);
});

test('A list that is longer than the page has of it is shown and not changed there: no item is lost', async () => {
	const page = await opened({}, '#/turn/rules');
	await instance(page, LAB);
	const deny = `/services/${LAB}/config/turn.peers.deny`;
	const own = page.locator('[data-path="turn.peers.deny"]');
	equal((await api(page, 'PUT', deny, { value: Array.from({ length: 600 }, (_, i) => `8.8.${i >> 8}.${i & 255}/32`) })).status, 200, '600 prefixes');
	await own.getByText('600 items').waitFor();
	equal([await own.locator('input').evaluate(e => e.readOnly), await own.getByRole('button').count()], [true, 0], 'a way to change them');
	await looked(page, 'turn-long-list', 'a long list');
	equal((await api(page, 'DELETE', deny)).status, 200, 'the default');
	await own.getByText('600 items').waitFor({ state: 'detached' });
	equal(await own.locator('input').evaluate(e => e.readOnly), false, 'a short list');
	// The same of those whose items have a table of their own.
	const realms = `/services/${LAB}/config/turn.realms`;
	equal((await api(page, 'PUT', realms, { value: [{ name: 'long.test', password: 'of-the-realm', listen: [`udp:127.0.0.1:${PORT + 4}`] }] })).status, 200, 'a realm');
	await page.route('**/config', async route => {
		const response = await route.fetch();
		const config = await response.json();
		for (const row of config.rows) if (['turn.listen', 'turn.realms'].includes(row.path)) row.cut = 600;
		await route.fulfill({ response, json: config });
	});
	for (const [tab, table, text] of [['interfaces', 'Listeners', String(PORT + 4)], ['realms', 'Realms', 'long.test']]) {
		await page.goto(`${url}#/turn/${tab}`);
		await page.getByText('600 items').waitFor();
		await grid(page, table).choose(text);
		for (const name of ['Add listener', 'Add realm', 'Edit', 'Delete']) equal(await page.getByRole('button', { name, exact: true }).count(), 0, `${tab}: ${name}`);
	}
	equal((await api(page, 'DELETE', realms)).status, 200, 'no realm');
	noFaults(page);
});

test('A renewed certificate is not in use before it is read again; a key that is another’s is a fault', async () => {
	const page = await opened({ allowed: [REFUSED] }, '#/turn/certificates');
	const table = grid(page, 'Certificates');
	await table.row('server.pem').getByText('in use').waitFor();
	await table.row('server.pem').dblclick();
	await dialog(page, 'Stile test').getByText('its own').waitFor();
	await accessible(page, 'the details of a certificate');
	await shot(page, 'turn-certificate');
	await page.locator('dialog').getByRole('button', { name: 'Close' }).last().click();
	await world('mismatch');
	await table.row('server.pem').getByText('faulty').waitFor();
	await click(page, 'Read again');
	await page.locator('.toast.failed').first().waitFor();
	await shot(page, 'turn-certificate-faulty');
	await page.locator('.toast.failed button').click();
	await world('replace', { name: 'other' });
	await table.row('server.pem').getByText('not in use yet').waitFor();
	await click(page, 'Read again');
	await table.row('server.pem').getByText(/^in use/).waitFor();
	await world('replace', { name: 'kept' });
	await click(page, 'Read again');
	await toast(page, 'has reloaded its configuration').first().waitFor();
	await instance(page, LAB);
	const found = grid(page, 'To choose from');
	await found.choose('other.pem');
	await click(page, 'Use');
	await dialog(page, 'Changes of').getByText('other.key').waitFor();
	await applied(page);
	await grid(page, 'Certificates').row('other.pem').getByText('no listener needs it').waitFor();
	noFaults(page);
});

test('The test goes with real traffic, both ways; the snippet opens a relay in the browser’s own WebRTC', async () => {
	const page = await opened({ allowed: [/clipboard/i] }, '#/turn/test');
	await click(page, 'Test');
	await page.getByText('All checks passed.').waitFor({ timeout: 60_000 });
	const dtls = page.locator('details').filter({ hasText: `DTLS 127.0.0.1:${PORT + 1}` });
	await dtls.locator('summary').click();
	await dtls.getByText('Forbidden peers').waitFor();
	await accessible(page, 'the outcome of the test');
	await shot(page, 'turn-tested');
	await world('replace', { name: 'other' }); // the running server still shows the one before
	await click(page, 'Test');
	await page.getByText(/\d checks failed\./).waitFor({ timeout: 60_000 });
	await page.locator('details[open] .check .error').first().waitFor(); // why stands in sight
	await shot(page, 'turn-test-failed');
	await world('replace', { name: 'kept' });
	await field(page, 'Host that clients use').fill('turn.example.org');
	await click(page, 'Show');
	await until(async () => /turns:turn\.example\.org:\d+\?transport=tcp/.test(await page.locator('pre').last().textContent()), 'the host');
	await field(page, 'Host that clients use').fill('127.0.0.1');
	await click(page, 'Show');
	await until(async () => /turn:127\.0\.0\.1/.test(await page.locator('pre').last().textContent()), 'the snippet');
	const candidate = await page.evaluate(async text => {
		const { iceServers } = JSON.parse(text);
		iceServers[0].urls = iceServers[0].urls.filter(u => u.startsWith('turn:'));
		const pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: 'relay' });
		const errors = [];
		pc.onicecandidateerror = e => errors.push(`${e.url}: ${e.errorCode} ${e.errorText}`);
		const found = new Promise(done => {
			pc.onicecandidate = e => (e.candidate ? done(e.candidate.candidate) : setTimeout(() => done(errors.join('; ') || 'none'), 1000));
		});
		pc.createDataChannel('x');
		await pc.setLocalDescription();
		return found;
	}, await page.locator('pre').last().textContent());
	holds(/ typ relay /.test(candidate), `a relay candidate: ${candidate}`);
	await instance(page, LAB);
	await click(page, 'Show');
	await said(page, 'The server gives no password away');
	noFaults(page);
});

test('A viewer sees sessions and certificates and can end nothing', async () => {
	const page = await opened({ role: 'viewer', allowed: [/status of 403/] }, '#/turn');
	const table = grid(page, 'Sessions');
	await table.row('alice').waitFor();
	equal(await page.locator('.tabs a').allTextContents(), ['Sessions', 'Certificates'], 'the parts of the page');
	await table.choose('alice');
	equal(await page.getByRole('button', { name: 'End', exact: true }).count(), 0, 'no End');
	equal((await api(page, 'POST', '/services/turn/verbs/turn.kill', { ids: [1] })).status, 403, 'nor by the API');
	noFaults(page);
});

test('A service that ends under the page is told, what was typed stays, and its return is seen', async () => {
	const page = await opened({ allowed: [/status of (4|5)\d\d/] }, '#/turn/users');
	await instance(page, LAB);
	await click(page, 'Add user');
	await field(page, 'User name').fill('typed before');
	await world('kill', { service: 'stile-turn@lab' });
	await page.locator('.box.failed').filter({ hasText: 'stile-turn' }).first().waitFor();
	await field(page, 'Password').fill('and-after-it');
	await click(page, 'Save');
	await page.locator('dialog .box.failed').waitFor();
	await shot(page, 'turn-away');
	await world('start', { service: 'stile-turn@lab' });
	await page.locator('.box.failed').filter({ hasText: 'stile-turn' }).waitFor({ state: 'detached' });
	equal(await field(page, 'User name').inputValue(), 'typed before', 'what was typed');
	await click(page, 'Save');
	await grid(page, 'Users').row('typed before').waitFor();
	noFaults(page);
});

// Of the frame's words, so that a translation is held to what a form says.
const words = Object.fromEntries(LANGUAGES.map(l => [l, JSON.parse(readFileSync(new URL(`../../console/web/src/lang/${l.slice(0, 2)}.json`, import.meta.url), 'utf8'))]));
const own = Object.fromEntries(LANGUAGES.map(l => [l, JSON.parse(readFileSync(new URL(`../../console/web/src/lang/turn.${l.slice(0, 2)}.json`, import.meta.url), 'utf8'))]));

// What the service says of a user's name, of a realm and of a bit rate.
const SAID = {
	'en-GB': ['a user name has 1 to 255 bytes', 'no client would come to this realm', '“Bit rate” must be a bit rate such as'],
	'de-DE': ['ein Benutzername hat in seiner Normalform', 'zu diesem Realm käme kein Client', '„Bitrate“ muss eine Bitrate sein wie'],
	'it-IT': ['un nome utente ha nella sua forma normale', 'nessun client arriverebbe a questo realm', '» deve essere un bit rate come'],
};

test('What is wrong is said in each language, by the page and by the service; what is good is saved, and several go with one question', async () => {
	for (const language of LANGUAGES) {
		const [frame, mine] = [words[language], own[language]];
		const page = await opened({ language, allowed: [REFUSED] }, '#/turn/users');
		await page.locator('select').first().selectOption(LAB);
		const wrong = text => page.locator('dialog .error').filter({ hasText: text }).first().waitFor();
		await click(page, mine['turn.user.add']);
		await click(page, frame.save);
		await wrong(frame.required);
		const put = (name, text) => page.locator(`dialog [name="${name}"]`).fill(text);
		await put('name', 'caro\u00adl');
		await put('password', 'builders-tea');
		await click(page, frame.save);
		await page.locator('dialog').getByText(SAID[language][0]).waitFor();
		const table = grid(page, mine['turn.users']);
		const names = ['one', 'two'].map(n => `${language} ${n}`);
		for (const name of names) {
			if (name === names[1]) await click(page, mine['turn.user.add']);
			await put('name', name);
			await put('password', 'builders-tea');
			await click(page, frame.save);
			await table.row(name).waitFor();
		}
		await table.choose(...names);
		await table.at.focus();
		await page.keyboard.press('Delete');
		const question = dialog(page, mine['turn.user.ask'].other.replace('{n}', '2'));
		for (const name of names) await question.getByText(`${name}: ${mine['turn.user.open'].other.replace('{n}', '0')}`).waitFor();
		await question.getByRole('button', { name: mine['turn.delete'], exact: true }).click();
		await toast(page, mine['turn.user.gone'].other.replace('{n}', '2')).waitFor();
		await page.evaluate(() => (location.hash = '#/turn/realms'));
		await click(page, mine['turn.realm.add']);
		await put('name', 'r');
		await put('limits.bitrate', 'fast');
		await click(page, frame.next);
		await wrong(SAID[language][2]);
		await shot(page, `turn-refused-${language}`);
		await put('limits.bitrate', '');
		await click(page, frame.next);
		await page.locator('dialog').getByText(SAID[language][1]).waitFor();
		await page.locator('dialog').getByRole('button', { name: frame.cancel }).click();
		await page.evaluate(() => (location.hash = '#/turn/interfaces'));
		await click(page, mine['turn.listener.add']);
		await page.locator('dialog input[name=port]').fill('0');
		await page.locator('dialog select[name=address]').selectOption('other');
		await page.locator('dialog input:not([name=port])').fill('not.an.address.1');
		await click(page, frame.next);
		await wrong(frame['bad.port.listen']);
		await wrong(frame['bad.address']);
		await page.locator('dialog').getByRole('button', { name: frame.cancel }).click();
		await page.evaluate(() => (location.hash = '#/turn/secrets'));
		await click(page, mine['turn.secret.add']);
		await page.locator('dialog input[name=secret]').fill('');
		await click(page, frame.save);
		await wrong(frame.required);
		noFaults(page);
	}
});

// What the cases of good values share: the page of lab in this language, on one part of it after the other.
async function lab(language, first) {
	const [frame, mine] = [words[language], own[language]];
	const page = await opened({ language, allowed: [REFUSED] }, `#/turn/${first}`);
	await page.locator('h1 + .pill').waitFor();
	await page.getByLabel(frame.instance).selectOption(LAB);
	const to = async tab => {
		await page.evaluate(hash => (location.hash = hash), `#/turn/${tab}`);
		await page.locator(`.tabs a[href="#/turn/${tab}"][aria-current]`).waitFor();
	};
	const put = (name, text) => page.locator(`dialog [name="${name}"]`).fill(text);
	// Chosen, and deleted after the question.
	const gone = async (table, name, ask) => {
		await table.choose(name);
		await table.at.press('Delete');
		const question = dialog(page, mine[ask].one.replace('{n}', '1'));
		await question.getByText(name).first().waitFor();
		await question.getByRole('button', { name: mine['turn.delete'], exact: true }).click();
	};
	// Settings with these values; → what sets them back to what they were.
	const set = async values => {
		const before = {};
		for (const [path, v] of Object.entries(values)) {
			const at = page.locator(`[data-path="${path}"]`);
			await at.locator('input').waitFor();
			const button = at.getByRole('button', { name: frame['edit.default'] });
			before[path] = (await button.count()) ? await at.locator('input').inputValue() : null;
			if (v === null) await button.click();
			else await at.locator('input').fill(v);
		}
		await click(page, frame.review);
		await applied(page, frame);
		for (const [path, v] of Object.entries(values)) {
			const from = frame[v === null ? 'source.default' : 'source.store'];
			await page.locator(`[data-path="${path}"]`).getByText(from, { exact: true }).waitFor();
		}
		return () => set(before);
	};
	return { page, frame, mine, to, put, gone, set };
}

test('In German and Italian good secrets, listeners and realms are saved, used and removed', async () => {
	for (const language of LANGUAGES.slice(1)) {
		const { page, frame, mine, to, put, gone } = await lab(language, 'interfaces');
		const listeners = grid(page, mine['turn.listeners']);
		await listeners.row(String(PORT + 4)).getByText(mine['turn.state.listening']).waitFor();
		await click(page, mine['turn.listener.add']);
		await page.locator('dialog [name=address]').selectOption('127.0.0.1');
		await put('port', String(PORT + 6));
		await click(page, frame.next);
		await applied(page, frame);
		await listeners.row(String(PORT + 6)).getByText(mine['turn.state.listening']).waitFor();
		equal(await world('client', { user: 'erin', password: 'guess', port: PORT + 6 }), 401, 'the new listener answers');
		await gone(listeners, String(PORT + 6), 'turn.listener.ask');
		await applied(page, frame);
		await listeners.row(String(PORT + 6)).waitFor({ state: 'detached' });

		await to('secrets');
		const [secrets, id] = [grid(page, mine['turn.secrets']), `2027-${language}`];
		await click(page, mine['turn.secret.add']);
		await put('id', id);
		await click(page, frame.save);
		await secrets.row(id).getByText(frame['source.store']).waitFor();
		await click(page, mine['turn.mint']);
		await page.locator('dialog [name=secret]').selectOption(id);
		await put('name', `guest ${language}`);
		await put('hours', '2');
		await page.locator('dialog [type=submit]').click();
		await page.locator('dialog code').nth(1).waitFor();
		const [user, password] = await page.locator('dialog code').allTextContents();
		await page.keyboard.press('Escape');
		equal(await world('client', { user, password, port: PORT + 4 }), 0, 'the credential is good');
		await gone(secrets, id, 'turn.secret.ask');
		await toast(page, mine['turn.secret.gone'].one.replace('{n}', '1')).waitFor();
		await secrets.row(id).waitFor({ state: 'detached' });
		equal(await world('client', { user, password, port: PORT + 4 }), 401, 'the credential of a deleted secret');

		await to('realms');
		const [realms, realm] = [grid(page, mine['turn.realms']), `realm ${language}`];
		await click(page, mine['turn.realm.add']);
		await put('name', realm);
		await put('password', 'of-the-realm');
		await put('listen', `udp:127.0.0.1:${PORT + 4}`);
		await put('limits.allocations', '5');
		await put('limits.bitrate', '2Mbit/s');
		await click(page, frame.next);
		await applied(page, frame);
		await realms.row(realm).getByText(frame['source.store']).waitFor();
		equal(await realms.cell(realm, 4).textContent(), '5', 'the limit');
		equal(await world('client', { user: 'x', password: 'of-the-lab', port: PORT + 4 }), 401, 'the listener is the realm’s now');
		await gone(realms, realm, 'turn.realm.ask');
		await applied(page, frame);
		await realms.row(realm).waitFor({ state: 'detached' });
		noFaults(page);
		await page.context().close();
	}
});

test('In German and Italian good peer rules, relay addresses and certificates are saved, at work and set back', async () => {
	for (const language of LANGUAGES.slice(1)) {
		const { page, frame, mine, to, set } = await lab(language, 'rules');
		let back = await set({ 'turn.peers.deny': '9.9.9.0/24, 2001:db8::/32', 'turn.limits.allocations_per_user': '7' });
		for (const [address, says, rule] of [
			['9.9.9.9', 'turn.peer.no', 'turn.peers.deny 9.9.9.0/24'],
			['127.0.0.1', 'turn.peer.yes', 'turn.peers.allow 127.0.0.0/8'], // the file's
		]) {
			await field(page, mine['turn.peer']).fill(address);
			await click(page, mine['turn.peer.ask']);
			await page.locator('form.peer [role=status]').filter({ hasText: rule }).getByText(mine[says], { exact: true }).waitFor();
		}
		await back();

		await to('interfaces');
		const relays = grid(page, mine['turn.relays']);
		back = await set({ 'turn.relay.addresses': '127.0.0.2', 'turn.relay.external': '192.0.2.9', stun_servers: '127.0.0.1:9, 127.0.0.1:10' });
		await relays.row('127.0.0.2').getByText(mine['turn.how.given']).waitFor();
		await relays.row('127.0.0.2').getByText('192.0.2.9').waitFor();
		await back();
		await relays.row('127.0.0.2').waitFor({ state: 'detached' });

		await to('certificates');
		const [certificates, found] = [grid(page, mine['turn.certificates']), grid(page, mine['turn.found'])];
		for (const name of ['kept.pem', 'other.pem']) {
			await found.choose(name); // the second one is what the case of certificates has chosen
			await click(page, mine['turn.use']);
			await page.locator('dialog').getByText(`/${name}`).first().waitFor();
			await applied(page, frame);
			await certificates.row(name).getByText(mine['turn.cert.unused']).waitFor();
		}
		noFaults(page);
		await page.context().close();
	}
});

const LOOKED_TWICE = ['sessions', 'interfaces', 'certificates']; // by axe, in dark as well: a table, a form, and red states
const TABS = ['sessions', 'refused', 'users', 'secrets', 'interfaces', 'rules', 'realms', 'certificates', 'test'];

test('Every part of the page in three languages, light, dark and on a telephone', async () => {
	for (const [i, language] of LANGUAGES.entries()) {
		const [dark, width] = [[false, 1280], [true, 390], [false, 390]][i];
		const page = await opened({ language, dark, width, height: width < 500 ? 844 : 900 }, '#/turn');
		for (const tab of TABS) {
			await page.evaluate(to => (location.hash = `#/turn/${to}`), tab);
			await page.locator(`.tabs a[href="#/turn/${tab}"][aria-current]`).waitFor();
			await until(async () => !(await page.locator('main .loading').count()), `${tab} is there`);
			if (i === 0 || (i === 1 && LOOKED_TWICE.includes(tab))) await looked(page, `turn-${tab}-${language.slice(0, 2)}-${dark ? 'dark' : 'light'}-${width}`, `${tab} in ${language}`);
			else await fits(page, `${tab} in ${language}`);
			if (i > 0 && !(i === 1 && LOOKED_TWICE.includes(tab))) await shot(page, `turn-${tab}-${language.slice(0, 2)}-${dark ? 'dark' : 'light'}-${width}`);
			const raw = (await page.locator('main').innerText()).match(/\bturn\.(?!realm|peers|users|secrets|limits|lifetime|relay|listen|password|mobility|certificate|key)[a-z_]+(\.[a-z_]+)?/);
			if (raw) throw new Failed(`${tab} in ${language}: a key instead of its word: ${raw[0]}`);
		}
		noFaults(page);
		await page.context().close();
	}
});

await cases();
