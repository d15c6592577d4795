// SPDX-License-Identifier: Apache-2.0
//
// Settings and Diagnosis: accounts, tokens, one-time codes, backup and restore; the log, its files and settings, the network
// test. Cases build on each other: a user that one makes is deleted by the next.
import { createHmac } from 'node:crypto';
import {
	HOSTILE, PASSWORD, UNKNOWN, api, applied, cases, click, counted, dialog, equal, grid, holds, inAllLooks, LANGUAGES, login, looked,
	noFaults, opened, shot, test, until, url, words, world,
} from './page_kit.mjs';

const PASSPHRASE = 'a passphrase for the file';
const BAD = /status of (4\d\d|50[234])/; // what a refused value, or a service that restarts, says on the browser's console

const field = (page, name) => page.locator(`[name="${name}"]`);
const error = (page, name) => page.locator('.field').filter({ has: field(page, name) }).locator('.error');
const toast = (page, text) => page.locator('.toast').getByText(text).first().waitFor();
const service = (page, name) => page.locator('main select').first().selectOption(name);

// RFC 6238 with SHA-1, six digits, 30 s; at: steps from now.
function code(secret, at = 0) {
	const bits = [...secret].map(c => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
	const key = Buffer.from(bits.match(/.{8}/g).map(b => parseInt(b, 2)));
	const step = Buffer.alloc(8);
	step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + at));
	const mac = createHmac('sha1', key).update(step).digest();
	return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

// What each form says of bad values, in each language: the button that opens it, its fields, and the reason beside the last of them.
const FORMS = {
	en: [
		['#/settings/users', 'Add a user', { name: '', password: 'short' }, 'Shorter than 10 characters.'],
		['#/settings/tokens', 'Add a token', { name: 'x', days: '0' }, 'Must be a whole number from 1 to 36,500.'],
		['#/settings', 'Change password', { old_password: 'x', password: PASSWORD, again: 'other' }, 'The two passwords differ.'],
		['#/settings/backup', 'Make a backup', { passphrase: PASSPHRASE, again: 'other' }, 'The two passphrases differ.'],
		['#/diagnosis/files', 'Delete old ones …', { days: 'x' }, 'Must be a whole number from 1 to 36,500.'],
	],
	de: [
		['#/settings/users', 'Benutzer anlegen', { name: '', password: 'short' }, 'Kürzer als 10 Zeichen.'],
		['#/settings/tokens', 'Token anlegen', { name: 'x', days: '0' }, 'Muss eine ganze Zahl von 1 bis 36.500 sein.'],
		['#/settings', 'Passwort ändern', { old_password: 'x', password: PASSWORD, again: 'other' }, 'Die beiden Passwörter sind verschieden.'],
		['#/settings/backup', 'Sicherung anlegen', { passphrase: PASSPHRASE, again: 'other' }, 'Die beiden Passphrasen sind verschieden.'],
		['#/diagnosis/files', 'Alte löschen …', { days: 'x' }, 'Muss eine ganze Zahl von 1 bis 36.500 sein.'],
	],
	it: [
		['#/settings/users', 'Aggiungi un utente', { name: '', password: 'short' }, 'Meno di 10 caratteri.'],
		['#/settings/tokens', 'Aggiungi un token', { name: 'x', days: '0' }, 'Deve essere un numero intero da 1 a 36.500.'],
		['#/settings', 'Cambia la password', { old_password: 'x', password: PASSWORD, again: 'other' }, 'Le due password sono diverse.'],
		['#/settings/backup', 'Crea un backup', { passphrase: PASSPHRASE, again: 'other' }, 'Le due frasi segrete sono diverse.'],
		['#/diagnosis/files', 'Elimina i vecchi …', { days: 'x' }, 'Deve essere un numero intero da 1 a 36.500.'],
	],
};

// What the console itself says of a name.
const SAID = { en: '63 bytes, and neither', de: '63 Byte, weder', it: '63 byte, senza' };
const own = Object.fromEntries(['en', 'de', 'it'].map(l => [l, words(l)]));

