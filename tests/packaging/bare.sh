#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# ./quickstart and ./check as somebody meets them: a fresh clone in a new, bare Debian 12 (debootstrap) that has nothing but what they
# install themselves, Debian's own Node.js included. Prints how long each took and ends with 1 if one failed. Root; the folder is removed.
#
#   tests/packaging/bare.sh [quickstart] [check] [REVISION]      # default: both, of HEAD
#
# The clone is in /srv: what gives up root cannot pass /root. TMPDIR (/var/tmp) holds the system, some 6 GB for ./check. The chroot has
# network namespaces of its own making, and this machine's loopback: nothing else of Stile should be tested meanwhile.
set -u
cd "$(dirname "$0")/../.." || exit 1
what=() revision=HEAD
for arg in "$@"; do
	case $arg in quickstart | check) what+=("$arg") ;; *) revision=$arg ;; esac
done
[ ${#what[@]} -gt 0 ] || what=(quickstart check)
root=$(mktemp -d "${TMPDIR:-/var/tmp}/stile-bare-XXXXXX")
chmod 755 "$root" # or its / would be closed to all but root
logs=build-check/bare
mkdir -p "$logs"
failed=0

leave()
{
	trap - EXIT
	local left
	# What a killed run has left would hold the mounts.
	for left in /proc/[0-9]*; do
		[ "$(readlink "$left/root" 2>/dev/null)" != "$root" ] || kill -9 "${left#/proc/}" 2>/dev/null
	done
	# The last first; the tests' own are among them (ip netns).
	for left in $(awk -v root="$root" '$2 == root || index($2, root "/") == 1 { print $2 }' /proc/self/mounts | tac); do
		umount "$left"
	done
	rm -rf --one-file-system "$root"
	exit "$failed"
}
trap leave EXIT
trap 'failed=130; exit' INT TERM

timed()
{
	local name=$1 began=$SECONDS
	shift
	if "$@" >"$logs/$name.log" 2>&1 </dev/null; then
		printf '  ok      %-40s %5d s\n' "$name" $((SECONDS - began))
		return
	fi
	printf '  FAILED  %-40s %5d s   %s\n' "$name" $((SECONDS - began)) "$logs/$name.log"
	tail -n 20 "$logs/$name.log"
	failed=1
}

inside()
{
	chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt bash -c "cd /srv && $*"
}

bare_system()
{
	mount --bind "$root" "$root" || return 1 # a root is a mount: namespaces of mounts begin with it
	debootstrap --variant=minbase bookworm "$root" || return 1
	# This machine's way to packages; its certificates, if that way is TLS.
	rm -f "$root/etc/apt/sources.list"
	cp -r /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d "$root/etc/apt/" 2>/dev/null
	cp /etc/resolv.conf /etc/hosts "$root/etc/"
	printf '127.0.1.1 %s\n' "$(hostname)" >>"$root/etc/hosts" # as Debian's installer writes it
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	mount -t proc proc "$root/proc" && mount -t sysfs sysfs "$root/sys" && mount --bind /dev "$root/dev" &&
		mount -t devpts devpts "$root/dev/pts" && mount -t tmpfs tmpfs "$root/run" && mount -t tmpfs tmpfs "$root/dev/shm" || return 1
	inside apt-get update
}

fresh_clone()
{
	# git is all that a machine with a checkout has had to install.
	inside apt-get install -y --no-install-recommends git ca-certificates || return 1
	# Authorities of this machine's own, which a proxy between it and the packages may need; npm of Debian 12 asks the same file.
	cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null
	inside update-ca-certificates || return 1
	git bundle create "$root/srv/stile.bundle" "$revision" && inside git clone -q stile.bundle stile || return 1
	[ -e "$root/srv/stile/quickstart" ] || inside "cd stile && git checkout -q $(git rev-parse "$revision")"
	cp /etc/npmrc "$root/etc/" 2>/dev/null # this machine's way to the packages of npm, if it is another than theirs
	cp /root/.npmrc "$root/root/" 2>/dev/null
	return 0
}

timed "debootstrap" bare_system
[ $failed = 0 ] && timed "clone" fresh_clone
[ $failed = 0 ] || exit
for w in "${what[@]}"; do
	case $w in
	quickstart) timed "quickstart --once, packages and all" inside "cd stile && ./quickstart --once --port-base 23490 --address 127.0.0.1" ;;
	check) timed "check, packages and all" inside "cd stile && ./check" ;;
	esac
done
printf '  node: %s\n' "$(inside 'node --version' 2>/dev/null || echo none)"
tail -n 3 "$logs/check, packages and all.log" 2>/dev/null
