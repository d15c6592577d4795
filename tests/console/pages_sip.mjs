// SPDX-License-Identifier: Apache-2.0
//
// What a person does with the page SIP, in Chromium, against what pages_sip.py has started: every tab, every action and its
// refusal, values that the file locks, hostile names, a restart under the page, three languages, light, dark, a telephone.
// Cases build on each other: uc-a is logged on from the second one on, bob is registered from the sixth.
import { accessible, api, base, cases, click, dialog, equal, grid, holds, inAllLooks, looked, noFaults, opened, test, typed, until, words, world } from './page_kit.mjs';

const REFUSED = /status of 4(00|09|12|22|23)/; // what a case brings about
const lan = base + 5;
const port = base + 15; // a free one
const field = (page, name) => page.getByRole('dialog').locator(`[name="${name}"]`);
const put = async (page, values) => {
	for (const [name, v] of Object.entries(values)) {
		const at = field(page, name);
		if ((await at.evaluate(e => e.tagName)) === 'SELECT') await at.selectOption(v);
		else await at.fill(v);
	}
};
const save = page => page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
const saved = async page => {
	await save(page);
	await page.getByRole('dialog').waitFor({ state: 'detached' });
};
const at = (tab, more = {}) => opened({ allowed: [REFUSED, /status of 401/], ...more }, `#/sip/${tab}`);

// Chooses the rows and does this with them; the question names them.
async function act(page, table, rows, action, { names = [], yes } = {}) {
	const g = grid(page, table);
	await g.choose(...rows);
	await page.getByRole('button', { name: action, exact: true }).click();
	if (!yes) return;
	const q = page.getByRole('dialog');
	for (const name of names) await q.getByText(name).first().waitFor();
	await q.getByRole('button', { name: yes, exact: true }).click();
	await q.waitFor({ state: 'detached' });
}

test('Interfaces: each with state and warning, locked ones with their line; one is made, refused, switched, deleted', async () => {
	const page = await at('interfaces');
	const g = grid(page, 'Interfaces');
	await g.row('0.0.0.0').getByText('Outside a LAN').waitFor();
	equal(await g.row('mtls').locator('[role=gridcell]').nth(2).textContent(), String(base + 4), 'the port of federation');
	await g.row('0.0.0.0').dblclick();
	await dialog(page, `udp:0.0.0.0:${base}`).getByText(/stile\.yaml:\d+/).waitFor();
	await looked(page, 'sip-interface-details', 'details of an interface');
	await page.keyboard.press('Escape');
	await act(page, 'Interfaces', ['0.0.0.0'], 'Edit');
	await page.getByRole('dialog').getByText(/set in stile\.yaml:\d+/).first().waitFor();
	holds(await field(page, 'transport').isDisabled(), 'a value of the file is locked');
	equal(await page.getByRole('dialog').getByRole('button', { name: 'Save' }).count(), 0, 'ways to save what is locked');
	await page.keyboard.press('Escape');
	await click(page, 'Add');
	await put(page, { transport: 'udp', port: '0' });
	await page.getByRole('dialog').getByText('anybody on the way can read').waitFor();
	await save(page);
	await page.getByText('Port 0 cannot be listened on.').waitFor();
	await looked(page, 'sip-interface-form', 'the form with its errors');
	await put(page, { transport: 'tcp', address: '127.0.0.1', port: String(lan) });
	await save(page);
	await page.getByRole('dialog').locator('.box.failed').getByText('has a listener already').waitFor();
	await put(page, { transport: 'tls', port: String(port) });
	await page.getByRole('dialog').getByRole('button', { name: 'Determine IP' }).click();
	await page.getByRole('dialog').getByText('203.0.113.5 ·').waitFor();
	equal(await field(page, 'advertise').inputValue(), '203.0.113.5', 'the address that was determined');
	await page.getByRole('dialog').getByLabel('Choose a certificate …').selectOption({ label: 'server.pem – CN=server' });
	await until(async () => (await field(page, 'key').inputValue()).endsWith('/server.key'), 'the key beside the certificate');
	await looked(page, 'sip-interface-new', 'a new interface');
	await saved(page);
	const row = g.row(String(port));
	await row.getByText('listens').waitFor();
	await row.getByText('203.0.113.5').waitFor();
	await act(page, 'Interfaces', [String(port)], 'Switch off');
	await row.locator('.pill.off').waitFor();
	await act(page, 'Interfaces', [String(port)], 'Switch on');
	await row.locator('.pill.ok').waitFor();
	await act(page, 'Interfaces', [String(port)], 'Edit');
	await put(page, { advertise: 'a b' });
	await save(page);
	await page.getByRole('dialog').getByText('must be a host').waitFor();
	await put(page, { advertise: 'sip.uc.test' });
	await saved(page);
	await row.getByText('sip.uc.test').waitFor();
	await g.choose(String(port));
	await g.at.press('Delete');
	const q = dialog(page, 'Delete this?');
	await q.getByText(`tls:127.0.0.1:${port}: 0 connections`).waitFor();
	await accessible(page, 'the question');
	await q.getByRole('button', { name: 'Delete' }).click();
	await row.waitFor({ state: 'detached' });
	await click(page, 'Add');
	await put(page, { transport: 'tls', address: 'other', port: String(port) });
	await page.getByRole('dialog').getByLabel('IP address, typed').fill('192.0.2.77');
	await page.getByRole('dialog').getByText('does not have this address now').waitFor();
	await saved(page);
	await g.row('192.0.2.77').getByText('does not have').waitFor();
	await world('address');
	await act(page, 'Interfaces', ['192.0.2.77'], 'Switch off');
	await g.row('192.0.2.77').locator('.pill.off').waitFor();
	await act(page, 'Interfaces', ['192.0.2.77'], 'Switch on');
	await g.row('192.0.2.77').locator('.pill.ok').waitFor();
	await click(page, 'Determine IP');
	await page.getByText('Asked anew').waitFor();
	noFaults(page);
});

