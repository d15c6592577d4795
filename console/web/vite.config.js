// SPDX-License-Identifier: Apache-2.0
// How the bundle is made. esbuild turns JSX into calls of Preact, terser makes it small (compressed 3 % smaller than by
// esbuild), so there is no Babel and no plug-in but our own, which turns the manual's Markdown into trees
// (build/manual.mjs). Nothing is ever inlined as a data: URL or a script in the page: the console's
// Content-Security-Policy forbids both.
import { defineConfig } from 'vite';
import { manual } from './build/manual.mjs';
import { words } from './build/words.mjs';

// All code in one file but the manual, and the words of one language in another: so they compress best, and a
// page that is opened for the first time asks for nothing. The names are those by which the test of the size knows them.
function chunkOf(id) {
	const words = /\/src\/lang\/(?:[a-z]+\.)?([a-z]{2})\.json/.exec(id);
	if (words) return `words-${words[1]}`;
	const said = /\/src\/said\/([a-z]{2})\.json/.exec(id);
	if (said) return `said-${said[1]}`; // fetched when a page shows what a service said
	if (id.startsWith('\0virtual:')) return undefined; // topics of the manual
	return 'console';
}

const chunkName = ({ facadeModuleId: id }) => `assets/${id?.startsWith('\0virtual:') ? 'manual-' : ''}[name]-[hash].js`;

export default defineConfig({
	esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
	plugins: [manual(), words()],
	json: { stringify: true },
	build: {
		target: 'es2022',
		minify: 'terser',
		terserOptions: { ecma: 2020, module: true, compress: { passes: 3, inline: 1 }, format: { wrap_func_args: false } },
		assetsInlineLimit: 0,
		modulePreload: { polyfill: false },
		reportCompressedSize: false,
		rollupOptions: {
			output: { manualChunks: chunkOf, chunkFileNames: chunkName },
			onLog: (level, log, tell) => level === 'warn' && tell(level, log),
		},
	},
});
