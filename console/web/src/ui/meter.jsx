// SPDX-License-Identifier: Apache-2.0
// How much of something is used: a bar and its words. Above `high` it warns, above `full` it is red.
import { percent } from '../i18n.js';

export function Meter({ label, used, total, text, high = 0.85, full = 0.95 }) {
	const share = total > 0 ? Math.min(1, used / total) : 0;
	const kind = share >= full ? 'failed' : share >= high ? 'warning' : 'ok';
	return (
		<div class={`meter ${kind}`}>
			<div class="bar">
				<span>{label}</span>
				<span class="grow" />
				<span class="muted">{text}</span>
				<b>{percent(share)}</b>
			</div>
			<div
				class="track"
				role="meter"
				aria-label={label}
				aria-valuemin={0}
				aria-valuemax={100}
				aria-valuenow={Math.round(share * 100)}
				aria-valuetext={`${percent(share)}, ${text}`}>
				<div style={{ width: `${share * 100}%` }} />
			</div>
		</div>
	);
}
