// SPDX-License-Identifier: Apache-2.0
// A short table that is read from top to bottom: nothing is sorted, filtered or chosen in it (that is table.jsx).
export const PlainTable = ({ heads, children }) => (
	<table class="plain">
		<thead>
			<tr>
				{heads.map(title => (
					<th scope="col">{title}</th>
				))}
			</tr>
		</thead>
		<tbody>{children}</tbody>
	</table>
);
