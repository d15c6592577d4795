/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-fastpath: stile-turn's channels in the kernel (turn.fast_path). It holds the capabilities so that
 * stile-turn needs none; it opens no network socket, reads no packet and takes orders from its own user only.
 *
 * open() loads and attaches while privileged; afterwards CAP_BPF and CAP_NET_ADMIN are left, which the
 * kernel asks for to change maps and to take programs off again. Without a client the programs stay attached
 * and find no rule. Options: stile-fastpath --help.
 * Exit: 0 after a clean stop, 1 for a failed start, 2 for a bad configuration.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/fd.h"
#include "common/sandbox.h"
#include "common/service.h"
#include "turn/fastpath/clients.h"
#include "turn/log_msgs.h"

enum { TICK_MS = 500, ALIVE_MS = 2000, WAYS_PER_TICK = 256 };

struct fastpath {
	struct service *svc;
	struct fast_kernel *kernel;
	struct fast_routes *routes;
	struct fast_channels *channels;
	struct fast_clients *clients;
	struct timer tick;
	char socket_path[512];
	int fd; /* until the clients own it */
};

static const struct turn_config *config_of(const struct cfg *c)
{
	return &((const struct turn_root *)cfg_values(c))->turn;
}

static void check(struct cfg *c)
{
	turn_fast_path_check(c);
	if (config_of(c)->fast_path.mode == FAST_OFF)
		cfg_add_error(c, "turn.fast_path.mode", "is off, so stile-fastpath has nothing to do; switch it on (auto, tc or xdp), "
			      "or do not start stile-fastpath");
}

static void on_routes_changed(void *arg)
{
	struct fastpath *f = arg;

	fast_kernel_look(f->kernel);
	fast_channels_refresh_all(f->channels);
	fast_clients_tell(f->clients);
}

/* MTUs that a path has taught the kernel are not announced, so every way is looked at now and then. */
static void on_tick(struct timer *t, uint64_t now)
{
	struct fastpath *f = container_of(t, struct fastpath, tick);

	(void)now;
	fast_kernel_alive(f->kernel, ALIVE_MS);
	fast_channels_refresh(f->channels, WAYS_PER_TICK);
	fast_clients_tell(f->clients);
	loop_timer_set(f->svc->loop, &f->tick, TICK_MS);
}

/* ---- life ---- */

static int fastpath_open(struct service *s, char *err, size_t err_n)
{
	struct fastpath *f = calloc(1, sizeof *f);
	int r;

	snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!f)
		return -ENOMEM;
	s->state = f;
	*f = (struct fastpath){ .svc = s, .fd = -1, .tick = { .fire = on_tick } };
	if (fast_socket_path(s->instance.runtime_dir, s->instance.name, f->socket_path, sizeof f->socket_path) < 0) {
		snprintf(err, err_n, "the path of the runtime folder is too long: %s", s->instance.runtime_dir);
		return -ENAMETOOLONG;
	}
	r = fast_kernel_new(config_of(s->cfg), err, err_n, &f->kernel);
	return r;
}

static const char *mode_name(const struct fastpath *f)
{
	return fast_kernel_mode(f->kernel) == FAST_XDP ? "xdp" : "tc";
}

static const char *const left_names[FAST_LEFT_REASONS] = {
	[FAST_LEFT_ENDED] = "ended", [FAST_LEFT_INTERFACE] = "interface", [FAST_LEFT_NO_HOP] = "no_hop",
	[FAST_LEFT_TTL] = "ttl", [FAST_LEFT_TOO_BIG] = "too_big", [FAST_LEFT_LENGTH] = "length",
	[FAST_LEFT_CHECKSUM] = "checksum", [FAST_LEFT_RUN] = "run",
};

static void verb_status(struct control_request *rq, const json_t *args, void *arg)
{
	struct fastpath *f = arg;
	struct fast_channels_count n = fast_channels_count(f->channels);
	uint64_t left[FAST_LEFT_REASONS];
	json_t *reasons = json_object();

	(void)args;
	fast_kernel_left(f->kernel, left);
	for (size_t i = 0; i < FAST_LEFT_REASONS; i++)
		json_object_set_new(reasons, left_names[i], json_integer((json_int_t)left[i]));
	control_reply(rq, json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:o}", "mode", mode_name(f), "interfaces",
				    fast_kernel_names(f->kernel), "clients", (int)fast_clients_count(f->clients),
				    "channels_limit", (int)n.slots, "channels", (int)n.used, "offloaded", (int)n.offloaded,
				    "left_to_user_space", reasons));
}

