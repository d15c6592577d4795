# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# For the scripts beside it, which source it in the root of the tree: optimised TARGET... builds these in $build (STILE_BUILD, else
# build-release), and sets an optimised build up there where there is none.
build=${STILE_BUILD:-build-release}

optimised() {
	if [ ! -f "$build/build.ninja" ]; then
		echo "building an optimised stile in $build" >&2
		meson setup "$build" --buildtype=release -Dtests=false >&2
	fi
	ninja -C "$build" "$@" >&2
}
