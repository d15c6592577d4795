// SPDX-License-Identifier: Apache-2.0
//
// The page of stile-sip: where it listens and what it is called outside, the UC servers of the LAN, certificates, the ways
// to other domains and who is allowed there, accounts, what is going on now, and the questions "can we" and "why".
import { ServicePage } from '../ui/service_page.jsx';
import { Tabs } from '../ui/tabs.jsx';
import { Certificates } from './sip_certificates.jsx';
import { Federation } from './sip_federation.jsx';
import { Interfaces } from './sip_interfaces.jsx';
import { Live } from './sip_live.jsx';
import { Lan, Routes, Users } from './sip_lists.jsx';
import { Questions } from './sip_questions.jsx';

const TABS = [
	{ id: 'interfaces', title: 'sip.interfaces', Body: Interfaces },
	{ id: 'lan', title: 'sip.lan', Body: Lan },
	{ id: 'certificates', title: 'sip.certificates', Body: Certificates },
	{ id: 'routes', title: 'sip.routes', Body: Routes },
	{ id: 'federation', title: 'sip.federation', Body: Federation },
	{ id: 'users', title: 'sip.users', Body: Users, role: 'operator' },
	{ id: 'live', title: 'sip.live', Body: Live },
	{ id: 'questions', title: 'sip.questions', Body: Questions },
];

export default function Sip() {
	return (
		<ServicePage kind="sip" title="nav.sip">
			{service => <Tabs page="sip" tabs={TABS.map(({ Body, ...tab }) => ({ ...tab, body: () => <Body service={service} /> }))} />}
		</ServicePage>
	);
}
