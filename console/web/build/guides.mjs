// SPDX-License-Identifier: Apache-2.0
//
// The guides of docs/guides/LANGUAGE/NN-TOPIC.md as pages of the manual: each a module of its own, "virtual:guide/LANGUAGE/TOPIC",
// fetched when it is opened; the manual's module of a language has their titles. A link between files becomes one between topics.
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from './markdown.mjs';

export const guideFolder = join(dirname(fileURLToPath(import.meta.url)), '../../../docs/guides');
export const guidePrefix = 'virtual:guide/';

const topicOf = name => name.replace(/^.*\/|\.md$/g, '').replace(/^\d+-/, '');

// "30-cameras.md#rules" is "cameras/rules", what openHelp() takes.
function target(to) {
	const [file, anchor] = to.split('#');
	return anchor ? `${topicOf(file)}/${anchor}` : topicOf(file);
}

function linked(node) {
	if (!Array.isArray(node)) return node;
	if (node[0] === 'a') return ['a', target(node[1]), ...node.slice(2).map(linked)];
	return node.map(linked);
}

export const guideFiles = language =>
	readdirSync(join(guideFolder, language))
		.filter(n => n.endsWith('.md'))
		.sort()
		.map(n => join(guideFolder, language, n));

// { topic: { title, body } }, in the order of the file names' numbers.
export function readGuides(language) {
	return Object.fromEntries(
		guideFiles(language).map(path => {
			const page = parse(readFileSync(path, 'utf8'), path);
			return [topicOf(path), { title: page.title, body: linked(page.body) }];
		}),
	);
}

// Source of a module's `guides`: { topic: { title, load } }.
export const guideTable = language =>
	`export const guides = { ${Object.entries(readGuides(language))
		.map(([topic, page]) => `${JSON.stringify(topic)}: { title: ${JSON.stringify(page.title)}, load: () => import('${guidePrefix}${language}/${topic}') }`)
		.join(', ')} };`;

export function guideModule(id) {
	const [language, topic] = id.slice(guidePrefix.length).split('/');
	return `export default JSON.parse(${JSON.stringify(JSON.stringify(readGuides(language)[topic]))});`;
}