test('UC servers: who is logged on, since when and with what users; one is made, in conflict, logs on and is deleted', async () => {
	const page = await at('lan');
	const g = grid(page, 'UC servers');
	await g.row('uc-a').getByText('not logged on').waitFor();
	await click(page, 'Add');
	await put(page, { user: 'uc-b' });
	await save(page);
	await page.getByRole('dialog').getByText('could be anybody').waitFor();
	await put(page, { password: 'pw-uc-b', weight: '1001' });
	await save(page);
	await page.getByText('Must be a whole number from 0 to 1,000.').waitFor();
	await looked(page, 'sip-server-form', 'the form of a server');
	await put(page, { weight: '40' });
	await saved(page);
	await world('server', { name: 'uc-a', users: ['zoe'] });
	await world('server', { name: 'uc-b' });
	await g.row('uc-b').locator('.pill.ok').waitFor();
	equal(await world('message', { server: 'uc-b', to: 'zoe@uc.test' }), 200, 'the message to zoe');
	await until(async () => (await g.cell('uc-a', 5).textContent()) === '1', 'a user is known at uc-a');
	holds(/2026|20\d\d/.test(await g.cell('uc-a', 4).textContent()), 'since when it is logged on');
	await g.row('uc-a').dblclick();
	await dialog(page, 'uc-a').getByText('zoe@uc.test').waitFor();
	await looked(page, 'sip-server-details', 'details of a server');
	await page.keyboard.press('Escape');
	await act(page, 'UC servers', ['uc-b'], 'Edit');
	await put(page, { weight: '50' });
	const kept = await api(page, 'GET', '/services/sip/objects/sip.server');
	await world('verb', { service: 'stile-sip', verb: 'sip.server.put', args: { server: { user: 'uc-b', weight: 60 } } });
	equal(kept.body.rows[0].body.password, '***', 'a password is not shown');
	await save(page);
	const both = dialog(page, 'Somebody else changed it too');
	await both.getByRole('cell', { name: '60', exact: true }).waitFor();
	await click(page, 'Use mine');
	await both.waitFor({ state: 'detached' });
	await until(async () => (await g.cell('uc-b', 6).textContent()) === '50', 'the weight of the second one');
	const password = async () => (await world('verb', { service: 'stile-sip', verb: 'service.objects', args: { kind: 'sip.server', secrets: true } })).rows[0].body.password;
	equal(await password(), 'pw-uc-b', 'the password, which nobody has changed');
	await act(page, 'UC servers', ['uc-b'], 'Edit');
	await typed(field(page, 'password'), 'new ');
	await saved(page);
	equal(await password(), 'new ', 'the password that was typed');
	await act(page, 'UC servers', ['uc-b'], 'Edit');
	await click(page, 'Remove');
	await save(page);
	await page.getByRole('dialog').getByText('could be anybody').waitFor();
	await put(page, { addresses: '127.0.0.1' });
	await looked(page, 'sip-server-password', 'a password that is removed');
	await saved(page);
	equal(await password(), undefined, 'the password that was removed');
	await act(page, 'UC servers', ['uc-b'], 'Delete', { names: ['uc-b: 0 users known'], yes: 'Delete' });
	await g.row('uc-b').waitFor({ state: 'detached' });
	await world('server_away', { name: 'uc-b' });
	noFaults(page);
});

