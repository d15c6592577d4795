# SPDX-License-Identifier: Apache-2.0
"""`--help` of both programs, mistyped commands, and `stile check`: what is wrong, where, and what was meant."""
import os
import re
import sys

import options
from world import AGENT, CONSOLE, FASTPATH, GATEWAY, ROOT, SIP, STILE, TUNNEL, TURN, Failed, case, main, need_root


@case("stile --help lists every command, and each command's --help tells how to use it")
def _(w):
    listed = w.stile("--help").exits(0).says("Usage: stile COMMAND", "Commands:", "Options", "Exit status").out
    commands = re.findall(r"^  ([a-z][a-z ]*[a-z])(?: \[?[A-Z].*?)?  +\S", listed.split("Options")[0], re.M)
    if len(commands) < 14:
        raise Failed(f"    only these commands are listed: {commands}")
    for c in commands:
        w.stile(*c.split(), "--help").exits(0).says(f"Usage: stile {c}", "Options:", "--help")
        w.stile("help", *c.split()).exits(0).says(f"Usage: stile {c}")
    w.stile("turn", "--help").exits(0).says("turn sessions", "turn kill")
    w.stile("--version").exits(0).says("stile ")


@case("a mistyped command is told what was meant, and exits with 2")
def _(w):
    for words, meant in (("statsu", "stile status"), ("turm", "stile turn"), ("turn sesions", "stile turn sessions"),
                         ("sessions", "stile turn sessions"), ("test trun", "stile test turn"),
                         ("turn user ad bob", "stile turn user add"), ("--hepl", "--help")):
        w.stile(*words.split()).exits(2).says("did you mean", meant)
    w.stile("frobnicate").exits(2).says("no command 'frobnicate'").never_says("did you mean")
    w.stile("frob\x1b\u009bnicate").exits(2).says("no command 'frob??nicate'")  # nothing that steers a terminal, C1 neither
    w.stile("turn").exits(2).says("One word more", "turn sessions", "turn user add NAME")
    w.stile("turn", "kill").exits(2).says("turn kill ID")


@case("a mistyped option or value is told what was meant, and exits with 2")
def _(w):
    w.stile("check", "--refrence").exits(2).says("--refrence is not one of its options; did you mean --reference?")
    w.stile("check", "--instance", "x").exits(2).says("not one of its options")
    w.stile("check", "-c").exits(2).says("needs a value")
    w.stile("status", "--json=yes").exits(2).says("takes no value")
    w.stile("check", "more").exits(2).says("more is one word too many")
    w.stile("turn", "kill", "abc").exits(2).says("ID is a number")
    w.stile("turn", "sessions", "--limit", "x").exits(2).says("--limit must be a number from 1 to")
    w.stile("credentials", "--ttl", "soon").exits(2).says("such as 30s, 10m or 24h")
    w.stile("log", "level", "turn", "loud").exits(2).says("error, warn, info, debug or trace")
    w.stile("log", "level", "trun", "debug").exits(2).says("no service 'trun'")
    w.stile("test", "turn", "127.0.0.1", "--transport", "udp,sctp").exits(2).says("udp, tcp, tls, dtls; not 'sctp'")
    w.stile("test", "turn", "127.0.0.1", "--user", "alice").exits(2).says("both --user and --password")


@case("stile-turn --help tells options, signals, files and exit codes; a bad option exits with 2")
def _(w):
    w.run(TURN, "--help").exits(0).says("Usage:", "--config FILE", "--instance NAME", "--user USER", "Signals:", "HUP", "Files",
                                        "Exit codes:")
    w.run(TURN, "--version").exits(0)
    w.run(TURN, "--cofnig", "x").exits(2).says("--cofnig", "Did you mean --config?", "--help")
    w.run(TURN, "--instanec=x").exits(2).says("Did you mean --instance?")
    w.run(TURN, "extra").exits(2).says("extra")
    w.run(TURN, "-c").exits(2)
    w.run(TURN, "--check", "-c", w.path("none.yaml"), env={"XDG_RUNTIME_DIR": ""}).exits(2).says("none.yaml", "No such file")


