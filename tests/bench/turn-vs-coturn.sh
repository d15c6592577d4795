#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# stile-turn and coturn side by side on this machine: builds an optimised stile where there is none, then
# runs tests/bench/turn_vs_coturn.py, which prints one table. --help lists its options. docs/benchmarks.md
# says how to read it.
set -eu
cd "$(dirname "$0")/../.."
build=${STILE_BUILD:-build-release}
if [ ! -f "$build/build.ninja" ]; then
	echo "building an optimised stile in $build" >&2
	meson setup "$build" --buildtype=release -Dtests=false >&2
fi
ninja -C "$build" turn/stile-turn cli/stile >&2
STILE_BUILD=$build exec python3 tests/bench/turn_vs_coturn.py "$@"
