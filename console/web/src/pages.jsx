// SPDX-License-Identifier: Apache-2.0
//
// The pages: one file in pages/ and one row here. The row's path is the address, its title a message, its help the
// topic of docs/manual, its role the lowest that sees it in the navigation (the API judges for itself).
export const PAGES = [
	{
		path: 'overview',
		title: 'nav.overview',
		icon: 'overview',
		help: 'overview',
		role: 'viewer',
		load: () => import('./pages/overview.jsx'),
	},
	{
		path: 'configuration',
		title: 'nav.configuration',
		icon: 'settings',
		help: 'configuration',
		role: 'viewer',
		load: () => import('./pages/configuration.jsx'),
	},
	{ path: 'audit', title: 'nav.audit', icon: 'audit', help: 'audit', role: 'administrator', load: () => import('./pages/audit.jsx') },
];
