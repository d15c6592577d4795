# SPDX-License-Identifier: Apache-2.0
"""stile-sip in the hands of an administrator: configuration and its faults, start, reload, what it shows, what it counts,
traces, limits, the end.

  STILE_BUILD=build tests/sip/operating.py --write    # docs/metrics.md, after a metric was added or changed"""
import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading

from sip_world import STILE, Failed, SipWorld, Ua, case, main, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "admin"))
from metrics import Page, samples  # noqa: E402
import world  # noqa: E402

world.CASES.clear()  # those of the module that lends its tables

METRICS = Page("tests/sip/operating.py", "stile_sip_", "end of stile-sip")


@case("what is wrong in the configuration is said with its place and what to write")
def _(w):
    faults = [
        ({"domains": "[192.0.2.1]"}, "'192.0.2.1' is an address"),
        ({"domains": "[uc.test, UC.test]"}, "stands here twice"),
        ({"listen": "[]", "lan": None, "routes": None}, "there is no listener"),
        ({"listen": '["tls:127.0.0.1:5061"]'}, "TLS needs a certificate"),
        ({"listen": '["tcp:127.0.0.1:5060", "tls:127.0.0.1:5060"]', "certificate": "server.pem", "key": "server.key"},
         "has a listener already"),
        ({"routes": "[ { domain: uc.test, host: 127.0.0.1, transport: udp } ]"}, "is one of sip.domains"),
        ({"routes": "[ { domain: x.test, host: 127.0.0.1, port: %d, transport: udp } ]" % w.base}, "is this proxy itself"),
        ({"routes": "[ { domain: x.test, host: y.test, transport: tls } ]"}, "there is no listener for tls"),
        ({"routes": "[ { domain: x.test, host: a, transport: udp }, { domain: X.test, host: b, transport: udp } ]"}, "another route for"),
        ({"routes": "[ { domain: x.test, host: a, transport: udp, bind: 127.0.0.9 } ]"}, "no listener for udp has this address"),
        ({"interfaces": '[ { listen: "udp:127.0.0.2:5060", advertise: "a b" } ]'}, "must be a host or host:port"),
        ({"users": "[ { name: alice, password: x, domain: no.test } ]"}, "not one of sip.domains"),
        ({"limits": "{ rate: 10, burst: 5 }"}, "at least sip.limits.rate"),
        ({"registrar": "x"}, "unknown key 'registrar'"),
    ]
    w.certificate()
    for keys, text in faults:
        w.config(**keys)
        w.check().exits(2).says("stile.yaml:", text)
    w.config(tls=True)
    w.check().exits(0)
    w.certificate("other")
    w.config(tls=True, key="other.key")
    w.check().exits(2).says("does not belong to the certificate")


@case("a start on a port that is taken says so and ends with 1")
def _(w):
    w.config()
    with Ua("udp", None, ("127.0.0.1", w.base)):
        w.start_fails().exits(1).says(f"cannot listen on udp:127.0.0.1:{w.base}", "another program has this port")


