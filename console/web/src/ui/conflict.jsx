// SPDX-License-Identifier: Apache-2.0
//
// Two administrators changed the same thing: both versions side by side, differing lines marked, and a choice. The
// second save goes out with the revision that is shown here, so a third change in between is a conflict again.
import { t } from '../i18n.js';
import { Dialog } from './dialog.jsx';
import { PlainTable } from './plain_table.jsx';

const shown = v => (v === undefined || v === null ? '–' : typeof v === 'object' ? JSON.stringify(v) : String(v));

export function Conflict({ mine, theirs, who, keepMine, takeTheirs, close }) {
	const keys = [...new Set([...Object.keys(theirs), ...Object.keys(mine)])];
	return (
		<Dialog
			title={t('conflict')}
			close={close}
			wide
			help="changes/conflict"
			actions={
				<>
					<button type="button" onClick={close}>
						{t('cancel')}
					</button>
					<button type="button" onClick={takeTheirs}>
						{t('conflict.theirs')}
					</button>
					<button type="button" class="main" onClick={keepMine}>
						{t('conflict.mine')}
					</button>
				</>
			}>
			<p>{who ? t('conflict.who', { who }) : t('conflict.text')}</p>
			<div class="scroll" tabIndex={0} role="region" aria-label={t('conflict')}>
				<PlainTable heads={[t('conflict.value'), t('conflict.yours'), t('conflict.now')]}>
					{keys.map(k => {
						const differs = shown(mine[k]) !== shown(theirs[k]);
						return (
							<tr key={k} class={differs ? 'differs' : ''}>
								<th scope="row">
									{k}
									{differs && <span class="hidden"> ({t('conflict.differs')})</span>}
								</th>
								<td>{shown(mine[k])}</td>
								<td>{shown(theirs[k])}</td>
							</tr>
						);
					})}
				</PlainTable>
			</div>
		</Dialog>
	);
}
