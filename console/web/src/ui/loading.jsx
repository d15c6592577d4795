// SPDX-License-Identifier: Apache-2.0
// In place of what is not there yet.
import { t } from '../i18n.js';

export const Loading = ({ text = t('loading') }) => (
	<p class="loading" role="status">
		{text}
	</p>
);
