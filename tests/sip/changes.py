# SPDX-License-Identifier: Apache-2.0
"""Settings, undo and changes of stile-sip by the verbs that every service has: accounts, routes and interfaces that were
changed by a command of their own come back, and a setting holds over a restart."""
import os
import sys

from sip_world import Failed, Ua, case, main, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "admin"))
from settings import call, refused, row, want  # noqa: E402


def last(w):
    return call(w, "config.audit")["rows"][0]["change"]


def partner(w):
    return [r["locked"] for r in call(w, "sip.route.list")["rows"] if r["domain"] == "partner.test"]


def listens(port):
    try:
        Ua("tcp", ("127.0.0.1", port)).close()
        return True
    except ConnectionRefusedError:
        return False


@case("a setting of the proxy holds over a restart and is undone; bad ones and those of the file are refused")
def _(w):
    w.config()
    server = w.start()
    made = call(w, "config.set", path="log.keep", value=9)
    call(w, "config.set", path="sip.limits.transactions", value=1234)
    refused(w, "config.set", "bad-request", "sip.limits.transactions", path="sip.limits.transactions", value="x")
    refused(w, "config.set", "locked", "stile.yaml:", path="sip.domains", value=["other.test"])
    server.stop()
    w.start()
    want((row(w, "log.keep")["value"], row(w, "sip.limits.transactions")["value"]), ("9", "1234"))
    call(w, "config.undo", change=made["change"])
    want(row(w, "log.keep")["value"], "5")


@case("an account, a route and an interface that were changed or deleted come back by an undo")
def _(w):
    w.config()
    w.start()
    call(w, "sip.user.put", name="zoe@uc.test", password="first-word")
    call(w, "sip.user.delete", name="zoe@uc.test")
    call(w, "config.undo", change=last(w))
    if "zoe@uc.test" not in [u["name"] for u in call(w, "sip.user.list")["rows"]]:
        raise Failed("    the user is not back")
    refused(w, "config.put", "bad-request", "password", kind="sip.user", key="zoe@uc.test", body={"password": ""})
    refused(w, "config.put", "bad-request", "none of sip.domains", kind="sip.user", key="zoe@else.test", body={"password": "x"})
    call(w, "config.put", kind="sip.route", key="partner.test", body={"host": "127.0.0.1", "port": "5999", "transport": "tcp"})
    refused(w, "config.put", "bad-request", "transport", kind="sip.route", key="other.test", body={"host": "127.0.0.1", "transport": "pigeon"})
    want(partner(w), [False])
    call(w, "config.undo", change=last(w))
    want(partner(w), [])
    port = w.other(5)
    w.ask("sip", "interface", "add", f"tcp:127.0.0.1:{port}").exits(0)
    wait_for("the interface listens", lambda: listens(port))
    w.ask("sip", "interface", "remove", f"tcp:127.0.0.1:{port}").exits(0)
    wait_for("it is removed", lambda: not listens(port))
    call(w, "config.undo", change=last(w))
    wait_for("it listens again", lambda: listens(port))
    call(w, "config.undo", change=last(w))
    wait_for("it is removed again", lambda: not listens(port))


@case("what was made in the store is exported where a file has it: it can be read as a file, and is alike")
def _(w):
    w.certificate()
    w.config(tls=True, routes="[ { domain: Out.Test, host: 127.0.0.1, port: {o0}, transport: udp } ]", users="[ { name: ann, password: of-the-file } ]")
    w.start()
    port = w.other(5)
    call(w, "sip.user.put", name="zoe@uc.test", password="first-word")
    call(w, "config.put", kind="sip.route", key="partner.test", body={"host": "127.0.0.1", "port": "5999", "transport": "tcp"})
    w.ask("sip", "federation", "allow", "friend.test", "--messages", "out").exits(0)
    call(w, "config.put", kind="sip.server", key="uc-a", body={"password": "of-the-server", "addresses": ["192.0.2.7/32"], "group": "north"})
    w.ask("sip", "interface", "add", f"tcp:127.0.0.1:{port}").exits(0)
    call(w, "config.set", path="sip.limits.transactions", value=1234)

    def export(*more):
        return w.ask("config", "export", "-c", w.path("stile.yaml"), *more).exits(0)
    clear = export("--secrets").says("of-the-file").says("first-word").says("of-the-server").never_says("token").out
    sip = export("--secrets", "--json").json()["sip"]
    want([u["name"] for u in sip["users"]], ["ann", "zoe@uc.test"])
    want([r["domain"] for r in sip["routes"]], ["Out.Test", "partner.test"])
    want([(p["domain"], p["messages"]) for p in sip["federation"]["partners"]], [("friend.test", "out")])
    want([(s["user"], s["group"]) for s in sip["lan"]["servers"]], [("uc-a", "north")])
    want([i["listen"] for i in sip["interfaces"]], [f"tcp:127.0.0.1:{port}"])
    want(sip["limits"]["transactions"], "1234")
    for masked in (False, True):
        other = export().never_says("of-the-file", "first-word", "of-the-server", "token").out if masked else clear
        w.ask("config", "diff", "-", "-c", w.path("stile.yaml"), stdin=other).exits(0).says("alike")
    w.ask("config", "diff", "-", "-c", w.path("stile.yaml"), stdin=clear.replace("group: north", "group: south")).exits(1).says("sip.lan.servers[uc-a].group")
    w.write("copy.yaml", clear)
    w.check("copy.yaml").exits(0)
    # The file has one of a name meanwhile: it wins, however it writes a domain.
    w.config(tls=True, routes="[ { domain: Partner.Test, host: 127.0.0.2, port: {o0}, transport: udp } ]")
    want([(r["domain"], r["host"]) for r in export("--json").json()["sip"]["routes"]], [("Partner.Test", "127.0.0.2")])


if __name__ == "__main__":
    sys.exit(main(27900))
