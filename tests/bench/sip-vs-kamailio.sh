#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# stile-sip and Kamailio side by side on this machine, driven by sipp: builds an optimised stile where there is none, then
# runs tests/bench/sip_vs_kamailio.py, which prints one table. --help lists its options. docs/benchmarks.md says how to
# read it.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=tests/bench/optimised.sh
. tests/bench/optimised.sh
optimised sip-proxy/stile-sip
STILE_BUILD=$build exec python3 tests/bench/sip_vs_kamailio.py "$@"