test('Certificates: subject, issuer, validity, chain and faults; one of the file stays, those beside it are shown as they are', async () => {
	const page = await at('certificates');
	await grid(page, 'Certificates').row('CN=server').dblclick();
	const details = dialog(page, /server\.pem/);
	for (const text of ['CN=Test CA', 'DNS:uc.test', 'CN=server', `tls:127.0.0.1:${base + 1}`]) await details.getByText(text).first().waitFor();
	await looked(page, 'sip-certificate-details', 'details of a certificate');
	await page.keyboard.press('Escape');
	const found = grid(page, 'Files to choose from');
	await found.row('hostile.pem').getByText('img src=x').first().waitFor();
	await found.row('hostile.pem').getByText('it ends in').waitFor();
	await found.choose('other.pem');
	equal(await page.getByRole('button', { name: 'Use for all interfaces' }).count(), 0, 'ways to change what the file sets');
	noFaults(page);
	await page.context().close();
	const other = await at('certificates');
	await other.getByLabel('Instance').selectOption('sip@friend');
	await grid(other, 'Certificates').row('CN=friend').waitFor();
	noFaults(other);
});

test('Static routes: made with warnings, refused, silent, switched one by one and all together, deleted', async () => {
	const page = await at('routes');
	const g = grid(page, 'Static routes');
	await g.row('file.test').locator('.pill.off').waitFor();
	await click(page, 'Add');
	await put(page, { domain: 'UC.test', host: '127.0.0.1', transport: 'tls', trusted: 'true' });
	await page.getByRole('dialog').getByText('whoever has the gateway’s address').waitFor();
	await save(page);
	await page.getByRole('dialog').getByText('is one of sip.domains').waitFor();
	await put(page, { transport: 'udp', port: '70000' });
	await page.getByRole('dialog').getByText('anybody on the way can read').waitFor();
	await save(page);
	await page.getByText('A port is a number from 0 to 65535.').waitFor();
	await looked(page, 'sip-route-form', 'the form of a route');
	await put(page, { domain: 'Silent.test', trusted: 'false', port: String(base + 16) });
	await saved(page);
	await g.row('silent.test').getByText('does not answer').waitFor();
	await click(page, 'Add');
	await put(page, { domain: 'plain.test', host: 'far.test', transport: 'tcp' });
	await saved(page);
	await g.row('plain.test').locator('.pill.warning, .pill.failed').waitFor();
	await act(page, 'Static routes', ['plain.test', 'silent.test'], 'Switch off');
	await until(async () => (await g.at.locator('.pill.off').count()) === 3, 'all are off');
	await act(page, 'Static routes', ['silent.test'], 'Edit');
	holds(await field(page, 'domain').evaluate(e => e.readOnly), 'the name stays');
	await put(page, { active: 'true', bind: '127.0.0.1' });
	await saved(page);
	await g.row('silent.test').locator('.pill.failed').waitFor();
	await page.locator('[name="sip.use_routes"]').selectOption('false');
	await click(page, 'Review and apply');
	await click(page, 'Apply');
	await click(page, 'Keep it');
	await dialog(page, 'Keep this change?').waitFor({ state: 'detached' });
	equal((await world('verb', { service: 'stile-sip', verb: 'sip.route.list' })).used, false, 'the switch of all');
	await act(page, 'Static routes', ['plain.test', 'silent.test'], 'Delete', { names: ['plain.test', 'silent.test'], yes: 'Delete' });
	await until(async () => (await g.rows().count()) === 1, 'the file’s is left');
	noFaults(page);
});