test('Every form says in three languages what is wrong with a value, beside its field; what is good is saved', async () => {
	for (const language of LANGUAGES) {
		const l = language.slice(0, 2);
		const page = await opened({ language, allowed: [BAD] });
		for (const [place, button, values, reason] of FORMS[l]) {
			await page.goto(`${url}${place}`);
			await click(page, button);
			for (const [name, value] of Object.entries(values)) await field(page, name).fill(value);
			await page.keyboard.press('Enter');
			const last = Object.keys(values).at(-1);
			await error(page, last).filter({ hasText: reason }).waitFor();
			if ('name' in values && !values.name) holds((await error(page, 'name').textContent()).length > 5, `an empty name in ${l}`);
			await looked(page, `form-${place.replace(/\W+/g, '-')}-${l}`, `${button}, refused`);
			await page.keyboard.press('Escape');
		}
		await page.goto(`${url}#/settings/users`);
		await click(page, FORMS[l][0][1]);
		await field(page, 'name').fill('a/b');
		await field(page, 'password').fill(PASSWORD);
		await page.keyboard.press('Enter');
		await error(page, 'name').filter({ hasText: SAID[l] }).waitFor();
		// What is good is saved, and several go with one question.
		const users = grid(page, own[l]['settings.users']);
		const names = [`one ${l}`, `two ${l}`];
		for (const name of names) {
			if (name === names[1]) await click(page, FORMS[l][0][1]);
			await field(page, 'name').fill(name);
			await field(page, 'password').fill(PASSWORD);
			await page.keyboard.press('Enter');
			await users.row(name).waitFor();
		}
		await users.choose(...names);
		await page.keyboard.press('Delete');
		const ask = page.getByRole('dialog');
		for (const name of names) await ask.getByText(`${name}: `).waitFor();
		await ask.getByRole('button', { name: own[l]['settings.delete'], exact: true }).click();
		await toast(page, own[l]['settings.user.deleted'].other.replace('{n}', '2'));
		noFaults(page);
		await page.context().close();
	}
});

test('Good values in German and Italian: a password, a token, a backup, old log files, the configuration, the log', async () => {
	for (const language of LANGUAGES.slice(1)) {
		const l = language.slice(0, 2);
		const w = words(l);
		const page = await opened({ language, allowed: [BAD] });
		const filled = async (button, values) => {
			await click(page, button);
			for (const [name, value] of Object.entries(values)) await field(page, name).fill(value);
		};
		await page.goto(`${url}#/settings`);
		await filled(w['settings.password.change'], { old_password: PASSWORD, password: PASSWORD, again: PASSWORD });
		await page.keyboard.press('Enter');
		await toast(page, w['settings.password.done']);

		const name = `reader ${l}`;
		await page.goto(`${url}#/settings/tokens`);
		await filled(w['settings.token.add'], { name, days: '30' });
		await page.keyboard.press('Enter');
		const made = dialog(page, w['settings.token.made'].replace('{name}', name));
		const headers = { Authorization: `Bearer ${await made.locator('pre').textContent()}` };
		await made.getByRole('button', { name: w.close }).last().click();
		const ask = () => fetch(`${url.replace(/\/$/, '')}/api/v1/services`, { headers }).then(r => r.status);
		equal(await ask(), 200, 'the token');
		const tokens = grid(page, w['settings.tokens']);
		await tokens.row(name).click();
		await click(page, w['settings.delete']);
		await dialog(page, counted(w['settings.token.delete'], 1)).getByRole('button', { name: w['settings.delete'], exact: true }).click();
		await tokens.row(name).waitFor({ state: 'detached' });
		equal(await ask(), 401, 'the deleted token');

		await page.goto(`${url}#/settings/backup`);
		await filled(w['settings.backup.make'], { passphrase: PASSPHRASE, again: PASSPHRASE });
		const [file] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
		await toast(page, w['settings.backup.done'].replace('{name}', file.suggestedFilename()));
		await field(page, 'backup').setInputFiles(await file.path());
		await field(page, 'passphrase').fill(PASSPHRASE);
		await page.keyboard.press('Enter');
		await page.getByText(w['settings.restore.left_out']).waitFor();
		await page.locator('main').getByRole('button', { name: w.cancel, exact: true }).click();
		await page.getByText(w['settings.restore.left_out']).waitFor({ state: 'detached' });

		await world('fill', { name: l });
		await page.goto(`${url}#/diagnosis/files`);
		await service(page, 'turn');
		await grid(page, w['diagnosis.files']).row('stile-turn.log.2').waitFor();
		await filled(w['diagnosis.delete.older'], { days: '7' });
		await page.keyboard.press('Enter');
		await toast(page, counted(w['diagnosis.deleted'], 2));
		equal(Object.keys(await world('logs')), ['stile-turn.log'], 'the files that are left');

		const keys = async () => (await api(page, 'GET', '/services/turn/config')).body.rows;
		const valueOf = async path => String((await keys()).find(r => r.path === path).value);
		await page.goto(`${url}#/configuration`);
		await service(page, 'turn');
		await page.locator('[data-path="turn.limits.allocations"]').waitFor({ state: 'attached' });
		await page.getByLabel(w['configuration.filter']).fill('turn.limits.allocations');
		await applied(page, w, 'turn.limits.allocations', '5000');
		equal(await valueOf('turn.limits.allocations'), '5000', 'the value');
		await applied(page, w, 'turn.limits.allocations', null);

		await page.goto(`${url}#/diagnosis/settings`);
		await service(page, 'turn');
		await applied(page, w, 'log.max_size', '20MB');
		equal(await valueOf('log.max_size'), '20MB', 'the value');
		await applied(page, w, 'log.max_size', null);
		equal((await keys()).filter(r => r.source === 'store').map(r => r.path), [], 'what is left in the store');
		noFaults(page);
		await page.context().close();
	}
});

