/* SPDX-License-Identifier: Apache-2.0 */
/* Two keys that nothing reads, and two that are read. */
#define CFG_AT(type, member) .offset = offsetof(type, member)
#define LIMIT(member) CFG_AT(struct limits, limits.member)

static const struct cfg_row rows[] = {
	{ .name = "used", .type = &cfg_u64, CFG_AT(struct config, used), .help = "Read below." },
	{ .name = "chained", .type = &cfg_u64, LIMIT(chained), .help = "Read below." },
	{ .name = "forgotten", .type = &cfg_u64, CFG_AT(struct config, forgotten), .help = "Only in a comment: c->forgotten." },
	{ .name = "nested", .type = &cfg_u64, LIMIT(deep_ms), .help = "Only assigned." },
};

unsigned reads(const struct config *c, struct limits *l)
{
	l->deep_ms = 7;
	return c->used + c->limits.chained;
}
