#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Direct links between two agents beside the kernel's TCP on this machine: builds an optimised stile, the load and the line emulator
# where there are none, then runs tests/bench/direct.py, which prints one table. As root (network namespaces). --help lists its
# options. docs/benchmarks.md says how to read it.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=tests/bench/optimised.sh
. tests/bench/optimised.sh
optimised tunnel/stile-tunnel tunnel/stile-agent tunnel/direct/stile-agent-direct cli/stile
for part in bench/tunnel_load netns/wire; do
	${CC:-cc} -O2 -Wall -Wextra -D_GNU_SOURCE -I. -o "$build/${part#*/}" "tests/$part.c"
done
STILE_BUILD=$build exec python3 -B tests/bench/direct.py "$@"
