# SPDX-License-Identifier: Apache-2.0
"""Refusals are explained to the administrator: in the log and by `stile turn why`, and never for what belongs to every
handshake."""
import socket
import sys
import time

from turn_client import ALLOCATE, PATIENCE, TRANSPORT, Client, attribute
from world import SECRET, Failed, case, main

ALLOCATION = attribute(TRANSPORT, b"\x11\0\0\0")


def refused(client, seconds=0.5):
    """The code of one request without a second try; None: no answer within so many seconds."""
    before = client.socket.gettimeout()
    client.socket.settimeout(seconds)
    try:
        answer = client._ask(ALLOCATE, ALLOCATION)
    except socket.timeout:
        return None
    finally:
        client.socket.settimeout(before)
    return answer[26] * 100 + answer[27] if answer[0] & 1 and answer[1] & 0x10 else 0


def until_unanswered(w, client):
    """The codes of bad credentials until the server waits for the client: counted there, for a busy server answers late, too."""
    codes = []
    while not w.metric("stile_turn_refusals_total", "backoff") and len(codes) < 20:
        codes.append(refused(client))
    return codes


def challenged(w, user, password):
    c = Client(w.port, user, password)
    c.allocate()  # the challenge, and one failure
    return c


@case("the first 401 of a handshake is no event: nothing in the log, nothing for turn why")
def _(w):
    w.config(tls=False)
    w.start()
    with Client(w.port, "alice", "wonderland") as a:
        if a.allocate():
            raise Failed("    no allocation")
        a.refresh(0)
    w.ask("turn", "why").exits(0).says("nothing was refused lately")
    if w.metric("stile_turn_refusals_total", "challenge") != 1:
        raise Failed("    the challenge is counted, though")
    w.ask("turn", "metrics", "refusals").exits(0).says('reason="challenge"} 1')
    if "refused" in w.log_text():
        raise Failed("    the log holds a refusal")


@case("a real failure has its cause in the log and in turn why, by user and by address")
def _(w):
    w.config(tls=False)
    w.start()
    expired = f"{int(time.time()) - 40}:carol"
    for user, password, cause in (("alice", "guess", "wrong password"), ("nobody", "x", "unknown user name"),
                                  (expired, rest_password(expired), "(secret 2026a); here it is "),
                                  ("3600:dave", rest_password("3600:dave"), "3600 is no point in time")):
        challenged(w, user, password).socket.close()
        name = user.split(":")[-1]
        w.ask("turn", "why", name).exits(0).says("401", "Allocate", name, cause)
        w.logged("warn turn.refused.credential", "code=401", f"user={user}", cause)
    w.ask("turn", "why", "127.0.0.1").exits(0).says("dave", "carol", "nobody", "alice")
    w.ask("turn", "why", "192.0.2.1").exits(0).says("nothing was refused lately to 192.0.2.1")
    w.logged("warn turn.refused.credential", "secret=2026a")


@case("why a TCP connection with a peer failed is told")
def _(w):
    w.config(tls=False)
    w.start()
    with socket.socket() as nobody, Client(w.port, "alice", "wonderland", kind=socket.SOCK_STREAM) as c:
        nobody.bind(("127.0.0.1", 0))
        at = nobody.getsockname()
        if c.allocate(socket.IPPROTO_TCP) != 0 or c.connect(*at) != 447:
            raise Failed("    it is no 447")
    w.ask("turn", "why", "alice").exits(0).says(f"could not be connected to: 127.0.0.1:{at[1]}: Connection refused")


@case("a user is found by the whole name, however long it is")
def _(w):
    w.config(tls=False)
    w.start()
    long, expired = "a" * 40 + "@" + "b" * 40, f"{int(time.time()) - 40}:" + "c" * 80
    challenged(w, long, "guess").socket.close()
    challenged(w, expired, rest_password(expired)).socket.close()
    w.ask("turn", "why", long).exits(0).says("unknown user name")
    w.ask("turn", "why", expired).exits(0).says("expired")
    w.ask("turn", "why", "c" * 80).exits(0).says("expired")
    w.ask("turn", "why", "a" * 40).exits(0).says("nothing was refused lately")


def rest_password(user):
    import base64
    import hashlib
    import hmac
    return base64.b64encode(hmac.new(SECRET.encode(), user.encode(), hashlib.sha1).digest()).decode()


@case("after five bad credentials a client is left unanswered, and why says until when; its neighbour gets in")
def _(w):
    w.config(tls=False, workers=1)
    w.start()
    with challenged(w, "alice", "guess") as a:
        codes = until_unanswered(w, a)
        if 401 not in codes or codes[-1] is not None:
            raise Failed(f"    {codes}")
        # More than five, if the wait was over before the next one came.
        w.ask("turn", "why", "alice").exits(0).says("wrong password; backing off until ", "~UTC after [5-9] bad credentials")
        w.logged("warn turn.backoff", "of=user", "failures=5", "wait_ms=1000")
        w.ask("turn", "user", "add", "bob", stdin="builder\n").exits(0)
        with Client(w.port, "bob", "builder") as bob:
            if bob.allocate():
                raise Failed("    the neighbour was refused")
        a.password = "wonderland"
        time.sleep(1.1)
        if refused(a):
            raise Failed("    after the wait the right password is refused")


@case("the limits of bad credentials change with a reload")
def _(w):
    w.config(tls=False, workers=1, limits="{ bad_credentials: 2 }")
    w.start()
    with challenged(w, "alice", "guess") as a:
        codes = until_unanswered(w, a)
        if codes[-1] is not None:
            raise Failed(f"    {codes}")
    w.config(tls=False, workers=1, limits="{ bad_credentials: unlimited, bad_credentials_per_address: unlimited }")
    w.ask("reload").exits(0).says("turn.limits.bad_credentials")
    with challenged(w, "alice", "guess") as a:
        codes = [refused(a, PATIENCE) for _i in range(20)]
        if set(codes) != {401}:
            raise Failed(f"    {codes}")


if __name__ == "__main__":
    sys.exit(main(23100))
