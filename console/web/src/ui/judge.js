// SPDX-License-Identifier: Apache-2.0
//
// What can be told of a value before the service is asked, in the reader's language. The service judges all of it again:
// nothing here lets a value through that the service refuses.
import { t } from '../i18n.js';

export const PORT_MAX = 65_535;
export const DEFAULT_PORTS = { udp: 3478, tcp: 3478, tls: 5349, dtls: 5349, sip: 5060, sips: 5061, http: 80, https: 443, ssh: 22, rdp: 3389, rtsp: 554 };

const V4 = /^(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/;

function isV6(text) {
	try {
		return Boolean(new URL(`x://[${text}]/`).hostname);
	} catch {
		return false;
	}
}

export const isAddress = text => V4.test(text) || (text.includes(':') && isV6(text));

function ofNumber(field, text) {
	const [min, max] = [field.min ?? 0, field.max ?? Number.MAX_SAFE_INTEGER];
	const n = Number(text);
	if (/^\d+$/.test(text) && n >= min && n <= max) return undefined;
	return field.max == null ? t('bad.number.min', { min }) : t('bad.number', { min, max });
}

function ofPort(field, text) {
	if (!/^\d+$/.test(text) || Number(text) > PORT_MAX) return t('bad.port');
	return field.listen && Number(text) === 0 ? t('bad.port.listen') : undefined;
}

const ofAddress = (field, text) => (isAddress(text) ? undefined : t('bad.address'));

const BY_TYPE = { count: ofNumber, port: ofPort, address: ofAddress };

// The reason why it is bad; undefined if nothing speaks against it. A field's own judge(field, text, texts) sees the
// other texts of its form, too.
export function judge(field, text, texts) {
	const trimmed = text?.trim();
	if (!trimmed) return field.required ? t('required') : undefined;
	return (field.judge ?? BY_TYPE[field.type])?.(field, field.type === 'password' ? text : trimmed, texts);
}
