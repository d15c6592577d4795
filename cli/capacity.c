/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile capacity: will this machine relay so many calls? What they need, by the rates that UC clients have: 45 kbit/s an
 * audio stream, 0.3 to 2.3 Mbit/s a video stream, each in both directions; what the interface carries, by the kernel; and
 * what a packet costs, measured now: a stile-turn of its own on loopback under the load of `stile bench turn`, with
 * the datagrams of audio and of video.
 *
 * Everything that is relayed comes in and goes out again, so each direction of the interface carries both directions of
 * a call. The CPU is that of all CPUs together, interrupts and all, less the load generator's: what the kernel does for
 * a packet is more than what the server does.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "cli/capacity.h"
#include "cli/command.h"
#include "common/text.h"

enum { AUDIO_BPS = 45000, AUDIO_PPS = 50, VIDEO_LOW_BPS = 300000, VIDEO_HIGH_BPS = 2300000, VIDEO_BYTES = 1200, DIRECTIONS = 2 };
enum { GOOD_PERCENT = 70, IF_NAME = 32 }; /* of the interface, of the CPUs: above it queues grow */

struct need { /* for all calls: packets a second through the relay, bits a second in each direction of the interface */
	double pps_audio, pps_video, bps;
};

struct machine {
	char interface[IF_NAME];
	double bps; /* 0: not known */
	unsigned cpus;
	double us_audio, us_video; /* of all CPUs, a packet; 0: not known */
};

struct question {
	uint64_t audio, video;
	struct need low, high; /* by the video's rate */
	struct machine m;
};

static struct need need_of(uint64_t audio, uint64_t video, double video_bps)
{
	return (struct need){ .pps_audio = (double)audio * AUDIO_PPS * DIRECTIONS,
			      .pps_video = (double)video * video_bps / 8 / VIDEO_BYTES * DIRECTIONS,
			      .bps = DIRECTIONS * ((double)audio * AUDIO_BPS + (double)video * video_bps) };
}

/* CPUs that are busy. */
static double cpus_of(const struct need *n, const struct machine *m)
{
	return (n->pps_audio * m->us_audio + n->pps_video * m->us_video) / 1e6;
}

/* ---- the machine ---- */

/* Of the way to the internet, or the first one that is up: /proc/net/route has the default one as 00000000. */
static void default_interface(char out[static IF_NAME])
{
	FILE *f = fopen("/proc/net/route", "re");
	char line[256], name[IF_NAME], to[16];

	*out = 0;
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "%31s %15s", name, to) == 2 && strcmp(to, "00000000") == 0) {
			snprintf(out, IF_NAME, "%s", name);
			break;
		}
	if (f)
		fclose(f);
}

/* Mbit/s as the driver says; a virtual one often says nothing. */
static double interface_speed(const char *name)
{
	char path[128];
	long mbit = 0;
	FILE *f;

	if (!*name || strchr(name, '/'))
		return 0;
	snprintf(path, sizeof path, "/sys/class/net/%s/speed", name);
	f = fopen(path, "re");
	if (f && fscanf(f, "%ld", &mbit) != 1)
		mbit = 0;
	if (f)
		fclose(f);
	return mbit > 0 ? (double)mbit * 1e6 : 0;
}

static int find_machine(struct cli *cli, struct machine *m)
{
	const char *name = cli_option(cli, "interface"), *speed = cli_option(cli, "speed");
	uint64_t bps, cpus = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	char path[128];
	int r;

	if (name)
		snprintf(m->interface, sizeof m->interface, "%s", name);
	else
		default_interface(m->interface);
	snprintf(path, sizeof path, "/sys/class/net/%s", m->interface);
	if (name && (strchr(name, '/') || access(path, F_OK) < 0))
		return cli_fail(cli, "this machine has no interface %s", name);
	m->bps = interface_speed(m->interface);
	if (speed && (text_bitrate(text_of(speed), &bps) < 0 || !bps || bps == UINT64_MAX))
		return cli_wrong(cli, "--speed is a bit rate such as 1Gbit/s, not '%s'", speed);
	if (speed)
		m->bps = (double)bps;
	r = cli_number(cli, "cpus", 1, 4096, &cpus);
	m->cpus = (unsigned)cpus;
	return r;
}

