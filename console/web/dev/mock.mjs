// SPDX-License-Identifier: Apache-2.0
//
// For work on the pages without services: serves a built bundle (npx vite build, then node dev/mock.mjs DIST PORT) with
// the console's security headers, and answers the API with made-up numbers. No test uses it: tests/console runs the
// real stile-console.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { extname, join } from 'node:path';

const [dist = 'dist', port = '8400'] = process.argv.slice(2);
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const CSP =
	"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const DAY = 86_400_000;
let user = null;
let account = process.env.SETUP ? null : 'admin';

const SERVICES = [
	{
		service: 'turn',
		program: 'stile-turn',
		instance: '',
		state: 'running',
		version: '0.1.0',
		uptime: 273_840,
		health: 'warning',
		can: ['stop', 'restart', 'reload', 'drain'],
		items: [
			{
				id: 'certificate-ends',
				severity: 'warning',
				subject: 'server.pem',
				text: 'the certificate server.pem ends in 9 days, on 2026-12-07',
				hint: 'renew it, then: stile reload turn',
				args: { days: 9, ends_at: Date.now() + 9 * DAY },
			},
		],
	},
	{
		service: 'tunnel',
		program: 'stile-tunnel',
		instance: '',
		state: 'running',
		version: '0.1.0',
		uptime: 4213,
		health: 'good',
		can: ['stop', 'restart', 'reload', 'drain'],
		items: [],
	},
	{
		service: 'agent',
		program: 'stile-agent',
		instance: 'site-17',
		state: 'late',
		version: '0.1.0',
		uptime: 90,
		can: ['stop', 'restart'],
		items: [],
	},
	{
		service: 'sip',
		program: 'stile-sip',
		instance: '',
		state: 'failed',
		can: ['start'],
		items: [],
		exit: { signal: 'SIGSEGV', error: 'sip.listen: port 5060/udp is taken by <b>kamailio</b> (pid 812)', time: Date.now() - 3_600_000 },
	},
];
const load = (at = Date.now()) => ({
	at,
	services: {
		turn: {
			in: 2.1e6 + 8e5 * Math.sin(at / 40_000),
			out: 2e6 + 7e5 * Math.sin(at / 40_000),
			sessions: Math.round(240 + 40 * Math.sin(at / 90_000)),
		},
		tunnel: { in: 4e5, out: 5e5 + 1e5 * Math.cos(at / 30_000), sessions: 31 },
	},
});
const system = () => ({
	hostname: 'demo',
	uptime: 1_000_000,
	cpu: 0.23,
	cores: 2,
	memory: { used: 3.1e9, total: 8.3e9 },
	disks: [{ path: '/', used: 8.8e10, total: 1e11 }],
	descriptors: { used: 3100, total: 1_000_000 },
	interfaces: [
		{ name: 'eth0', in: 2.6e6, out: 2.5e6, speed: 1e9 },
		{ name: 'lo', in: 300, out: 300, speed: 0 },
	],
});
const row = (path, value, more) => ({ path, value, default: value, source: 'default', type: 'text', help: 'What this key is good for.', reload: true, ...more });
const inFile = { source: 'file', file: '/etc/stile/stile.yaml', line: 5, locked: true };
const rows = [
	row('turn.realm', 'example.org', inFile),
	row('turn.listen', ['udp:0.0.0.0:3478', 'tls:0.0.0.0:5349'], { list: true }),
	row('turn.workers', 0, { type: 'count', reload: false }),
	row('turn.relay.external', [], { list: true }),
	row('turn.limits.allocations', 10000, { type: 'count', min: 1, max: 1000000, source: 'store', revision: 3 }),
	row('turn.mobility', true, { type: 'bool' }),
];

const API = {
	'GET /me': () => user && { user, role: 'administrator', csrf: 'x' },
	'GET /setup': () => ({ needed: !account }),
	'POST /setup': b => {
		user = account = b.user;
		return {};
	},
	'POST /login': b => {
		if (b.password !== 'secret') throw [403, { code: 'bad-login', text: 'wrong' }];
		user = b.user;
		return {};
	},
	'POST /logout': () => {
		user = null;
		return {};
	},
	'GET /services': () => ({ services: SERVICES }),
	'GET /load': () => ({ points: Array.from({ length: 900 }, (_, i) => load(Date.now() - (900 - i) * 1000)) }),
	'GET /system': system,
	'PUT /me': () => ({}),
	'GET /wizard': () => ({ hostname: 'demo', addresses: [{ address: '192.0.2.10', interface: 'eth0', public: true }] }),
	'POST /tests': () => ({ id: 1 }),
	'GET /tests/1': () => ({ done: true, status: 0, text: '', results: [{ test: 'TURN over UDP', good: true, output: '64 of 64 packets', seconds: 1 }] }),
	'GET /services/turn/config': () => ({ rows, pending: null }),
	'POST /services/turn/changes': () => ({ transaction: 5 }),
	'PUT /services/turn/config/turn.limits.allocations': () => ({ transaction: 5, changes: 1 }),
	'POST /services/turn/changes/5/validate': () => ({ good: true, errors: [] }),
	'GET /services/turn/changes/5': () => ({ rows: [{ key: 'turn.limits.allocations', what: 'changed', was: '10000', is: '500' }], objects: [] }),
	'POST /services/turn/changes/5/commit': () => ({ change: 17 }),
	'POST /services/turn/changes/5/abort': () => ({}),
};

function events(res) {
	res.writeHead(200, { 'Content-Type': 'text/event-stream' });
	const timer = setInterval(
		() =>
			res.write(
				`event: console:load\ndata: ${JSON.stringify(load())}\n\nevent: console:system\ndata: ${JSON.stringify(system())}\n\n`,
			),
		1000,
	);
	res.on('close', () => clearInterval(timer));
}

async function api(req, res, path) {
	let body = '';
	for await (const chunk of req) body += chunk;
	const say = (status, value) => {
		res.writeHead(status, { 'Content-Type': 'application/json' });
		res.end(JSON.stringify(value));
	};
	if (path === '/events') return events(res);
	try {
		const answer = API[`${req.method} ${path}`]?.(body && JSON.parse(body));
		return answer ? say(200, answer) : say(path === '/me' ? 401 : 404, { error: { code: 'not-found', text: `no ${path}` } });
	} catch ([status, error]) {
		return say(status, { error });
	}
}

createServer((req, res) => {
	const path = req.url.split('?')[0];
	if (path.startsWith('/api/v1/')) return api(req, res, path.slice(7));
	try {
		const data = readFileSync(join(dist, path === '/' ? 'index.html' : path));
		res.writeHead(200, { 'Content-Type': TYPES[extname(path)] ?? 'text/html', 'Content-Security-Policy': CSP });
		return res.end(data);
	} catch {
		res.writeHead(404);
		return res.end();
	}
}).listen(Number(port), '127.0.0.1');
