# SPDX-License-Identifier: Apache-2.0
"""Conversations for sipp, as lists of steps: what one end says and what it wants to hear. Written out as sipp's XML.

sipp's own scenarios ignore Record-Route; here every request within a dialog carries the route set that was recorded
(rrs and [routes]), and each end checks what matters: that it was recorded, that headers came through."""

END = "[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n"
CONTACT = "Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>\n"
LINGER = 30000  # an end that has answered stays a while, to answer again
TALK = 100
RECORDED = "Record-Route: .sip:"


def _message(first, headers, body=""):
    """A message's text: first line and headers, then what sipp counts as its length."""
    length = "Content-Type: text/plain\nContent-Length: [len]" if body else "Content-Length: 0"
    return f"{first}\n{headers}{length}\n\n{body}"


def request(method, cseq=1, more="", body=""):
    """Outside of a dialog, or its first."""
    return _message(f"{method} sip:[service]@callee.test SIP/2.0",
                    "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n"
                    "From: <sip:[call_number]@caller.test>;tag=a[call_number]\nTo: <sip:[service]@callee.test>\nCall-ID: [call_id]\n"
                    f"CSeq: {cseq} {method}\n{CONTACT}Max-Forwards: 70\n{more}", body)


def within(method, cseq, more=""):
    """Within the dialog, by the caller: next_url and routes are those that were recorded, To has the callee's tag."""
    return _message(f"{method} [next_url] SIP/2.0",
                    "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n"
                    "From: <sip:[call_number]@caller.test>;tag=a[call_number]\nTo: <sip:[service]@callee.test>[peer_tag_param]\n"
                    f"Call-ID: [call_id]\nCSeq: {cseq} {method}\n{CONTACT}Max-Forwards: 70\n[routes]\n{more}")


def back(method, cseq, more=""):
    """Within the dialog, by the callee: From and To change their places."""
    return _message(f"{method} [next_url] SIP/2.0",
                    "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n"
                    "From: [$2];tag=b[call_number]\nTo: [$3]\n"
                    f"Call-ID: [call_id]\nCSeq: {cseq} {method}\n{CONTACT}Max-Forwards: 70\n[routes]\n{more}")


def answer(code, reason="Well", more="", tag=True):
    """To the request that came last."""
    end = END.replace("[last_To:]", "[last_To:];tag=b[call_number]") if tag else END
    return _message(f"SIP/2.0 {code} {reason}", "[last_Record-Route:]\n" + end + CONTACT + more)


def answer_kept(code, cseq):
    """To an earlier one, whose headers were kept in $1 and $5 (Via), $2 (To), $3 (From) and $4 (Record-Route)."""
    return _message(f"SIP/2.0 {code} Well", "Via: [$1]\nVia: [$5]\nRecord-Route: [$4]\nFrom: [$3]\nTo: [$2];tag=b[call_number]\n"
                    f"Call-ID: [call_id]\nCSeq: {cseq}\n{CONTACT}")


def send(text, retrans=False):
    attributes = ' retrans="500"' if retrans else ""
    return f"<send{attributes}><![CDATA[\n\n{text}\n]]></send>"


def recv(what, optional=False, rrs=False, checks=(), keep=()):
    """what: a code or a method. checks: regular expressions that the message must match. keep: headers for $1, $2 …"""
    kind = "response" if str(what).isdigit() else "request"
    attributes = f'{kind}="{what}"' + (' optional="true"' if optional else "") + (' rrs="true"' if rrs else "")
    actions = "".join(f'<ereg regexp="{c}" search_in="msg" check_it="true" assign_to="{9 - i}"/>' for i, c in enumerate(checks))
    actions += "".join(f'<ereg regexp=".*" search_in="hdr" header="{h}:" occurrence="{1 + keep[:i].count(h)}" check_it="true" '
                       f'assign_to="{i + 1}"/>' for i, h in enumerate(keep))
    return f"<recv {attributes}>" + (f"<action>{actions}</action>" if actions else "") + "</recv>"


def pause(ms):
    return f'<pause milliseconds="{ms}"/>'


def scenario(*steps):
    text = "\n".join(steps)
    used = sorted({n for n in "123456789" if f'assign_to="{n}"' in text})
    reference = f'<Reference variables="{",".join(used)}"/>' if used else ""
    return f'<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="tests/sip">\n{text}\n{reference}\n</scenario>\n'


KEPT = ("Via", "To", "From", "Record-Route", "Via")

def for_bad_networks(ends):
    """The caller talks long enough for a lost ACK to be asked for again."""
    return ends[0].replace(pause(TALK), pause(6000)), ends[1]


