#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What relaying costs the host by way of user space and in the kernel, beside coturn: builds an optimised stile where
# there is none, then runs tests/bench/fastpath.py. --help lists its options. docs/benchmarks.md says how to read it.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=tests/bench/optimised.sh
. tests/bench/optimised.sh
optimised turn/stile-turn turn/fastpath/stile-fastpath cli/stile
STILE_BUILD=$build exec python3 tests/bench/fastpath.py "$@"
