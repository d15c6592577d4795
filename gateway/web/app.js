// SPDX-License-Identifier: Apache-2.0
// The page of a share for who has only a browser: what there is, downloads (through the Service Worker, so that a file need not
// fit into the memory), uploads in pieces that resume, in three languages. Over https everything is encrypted records; where a share
// answers itself over plain http (port-forwarding mode) browsers have no WebCrypto, and content goes as it is.
"use strict";
(() => {
	const PIECE = 64; // records of an upload that go in one request
	const ASK_MS = 5000, ALIVE_MS = 5000, RETRY_MS = [500, 1000, 2000, 4000, 5000];
	const $ = (id) => document.getElementById(id);
	const store = (() => { // not there in every mode of every browser
		try {
			return window.localStorage;
		} catch (e) {
			return null;
		}
	})();
	const share = { id: null, secret: null, token: null, receiver: null, plain: false, meta: null, state: ["asking"] };
	const rows = []; // things on the page that have words: redrawn when the language changes
	let language = "en";

	// ---- words ----

	const say = (key, ...args) => (Words[language][key] || Words.en[key] || key).replace(/\{(\d)\}/g, (all, i) => args[i]);
	const number = (v, digits) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(v);
	const size = (n) => {
		const units = ["B", "kB", "MB", "GB", "TB"];
		let i = 0;
		while (n >= 1000 && i < units.length - 1) {
			n /= 1000;
			i++;
		}
		return number(n, i && n < 100 ? 1 : 0) + " " + units[i];
	};
	const duration = (s) => s < 90 ? say("seconds", Math.ceil(s)) : s < 5400 ? say("minutes", Math.round(s / 60)) :
		say("hours", Math.floor(s / 3600), Math.round(s % 3600 / 60));
	const trouble = (label) => {
		const key = "e_" + label.replace(/-/g, "_");
		return label === "cancelled" ? say("cancelled") : Words.en[key] ? say(key) : say("e_refused");
	};
	const chosen = () => {
		const kept = store && store.getItem("stile-language");
		return [kept, ...(navigator.languages || [])].map((l) => l && l.slice(0, 2)).find((l) => l && Words[l]) || "en";
	};
	const show = (...state) => {
		share.state = state;
		$("state").dataset.state = state[0];
		draw();
	};
	const draw = () => {
		document.documentElement.lang = language;
		$("language").value = language;
		$("language-label").textContent = say("language");
		const [key, ...args] = share.state, m = share.meta;
		$("state").textContent = key === "ready" ? "" : key === "trouble" ? trouble(args[0]) : say(key, ...args);
		$("state").className = key === "trouble" || key === "no_code" ? "bad" : "";
		$("title").textContent = document.title = m && m.name ? m.name : say(m && m.kind === "upload" ? "title_upload" : "title");
		$("privacy").textContent = share.plain ? say("privacy_plain") : say("privacy_sealed");
		$("files-title").textContent = say("files");
		$("upload-title").textContent = say("upload");
		$("drop-text").textContent = say("upload_any");
		$("all").textContent = say("all");
		$("service-about").textContent = say("service");
		if (m)
			draw_meta(m);
		rows.forEach((r) => r.draw());
	};
	const draw_meta = (m) => {
		const entries = m.entries || [], total = entries.reduce((n, e) => n + e.size, 0), about = [];
		about.push(entries.length === 1 && !m.more ? say("about_one", size(total)) : say("about", number(entries.length, 0), size(total)));
		if (m.more)
			about.push(say("cut", number(entries.length, 0)));
		if (m.expires)
			about.push(say("expires", new Date(m.expires * 1000).toLocaleString(language)));
		if (m.once)
			about.push(say("once"));
		$("about").textContent = about.join(" ");
		$("upload-about").textContent = m.upload && m.upload.limit ? say("upload_about", size(m.upload.limit)) : "";
	};

	// ---- asking the share ----

	class Refused extends Error {
		constructor(label) {
			super(label);
			this.label = label;
		}
	}
	const pause = (ms) => new Promise((done) => setTimeout(done, ms));
	const place = (path) => location.pathname.replace(/[^/]*$/, "") + path;
	const plain_place = (path) => place(path) + "?t=" + share.token + "&r=" + share.receiver;
	const ask = async (path, options) => {
		const o = Object.assign({ cache: "no-store" }, options);
		o.headers = Object.assign({ "Stile-Token": share.token, "Stile-Receiver": share.receiver }, o.headers);
		const res = await fetch(place(path), o);
		if (res.status === 503 || res.status === 502 || res.status === 504) {
			const e = new Error("not there");
			e.label_busy = res.headers.get("Stile-Error") === "busy" || res.headers.get("Stile-Error") === "limit";
			throw e;
		}
		if (!res.ok && res.status !== 409)
			throw new Refused(res.headers.get("Stile-Error") || (res.status === 404 ? "gone" : "refused"));
		return res;
	};
	// Until the sender is there: who is asleep wakes up some day.
	const patient = async (fn) => {
		for (;;) {
			try {
				return await fn();
			} catch (e) {
				if (e.label)
					throw e;
				if (e.name === "OperationError")
					throw new Refused("altered");
				if (e.label_busy)
					show("trouble", "busy");
				else
					show("waiting");
				await pause(ASK_MS);
			}
		}
	};
	const taken = (res) => {
		if (res.status === 409)
			throw new Refused(res.headers.get("Stile-Error") || "taken");
		return res;
	};
	const bytes = async (res) => new Uint8Array(await taken(res).arrayBuffer());
	const fetch_meta = async () => {
		if (share.plain)
			return taken(await ask("plain/meta")).json();
		return Stile.openJson(share.secret, "meta", await bytes(await ask("meta")));
	};
	const sender_hash = async (e) => {
		if (e.sha256)
			return e.sha256;
		if (share.plain)
			return "";
		return (await Stile.openJson(share.secret, "meta", await bytes(await ask("h/" + e.n)))).sha256 || "";
	};

	// ---- a line of the page ----

	const element = (tag, cls, parent) => {
		const e = document.createElement(tag);
		if (cls)
			e.className = cls;
		parent.append(e);
		return e;
	};
	class Line {
		constructor(table, name, total) {
			const tr = element("tr", "", table), left = element("td", "", tr);
			this.element = tr;
			this.total = total;
			this.name = element("div", "name", left);
			this.name.textContent = name;
			this.bar = element("progress", "", left);
			this.bar.max = 1;
			this.bar.hidden = true;
			this.note = element("p", "note", left);
			this.hash = element("p", "hash", left);
			this.size = element("td", "size", tr);
			this.button = element("button", "main", element("td", "do", tr));
			this.button.type = "button";
			this.set("idle");
			rows.push(this);
		}
		set(state, ...args) {
			this.state = state;
			this.args = args;
			this.element.dataset.state = state;
			if (state === "running" && !this.began) {
				this.began = Date.now();
				this.from = args[0];
			}
			if (state !== "running" && state !== "waiting")
				this.began = 0;
			this.draw();
		}
		speed(done) {
			const s = (Date.now() - this.began) / 1000;
			return s > 0.5 ? Math.max(1, (done - this.from) / s) : 0;
		}
		draw_note() {
			const [a, b] = this.args, rate = this.state === "running" ? this.speed(a) : 0;
			switch (this.state) {
			case "preparing": return say("preparing");
			case "running":
				return this.total === null ? say("progress_open", size(a), size(rate)) :
					say("progress", size(a), size(this.total), size(rate), rate ? duration((this.total - a) / rate) : "…") + (b ? " " + say("resume") : "");
			case "waiting": return say("waiting_line");
			case "done": return a || say("done", size(this.total === null ? b : this.total));
			case "failed": return trouble(a);
			}
			return "";
		}
		draw() {
			const busy = ["preparing", "running", "waiting"].includes(this.state);
			this.size.textContent = this.total === null ? "" : size(this.total);
			this.note.textContent = this.draw_note();
			this.note.className = "note" + (this.state === "failed" ? " bad" : "");
			this.bar.hidden = !busy;
			if (this.state === "running" && this.total)
				this.bar.value = this.args[0] / this.total;
			else if (this.total === null)
				this.bar.removeAttribute("value");
			this.button.textContent = busy ? say("cancel") : say(this.state === "idle" ? "download" : "again");
			this.button.hidden = this.state === "done" && this.upload;
			if (this.sha)
				this.hash.textContent = say("hash") + " " + this.sha + (this.verdict === undefined ? "" : " — " + say(this.verdict ? "hash_good" : "hash_bad"));
			this.hash.className = "hash" + (this.verdict === false ? " bad" : this.verdict ? " good" : "");
		}
	}

	// ---- downloads ----

	let worker = null, running = 0;
	const start_worker = async () => {
		if (!worker)
			worker = navigator.serviceWorker.register(place("sw.js"), { scope: place("") }).then(() => navigator.serviceWorker.ready);
		const r = await worker;
		for (let i = 0; !navigator.serviceWorker.controller && i < 50; i++)
			await pause(100); // it claims this page when it is active
		if (!navigator.serviceWorker.controller)
			throw new Refused("refused");
		return r.active;
	};
	setInterval(() => { // a worker without events is put to sleep, its stream with it
		if (running && navigator.serviceWorker && navigator.serviceWorker.controller)
			navigator.serviceWorker.controller.postMessage({ ping: true });
	}, ALIVE_MS);

	const through_worker = (line, what, sw) => new Promise((done, fail) => {
		const channel = new MessageChannel(), frame = document.createElement("iframe");
		const end = (fn, v) => {
			running--;
			channel.port1.close();
			setTimeout(() => frame.remove(), 1000);
			line.stop = null;
			fn(v);
		};
		line.stop = () => sw.postMessage({ cancel: what.job });
		channel.port1.onmessage = (e) => {
			const m = e.data;
			if (m.ready) {
				frame.src = place("dl/" + what.job + "/" + encodeURIComponent(what.name));
				document.body.append(frame);
			} else if (m.failed) {
				end(fail, new Refused(m.failed));
			} else if (m.done) {
				end(done, m);
			} else if (m.waiting) {
				line.set("waiting");
			} else {
				line.set("running", m.bytes);
			}
		};
		running++;
		sw.postMessage(what, [channel.port2]);
	});
	const job_of = (more) => Object.assign({ job: Stile.hex(crypto.getRandomValues(new Uint8Array(16))), secret: share.secret, token: share.token,
						 receiver: share.receiver }, more);
	const plain_download = (path, name) => {
		const a = document.createElement("a");
		a.href = plain_place(path);
		a.download = name;
		a.click();
	};
	const encoded = (path) => path.split("/").map(encodeURIComponent).join("/");
	const base = (path) => path.split("/").pop();
	const download_entry = async (line, e) => {
		const sw = await start_worker();
		const got = await through_worker(line, job_of({ url: place("e/" + e.n), name: base(e.path), size: e.size, salt: e.salt, kind: "file", etag: '"' + e.salt + '"' }), sw);
		line.sha = got.sha256;
		line.set("done");
		const theirs = await sender_hash(e).catch(() => "");
		if (theirs)
			line.verdict = theirs === got.sha256;
		line.draw();
		await told_done(e);
	};
	const told_done = async (e) => {
		if (e && share.meta.kind !== "file")
			return;
		await ask("done", { method: "POST" }).catch(() => {});
	};
	const guarded = (line, fn) => async () => {
		if (line.stop) {
			line.stop();
			return;
		}
		if (["preparing", "running", "waiting"].includes(line.state))
			return;
		line.sha = "";
		line.verdict = undefined;
		line.set("preparing");
		try {
			await fn();
		} catch (e) {
			console.warn(e);
			line.set("failed", e.label || (e.name === "NotReadableError" || e.name === "NotFoundError" ? "unreadable" : "refused"));
		}
	};
	const add_entry = (e) => {
		const line = new Line($("entries"), e.path, e.size);
		line.sha = e.sha256 || "";
		line.button.addEventListener("click", guarded(line, async () => {
			if (!share.plain) {
				await download_entry(line, e);
				return;
			}
			plain_download("f/" + encoded(e.path), base(e.path));
			line.sha = e.sha256 || "";
			line.set("idle");
		}));
		line.draw();
	};
	const add_all = (m) => {
		const name = (m.name || "share") + ".zip", line = new Line($("entries"), name, null);
		$("all-line").hidden = false;
		line.element.hidden = true;
		const run = guarded(line, async () => {
			line.element.hidden = false;
			if (share.plain) {
				plain_download("plain/a", name);
				line.set("idle");
				return;
			}
			const got = await through_worker(line, job_of({ url: place("a"), name, size: null, salt: null, kind: "archive" }), await start_worker());
			line.sha = got.sha256;
			line.set("done", "", got.bytes);
			await told_done(null);
		});
		$("all").addEventListener("click", run);
		line.button.addEventListener("click", run);
	};

	// ---- uploads ----

	// The salt of an upload is what it goes on by: kept, so that a page that was closed can go on with the same file. No two contents may
	// meet one salt, and a name, a size and a date tell no content: so beside it is the digest of what has been sent, which the file must
	// still have, and one line at a time has it, of all pages of this browser.
	const note_key = (f) => "stile-upload-" + share.id + "-" + Stile.hex(Stile.sha256(Stile.utf8.encode([f.name, f.size, f.lastModified].join("\n"))));
	const alone = (key, fn) => store && navigator.locks ? navigator.locks.request(key, { ifAvailable: true }, (lock) => fn(lock && key)) : fn(null);
	const digest = (sha) => Stile.hex(sha.copy().digest());
	const note_of = async (line, f, key) => {
		let note = null;
		try {
			note = key && JSON.parse(store.getItem(key));
		} catch (e) { /* an older page's */ }
		if (note && note.n > 0 && digest(await hash_on(line, f, new Stile.Sha256(), note.n)) === note.sha256)
			return note;
		return { salt: Stile.hex(crypto.getRandomValues(new Uint8Array(16))), n: 0 };
	};
	const keep_note = (key, note) => {
		try {
			store.setItem(key, JSON.stringify(note));
		} catch (e) {
			store.removeItem(key); // none is better than one that does not tell all that has been sent
		}
	};
	const offset_of = (res) => {
		const v = Number(res.headers.get("Upload-Offset"));
		return Number.isSafeInteger(v) && v >= 0 ? v : 0;
	};
	const read = async (f, from, to) => new Uint8Array(await f.slice(from, to).arrayBuffer());
	// Up to there from where it is; a digest itself cannot be kept and gone on with.
	const hash_on = async (line, f, sha, upto) => {
		for (let at = sha.n; at < upto; at += PIECE * Stile.RECORD) {
			if (line.stopped)
				throw new Refused("cancelled");
			sha.update(await read(f, at, Math.min(upto, at + PIECE * Stile.RECORD)));
		}
		return sha;
	};
	// The digest of what the other side has, read again; what was sent beyond that goes again only if it is what it was.
	const hash_again = async (line, f, have, note) => {
		const sha = await hash_on(line, f, new Stile.Sha256(), have);
		if (note.n && digest(await hash_on(line, f, sha.copy(), note.n)) !== note.sha256)
			throw new Refused("changed");
		return sha;
	};
	const sealed_piece = async (key, f, number, total, sha) => {
		const from = number * Stile.RECORD, n = Math.min(PIECE, total - number), plain = await read(f, from, Math.min(f.size, from + n * Stile.RECORD));
		const parts = [];
		for (let i = 0; i < n; i++)
			parts.push(Stile.sealRecord(key, number + i, number + i === total - 1, plain.subarray(i * Stile.RECORD, (i + 1) * Stile.RECORD)));
		sha.update(plain);
		return Stile.concat(...await Promise.all(parts));
	};
	// Pieces one after the other; broken ones are asked for and sent again.
	const send_pieces = async (line, way) => {
		let failures = 0, at = null, sha = null;
		for (;;) {
			if (line.stopped)
				throw new Refused("cancelled");
			try {
				if (at === null) {
					at = await way.offset();
					sha = await hash_again(line, way.file, way.plain_of(at), way.note);
					if (at && at === way.all) // all of it is there: the answer to the last piece was lost
						return { told: await way.whole(), sha256: Stile.hex(sha.digest()) };
				}
				const piece = await way.piece(at, sha);
				way.sending(sha);
				const res = await way.put(at, piece);
				if (res.status === 409 && res.headers.get("Stile-Error"))
					throw new Refused(res.headers.get("Stile-Error"));
				if (res.status === 409) {
					at = null;
					continue;
				}
				at += piece.byteLength === undefined ? piece.size : piece.byteLength;
				failures = 0;
				line.set("running", way.plain_of(at), way.resumed);
				if (res.status !== 204)
					return { told: await way.told(res), sha256: Stile.hex(sha.digest()) };
			} catch (e) {
				if (e.label || e.name === "NotReadableError" || e.name === "NotFoundError")
					throw e;
				line.set("waiting");
				at = null;
				await pause(RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
			}
		}
	};
	const abortable = (line, options) => {
		const abort = new AbortController();
		line.abort = () => abort.abort();
		return Object.assign({ signal: abort.signal }, options);
	};
	const sealed_way = async (line, f, kept_at) => {
		const note = await note_of(line, f, kept_at), salt = note.salt, key = await Stile.streamKey(share.secret, Stile.unhex(salt), "upload");
		const total = Stile.recordsOf(f.size), all = Stile.cipherSize(f.size);
		const name = Stile.utf8.encode(JSON.stringify({ name: f.name, size: f.size })), step = Stile.RECORD + Stile.TAG;
		return {
			file: f, note, all, resumed: false,
			plain_of(at) {
				return at === all ? f.size : Math.floor(at / step) * Stile.RECORD;
			},
			async offset() {
				const at = offset_of(taken(await ask("u/" + salt, abortable(line, { method: "POST", body: await Stile.seal(share.secret, "name", name) }))));
				if (at % step && at !== all) // within a record: it would go under the number of another one
					throw new Refused("altered");
				this.resumed = this.resumed || at > 0;
				return at;
			},
			piece(at, sha) {
				return sealed_piece(key, f, at / step, total, sha);
			},
			sending(sha) {
				if (sha.n <= note.n)
					return;
				Object.assign(note, { n: sha.n, sha256: digest(sha) });
				if (kept_at)
					keep_note(kept_at, note);
			},
			put(at, piece) {
				return ask("u/" + salt, abortable(line, { method: "PUT", body: piece, headers: { "Content-Range": `bytes ${at}-${at + piece.length - 1}/${all}` } }));
			},
			async told(res) {
				return Stile.openJson(share.secret, "meta", await bytes(res));
			},
			async whole() {
				return this.told(await ask("u/" + salt, abortable(line, { method: "PUT" })));
			},
		};
	};
	const send_sealed = async (line, f, key) => {
		const got = await send_pieces(line, await sealed_way(line, f, key));
		if (key)
			store.removeItem(key);
		return got;
	};
	const plain_way = (line, f) => ({
		file: f, note: { n: 0 }, all: f.size, resumed: false,
		plain_of: (at) => at,
		sending: () => {},
		async offset() {
			const res = await fetch(plain_place("n/" + encodeURIComponent(f.name)), abortable(line, { method: "HEAD", cache: "no-store" }));
			const at = res.ok ? offset_of(res) : 0;
			this.resumed = this.resumed || at > 0;
			return at <= f.size ? at : 0;
		},
		async piece(at, sha) {
			const p = await read(f, at, Math.min(f.size, at + PIECE * Stile.RECORD));
			sha.update(p);
			return p;
		},
		async put(at, piece) {
			const headers = f.size ? { "Content-Range": `bytes ${at}-${at + piece.length - 1}/${f.size}` } : {};
			const res = await fetch(plain_place("n/" + encodeURIComponent(f.name)), abortable(line, { method: "PUT", body: piece, headers }));
			if (!res.ok && res.status !== 409) {
				if (res.status >= 502 && res.status <= 504)
					throw new Error("not there");
				throw new Refused(res.headers.get("Stile-Error") || "refused");
			}
			return res;
		},
		told: (res) => res.json().catch(() => ({})),
		whole: async () => ({}),
	});
	const upload = async (line, f) => {
		const limit = share.meta.upload && share.meta.upload.limit;
		if (limit && f.size > limit)
			throw new Refused("limit");
		line.stopped = false;
		line.stop = () => {
			line.stopped = true;
			if (line.abort)
				line.abort();
		};
		try {
			const got = share.plain ? await send_pieces(line, plain_way(line, f)) : await alone(note_key(f), (key) => send_sealed(line, f, key));
			line.sha = got.sha256;
			if (got.told.sha256)
				line.verdict = got.told.sha256 === got.sha256;
			line.set("done", say("sent", size(f.size), got.told.name || f.name));
		} finally {
			line.stop = line.abort = null;
		}
	};
	const add_upload = (f) => {
		const line = new Line($("uploads"), f.name, f.size);
		line.upload = true;
		const run = guarded(line, () => upload(line, f));
		line.button.addEventListener("click", run);
		run();
	};
	const take_files = (list) => Array.from(list).forEach(add_upload);

	// ---- the beginning ----

	const receiver_of = () => { // the same person after a reload: who has begun a share that is for one may go on
		const key = "stile-receiver-" + share.id, kept = store && store.getItem(key);
		const r = kept || Stile.hex(crypto.getRandomValues(new Uint8Array(16)));
		if (store && !kept)
			store.setItem(key, r);
		return r;
	};
	const present = (m) => {
		share.meta = m;
		$("files").hidden = !(m.entries && m.entries.length);
		$("upload").hidden = !m.upload;
		$("service").hidden = m.kind !== "tcp";
		$("service-command").textContent = "stile get " + location.href;
		(m.entries || []).forEach(add_entry);
		if (m.kind === "dir" && m.entries && m.entries.length)
			add_all(m);
		show("ready");
	};
	const begin = async () => {
		const secret = Stile.secretOf(location.hash.slice(1));
		if (!secret || Stile.idOf(secret) !== share.id) {
			show("no_code");
			return;
		}
		Object.assign(share, { secret, token: Stile.tokenOf(secret), receiver: receiver_of() });
		if (!share.plain && (!window.crypto || !crypto.subtle || !navigator.serviceWorker || !window.ReadableStream)) {
			show("old_browser");
			return;
		}
		try {
			present(await patient(fetch_meta));
		} catch (e) {
			show("trouble", e.label || "refused");
		}
	};
	const bind = () => {
		$("language").addEventListener("change", () => {
			language = $("language").value;
			if (store)
				store.setItem("stile-language", language);
			draw();
		});
		$("pick").addEventListener("change", () => {
			take_files($("pick").files);
			$("pick").value = "";
		});
		for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
			$("drop").addEventListener(kind, (e) => {
				e.preventDefault();
				$("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
				if (kind === "drop" && e.dataTransfer)
					take_files(e.dataTransfer.files);
			});
		window.addEventListener("hashchange", () => location.reload());
		window.addEventListener("beforeunload", (e) => {
			if (rows.some((r) => ["preparing", "running", "waiting"].includes(r.state)))
				e.preventDefault();
		});
	};
	share.id = (/\/s\/([0-9a-f]{16})\/$/.exec(location.pathname) || [])[1];
	share.plain = location.protocol === "http:";
	language = chosen();
	bind();
	show("asking");
	begin();
})();
