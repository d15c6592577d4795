// SPDX-License-Identifier: Apache-2.0
// Which service a part of a page is about. `none` names the choice of no single one, whose value is ''.
import { nameOf } from '../state.js';

export function ServiceChoice({ label, value, choose, none, all }) {
	return (
		<label class="bar">
			{label}
			<select value={value} onChange={e => choose(e.currentTarget.value)} style={{ width: 'auto' }}>
				{none && <option value="">{none}</option>}
				{all.map(s => (
					<option key={nameOf(s)} value={nameOf(s)}>
						{nameOf(s)}
					</option>
				))}
			</select>
		</label>
	);
}