/* Tenths of microseconds given by who has measured on another machine, or measured here. */
static int find_cost(struct cli *cli, struct machine *m)
{
	const char *given = cli_option(cli, "cost");
	char err[300] = "";
	uint64_t ms = 2000;
	int r;

	if (given) {
		if (sscanf(given, "%lf,%lf", &m->us_audio, &m->us_video) != 2 || !(m->us_audio > 0) || !(m->us_video > 0) || m->us_audio > 1e6 ||
		    m->us_video > 1e6)
			return cli_wrong(cli, "--cost is microseconds a packet of audio and of video, such as 5.2,1.4; not '%s'", given);
		return 0;
	}
	r = cli_time(cli, "time", &ms);
	if (r)
		return r;
	if (isatty(STDERR_FILENO) && !cli_has(cli, "json"))
		fprintf(stderr, "measuring, for %llu s …\r", (unsigned long long)(2 * ms / 1000 + 2));
	r = capacity_measure(ms, &m->us_audio, &m->us_video, err, sizeof err);
	if (isatty(STDERR_FILENO) && !cli_has(cli, "json"))
		fprintf(stderr, "\033[K");
	return r < 0 ? cli_fail(cli, "cannot measure: %s\n--cost AUDIO,VIDEO gives what was measured elsewhere", err) : 0;
}

/* ---- the answer ---- */

struct answer {
	double network_percent, cpu_percent; /* at the video's high rate; -1: not known */
	bool network_good, cpu_good;
	uint64_t most_audio, most_video; /* of one kind alone */
	const char *limit;		 /* by what */
};

/* How many of one kind this machine carries. */
static uint64_t most(const struct machine *m, bool video, const char **ret_limit)
{
	struct need one = need_of(!video, video, VIDEO_HIGH_BPS);
	double by_network = m->bps > 0 ? m->bps * GOOD_PERCENT / 100 / one.bps : 1e12;
	double by_cpu = (double)m->cpus * GOOD_PERCENT / 100 / cpus_of(&one, m);

	*ret_limit = by_network < by_cpu ? "the interface" : "the CPUs";
	return (uint64_t)MIN(by_network, by_cpu);
}

static struct answer judge(const struct question *q)
{
	struct answer a = { .network_percent = q->m.bps > 0 ? q->high.bps * 100 / q->m.bps : -1,
			    .cpu_percent = cpus_of(&q->high, &q->m) * 100 / q->m.cpus };
	const char *video_limit;

	a.network_good = a.network_percent <= GOOD_PERCENT;
	a.cpu_good = a.cpu_percent <= GOOD_PERCENT;
	a.most_audio = most(&q->m, false, &a.limit);
	a.most_video = most(&q->m, true, &video_limit);
	if (q->video)
		a.limit = video_limit;
	return a;
}

static void print_need(const struct question *q)
{
	printf("For %llu audio and %llu video calls through the relay, both directions:\n", (unsigned long long)q->audio, (unsigned long long)q->video);
	printf("  audio    45 kbit/s a direction         %8.0f packets/s  %9.1f Mbit/s in, and as much out\n", q->high.pps_audio,
	       (double)q->audio * AUDIO_BPS * DIRECTIONS / 1e6);
	printf("  video    0.3 to 2.3 Mbit/s a direction %8.0f packets/s  %9.1f Mbit/s in, and as much out; at 0.3: %.1f\n", q->high.pps_video,
	       (double)q->video * VIDEO_HIGH_BPS * DIRECTIONS / 1e6, (double)q->video * VIDEO_LOW_BPS * DIRECTIONS / 1e6);
	printf("  together                               %8.0f packets/s  %9.1f Mbit/s in, and as much out\n", q->high.pps_audio + q->high.pps_video,
	       q->high.bps / 1e6);
}

