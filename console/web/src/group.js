// SPDX-License-Identifier: Apache-2.0
// Rows by what they have in common, in the order in which that appears: Map.groupBy(), which only browsers of 2024 have.
export function groupBy(rows, keyOf) {
	const groups = new Map();
	for (const row of rows) {
		const key = keyOf(row);
		if (groups.has(key)) groups.get(key).push(row);
		else groups.set(key, [row]);
	}
	return groups;
}
