/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long four SIP parsers take for one INVITE of 1257 bytes: parse it, and read the eight headers that a proxy reads
 * (Via, Route, From, To, Call-ID, CSeq, Max-Forwards, Contact) with their URIs. The same work for all: what they found
 * is compared before anything is measured. They take turns, A B C D, D C B A, so many rounds; each one's fastest
 * round counts, and how far apart the rounds were is printed beside it.
 *
 *	sip_parse [ROUNDS [FILE]]     FILE: another message; then no bar is held
 *
 * The last line is JSON. Exit 0 if ours takes at most 0.3 of sofia-sip's time (anchors), else 1; 2 if it cannot run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tests/bench/sip_parse.h"

enum { MESSAGE_LEN = 1257, PER_ROUND = 1000, MAX_FILE = 65536 };
static const double bar = 0.30;

static const char invite[] =
	"INVITE sip:bob@192.0.2.204:5072;transport=udp;ob SIP/2.0\r\n"
	"Via: SIP/2.0/UDP edge-proxy1.atlanta.example.com;branch=z9hG4bK-524287-1---7f3a5c1e9d0b4a62;rport\r\n"
	"Via: SIP/2.0/UDP 198.51.100.17:40612;received=203.0.113.90;rport=40612;branch=z9hG4bKPj8f6f1d5a7c3e4b2a\r\n"
	"Max-Forwards: 69\r\n"
	"Route: <sip:edge2.biloxi.example.com;lr;ftag=8321234356>\r\n"
	"Record-Route: <sip:proxy1.atlanta.example.com;lr;ftag=8321234356>\r\n"
	"Contact: \"Alice Atlanta\" <sip:alice@198.51.100.17:40612;ob>;+sip.ice\r\n"
	"To: \"Bob\" <sip:bob@biloxi.example.com>\r\n"
	"From: \"Alice Atlanta\" <sip:alice@atlanta.example.com>;tag=8321234356\r\n"
	"Call-ID: 3848276298220188511@client.atlanta.example.com\r\n"
	"CSeq: 21862 INVITE\r\n"
	"Allow: PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS\r\n"
	"Supported: replaces, 100rel, timer, norefersub, outbound, path\r\n"
	"Session-Expires: 1800\r\n"
	"Min-SE: 90\r\n"
	"User-Agent: Example Phone 4.2.1 (build 20260914)\r\n"
	"X-Conference-Reference: 8f2c41d7ab129f0\r\n"
	"Content-Type: application/sdp\r\n"
	"Content-Length: 253\r\n"
	"\r\n"
	"v=0\r\n"
	"o=alice 3941828844 3941828844 IN IP4 198.51.100.17\r\n"
	"s=call\r\n"
	"c=IN IP4 198.51.100.17\r\n"
	"t=0 0\r\n"
	"m=audio 4000 RTP/AVP 96 8 0 101\r\n"
	"a=rtcp:4001 IN IP4 198.51.100.17\r\n"
	"a=sendrecv\r\n"
	"a=rtpmap:96 opus/48000/2\r\n"
	"a=rtpmap:101 telephone-event/8000\r\n"
	"a=fmtp:101 0-16\r\n";
_Static_assert(sizeof invite - 1 == MESSAGE_LEN, "the message of the anchors");

static const struct sip_parser *const parsers[] = { &parser_stile, &parser_sofia, &parser_osip,
						    &parser_re };
enum { PARSERS = sizeof parsers / sizeof *parsers };

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double round_ns(const struct sip_parser *p, const char *msg, size_t n)
{
	struct sip_facts f;
	double start = now_ns();
	for (unsigned i = 0; i < PER_ROUND; i++)
		if (!p->parse(msg, n, &f))
			exit(2);
	return (now_ns() - start) / PER_ROUND;
}

/* All of them take the message and find the same in it. */
static void check_same(const char *msg, size_t n)
{
	struct sip_facts want, f;
	for (unsigned i = 0; i < PARSERS; i++) {
		if (!parsers[i]->setup() || !parsers[i]->parse(msg, n, i ? &f : &want)) {
			fprintf(stderr, "%s does not take the message\n", parsers[i]->name);
			exit(2);
		}
		if (i > 0 && memcmp(&f, &want, sizeof f) != 0) {
			fprintf(stderr, "%s finds something else than %s\n", parsers[i]->name,
				parsers[0]->name);
			exit(2);
		}
	}
}

static const char *read_file(const char *path, size_t *ret_n)
{
	static char buf[MAX_FILE];
	FILE *f = fopen(path, "rb");
	if (!f) {
		perror(path);
		exit(2);
	}
	*ret_n = fread(buf, 1, sizeof buf, f);
	fclose(f);
	return buf;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 200;
	const char *msg = invite;
	size_t n = MESSAGE_LEN;
	double best[PARSERS], worst[PARSERS] = { 0 };
	if (argc > 2)
		msg = read_file(argv[2], &n);
	check_same(msg, n);
	for (unsigned i = 0; i < PARSERS; i++)
		best[i] = round_ns(parsers[i], msg, n); /* warms up */
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned k = 0; k < PARSERS; k++) {
			unsigned i = r % 2 ? PARSERS - 1 - k : k;
			double ns = round_ns(parsers[i], msg, n);
			best[i] = ns < best[i] ? ns : best[i];
			worst[i] = ns > worst[i] ? ns : worst[i];
		}
	}
	printf("%-10s %10s %10s %10s\n", "parser", "best ns", "worst ns", "of sofia");
	for (unsigned i = 0; i < PARSERS; i++)
		printf("%-10s %10.0f %10.0f %10.2f\n", parsers[i]->name, best[i], worst[i],
		       best[i] / best[1]);
	printf("{\"bytes\":%zu,\"rounds\":%u", n, rounds);
	for (unsigned i = 0; i < PARSERS; i++)
		printf(",\"%s\":{\"best_ns\":%.0f,\"worst_ns\":%.0f}", parsers[i]->name, best[i],
		       worst[i]);
	printf("}\n");
	if (argc > 2)
		return 0;
	printf("bar: %.2f of sofia-sip, at most %.2f: %s\n", best[0] / best[1], bar,
	       best[0] <= bar * best[1] ? "met" : "MISSED");
	return best[0] <= bar * best[1] ? 0 : 1;
}
