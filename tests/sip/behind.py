# SPDX-License-Identifier: Apache-2.0
"""Who stands behind stile-sip, and who would like to: a registrar of another make (Kamailio), reached with Path, and sipvicious,
which looks for servers, users and passwords."""
from kamailio import Kamailio
from sip_world import Failed, Ua, case, credentials, main, need

KAMAILIO = """
debug=1
log_stderror=yes
children=2
auto_aliases=no
alias="reg.test"
listen={transport}:127.0.0.1:{port}
{tcp}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("usrloc", "db_mode", 0)
modparam("registrar", "use_path", 1)
modparam("registrar", "path_mode", 1)
request_route {{
	if (!mf_process_maxfwd_header("70")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
	if (has_totag()) {{
		if (loose_route()) {{ t_relay(); exit; }}
		if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
		sl_send_reply("404", "Not here");
		exit;
	}}
	if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
	t_check_trans();
	if (is_method("REGISTER")) {{
		if (!pv_www_authenticate("$td", "of-$fU", "0")) {{ www_challenge("$td", "1"); exit; }}
		save("location");
		exit;
	}}
	if (is_method("INVITE|SUBSCRIBE")) record_route();
	if (!lookup("location")) {{ sl_send_reply("404", "Not registered"); exit; }}
	t_relay();
}}
"""


def start_kamailio(w, transport):
    port = w.other(3)

    def answers():
        try:
            with Ua(transport, ("127.0.0.1", port)) as ua:
                ua.raw(ua.request("OPTIONS", "sip:nobody@reg.test"))
                return ua.next(0.5)
        except OSError:
            return None

    tcp = "tcp_children=2\ntcp_accept_aliases=yes" if transport == "tcp" else "disable_tcp=yes"
    Kamailio(w, KAMAILIO.format(port=port, transport=transport, tcp=tcp)).start_until(answers, 40)


def register(ua, name):
    """At reg.test, through the proxy, with the digest that Kamailio wants."""
    me, uri = f"sip:{name}@reg.test", "sip:reg.test"
    more = {"From": f"<{me}>;tag=r{name}", "To": f"<{me}>", "Contact": f"<sip:{name}@{ua.place()};transport={ua.transport}>;expires=600"}
    m = ua.ask("REGISTER", uri, ["Supported: path"], seconds=20, **more)
    if m.status != 401:
        raise Failed(f"    expected Kamailio's 401, got: {m.start}")
    m = ua.ask("REGISTER", uri, ["Supported: path", "Authorization: " + credentials(m.get("WWW-Authenticate"), name, f"of-{name}", "REGISTER", uri)],
               seconds=20, **more)
    if m.status != 200 or not m.get("Contact"):
        raise Failed(f"    {m.start}")
    return m


def without_repetitions(ua, method=None, status=None):
    heard = ua.__dict__.setdefault("heard", set())
    while True:
        m = ua.expect(seconds=20)
        if m.raw in heard or m.status == 100:
            continue
        heard.add(m.raw)
        if (method and m.method != method) or (status and m.status != status):
            raise Failed(f"    expected {method or status}, got: {m.start}")
        return m


def call(w, alice, bob):
    """INVITE to BYE along the recorded route: through the proxy, Kamailio, and the proxy once more."""
    data = alice.request("INVITE", "sip:bob@reg.test", From="<sip:alice@reg.test>;tag=a", CSeq="1 INVITE")
    alice.raw(data)
    m = without_repetitions(bob, "INVITE")
    routes = m.all("Record-Route")
    if len(routes) < 3:
        raise Failed(f"    not through proxy, registrar and proxy: {routes}")
    bob.reply(m, 180, "Ringing", tag="b", headers=[f"Contact: <sip:bob@{bob.place()};transport={bob.transport}>"])
    without_repetitions(alice, status=180)
    bob.reply(m, 200, tag="b", headers=[f"Contact: <sip:bob@{bob.place()};transport={bob.transport}>"])
    ok = without_repetitions(alice, status=200)
    target = ok.get("Contact").strip("<>")
    route = [f"Route: {r}" for r in reversed(ok.all("Record-Route"))]
    same = {"Call_ID": ok.get("Call-ID"), "From": ok.get("From"), "To": ok.get("To")}
    alice.raw(alice.request("ACK", target, route, CSeq="1 ACK", **same))
    without_repetitions(bob, "ACK")
    alice.raw(alice.request("BYE", target, route, CSeq="2 BYE", **same))
    bob.reply(without_repetitions(bob, "BYE"), 200, tag="b")
    while without_repetitions(alice).get("CSeq") != "2 BYE":
        pass


