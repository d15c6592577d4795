// SPDX-License-Identifier: Apache-2.0
//
// What services say in English, as the C sources and the table of the configuration's keys have it: that of it which a page of the
// console shows needs its sentence in the other languages (console/web/src/said). words.mjs holds one against the other.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

// Which argument is the sentence.
const CALLS = { cfg_add_error: 2, cfg_note: 2, refuse: 2, control_fail: 3, control_fail_with: 4, ask_fail: 3, ask_field_error: 2, snprintf: 2, say: 2, health_add: 4, sip_note: 1, fault: 1, warn: 1, fail: 1, direct_refuse: 4 };
// Where sentences are that a change of settings, users, routes … can be refused with, or an action of a page; steps of a test.
const OF = [
	['common/config_types.c', ['refuse']],
	['common/config_walk.c', ['cfg_note']],
	['common/service_commit.c', ['control_fail', 'refuse']],
	['common/service_edits.c', ['control_fail']],
	['common/service_judge.c', ['snprintf']],
	['common/service_logs.c', ['control_fail']],
	['common/service_verbs.c', ['control_fail']],
	['common/stored.c', ['control_fail']],
	['common/cert.c', ['fault', 'warn']],
	['common/tls.c', ['say']],
	['common', ['health_add']],
	['common/service_files.c', ['snprintf']],
	['turn', ['cfg_add_error', 'control_fail', 'health_add']],
	['sip-proxy', ['cfg_add_error', 'control_fail', 'sip_note', 'health_add']],
	['console', ['cfg_add_error', 'ask_fail', 'ask_field_error']],
	['turn/users.c', ['snprintf']],
	['turn/secrets.c', ['snprintf']],
	['sip-proxy/accounts.c', ['snprintf']],
	['sip-proxy/interfaces.c', ['snprintf']],
	['sip-proxy/effective.c', ['snprintf']],
	['tunnel', ['cfg_add_error', 'control_fail']],
	['tunnel/server', ['cfg_add_error', 'control_fail']],
	['tunnel/server/ports.c', ['refuse']],
	['tunnel/agent', ['cfg_add_error', 'control_fail', 'direct_refuse', 'health_add']],
	['gateway', ['cfg_add_error', 'control_fail']],
	['cli/turn_probe.c', ['fail', 'snprintf']],
];
// Reasons that are rows of a table: of agents that are not let in, of connections and jobs that are refused.
const ROWS = [
	['tunnel/link/wire_table.c', /\[WIRE_R_\w+\] = \{ "[^"]+", "([^"]+)"/g],
	['tunnel/server/agents.c', /\[AGENTS_R_\w+\] = \{ WIRE_R_\w+, \w+, "([^"]+)"/g],
	['tunnel/server/jobs_conn.c', /\[JOB_REFUSED_\w+\] = "([^"]+)"/g],
];

// The arguments of the call whose list begins at i.
function argumentsAt(text, i) {
	const list = [];
	let depth = 0;
	let from = i;
	for (let quoted = false; i < text.length; i++) {
		const c = text[i];
		if (quoted) {
			if (c === '\\') i++;
			else if (c === '"') quoted = false;
		} else if (c === '"') quoted = true;
		else if ('([{'.includes(c)) depth++;
		else if (c === ',' && !depth) {
			list.push(text.slice(from, i));
			from = i + 1;
		} else if (')]}'.includes(c) && depth-- === 0) break;
	}
	return [...list, text.slice(from, i)];
}

// printf()'s form as a catalogue has it: "%.*s%s is no %d" → "{0} is no {1}". null: it is none.
export function formOf(argument) {
	const a = argument.trim();
	if (!a.startsWith('"')) return null;
	const text = [...a.matchAll(/"((?:[^"\\]|\\.)*)"|(\w+)/g)].map(m => (m[2] ? 'u' : m[1])).join('').replace(/\\(.)/g, '$1');
	let n = 0;
	return text
		.replace(/%%/g, '\u0001')
		.replace(/(?:%[-+ #0-9.*hljztL]*[a-zA-Z])+/g, () => `{${n++}}`)
		.replace(/\u0001/g, '%');
}

// What only a client of the control protocol or of the API can bring about, no page.
const NO_PAGE = /^["?]|^topics=|^what\? One of|^an argument is missing|^the transaction has|If-Match|^args must|^this verb is called|JSON object|^the body must|^a stream has|^here is only|X-Stile-CSRF|^this request comes|^a change has a number|the metrics of the services|^user and password are asked|^id must be|^the key is REALM|^either call or|^the object's key must|^there is no argument|ALPN names/;

const sentence = form => form && / /.test(form.replace(/\{\d\}/g, '').trim()) && /[a-z]{3}/.test(form);

// A page shows a value's name by its label: "'{0}' is required" is "is required".
function alone(form) {
	const rest = /^(?:\{\d\}|an item of )?'(?:\{\d\}|password)' (has|must|is (?:required|set)|needs)/.exec(form);
	if (!rest) return form;
	let n = 0;
	return form.slice(form.indexOf(rest[1])).replace(/\{\d\}/g, () => `{${n++}}`);
}

export const codesOfReference = root =>
	[...readFileSync(join(root, 'docs/reference/errors.md'), 'utf8').split('\n## ')[1].matchAll(/^\| `([a-z-]+)` \|/gm)].map(m => m[1]);

export function formsOfSources(root) {
	const forms = new Map(); // form → file
	for (const [place, calls] of OF) {
		const list = place.endsWith('.c') ? [place] : readdirSync(join(root, place)).filter(f => f.endsWith('.c')).map(f => `${place}/${f}`);
		for (const f of list) {
			const text = readFileSync(join(root, f), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
			for (const m of text.matchAll(new RegExp(`\\b(${calls.join('|')})\\(`, 'g'))) {
				const form = formOf(argumentsAt(text, m.index + m[0].length)[CALLS[m[1]]] ?? '');
				if (sentence(form) && !NO_PAGE.test(form)) forms.set(alone(form), f);
			}
		}
	}
	for (const [f, row] of ROWS) for (const [, text] of readFileSync(join(root, f), 'utf8').matchAll(row)) forms.set(text, f);
	return forms;
}

// Help of the keys that a page shows, and their units. A list of maps is one row; of turn.realms the page has a form.
export function helpsOfReference(root) {
	const rows = [];
	let section = '';
	for (const line of readFileSync(join(root, 'docs/reference/configuration.md'), 'utf8').split('\n')) {
		if (line.startsWith('## ')) section = line.slice(3).trim();
		if (!line.startsWith('| `')) continue;
		const cells = line.split(/(?<!\\)\|/).slice(1, -1).map(c => c.trim().replace(/&lt;/g, '<').replace(/\\\|/g, '|'));
		rows.push({ section, name: cells[0].split(', ')[0].replace(/`/g, ''), type: cells[1], unit: cells[4], help: cells[6] });
	}
	const path = r => (r.section === 'stile.yaml' ? r.name : `${r.section}.${r.name}`);
	const lists = rows.filter(r => r.type.startsWith('list of maps')).map(path).filter(p => p !== 'turn.realms');
	const shown = rows.filter(r => !r.type.startsWith('map, see') && !r.section.startsWith('share') && !lists.some(l => path(r).startsWith(`${l}.`)));
	return { helps: new Set(shown.map(r => r.help)), units: new Set(shown.map(r => r.unit).filter(u => u && !/bit|bytes|^us$/.test(u))) };
}
