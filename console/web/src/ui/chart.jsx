// SPDX-License-Identifier: Apache-2.0
//
// A chart over time (uPlot on a canvas). `data` is uPlot's: the times in seconds, then a list of values for each
// series. The legend under it has the last values, or those under the pointer; who cannot see the canvas hears them.
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { language, time } from '../i18n.js';
import { dark } from '../theme.js';

const WHOLE = Array.from({ length: 10 }, (_, i) => [1, 2, 5].map(n => n * 10 ** i)).flat();
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function options({ series, format, least, whole }, width, height, point) {
	const axis = {
		stroke: colour('--muted-hex'),
		grid: { stroke: colour('--line-hex'), width: 1 },
		ticks: { show: false },
		font: '12px system-ui, sans-serif',
	};
	return {
		width,
		height,
		padding: [8, 8, 0, 0],
		cursor: { points: { size: 6 }, drag: { x: false, y: false } },
		legend: { show: false },
		hooks: { setCursor: [u => point(u.cursor.idx ?? null)] },
		scales: { y: { range: (u, min, max) => [0, Math.max(max * 1.1, least)] } },
		axes: [
			{ ...axis, values: (u, ticks) => ticks.map(s => time(s * 1000).replace(/:00$/, '')) },
			{ ...axis, size: 76, values: (u, ticks) => ticks.map(format), ...(whole && { incrs: WHOLE }) },
		],
		series: [
			{},
			...series.map((s, i) => ({
				stroke: colour(`--chart-${i % 6}`),
				width: 2,
				points: { show: false },
				spanGaps: false,
				dash: i > 5 ? [6, 3] : undefined,
			})),
		],
	};
}

// least: how far the axis goes at least; whole: things that are counted, so that the axis has no fractions.
export function Chart({ title, series, data, format, least = 1, whole, height = 200 }) {
	const ref = useRef(null);
	const plot = useRef(null);
	const [pointed, point] = useState(null);
	const names = series.map(s => s.name).join('\n');

	useEffect(() => {
		plot.current = new uPlot(options({ series, format, least, whole }, ref.current.clientWidth, height, point), data, ref.current);
		const watch = new ResizeObserver(() => plot.current.setSize({ width: ref.current.clientWidth, height }));
		watch.observe(ref.current);
		return () => {
			watch.disconnect();
			plot.current.destroy();
		};
	}, [names, dark.value, language.value]);
	useEffect(() => {
		plot.current.setData(data);
	}, [data]);

	const at = pointed !== null && pointed < data[0].length ? pointed : data[0].length - 1;
	const valueOf = i => (data[i + 1]?.[at] == null ? '–' : format(data[i + 1][at]));
	return (
		<>
			<div
				class="chart"
				ref={ref}
				role="img"
				aria-label={`${title}: ${series.map((s, i) => `${s.name} ${valueOf(i)}`).join(', ')}`}
			/>
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