@case("a reload takes listeners, routes, limits and certificates, and drops no connection")
def _(w):
    w.config(tls=True)
    w.start()
    tls = Ua("tls", ("127.0.0.1", w.tls), context=w.context(), name="uc.test")
    tcp = w.tcp(lan=False)
    tls.raw(tls.request("OPTIONS", "sip:uc.test"))
    tls.expect(status=200)
    tcp.raw(tcp.request("OPTIONS", "sip:uc.test"))
    tcp.expect(status=200)
    first = tls.s.getpeercert(True)
    w.certificate(again=True)
    p = w.base
    w.config(tls=True, listen=f'["udp:127.0.0.1:{p + 5}", "tls:127.0.0.1:{p + 1}"]', routes="[ { domain: new.test, host: 127.0.0.1, "
             "port: {o1}, transport: udp } ]")
    w.ask("reload", "sip", "--dry-run").exits(0).says("certificate of")
    w.ask("reload", "sip").exits(0).says("sip.listen")
    for ua in (tls, tcp):
        ua.raw(ua.request("OPTIONS", "sip:uc.test"))
        ua.expect(status=200)
    with Ua("tls", ("127.0.0.1", w.tls), context=w.context(), name="uc.test") as fresh:
        if fresh.s.getpeercert(True) == first:
            raise Failed("    the old certificate is shown")
    with Ua("udp", ("127.0.0.1", p + 5)) as moved:
        if moved.ask("OPTIONS", "sip:uc.test").status != 200:
            raise Failed("    the new listener is silent")
    try:
        w.tcp(lan=False).close()
        raise Failed("    the removed listener lets in")
    except ConnectionRefusedError:
        pass
    with Ua("udp", None, ("127.0.0.1", w.other(1))) as bob, w.udp() as alice:
        alice.raw(alice.request("OPTIONS", "sip:bob@new.test"))
        bob.reply(bob.expect("OPTIONS"), 200)
        alice.expect(status=200)
        if alice.ask("OPTIONS", "sip:bob@out.test").status != 403:
            raise Failed("    the old route is there")
    tcp.close()
    tls.close()
    w.ask("sip", "status").exits(0).says("uc.test", "days left", "new.test")
    wait_for("the removed listener is gone", lambda: "go on" not in w.ask("sip", "status").out)
    w.config(tls=True, certificate="nowhere.pem")
    w.ask("reload", "sip").exits(1).says("nowhere.pem")
    with Ua("udp", ("127.0.0.1", p + 5)) as moved:
        if moved.ask("OPTIONS", "sip:uc.test").status != 200:
            raise Failed("    a bad reload did something")


@case("what runs is shown: transactions, connections, failed places; one connection can be ended")
def _(w):
    w.config(tls=True)
    w.start()
    w.ask("sip", "flows").exits(0).says("no connections")
    w.ask("sip", "health").exits(0).says("no next hop")
    with w.tcp(lan=False) as a, Ua("udp", None, ("127.0.0.1", w.other())) as bob, w.udp() as alice:
        a.raw(a.request("OPTIONS", "sip:uc.test"))
        a.expect(status=200)
        alice.raw(alice.request("INVITE", "sip:bob@out.test"))
        m = bob.expect("INVITE")
        w.ask("sip", "transactions").exits(0).says("INVITE", "calling")
        bob.reply(m, 486, "Busy Here")
        flow = w.flows()[0]
        w.ask("sip", "flows").exits(0).says("CONN", "tcp", "open", a.place())
        w.ask("sip", "kick", str(flow["id"])).exits(0).says("is ended")
        if a.next() or not a.ended:
            raise Failed("    it goes on")
        w.ask("sip", "kick", str(flow["id"])).exits(1).says("there is no connection")
    w.ask("status").exits(0).says("stile-sip", "listeners", "nothing to do")


@case("every metric stands in docs/metrics.md as the server has it, and those of traffic move")
def _(w):
    w.config()
    w.start()
    rows = samples(w.ask("sip", "metrics").exits(0).out)
    METRICS.check(rows)
    with w.udp(lan=False) as a:
        if a.ask("OPTIONS", "sip:uc.test").status != 200 or a.ask("MESSAGE", "sip:x@no.test", From="<sip:eve@evil.test>;tag=e").status != 403:
            raise Failed("    no answers")
    got = [w.metric("stile_sip_requests_received_total", "OPTIONS"), w.metric("stile_sip_responses_sent_total", "2xx"),
           w.metric("stile_sip_responses_sent_total", "4xx"), w.metric("stile_sip_refusals_total", "relay"),
           w.metric("stile_sip_transactions_started_total", "server")]
    if min(got) < 1:
        raise Failed(f"    {got}")
    w.ask("sip", "metrics", "refusals").exits(0).says("stile_sip_refusals_total").never_says("stile_sip_drops")


@contextlib.contextmanager
def answering(bob):
    """A gateway that answers what it is asked."""
    over = threading.Event()

    def answer():
        while not over.is_set():
            m = bob.next(0.1)
            if m:
                bob.reply(m, 405, "Method Not Allowed")

    helper = threading.Thread(target=answer)
    helper.start()
    try:
        yield
    finally:
        over.set()
        helper.join()


