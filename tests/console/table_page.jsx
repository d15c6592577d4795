// SPDX-License-Identifier: Apache-2.0
// The table alone, for tables.mjs: 10,000 rows of which a tenth changes, and some go and come, whenever the test says so.
import { render } from 'preact';
import { setLanguage } from '../../console/web/src/i18n.js';
import { Table } from '../../console/web/src/ui/table.jsx';
import '../../console/web/src/style.css';

const N = 10_000;
const row = i => ({ id: i, name: `user-${i} <b>x</b>`, bytes: (i * 7919) % 1_000_003, state: i % 3 ? 'open' : 'closing' });
let rows = Array.from({ length: N }, (_, i) => row(i));
let next = N;

const columns = [
	{ id: 'id', title: 'Id', width: '6rem', number: true, value: r => r.id },
	{ id: 'name', title: 'Name', width: '18rem', value: r => r.name },
	{ id: 'bytes', title: 'Bytes', width: '10rem', number: true, value: r => r.bytes },
	{ id: 'state', title: 'State', width: '10rem', value: r => r.state },
];

function draw() {
	render(
		<main style={{ padding: '1rem' }}>
			<h1>Table</h1>
			<Table
				label="Sessions"
				rows={rows}
				columns={columns}
				rowKey={r => r.id}
				remove={list => {
					window.removed = list.map(r => r.id);
				}}
				details={r => {
					window.opened = r.id;
				}}
				bulk={list => <button type="button">{`Kill ${list.length}`}</button>}
			/>
		</main>,
		document.getElementById('app'),
	);
}

// One second's change: every tenth row counts on, ten go, ten come. → how long it took until the page was laid out again.
window.tick = () => {
	rows = rows.map((r, i) => (i % 10 ? r : { ...r, bytes: r.bytes + 1500 })).slice(10);
	for (let i = 0; i < 10; i++) rows.push(row(next++));
	const from = performance.now();
	draw();
	document.querySelector('[role=grid]').getBoundingClientRect();
	return new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now() - from), 0)));
};
await setLanguage('en');
draw();
