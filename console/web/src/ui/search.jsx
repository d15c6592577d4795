// SPDX-License-Identifier: Apache-2.0
// A field that narrows what is shown below it while one types.
import { Icon } from './icon.jsx';

export const Search = ({ label, placeholder, value, onInput }) => (
	<div class="search">
		<Icon name="search" />
		<input type="search" aria-label={label} placeholder={placeholder} value={value} onInput={e => onInput(e.currentTarget.value)} />
	</div>
);