test('A user is made, is not made twice, and gets another role', async () => {
	const page = await opened({ allowed: [BAD] }, '#/settings/users');
	await click(page, 'Add a user');
	await field(page, 'name').fill(HOSTILE);
	await field(page, 'role').selectOption('operator');
	await field(page, 'password').fill(PASSWORD);
	await page.keyboard.press('Enter');
	const users = grid(page, 'Users');
	await users.row(HOSTILE).filter({ hasText: 'Operator' }).waitFor();
	await click(page, 'Add a user');
	await field(page, 'name').fill(HOSTILE);
	await field(page, 'password').fill(PASSWORD);
	await page.keyboard.press('Enter');
	await dialog(page, 'Add a user').getByText('There is one of this name already.').waitFor();
	await page.keyboard.press('Escape');
	await users.row(HOSTILE).click();
	await click(page, 'Change');
	equal(await field(page, 'name').getAttribute('readonly'), '', 'the name of a user stays');
	await field(page, 'role').selectOption('viewer');
	await click(page, 'Save');
	await users.row(HOSTILE).filter({ hasText: 'Viewer' }).waitFor();
	await looked(page, 'settings-users', 'the users');
	noFaults(page);
});

test('Several users go with one question that names their sessions; nobody deletes his own account', async () => {
	const page = await opened({ allowed: [BAD] }, '#/settings/users');
	await login('viewer'); // has a session
	const users = grid(page, 'Users');
	await users.row('viewer').waitFor();
	await users.row(HOSTILE).waitFor();
	await users.cell(HOSTILE, 0).click();
	await users.cell('viewer', 2).click({ modifiers: ['Control'] });
	await page.keyboard.press('Delete');
	const ask = dialog(page, 'Delete 2 users?');
	await ask.getByText('viewer: 1 session ends').waitFor();
	await ask.getByText(`${HOSTILE}: 0 sessions end`).waitFor();
	await looked(page, 'settings-users-delete', 'the question');
	await ask.getByRole('button', { name: 'Delete', exact: true }).click();
	await toast(page, '2 users were deleted.');
	await users.row('viewer').waitFor({ state: 'detached' });
	await users.row('admin').click();
	await page.keyboard.press('Delete');
	await dialog(page, 'Delete this user?').getByRole('button', { name: 'Delete', exact: true }).click();
	await page.locator('.toast.failed').waitFor();
	await users.row('admin').waitFor();
	noFaults(page);
});

