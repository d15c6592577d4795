// SPDX-License-Identifier: Apache-2.0
// A port: 0 to 65535, with the default of its transport; 0 is refused where something listens.
import { t } from '../i18n.js';
import { Field } from './field.jsx';
import { DEFAULT_PORTS } from './judge.js';

export function PortField({ transport, listen, help, ...rest }) {
	const usual = DEFAULT_PORTS[transport];
	const range = t('range', { min: String(listen ? 1 : 0), max: '65535' });
	return (
		<Field
			{...rest}
			inputMode="numeric"
			maxLength={5}
			autocomplete="off"
			placeholder={usual ? String(usual) : undefined}
			help={[help, range, usual && t('default', { value: `${usual} (${transport.toUpperCase()})` })].filter(Boolean).join(' · ')}
		/>
	);
}
