// SPDX-License-Identifier: Apache-2.0
// `meson dist`: the archive carries the built pages, so that it can be compiled without Node.js.
import { cpSync } from 'node:fs';
import { join } from 'node:path';

const { MESON_BUILD_ROOT, MESON_DIST_ROOT } = process.env;
cpSync(join(MESON_BUILD_ROOT, 'console/web/web_bundle.c'), join(MESON_DIST_ROOT, 'console/web/web_bundle.c'));
