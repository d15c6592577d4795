// SPDX-License-Identifier: Apache-2.0
// A run of the tool on the console's machine, looked at for as long as the part of the page that shows it is there.
import { useEffect, useRef, useState } from 'preact/hooks';
import { runTool } from '../wizard_facts.js';

// → { run (as it is now), busy, error, start(what) }; another start takes the place of the one before.
export function useTool() {
	const [state, set] = useState({});
	const now = useRef(null);
	useEffect(
		() => () => {
			now.current = null;
		},
		[],
	);
	async function start(what) {
		const own = {};
		now.current = own;
		const say = next => now.current === own && set(next);
		say({ busy: true });
		await runTool(
			what,
			run => say({ run, busy: !run.done }),
			() => now.current !== own,
		).catch(error => say({ error }));
	}
	return { ...state, start };
}
