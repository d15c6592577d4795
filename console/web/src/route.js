// SPDX-License-Identifier: Apache-2.0
// Which page: the address's fragment, "#/turn/sessions?user=x". A fragment never reaches the server.
import { computed, signal } from '@preact/signals';

const fragment = signal(location.hash);

addEventListener('hashchange', () => {
	fragment.value = location.hash;
});

export const route = computed(() => {
	const [path, query] = fragment.value.replace(/^#\/?/, '').split('?');
	return { path: path || 'overview', query: new URLSearchParams(query) };
});
export const go = path => {
	location.hash = `#/${path}`;
};
