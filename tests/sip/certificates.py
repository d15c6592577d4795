# SPDX-License-Identifier: Apache-2.0
"""Certificates in the hands of an administrator: made, requested, examined, each fault in its own words, warned of before
their end, and replaced without dropping a connection."""
import os
import subprocess

from sip_world import Failed, Ua, case, main


def made(w, name, days, names="DNS:uc.test"):
    """A certificate of the world's CA."""
    w.certificate(name, names, days=days, again=True)


@case("a request and a self-signed certificate are made by command, with the key, and nothing is overwritten")
def _(w):
    key, csr, pem = w.path("new.key"), w.path("new.csr"), w.path("new.pem")
    w.stile("sip", "certificate", "request", "uc.test", "10.0.0.1", "--key", key, "--out", csr).exits(0).says("for your CA")
    said = subprocess.run(["openssl", "req", "-in", csr, "-noout", "-text", "-verify"], capture_output=True, text=True, check=True).stdout
    if "DNS:uc.test, IP Address:10.0.0.1" not in said or os.stat(key).st_mode & 0o77:
        raise Failed(f"    {said}")
    w.stile("sip", "certificate", "self-signed", "uc.test", "--key", key, "--out", pem, "--days", "40").exits(0).says("for tests")
    w.stile("sip", "certificate", "check", pem, "--key", key).exits(0).says("DNS:uc.test", "signed by itself", "belong together")
    w.stile("sip", "certificate", "request", "uc.test", "--key", key, "--out", csr).exits(1).says("File exists")
    w.stile("sip", "certificate", "request", "uc.test").exits(2).says("--key FILE and --out FILE")


@case("each thing that can be wrong with a certificate is said in its own words")
def _(w):
    def says(text, *argv, status=1):
        w.stile("sip", "certificate", "check", *argv).exits(status).says(text)
    made(w, "good", 60)
    made(w, "short", 12)
    w.write("rubbish.pem", "no certificate\n")
    says("belong together", w.path("good.pem"), "--key", w.path("good.key"), "--ca", w.path("ca.pem"), "--name", "uc.test", status=0)
    says("it ends in 1", w.path("short.pem"), status=0)
    says("No such file", w.path("none.pem"))
    says("no certificate in PEM", w.path("rubbish.pem"))
    says("another certificate's", w.path("good.pem"), "--key", w.path("short.key"))
    says("no private key in PEM", w.path("good.pem"), "--key", w.path("rubbish.pem"))
    says("not for other.test, but for DNS:uc.test", w.path("good.pem"), "--name", "other.test")
    says("do not vouch for it", w.path("good.pem"), "--ca", w.path("short.pem"))
    w.openssl("ec", "-in", "good.key", "-aes256", "-passout", "pass:x", "-out", "locked.key")
    says("has a passphrase", w.path("good.pem"), "--key", w.path("locked.key"))
    w.openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=weak", "-keyout", "weak.key", "-out", "weak.pem")
    says("1024 bits", w.path("weak.pem"))
    with open(w.path("good.pem"), encoding="ascii") as a, open(w.path("short.pem"), encoding="ascii") as b:
        w.write("order.pem", a.read() + b.read())
    says("did not issue the one before it", w.path("order.pem"))
    made(w, "wild", 60, names="DNS:*.test")
    says("not for uc.test", w.path("wild.pem"), "--name", "uc.test")


@case("from 30 days before its end a certificate is warned of; a new file is put to work by a reload and drops nothing")
def _(w):
    made(w, "server", 12, names="DNS:uc.test,IP:127.0.0.1")
    w.config(tls=True)
    w.check().exits(0).says("it ends in 1")
    w.start()
    w.logged("sip.certificate.ends", "it ends in 1")
    w.ask("sip", "certificate", "list").exits(0).says("for all listeners", "DNS:uc.test", "its key is there", f"tls:127.0.0.1:{w.base + 1}",
                                                      "it ends in 1")
    if w.metric("stile_sip_certificate_end_timestamp_seconds") < 1:
        raise Failed("    its end is not among the metrics")
    with Ua("tls", ("127.0.0.1", w.base + 1), context=w.context(), name="uc.test") as old:
        old.ask("OPTIONS", "sip:uc.test", From="<sip:x@else.test>;tag=1")
        w.ask("sip", "certificate", "files").exits(0).says(w.path("ca.pem"), w.path("ca.key"), w.path("server.pem"), w.path("server.key"))
        made(w, "server", 90, names="DNS:uc.test,IP:127.0.0.1")
        w.ask("sip", "certificate", "list").exits(0).says("nowhere yet")
        w.reload()
        w.ask("sip", "certificate", "list").exits(0).never_says("ends in", "nowhere yet")
        if old.ask("OPTIONS", "sip:uc.test", From="<sip:x@else.test>;tag=1").status != 200:
            raise Failed("    the old connection is gone")
        w.write("server.key", "no key\n")
        w.ask("reload", "sip").exits(1)
        if old.ask("OPTIONS", "sip:uc.test", From="<sip:x@else.test>;tag=1").status != 200:
            raise Failed("    a bad reload has done harm")


if __name__ == "__main__":
    raise SystemExit(main(28900))