@case("gateways are asked whether they are there: one that is not is known, and so is its return")
def _(w):
    w.config(timers="{ probe: 1s, t1: 200ms, t2: 400ms }")  # so that repetitions come soon
    w.start()
    w.logged("sip.place.fails", f"127.0.0.1:{w.other()}", "udp")
    w.ask("sip", "health").exits(0).says(f"127.0.0.1:{w.other()}", "Connection refused")
    with Ua("udp", None, ("127.0.0.1", w.other())) as bob:
        with answering(bob):  # all the time: who is asked and says nothing for two seconds is not well
            w.logged("sip.place.well", f"127.0.0.1:{w.other()}")
            w.ask("sip", "health").exits(0).says("no next hop")
        bob.expect("OPTIONS")  # and now it says nothing: known long before the transaction gives up
        w.logged("sip.place.fails", f"127.0.0.1:{w.other()}", "timed out")
        w.config(timers="{ probe: 0s, t1: 200ms, t2: 400ms }")
        w.reload()
        while m := bob.next(2):
            bob.reply(m, 405, "Method Not Allowed")  # those that were asked already
        if bob.next(2):
            raise Failed("    asked although it is switched off")


def packets(data):
    """(source port, destination port, payload) of each packet of a pcap file."""
    magic, _, _, _, _, link = struct.unpack("=IIIIII", data[:24])
    if magic != 0xa1b2c3d4 or link != 101:
        raise Failed(f"    no pcap: {data[:24]!r}")
    at, out = 24, []
    while at < len(data):
        n = struct.unpack("=IIII", data[at:at + 16])[2]
        p = data[at + 16:at + 16 + n]
        if p[0] != 0x45 or p[9] != 17 or struct.unpack("!H", p[2:4])[0] != n:
            raise Failed(f"    no IPv4 packet with UDP: {p[:28]!r}")
        out.append((*struct.unpack("!HH", p[20:24]), p[28:]))
        at += 16 + n
    return out


@case("a trace has the messages of one call, decrypted, and the log says who asked")
def _(w):
    w.config(tls=True)
    w.start()
    argv = [STILE, "sip", "trace", "--call", "traced@test", "-w", w.path("call.pcap"), "--messages", "2", "--seconds", "60",
            "--runtime-dir", w.path("run")]
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for("the trace has begun", lambda: w.verb("sip.status")["traces"] == 1)
    with Ua("tls", ("127.0.0.1", w.tls), context=w.context(), name="uc.test") as a:
        if a.ask("OPTIONS", "sip:uc.test").status != 200 or a.ask("OPTIONS", "sip:uc.test", Call_ID="traced@test").status != 200:
            raise Failed("    no answers")
        port = a.at[1]
    _, err = p.communicate(timeout=30)
    if p.returncode or b"2 messages" not in err:
        raise Failed(f"    {p.returncode} {err!r}")
    with open(w.path("call.pcap"), "rb") as f:
        got = packets(f.read())
    if [g[:2] for g in got] != [(port, w.tls), (w.tls, port)] or b"OPTIONS sip:uc.test" not in got[0][2] or b"200 OK" not in got[1][2]:
        raise Failed(f"    {got}")
    w.logged("sip.trace.started", "traced@test", "uid")
    w.ask("sip", "trace").exits(2).says("--call ID, or --address")
    w.ask("sip", "trace", "--address", "nonsense", "--seconds", "1").exits(1).says("is no address")


@case("a message that is too long for a line of the control protocol is cut in a trace, which goes on")
def _(w):
    w.config()
    w.start()
    argv = [STILE, "sip", "trace", "--call", "long@test", "-w", w.path("long.pcap"), "--messages", "4", "--seconds", "60",
            "--runtime-dir", w.path("run")]
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for("the trace has begun", lambda: w.verb("sip.status")["traces"] == 1)
    with w.tcp(lan=False) as a:
        long = a.request("OPTIONS", "sip:uc.test", body="x" * 900000, Call_ID="long@test")
        a.raw(long)
        a.expect(status=200)
        wait_for("it has been written", lambda: os.path.getsize(w.path("long.pcap")) > 60000)  # meanwhile others may be left out
        a.raw(a.request("OPTIONS", "sip:uc.test", Call_ID="long@test", CSeq="2 OPTIONS"))
        a.expect(status=200)
    _, err = p.communicate(timeout=30)
    if p.returncode or b"1 of them are cut" not in err:
        raise Failed(f"    {p.returncode} {err!r}")
    with open(w.path("long.pcap"), "rb") as f:
        data = f.read()
    got, whole = packets(data), struct.unpack("=I", data[36:40])[0]
    if len(got) not in (3, 4) or not long.startswith(got[0][2]) or whole != len(long) + 28 or b"2 OPTIONS" not in got[-2][2] or b"200 OK" not in got[-1][2]:
        raise Failed(f"    {len(got)} {whole} {len(long)} {err!r}")


