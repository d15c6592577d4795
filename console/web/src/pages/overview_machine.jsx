// SPDX-License-Identifier: Apache-2.0
// The machine that the console runs on: processor, memory, disk, descriptors, network interfaces.
import { useEffect, useState } from 'preact/hooks';
import { get } from '../api.js';
import { bytes, duration, number, rate, t } from '../i18n.js';
import { subscribe } from '../live.js';
import { ErrorBox } from '../ui/errors.jsx';
import { Meter } from '../ui/meter.jsx';
import { PlainTable } from '../ui/plain_table.jsx';

const of = (used, total) => t('of', { used: bytes(used), total: bytes(total) });

function Interfaces({ list }) {
	return (
		<PlainTable heads={[t('interface'), t('rate.in'), t('rate.out'), t('speed')]}>
			{list.map(i => (
				<tr key={i.name}>
					<th scope="row">{i.name}</th>
					<td>{rate(i.in)}</td>
					<td>{rate(i.out)}</td>
					<td>{i.speed ? rate(i.speed / 8) : '–'}</td>
				</tr>
			))}
		</PlainTable>
	);
}

export function Machine() {
	const [m, set] = useState(null);
	const [error, setError] = useState(null);
	useEffect(() => {
		const ask = () =>
			get('/system').then(r => {
				set(r);
				setError(null);
			}, setError);
		ask();
		return subscribe('console:system', set, ask);
	}, []);
	const limited = m && m.descriptors.total < Number.MAX_SAFE_INTEGER; // a kernel without a limit tells the largest number
	return (
		<section class="section" aria-labelledby="machine" data-help="overview/machine">
			<div class="bar">
				<h2 id="machine">{t('machine')}</h2>
				{m && (
					<span class="muted">
						{m.hostname} · {t('uptime', { time: duration(m.uptime) })}
					</span>
				)}
			</div>
			{error && !m && <ErrorBox error={error} />}
			{m && (
				<div class="charts">
					<div class="card">
						<Meter label={t('cpu')} used={m.cpu} total={1} text={t('cores', { n: m.cores })} />
						<Meter label={t('memory')} used={m.memory.used} total={m.memory.total} text={of(m.memory.used, m.memory.total)} />
						{m.disks.map(d => (
							<Meter
								key={d.path}
								label={t('disk', { path: d.path })}
								used={d.used}
								total={d.total}
								text={of(d.used, d.total)}
							/>
						))}
						<Meter
							label={t('descriptors')}
							used={m.descriptors.used}
							total={m.descriptors.total}
							text={limited ? t('of', { used: number(m.descriptors.used), total: number(m.descriptors.total) }) : number(m.descriptors.used)}
						/>
					</div>
					<div class="card wide-table" role="region" tabIndex={0} aria-label={t('interfaces')}>
						<Interfaces list={m.interfaces} />
					</div>
				</div>
			)}
		</section>
	);
}
