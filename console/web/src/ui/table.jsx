// SPDX-License-Identifier: Apache-2.0
//
// A table for 10,000 rows that change every second: only the rows in sight are elements (all have one height), and a
// sort starts from the order before, so that it costs little when little has moved. The grid has the focus, not its
// rows: arrows, Home, End, Page keys move; a click, Space and Shift choose; Ctrl+A chooses all that pass the filter; Del calls
// `remove` with the chosen rows; Enter opens `details`.
//
// A column: { id, title, width (of CSS grid), number (right-aligned), value(row) for sort and filter, cell(row) }.
import { useEffect, useId, useMemo, useRef, useState } from 'preact/hooks';
import { compare, language, t } from '../i18n.js';
import { Icon } from './icon.jsx';
import { Search } from './search.jsx';

const ROW = 36;
const FEWEST = 3; // rows for which there is room at least
const SPARE = 6; // rows beyond the edges, so that a fast wheel shows no holes

function comparer(column, down) {
	const words = compare();
	const sign = down ? -1 : 1;
	return (a, b) => {
		const x = column.value(a),
			y = column.value(b);
		if (typeof x === 'number' && typeof y === 'number') return sign * (x - y);
		return sign * words(String(x ?? ''), String(y ?? ''));
	};
}

function useOrder(rows, columns, rowKey, filter, sort) {
	const before = useRef([]);
	return useMemo(() => {
		const needle = filter.trim().toLocaleLowerCase();
		const left = new Map();
		for (const row of rows) {
			if (
				!needle ||
				columns.some(c =>
					String(c.text?.(row) ?? c.value(row) ?? '')
						.toLocaleLowerCase()
						.includes(needle),
				)
			)
				left.set(rowKey(row), row);
		}
		const out = [];
		for (const key of before.current) {
			const row = left.get(key);
			if (row) {
				out.push(row);
				left.delete(key);
			}
		}
		out.push(...left.values());
		const column = columns.find(c => c.id === sort.id);
		if (column) out.sort(comparer(column, sort.down));
		before.current = out.map(rowKey);
		return out;
	}, [rows, filter, sort, language.value]);
}

function useWindow(ref, n) {
	const [view, set] = useState({ top: 0, height: 400 });
	useEffect(() => {
		const el = ref.current;
		const look = () => set({ top: el.scrollTop, height: el.clientHeight });
		const watch = new ResizeObserver(look);
		watch.observe(el);
		el.addEventListener('scroll', look, { passive: true });
		return () => {
			watch.disconnect();
			el.removeEventListener('scroll', look);
		};
	}, []);
	const from = Math.max(0, Math.min(Math.floor(view.top / ROW) - SPARE, n - 1));
	return [from, Math.min(n, Math.ceil((view.top + view.height) / ROW) + SPARE), Math.max(1, Math.floor(view.height / ROW) - 2)];
}

function Head({ columns, sort, setSort }) {
	return (
		<div role="row" class="head" aria-rowindex={1}>
			{columns.map(c => (
				<div
					key={c.id}
					role="columnheader"
					class={c.number ? 'number' : ''}
					aria-sort={sort.id === c.id ? (sort.down ? 'descending' : 'ascending') : 'none'}>
					<button type="button" onClick={() => setSort({ id: c.id, down: sort.id === c.id && !sort.down })}>
						{c.title}
						{c.unit && <span class="unit">{c.unit}</span>}
						{sort.id === c.id && <Icon name={sort.down ? 'down' : 'up'} />}
					</button>
				</div>
			))}
		</div>
	);
}

// All rows are as wide as the least widths of the columns together, or as the grid: none is sized by its own content, but each has room
// for its title, in every language.
const trackOf = ({ title, unit = '', width = '1fr' }) => {
	const fr = /[\d.]*fr/.exec(width)?.[0];
	const least = `max(${/\((.+),/.exec(width)?.[1] ?? (fr ? '6rem' : width)}, ${(title + unit).length}ch + 2.8rem)`;
	return [least, fr ? `minmax(${least}, ${fr})` : least];
};

// What a key does to the row with the focus; undefined: not ours.
const MOVES = {
	ArrowDown: at => at + 1,
	ArrowUp: at => at - 1,
	Home: () => 0,
	End: (at, n) => n - 1,
	PageDown: (at, n, page) => at + page,
	PageUp: (at, n, page) => at - page,
};

