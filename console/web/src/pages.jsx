// SPDX-License-Identifier: Apache-2.0
//
// The pages: one file in pages/ and one row here. The row's path is the address, the name of the file, of its words
// (lang/PATH.en.json …) and of its topic in docs/manual; its title a message, its role the lowest that sees it in the
// navigation (the API judges for itself).
const ROWS = [
	{ path: 'overview', title: 'nav.overview', icon: 'overview', role: 'viewer' },
	{ path: 'turn', title: 'nav.turn', icon: 'turn', role: 'viewer' },
	{ path: 'tunnel', title: 'nav.tunnel', icon: 'tunnel', role: 'viewer' },
	{ path: 'agent', title: 'nav.agent', icon: 'agent', role: 'viewer' },
	{ path: 'relay', title: 'nav.relay', icon: 'relay', role: 'viewer' },
	{ path: 'sip', title: 'nav.sip', icon: 'sip', role: 'viewer' },
	{ path: 'diagnosis', title: 'nav.diagnosis', icon: 'diagnosis', role: 'operator' },
	{ path: 'configuration', title: 'nav.configuration', icon: 'configuration', role: 'operator' },
	{ path: 'settings', title: 'nav.settings', icon: 'settings', role: 'viewer' },
	{ path: 'audit', title: 'nav.audit', icon: 'audit', role: 'administrator' },
];

const files = import.meta.glob(['./pages/*.jsx', '!./pages/*_*.jsx']); // a part of a page has a _ in its name

export const PAGES = ROWS.filter(p => files[`./pages/${p.path}.jsx`]).map(p => ({ ...p, load: files[`./pages/${p.path}.jsx`] }));
