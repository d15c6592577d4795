#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What relaying costs the host by way of user space and in the kernel, beside coturn: builds an optimised stile where
# there is none, then runs tests/bench/fastpath.py. --help lists its options. docs/benchmarks.md says how to read it.
set -eu
cd "$(dirname "$0")/../.."
build=${STILE_BUILD:-build-release}
if [ ! -f "$build/build.ninja" ]; then
	echo "building an optimised stile in $build" >&2
	meson setup "$build" --buildtype=release -Dtests=false >&2
fi
ninja -C "$build" turn/stile-turn turn/fastpath/stile-fastpath cli/stile >&2
STILE_BUILD=$build exec python3 tests/bench/fastpath.py "$@"
