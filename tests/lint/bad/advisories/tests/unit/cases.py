# SPDX-License-Identifier: Apache-2.0
# Advisory: CVE-7.
