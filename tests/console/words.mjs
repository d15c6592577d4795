// SPDX-License-Identifier: Apache-2.0
//
// The words of the console without a browser: catalogues in three languages that are complete and say the same, the manual in three
// languages with a topic for whatever asks for one, terms as docs/glossary.md has them, and what may not be in the sources.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readGuides } from '../../console/web/build/guides.mjs';
import { inline, parse } from '../../console/web/build/markdown.mjs';
import { languages, read } from '../../console/web/build/manual.mjs';
import { Failed, equal, holds, main, test } from './cases.mjs';
import { codesOfReference, formsOfSources, helpsOfReference } from './said.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const web = join(root, 'console/web');
const files = folder => readdirSync(folder, { recursive: true }).map(String);
// lang/en.json: the frame's; lang/PAGE.en.json: those of a page, each beginning with "PAGE.".
const catalogues = files(join(web, 'src/lang')).map(f => {
	const [, page = '', language] = f.match(/^(?:([a-z]+)\.)?([a-z]{2})\.json$/) ?? [];
	return { f, page, language, words: JSON.parse(readFileSync(join(web, 'src/lang', f), 'utf8')) };
});
const words = Object.fromEntries(languages.map(l => [l, Object.assign({}, ...catalogues.filter(c => c.language === l).map(c => c.words))]));
const sources = files(join(web, 'src'))
	.filter(f => /\.jsx?$/.test(f))
	.map(f => ({ f, text: readFileSync(join(web, 'src', f), 'utf8') }));
const code = sources.map(s => s.text).join('\n');

const texts = m => (typeof m === 'string' ? [m] : Object.values(m));
const names = m => [...new Set(texts(m).flatMap(x => [...x.matchAll(/\{(\w+)\}/g)].map(y => y[1])))].sort();
const bad = list => {
	if (list.length) throw new Failed(list.join('\n'));
};

