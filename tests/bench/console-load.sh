#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Pages of the console against the relays: CPU per packet of stile-turn with and without 200 viewers, in alternating rounds.
# Builds an optimised stile where there is none, then runs tests/bench/console_load.py; --help lists its options.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=tests/bench/optimised.sh
. tests/bench/optimised.sh
optimised cli/stile turn/stile-turn console/stile-console
STILE_BUILD=$build exec python3 -B tests/bench/console_load.py "$@"