@case("a good configuration is called good")
def _(w):
    w.config()
    w.check().exits(0).says("stile-turn", "good").never_says("warning", "error")
    w.run(TURN, "-c", w.path("stile.yaml"), "--check", *(["--user", "root"] if ROOT else [])).exits(0).says("good")
    if w.check("stile.yaml", "--json").exits(0).json()[0]["errors"]:
        raise Failed("    --json has errors")


@case("several errors are shown at once, each with file, line, column and what was meant")
def _(w):
    w.write("bad.yaml", """log: { level: debgu }
turn:
  relam: example.org
  listen: ["tsl:127.0.0.1:1", "udp:127.0.0.1:99999"]
  limits: { alocations: 10, bitrate: fast }
  workers: 300
  users: [ { name: alice } ]
tunel: {}
""")
    expected = ["bad.yaml:1:15: 'level' must be one of", "did you mean 'debug'?",
                "bad.yaml:3:3: unknown key 'relam' in turn; did you mean 'realm'?",
                "bad.yaml:4:12: ", "did you mean 'tls'?", "bad.yaml:4:31: ", "'127.0.0.1:99999'",
                "bad.yaml:5:13: unknown key 'alocations'", "did you mean 'allocations'?",
                "bad.yaml:5:38: 'bitrate' must be a bit rate such as", "bad.yaml:6:12: 'workers' must be 0..250",
                "bad.yaml:7:12: 'password' is required", "bad.yaml:8:1: unknown section 'tunel'; did you mean 'tunnel'?"]
    w.check("bad.yaml").exits(2).says(*expected, "9 errors: it would not start")
    w.start_fails("bad.yaml").exits(2).says(*expected)
    errors = w.check("bad.yaml", "--json").exits(2).json()[0]["errors"]
    if (errors[1]["line"], errors[1]["column"]) != (3, 3) or "realm" not in errors[1]["text"] or len(errors) != 9:
        raise Failed(f"    --json: {errors}")


@case("a file that is missing, a folder, not YAML or without a section of ours is said so")
def _(w):
    w.check("none.yaml").exits(2).says("none.yaml: cannot be read: No such file")
    w.stile("check", "-c", w.folder).exits(2).says("/stile.yaml: cannot be read: No such file")
    os.makedirs(w.path("folder.yaml/stile.yaml"))
    w.check("folder.yaml").exits(2).says("Is a directory")
    w.write("broken.yaml", "turn: [\n")
    w.check("broken.yaml").exits(2).says("broken.yaml:2:1: not valid YAML")
    w.write("tab.yaml", "turn:\n\trealm: x\n")
    w.check("tab.yaml").exits(2).says("tab.yaml:2:1: a tab in the indentation")
    w.write("other.yaml", "log: {}\n")
    w.check("other.yaml").exits(2).says("no service of Stile has a section here")


@case("a file that this user may not read is said so")
def _(w):
    need_root()
    w.config()
    said = w.run(os.path.abspath(STILE), "check", "-c", w.path("stile.yaml"),
                 prefix=["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"])
    said.exits(2).says("stile.yaml: cannot be read: Permission denied")


@case("what root may read and the services' user may not is a warning that says how to mend it")
def _(w):
    need_root()
    w.config(log="{ level: debug }", users="[ { name: alice, password_file: alice.password } ]")
    w.write("alice.password", "wonderland\n")
    check = ("check", "-c", w.path("stile.yaml"), "--user", "nobody")
    files = ("stile.yaml", "server.key", "alice.password")
    for name in files:
        for other in files:
            os.chmod(w.path(other), 0o600)
            os.chown(w.path(other), 65534 if other != name else 0, -1)
        said = w.stile(*check).exits(0).says(f"the user nobody may not read {w.path(name)}", "chgrp nogroup", "1 warning")
        if "more file" in said.err:
            said.fail("it is only one")
    for name in files:
        os.chown(w.path(name), 0, -1)
    w.stile(*check).exits(0).says(f"the user nobody may not read {w.path('stile.yaml')} and 2 more files")
    w.run(TURN, "-c", w.path("stile.yaml"), "--check", "--user", "nobody").exits(0).says("the user nobody may not read")
    said = w.stile(*check[:-1], "root").exits(0)
    if "may not read" in said.err:
        said.fail("root may")