@case("a trace goes to a capture server as HEP3")
def _(w):
    w.config()
    w.start()
    with Ua("udp", None, ("127.0.0.1", w.other(6))) as homer, w.tcp(lan=False) as a:
        argv = [STILE, "sip", "trace", "--address", "127.0.0.1", "--hep", f"127.0.0.1:{w.other(6)}", "--messages", "2", "--seconds", "60",
                "--runtime-dir", w.path("run")]
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for("the trace has begun", lambda: w.verb("sip.status")["traces"] == 1)
        a.raw(a.request("OPTIONS", "sip:uc.test"))
        a.expect(status=200)
        _, err = p.communicate(timeout=30)
        if p.returncode or b"2 messages" not in err:
            raise Failed(f"    {p.returncode} {err!r}")
        for way in ((a.at[1], w.base, b"OPTIONS sip:uc.test"), (w.base, a.at[1], b"SIP/2.0 200 OK")):
            data, chunks, at = homer.s.recv(65535), {}, 6
            if data[:4] != b"HEP3" or struct.unpack("!H", data[4:6])[0] != len(data):
                raise Failed(f"    {data[:20]!r}")
            while at < len(data):
                vendor, kind, n = struct.unpack("!HHH", data[at:at + 6])
                chunks[vendor, kind] = data[at + 6:at + n]
                at += n
            got = (*struct.unpack("!HH", chunks[0, 7] + chunks[0, 8]), chunks[0, 15][:len(way[2])])
            if got != way or chunks[0, 1] != b"\2" or chunks[0, 2] != b"\6" or chunks[0, 3] != b"\x7f\0\0\1" or chunks[0, 11] != b"\1":
                raise Failed(f"    {got} {chunks}")


@case("stile test sip says where a server answers, and at which step it stops")
def _(w):
    w.config(tls=True)
    w.start()
    w.stile("test", "sip", f"sip:127.0.0.1:{w.base}").exits(0).says("✔", "places", "✔", "udp", "200 OK")
    w.stile("test", "sip", f"sip:127.0.0.1:{w.base};transport=tcp").exits(0).says("tcp", "200 OK")
    uri = f"sip:127.0.0.1:{w.tls};transport=tls"
    w.stile("test", "sip", uri, "--ca", w.path("ca.pem")).exits(0).says("tls", "200 OK")
    w.stile("test", "sip", uri).exits(1).says("✘", "tls", "certificate")
    w.certificate("wrong", "DNS:wrong.test")
    w.config(tls=True, certificate="wrong.pem", key="wrong.key")
    w.reload()
    w.stile("test", "sip", uri, "--ca", w.path("ca.pem")).exits(1).says("the certificate is not for 127.0.0.1, but for wrong.test")
    w.stile("test", "sip", f"sip:127.0.0.1:{w.other(5)}").exits(1).says("nothing listens there")
    w.stile("test", "sip", "sip:127.0.0.1;transport=tcp", "--transport", "udp").exits(1).says("none has this transport")
    w.stile("test", "sip", "sip:no-such-name.invalid:5060", timeout=60).exits(1).says("✘")
    w.stile("test", "sip", "http://x").exits(2)
    if w.stile("test", "sip", f"127.0.0.1:{w.base}", "--json").exits(0).json()[1]["good"] is not True:
        raise Failed("    JSON")