test('Federation: certificate against SRV record, public address; a partner with what was spoken is limited and denied', async () => {
	const page = await at('federation');
	const g = grid(page, 'Partners');
	await click(page, 'Check certificate and SRV record');
	await page.getByText('server.pem names uc.test').waitFor();
	await page.getByText(`host a.test, port ${base + 4}, 127.0.0.1`).waitFor();
	await page.getByText('partners outside cannot reach this address').waitFor();
	await click(page, 'Determine IP');
	await page.getByText('203.0.113.5 ·').waitFor();
	await looked(page, 'sip-federation-check', 'the check');
	await world('friend', { user: 'dave' });
	await world('spoken', { server: 'uc-a', user: 'dave' });
	await g.row('friend.test').waitFor();
	await until(async () => Number(await g.cell('friend.test', 6).textContent()) > 0, 'what went out');
	await act(page, 'Partners', ['friend.test'], 'Edit'); // the mode lets it in: it is no partner yet
	await put(page, { allow: 'false' });
	await saved(page);
	await until(async () => (await g.cell('friend.test', 1).textContent()) === 'off', 'denied where it stood');
	await act(page, 'Partners', ['friend.test'], 'Delete', { names: ['friend.test'], yes: 'Delete' });
	await until(async () => (await g.cell('friend.test', 1).textContent()) === 'on', 'let in by the mode');
	await click(page, 'Add');
	await put(page, { domain: 'not a domain' });
	await save(page);
	await page.getByRole('dialog').locator('.box.failed, .error').first().waitFor();
	await put(page, { domain: 'friend.test', calls: 'none', rate: '50' });
	await looked(page, 'sip-partner-form', 'the form of a partner');
	await saved(page);
	await until(async () => (await g.cell('friend.test', 4).textContent()) === 'none', 'no calls');
	await act(page, 'Partners', ['friend.test'], 'Edit');
	await put(page, { allow: 'false' });
	await saved(page);
	await until(async () => (await g.cell('friend.test', 1).textContent()) === 'off', 'not allowed');
	holds((await world('message', { server: 'uc-a', to: 'dave@friend.test' })) >= 400, 'who is denied is not spoken with');
	await g.row('friend.test').dblclick();
	await dialog(page, 'friend.test').getByText('Messages 1').waitFor();
	await page.keyboard.press('Escape');
	await act(page, 'Partners', ['friend.test'], 'Delete', { names: ['friend.test'], yes: 'Delete' });
	await until(async () => (await g.cell('friend.test', 1).textContent()) === 'on', 'the mode decides again');
	noFaults(page);
});

test('Accounts: made, refused, with another password, deleted with its registrations named', async () => {
	const page = await at('users');
	const g = grid(page, 'Accounts');
	await g.row('bob@uc.test').waitFor();
	await click(page, 'Add');
	await put(page, { name: 'carl@nowhere.test', password: 'x' });
	await save(page);
	await page.getByRole('dialog').locator('.box.failed').waitFor();
	await put(page, { name: '<b>eve</b>@uc.test' });
	await saved(page);
	await g.row('<b>eve</b>@uc.test').waitFor();
	await click(page, 'Add');
	await put(page, { name: 'carl@uc.test', password: 'x' });
	await saved(page);
	await world('phone', { user: 'carl', password: 'x' });
	await until(async () => (await g.cell('carl@uc.test', 1).textContent()) === '1', 'carl is registered');
	await act(page, 'Accounts', ['carl@uc.test'], 'Edit');
	await save(page);
	await page.getByText('Please fill this in.').waitFor();
	await typed(field(page, 'password'), 'another');
	await saved(page);
	await world('phone', { user: 'carl', password: 'another' });
	await looked(page, 'sip-accounts', 'the accounts');
	await act(page, 'Accounts', ['carl@uc.test'], 'Delete', { names: [/carl@uc\.test: \d registered contact/], yes: 'Delete' });
	await g.row('carl@uc.test').waitFor({ state: 'detached' });
	noFaults(page);
});