@case("of a folder, as instances have it, stile.yaml is checked: as the service does")
def _(w):
    w.config(log="{ level: debug }")
    os.mkdir(w.path("lab"))
    for name in ("server.pem", "server.key"):
        os.symlink(w.path(name), w.path("lab/" + name))
    os.rename(w.path("stile.yaml"), w.path("lab/stile.yaml"))
    w.check("lab").exits(0).says("lab/stile.yaml", "good")
    w.run(TURN, "-c", w.path("lab"), "--check", *(["--user", "root"] if ROOT else [])).exits(0).says("lab/stile.yaml: the configuration is good")


def refused(w, *texts, **keys):
    w.config(**keys)
    w.check().exits(2).says(*texts)
    w.start_fails().exits(2).says(*texts)


@case("no credential source: neither the check nor the start passes")
def _(w):
    refused(w, "stile.yaml:3:1: no password, users or secrets in turn", "Write one of", users=None, secrets=None)


@case("a missing key, certificate or secret file is named at the place where it stands")
def _(w):
    refused(w, "~stile.yaml:12:8: the key file .*nokey.pem.* cannot be read: No such file", key="nokey.pem")
    refused(w, "~stile.yaml:11:16: the certificate file .*nocert.pem.* cannot be read", certificate="nocert.pem")
    refused(w, "~stile.yaml:11:16: listener tls:127.0.0.1:\\d+ needs turn.certificate and turn.key; the key is missing", key=None)
    refused(w, "'secret_file':", "none.secret cannot be read: No such file", secrets="[ { id: a, secret_file: none.secret } ]")


@case("a key that does not belong to the certificate, and files that are no PEM, are refused")
def _(w):
    w.certificate("other")
    refused(w, "~stile.yaml:12:8: the key in .*other.key.* does not belong to the certificate in .*server.pem", key="other.key")
    w.write("junk.pem", "junk\n")
    refused(w, "holds no PEM private key", key="junk.pem")
    refused(w, "holds no PEM certificate", certificate="junk.pem")


@case("an expired certificate is a warning with its date, at the check and at the start")
def _(w):
    w.certificate("old", valid=("20200101000000Z", "20210101000000Z"))
    w.config(certificate="old.pem", key="old.key")
    w.check().exits(0).says("warning: the certificate in", "expired on 2021-01-01", "good, with 1 warning")
    if "expired" not in w.check("stile.yaml", "--json").exits(0).json()[0]["warnings"][0]["text"]:
        raise Failed("    --json does not have the warning")
    w.start().said().says("warning: the certificate in", "expired on 2021-01-01")


@case("an address that this machine does not have is refused, and those that it has are listed")
def _(w):
    refused(w, "192.0.2.1 is no address of this machine, which has: ", "127.0.0.1", listen='["udp:192.0.2.1:3478"]', tls=False)
    refused(w, "192.0.2.1 is no address of this machine", relay="{ addresses: [192.0.2.1] }")


@case("two listeners on one port, and relay ports that include a listener's, are refused")
def _(w):
    p = w.port
    refused(w, f"two listeners on UDP port 127.0.0.1:{p}", listen=f'["udp:127.0.0.1:{p}", "udp:127.0.0.1:{p}"]', tls=False)
    refused(w, f"two listeners on TCP port 127.0.0.1:{p}", listen=f'["tcp:127.0.0.1:{p}", "tls:127.0.0.1:{p}"]')
    refused(w, f"relay ports 1024-65535 include port {p}", relay="{ addresses: [127.0.0.1], ports: 1024-65535 }")


