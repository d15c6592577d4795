// SPDX-License-Identifier: Apache-2.0
//
// The offline manual: docs/manual/LANGUAGE/TOPIC.md, one module for each language, fetched when help is first
// opened. Here it becomes the module "virtual:manual", whose `load` has a function for each language. The guides
// (build/guides.mjs) are further pages of it, each fetched by itself.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { guideFiles, guideModule, guidePrefix, guideTable } from './guides.mjs';
import { parse } from './markdown.mjs';

export const folder = join(dirname(fileURLToPath(import.meta.url)), '../../../docs/manual');
export const languages = ['en', 'de', 'it'];

// { topic: { title, body } }, in the order of the file names' numbers: 10-overview.md is the topic "overview".
export function read(language) {
	const topics = {};
	for (const name of readdirSync(join(folder, language))
		.filter(n => n.endsWith('.md'))
		.sort()) {
		const path = join(folder, language, name);
		topics[name.replace(/^\d+-|\.md$/g, '')] = parse(readFileSync(path, 'utf8'), path);
	}
	return topics;
}

export function manual() {
	const prefix = 'virtual:manual';
	return {
		name: 'stile-manual',
		resolveId: id => (id.startsWith(prefix) || id.startsWith(guidePrefix) ? '\0' + id : undefined),
		load(id) {
			if (id.startsWith('\0' + guidePrefix)) return guideModule(id.slice(1));
			if (!id.startsWith('\0' + prefix)) return undefined;
			const language = id.slice(prefix.length + 2);
			if (!language) return `export const load = { ${languages.map(l => `${l}: () => import('${prefix}/${l}')`).join(', ')} };`;
			for (const name of readdirSync(join(folder, language))) this.addWatchFile(join(folder, language, name));
			for (const path of guideFiles(language)) this.addWatchFile(path);
			return `export default JSON.parse(${JSON.stringify(JSON.stringify(read(language)))});\n${guideTable(language)}`;
		},
	};
}
