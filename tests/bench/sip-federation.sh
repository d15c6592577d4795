#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two stile-sips with mutual TLS between them beside two Kamailios set up to do the same, driven by sipp: builds an
# optimised stile where there is none, then runs tests/bench/sip_federation.py, which prints one table. --help lists its
# options. docs/benchmarks.md says how to read it.
set -eu
cd "$(dirname "$0")/../.."
build=${STILE_BUILD:-build-release}
if [ ! -f "$build/build.ninja" ]; then
	echo "building an optimised stile in $build" >&2
	meson setup "$build" --buildtype=release -Dtests=false >&2
fi
ninja -C "$build" sip-proxy/stile-sip >&2
STILE_BUILD=$build exec python3 tests/bench/sip_federation.py "$@"