# name: (caller, callee)
CALLS = {
    "a call": (
        scenario(
            send(request("INVITE", body="v=0"), True), recv(100, optional=True), recv(180, optional=True),
            recv(200, rrs=True, checks=(RECORDED,)), send(within("ACK", 1)), pause(TALK),
            send(within("BYE", 2), True), recv(200)),
        scenario(
            recv("INVITE", rrs=True, checks=(RECORDED, "Max-Forwards: 69")), send(answer(180)), send(answer(200), True),
            recv("ACK", checks=("Via:.*Via:",)), recv("BYE"), send(answer(200, tag=False)), pause(LINGER))),
    "100rel and a re-INVITE": (
        scenario(
            send(request("INVITE", more="Supported: 100rel\n"), True), recv(100, optional=True),
            recv(180, rrs=True, checks=(RECORDED, "RSeq: 1", "Require: 100rel")),
            send(within("PRACK", 2, "RAck: 1 1 INVITE\n"), True), recv(200, checks=("CSeq: 2 PRACK",)),
            recv(200, rrs=True, checks=("CSeq: 1 INVITE",)), send(within("ACK", 1)),
            send(within("INVITE", 3), True), recv(100, optional=True), recv(200, checks=("CSeq: 3 INVITE",)), send(within("ACK", 3)),
            pause(TALK), send(within("BYE", 4), True), recv(200)),
        scenario(
            recv("INVITE", rrs=True, keep=KEPT), send(answer(180, more="RSeq: 1\nRequire: 100rel\n")),
            recv("PRACK", checks=("RAck: 1 1 INVITE",)), send(answer(200, tag=False)), send(answer_kept(200, "1 INVITE"), True),
            recv("ACK"), recv("INVITE"), send(answer(200, tag=False), True), recv("ACK"), recv("BYE"), send(answer(200, tag=False)),
            pause(LINGER))),
    "CANCEL": (
        scenario(
            send(request("INVITE"), True), recv(100, optional=True), recv(180),
            send(_message("CANCEL sip:[service]@callee.test SIP/2.0",
                          "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-3]\n"
                          "From: <sip:[call_number]@caller.test>;tag=a[call_number]\nTo: <sip:[service]@callee.test>\n"
                          "Call-ID: [call_id]\nCSeq: 1 CANCEL\nMax-Forwards: 70\n"), True),
            recv(200, checks=("CSeq: 1 CANCEL",)), recv(487),
            send(_message("ACK sip:[service]@callee.test SIP/2.0",
                          "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-6]\n"
                          "From: <sip:[call_number]@caller.test>;tag=a[call_number]\n[last_To:]\n"
                          "Call-ID: [call_id]\nCSeq: 1 ACK\nMax-Forwards: 70\n"))),
        scenario(
            recv("INVITE", keep=KEPT), send(answer(180)), recv("CANCEL"), send(answer(200)), send(answer_kept(487, "1 INVITE"), True),
            recv("ACK"))),
    "a busy callee": (
        scenario(
            send(request("INVITE"), True), recv(100, optional=True), recv(486),
            send(_message("ACK sip:[service]@callee.test SIP/2.0",
                          "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-3]\n"
                          "From: <sip:[call_number]@caller.test>;tag=a[call_number]\n[last_To:]\n"
                          "Call-ID: [call_id]\nCSeq: 1 ACK\nMax-Forwards: 70\n"))),
        scenario(recv("INVITE"), send(answer(486), True), recv("ACK"), pause(LINGER))),
    "MESSAGE": (
        scenario(send(request("MESSAGE", body="hello"), True), recv(200)),
        scenario(recv("MESSAGE", checks=("hello",)), send(answer(200)), pause(LINGER))),
    "SUBSCRIBE and NOTIFY": (
        scenario(
            send(request("SUBSCRIBE", more="Event: presence\nExpires: 60\n"), True), recv(200, rrs=True, checks=(RECORDED,)),
            recv("NOTIFY", checks=("Subscription-State: active",)), send(answer(200, tag=False)),
            send(within("SUBSCRIBE", 2, "Event: presence\nExpires: 0\n"), True), recv(200)),
        scenario(
            recv("SUBSCRIBE", rrs=True, keep=KEPT), send(answer(200, more="Expires: 60\n")), pause(50),
            send(back("NOTIFY", 1, "Event: presence\nSubscription-State: active;expires=60\n"), True), recv(200),
            recv("SUBSCRIBE"), send(answer(200, tag=False)))),
    "PUBLISH": (
        scenario(send(request("PUBLISH", more="Event: presence\nExpires: 60\n", body="open"), True), recv(200, checks=("SIP-ETag: x",))),
        scenario(recv("PUBLISH", checks=("Event: presence",)), send(answer(200, more="SIP-ETag: x\n")))),
}
