// SPDX-License-Identifier: Apache-2.0
//
// Data connections of the server and of the relay, and the bytes of one as they pass, in hex and ASCII. The verb streams for as
// long as the pane is open; who looked at what stands in the audit and in the service's log. Only the last lines are kept, in this
// page's memory.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from '../api.js';
import { bytes, t } from '../i18n.js';
import { listen } from '../transfer.js';
import { Dialog } from '../ui/dialog.jsx';
import { messageOf } from '../ui/errors.jsx';
import { LiveTable } from '../ui/live_table.jsx';
import { tell, verbAt } from '../verbs.js';

const MOST = 2000; // lines
const SHOW_MS = 100;

const shown = pair => (pair > '1f' && pair < '7f' ? String.fromCharCode(Number.parseInt(pair, 16)) : '.');

function dump(way, hex, at) {
	return (hex.match(/.{1,32}/g) ?? []).map((line, i) => {
		const pairs = line.match(/../g);
		return `${way} ${(at + 16 * i).toString(16).padStart(8, '0')}  ${pairs.join(' ').padEnd(47)}  ${pairs.map(shown).join('')}`;
	});
}

function Watch({ service, verb, row, title, close }) {
	const lines = useRef([]);
	const pre = useRef(null);
	const [, draw] = useState(0);
	const [end, setEnd] = useState('');
	useEffect(() => {
		const out = new AbortController();
		const at = { up: 0, down: 0 };
		let timer = 0;
		const add = list => {
			lines.current = lines.current.concat(list).slice(-MOST);
			timer ||= setTimeout(() => {
				timer = 0;
				draw(n => n + 1);
			}, SHOW_MS);
		};
		listen(verbAt(service, verb), { id: row.id }, (event, d) => {
			if (event === 'result') setEnd(t('tunnel.watch.ended'));
			else if (event === 'error') setEnd(messageOf(new ApiError(0, d)));
			else {
				if (d.lost) add([t('tunnel.watch.lost', { size: bytes(d.lost) })]);
				at[d.way] += d.lost;
				add(dump(d.way === 'up' ? '→' : '←', d.hex, at[d.way]));
				at[d.way] += d.bytes;
			}
		}, out.signal).catch(e => out.signal.aborted || setEnd(messageOf(e.code ? e : { code: 'offline' })));
		return () => {
			out.abort();
			clearTimeout(timer);
		};
	}, []);
	useEffect(() => {
		pre.current.scrollTop = pre.current.scrollHeight;
	});
	return (
		<Dialog title={title} close={close} wide help="tunnel/watch">
			<p class="muted">{t('tunnel.watch.text', { from: row.source, to: row.target })}</p>
			<pre ref={pre} class="scroll" tabIndex={0} aria-label={t('tunnel.watch')}>
				{lines.current.join('\n')}
			</pre>
			<p role="status">{end || (lines.current.length ? '' : t('tunnel.watch.none'))}</p>
		</Dialog>
	);
}

// of: whose verbs they are, "tunnel" or "relay"; name(row): what a question calls one.
export function Connections({ service, of, name, ...rest }) {
	const [watched, watch] = useState(null);
	const log = on => r => tell(service, `${of}.log`, { id: r.id, on });
	return (
		<>
			<LiveTable
				{...rest}
				label={`${of}.connections`}
				service={service}
				verb={`${of}.connections`}
				rowKey={r => r.id}
				actions={[
					{ id: 'watch', title: 'tunnel.watch', single: true, open: watch },
					{ id: 'end', title: 'tunnel.end', del: true, danger: true, ask: 'tunnel.end.ask', done: 'tunnel.end.done', name, run: r => tell(service, `${of}.kick`, { id: r.id }) },
					{ id: 'log', title: 'tunnel.log', done: 'tunnel.log.done', can: r => !r.logged, run: log(true) },
					{ id: 'nolog', title: 'tunnel.nolog', can: r => r.logged, run: log(false) },
				]}
				detail={{ title: name }}
			/>
			{watched && <Watch service={service} verb={`${of}.watch`} row={watched} title={name(watched)} close={() => watch(null)} />}
		</>
	);
}
