/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libbpf at work: the programs of relay.bpf.c are in this program, as the skeleton that bpftool made of
 * them. `auto` takes XDP if every interface's driver runs it natively, TC otherwise; veth pairs only on
 * request, because a frame sent into one whose other end does not poll is lost without a word.
 */
#include "turn/fastpath/kernel.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/fd.h"
#include "turn/fastpath/relay.skel.h"

enum { TCX_INGRESS = 46 /* BPF_TCX_INGRESS, which headers older than 6.6 lack */, FILTER_HANDLE = 0x5711e, FILTER_PRIORITY = 0x5711 };

struct fast_kernel {
	struct relay_bpf *bpf;
	enum fast_mode mode;
	struct fast_interface ifs[FAST_INTERFACES];
	size_t n_ifs;
	struct fast_slot *slots;
	uint32_t n_slots;
	char names[FAST_INTERFACES * (IF_NAMESIZE + 2)];
};

/* ---- what libbpf says ---- */

static char said[256]; /* its last complaint: libbpf has one print function for the process */

__attribute__((format(printf, 2, 0))) static int on_print(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN) {
		vsnprintf(said, sizeof said, format, args);
		said[strcspn(said, "\n")] = '\0';
	}
	return 0;
}

static const char *advice(int r)
{
	return r == -EPERM ? "; it needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and a kernel that permits bpf()" :
	       r == -ENOSYS ? "; this kernel is built without BPF" : "";
}

/* ---- interfaces ---- */

static int ask_interface(int fd, unsigned long what, struct ifreq *ifr, const char *name)
{
	memset(ifr, 0, sizeof *ifr);
	memcpy(ifr->ifr_name, name, strnlen(name, IF_NAMESIZE - 1));
	return ioctl(fd, what, ifr) < 0 ? -errno : 0;
}

static int look_at(int fd, struct fast_interface *i)
{
	struct ifreq ifr;
	int r = ask_interface(fd, SIOCGIFHWADDR, &ifr, i->name);

	if (r < 0)
		return r;
	if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -EPROTOTYPE;
	memcpy(i->mac, ifr.ifr_hwaddr.sa_data, sizeof i->mac);
	r = ask_interface(fd, SIOCGIFMTU, &ifr, i->name);
	if (r < 0)
		return r;
	i->mtu = (unsigned)ifr.ifr_mtu;
	i->index = if_nametoindex(i->name);
	return i->index ? 0 : -ENODEV;
}