test('A token is shown once, works within its scope, and is refused when it was deleted', async () => {
	const page = await opened({ allowed: [BAD] }, '#/settings/tokens');
	await click(page, 'Add a token');
	await field(page, 'name').fill('reader');
	await field(page, 'days').fill('0');
	await page.keyboard.press('Enter');
	equal(await error(page, 'days').textContent(), 'Must be a whole number from 1 to 36,500.', 'an end of 0 days');
	await field(page, 'days').fill('30');
	await page.keyboard.press('Enter');
	const made = dialog(page, 'The token reader');
	const token = await made.locator('pre').textContent();
	await looked(page, 'settings-token', 'the new token');
	await made.getByRole('button', { name: 'Close' }).last().click();
	const ask = (method, path) => fetch(`${url.replace(/\/$/, '')}/api/v1${path}`, { method, headers: { Authorization: `Bearer ${token}` } }).then(r => r.status);
	equal([await ask('GET', '/services'), await ask('POST', '/services/turn/reload')], [200, 403], 'what the token may');
	const tokens = grid(page, 'API tokens');
	await tokens.row('reader').click();
	await click(page, 'Delete');
	await dialog(page, 'Delete this token?').getByRole('button', { name: 'Delete', exact: true }).click();
	await tokens.row('reader').waitFor({ state: 'detached' });
	equal(await ask('GET', '/services'), 401, 'the deleted token');
	noFaults(page);
});

test('Another one’s session is ended from the page, and his page says so', async () => {
	const his = await opened({ role: 'operator', allowed: [UNKNOWN, BAD] }, '#/settings');
	await his.getByRole('heading', { name: 'Account of operator' }).waitFor();
	equal(await his.getByRole('link', { name: 'Users' }).count(), 0, 'what an operator sees of the users');
	const page = await opened({}, '#/settings/sessions');
	const sessions = grid(page, 'Sessions');
	await sessions.row('operator').click();
	await looked(page, 'settings-sessions', 'the sessions');
	await click(page, 'End session');
	await dialog(page, 'End this session?').getByRole('button', { name: 'End session' }).click();
	await sessions.row('operator').waitFor({ state: 'detached' });
	await his.getByRole('button', { name: 'Change password' }).click();
	await his.locator('input[name=old_password]').fill(PASSWORD);
	await his.locator('input[name=password]').fill(PASSWORD);
	await his.locator('input[name=again]').fill(PASSWORD);
	await his.keyboard.press('Enter');
	await dialog(his, 'Log in again').waitFor();
	noFaults(page);
	noFaults(his);
});

test('One-time codes: QR code, a wrong code, a right one, a login with it, and off again', async () => {
	const page = await opened({ allowed: [UNKNOWN, BAD] }, '#/settings');
	await api(page, 'POST', '/users', { name: 'coder', role: 'viewer', password: PASSWORD });
	await page.context().clearCookies();
	await page.reload();
	const enter = async () => {
		await field(page, 'username').fill('coder');
		await field(page, 'password').fill(PASSWORD);
		await page.keyboard.press('Enter');
	};
	await enter();
	await click(page, 'Switch one-time codes on');
	await page.getByRole('img', { name: 'QR code for the authenticator app' }).waitFor();
	await until(() => page.locator('img.qr').evaluate(i => i.complete && i.naturalWidth > 20), 'the QR code is a picture');
	await field(page, 'code').fill('000000');
	await page.keyboard.press('Enter');
	await error(page, 'code').filter({ hasText: 'not the code of now' }).waitFor();
	await looked(page, 'settings-totp', 'the QR code');
	const secret = (await dialog(page, 'One-time codes').locator('code').textContent()).replaceAll(' ', '');
	await field(page, 'code').fill(code(secret));
	await page.keyboard.press('Enter');
	await page.getByText('One-time codes are on.').first().waitFor();
	await page.context().clearCookies();
	await page.reload();
	await enter();
	await field(page, 'totp').fill('123456');
	await page.keyboard.press('Enter');
	await page.getByText('User name or password is wrong.').waitFor();
	await shot(page, 'login-totp');
	// Each code is good once: the next step's counts already, for clocks differ.
	await field(page, 'totp').fill(code(secret, 1));
	await page.keyboard.press('Enter');
	await page.getByRole('heading', { name: 'Account of coder' }).waitFor();
	await click(page, 'Switch one-time codes off');
	await field(page, 'password').fill('not the password');
	await page.keyboard.press('Enter');
	await dialog(page, 'Switch one-time codes off').getByText('User name or password is wrong.').waitFor();
	await field(page, 'password').fill(PASSWORD);
	await page.keyboard.press('Enter');
	await page.getByText('One-time codes are off.').first().waitFor();
	noFaults(page);
});

