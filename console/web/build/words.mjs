// SPDX-License-Identifier: Apache-2.0
//
// The words of src/lang as the bundle has them: "turn.user.ask" is a leaf of a tree, so that what keys have in common stands
// there once, which makes them a thirteenth smaller, compressed. src/i18n.js has the way back. A text is a leaf; the forms
// of a plural are one in a list, and what has words of its own and others below it has its own by the key "".
function treeOf(words) {
	const tree = {};
	for (const [key, text] of Object.entries(words)) {
		let at = tree;
		for (const name of key.split('.')) at = at[name] ??= {};
		at[''] = typeof text === 'string' ? text : [text];
	}
	return tree;
}

const short = tree =>
	Object.fromEntries(
		Object.entries(tree).map(([name, below]) => {
			if (!name) return [name, below];
			return [name, Object.keys(below).join() === '' && '' in below ? below[''] : short(below)];
		}),
	);

export const words = () => ({
	name: 'stile-words',
	enforce: 'pre',
	transform: (text, id) => (/\/src\/lang\/[^/]+\.json$/.test(id) ? JSON.stringify(short(treeOf(JSON.parse(text)))) : undefined),
});
