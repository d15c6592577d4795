// SPDX-License-Identifier: Apache-2.0
//
// The connection tester: from this machine to a host and port, or through a site, from its jobs' ports to their targets. It is
// `stile test tcp` and `stile test agent`, and says what these say.
import { t } from '../i18n.js';
import { ErrorBox } from '../ui/errors.jsx';
import { Icon } from '../ui/icon.jsx';
import { useTool } from '../ui/use_tool.js';
import { useVerb } from '../ui/use_verb.js';
import { AddRow, fieldsOf } from './tunnel_parts.jsx';

export function Tester({ service }) {
	const { data } = useVerb(service, 'tunnel.links', { topics: ['tunnel.agents'], rows: true });
	const { run, busy, error, start } = useTool();
	return (
		<div data-help="tunnel/tester">
			<AddRow keep title="tunnel.test.place" fields={fieldsOf('target:place', { target: { default: '127.0.0.1:' } })} save={({ target }) => {
				const at = target.lastIndexOf(':');
				return start({ what: 'tcp', host: target.slice(0, at).replace(/^\[|\]$/g, ''), port: target.slice(at + 1) });
			}} />
			<AddRow keep title="tunnel.test.site" fields={[{ ...fieldsOf('agent:must')[0], type: 'enum', choices: (data ?? []).map(l => l.name) }]} save={({ agent }) => start({ what: 'agent', agent, service })} />
			{error && <ErrorBox error={error} />}
			{(run || busy) && (
				<div role="status">
					<ul class="checks">
						{run?.results.map((r, i) => (
							<li key={i}>
								<Icon name={r.good ? 'ok' : 'failed'} />
								<div class="check">
									<b>{r.check}</b> {r.text}
								</div>
							</li>
						))}
					</ul>
					{busy ? <p class="loading">{t('tunnel.test.running')}</p> : run.text && <pre tabIndex={0}>{run.text}</pre>}
				</div>
			)}
		</div>
	);
}
