/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may open the control socket and as what, and who owns its path. Run as root, other roles are
 * tried by children that change their uid; else those tests are skipped.
 */
#include "tests/unit/control_world.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "common/control_priv.h"
#include "common/unix_socket.h"

/* The C library's look-ups that may go to a directory service: none may be made for a peer. These stand in
 * front of the library's own. */
static unsigned asked;

int getpwuid_r(uid_t uid, struct passwd *pw, char *buf, size_t n, struct passwd **found)
{
	(void)uid, (void)pw, (void)buf, (void)n;
	asked++;
	*found = NULL;
	return ENOENT;
}

struct passwd *getpwuid(uid_t uid)
{
	(void)uid;
	asked++;
	return NULL;
}

int getgrouplist(const char *user, gid_t group, gid_t *groups, int *n)
{
	(void)user, (void)group, (void)groups;
	asked++;
	*n = 0;
	return -1;
}

/* --- who may --- */

/* Runs in a child as somebody else: 0 if every verb of the role is granted and no other. */
static int try_as(const struct world *w, uid_t uid, gid_t gid, gid_t extra, const char *role)
{
	static const char *const tried[] = { "test.echo", "test.operate", "test.own" };
	struct control_client *c = NULL;
	json_t *result = NULL, *error = NULL;
	int granted = 0;

	if (setgroups(1, &extra) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
		return 10;
	if (control_connect(w->path, 5000, &c) < 0)
		return 11;
	if (strcmp(json_string_value(json_object_get(control_hello(c), "role")), role) != 0)
		return 12;
	for (size_t i = 0; i < ARRAY_LEN(tried); i++) {
		if (control_call(c, tried[i], NULL, &result, &error) == 0)
			granted++;
		else if (strcmp(json_string_value(json_object_get(error, "code")), "forbidden") != 0)
			return 13;
	}
	return granted == 1 + (strcmp(role, "viewer") != 0) + (strcmp(role, "admin") == 0) ? 0 : 14;
}

static void assert_role(const struct world *w, uid_t uid, gid_t gid, gid_t extra, const char *role)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(try_as(w, uid, gid, extra, role));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void the_role_comes_from_uid_and_groups(void **state)
{
	struct group *g = getgrnam("daemon");

	if (geteuid() != 0 || !g)
		skip();
	assert_role(*state, 0, 0, 0, "admin");
	assert_role(*state, 12345, 12345, 12345, "viewer");
	assert_role(*state, 65534, 65534, 65534, "viewer");
	assert_role(*state, 12345, 12345, g->gr_gid, "operator"); /* a supplementary group */
	assert_role(*state, 12345, g->gr_gid, 12345, "operator"); /* the primary one */
}

static void a_request_knows_who_asks(void **state)
{
	_cleanup_(control_client_freep) struct control_client *c = dial(*state);
	json_t *r = call(c, "test.who", NULL);

	if (geteuid() == 0)
		assert_string_equal(json_string_value(json_object_get(r, "who")), "uid 0 (root)");
	assert_int_equal(int_of(r, "role"), CONTROL_ADMIN);
	json_decref(r);
}

static void no_directory_is_asked_for_who_connects(void **state)
{
	asked = 0;
	for (int i = 0; i < 3; i++) {
		_cleanup_(control_client_freep) struct control_client *c = dial(*state);
		json_decref(call(c, "test.who", NULL));
	}
	assert_int_equal(asked, 0);
}

static void a_name_comes_from_the_local_file_or_not_at_all(void **state)
{
	char path[] = "/tmp/stile-accounts-XXXXXX", who[96];
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");

	(void)state;
	assert_non_null(f);
	fputs("root:x:0:0:root:/root:/bin/sh\n+@nis\nnot a line\n", f);
	fprintf(f, "long:x:7:7:%04000d:/:/bin/sh\n", 0); /* more than is read of a line */
	fputs("alice:x:1000:1000::/home/alice:/bin/sh\n", f);
	fprintf(f, "%0200d:x:1001:1001::/:/bin/sh\n", 0);
	assert_int_equal(fclose(f), 0);
	peer_describe(1000, path, who, sizeof who);
	assert_string_equal(who, "uid 1000 (alice)");
	peer_describe(1001, path, who, sizeof who);
	assert_true(strlen(who) < sizeof who && strncmp(who, "uid 1001 (000", 13) == 0);
	peer_describe(2000, path, who, sizeof who);
	assert_string_equal(who, "uid 2000");
	assert_int_equal(unlink(path), 0);
	peer_describe(1000, path, who, sizeof who);
	assert_string_equal(who, "uid 1000");
}

/* --- the socket --- */

static void the_socket_has_its_mode_and_group(void **state)
{
	struct world *w = *state;
	struct group *g = getgrnam("daemon");
	struct stat st;

	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	if (geteuid() == 0 && g)
		assert_int_equal(st.st_gid, g->gr_gid);
}

static void a_second_server_on_the_path_is_refused(void **state)
{
	struct world *w = *state;
	struct control_options o = world_options(w);
	struct control_server *s = NULL;
	_cleanup_(loop_freep) struct loop *l = NULL;
	char err[256] = "", lock[128];

	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(control_server_new(l, &o, err, sizeof(err), &s), -EADDRINUSE);
	assert_non_null(strstr(err, "another stile-test is running"));
	/* Also when somebody took the lock file away. */
	snprintf(lock, sizeof(lock), "%s.lock", w->path);
	assert_int_equal(unlink(lock), 0);
	assert_int_equal(control_server_new(l, &o, err, sizeof(err), &s), -EADDRINUSE);
	_cleanup_(control_client_freep) struct control_client *c = dial(w);
	json_decref(call(c, "ping", NULL));
}

static void a_dead_socket_is_taken_over_and_a_file_is_not(void **state)
{
	struct world *w = *state, there = *w;
	struct control_options o;
	struct control_server *s = NULL;
	_cleanup_(loop_freep) struct loop *l = NULL;
	char err[256] = "", lock[128];
	FILE *f;
	pid_t pid;

	snprintf(there.path, sizeof(there.path), "%s/dead.sock", w->dir);
	snprintf(lock, sizeof(lock), "%s.lock", there.path);
	o = world_options(&there);
	pid = fork();
	if (pid == 0) {
		if (loop_new(&l) < 0 || control_server_new(l, &o, err, sizeof(err), &s) < 0)
			_exit(1);
		_exit(0); /* dies without a word */
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(access(there.path, F_OK), 0);
	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(control_server_new(l, &o, err, sizeof(err), &s), 0);
	s = control_server_free(s);
	assert_int_not_equal(access(there.path, F_OK), 0);
	assert_int_not_equal(access(lock, F_OK), 0);

	f = fopen(there.path, "w");
	assert_non_null(f);
	fclose(f);
	assert_int_equal(control_server_new(l, &o, err, sizeof(err), &s), -EEXIST);
	assert_non_null(strstr(err, "is not a socket"));
	assert_int_equal(unlink(there.path), 0);
}

static void a_path_that_fits_no_socket_address_is_refused(void **state)
{
	struct world *w = *state;
	struct control_options o = world_options(w);
	struct control_server *s = NULL;
	_cleanup_(loop_freep) struct loop *l = NULL;
	char err[512] = "", path[200];

	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = 0;
	o.path = path;
	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(control_server_new(l, &o, err, sizeof(err), &s), -ENAMETOOLONG);
	assert_non_null(strstr(err, "longer than"));
}

static void too_many_connections_are_told_so(void **state)
{
	struct world *w = *state;
	int fds[257];

	for (size_t i = 0; i < 256; i++)
		fds[i] = raw_greeted(w);
	fds[256] = raw_dial(w);
	assert_line(fds[256], "\"busy\"");
	assert_null(raw_line(fds[256]));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	/* and there is room again */
	for (int i = 0; i < 500; i++) {
		struct control_client *c = NULL;
		int r = control_connect(w->path, 5000, &c);
		control_client_free(c);
		if (r == 0)
			return;
		assert_int_equal(r, -EBUSY);
		usleep(2000);
	}
	fail_msg("no room after all were closed");
}

static void nothing_listens_means_an_error_at_once(void **state)
{
	struct control_client *c = NULL;

	(void)state;
	assert_int_equal(control_connect("/tmp/stile-there-is-no-such.sock", 1000, &c), -ENOENT);
	assert_null(c);
}

/* Put there by whom the folder belongs to, while root makes the socket. */
static void a_mode_is_not_given_to_what_lies_in_the_sockets_place(void **state)
{
	const struct world *w = *state;
	char file[128], link[128];
	struct stat st;
	FILE *f;

	snprintf(file, sizeof file, "%s.file", w->path);
	snprintf(link, sizeof link, "%s.link", w->path);
	f = fopen(file, "w");
	assert_non_null(f);
	fclose(f);
	assert_int_equal(chmod(file, 0600), 0);
	assert_int_equal(symlink(file, link), 0);
	assert_int_equal(unix_socket_set_mode(file, 0666), -EEXIST);
	assert_int_equal(unix_socket_set_mode(link, 0666), -EEXIST);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	unlink(link);
	assert_int_equal(symlink(w->path, link), 0);
	assert_int_equal(unix_socket_set_mode(link, 0600), -EEXIST);
	assert_int_equal(unix_socket_set_mode(w->path, 0640), 0);
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	unlink(link);
	unlink(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_listens_means_an_error_at_once),
		ON_SERVER(the_role_comes_from_uid_and_groups),
		ON_SERVER(a_request_knows_who_asks),
		ON_SERVER(no_directory_is_asked_for_who_connects),
		ON_SERVER(a_name_comes_from_the_local_file_or_not_at_all),
		ON_SERVER(the_socket_has_its_mode_and_group),
		ON_SERVER(a_mode_is_not_given_to_what_lies_in_the_sockets_place),
		ON_SERVER(a_second_server_on_the_path_is_refused),
		ON_SERVER(a_dead_socket_is_taken_over_and_a_file_is_not),
		ON_SERVER(a_path_that_fits_no_socket_address_is_refused),
		ON_SERVER(too_many_connections_are_told_so),
	};

	return cmocka_run_group_tests_name("control socket", tests, NULL, NULL);
}