test('Live: a registration, a ringing call and a connection are shown; registration and connection are ended', async () => {
	const page = await at('live');
	await world('phone', { user: 'bob' });
	await grid(page, 'Registrations').row('bob@uc.test').waitFor();
	await world('ring', { server: 'uc-a', user: 'bob' });
	await grid(page, 'Transactions').row('INVITE').waitFor();
	await looked(page, 'sip-live', 'what goes on');
	await world('busy');
	await grid(page, 'Transactions').row('INVITE').dblclick();
	await page.getByRole('dialog').getByText('Memory').waitFor();
	await page.keyboard.press('Escape');
	await act(page, 'Registrations', ['bob@uc.test'], 'End', { names: ['bob@uc.test, sip:'], yes: 'End' });
	await grid(page, 'Registrations').row('bob@uc.test').waitFor({ state: 'detached' });
	await world('phone', { user: 'bob' });
	const peer = await world('peer', { user: 'bob' });
	await act(page, 'Connections', [peer], 'End', { names: [`tcp ${peer}`], yes: 'End' });
	holds(await world('gone', { user: 'bob' }), 'the phone sees the end of its connection');
	noFaults(page);
});

test('The doctor walks to a domain or says where it stops; explain names the rule that decides', async () => {
	const page = await at('questions');
	const part = name => page.getByRole('region', { name, exact: true });
	const doctor = part('Doctor');
	for (const [domain, says] of [
		['friend.test', '200 OK'],
		['nowhere.test', 'must publish it'],
	]) {
		await doctor.locator('[name=domain]').fill(domain);
		await doctor.getByRole('button', { name: 'Ask' }).click();
		await doctor.getByText(says).first().waitFor({ timeout: 60_000 });
		await doctor.getByRole('button', { name: 'Ask', disabled: false }).waitFor({ timeout: 60_000 });
	}
	const explain = part('Explain');
	await explain.locator('[name=from]').fill('bob@uc.test');
	await explain.locator('[name=to]').fill('dave@friend.test');
	await explain.getByRole('button', { name: 'Ask' }).click();
	await explain.getByText('407').or(explain.getByText('It would go on.')).first().waitFor();
	await looked(page, 'sip-questions', 'both answers');
	await explain.locator('[name=to]').fill('<b>');
	await explain.getByRole('button', { name: 'Ask' }).click();
	await explain.getByText('from and to must be addresses').waitFor();
	noFaults(page);
});

test('A restart of the service under the page keeps what was typed, and the page goes on by itself', async () => {
	const page = await at('routes', { allowed: [REFUSED, /status of (401|50\d)/] });
	await click(page, 'Add');
	await put(page, { domain: 'kept.test', host: '127.0.0.1', transport: 'tcp' });
	await world('stop', { service: 'stile-sip' });
	await page.locator('.away').first().waitFor();
	await save(page);
	await page.getByRole('dialog').locator('.box.failed').waitFor();
	await world('start', { service: 'stile-sip' });
	await until(async () => {
		const button = page.getByRole('dialog').getByRole('button', { name: 'Save', disabled: false });
		if (await button.count()) await button.click({ timeout: 2000 }).catch(() => {}); // it goes while it is looked for
		return !(await page.getByRole('dialog').count());
	}, 'the route is saved');
	await grid(page, 'Static routes').row('kept.test').waitFor();
	noFaults(page);
});

test('A viewer sees all but accounts and registrations, and nothing to press', async () => {
	const page = await at('routes', { role: 'viewer', allowed: [/status of 40[13]/] });
	await grid(page, 'Static routes').row('kept.test').locator('[role=gridcell]').first().click();
	await page.getByRole('button', { name: 'Details' }).waitFor();
	equal(await page.locator('main .table button').filter({ hasText: /Add|Edit|Delete|Switch/ }).count(), 0, 'buttons');
	equal(await page.getByRole('link', { name: 'Accounts' }).count(), 0, 'the tab of accounts');
	noFaults(page);
});

