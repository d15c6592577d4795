// SPDX-License-Identifier: Apache-2.0
// What the page and its Service Worker share: the code of a share and the keys that come of it, its records (AES-256-GCM,
// 64 KiB each), and SHA-256. Where the browser keeps WebCrypto from a page (plain http) the keys that are needed there still
// come from the SHA-256 below. The formats are docs/decisions/0024-sharing.md.
"use strict";
const Stile = (() => {
	const RECORD = 65536, TAG = 16, SALT = 16;
	const DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	const utf8 = new TextEncoder();

	// ---- SHA-256, HMAC, HKDF (FIPS 180-4, RFC 2104, RFC 5869) ----

	const K = new Int32Array(64), START = new Int32Array(8);
	(() => { // the first 32 bits of the fractional parts of the roots of the first primes
		const frac = (x) => ((x - Math.floor(x)) * 4294967296) | 0;
		for (let n = 2, i = 0; i < 64; n++) {
			let prime = true;
			for (let d = 2; d * d <= n; d++)
				prime = prime && n % d !== 0;
			if (!prime)
				continue;
			if (i < 8)
				START[i] = frac(Math.sqrt(n));
			K[i++] = frac(Math.cbrt(n));
		}
	})();

	class Sha256 {
		constructor() {
			this.h = START.slice();
			this.w = new Int32Array(64);
			this.block = new Uint8Array(64);
			this.fill = 0;
			this.n = 0;
		}
		update(bytes) {
			let at = 0;
			this.n += bytes.length;
			if (this.fill) {
				at = Math.min(64 - this.fill, bytes.length);
				this.block.set(bytes.subarray(0, at), this.fill);
				this.fill += at;
				if (this.fill < 64)
					return this;
				this.rounds(this.block, 0, 64);
				this.fill = 0;
			}
			const whole = at + (bytes.length - at & ~63);
			this.rounds(bytes, at, whole);
			this.block.set(bytes.subarray(whole));
			this.fill = bytes.length - whole;
			return this;
		}
		copy() {
			return Object.assign(new Sha256(), { h: this.h.slice(), block: this.block.slice(), fill: this.fill, n: this.n });
		}
		rounds(b, from, to) {
			const w = this.w, s = this.h;
			let h0 = s[0], h1 = s[1], h2 = s[2], h3 = s[3], h4 = s[4], h5 = s[5], h6 = s[6], h7 = s[7];
			for (; from < to; from += 64) {
				for (let i = 0, p = from; i < 16; i++, p += 4)
					w[i] = b[p] << 24 | b[p + 1] << 16 | b[p + 2] << 8 | b[p + 3];
				for (let i = 16; i < 64; i++) {
					const x = w[i - 15], y = w[i - 2];
					w[i] = w[i - 16] + w[i - 7] + ((x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3) +
					       ((y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10) | 0;
				}
				let a = h0, bb = h1, c = h2, d = h3, e = h4, f = h5, g = h6, h = h7;
				for (let i = 0; i < 64; i++) {
					const t = h + ((e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7)) + (e & f ^ ~e & g) + K[i] + w[i] | 0;
					const u = ((a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10)) + (a & bb ^ a & c ^ bb & c) | 0;
					h = g; g = f; f = e; e = d + t | 0; d = c; c = bb; bb = a; a = t + u | 0;
				}
				h0 = h0 + a | 0; h1 = h1 + bb | 0; h2 = h2 + c | 0; h3 = h3 + d | 0;
				h4 = h4 + e | 0; h5 = h5 + f | 0; h6 = h6 + g | 0; h7 = h7 + h | 0;
			}
			s.set([h0, h1, h2, h3, h4, h5, h6, h7]);
		}
		digest() {
			const n = this.n, tail = new Uint8Array(this.fill < 56 ? 64 : 128), view = new DataView(tail.buffer);
			tail.set(this.block.subarray(0, this.fill));
			tail[this.fill] = 0x80;
			view.setUint32(tail.length - 8, Math.floor(n / 536870912));
			view.setUint32(tail.length - 4, n << 3 >>> 0);
			this.rounds(tail, 0, tail.length);
			const out = new Uint8Array(32), o = new DataView(out.buffer);
			this.h.forEach((v, i) => o.setInt32(4 * i, v));
			return out;
		}
	}

	const concat = (...parts) => {
		const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
		let at = 0;
		for (const p of parts) {
			out.set(p, at);
			at += p.length;
		}
		return out;
	};
	const sha256 = (bytes) => new Sha256().update(bytes).digest();
	const hmac = (key, bytes) => { // keys here have at most 64 bytes
		const pad = new Uint8Array(64);
		pad.set(key);
		return sha256(concat(pad.map((b) => b ^ 0x5c), sha256(concat(pad.map((b) => b ^ 0x36), bytes))));
	};
	const hkdf = (secret, salt, info, n) => { // n at most 32: one block
		const prk = hmac(salt.length ? salt : new Uint8Array(32), secret);
		return hmac(prk, concat(utf8.encode(info), Uint8Array.of(1))).slice(0, n);
	};
	const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
	const unhex = (text) => Uint8Array.from(text.match(/../g) || [], (h) => parseInt(h, 16));

	// ---- the code ----

	// "7GQ2-…" in any case, with or without dashes, followed by @SERVER or not: 16 bytes, or null if it is not a code.
	const secretOf = (text) => {
		let decoded;
		try {
			decoded = decodeURIComponent(text);
		} catch (e) {
			return null;
		}
		const plain = decoded.split("@")[0].toUpperCase().replace(/[-\s]/g, "").replace(/O/g, "0").replace(/[IL]/g, "1");
		if (plain.length !== 28)
			return null;
		const bytes = new Uint8Array(18);
		let bits = 0, held = 0, at = 0;
		for (const c of plain) {
			const v = DIGITS.indexOf(c);
			if (v < 0)
				return null;
			bits = bits << 5 | v;
			held += 5;
			if (held >= 8) {
				held -= 8;
				bytes[at++] = bits >> held & 255;
				bits &= (1 << held) - 1;
			}
		}
		bytes[at] = bits << 8 - held; // 140 bits: 16 bytes of secret, 12 bits of check
		const check = sha256(concat(utf8.encode("stile share check\0"), bytes.subarray(0, 16)));
		return check[0] === bytes[16] && check[1] >> 4 === bytes[17] >> 4 ? bytes.slice(0, 16) : null;
	};
	const idOf = (secret) => hex(hkdf(secret, new Uint8Array(0), "stile share 1 id", 8));
	const tokenOf = (secret) => hex(hkdf(secret, new Uint8Array(0), "stile share 1 token", 16));

	// ---- records ----

	const streamKey = (secret, salt, kind) =>
		crypto.subtle.importKey("raw", hkdf(secret, salt, "stile share 1 " + kind, 32), "AES-GCM", false, ["encrypt", "decrypt"]);
	const nonce = (number, last) => {
		const n = new Uint8Array(12);
		new DataView(n.buffer).setUint32(7, number);
		n[11] = last ? 1 : 0;
		return n;
	};
	const openRecord = async (key, number, last, cipher) =>
		new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv: nonce(number, last) }, key, cipher));
	const sealRecord = async (key, number, last, plain) =>
		new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce(number, last) }, key, plain));
	const recordsOf = (size) => Math.max(1, Math.ceil(size / RECORD));
	const cipherSize = (size) => size + TAG * recordsOf(size);

	// A small thing in one body: salt, then its records.
	const openSealed = async (secret, kind, body) => {
		const salt = body.slice(0, SALT), key = await streamKey(secret, salt, kind), parts = [];
		for (let at = SALT, number = 0; at < body.length; at += RECORD + TAG, number++)
			parts.push(await openRecord(key, number, at + RECORD + TAG >= body.length, body.subarray(at, at + RECORD + TAG)));
		return concat(...parts);
	};
	const seal = async (secret, kind, plain) => {
		const salt = crypto.getRandomValues(new Uint8Array(SALT)), key = await streamKey(secret, salt, kind), parts = [salt];
		for (let number = 0, n = recordsOf(plain.length); number < n; number++)
			parts.push(await sealRecord(key, number, number === n - 1, plain.subarray(number * RECORD, (number + 1) * RECORD)));
		return concat(...parts);
	};
	const openJson = async (secret, kind, body) => JSON.parse(new TextDecoder().decode(await openSealed(secret, kind, body)));

	return { RECORD, TAG, SALT, Sha256, sha256, hkdf, hex, unhex, concat, utf8, secretOf, idOf, tokenOf, streamKey, openRecord,
		 sealRecord, recordsOf, cipherSize, openSealed, openJson, seal };
})();
