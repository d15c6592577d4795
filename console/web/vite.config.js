// SPDX-License-Identifier: Apache-2.0
// How the bundle is made. esbuild turns JSX into calls of Preact, so there is no Babel and no plug-in but
// our own, which turns the manual's Markdown into trees (build/manual.mjs). Nothing is ever inlined as a
// data: URL or a script in the page: the console's Content-Security-Policy forbids both.
import { defineConfig } from 'vite';
import { manual } from './build/manual.mjs';

// Names by which the test of the size knows them apart: a browser loads one language, manual and guides only when asked.
function chunkName({ facadeModuleId: id }) {
	const kind = /^\0virtual:(manual|guide)\//.test(id) ? 'manual-' : id?.includes('/src/lang/') ? 'words-' : '';
	return `assets/${kind}[name]-[hash].js`;
}

export default defineConfig({
	esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
	plugins: [manual()],
	json: { stringify: true },
	build: {
		target: 'es2022',
		assetsInlineLimit: 0,
		modulePreload: { polyfill: false },
		reportCompressedSize: false,
		rollupOptions: {
			output: { experimentalMinChunkSize: 6000, chunkFileNames: chunkName }, // small files compress worse
			onLog: (level, log, tell) => level === 'warn' && tell(level, log),
		},
	},
});