@case("a log folder that cannot be written stops the check and the start")
def _(w):
    w.write("file", "")
    refused(w, "stile.yaml:1:27: ", "file is no folder", log="{ level: debug, dir: %s }" % w.path("file"))
    refused(w, "is no folder", log="{ level: debug, dir: %s }" % w.path("file/below"))
    if ROOT:
        os.mkdir(w.path("mine"), 0o700)
        w.config(log="{ level: debug, dir: %s }" % w.path("mine"))
        w.stile("check", "-c", w.path("stile.yaml"), "--user", "nobody").exits(2).says(
            "the user nobody cannot write to the folder", "Permission denied")
        w.start_fails("stile.yaml", "--user", "nobody").exits(2).says("the user nobody cannot write to the folder")


@case("what is probably not meant is a warning: a readable secret, a weak password, every peer allowed")
def _(w):
    w.config(users="[ { name: alice, password: abc } ]", peers="{ allow: [0.0.0.0/0] }", secrets=None)
    os.chmod(w.path("stile.yaml"), 0o644)
    w.check().exits(0).says("can be read by everyone (mode 0644)", "less than 8 characters", "0.0.0.0/0 lets clients reach every address",
                            "good, with 3 warnings")


@case("conf.d is merged, and what stands twice names both places")
def _(w):
    w.config()
    w.write("conf.d/10-users.yaml", "turn:\n  users: [ { name: bob, password: builders-tea } ]\n")
    w.check().exits(0).says("good")
    w.write("conf.d/20-realm.yaml", "turn:\n  realm: other.test\n")
    said = w.check().exits(2).says("20-realm.yaml:2:3: 'realm' is set twice", "stile.yaml:4")
    if said.err.count("is set twice") != 1:
        said.fail("it is told by each service")
    w.write("conf.d/20-realm.yaml", "turn:\n  users: [ { name: alice, password: again-and-again } ]\n")
    w.check().exits(2).says("20-realm.yaml:2:", "two users are called 'alice'")


@case("the option list of stile.yaml(5), and docs/reference/configuration.md, are what the schema says")
def _(w):
    reference = w.stile("check", "--reference").exits(0).says("### turn", "| `realm` |").out
    if options.render(reference) != options.of_page():
        raise Failed("    docs/man/stile.yaml.5.scd differs; run tests/admin/options.py --write with STILE_BUILD set")
    if options.tables(reference) != options.of_tables():
        raise Failed("    docs/reference/configuration.md differs; run tests/admin/options.py --write with STILE_BUILD set")


@case("every command and option of the programs stands in their man pages")
def _(w):
    here = os.path.dirname(os.path.abspath(__file__))
    for page, said in (("stile.1.scd", None), ("stile-turn.8.scd", w.run(TURN, "--help").out),
                       ("stile-tunnel.8.scd", w.run(TUNNEL, "--help").out), ("stile-sip.8.scd", w.run(SIP, "--help").out),
                       ("stile-agent.8.scd", w.run(AGENT, "--help").out),
                       ("stile-console.8.scd", w.run(CONSOLE, "--help").out), ("stile-gateway.8.scd", w.run(GATEWAY, "--help").out),
                       ("stile-fastpath.8.scd", w.run(FASTPATH, "--help").out if os.path.exists(FASTPATH) else "")):
        with open(os.path.join(here, "../../docs/man", page), encoding="utf-8") as f:
            text = f.read().replace("\\", "")
        if said is None:
            listed = w.stile("--help").out.split("Options")[0]
            commands = re.findall(r"^  ([a-z][a-z ]*[a-z])(?: \[?[A-Z].*?)?  +\S", listed, re.M)
            said = "".join(w.stile(*c.split(), "--help").out for c in commands)
            missing = [c for c in commands if f"*{c}*" not in text]
        else:
            missing = []
        missing += [o for o in sorted(set(re.findall(r"--[a-z][a-z0-9-]+", said))) if o not in text]
        if missing:
            raise Failed(f"    {page} does not know: {missing}")


if __name__ == "__main__":
    sys.exit(main(24000))
