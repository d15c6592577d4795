/* SPDX-License-Identifier: Apache-2.0 */
#include "share/server.h"
#include "share/forward/ports.h"
#include "tunnel/route.h"
