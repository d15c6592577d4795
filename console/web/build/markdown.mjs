// SPDX-License-Identifier: Apache-2.0
//
// Markdown to a tree of plain values, as far as the manual uses it: headings, paragraphs, lists, code blocks,
// tables, emphasis, code, links between topics. It is not a Markdown library: what it does not know is an error,
// so that a page that would be shown wrongly is never built. The tree is rendered as elements, never as HTML text:
//   'text' | ['code', text] | ['strong' | 'em', …children] | ['a', target, …children]
//   ['p', …] | ['ul' | 'ol', [item…]…] | ['pre', text] | ['table', [head…], [[cell…]…]] | ['h2' | 'h3', anchor, …]

const SPANS = /`([^`]+)`|\*\*([^*]+)\*\*|(?<![\p{L}\p{N}])\*([^*\s][^*]*)\*|\[([^\]]+)\]\(([^)\s]+)\)/gu;

export function inline(text) {
	const out = [];
	let at = 0;
	for (const m of text.matchAll(SPANS)) {
		if (m.index > at) out.push(text.slice(at, m.index));
		at = m.index + m[0].length;
		if (m[1] !== undefined) out.push(['code', m[1]]);
		else if (m[2] !== undefined) out.push(['strong', ...inline(m[2])]);
		else if (m[3] !== undefined) out.push(['em', ...inline(m[3])]);
		else out.push(['a', m[5], ...inline(m[4])]);
	}
	if (at < text.length) out.push(text.slice(at));
	return out;
}

const cells = line =>
	line
		.trim()
		.replace(/^\||\|$/g, '')
		.split('|')
		.map(c => inline(c.trim()));
const starts = /^(#{1,6} |```|\||[-*] |\d+\. |\s*$)/;

function takeList(lines, i, mark) {
	const items = [];
	for (; i < lines.length && (mark.test(lines[i]) || /^ {2,}\S/.test(lines[i])); i++) {
		if (mark.test(lines[i])) items.push(lines[i].replace(mark, ''));
		else items[items.length - 1] += ' ' + lines[i].trim();
	}
	return [items.map(inline), i];
}

function takeTable(lines, i, where) {
	const head = cells(lines[i]);
	if (!/^\|[-| :]+\|?$/.test(lines[i + 1] ?? '')) throw new Error(`${where}:${i + 2}: a table needs a line of dashes under its head`);
	const rows = [];
	for (i += 2; i < lines.length && lines[i].startsWith('|'); i++) rows.push(cells(lines[i]));
	return [['table', head, rows], i];
}

function takeCode(lines, i, where) {
	const from = ++i;
	while (i < lines.length && !lines[i].startsWith('```')) i++;
	if (i === lines.length) throw new Error(`${where}:${from}: the code block does not end`);
	return [['pre', lines.slice(from, i).join('\n')], i + 1];
}

function heading(line, where, i) {
	const m = /^(#{2,3}) (.+?) \{#([a-z0-9-]+)\}$/.exec(line);
	if (!m) throw new Error(`${where}:${i + 1}: a heading is "## Words {#anchor}"; the anchor is the same in every language`);
	return [`h${m[1].length}`, m[3], ...inline(m[2])];
}

// The file's text as { title, body }. Its first line is "# Title".
export function parse(text, where) {
	const lines = text.split('\n');
	const title = /^# (.+)$/.exec(lines[0])?.[1];
	if (!title) throw new Error(`${where}:1: the first line is "# Title"`);
	const body = [];
	for (let i = 1; i < lines.length; ) {
		const line = lines[i];
		let block;
		if (!line.trim()) {
			i++;
			continue;
		}
		if (line.startsWith('#')) {
			body.push(heading(line, where, i++));
			continue;
		}
		if (line.startsWith('```')) [block, i] = takeCode(lines, i, where);
		else if (line.startsWith('|')) [block, i] = takeTable(lines, i, where);
		else if (/^[-*] /.test(line)) {
			const [items, next] = takeList(lines, i, /^[-*] /);
			block = ['ul', ...items];
			i = next;
		} else if (/^\d+\. /.test(line)) {
			const [items, next] = takeList(lines, i, /^\d+\. /);
			block = ['ol', ...items];
			i = next;
		} else {
			const from = i;
			while (i < lines.length && (i === from || !starts.test(lines[i]))) i++;
			block = [
				'p',
				...inline(
					lines
						.slice(from, i)
						.map(s => s.trim())
						.join(' '),
				),
			];
		}
		body.push(block);
	}
	return { title, body };
}