void fast_kernel_look(struct fast_kernel *k)
{
	_cleanup_(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (size_t i = 0; fd >= 0 && i < k->n_ifs; i++) {
		struct fast_interface now = k->ifs[i];
		if (look_at(fd, &now) == 0 && now.index == k->ifs[i].index)
			k->ifs[i] = now;
	}
}

static bool is_veth(int fd, const char *name)
{
	struct ethtool_drvinfo drv = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq ifr = { .ifr_data = (void *)&drv };

	memcpy(ifr.ifr_name, name, strnlen(name, IF_NAMESIZE - 1));
	return ioctl(fd, SIOCETHTOOL, &ifr) == 0 && strcmp(drv.driver, "veth") == 0;
}

static bool has_interface(const struct fast_kernel *k, const char *name)
{
	for (size_t i = 0; i < k->n_ifs; i++)
		if (strcmp(k->ifs[i].name, name) == 0)
			return true;
	return false;
}

static int add_interface(struct fast_kernel *k, int fd, const char *name)
{
	struct fast_interface i = { .link = -1 };
	int r;

	if (strlen(name) >= sizeof i.name)
		return -ENODEV;
	if (k->n_ifs == FAST_INTERFACES)
		return -E2BIG;
	memcpy(i.name, name, strlen(name) + 1);
	r = look_at(fd, &i);
	if (r == 0 && !has_interface(k, name)) {
		size_t n = strlen(k->names);
		snprintf(k->names + n, sizeof k->names - n, "%s%s", n ? ", " : "", name);
		k->ifs[k->n_ifs++] = i;
	}
	return r;
}

/* All Ethernet interfaces that are up and have an address. */
static int find_interfaces(struct fast_kernel *k, int fd, char *err, size_t err_n)
{
	struct ifaddrs *all;

	if (getifaddrs(&all) < 0) {
		snprintf(err, err_n, "cannot list the interfaces: %s", strerror(errno));
		return -EIO;
	}
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		if (i->ifa_addr && (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6) &&
		    i->ifa_flags & IFF_UP && !(i->ifa_flags & IFF_LOOPBACK) && !has_interface(k, i->ifa_name))
			(void)add_interface(k, fd, i->ifa_name);
	freeifaddrs(all);
	if (k->n_ifs)
		return 0;
	snprintf(err, err_n, "found no Ethernet interface that is up and has an address; name one: turn.fast_path.interfaces: [eth0]");
	return -ENODEV;
}

static int take_interfaces(struct fast_kernel *k, const struct turn_config *cfg, char *err, size_t err_n)
{
	_cleanup_(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char *const *names = cfg->fast_path.interfaces.items;

	if (fd < 0)
		return -errno;
	if (!cfg->fast_path.interfaces.n)
		return find_interfaces(k, fd, err, err_n);
	for (size_t i = 0; i < cfg->fast_path.interfaces.n; i++) {
		int r = add_interface(k, fd, names[i]);
		if (r < 0) {
			snprintf(err, err_n, "turn.fast_path.interfaces: %s: %s", names[i],
				 r == -ENODEV ? "there is no such interface; see: ip link" :
				 r == -EPROTOTYPE ? "not an Ethernet interface" : strerror(-r));
			return r;
		}
	}
	return 0;
}

/* ---- attaching ---- */

static int attach_link(struct fast_kernel *k, struct fast_interface *i, bool xdp)
{
	LIBBPF_OPTS(bpf_link_create_opts, o, .flags = XDP_FLAGS_DRV_MODE);
	int fd = xdp ? bpf_link_create(bpf_program__fd(k->bpf->progs.stile_xdp), (int)i->index, BPF_XDP, &o) :
		       bpf_link_create(bpf_program__fd(k->bpf->progs.stile_tc), (int)i->index, (enum bpf_attach_type)TCX_INGRESS, NULL);

	if (fd < 0)
		return fd;
	i->link = fd;
	return 0;
}

static void filter_of(const struct fast_interface *i, struct bpf_tc_hook *ret_hook, struct bpf_tc_opts *ret_o)
{
	*ret_hook = (struct bpf_tc_hook){ .sz = sizeof *ret_hook, .ifindex = (int)i->index, .attach_point = BPF_TC_INGRESS };
	*ret_o = (struct bpf_tc_opts){ .sz = sizeof *ret_o, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY };
}

static int attach_filter(struct fast_kernel *k, const struct fast_interface *i)
{
	struct bpf_tc_hook hook;
	struct bpf_tc_opts o;
	int r;

	filter_of(i, &hook, &o);
	r = bpf_tc_hook_create(&hook);
	if (r < 0 && r != -EEXIST)
		return r;
	o.prog_fd = bpf_program__fd(k->bpf->progs.stile_tc);
	o.flags = BPF_TC_F_REPLACE; /* one that was left over */
	return bpf_tc_attach(&hook, &o);
}

static void detach(struct fast_interface *i, bool filter)
{
	struct bpf_tc_hook hook;
	struct bpf_tc_opts o;

	if (i->link >= 0)
		close(i->link);
	i->link = -1;
	filter_of(i, &hook, &o);
	if (filter)
		(void)bpf_tc_detach(&hook, &o);
}

static void detach_all(struct fast_kernel *k)
{
	for (size_t i = 0; i < k->n_ifs; i++)
		detach(&k->ifs[i], k->mode == FAST_TC && k->ifs[i].link < 0);
}

static int attach_one(struct fast_kernel *k, struct fast_interface *i)
{
	int r = attach_link(k, i, k->mode == FAST_XDP);

	return r == -EINVAL && k->mode == FAST_TC ? attach_filter(k, i) : r;
}

/* Positive: the i-th interface could not be had, *ret_why says why. */
static size_t attach_all(struct fast_kernel *k, enum fast_mode mode, int *ret_why)
{
	k->mode = mode;
	for (size_t i = 0; i < k->n_ifs; i++) {
		*ret_why = attach_one(k, &k->ifs[i]);
		if (*ret_why < 0) {
			detach_all(k);
			return i + 1;
		}
	}
	return 0;
}

static bool may_try_xdp(const struct fast_kernel *k)
{
	_cleanup_(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (size_t i = 0; i < k->n_ifs; i++)
		if (is_veth(fd, k->ifs[i].name))
			return false;
	return true;
}

static int attach(struct fast_kernel *k, enum fast_mode wanted, char *err, size_t err_n)
{
	int why = 0;
	size_t failed = 1;

	if (wanted == FAST_XDP || (wanted == FAST_AUTO && may_try_xdp(k)))
		failed = attach_all(k, FAST_XDP, &why);
	if (failed && wanted != FAST_XDP)
		failed = attach_all(k, FAST_TC, &why);
	if (!failed)
		return 0;
	snprintf(err, err_n, "cannot attach to %s by %s: %s%s", k->ifs[failed - 1].name, k->mode == FAST_XDP ? "native XDP" : "TC",
		 strerror(-why), why == -EBUSY || why == -EEXIST ? "; another program is there, see: bpftool net" :
		 k->mode == FAST_XDP ? "; its driver may not run XDP, TC will do: turn.fast_path.mode: tc" : advice(why));
	return why;
}

/* ---- birth and death ---- */

static int load(struct fast_kernel *k, uint32_t n_slots, char *err, size_t err_n)
{
	int r;

	libbpf_set_print(on_print);
	k->bpf = relay_bpf__open();
	r = k->bpf ? 0 : -errno;
	if (r == 0)
		r = bpf_map__set_max_entries(k->bpf->maps.slots, n_slots);
	if (r == 0)
		r = bpf_map__set_max_entries(k->bpf->maps.rules, n_slots * FAST_WAYS);
	if (r == 0)
		r = relay_bpf__load(k->bpf);
	if (r < 0) {
		snprintf(err, err_n, "cannot load the eBPF programs: %s%s%s%s", strerror(-r), *said ? "; libbpf: " : "", said, advice(r));
		return r;
	}
	void *at = mmap(NULL, n_slots * sizeof *k->slots, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(k->bpf->maps.slots), 0);
	if (at == MAP_FAILED) {
		snprintf(err, err_n, "cannot map the channels' slots: %s", strerror(errno));
		return -ENOMEM;
	}
	k->slots = at;
	k->n_slots = n_slots;
	return 0;
}

int fast_kernel_new(const struct turn_config *cfg, char *err, size_t err_n, struct fast_kernel **ret_k)
{
	_cleanup_(fast_kernel_freep) struct fast_kernel *k = calloc(1, sizeof *k);
	int r;

	if (!k)
		return -ENOMEM;
	if ((r = take_interfaces(k, cfg, err, err_n)) < 0 || (r = load(k, (uint32_t)cfg->fast_path.channels, err, err_n)) < 0 ||
	    (r = attach(k, (enum fast_mode)cfg->fast_path.mode, err, err_n)) < 0)
		return r;
	*ret_k = steal_ptr(&k);
	return 0;
}

struct fast_kernel *fast_kernel_free(struct fast_kernel *k)
{
	if (!k)
		return NULL;
	if (k->bpf)
		detach_all(k);
	if (k->slots)
		munmap(k->slots, k->n_slots * sizeof *k->slots);
	relay_bpf__destroy(k->bpf);
	free(k);
	return NULL;
}

/* ---- in use ---- */

enum fast_mode fast_kernel_mode(const struct fast_kernel *k)
{
	return k->mode;
}

const char *fast_kernel_names(const struct fast_kernel *k)
{
	return k->names;
}

const struct fast_interface *fast_kernel_interface(const struct fast_kernel *k, unsigned index)
{
	for (size_t i = 0; i < k->n_ifs; i++)
		if (k->ifs[i].index == index)
			return &k->ifs[i];
	return NULL;
}

uint32_t fast_kernel_slots(const struct fast_kernel *k, struct fast_slot **ret_v, int *ret_fd)
{
	*ret_v = k->slots;
	*ret_fd = bpf_map__fd(k->bpf->maps.slots);
	return k->n_slots;
}

int fast_rule_put(struct fast_kernel *k, const struct fast_key *key, const struct fast_rule *r)
{
	return bpf_map_update_elem(bpf_map__fd(k->bpf->maps.rules), key, r, BPF_ANY);
}

int fast_rule_get(struct fast_kernel *k, const struct fast_key *key, struct fast_rule *ret_r)
{
	return bpf_map_lookup_elem(bpf_map__fd(k->bpf->maps.rules), key, ret_r);
}

void fast_rule_delete(struct fast_kernel *k, const struct fast_key *key)
{
	(void)bpf_map_delete_elem(bpf_map__fd(k->bpf->maps.rules), key);
}

void fast_kernel_alive(struct fast_kernel *k, uint64_t for_ms)
{
	k->bpf->bss->alive_until_ns = clock_steady_ns() + for_ms * 1000000u;
}

void fast_kernel_left(const struct fast_kernel *k, uint64_t ret_n[static FAST_LEFT_REASONS])
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_(freep) uint64_t *v = cpus > 0 ? calloc((size_t)cpus, sizeof *v) : NULL;

	for (uint32_t why = 0; why < FAST_LEFT_REASONS; why++) {
		ret_n[why] = 0;
		if (v && bpf_map_lookup_elem(bpf_map__fd(k->bpf->maps.left), &why, v) == 0)
			for (int i = 0; i < cpus; i++)
				ret_n[why] += v[i];
	}
}
