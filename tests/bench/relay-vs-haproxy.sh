#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# stile-tunnel's plain relay and haproxy side by side on this machine: builds an optimised stile and the load
# where there are none, then runs tests/bench/relay_vs_haproxy.py, which prints one table. --help lists its
# options. docs/benchmarks.md says how to read it.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=tests/bench/optimised.sh
. tests/bench/optimised.sh
optimised tunnel/stile-tunnel
${CC:-cc} -O2 -Wall -Wextra -D_GNU_SOURCE -I. -o "$build/relay_load" tests/bench/relay_load.c -lssl -lcrypto
STILE_BUILD=$build exec python3 tests/bench/relay_vs_haproxy.py "$@"