export function Table({ label, rows, columns, rowKey, remove, details, bulk, tools, filter: withFilter = true, sortBy }) {
	const [filter, setFilter] = useState('');
	const [sort, setSort] = useState(sortBy ?? { id: columns[0].id, down: false });
	const [chosen, choose] = useState(new Set());
	const [active, setActive] = useState(null); // a key: the row may move under it
	const anchor = useRef(null); // a key: where a range begins
	const scroller = useRef(null);
	const id = useId();
	const order = useOrder(rows, columns, rowKey, filter, sort);
	const [from, to, page] = useWindow(scroller, order.length);
	const at = active === null ? -1 : order.findIndex(r => rowKey(r) === active);
	const tracks = columns.map(trackOf);
	const picked = () => order.filter(r => chosen.has(rowKey(r)));

	function show(i) {
		const el = scroller.current;
		if (i * ROW < el.scrollTop) el.scrollTop = i * ROW;
		else if ((i + 2) * ROW > el.scrollTop + el.clientHeight) el.scrollTop = (i + 2) * ROW - el.clientHeight;
	}

	function reach(i, extend) {
		i = Math.max(0, Math.min(order.length - 1, i));
		if (!order.length) return;
		setActive(rowKey(order[i]));
		if (extend) {
			const from = order.findIndex(r => rowKey(r) === anchor.current);
			const [a, b] = [Math.min(from < 0 ? i : from, i), Math.max(from, i)];
			choose(new Set(order.slice(a, b + 1).map(rowKey)));
		} else anchor.current = rowKey(order[i]);
		show(i);
	}

	function toggle(key) {
		const next = new Set(chosen);
		if (!next.delete(key)) next.add(key);
		choose(next);
	}

	function keys(e) {
		if (e.target !== scroller.current) return;
		const move = MOVES[e.key];
		if (move) reach(move(at, order.length, page), e.shiftKey);
		else if (e.key === ' ' && at >= 0) toggle(active);
		else if (e.key === 'a' && (e.ctrlKey || e.metaKey)) choose(new Set(order.map(rowKey)));
		else if (e.key === 'Escape' && chosen.size) choose(new Set());
		else if (e.key === 'Delete' && remove) {
			const p = picked();
			if (p.length || at >= 0) remove(p.length ? p : [order[at]]);
		} else if (e.key === 'Enter' && details && at >= 0) details(order[at]);
		else return;
		e.preventDefault();
	}

	function click(e, row, i) {
		if (e.target.closest('button, a')) return;
		if (e.ctrlKey || e.metaKey) {
			toggle(rowKey(row));
			setActive(rowKey(row));
			anchor.current = rowKey(row);
		} else {
			reach(i, e.shiftKey);
			if (!e.shiftKey) choose(new Set([rowKey(row)]));
		}
	}

	return (
		<div class="table">
			<div class="bar tools">
				{withFilter && <Search label={t('table.filter', { label })} placeholder={t('filter')} value={filter} onInput={setFilter} />}
				<span class="muted" role="status">
					{filter ? t('table.some', { n: order.length, all: rows.length }) : t('table.rows', { n: rows.length })}
					{chosen.size > 0 && picked().length > 0 && ` · ${t('table.chosen', { n: picked().length })}`}
				</span>
				<span class="grow" />
				{picked().length > 0 && bulk?.(picked(), () => choose(new Set()))}
				{tools}
			</div>
			<div
				class="grid"
				ref={scroller}
				role="grid"
				tabIndex={0}
				aria-label={label}
				aria-rowcount={order.length + 1}
				aria-multiselectable="true"
				aria-activedescendant={at >= from && at < to ? `${id}-${at}` : undefined}
				onKeyDown={keys}
				style={{
					'--columns': tracks.map(x => x[1]).join(' '),
					'--least': `calc(${tracks.map(x => x[0]).join(' + ')})`,
					'--row': `${ROW}px`,
					'--n': Math.max(order.length, FEWEST) + 1,
				}}>
				<div role="rowgroup" class="sticky">
					<Head columns={columns} sort={sort} setSort={setSort} />
				</div>
				<div role="rowgroup" class="rows" style={{ height: `${order.length * ROW}px` }}>
					{order.slice(from, to).map((row, k) => {
						const i = from + k,
							key = rowKey(row);
						return (
							<div
								key={key}
								id={`${id}-${i}`}
								role="row"
								aria-rowindex={i + 2}
								aria-selected={chosen.has(key)}
								class={i === at ? 'active' : ''}
								style={{ transform: `translateY(${i * ROW}px)` }}
								onClick={e => click(e, row, i)}
								onDblClick={() => details?.(row)}>
								{columns.map(c => (
									<div key={c.id} role="gridcell" class={c.number ? 'number' : ''}>
										{c.cell ? c.cell(row) : c.value(row)}
									</div>
								))}
							</div>
						);
					})}
				</div>
			</div>
			{!order.length && <p class="muted empty">{filter ? t('table.none') : t('table.empty')}</p>}
		</div>
	);
}
