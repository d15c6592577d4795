#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every service under mixed traffic for hours: is it flat? Builds an optimised stile where there is none (STILE_BUILD=FOLDER: takes that
# build), then runs tests/soak/soak.py; --help lists its options.
set -eu
cd "$(dirname "$0")/../.."
if [ -z "${STILE_BUILD:-}" ]; then
	# shellcheck source=tests/bench/optimised.sh
	. tests/bench/optimised.sh
	optimised cli/stile turn/stile-turn tunnel/stile-tunnel tunnel/stile-agent sip-proxy/stile-sip console/stile-console gateway/stile-gateway
	STILE_BUILD=$build
fi
export STILE_BUILD
exec python3 -B tests/soak/soak.py "$@"
