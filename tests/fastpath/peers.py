# SPDX-License-Identifier: Apache-2.0
"""Clients of others with the fast path on: coturn's turnutils_uclient and aioice, in the client's namespace."""
CASES = ()
