// SPDX-License-Identifier: Apache-2.0
//
// What meson runs: Vite's build into a folder of the build tree, the C source out of it, and a depfile, so that ninja
// builds anew when a module or a page of the manual has changed. Nothing is written into the source tree.
//
//   node build/bundle.mjs FOLDER OUTPUT.c DEPFILE
import { readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import config from '../vite.config.js';
import { embed } from './embed.mjs';
import { guideFiles } from './guides.mjs';
import { folder, languages } from './manual.mjs';

const web = join(dirname(fileURLToPath(import.meta.url)), '..');
const [out, output, depfile] = process.argv.slice(2);
const dist = resolve(out, 'dist');
const read = new Set(['index.html', 'vite.config.js', 'package-lock.json'].map(f => join(web, f)));

for (const f of readdirSync(join(web, 'build'))) read.add(join(web, 'build', f));
for (const f of readdirSync(join(web, 'public'))) read.add(join(web, 'public', f));
for (const l of languages) for (const f of [...readdirSync(join(folder, l)).map(n => join(folder, l, n)), ...guideFiles(l)]) read.add(f);

const witness = {
	name: 'stile-depfile',
	generateBundle() {
		for (const id of this.getModuleIds()) {
			const path = id.split('?')[0];
			if (path.startsWith('/') && !path.includes('/node_modules/')) read.add(path);
		}
	},
};

await build({
	...config,
	root: web,
	configFile: false,
	logLevel: 'warn',
	cacheDir: resolve(out, 'cache'),
	plugins: [...config.plugins, witness],
	build: { ...config.build, outDir: dist, emptyOutDir: true },
});
embed(dist, output);
writeFileSync(
	depfile,
	`${output}: ${[...read]
		.sort()
		.map(f => f.replace(/ /g, '\\ '))
		.join(' ')}\n`,
);
