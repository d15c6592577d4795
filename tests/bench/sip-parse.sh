#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Our SIP parser beside sofia-sip, libosip2 and libre: builds an optimised library and tests/bench/sip_parse*.c, and
# runs it; its options are ROUNDS and FILE. tests/bench/sip-vs-kamailio.sh runs it, too. docs/benchmarks.md says how to
# read the table. Exit 0: the bar is met; 1: missed; 2: it cannot run here.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=tests/bench/optimised.sh
. tests/bench/optimised.sh
optimised sip-proxy/libstile-sip-core.a common/libstile-common.a
for package in sofia-sip-ua libosip2 libre; do
	pkg-config --exists "$package" || {
		echo "$package is missing: tools/install-packages bench" >&2
		exit 2
	}
done
b=tests/bench
flags="-O2 -Wall -Wextra -D_GNU_SOURCE -I."
for f in sofia:sofia-sip-ua osip:libosip2 re:libre; do
	# shellcheck disable=SC2046,SC2086 # lists of flags
	${CC:-cc} $flags $(pkg-config --cflags "${f#*:}") -c -o "$build/sip_parse_${f%%:*}.o" "$b/sip_parse_${f%%:*}.c"
done
# shellcheck disable=SC2046,SC2086
${CC:-cc} $flags -o "$build/sip_parse" "$b/sip_parse.c" "$b/sip_parse_stile.c" "$build"/sip_parse_sofia.o \
	"$build"/sip_parse_osip.o "$build"/sip_parse_re.o "$build/sip-proxy/libstile-sip-core.a" \
	"$build/common/libstile-common.a" $(pkg-config --libs sofia-sip-ua libosip2 libre)
exec "$build/sip_parse" "$@"