def behind(w, transport):
    """The own network is 127.0.0.2: telephones and registrar are both there."""
    w.config(lan=f'{{ listen: ["udp:127.0.0.2:{w.lan}", "tcp:127.0.0.2:{w.lan}"] }}',
             routes=f"[ {{ domain: reg.test, host: 127.0.0.1, port: {{o3}}, transport: {transport}, bind: 127.0.0.2 }} ]")
    w.start()
    start_kamailio(w, transport)
    with Ua("tcp", ("127.0.0.2", w.lan)) as alice, Ua("udp", ("127.0.0.2", w.lan)) as bob:
        register(alice, "alice")
        register(bob, "bob")
        call(w, alice, bob)
        call(w, alice, bob)
        data = alice.request("MESSAGE", "sip:bob@reg.test", body="hello", From="<sip:alice@reg.test>;tag=a")
        alice.raw(data)
        m = without_repetitions(bob, "MESSAGE")
        bob.reply(m, 200)
        while without_repetitions(alice).get("CSeq") != "1 MESSAGE":
            pass


@case("telephones register at a Kamailio behind the proxy, and are called through it by the Path that the proxy left there")
def _(w):
    behind(w, "udp")


@case("the same with TCP between the two")
def _(w):
    behind(w, "tcp")


def attack(w, *argv, seconds=120):
    need(argv[0])
    return w.run(argv[0], "-b", "127.0.0.1", "-P", str(w.other(7)), "-p", str(w.base), *argv[1:], "127.0.0.1", timeout=seconds, env={"HOME": w.folder})


@case("sipvicious finds the server, and neither its make nor who its users are, by no method")
def _(w):
    w.config(users="[ { name: '100', password: '1234' }, { name: '103', password: '9999' } ]")
    w.start()
    attack(w, "svmap").exits(0).says(f"127.0.0.1:{w.base}", "unknown").never_says("stile")
    for method in ("REGISTER", "INVITE", "OPTIONS"):
        said = attack(w, "svwar", "-m", method, "--force", "--domain", "uc.test", "-e", "98-104")
        said.says("found nothing")
    with w.udp(lan=False) as eve:  # nor by what it does not look at: the answers are the same but for what differs always
        for method in ("REGISTER", "INVITE", "MESSAGE", "SUBSCRIBE"):
            starts = {eve.ask(method, "sip:uc.test" if method == "REGISTER" else f"sip:{user}@uc.test", From=f"<sip:{user}@uc.test>;tag=e",
                              To=f"<sip:{user}@uc.test>").start for user in ("100", "102")}
            if len(starts) != 1:
                raise Failed(f"    {method} tells who exists: {starts}")


@case("sipvicious cracks a password at its first guess, but is let guess a few times only")
def _(w):
    w.config(users="[ { name: '100', password: '1234' }, { name: '101', password: 'no number' } ]")
    w.start()
    attack(w, "svcrack", "-u", "100", "-r", "1234", "--domain", "uc.test").says("100", "1234")
    attack(w, "svcrack", "-u", "101", "-r", "9900-9999", "--maximumtime", "4", "--domain", "uc.test").says("found nothing")
    w.logged("101@uc.test", "the credential is not good")
    looked_at, unheard = (w.metric("stile_sip_refusals_total", why) for why in ("credential", "backoff"))
    if looked_at > 20 or unheard < 20:
        raise Failed(f"    {looked_at} guesses were looked at, {unheard} not")


if __name__ == "__main__":
    raise SystemExit(main(23150))