test('The log grows as it is looked at, by filter and weight, and looking leaves nothing in the audit log', async () => {
	await world('fill', { name: HOSTILE });
	const page = await opened({ allowed: [BAD] }, '#/diagnosis');
	await service(page, 'turn');
	const log = page.getByRole('log');
	await log.getByText('turn.listening').first().waitFor();
	const reloads = log.getByText('service.reloaded'); // those of changed settings, so far
	const before = await reloads.count();
	await world('say');
	await until(async () => (await reloads.count()) > before, 'the log has grown');
	// It restarts under the page.
	equal((await api(page, 'POST', '/services/turn/restart')).status, 200, 'the restart');
	await until(async () => (await log.getByText('service.ready').count()) > 1, 'the lines of the new process');
	await page.getByLabel('Filter of the log').fill('turn.old');
	await log.getByText(HOSTILE).first().waitFor();
	await until(async () => (await log.getByText('turn.listening').count()) === 0, 'what the filter leaves out');
	await looked(page, 'diagnosis-log', 'the log');
	await page.getByLabel('Level until the next reload').selectOption('debug');
	await until(async () => (await world('verb', { service: 'stile-turn', verb: 'log.level' })).level === 'debug', 'the level');
	const audited = async () => (await api(page, 'GET', '/audit?limit=100')).body.rows;
	await until(async () => (await audited()).some(r => r.after?.action === 'log.level'), 'the level stands in the audit log'); // once it was answered
	const rows = await audited();
	holds(!rows.some(r => /^log\.(tail|files)|config\.get/.test(r.after?.action)), 'looks stand in the audit log');
	noFaults(page);
});

test('Log files: sizes, old ones deleted by question, bad days refused, all logs as a ZIP', async () => {
	const page = await opened({}, '#/diagnosis/files');
	await service(page, 'turn');
	const files = grid(page, 'Log files');
	await files.row('stile-turn.log.1').waitFor();
	await files.row('stile-turn.log.2').click();
	await page.keyboard.press('Delete');
	await dialog(page, 'Delete this file?').getByText('stile-turn.log.2, ').waitFor();
	await page.keyboard.press('Escape');
	await click(page, 'Delete old ones …');
	await field(page, 'days').fill('no number');
	await page.keyboard.press('Enter');
	equal(await error(page, 'days').textContent(), 'Must be a whole number from 1 to 36,500.', 'no number');
	await field(page, 'days').fill('7');
	await page.keyboard.press('Enter');
	await toast(page, '2 files were deleted.');
	await files.row('stile-turn.log.2').waitFor({ state: 'detached' });
	await looked(page, 'diagnosis-files', 'the files');
	equal(Object.keys(await world('logs')), ['stile-turn.log'], 'the files that are left');
	const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'All logs as a ZIP file' }).click()]);
	holds(/^stile-.*\.zip$/.test(file.suggestedFilename()), `the name ${file.suggestedFilename()}`);
	equal(await world('read', { path: await file.path() }), '504b0304', 'the first bytes of a ZIP file');
	noFaults(page);
});

test('Log settings, in German: what the file sets is locked, a bad size is refused beside it, a good one is applied and confirmed', async () => {
	const page = await opened({ language: 'de-DE', allowed: [BAD] }, '#/diagnosis/settings');
	await service(page, 'turn');
	await page.locator('[data-path="log.dir"]').getByText(/gesetzt in stile\.yaml:1/).waitFor();
	await page.locator('[data-path="log.level"]').getByText(/gesetzt in stile\.yaml:1/).waitFor();
	await page.locator('[data-path="log.keep"]').getByText('Wie viele weggelegte Dateien behalten werden.').waitFor();
	await page.locator('[data-path="log.keep"] .unit').getByText('Dateien').waitFor();
	const size = field(page, 'log.max_size');
	await size.fill('much');
	await click(page, 'Prüfen und übernehmen');
	await page.locator('[data-path="log.max_size"] .error').getByText('„Höchstgröße“ muss eine Größe sein wie 64KB, 10MB oder 1GiB, nicht „much“').waitFor();
	await looked(page, 'diagnosis-settings', 'the refused size');
	await size.fill('20MB');
	await click(page, 'Prüfen und übernehmen');
	await dialog(page, 'Änderungen an turn').getByText('20MB').waitFor();
	await click(page, 'Übernehmen');
	await click(page, 'Behalten');
	await page.locator('[data-path="log.max_size"]').getByText('in der Konsole gesetzt').waitFor();
	noFaults(page);
});

