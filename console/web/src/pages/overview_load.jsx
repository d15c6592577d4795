// SPDX-License-Identifier: Apache-2.0
//
// What the services carry: bytes a second in and out, and sessions, one point a second for the last quarter of an
// hour. A point is { at (ms), services: { NAME: { in, out, sessions } } }, bytes a second.
import { useEffect, useRef, useState } from 'preact/hooks';
import { get } from '../api.js';
import { number, rate, t } from '../i18n.js';
import { subscribe } from '../live.js';
import { Chart } from '../ui/chart.jsx';

const KEEP_MS = 15 * 60_000;

export function useLoad() {
	const points = useRef([]);
	const [, redraw] = useState(0);
	const all = () => {
		get('/load').then(
			r => {
				points.current = r.points;
				redraw(n => n + 1);
			},
			() => {},
		); // the stream fills it anyhow
	};
	useEffect(() => {
		all();
		return subscribe(
			'console:load',
			point => {
				const list = points.current;
				if (list.length && point.at <= list[list.length - 1].at) return;
				const from = list.findIndex(p => p.at > point.at - KEEP_MS);
				points.current = [...(from < 0 ? [] : list.slice(from)), point];
				redraw(n => n + 1);
			},
			all,
		);
	}, []);
	const last = points.current[points.current.length - 1];
	return {
		points: points.current,
		now(name) {
			const l = last?.services[name];
			return l && { in: rate(l.in), out: rate(l.out), sessions: l.sessions == null ? null : number(l.sessions), count: l.sessions };
		},
	};
}

const times = points => points.map(p => p.at / 1000);
const sum = (p, key) => Object.values(p.services).reduce((n, s) => n + (s[key] ?? 0), 0);

export function ThroughputChart({ load, which }) {
	const of = (p, key) => (which ? (p.services[which]?.[key] ?? null) : sum(p, key));
	const data = [times(load.points), load.points.map(p => of(p, 'in')), load.points.map(p => of(p, 'out'))];
	return <Chart title={t('charts.throughput')} series={[{ name: t('rate.in') }, { name: t('rate.out') }]} data={data} format={rate} least={1000} />;
}

export function SessionChart({ load, which }) {
	const last = load.points[load.points.length - 1];
	const names = which
		? [which]
		: Object.keys(last?.services ?? {})
				.filter(n => last.services[n].sessions != null)
				.sort();
	const data = [times(load.points), ...names.map(n => load.points.map(p => p.services[n]?.sessions ?? null))];
	return <Chart title={t('charts.sessions')} series={names.map(name => ({ name }))} data={data} format={v => number(v)} least={4} whole />;
}
