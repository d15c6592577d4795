# SPDX-License-Identifier: Apache-2.0
"""stile import coturn: what an administrator of coturn brings along is good configuration here, and what
has no counterpart is said with its line."""
import sys

from world import case, main

WEBRTC = """# a WebRTC server behind 1:1 NAT
listening-port=3478
tls-listening-port=5349
listening-ip=127.0.0.1
external-ip=198.51.100.7/127.0.0.1
min-port=50000
max-port=50999
fingerprint
use-auth-secret
static-auth-secret=north-of-the-river-"quoted"\\back
realm=turn.example.org
total-quota=100
bps-capacity=1000000
stale-nonce=600
max-bps=64000
cert={0}/server.pem
pkey={0}/server.key
no-multicast-peers
denied-peer-ip=10.0.0.0-10.255.255.255
denied-peer-ip=192.168.1.3-192.168.1.6
denied-peer-ip=172.16.0.0/12
denied-peer-ip=203.0.113.9
allowed-peer-ip=10.1.2.3
cli-password=do-not-show-this
no-such-key=17
"""
PHONES = """# named users, plain transports
listening-ip 127.0.0.1
listening-ip 127.0.0.2
listening-port 3500
lt-cred-mech
user=alice:wonder:land
user=bob:builders tea
user=carol:0x7da2270ccfa49786e0115366d3a3d14d
realm=pbx
--no-tls
no-dtls
verbose
user-quota=0
allow-loopback-peers
mobility
no-software-attribute
userdb=/var/lib/turn/turndb
max-allocate-lifetime=1800
relay-threads=2
"""


def imported(w, text):
    w.write("turnserver.conf", text)
    said = w.stile("import", "coturn", w.path("turnserver.conf")).exits(0)
    w.write("stile.yaml", said.out)
    w.check().exits(0)
    return said


@case("a WebRTC server's turnserver.conf becomes a good configuration, with a comment where there is no counterpart")
def _(w):
    w.certificate()
    said = imported(w, WEBRTC.format(w.folder))
    said.says("# line 15, max-bps: ", "bitrate_per_user", "# line 24, cli-password: ", "# line 25, no-such-key: there is no counterpart",
              'realm: "turn.example.org"',
              'listen: ["udp:127.0.0.1:3478", "tcp:127.0.0.1:3478", "tls:127.0.0.1:5349", "dtls:127.0.0.1:5349"]',
              'addresses: ["127.0.0.1"]', 'external: ["198.51.100.7"]', "ports: 50000-50999",
              r'id: coturn1, secret: "north-of-the-river-\"quoted\"\\back"', 'allow: ["10.1.2.3"]',
              'deny: ["10.0.0.0/8", "192.168.1.3/32", "192.168.1.4/31", "192.168.1.6/32", "172.16.0.0/12", "203.0.113.9"]',
              "allocations: 100\n", "bitrate: 8000000", "nonce: 600s")
    said.never_says("do-not-show-this", "fingerprint")


@case("a PBX's named users come over, those with hashed passwords are named, and the result serves clients")
def _(w):
    text = PHONES.replace("3500", str(w.port)).replace("listening-ip 127.0.0.2\n", "")
    said = imported(w, text)
    said.says("# line 7, user: the password is stored as a hash", "# line 16, userdb: databases are not read", "log: { level: debug }",
              f'listen: ["udp:127.0.0.1:{w.port}", "tcp:127.0.0.1:{w.port}"]', '{ name: "alice", password: "wonder:land" }',
              '{ name: "bob", password: "builders tea" }', '"127.0.0.0/8"', "allocations_per_user: unlimited", "max: 1800s",
              "workers: 2", 'software: ""')
    said.never_says("carol", "7da227")
    w.write("stile.yaml", said.out.replace("log: {", "store: { path: %s }\nlog: {" % w.path("store")))
    w.start()
    for user, password in (("alice", "wonder:land"), ("bob", "builders tea")):
        w.test("127.0.0.1", "-p", str(w.port), "-t", "udp,tcp", "-u", user, "--password", password).exits(0)
    imported(w, PHONES).says('"udp:127.0.0.1:3500", "udp:127.0.0.2:3500", "tcp:')


@case("a range of peers that cannot be taken over is not lost in silence: stile check points at it")
def _(w):
    for bad in ("10.0.0.9-10.0.0.1", "fd00::1-fd00::9", "10.0.0.0-nonsense"):
        w.write("turnserver.conf", f"user=a:b\nlistening-ip=127.0.0.1\ndenied-peer-ip={bad}\n")
        w.write("stile.yaml", w.stile("import", "coturn", w.path("turnserver.conf")).exits(0).out)
        w.check().exits(2).says(bad)


@case("an empty file says what is missing, and a file that is not there is an error")
def _(w):
    w.write("turnserver.conf", "\n# nothing\n")
    w.stile("import", "coturn", w.path("turnserver.conf")).exits(0).says("# no user and no static-auth-secret")
    w.stile("import", "coturn", w.path("none.conf")).exits(1).says("No such file")
    w.stile("import", "coturn").exits(2)


if __name__ == "__main__":
    sys.exit(main(25300))