@case("sources that are denied are not heard; who sends too much is dropped, and slowed down on a connection")
def _(w):
    w.config(sources="{ deny: [127.0.0.0/30] }")
    w.start()
    with w.udp(lan=False) as a:
        a.raw(a.request("OPTIONS", "sip:uc.test"))
        if a.next(0.5):
            raise Failed("    answered")
    wait_for("the drop is counted", lambda: w.metric("stile_sip_drops_total", "denied") >= 1)
    w.config(limits="{ rate: 20, burst: 20 }")
    w.reload()
    with w.udp(lan=False) as a:
        def many():  # again: who is stopped for a second in between may send 20 more
            for _i in range(60):
                a.raw(a.request("OPTIONS", "sip:uc.test"))
            return w.metric("stile_sip_drops_total", "rate") >= 20
        wait_for("drops", many)
    with w.tcp(lan=False) as a:
        for _i in range(30):
            a.raw(a.request("OPTIONS", "sip:uc.test"))
        for _i in range(30):  # none is lost
            a.expect(status=200, seconds=20)


@case("connections of one source are limited, and all of them")
def _(w):
    w.config(limits="{ connections: 6, connections_per_source: 4 }")
    w.start()
    held = []
    try:
        for i in range(4):
            a = w.tcp(lan=False)
            held.append(a)
            if a.ask("OPTIONS", "sip:uc.test").status != 200:
                raise Failed("    refused below the limit")
        with w.tcp(lan=False) as more:
            if more.next() or not more.ended:
                raise Failed("    a fifth is let in")
    finally:
        for a in held:
            a.close()
    if w.metric("stile_sip_drops_total", "connections") != 1:
        raise Failed("    not counted")
    wait_for("they are gone", lambda: not w.flows())
    with w.tcp(lan=False) as again:
        if again.ask("OPTIONS", "sip:uc.test").status != 200:
            raise Failed("    the place was not given back")


@case("a stop lets a call's answer through, refuses new ones with 503, and ends with 0")
def _(w):
    w.config(drain="20s")
    s = w.start()
    with Ua("udp", None, ("127.0.0.1", w.other())) as bob, w.udp() as alice:
        alice.raw(alice.request("INVITE", "sip:bob@out.test"))
        m = bob.expect("INVITE")
        s.process.send_signal(signal.SIGTERM)
        wait_for("it drains", lambda: w.verb("sip.status")["draining"])
        got = alice.ask("OPTIONS", "sip:x@out.test")
        if got.status != 503:
            raise Failed(f"    {got.start}")
        bob.reply(m, 486, "Busy Here")
        call = m.get("Call-ID")
        if alice.final(call).status != 486:
            raise Failed("    the answer did not come")
        alice.raw(alice.request("ACK", "sip:bob@out.test", Call_ID=call, CSeq="1 ACK", Via=m.all("Via")[1].split(";received")[0],
                                From=m.get("From"), To=m.get("To") + ";tag=b1"))
    status = s.process.wait(40)
    if status:
        raise Failed(f"    status {status}")


@case("its log has a level, a size in MB, a number and a folder of its own, beside those of the other services")
def _(w):
    own = w.path("own")
    w.config(**{"log": "{ level: error, dir: %s }" % w.path("log")})
    with open(w.path("stile.yaml"), "a", encoding="utf-8") as f:
        f.write("  log: { level: info, dir: %s, max_size: 64KiB, keep: 2, delete_daily: true }\n" % own)
    w.check().exits(0)
    s = w.start()
    wait_for("it writes there", lambda: os.path.exists(own + "/stile-sip.log"))
    w.stile("log", "level", "sip", "debug", "--runtime-dir", w.path("run")).exits(0)
    for _i in range(20):  # a line of the log for each
        if os.path.exists(own + "/stile-sip.log.2"):
            break
        w.verbs([("log.level", {"level": level}) for level in ("debug", "info") * 100])
    wait_for("the full ones are put aside", lambda: sorted(os.listdir(own)) == ["stile-sip.log", "stile-sip.log.1", "stile-sip.log.2"])
    if max(os.path.getsize(f"{own}/{n}") for n in os.listdir(own)) > 70 << 10 or os.path.exists(w.path("log/stile-sip.log")):
        raise Failed("    too large, or in the wrong folder")
    s.stop()


def write():
    with SipWorld(27400) as w:
        w.config()
        w.start()
        METRICS.write(samples(w.ask("sip", "metrics").out))
        w.stop_all()


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    else:
        raise SystemExit(main(27400))
