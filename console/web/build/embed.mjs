// SPDX-License-Identifier: Apache-2.0
//
// Vite's output as a C source: the table that console/web_bundle.h declares. Each file is there as it is and
// gzipped, where that is smaller, so that stile-console compresses nothing while it runs. zopfli writes the same format in less
// room (3.5 %); where it is not installed, zlib does it.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

const TYPES = {
	'.html': 'text/html; charset=utf-8',
	'.js': 'text/javascript; charset=utf-8',
	'.css': 'text/css; charset=utf-8',
	'.svg': 'image/svg+xml',
};

function files(folder, below = '') {
	return readdirSync(join(folder, below), { withFileTypes: true }).flatMap(e =>
		e.isDirectory() ? files(folder, `${below}${e.name}/`) : [`${below}${e.name}`],
	);
}

export function gzipped(path) {
	const { error, status, stdout } = spawnSync('zopfli', ['-c', path], { maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'inherit'] });
	return error || status !== 0 ? gzipSync(readFileSync(path), { level: 9 }) : stdout;
}

// As a string literal: a compiler reads it many times faster than a list of numbers.
function literal(bytes) {
	const lines = [];
	for (let i = 0; i < bytes.length; i += 64) {
		lines.push('\t"' + [...bytes.subarray(i, i + 64)].map(b => '\\' + b.toString(8).padStart(3, '0')).join('') + '"');
	}
	return lines.join('\n') || '\t""';
}

function one(dist, name, i) {
	const type = TYPES[extname(name)];
	if (!type) throw new Error(`${name}: no content type for it in build/embed.mjs`);
	const data = readFileSync(join(dist, name));
	const gz = gzipped(join(dist, name));
	const small = gz.length < data.length;
	const etag = createHash('sha256').update(data).digest('hex').slice(0, 16);
	return {
		path: name === 'index.html' ? '/' : `/${name}`,
		arrays:
			`static const unsigned char data_${i}[] =\n${literal(data)};\n` +
			(small ? `static const unsigned char gz_${i}[] =\n${literal(gz)};\n` : ''),
		row: path =>
			`\t{ "${path}", "${type}", "\\"${etag}\\"", data_${i}, ${data.length}, ` +
			`${small ? `gz_${i}, ${gz.length}` : 'NULL, 0'}, ${name.startsWith('assets/')} },\n`,
	};
}

export function embed(dist, output) {
	const all = files(dist)
		.map((name, i) => one(dist, name, i))
		.sort((a, b) => (a.path < b.path ? -1 : 1));
	writeFileSync(
		output,
		`/* made by console/web/build/embed.mjs */
#include "console/web_bundle.h"

${all.map(f => f.arrays).join('')}
const struct web_file web_files[] = {
${all.map(f => f.row(f.path)).join('')}};
const size_t web_files_n = ${all.length};
`,
	);
}