test('The network test says what a STUN server sees; each service has its version and build', async () => {
	const page = await opened({}, '#/diagnosis/network');
	await click(page, 'Test the network');
	await page.getByText('UDP works').first().waitFor({ timeout: 60_000 });
	await page.getByRole('rowheader', { name: /127\.0\.0\.1/ }).first().waitFor();
	await looked(page, 'diagnosis-network', 'what was found');
	await page.getByRole('link', { name: 'Versions' }).click();
	await page.getByRole('row', { name: /stile-turn 0\.1\.0 .*(clang|gcc).*stile\.yaml/i }).waitFor();
	await looked(page, 'diagnosis-versions', 'the versions');
	noFaults(page);
});

test('A backup is made and restored: a short passphrase, a file that is none, a wrong passphrase, and the value comes back', async () => {
	const page = await opened({ allowed: [BAD] }, '#/settings/backup');
	const value = async () => (await api(page, 'GET', '/services/turn/config')).body?.rows?.find(r => r.path === 'turn.software')?.value;
	equal((await api(page, 'PUT', '/services/turn/config/turn.software', { value: 'Backed up' })).status, 200, 'the value before');
	await click(page, 'Make a backup');
	await field(page, 'passphrase').fill('short');
	await page.keyboard.press('Enter');
	equal(await error(page, 'passphrase').textContent(), 'Shorter than 8 characters.', 'a short passphrase');
	await field(page, 'passphrase').fill(PASSPHRASE);
	await field(page, 'again').fill(PASSPHRASE);
	const [file] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
	holds(/^stile-.*\.backup$/.test(file.suggestedFilename()), `the name ${file.suggestedFilename()}`);
	equal((await api(page, 'PUT', '/services/turn/config/turn.software', { value: 'Changed since' })).status, 200, 'the value meanwhile');
	await field(page, 'backup').setInputFiles({ name: 'none.backup', mimeType: 'application/octet-stream', buffer: Buffer.from('no backup') });
	await page.locator('main .box.failed').waitFor();
	await looked(page, 'settings-backup', 'a file that is no backup');
	await field(page, 'backup').setInputFiles(await file.path());
	await field(page, 'passphrase').fill('another passphrase');
	await page.keyboard.press('Enter');
	await dialog(page, 'Restore').locator('.box.failed').waitFor();
	await field(page, 'passphrase').fill(PASSPHRASE);
	await page.keyboard.press('Enter');
	await page.getByRole('row', { name: /stile-console left out/ }).waitFor();
	await looked(page, 'settings-restore', 'what the file holds');
	await page.locator('main').getByRole('button', { name: 'Restore', exact: true }).click();
	await dialog(page, 'Restore this backup?').getByRole('button', { name: 'Restore', exact: true }).click();
	await page.locator('.toast.ok').getByText('The backup was restored.').waitFor({ timeout: 60_000 });
	await until(async () => (await value()) === 'Backed up', 'the value of the backup');
	noFaults(page);
});

test('Settings and Diagnosis in light, dark and phone width', async () => {
	const main = page => page.locator('main');
	await inAllLooks(
		['#/settings', 'settings', page => main(page).locator('select[name=language]').waitFor()],
		['#/settings/users', 'settings-users', page => main(page).getByRole('grid').waitFor()],
		['#/diagnosis', 'diagnosis', page => main(page).getByRole('log').getByText(/ (turn|console)\./).first().waitFor()],
		['#/diagnosis/settings', 'diagnosis-settings', page => main(page).locator('.setting').first().waitFor()],
	);
});

await cases();
