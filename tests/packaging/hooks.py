# SPDX-License-Identifier: Apache-2.0
"""packaging/hooks/stile-certificate, called as certbot, lego and uacme call it: the running server shows the new certificate to who
connects next, and rubbish never gets as far as the server."""
import os
import ssl
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "admin"))
import world  # noqa: E402
from world import Failed, case, main  # noqa: E402

HOOK = os.path.join(HERE, "../../packaging/hooks/stile-certificate")
NAME = "turn.example.org"


class Lineage:
    """Certificates as a client of an ACME server leaves them."""

    def __init__(self, w):
        self.w = w
        self.n = 0

    def renew(self, chain, key):
        self.n += 1
        self.w.certificate(f"issued-{self.n}", names=f"DNS:{NAME}")
        for kind, to in (("pem", chain), ("key", key)):
            os.makedirs(os.path.dirname(self.w.path(to)), exist_ok=True)
            os.replace(self.w.path(f"issued-{self.n}.{kind}"), self.w.path(to))


def hook(w, *argv, **env):
    own = {"STILE_TLS_DIR": w.path("tls"), "STILE": os.path.abspath(world.STILE), "STILE_OPTIONS": f"--runtime-dir {w.path('run')}"}
    return w.run(HOOK, *argv, env={**own, **env})


def shown(w):
    return ssl.get_server_certificate(("127.0.0.1", w.tls), timeout=20).strip()


def at_work(w, chain):
    """The first certificate of the chain is what a client sees."""
    with open(w.path(chain), encoding="ascii") as f:
        if f.read().strip() != shown(w):
            raise Failed(f"    the server does not show {chain}")


def start(w):
    """With a first certificate that came by hand."""
    lineage = Lineage(w)
    lineage.renew("first/chain.pem", "first/key.pem")
    hook(w, w.path("first/chain.pem"), w.path("first/key.pem"), NAME)  # nobody runs yet: in place, and told
    w.config(certificate=f"tls/{NAME}.pem", key=f"tls/{NAME}.key")
    w.start()
    at_work(w, "first/chain.pem")
    return lineage


@case("certbot, lego and uacme renew: the running server shows each new certificate at once; only the group may read the key")
def _(w):
    lineage = start(w)
    lineage.renew(f"live/{NAME}/fullchain.pem", f"live/{NAME}/privkey.pem")
    hook(w, RENEWED_LINEAGE=w.path(f"live/{NAME}"), RENEWED_DOMAINS=NAME).exits(0)
    at_work(w, f"live/{NAME}/fullchain.pem")
    lineage.renew(f"lego/{NAME}.crt", f"lego/{NAME}.key")
    hook(w, LEGO_CERT_PATH=w.path(f"lego/{NAME}.crt"), LEGO_CERT_KEY_PATH=w.path(f"lego/{NAME}.key"), LEGO_CERT_DOMAIN=NAME).exits(0)
    at_work(w, f"lego/{NAME}.crt")
    lineage.renew(f"uacme/{NAME}/cert.pem", f"uacme/private/{NAME}/key.pem")
    hook(w, "uacme", NAME, UACME_CONFDIR=w.path("uacme")).exits(0)
    at_work(w, f"uacme/{NAME}/cert.pem")
    if os.stat(w.path(f"tls/{NAME}.key")).st_mode & 0o27:
        raise Failed("    others may read the key")
    if sorted(os.listdir(w.path("tls"))) != [f"{NAME}.key", f"{NAME}.pem"]:
        raise Failed(f"    left behind: {os.listdir(w.path('tls'))}")


@case("rubbish, a key of another certificate, one that has ended and strange names are refused; what was at work stays at work")
def _(w):
    start(w)
    before = shown(w)
    w.certificate("other")
    w.certificate("old", valid=("20200101000000Z", "20210101000000Z"))
    w.write("rubbish.pem", "not a certificate\n")
    good = (w.path("first/chain.pem"), w.path("first/key.pem"))
    for says, argv in (("no certificate", (w.path("rubbish.pem"), good[1], NAME)),
                       ("no private key", (good[0], w.path("rubbish.pem"), NAME)),
                       ("do not belong together", (w.path("other.pem"), good[1], NAME)),
                       ("ended", (w.path("old.pem"), w.path("old.key"), NAME)),
                       ("no name", (*good, "../stile")), ("no certificate", (w.path("missing.pem"), good[1], NAME))):
        hook(w, *argv).exits(1).says(says)
    hook(w).exits(2).says("certbot")
    hook(w, w.path("other.pem"), w.path("other.key"), "mail.example.org", STILE_CERTIFICATE_NAMES=NAME).exits(0)
    if shown(w) != before or sorted(os.listdir(w.path("tls"))) != [f"{NAME}.key", f"{NAME}.pem"]:
        raise Failed("    something was changed")
    w.ask("reload").exits(0)


sys.exit(main(29700))
