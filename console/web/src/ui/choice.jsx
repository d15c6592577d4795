// SPDX-License-Identifier: Apache-2.0
// A choice that acts at once, its label before it; in a form it is a Field. options: [{ value, name }].
export const Choice = ({ label, value, choose, options, help }) => (
	<label class="bar" data-help={help}>
		{label}
		<select value={value} onChange={e => choose(e.currentTarget.value)} style={{ width: 'auto' }}>
			{options.map(o => (
				<option key={o.value} value={o.value}>
					{o.name}
				</option>
			))}
		</select>
	</label>
);
