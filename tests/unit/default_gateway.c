/* SPDX-License-Identifier: Apache-2.0 */
/* The router of this network, out of tables as the kernel writes them. */
#include "tests/unit/support.h"

#include <string.h>

#include "common/gateway.h"

#define HEAD "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

static void finds(int family, const char *table, const char *want)
{
	FILE *f = fmemopen((void *)table, strlen(table), "r");
	char text[ADDR_STRLEN] = "nothing";
	struct addr a;

	assert_non_null(f);
	if (gateway_in_table(family, f, 5351, &a))
		addr_print(&a, text);
	fclose(f);
	assert_string_equal(text, want);
}

/* Addresses stand in the table as they are in memory, so in the order of this machine. */
static const char *row4(char out[static 96], const char *link, uint32_t destination, uint32_t hop,
			uint32_t mask)
{
	(void)snprintf(out, 96, "%s\t%08X\t%08X\t0003\t0\t0\t100\t%08X\t0\t0\t0\n", link,
		       htobe32(destination), htobe32(hop), htobe32(mask));
	return out;
}

static void the_router_is_the_next_hop_to_everywhere(void **state)
{
	char table[512], a[96], b[96], c[96];

	(void)state;
	finds(AF_INET, HEAD, "nothing");
	row4(a, "eth0", 0xc0a80100, 0, 0xffffff00);
	(void)snprintf(table, sizeof(table), HEAD "%s", a);
	finds(AF_INET, table, "nothing");
	row4(b, "ppp0", 0, 0, 0); /* a line without a next hop */
	row4(c, "eth0", 0, 0xc0a80101, 0);
	(void)snprintf(table, sizeof(table), HEAD "%s%s%s", b, c, a);
	finds(AF_INET, table, "192.168.1.1:5351");
}

/* As OpenVPN's redirect-gateway def1 lays it: the shorter halves stand before what they hide. */
static void half_of_the_world_is_not_everywhere(void **state)
{
	char table[512], half[96], all[96], other[96];

	(void)state;
	row4(half, "tun0", 0, 0x0a080001, 0x80000000);
	row4(all, "eth0", 0, 0xc0a80101, 0);
	row4(other, "tun0", 0x80000000, 0x0a080001, 0x80000000);
	(void)snprintf(table, sizeof(table), HEAD "%s%s%s", half, all, other);
	finds(AF_INET, table, "192.168.1.1:5351");
}

static void ipv6_is_read_too(void **state)
{
#define NONE "00000000000000000000000000000000"
#define TAIL " 00000400 00000001 00000000 00000003 "

	(void)state;
	finds(AF_INET6, NONE " 00 " NONE " 00 " NONE TAIL "      lo\n", "nothing");
	finds(AF_INET6,
	      "20010db8000000000000000000000000 40 " NONE " 00 " NONE TAIL "    eth0\n" NONE
	      " 01 " NONE " 00 20010db8000000000000000000000099" TAIL "    tun0\n" NONE " 00 " NONE
	      " 00 20010db8000000000000000000000001" TAIL "    eth0\n",
	      "[2001:db8::1]:5351");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_router_is_the_next_hop_to_everywhere),
		cmocka_unit_test(half_of_the_world_is_not_everywhere),
		cmocka_unit_test(ipv6_is_read_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
