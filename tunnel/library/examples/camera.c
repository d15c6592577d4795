/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that can be reached through a tunnel: its web server's port on this machine becomes a port of the server.
 *
 *	cc camera.c -o camera $(pkg-config --cflags --libs stile-agent)
 *	./camera FOLDER SERVER:PORT ENROLMENT-CODE SERVER'S-PORT PORT-HERE
 *
 * It prints a line when it is connected and when the state of its port is known, runs until it is sent a signal or its
 * input ends, and stops cleanly.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stile_agent.h>

int main(int argc, char **argv)
{
	struct stile_agent_options options = STILE_AGENT_OPTIONS;
	struct stile_agent *agent;
	char config[1024], why[256], *jobs;
	int r;

	if (argc != 6) {
		fprintf(stderr, "usage: camera FOLDER SERVER:PORT CODE SERVER-PORT PORT-HERE\n");
		return 2;
	}
	snprintf(config, sizeof(config),
		 "agent:\n  name: camera\n  server: \"%s\"\n  code: \"%s\"\n  fallback_ports: []\n  direct: { enabled: false }\n"
		 "  jobs: [ { port: %d, target: \"127.0.0.1:%d\" } ]\n",
		 argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
	options.folder = argv[1];
	options.config = config;
	if (stile_agent_start(&options, &agent, why, sizeof(why)) < 0) {
		fprintf(stderr, "camera: %s\n", why);
		return 1;
	}
	printf("libstile-agent %s\n", stile_agent_version());
	r = stile_agent_wait(agent, 30000);
	if (r < 0)
		fprintf(stderr, "camera: not connected yet: %s\n", strerror(-r));
	else
		printf("connected\n");
	if (stile_agent_ask(agent, "agent.jobs", NULL, &jobs) == 0)
		printf("jobs %s\n", jobs);
	free(jobs);
	fflush(stdout);
	while (getchar() != EOF)
		; /* here is the device's own work */
	agent = stile_agent_stop(agent);
	printf("stopped\n");
	return r < 0;
}