const WORDS = { 'de-DE': ['Hinzufügen', 'Speichern'], 'it-IT': ['Aggiungi', 'Salva'] };
const BAD = { interfaces: { port: '0' }, lan: { weight: '-1' }, routes: { port: 'x' }, federation: { rate: '1000001' }, users: { password: '' } };
const TABS = ['interfaces', 'lan', 'certificates', 'routes', 'federation', 'users', 'live', 'questions'];

const to = async (page, tab) => {
	await page.evaluate(hash => {
		location.hash = hash;
	}, `#/sip/${tab}`);
	await page.locator(`.tabs a[href="#/sip/${tab}"][aria-current]`).waitFor();
};

// What the proxy says of a route to its own domain, and of a UC server without a password.
const SAID = { 'de-DE': ['ist eine von sip.domains', 'könnte jeder sein'], 'it-IT': ['è uno di sip.domains', 'potrebbe essere chiunque'] };
const own = l => words(l.slice(0, 2));

// Each form with good values: its table, what is typed, the name that the proxy has it by, what its row shows (of these words).
const GOOD = {
	interfaces: {
		table: 'sip.interfaces',
		kind: 'sip.interface',
		values: l => ({ transport: 'tls', address: '127.0.0.1', port: String(port), advertise: `${l}.uc.test` }),
		key: () => `tls:127.0.0.1:${port}`,
		row: l => `${l}.uc.test`,
		shows: w => w['sip.listens'],
	},
	lan: {
		table: 'sip.servers',
		kind: 'sip.server',
		values: l => ({ user: `uc-${l}`, password: 'pw-of-it', users: '7*', weight: '40' }),
		key: l => `uc-${l}`,
		shows: w => w['sip.logged_off'],
	},
	federation: {
		table: 'sip.partners',
		kind: 'sip.partner',
		values: l => ({ domain: `${l}.partner.test`, calls: 'none', rate: '50' }),
		key: l => `${l}.partner.test`,
		shows: w => w['sip.way.none'],
	},
	users: {
		table: 'sip.users',
		kind: 'sip.user',
		values: l => ({ name: `${l}@uc.test`, password: 'pw-of-it' }),
		key: l => `${l}@uc.test`,
		shows: () => '0', // registered contacts
	},
};

// Made in the reader's language, seen in its row and at the proxy, and deleted.
async function keptAndGone(page, language, tab) {
	const [add, keep] = WORDS[language];
	const [word, l, form] = [own(language), language.slice(0, 2), GOOD[tab]];
	const [key, values] = [form.key(l), form.values(l)];
	const held = async () => (await api(page, 'GET', `/services/sip/objects/${form.kind}`)).body.rows.find(r => r.key === key)?.body;
	await to(page, tab);
	await click(page, add);
	await put(page, values);
	await page.getByRole('dialog').getByRole('button', { name: keep }).click();
	await page.getByRole('dialog').waitFor({ state: 'detached' });
	const g = grid(page, word[form.table]);
	const row = g.row(form.row?.(l) ?? key);
	await row.getByText(form.shows(word), { exact: true }).first().waitFor();
	const body = await held();
	for (const [name, v] of Object.entries(values)) {
		const of = body?.[name] ?? (name === 'password' ? undefined : v); // the key names what the body has not
		equal(String(of), name === 'password' ? '***' : v, `${name} of ${key} in ${language}`);
	}
	await row.locator('[role=gridcell]').first().click();
	await g.at.press('Delete');
	const q = dialog(page, word['sip.delete.ask'].one);
	await q.getByText(key).first().waitFor();
	await q.getByRole('button', { name: word['sip.delete'], exact: true }).click();
	await row.waitFor({ state: 'detached' });
	equal(await held(), undefined, `${key} at the proxy`);
}

