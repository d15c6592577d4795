// SPDX-License-Identifier: Apache-2.0
// Light, dark, or as the system has it. style.css does the rest by color-scheme.
import { computed, effect, signal } from '@preact/signals';

const system = matchMedia('(prefers-color-scheme: dark)');
const systemDark = signal(system.matches);

system.addEventListener('change', e => {
	systemDark.value = e.matches;
});
export const theme = signal(localStorage.getItem('stile.theme') ?? 'auto');
export const dark = computed(() => (theme.value === 'auto' ? systemDark.value : theme.value === 'dark'));

effect(() => {
	localStorage.setItem('stile.theme', theme.value);
	document.documentElement.dataset.theme = dark.value ? 'dark' : 'light';
});