/* What is in the kernel and what is not, as rows that a table shows. */
static void verb_counts(struct control_request *rq, const json_t *args, void *arg)
{
	struct fastpath *f = arg;
	struct fast_channels_count n = fast_channels_count(f->channels);
	uint64_t left[FAST_LEFT_REASONS];
	json_t *rows = json_pack("[{s:s, s:s, s:i}, {s:s, s:s, s:i}, {s:s, s:s, s:i}]", "what", "clients", "detail", "", "n",
				 (int)fast_clients_count(f->clients), "what", "channels", "detail", "in the kernel", "n", (int)n.offloaded, "what",
				 "channels", "detail", "not yet", "n", (int)(n.used - n.offloaded));

	(void)args;
	fast_kernel_left(f->kernel, left);
	for (size_t i = 0; i < FAST_LEFT_REASONS; i++)
		json_array_append_new(rows, json_pack("{s:s, s:s, s:I}", "what", "packets left to user space", "detail", left_names[i], "n",
						      (json_int_t)left[i]));
	control_reply(rq, rows ? json_pack("{s:o}", "rows", rows) : NULL);
}

static const struct control_verb verbs[] = {
	{ "fastpath.counts", CONTROL_VIEWER, verb_counts, "the same as rows: clients, channels, packets left to user space by reason" },
	{ "fastpath.status", CONTROL_VIEWER, verb_status, "interfaces, channels in the kernel, packets left to user space by reason" },
};

static int fastpath_start(struct service *s, char *err, size_t err_n)
{
	struct fastpath *f = s->state;
	int r = fast_clients_listen(f->socket_path, err, err_n, &f->fd);

	if (r < 0)
		return r;
	snprintf(err, err_n, "cannot ask for routes");
	if ((r = fast_routes_new(s->loop, fast_kernel_mode(f->kernel) == FAST_XDP, on_routes_changed, f, &f->routes)) < 0)
		return r;
	snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!(f->channels = fast_channels_new(f->kernel, f->routes)) ||
	    fast_clients_new(s->loop, f->fd, f->kernel, f->channels, &f->clients) < 0)
		return -ENOMEM;
	f->fd = -1;
	control_add_verbs(s->control, verbs, ARRAY_LEN(verbs), f);
	log_emit(&MSG_FASTPATH_ATTACHED, LF_STR("mode", mode_name(f)), LF_STR("interfaces", fast_kernel_names(f->kernel)),
		 LF_U64("channels", config_of(s->cfg)->fast_path.channels));
	on_tick(&f->tick, 0);
	return 0;
}

static int fastpath_reload(struct service *s, struct cfg *c, char *err, size_t err_n)
{
	(void)s, (void)c, (void)err, (void)err_n; /* the log; all else needs a restart, which the frame says */
	return 0;
}

static void fastpath_stop(struct service *s)
{
	struct fastpath *f = s->state;

	if (!f)
		return;
	timer_stop(&f->tick);
	if (f->clients || f->fd >= 0)
		unlink(f->socket_path);
	closep(&f->fd);
	fast_clients_free(f->clients);
	fast_channels_free(f->channels);
	fast_routes_free(f->routes);
	fast_kernel_free(f->kernel);
	free(f);
	s->state = NULL;
}

/* What the kernel asks for to change maps (until 5.19) and to take TC filters away. */
static const int capabilities[] = { CAP_BPF, CAP_NET_ADMIN, -1 };

static const struct service_ops ops = {
	.program = "stile-fastpath",
	.summary = "The channels of stile-turn in the kernel (eBPF), where turn.fast_path is on",
	.config = &turn_cfg_root,
	.capabilities = capabilities,
	.check = check,
	.log_config = turn_log_config,
	.open = fastpath_open,
	.sandbox_calls = SANDBOX_BPF,
	.start = fastpath_start,
	.reload = fastpath_reload,
	.stop = fastpath_stop,
};

int main(int argc, char **argv)
{
	return service_main(&ops, argc, argv);
}
