// SPDX-License-Identifier: Apache-2.0
//
// A chart over time, on a canvas of our own: a library for it would be a third of the whole console. `data` is the times in
// seconds, then a list of values for each series (null: a gap). The legend under it has the last values, or those under the
// pointer; who cannot see the canvas hears them.
import { useEffect, useRef, useState } from 'preact/hooks';
import { language, time } from '../i18n.js';
import { dark } from '../theme.js';

const LEFT = 76;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 24;
const TICKS = 5;
const TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600]; // s between the labels of the time
const LABEL = 76; // px of one of them, with its distance

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// 1, 2 or 5 of some power of ten, so that the axis has few and round numbers.
function stepOf(most, whole) {
	const power = 10 ** Math.floor(Math.log10(most / TICKS));
	const step = [1, 2, 5, 10].map(n => n * power).find(n => n * TICKS >= most);
	return whole ? Math.max(1, step) : step;
}

function line(g, points) {
	g.beginPath();
	let pen = false;
	for (const [x, y] of points) {
		if (y === null) pen = false;
		else if (pen) g.lineTo(x, y);
		else g.moveTo(x, y);
		if (y !== null) pen = true;
	}
	g.stroke();
}

// Where the values are: px of a time, of a value.
function scales(data, least, width, height) {
	const [from, to] = [data[0][0] ?? 0, data[0].at(-1) ?? 1];
	const most = Math.max(least, ...data.slice(1).map(list => Math.max(0, ...list.filter(v => v !== null)) * 1.1));
	const [w, h] = [width - LEFT - RIGHT, height - TOP - BOTTOM];
	return { from, to, most, w, x: s => LEFT + (to > from ? ((s - from) / (to - from)) * w : w), y: v => TOP + h - (v / most) * h };
}

function axes(g, k, { format, whole }, width, height) {
	g.font = '12px system-ui, sans-serif';
	g.fillStyle = colour('--muted-hex');
	g.strokeStyle = colour('--line-hex');
	g.lineWidth = 1;
	g.textAlign = 'right';
	g.textBaseline = 'middle';
	const step = stepOf(k.most, whole);
	for (let v = 0; v <= k.most; v += step) {
		g.fillText(format(v), LEFT - 8, k.y(v));
		line(g, [[LEFT, k.y(v)], [width - RIGHT, k.y(v)]]);
	}
	g.textAlign = 'center';
	g.textBaseline = 'bottom';
	const every = TIMES.find(s => ((k.to - k.from) / s) * LABEL < k.w) ?? TIMES.at(-1);
	for (let s = Math.ceil(k.from / every) * every; s <= k.to; s += every) {
		line(g, [[k.x(s), TOP], [k.x(s), height - BOTTOM]]);
		if (k.x(s) > LEFT + 20 && k.x(s) < width - 28) g.fillText(time(s * 1000).replace(/:00$/, ''), k.x(s), height - 3);
	}
}

function draw(canvas, { data, least, ...rest }, pointed) {
	const [width, height] = [canvas.clientWidth, canvas.clientHeight];
	const g = canvas.getContext('2d');
	canvas.width = width * devicePixelRatio;
	canvas.height = height * devicePixelRatio;
	g.scale(devicePixelRatio, devicePixelRatio);
	const k = scales(data, least, width, height);
	axes(g, k, rest, width, height);
	const at = pointed !== null ? data[0][pointed] : undefined;
	if (at !== undefined) line(g, [[k.x(at), TOP], [k.x(at), height - BOTTOM]]);
	g.lineWidth = 2;
	data.slice(1).forEach((list, i) => {
		g.strokeStyle = g.fillStyle = colour(`--chart-${i % 6}`);
		g.setLineDash(i > 5 ? [6, 3] : []);
		line(g, list.map((v, n) => [k.x(data[0][n]), v === null ? null : k.y(v)]));
		if (at === undefined || list[pointed] === null) return;
		g.beginPath();
		g.arc(k.x(at), k.y(list[pointed]), 3, 0, 7);
		g.fill();
	});
}

// The point that is nearest to the pointer.
function nearest(e, data, least) {
	const { left, width } = e.currentTarget.getBoundingClientRect();
	const k = scales(data, least, width, 1);
	const s = k.from + ((e.clientX - left - LEFT) / k.w) * (k.to - k.from);
	const after = data[0].findIndex(x => x >= s);
	if (after < 0) return data[0].length - 1;
	return after > 0 && s - data[0][after - 1] < data[0][after] - s ? after - 1 : after;
}

// least: how far the axis goes at least; whole: things that are counted, so that the axis has no fractions.
export function Chart({ title, series, data, format, least = 1, whole, height = 200 }) {
	const ref = useRef(null);
	const [pointed, point] = useState(null);
	const [width, setWidth] = useState(0);
	useEffect(() => {
		const watch = new ResizeObserver(() => setWidth(ref.current.clientWidth));
		watch.observe(ref.current);
		return () => watch.disconnect();
	}, []);
	useEffect(() => {
		if (width) draw(ref.current, { data, least, format, whole }, pointed);
	}, [data, pointed, width, dark.value, language.value]);

	// Arrows, Home and End point, too; Escape lets go.
	function keys(e) {
		const last = data[0].length - 1;
		const to = { ArrowLeft: (pointed ?? last + 1) - 1, ArrowRight: (pointed ?? last) + 1, Home: 0, End: last }[e.key];
		if (e.key === 'Escape') point(null);
		else if (to !== undefined && last >= 0) point(Math.max(0, Math.min(last, to)));
		else return;
		e.preventDefault();
	}
	const at = pointed !== null && pointed < data[0].length ? pointed : data[0].length - 1;
	const valueOf = i => (data[i + 1]?.[at] == null ? '–' : format(data[i + 1][at]));
	return (
		<>
			<div class="chart" role="img" tabIndex={0} onKeyDown={keys} onBlur={() => point(null)} aria-label={`${title}: ${series.map((s, i) => `${s.name} ${valueOf(i)}`).join(', ')}`}>
				<canvas
					ref={ref}
					style={{ height: `${height}px` }}
					onPointerMove={e => data[0].length && point(nearest(e, data, least))}
					onPointerLeave={() => point(null)}
				/>
			</div>
			<ul class="legend" aria-hidden="true">
				{series.map((s, i) => (
					<li key={s.name}>
						<i style={{ background: `var(--chart-${i % 6})` }} />
						{s.name} <b>{valueOf(i)}</b>
					</li>
				))}
				<li class="muted">{pointed !== null && data[0][at] ? time(data[0][at] * 1000) : ''}</li>
			</ul>
		</>
	);
}
