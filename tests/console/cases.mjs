// SPDX-License-Identifier: Apache-2.0
// Cases with sentences, printed as cmocka prints them, so that tools/summary counts them: as world.py of tests/admin.
const cases = [];

export const test = (sentence, fn) => cases.push({ sentence, fn });

export class Failed extends Error {}

export function equal(got, wanted, what) {
	const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
	if (a !== b) throw new Failed(`${what}: ${a}, wanted ${b}`);
}

export function holds(condition, what) {
	if (!condition) throw new Failed(what);
}

// Runs them in order; argv[2] chooses by a part of the sentence. The process ends with 1 if one failed.
export async function main(around = fn => fn()) {
	let failed = 0;
	for (const { sentence, fn } of cases.filter(c => c.sentence.includes(process.argv[2] ?? ''))) {
		const began = Date.now();
		let why = '';
		try {
			await around(fn, sentence);
		} catch (e) {
			why = e instanceof Failed ? e.message : e.stack;
			failed++;
		}
		console.log(`[${why ? '  FAILED  ' : '       OK '}] ${sentence}`);
		if (why) console.log(why);
		if (Date.now() - began > 5000) console.log(`  (${((Date.now() - began) / 1000).toFixed(1)} s)`);
	}
	process.exitCode = failed ? 1 : 0;
}