static void print_answer(const struct cli *cli, const struct question *q, const struct answer *a)
{
	char line[256];

	print_need(q);
	if (a->network_percent < 0)
		snprintf(line, sizeof line, "%s does not say how fast it is: give --speed, such as 1Gbit/s", *q->m.interface ? q->m.interface : "the interface");
	else
		snprintf(line, sizeof line, "%s, %.0f Mbit/s: %.1f %% used (good up to %d %%)", q->m.interface, q->m.bps / 1e6, a->network_percent,
			 GOOD_PERCENT);
	print_check(cli, a->network_good, "interface", line);
	snprintf(line, sizeof line, "%.2f µs a packet of audio, %.2f of video, of %u CPU%s: %.1f %% used (good up to %d %%)", q->m.us_audio, q->m.us_video,
		 q->m.cpus, q->m.cpus == 1 ? "" : "s", a->cpu_percent, GOOD_PERCENT);
	print_check(cli, a->cpu_good, "CPU", line);
	printf("At most %llu audio calls, or %llu video calls at 2.3 Mbit/s; the limit is %s.\n", (unsigned long long)a->most_audio,
	       (unsigned long long)a->most_video, a->limit);
}

static json_t *answer_json(const struct question *q, const struct answer *a)
{
	return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:s, s:f, s:f, s:i, s:f, s:f, s:f, s:b, s:I, s:I, s:s}", "audio", (json_int_t)q->audio, "video",
			 (json_int_t)q->video, "packets_per_second_low", q->low.pps_audio + q->low.pps_video, "packets_per_second_high",
			 q->high.pps_audio + q->high.pps_video, "bits_per_second_low", q->low.bps, "bits_per_second_high", q->high.bps, "interface",
			 q->m.interface, "interface_bits_per_second", q->m.bps, "interface_percent", a->network_percent, "cpus", (int)q->m.cpus,
			 "microseconds_audio", q->m.us_audio, "microseconds_video", q->m.us_video, "cpu_percent", a->cpu_percent, "good",
			 a->network_good && a->cpu_good, "most_audio", (json_int_t)a->most_audio, "most_video", (json_int_t)a->most_video, "limit",
			 a->limit);
}

static int run_capacity(struct cli *cli)
{
	struct question q = { 0 };
	struct answer a;
	int r;

	if ((r = cli_number(cli, "audio", 0, 100000000, &q.audio)) || (r = cli_number(cli, "video", 0, 100000000, &q.video)))
		return r;
	if (!q.audio && !q.video)
		return cli_wrong(cli, "how many calls? --audio N, --video M, or both");
	q.low = need_of(q.audio, q.video, VIDEO_LOW_BPS);
	q.high = need_of(q.audio, q.video, VIDEO_HIGH_BPS);
	if ((r = find_machine(cli, &q.m)) || (r = find_cost(cli, &q.m)))
		return r;
	a = judge(&q);
	if (a.network_percent < 0) /* the CPUs alone can be judged; exit 1 tells that this is half an answer */
		a.network_good = false;
	if (cli_has(cli, "json")) {
		json_t *j = answer_json(&q, &a);
		print_json(j);
		json_decref(j);
	} else {
		print_answer(cli, &q, &a);
	}
	return a.network_good && a.cpu_good ? 0 : EXIT_FAILED;
}

static const struct option_row capacity_options[] = {
	{ "audio", 'a', "N", "audio calls at a time (45 kbit/s a direction)" },
	{ "video", 'v', "M", "video calls at a time (0.3 to 2.3 Mbit/s a direction)" },
	{ "interface", 0, "NAME", "the network interface (default: the one of the default route)" },
	{ "speed", 0, "RATE", "how fast it is, where it does not say: 1Gbit/s" },
	{ "cpus", 0, "N", "how many CPUs the relay may use (default: all)" },
	{ "cost", 0, "AUDIO,VIDEO", "microseconds a packet, instead of measuring" },
	{ "time", 0, "TIME", "how long each of the two measurements takes (default 2s)" },
};

static const struct command rows[] = {
	{ "capacity", "", "does this machine relay so many audio and video calls?",
	  "What they need of the interface and of the CPUs, and how many are possible. What a packet costs is measured now, on a\n"
	  "stile-turn of its own on loopback: for some seconds one CPU is busy. Exit 1 if they do not fit, or if the interface does\n"
	  "not say how fast it is.\n\n"
	  "  stile capacity --audio 500 --video 50",
	  capacity_options, ARRAY_LEN(capacity_options), 0, 0, run_capacity, WITHOUT_CONFIG | WITHOUT_SERVICE },
};
const struct command_table capacity_commands = { rows, ARRAY_LEN(rows) };