// Settings of the federation, set in the reader's language and set back.
async function federationSet(page, language) {
	const frame = own(language);
	const at = name => page.locator(`[data-path="sip.federation.${name}"]`);
	const has = async name => (await api(page, 'GET', '/services/sip/config')).body.rows.find(r => r.path === `sip.federation.${name}`);
	const applied = async () => {
		for (const word of ['review', 'apply', 'confirm.keep']) await click(page, frame[word]);
		await dialog(page, frame['confirm.title']).waitFor({ state: 'detached' });
	};
	const [rate, srv] = [await has('rate'), await has('sips_srv')];
	const other = String(srv.value ?? srv.default) === 'true' ? 'false' : 'true';
	await to(page, 'federation');
	await at('rate').locator('input').fill('77');
	await at('sips_srv').locator('select').selectOption(other);
	await applied();
	for (const name of ['rate', 'sips_srv']) await at(name).getByText(frame['source.store'], { exact: true }).waitFor();
	equal([await has('rate'), await has('sips_srv')].map(r => String(r.value)), ['77', other], 'what the proxy has');
	for (const name of ['rate', 'sips_srv']) await at(name).getByRole('button', { name: frame['edit.default'] }).click();
	await applied();
	for (const name of ['rate', 'sips_srv']) await at(name).getByText(frame['source.default'], { exact: true }).waitFor();
	equal([(await has('rate')).value, (await has('sips_srv')).value], [rate.value, srv.value], 'the default');
}

test('In German and Italian bad values are refused by page and proxy, good ones saved, and several deleted with one question', async () => {
	for (const [language, [add, keep]] of Object.entries(WORDS)) {
		const page = await at('interfaces', { language });
		for (const [tab, values] of Object.entries(BAD)) {
			await to(page, tab);
			await click(page, add);
			await put(page, values);
			await page.getByRole('dialog').getByRole('button', { name: keep }).click();
			const error = page.getByRole('dialog').locator('p.error').first();
			await error.waitFor();
			holds(!/Must|port is|number from/.test(await error.textContent()), `${tab} in ${language}: ${await error.textContent()}`);
			await page.keyboard.press('Escape');
			await page.getByRole('dialog').waitFor({ state: 'detached' });
		}
		const word = own(language);
		const says = text => page.getByRole('dialog').getByText(text).first().waitFor();
		await to(page, 'lan');
		await click(page, add);
		await put(page, { user: 'uc-x' });
		await page.getByRole('dialog').getByRole('button', { name: keep }).click();
		await says(SAID[language][1]);
		await page.keyboard.press('Escape');
		await to(page, 'routes');
		await click(page, add);
		await put(page, { domain: 'uc.test', host: '127.0.0.1', transport: 'tcp' });
		await page.getByRole('dialog').getByRole('button', { name: keep }).click();
		await says(SAID[language][0]);
		const g = grid(page, word['sip.routes']);
		const names = ['one.test', 'two.test'];
		for (const domain of names) {
			if (domain === names[1]) await click(page, add);
			await put(page, { domain, host: '127.0.0.1', transport: 'tcp' });
			await page.getByRole('dialog').getByRole('button', { name: keep }).click();
			await g.row(domain).waitFor();
		}
		await g.choose(...names);
		await g.at.press('Delete');
		const q = dialog(page, word['sip.delete.ask'].other.replace('{n}', '2'));
		for (const domain of names) await q.getByText(domain).waitFor();
		await q.getByRole('button', { name: word['sip.delete'], exact: true }).click();
		await g.row(names[1]).waitFor({ state: 'detached' });
		for (const tab of Object.keys(GOOD)) await keptAndGone(page, language, tab);
		await federationSet(page, language);
		noFaults(page);
	}
});

test('Each tab in light and dark, on a telephone, in three languages', async () => {
	let look = 0;
	const walk = async page => {
		look++;
		// All in light; of the dark and of both telephones each second one.
		for (const tab of TABS.filter((_, i) => look === 1 || i % 2 === look % 2)) {
			await to(page, tab);
			await page.locator(tab === 'questions' ? 'form' : '[role=grid]').first().waitFor();
			if (['lan', 'routes', 'federation'].includes(tab)) await page.locator('.setting').first().waitFor();
			await looked(page, `sip-${tab}-${look}`, `${tab}, look ${look}`);
		}
	};
	await inAllLooks(['#/sip', 'sip-look', walk]);
});

await cases();
