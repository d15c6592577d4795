// SPDX-License-Identifier: Apache-2.0
// What stands alone in the window, without the frame of the pages: login and set-up.
import { Choices } from './choices.jsx';

export const Alone = ({ title, wide, children }) => (
	<main class="alone" id="main">
		<div class={wide ? 'card wide' : 'card'}>
			<div class="bar">
				<h1>
					<img src="/icon.svg" alt="" width="28" height="28" />
					{title}
				</h1>
				<span class="grow" />
				<Choices />
			</div>
			{children}
		</div>
	</main>
);
