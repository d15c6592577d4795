// SPDX-License-Identifier: Apache-2.0
// A service's state in one word and colour; its health where it runs.
import { t } from '../i18n.js';
import { Icon } from './icon.jsx';

const KINDS = {
	running: 'ok',
	starting: 'warning',
	draining: 'warning',
	stopping: 'warning',
	stopped: 'off',
	failed: 'failed',
	late: 'failed',
	unreachable: 'failed',
};
const HEALTH = { good: 'ok', warning: 'warning', error: 'failed' };

export function Pill({ s }) {
	const sick = s.state === 'running' && s.health && s.health !== 'good';
	const kind = sick ? (HEALTH[s.health] ?? 'warning') : (KINDS[s.state] ?? 'off');
	return (
		<span class={`pill ${kind}`}>
			{kind !== 'off' && <Icon name={kind} />}
			{t(`state.${s.state}`)}
			{sick && `, ${t(`health.${s.health}`)}`}
		</span>
	);
}