// What the sources ask for: t('key') as it is, t(`part.${x}`) as everything that begins so; in data, whose words are looked
// up when it is shown, a key is a text with a dot.
const literal = new Set(
	[
		...code.matchAll(/(?:\bt|either|has)\(\s*'([^']+)'/g),
		...code.matchAll(/\b(?:title|label|hint|ask|text|done|none|word)(?:: |=)["']([a-z0-9_-]+(?:\.[a-z0-9_-]+)+)["']/g),
		...code.matchAll(/\bt\([^()'`]*\? '([a-z0-9_.]+)' : '([a-z0-9_.]+)'/g),
		...code.matchAll(/\bt\([^()']*'\w+' \? '([a-z0-9_.]+)' : '([a-z0-9_.]+)'/g),
	].flatMap(m => m.slice(1)),
);
const prefixes = [...code.matchAll(/(?:(?:\bt|either|has)\(|\bword=\{)\s*`([^`$]+)\$\{/g)].map(m => m[1]);
// Words for a service's codes (ui/reason.jsx, ui/errors.jsx) are asked for by what the service says.
const ofReason = /^(?:[a-z]+\.)?reason\./;
const named = k => literal.has(k) || ofReason.test(k) || code.includes(`'${k}'`) || code.includes(`"${k}"`);
const begun = [...prefixes, ...[...code.matchAll(/`([a-z_-]+\.(?:[a-z_-]+\.)*)\$\{/g)].map(m => m[1])];

test('The catalogues have the same keys, with the same names to fill in', () => {
	bad(catalogues.filter(c => !languages.includes(c.language)).map(c => `${c.f} is no catalogue`));
	for (const c of catalogues) {
		equal(Object.keys(c.words), Object.keys(catalogues.find(x => x.page === c.page && x.language === 'en').words), `keys of ${c.f}`);
		bad(c.page ? Object.keys(c.words).filter(k => !k.startsWith(`${c.page}.`)).map(k => `${c.f}: ${k} does not begin with ${c.page}.`) : []);
	}
	for (const l of languages) {
		for (const k of Object.keys(words.en)) equal(names(words[l][k]), names(words.en[k]), `{names} of ${k} in ${l}.json`);
	}
});

test('A plural has the forms that its language needs', () => {
	for (const l of languages) {
		// "many" is for 1,000,000 written as words ("un milione di"); numbers are written in digits here.
		const needed = new Intl.PluralRules(l)
			.resolvedOptions()
			.pluralCategories.filter(c => c !== 'many')
			.sort();
		for (const [k, m] of Object.entries(words[l])) {
			equal(typeof m, typeof words.en[k], `${k} in ${l}.json is a plural or not`);
			if (typeof m === 'object') equal(Object.keys(m).sort(), needed, `forms of ${k} in ${l}.json`);
		}
	}
});

// Words that are the same in another language; a line for each page.
const ALIKE = [
	'account|cores|filter|language|off|on|no|password|theme|user|login\\.code|rate\\.\\w+|role\\.administrator|service\\.(gateway|console)|unit\\.\\w+',
	'wizard\\.(domain|step\\.(tests|account|opens)|opens\\.\\w+)',
	'settings\\.name',
	'sip\\.(domain|gateway|live|name|port|rate|sha256|user\\.hint|file|password)',
	'tunnel\\.(col\\.(agent|code|host|keepalive_ms|name|ports?|program|route|server|udp|url|version)|origin\\.\\w+|sockets|test|by\\.password|state\\.info)|agent\\.servers',
	'turn\\.(client|code|realms?|server|transport|cert\\.file)',
];

test('No message is empty, and none was left in English', () => {
	const alike = new RegExp(`^(${ALIKE.join('|')})$`);
	bad(
		languages.flatMap(l =>
			Object.entries(words[l]).flatMap(([k, m]) => [
				...texts(m)
					.filter(x => !x.trim() || x !== x.trim())
					.map(() => `${l}.json: ${k} is empty or has blanks around it`),
				...(l !== 'en' && JSON.stringify(m) === JSON.stringify(words.en[k]) && !alike.test(k)
					? [`${l}.json: ${k} is as in English`]
					: []),
			]),
		),
	);
});

test('Each message that the sources ask for is there, and each that is there is asked for', () => {
	bad([
		...[...literal].filter(k => !(k in words.en)).map(k => `asked for and missing: ${k}`),
		...prefixes.filter(p => !ofReason.test(p) && !Object.keys(words.en).some(k => k.startsWith(p))).map(p => `nothing begins with ${p}`),
		...Object.keys(words.en)
			.filter(k => !named(k) && !begun.some(p => k.startsWith(p)))
			.map(k => `nobody asks for ${k}`),
	]);
});

// "Kanal*/Kanäle*" → a test for any of the forms.
const pattern = forms =>
	new RegExp(
		forms
			.split('/')
			.map(f => f.trim().replace(/[.]/g, '\\.').replace(/\*/g, '\\p{L}*'))
			.join('|'),
		'iu',
	);

function glossary() {
	const table = parse(readFileSync(join(root, 'docs/glossary.md'), 'utf8'), 'docs/glossary.md').body.find(b => b[0] === 'table');
	const rows = table[2].map(r => r.map(c => c.join('')));
	holds(rows.length > 20, 'the glossary has its table');
	return rows;
}

test('Terms are those of docs/glossary.md', () => {
	const rows = glossary();
	const wrong = [];
	for (const [en, de, it] of rows) {
		const term = new RegExp(`\\b${en}(s|es)?\\b`, 'i');
		for (const [k, m] of Object.entries(words.en)) {
			if (!texts(m).some(x => term.test(x.replace(/\{\w+\}/g, '')))) continue;
			for (const [l, forms] of [
				['de', de],
				['it', it],
			]) {
				if (!texts(words[l][k]).some(x => pattern(forms).test(x)))
					wrong.push(`${l}.json: ${k} says "${en}" in English; the glossary has ${forms}`);
			}
		}
	}
	bad(wrong);
});

const anchors = page => page.body.filter(b => /^h\d$/.test(b[0])).map(b => b[1]);
const links = n => (Array.isArray(n) ? [...(n[0] === 'a' ? [n[1]] : []), ...n.flatMap(links)] : []);

test('The manual has the same topics and headings in three languages, and its links lead somewhere', () => {
	const manual = Object.fromEntries(languages.map(l => [l, read(l)]));
	for (const l of languages) {
		equal(Object.keys(manual[l]), Object.keys(manual.en), `topics in ${l}`);
		for (const [topic, page] of Object.entries(manual[l])) {
			equal(anchors(page), anchors(manual.en[topic]), `headings of ${topic} in ${l}`);
			equal(
				page.body.map(b => b[0]),
				manual.en[topic].body.map(b => b[0]),
				`blocks of ${topic} in ${l}`,
			);
			for (const to of links(page.body))
				holds(manual[l][to.split('/')[0]] ?? readGuides(l)[to.split('/')[0]], `${l}/${topic}: the link to ${to} leads nowhere`);
		}
	}
});

const said = Object.fromEntries(languages.filter(l => l !== 'en').map(l => [l, JSON.parse(readFileSync(join(web, `src/said/${l}.json`), 'utf8'))]));

test('What services say has its words in the other languages: help of each key, units, refusals', () => {
	const { helps, units } = helpsOfReference(root);
	const forms = formsOfSources(root);
	holds(helps.size > 200 && units.size > 10 && forms.size > 200, 'what services say was found');
	for (const [l, own] of Object.entries(said)) {
		const keys = Object.keys(own);
		// A form is also known by the sentences that it becomes: "must {0} one of {1}" by "must be one of {0}".
		const becomes = form => {
			const any = new RegExp(`^${form.split(/\{\d\}/).map(x => x.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.*')}$`);
			return keys.some(k => any.test(k));
		};
		bad([
			...[...helps, ...units].filter(x => !(x in own)).map(x => `said/${l}.json: nothing for "${x}"`),
			...[...forms].filter(([form]) => !(form in own) && !becomes(form)).map(([form, f]) => `said/${l}.json: nothing for "${form}" of ${f}`),
		]);
		bad(keys.filter(k => !own[k].trim() || (own[k] === k && /\w \w/.test(k))).map(k => `said/${l}.json: "${k}" has no words of its own`));
		for (const k of keys) {
			const lost = [...k.matchAll(/\{\d\}/g)].map(m => m[0]).filter(g => !own[k].includes(g));
			// The kind of a thing ("key", "section"), a line of a list that the console has made, and the English plural are left out.
			const extra = [...own[k].matchAll(/\{\d\}/g)].map(m => m[0]).filter(g => !k.includes(g));
			if (extra.length) throw new Failed(`said/${l}.json: ${extra} is no value of "${k}"`);
			if (lost.length && !/^unknown \{0\}|in line \{\d\}|day\{\d\}/.test(k)) throw new Failed(`said/${l}.json: ${lost} is lost in "${own[k]}"`);
		}
	}
	equal(Object.keys(said.it), Object.keys(said.de), 'keys of said/it.json');
});

test('What services say uses the terms of the glossary', () => {
	const wrong = [];
	for (const [en, ...forms] of glossary()) {
		const term = new RegExp(`\\b${en}(s|es)?\\b`, 'i');
		for (const [i, l] of ['de', 'it'].entries())
			for (const [k, m] of Object.entries(said[l]))
				if (term.test(k.replace(/"[^"]*"|`[^`]*`|stile [a-z]+ .*?(?=[.,;:]|$)|[\w@-]*[._:][\w.:-]+|stile-\w+|Service-Route|for instance|@instance/g, '')) && !pattern(forms[i]).test(m)) wrong.push(`said/${l}.json: "${k}" has "${en}"; the glossary has ${forms[i]}`);
	}
	bad(wrong);
});

// Codes whose sentence says it all: it stands behind the words of "failed".
const PLAIN = ['bad-backup', 'cancelled', 'conflict', 'ended', 'newer-version', 'no-answer', 'not-connected', 'not-logged-in', 'not-writable', 'running', 'stopping', 'too-long', 'totp-needed', 'unknown-verb', 'unsupported'];

test('Each error code of the catalogue has its words', () => {
	bad(codesOfReference(root).filter(c => !(`error.${c}` in words.en) && !PLAIN.includes(c)).map(c => `no error.${c}`));
});

// What a reader is told in words: text without code.
const told = n => (typeof n === 'string' ? n : n[0] === 'code' ? '' : n.slice(n[0] === 'a' ? 2 : 1).map(told).join(' '));
const spans = list => list.map(told).join(' ');
const SPOKEN = {
	pre: () => '',
	table: b => [...b[1], ...b[2].flat()].map(spans).join('\n'),
	ul: b => b.slice(1).map(spans).join('\n'),
	ol: b => b.slice(1).map(spans).join('\n'),
	p: b => spans(b.slice(1)),
	h2: b => spans(b.slice(2)),
	h3: b => spans(b.slice(2)),
};
const spoken = page => [page.title, ...page.body.map(b => SPOKEN[b[0]](b))].join('\n');

test('The guides have the same headings, blocks and links in three languages, and the terms of the glossary', () => {
	const guides = Object.fromEntries(languages.map(l => [l, readGuides(l)]));
	const known = topic => read('en')[topic] ?? guides.en[topic];
	holds(Object.keys(guides.en).length >= 10, 'the guides were found');
	equal(Object.keys(guides.en).filter(topic => read('en')[topic]), [], 'topics that are both manual and guide');
	const wrong = [];
	for (const l of languages) {
		equal(Object.keys(guides[l]), Object.keys(guides.en), `guides in ${l}`);
		for (const [topic, page] of Object.entries(guides[l])) {
			const english = guides.en[topic];
			equal(anchors(page), anchors(english), `headings of ${topic} in ${l}`);
			equal(
				page.body.map(b => b[0]),
				english.body.map(b => b[0]),
				`blocks of ${topic} in ${l}`,
			);
			equal(links(page.body), links(english.body), `links of ${topic} in ${l}`);
			for (const to of links(page.body)) {
				const [name, anchor] = to.split('/');
				holds(known(name) && (!anchor || anchors(known(name)).includes(anchor)), `${l}/${topic}: the link to ${to} leads nowhere`);
			}
		}
	}
	for (const [en, ...forms] of glossary())
		for (const [topic, page] of Object.entries(guides.en))
			if (new RegExp(`\\b${en}(s|es)?\\b`, 'i').test(spoken(page)))
				for (const [i, l] of ['de', 'it'].entries())
					if (!pattern(forms[i]).test(spoken(guides[l][topic]))) wrong.push(`${l}/${topic}: no "${forms[i]}" for "${en}"`);
	bad(wrong);
});

test('Each place that has help has its topic in the manual', () => {
	const manual = read('en');
	const asked = [...code.matchAll(/(?:data-help=|help=|topic=|help: )["']([a-z/-]+)["']/g)].map(m => m[1]);
	asked.push(...[...code.matchAll(/\{ path: '([a-z]+)', title: 'nav\./g)].map(m => m[1]).filter(p => sources.some(x => x.f === `pages/${p}.jsx`)));
	holds(asked.length > 8, 'places with help were found');
	bad(
		[...new Set(asked)]
			.filter(a => {
				const [topic, anchor] = a.split('/');
				return !manual[topic] || (anchor && !anchors(manual[topic]).includes(anchor));
			})
			.map(a => `no topic ${a}`),
	);
});

test('Each item of service.health has its headline', () => {
	const rows = readFileSync(join(root, 'common/health.c'), 'utf8').matchAll(/\[HEALTH_\w+\]\s*= \{ "([a-z-]+)"/g);
	const ids = [...rows].map(m => m[1]);
	holds(ids.length > 10, 'the rows of common/health.c were found');
	bad(ids.filter(id => !(`warning.${id}` in words.en)).map(id => `no warning.${id}`));
	bad(Object.keys(words.en).filter(k => k.startsWith('warning.') && !ids.includes(k.slice(8))).map(k => `${k} is no item of common/health.c`));
});

test('Words that a reader sees stand in the catalogues, not in the sources', () => {
	bad(
		sources.flatMap(({ f, text }) =>
			[...text.matchAll(/<(\w+)[^<>{}]*>([^<>{}=();]*\p{L}{3}[^<>{}=();]*)<\/\1>/gu)].map(m => `${f}: "${m[2].trim()}"`),
		),
	);
});

test('Nothing makes HTML out of text, runs text, or asks another host', () => {
	bad(
		sources.flatMap(({ f, text }) =>
			[
				...text.matchAll(
					/dangerouslySetInnerHTML|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?:\/\//g,
				),
			].map(m => `${f}: ${m[0]}`),
		),
	);
});

test('The lock file names packages and hashes, and no host', () => {
	const lock = readFileSync(join(web, 'package-lock.json'), 'utf8');
	holds(!/"resolved"|:\/\//.test(lock), 'package-lock.json names a host: make it with tools/install-web --lock');
	const { packages } = JSON.parse(lock);
	bad(
		Object.entries(packages)
			.filter(([k, p]) => k && !p.integrity)
			.map(([k]) => `${k} has no hash`),
	);
	const own = JSON.parse(readFileSync(join(web, 'package.json'), 'utf8'));
	bad(
		Object.entries({ ...own.dependencies, ...own.devDependencies })
			.filter(([, v]) => !/^\d+\.\d+\.\d+$/.test(v))
			.map(([k, v]) => `${k}: ${v} is not one version`),
	);
});

test('Markdown that the manual may use becomes what it says', () => {
	equal(
		inline('a `b*` **c d** *e* [f g](h/i)!'),
		['a ', ['code', 'b*'], ' ', ['strong', 'c d'], ' ', ['em', 'e'], ' ', ['a', 'h/i', 'f g'], '!'],
		'inline',
	);
	equal(
		parse('# T\n\n## H {#x}\na\nb\n\n- c\n  d\n- e\n\n```\nx < y\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n', 'x').body,
		[
			['h2', 'x', 'H'],
			['p', 'a b'],
			['ul', ['c d'], ['e']],
			['pre', 'x < y'],
			['table', [['a'], ['b']], [[['1'], ['2']]]],
		],
		'blocks',
	);
	for (const wrong of ['no title', '# T\n## no anchor', '# T\n```\nopen', '# T\n| a |\n| b |']) {
		let said = '';
		try {
			parse(wrong, 'f.md');
		} catch (e) {
			said = e.message;
		}
		holds(/^f\.md:\d+: /.test(said), `${JSON.stringify(wrong)} is refused with its line`);
	}
});

test('Each guide is a file of its own, fetched when it is opened', () => {
	const dist = files(join(process.env.STILE_BUILD, 'console/web/web_bundle.c.p/dist/assets'));
	for (const topic of Object.keys(readGuides('en')))
		equal(dist.filter(f => f.startsWith(`manual-${topic}-`)).length, languages.length, `files of the guide ${topic}`);
});

test('The bundle for one language is below 80 KB, compressed', () => {
	// A row of the bundle as it is embedded: path, type, ETag, data and its length, the same gzipped.
	const bundle = readFileSync(join(process.env.STILE_BUILD, 'console/web/web_bundle.c'), 'utf8');
	const sizes = [...bundle.matchAll(/^\t\{ "([^"]+)", .*?, data_\d+, (\d+), (?:gz_\d+|NULL), (\d+), \w+ \},$/gm)].map(
		([, f, plain, gz]) => ({ f, gz: Number(gz) || Number(plain) }),
	);
	holds(sizes.length > 10, 'the files of the bundle');
	// What is fetched when somebody asks for it is no part of it: the manual, and the words for what services say (src/said).
	const sum = (...not) => sizes.filter(({ f }) => !not.some(n => f.includes(n))).reduce((n, x) => n + x.gz, 0);
	const all = Math.max(...languages.map(l => sum('manual-', 'said-', ...languages.filter(o => o !== l).map(o => `words-${o}`))));
	console.log(`${all} bytes; all languages, the manual and what services say: ${sum()}`);
	holds(all < 80_000, `${all} bytes:\n${sizes.map(x => `${x.f} ${x.gz}`).join('\n')}`);
});

await main();
