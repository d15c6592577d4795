// SPDX-License-Identifier: Apache-2.0
//
// A dialog in which one thing is made or changed. Its fields are data: { path, label, hint, type, choices, unit, min, max,
// default, required, listen, transport (or transport(values)), fixed, locked, show(values), kept, after(values, type) }; what is not
// shown because of another value is not there either, unless it is `kept`; `after` is what stands below the field, which may type(path, text) for the reader. A secret that is set is not shown; nothing typed
// leaves it as it is (null, as of textOf), unless it is required. What the service refuses stands beside its
// field; what somebody else changed meanwhile is shown beside what was typed: shape(body) is the store's body as the form
// has it, where the two differ.
import { Fragment } from 'preact';
import { useState } from 'preact/hooks';
import { t } from '../i18n.js';
import { beside } from '../said.js';
import { Conflict } from './conflict.jsx';
import { Dialog } from './dialog.jsx';
import { ErrorBox } from './errors.jsx';
import { judge } from './judge.js';
import { isSecret, MASK, textOf, valueOf } from './value.js';
import { ValueField } from './value_field.jsx';

const inside = (body, path) => path.split('.').reduce((v, name) => v?.[name], body);
const rowOf = (f, texts) => ({ ...f, list: f.list ?? f.type === 'list', transport: texts && f.transport?.call ? f.transport(texts) : f.transport });

const hasSecret = (f, body) => isSecret(f) && !f.required && inside(body, f.path) === MASK;

function textsOf(fields, body) {
	const textOfField = f => textOf(rowOf(f), inside(body, f.path) ?? (body ? undefined : f.default)) ?? (hasSecret(f, body) ? null : '');
	return Object.fromEntries(fields.map(f => [f.path, textOfField(f)]));
}

function put(body, path, value) {
	const names = path.split('.');
	const last = names.pop();
	let at = body;
	for (const name of names) at = at[name] = { ...at[name] };
	if (value === undefined) delete at[last];
	else at[last] = value;
}

const isShown = (f, texts) => f.show?.(texts) ?? true;

// What the form does not know stays as it was. An empty text is a value that is not there.
function bodyOf(fields, texts, before) {
	const body = { ...before };
	for (const f of fields) if (!isShown(f, texts) && !f.kept) put(body, f.path, undefined);
	for (const f of fields.filter(x => isShown(x, texts))) {
		const text = texts[f.path];
		if (text !== null) put(body, f.path, text.trim() ? valueOf(rowOf(f), text) : undefined);
	}
	return body;
}

// What was refused, beside the field that it names; rest: not all of it names one of them.
export function errorsOf(fields, e) {
	const list = e.fields ?? (e.field ? [{ path: e.field, text: e.message }] : []);
	const keyOf = path => fields.find(f => path === f.path || path?.startsWith(`${f.path}[`))?.path; // of an item of a list: beside the list
	const own = list.filter(x => keyOf(x.path));
	return { beside: Object.fromEntries(own.map(x => [keyOf(x.path), x.text])), rest: own.length === 0 || own.length < list.length };
}

// A long form: where the first reason stands.
const toFirstBad = () => setTimeout(() => document.querySelector('dialog [aria-invalid]')?.focus());

function useForm({ fields, value, revision, save, done, shape = body => body }) {
	const [before, setBefore] = useState({ body: value, revision });
	const [texts, setTexts] = useState(textsOf(fields, value));
	const [errors, setErrors] = useState({});
	const [failed, setFailed] = useState(null);
	const [busy, setBusy] = useState(false);
	const [conflict, setConflict] = useState(null);
	const shown = fields.filter(f => isShown(f, texts));

	async function send(at) {
		setBusy(true);
		setFailed(null);
		try {
			await save(bodyOf(fields, texts, before.body), at);
			done();
		} catch (e) {
			setBusy(false);
			const taken = e.code === 'exists' && before.body === null; // a name that somebody has is no conflict
			if (e.theirs && !taken) return setConflict({ ...e.theirs, body: e.theirs.body && shape(e.theirs.body) });
			const { beside, rest } = errorsOf(shown, e);
			setErrors(beside);
			if (rest) setFailed(e);
			else toFirstBad();
		}
	}
	function submit() {
		const bad = shown.map(f => [f.path, f.locked ? undefined : judge(f, texts[f.path], texts)]).filter(([, why]) => why);
		setErrors(Object.fromEntries(bad));
		if (bad.length) toFirstBad();
		else send(before.revision);
	}
	function type(path, text) {
		setTexts(was => ({ ...was, [path]: text }));
		setErrors(was => ({ ...was, [path]: undefined }));
	}
	function takeTheirs() {
		setBefore(conflict);
		setTexts(textsOf(fields, conflict.body));
		setConflict(null);
	}
	function keepMine() {
		setConflict(null);
		send(conflict.revision ?? 0);
	}
	const mine = () => bodyOf(fields, texts, before.body);
	const secretIsSet = f => hasSecret(f, before.body);
	return { shown, texts, errors, secretIsSet, failed, busy, conflict, submit, type, takeTheirs, keepMine, mine, leave: () => setConflict(null) };
}

// A secret that is set: away with it, or back from what was done here to what it was.
const OfSecret = ({ text, set }) => (
	<button type="button" onClick={() => set(text === null ? '' : null)}>
		{t(text === null ? 'secret.remove' : 'edit.undo')}
	</button>
);

export function ObjectForm({ title, fields, value = null, shape, revision, close, save, done, locked, help, action, children }) {
	const form = useForm({ fields, value, shape, revision, save, done: done ?? close });
	if (form.conflict)
		return (
			<Conflict
				mine={form.mine()}
				theirs={form.conflict.body ?? {}}
				who={form.conflict.who}
				keepMine={form.keepMine}
				takeTheirs={form.takeTheirs}
				close={form.leave}
			/>
		);
	return (
		<Dialog title={title} close={close} help={help}>
			<form
				noValidate
				onSubmit={e => {
					e.preventDefault();
					form.submit();
				}}>
				{form.failed && <ErrorBox error={form.failed} />}
				{children}
				{form.shown.map((f, i) => (
					<Fragment key={f.path}>
						<ValueField
							row={rowOf(f, form.texts)}
							label={t(f.label)}
							help={f.hint && t(f.hint)}
							text={form.texts[f.path]}
							onInput={text => form.type(f.path, text === '' && form.secretIsSet(f) ? null : text)}
							error={form.errors[f.path] && beside(form.errors[f.path], t(f.label), f.path)}
							locked={locked ?? f.locked}
							readOnly={f.fixed && value !== null}
							autofocus={i === 0}
							topic={f.topic}
						/>
						{!locked && form.secretIsSet(f) && <OfSecret text={form.texts[f.path]} set={text => form.type(f.path, text)} />}
						{!locked && f.after?.(form.texts, form.type)}
					</Fragment>
				))}
				<div class="bar actions">
					<span class="grow" />
					<button type="button" onClick={close}>
						{t('cancel')}
					</button>
					{!locked && (
						<button type="submit" class="main" disabled={form.busy}>
							{action ?? t('save')}
						</button>
					)}
				</div>
			</form>
		</Dialog>
	);
}
