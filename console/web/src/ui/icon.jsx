// SPDX-License-Identifier: Apache-2.0
// Icons as strokes on a 24 by 24 grid. They never stand alone for a reader: the words are beside them or in a label.
const PATHS = {
	overview: 'M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-3H4zM14 4h6v3h-6z',
	configuration: 'M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4',
	settings: 'M12 9a3 3 0 100 6 3 3 0 000-6zM12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.2 2.2M16.2 16.2l2.2 2.2M18.4 5.6l-2.2 2.2M7.8 16.2l-2.2 2.2',
	turn: 'M4 9h13l-4-4M20 15H7l4 4',
	tunnel: 'M3 19h18M5 19v-6a7 7 0 0114 0v6M9 19v-5a3 3 0 016 0v5',
	agent: 'M5 5h14v10H5zM9 19h6M12 15v4',
	relay: 'M3 12h5M16 12h5M12 8a4 4 0 100 8 4 4 0 000-8z',
	sip: 'M6 4h3l2 5-2.5 1.5a10 10 0 005 5L15 13l5 2v3a2 2 0 01-2 2A15 15 0 014 6a2 2 0 012-2z',
	diagnosis: 'M3 12h4l3-8 4 16 3-8h4',
	audit: 'M6 4h9l4 4v12H6zM15 4v4h4M9 12h7M9 16h5',
	globe: 'M12 3a9 9 0 100 18 9 9 0 000-18zM3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18',
	theme: 'M12 3a9 9 0 000 18zM12 3a9 9 0 010 18',
	help: 'M12 3a9 9 0 100 18 9 9 0 000-18zM9.5 9.5a2.5 2.5 0 113.5 2.3c-.7.3-1 .8-1 1.7M12 16.6v.2',
	user: 'M12 4a4 4 0 100 8 4 4 0 000-8zM4 20c1-4 4-5.5 8-5.5s7 1.5 8 5.5',
	menu: 'M4 6h16M4 12h16M4 18h16',
	close: 'M6 6l12 12M18 6L6 18',
	ok: 'M5 12.5l4.5 4.5L19 7.5',
	warning: 'M12 4L2.5 20h19zM12 10v4.5M12 17.2v.2',
	failed: 'M12 3a9 9 0 100 18 9 9 0 000-18zM9 9l6 6M15 9l-6 6',
	lock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 017 0v3',
	start: 'M8 5l11 7-11 7z',
	stop: 'M6.5 6.5h11v11h-11z',
	restart: 'M19 12a7 7 0 11-2-5M17 3v4h-4',
	drain: 'M5 5h14l-5 7v6l-4 2v-8z',
	reload: 'M5 12a7 7 0 0112-5l2 2M19 12a7 7 0 01-12 5l-2-2M19 5v4h-4M5 19v-4h4',
	more: 'M5 12h.01M12 12h.01M19 12h.01',
	up: 'M6 15l6-6 6 6',
	down: 'M6 9l6 6 6-6',
	search: 'M11 4a7 7 0 100 14 7 7 0 000-14zM16 16l4 4',
};

export function Icon({ name }) {
	return (
		<svg class={`i i-${name}`} viewBox="0 0 24 24" width="20" height="20" aria-hidden="true" focusable="false">
			<path d={PATHS[name]} />
		</svg>
	);
}
