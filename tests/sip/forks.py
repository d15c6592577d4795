#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One user, several telephones: registered at stile-sip with their credentials, called together or one after the other;
who answers first gets the call, the others are cancelled, and the best answer goes back if nobody does."""
import hashlib
import re

from sip_world import Failed, Ua, case, main

USERS = "[ { name: bob, password: of-bob } ]"


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def authorization(challenge, method, uri, user, password):
    """RFC 7616 for MD5 with qop=auth."""
    said = {k: v.strip('"') for k, v in re.findall(r'(\w+)=("[^"]*"|[^,\s]+)', challenge)}
    ha1, ha2 = md5(f"{user}:{said['realm']}:{password}"), md5(f"{method}:{uri}")
    response = md5(f"{ha1}:{said['nonce']}:00000001:c:auth:{ha2}")
    opaque = f', opaque="{said["opaque"]}"' if "opaque" in said else ""
    return (f'Digest username="{user}", realm="{said["realm"]}", nonce="{said["nonce"]}", uri="{uri}", response="{response}", '
            f'algorithm=MD5, qop=auth, nc=00000001, cnonce="c"{opaque}')


class Phone(Ua):
    """A telephone of bob's: registered, then it answers what it is told to."""

    def __init__(self, w, q="1.0", password="of-bob"):
        super().__init__("udp", ("127.0.0.1", w.base), bind=("127.0.0.1", 0))
        uri, call = "sip:uc.test", f"reg{self.at[1]}"
        contact = f"<sip:bob@{self.place()}>;q={q}"
        more = {"From": "<sip:bob@uc.test>;tag=r", "To": "<sip:bob@uc.test>", "Call_ID": call, "Contact": contact}
        first = self.ask("REGISTER", uri, **more)
        if first.status != 401:
            raise Failed(f"    REGISTER without credentials: {first.start}")
        challenge = next(v for v in first.all("WWW-Authenticate") if "SHA" not in v)
        self.registered = self.ask("REGISTER", uri, CSeq="2 REGISTER",
                                   headers=["Authorization: " + authorization(challenge, "REGISTER", uri, "bob", password)], **more)

    def invited(self):
        self.invite = self.expect("INVITE")
        return self.invite

    def answer(self, code, reason="Well"):
        self.reply(self.invite, code, reason, tag=f"p{self.at[1]}", headers=[f"Contact: <sip:bob@{self.place()}>"])

    def acknowledged(self):
        return self.expect("ACK")

    def cancelled(self):
        c = self.expect("CANCEL")
        self.reply(c, 200)
        self.answer(487, "Request Terminated")
        self.acknowledged()
        return c


def status(ua, code, seconds=15):
    """The next response but 100."""
    while True:
        m = ua.next(seconds)
        if not m:
            raise Failed(f"    waited for {code}")
        if m.status != 100:
            break
    if m.status != code:
        raise Failed(f"    expected {code}, got {m.start}")
    return m


def begin(w):
    w.config(users=USERS)
    w.start()


def quiet(ua):
    m = ua.next(0.5)
    if m:
        raise Failed(f"    nothing was expected, but {m.start}")


def call_bob(w):
    caller = w.udp()
    caller.raw(caller.request("INVITE", "sip:bob@uc.test", From="<sip:x@elsewhere.test>;tag=c", Call_ID=f"fork{caller.at[1]}"))
    return caller


@case("both telephones ring; who answers first gets the call, and the other one is told where it went")
def _(w):
    begin(w)
    with Phone(w) as one, Phone(w) as two, call_bob(w) as caller:
        for p in (one, two):
            if p.registered.status != 200:
                raise Failed(f"    {p.registered.start}")
            p.invited()
            p.answer(180, "Ringing")
            status(caller, 180)
        two.answer(200, "OK")
        if f"tag=p{two.at[1]}" not in status(caller, 200).get("To"):
            raise Failed("    another one's 200")
        if "Call completed elsewhere" not in one.cancelled().get("Reason", ""):
            raise Failed("    the CANCEL does not say why")
        quiet(caller)


@case("a telephone of lower q rings when the one before has refused, and the best of all refusals goes back")
def _(w):
    begin(w)
    with Phone(w, "0.8") as one, Phone(w, "0.5") as two, call_bob(w) as caller:
        one.invited()
        one.answer(180, "Ringing")
        status(caller, 180)
        quiet(two)
        one.answer(486, "Busy Here")
        one.acknowledged()
        two.invited()
        two.answer(480, "Temporarily Unavailable")
        two.acknowledged()
        status(caller, 486)


@case("a caller who gives up stops all telephones")
def _(w):
    begin(w)
    with Phone(w) as one, Phone(w) as two, w.udp() as caller:
        invite = caller.request("INVITE", "sip:bob@uc.test", From="<sip:x@elsewhere.test>;tag=c", Call_ID="giveup")
        caller.raw(invite)
        for p in (one, two):
            p.invited()
            p.answer(180, "Ringing")
            status(caller, 180)
        caller.raw(re.sub(rb"\r\nContact:[^\r]*", b"", invite.replace(b"INVITE", b"CANCEL")))
        status(caller, 200)
        one.cancelled()
        two.cancelled()
        status(caller, 487)


@case("a decline of one telephone ends the call for all")
def _(w):
    begin(w)
    with Phone(w) as one, Phone(w) as two, call_bob(w) as caller:
        for p in (one, two):
            p.invited()
            p.answer(180, "Ringing")
            status(caller, 180)
        one.answer(603, "Decline")
        one.acknowledged()
        two.cancelled()
        status(caller, 603)


@case("a wrong password registers nothing, and nobody is called there")
def _(w):
    begin(w)
    with Phone(w, password="guess") as one, call_bob(w) as caller:
        if one.registered.status == 200:
            raise Failed("    it was registered")
        m = status(caller, 480)
        quiet(one)
        if m.status != 480:
            raise Failed(f"    {m.start}")


if __name__ == "__main__":
    raise SystemExit(main(27210))
