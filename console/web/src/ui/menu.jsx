// SPDX-License-Identifier: Apache-2.0
// A button that opens a list of actions: arrow keys, Home, End, Esc; a click elsewhere closes it.
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Icon } from './icon.jsx';

function useOutside(ref, shown, close) {
	useEffect(() => {
		if (!shown) return undefined;
		const away = e => {
			if (!ref.current?.contains(e.target)) close();
		};
		addEventListener('pointerdown', away);
		addEventListener('focusin', away);
		return () => {
			removeEventListener('pointerdown', away);
			removeEventListener('focusin', away);
		};
	}, [shown]);
}

export function Menu({ icon, label, text, items }) {
	const [shown, show] = useState(false);
	const ref = useRef(null);
	const button = useRef(null);
	const id = useId();
	const entries = () => [...ref.current.querySelectorAll('[role^=menuitem]:not([aria-disabled=true])')];
	useOutside(ref, shown, () => show(false));
	// At once, so that the next key is the list's already.
	useLayoutEffect(() => {
		if (shown) (ref.current.querySelector('[aria-checked=true]') ?? entries()[0])?.focus();
	}, [shown]);

	function keys(e) {
		if (!shown) return;
		const all = entries();
		const at = all.indexOf(document.activeElement);
		const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[e.key];
		if (e.key === 'Escape') {
			show(false);
			button.current.focus();
		} else if (to !== undefined) all[(to + all.length) % all.length]?.focus();
		else return;
		e.preventDefault();
		e.stopPropagation();
	}
	const run = item => {
		show(false);
		button.current.focus();
		item.run();
	};
	return (
		<div class="menu" ref={ref} onKeyDown={keys}>
			<button
				type="button"
				ref={button}
				class={text ? '' : 'icon'}
				title={label}
				aria-label={label}
				aria-haspopup="menu"
				aria-expanded={shown}
				aria-controls={shown ? id : undefined}
				onClick={() => show(!shown)}>
				<Icon name={icon} />
				{text && <span class="name">{text}</span>}
			</button>
			{shown && (
				<div id={id} role="menu" aria-label={label}>
					{items.map(item =>
						item.note ? (
							<div key={item.name} class="note" role="presentation">
								{item.name}
							</div>
						) : (
							<button
								key={item.name}
								type="button"
								role={item.checked === undefined ? 'menuitem' : 'menuitemradio'}
								lang={item.lang}
								aria-checked={item.checked}
								tabIndex={-1}
								onClick={() => run(item)}>
								{item.icon && <Icon name={item.icon} />}
								{item.name}
								{item.checked && <Icon name="ok" />}
							</button>
						),
					)}
				</div>
			)}
		</div>
	);
}
