// SPDX-License-Identifier: Apache-2.0
// Service Worker of a share's page: a download is a request to dl/JOB/NAME, which never leaves the browser. It is answered
// with a stream that fetches the encrypted records, opens each, and hands it to the browser's own download: nothing is kept,
// so a file may be larger than the memory. When the connection breaks it asks again from the record that is missing.
"use strict";
importScripts("stile.js");

const RETRY_MS = [500, 1000, 2000, 4000, 5000], SILENT_MS = 30000, TELL_MS = 150;
const FATAL = new Set([400, 403, 404, 409, 410, 412, 416, 429]);
const jobs = new Map();

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (e) => e.waitUntil(self.clients.claim()));
self.addEventListener("message", (e) => {
	if (e.data.ping) // keeps this worker alive while something is under way
		return;
	if (e.data.cancel) {
		const job = jobs.get(e.data.cancel);
		if (job)
			job.stop("cancelled");
		return;
	}
	jobs.set(e.data.job, new Job(e.data, e.ports[0]));
	e.ports[0].postMessage({ ready: true });
});
self.addEventListener("fetch", (e) => {
	const m = /\/dl\/([0-9a-f]{32})\//.exec(new URL(e.request.url).pathname);
	if (m)
		e.respondWith(jobs.has(m[1]) ? jobs.get(m[1]).response() : new Response("", { status: 404 }));
});

class Refused extends Error {
	constructor(label) {
		super(label);
		this.label = label;
	}
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

class Job {
	constructor(what, port) {
		this.what = what;
		this.port = port;
		this.bytes = 0;
		this.told = 0;
		this.sha = new Stile.Sha256();
		this.abort = null;
		this.over = null;
	}
	tell(m) {
		this.port.postMessage(m);
	}
	progress(force) {
		const now = Date.now();
		if (!force && now - this.told < TELL_MS)
			return;
		this.told = now;
		this.tell({ bytes: this.bytes });
	}
	stop(label) {
		if (this.over)
			return;
		this.over = label;
		jobs.delete(this.what.job);
		if (this.abort)
			this.abort.abort();
		this.tell(label === "done" ? { bytes: this.bytes, done: true, sha256: Stile.hex(this.sha.digest()) } : { failed: label });
	}
	response() {
		const records = this.records(), job = this;
		const body = new ReadableStream({
			async pull(controller) {
				try {
					const next = await records.next();
					if (next.done) {
						job.stop("done");
						controller.close();
						return;
					}
					job.sha.update(next.value);
					job.bytes += next.value.length;
					job.progress(false);
					if (next.value.length)
						controller.enqueue(next.value);
				} catch (e) {
					job.stop(e.label || "altered");
					controller.error(e);
				}
			},
			cancel() {
				job.stop("cancelled");
			},
		}, { highWaterMark: 4 });
		const headers = { "Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff",
				  "Content-Disposition": "attachment; filename*=UTF-8''" + encodeURIComponent(this.what.name).replace(/['()*!]/g, (c) => "%" + c.charCodeAt(0).toString(16)) };
		if (this.what.size !== null)
			headers["Content-Length"] = String(this.what.size);
		return new Response(body, { headers });
	}
	// Plain bytes of one record after the other, over as many connections as it takes.
	async *records() {
		const total = this.what.size === null ? null : Stile.recordsOf(this.what.size);
		let number = 0, failures = 0;
		while (!this.over && (total === null || number < total)) {
			try {
				for await (const plain of this.connection(number, total)) {
					number++;
					failures = 0;
					yield plain;
				}
				if (total === null)
					return;
				throw new Error("the connection ended early");
			} catch (e) {
				if (this.over)
					throw new Refused(this.over);
				if (total !== null && number === total)
					return;
				if (e.label || e.name === "OperationError" || total === null)
					throw e.label ? e : new Refused(e.name === "OperationError" ? "altered" : "broken");
				this.tell({ bytes: this.bytes, waiting: true });
				await pause(RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
			}
		}
	}
	async ask(number) {
		const headers = { "Stile-Token": this.what.token, "Stile-Receiver": this.what.receiver };
		if (this.what.etag && number) {
			headers.Range = "bytes=" + number * (Stile.RECORD + Stile.TAG) + "-";
			headers["If-Range"] = this.what.etag;
		}
		const res = await fetch(this.what.url, { headers, cache: "no-store", signal: this.abort.signal });
		if (FATAL.has(res.status))
			throw new Refused(res.headers.get("Stile-Error") || (res.status === 404 ? "gone" : "refused"));
		if (res.status === 200 && number)
			throw new Refused("changed");
		if (res.status !== 200 && res.status !== 206)
			throw new Error("status " + res.status);
		return res.body.getReader();
	}
	async *connection(number, total) {
		this.abort = new AbortController();
		let watch = setTimeout(() => this.abort.abort(), SILENT_MS);
		const reader = await this.ask(number), fresh = () => {
			clearTimeout(watch);
			watch = setTimeout(() => this.abort.abort(), SILENT_MS);
		};
		try {
			yield* this.opened(reader, number, total, fresh);
		} finally {
			clearTimeout(watch);
			reader.cancel().catch(() => {});
		}
	}
	// A record is the last one if its number says so, or, where the size is not known, if nothing follows it.
	async *opened(reader, number, total, fresh) {
		const need = Stile.RECORD + Stile.TAG;
		let held = new Uint8Array(2 * need + 262144), n = 0, key = null, ended = false;
		if (this.what.salt)
			key = await Stile.streamKey(this.what.secret, Stile.unhex(this.what.salt), this.what.kind);
		while (!ended) {
			const got = await reader.read();
			fresh();
			ended = got.done;
			if (!ended) {
				if (n + got.value.length > held.length) {
					const larger = new Uint8Array(2 * (n + got.value.length));
					larger.set(held.subarray(0, n));
					held = larger;
				}
				held.set(got.value, n);
				n += got.value.length;
			}
			let at = 0;
			if (!key && n >= Stile.SALT) {
				key = await Stile.streamKey(this.what.secret, held.slice(0, Stile.SALT), this.what.kind);
				at = Stile.SALT;
			}
			while (key && (total === null ? n - at > need : n - at >= need && number < total - 1)) {
				yield Stile.openRecord(key, number++, false, held.slice(at, at + need));
				at += need;
			}
			held.copyWithin(0, at, n);
			n -= at;
			if (total !== null && number === total - 1 && n === this.what.size - number * Stile.RECORD + Stile.TAG) {
				yield Stile.openRecord(key, number, true, held.slice(0, n));
				return;
			}
		}
		if (total === null && key && n)
			yield Stile.openRecord(key, number, true, held.slice(0, n));
		else if (total === null)
			throw new Refused("broken");
	}
}
