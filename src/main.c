/* SPDX-License-Identifier: MIT */
/* main - options; then mount, or answer one of the commands without one. */
#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/sources.h"
#include "fuse/mount.h"
#include "modelfs/err.h"
#include "modelfs/format.h"
#include "modelfs/log.h"
#include "modelfs/run.h"
#include "modelfs/vfs.h"
#include "sandbox/sandbox.h"

/* INTERFACE: exit status. */
enum { EXIT_MODEL = 1, EXIT_USAGE = 2, EXIT_MOUNT = 3 };

#define O_MAX 64
#define CLI_RUN "cli"

enum command { CMD_MOUNT, CMD_LS, CMD_CAT, CMD_EXTRACT, CMD_FORMATS };

struct options {
	enum command command;
	const char *o[O_MAX];
	unsigned no;
	const char *inputs[CLI_INPUTS_MAX]; /* NAME=FILE */
	unsigned ninputs;
	const char *graph;
	unsigned threads;
	uint64_t memory;
	bool foreground, debug, lenient, no_sandbox;
	char **args;
	int nargs;
};

/* ---- usage ---- */

static const char help[] =
	"Usage: modelfs [OPTIONS] SOURCE... MOUNTPOINT\n"
	"       modelfs --ls SOURCE [PATH]\n"
	"       modelfs --cat SOURCE PATH...\n"
	"       modelfs --extract SOURCE PATH DIR\n"
	"       modelfs --formats\n"
	"\n"
	"Mounts a neural-network model: modules are directories, parameters\n"
	"are files, and run/ computes any inner activation when it is read.\n"
	"SOURCE is a file or a folder; NAME=SOURCE names it.\n"
	"\n"
	"  -f                 stay in the foreground\n"
	"  -d                 the same, with FUSE debug output\n"
	"  -o OPT[,OPT...]    allow_other, ro, fsname=..., and other mount\n"
	"                     options; lenient: list what is damaged;\n"
	"                     nosandbox: keep all rights while mounted\n"
	"  -t, --threads N    threads that compute (default: processors)\n"
	"  -m, --memory SIZE  budget for activations, e.g. 2G\n"
	"                     (default: a quarter of the memory)\n"
	"      --graph FILE   graph from FILE, weights from SOURCE\n"
	"      --in NAME=FILE input of the run run/cli (with --cat, --ls,\n"
	"                     --extract; may be repeated)\n"
	"  -v, --verbose      say more\n"
	"  -h, --help         this text\n"
	"  -V, --version      version\n"
	"\n"
	"Unmount with `umount` or `fusermount3 -u`.  See modelfs(1).\n";

static int bad_usage(const char *what)
{
	log_line(LOG_ERROR, "%s (try --help)", what);
	return EXIT_USAGE;
}

static void print_format(const struct format *f)
{
	printf("%-14s %s\n", f->name, f->title);
}

static int print_formats(void)
{
	size_t i;

	for (i = 0; formats[i]; i++)
		print_format(formats[i]);
	return 0;
}

/* ---- options ---- */

static bool parse_size(const char *s, uint64_t *out)
{
	static const char units[] = "KMGT";
	char *end;
	unsigned long long v;
	const char *unit;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno || end == s || *s == '-' || v == 0)
		return false;
	if (*end) {
		unit = strchr(units, *end & ~0x20);
		if (!unit || end[1])
			return false;
		if (v > UINT64_MAX >> (10 * (unit - units + 1)))
			return false;
		v <<= 10 * (unit - units + 1);
	}
	*out = v;
	return true;
}

static bool parse_threads(const char *s, unsigned *out)
{
	char *end;
	unsigned long v = strtoul(s, &end, 10);

	if (end == s || *end || v == 0 || v > 1024)
		return false;
	*out = (unsigned)v;
	return true;
}

/* Our own options are taken out; the rest is for FUSE. */
static bool parse_o(struct options *opt, char *list)
{
	char *rest = list, *item;

	while (item = strsep(&rest, ","), item) {
		if (!*item || strcmp(item, "rw") == 0)
			continue;
		if (strcmp(item, "lenient") == 0) {
			opt->lenient = true;
			continue;
		}
		if (strcmp(item, "nosandbox") == 0) {
			opt->no_sandbox = true;
			continue;
		}
		if (opt->no == O_MAX)
			return false;
		opt->o[opt->no++] = item;
	}
	return true;
}

enum { OPT_LS = 256, OPT_CAT, OPT_EXTRACT, OPT_FORMATS, OPT_IN, OPT_GRAPH };

static const struct option long_options[] = {
	{"ls", no_argument, NULL, OPT_LS},
	{"cat", no_argument, NULL, OPT_CAT},
	{"extract", no_argument, NULL, OPT_EXTRACT},
	{"formats", no_argument, NULL, OPT_FORMATS},
	{"in", required_argument, NULL, OPT_IN},
	{"graph", required_argument, NULL, OPT_GRAPH},
	{"threads", required_argument, NULL, 't'},
	{"memory", required_argument, NULL, 'm'},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

/* -1: go on; else the exit status. */
static int parse_option(struct options *opt, int c)
{
	switch (c) {
	case OPT_LS:
		opt->command = CMD_LS;
		return -1;
	case OPT_CAT:
		opt->command = CMD_CAT;
		return -1;
	case OPT_EXTRACT:
		opt->command = CMD_EXTRACT;
		return -1;
	case OPT_FORMATS:
		opt->command = CMD_FORMATS;
		return -1;
	case OPT_IN:
		if (opt->ninputs == CLI_INPUTS_MAX || !strchr(optarg, '='))
			return bad_usage("--in wants NAME=FILE");
		opt->inputs[opt->ninputs++] = optarg;
		return -1;
	case OPT_GRAPH:
		opt->graph = optarg;
		return -1;
	case 'f':
		opt->foreground = true;
		return -1;
	case 'd':
		opt->debug = true;
		return -1;
	case 'o':
		return parse_o(opt, optarg) ? -1
					    : bad_usage("too many options");
	case 't':
		return parse_threads(optarg, &opt->threads)
			       ? -1
			       : bad_usage("--threads wants a number");
	case 'm':
		return parse_size(optarg, &opt->memory)
			       ? -1
			       : bad_usage("--memory wants a size, e.g. 2G");
	case 'v':
		log_set_level(LOG_INFO);
		return -1;
	case 'h':
		fputs(help, stdout);
		return 0;
	case 'V':
		printf("modelfs %s (libfuse %s)\n", PACKAGE_VERSION,
		       mount_fuse_version());
		return 0;
	case ':':
		return bad_usage("an option lacks its argument");
	default:
		return bad_usage("unknown option");
	}
}

static int parse_options(struct options *opt, int argc, char **argv)
{
	int c;

	/* The colon in front: errors are ours to report, in one line. */
	while (c = getopt_long(argc, argv, ":fdo:t:m:vhV", long_options, NULL),
	       c != -1) {
		int status = parse_option(opt, c);

		if (status >= 0)
			return status;
	}
	opt->args = argv + optind;
	opt->nargs = argc - optind;
	return -1;
}

/* ---- the commands ---- */

static int fail(int status, const struct err *e)
{
	log_line(LOG_ERROR, "%s", e->msg);
	return status;
}

static bool wants_run(const struct options *opt, char **paths, int n)
{
	int i;

	if (opt->ninputs > 0)
		return true;
	for (i = 0; i < n; i++)
		if (strncmp(paths[i], "run/" CLI_RUN, 4 + strlen(CLI_RUN)) == 0)
			return true;
	return false;
}

static int make_run(struct vfs *v, const struct cli_inputs *in, struct err *e)
{
	vfs_ino dir, ino;
	int rc = vfs_lookup(v, VFS_ROOT, "run", true, NULL, &dir, e);

	if (rc < 0)
		return err_set(e, ENODATA, "the model carries no graph");
	rc = vfs_mkdir(v, dir, CLI_RUN, &ino, e);
	return rc < 0 ? rc : cli_inputs_bind(in, v, CLI_RUN, e);
}

/* What a command has open before it is confined. */
struct opened {
	struct sources sources;
	struct cli_inputs inputs;
	int target; /* of --extract; -1: none */
};

static int run_command(const struct options *opt, struct opened *o,
		       struct vfs *v, struct err *e)
{
	char **paths = opt->args + 1;
	int n = opt->nargs - 1, i, rc = 0;

	if (wants_run(opt, paths, n))
		rc = make_run(v, &o->inputs, e);
	if (rc < 0)
		return rc;
	if (opt->command == CMD_LS) {
		rc = cli_ls(v, n ? paths[0] : "", e);
		return rc == 0 && n == 0 ? cli_totals(v, e) : rc;
	}
	if (opt->command == CMD_EXTRACT)
		return cli_extract(v, paths[0], o->target, e);
	for (i = 0; rc == 0 && i < n; i++)
		rc = cli_cat(v, paths[i], e);
	return rc;
}

static bool has_right_args(const struct options *opt)
{
	switch (opt->command) {
	case CMD_LS:
		return opt->nargs == 1 || opt->nargs == 2;
	case CMD_CAT:
		return opt->nargs >= 2;
	case CMD_EXTRACT:
		return opt->nargs == 3;
	default:
		return opt->nargs >= 2 && opt->nargs <= SOURCES_MAX;
	}
}

/* Takes the models out of s, also on failure. */
static int new_vfs(struct sources *s, struct engine *en, struct vfs **out,
		   struct err *e)
{
	int rc = vfs_new(s->mounts, s->n, en, out, e);
	size_t i;

	for (i = 0; i < s->n; i++)
		s->mounts[i].model = NULL;
	return rc;
}

/* o says what is needed besides the folders of the sources. */
static int enter_sandbox(const struct options *opt, const struct sources *s,
			 struct sandbox_options *o, const char **walls,
			 struct err *e)
{
	int dirfds[SOURCES_MAX + 1];
	int rc;

	*walls = "off";
	if (opt->no_sandbox)
		return 0;
	/* What localtime would open later. */
	tzset();
	o->dirfds = dirfds;
	o->ndirfds = sources_folders(s, dirfds);
	rc = sandbox_enter(o, walls, e);
	return rc < 0 ? err_wrap(e, "sandbox (-o nosandbox turns it off)") : 0;
}

static int read_and_run(const struct options *opt, struct opened *o,
			struct err *e)
{
	struct engine *en;
	struct vfs *v = NULL;
	int rc = sources_read(&o->sources, e);

	if (rc < 0)
		return rc;
	en = engine_new(opt->threads, opt->memory);
	rc = en ? new_vfs(&o->sources, en, &v, e) : err_nomem(e, 1);
	if (rc == 0)
		rc = run_command(opt, o, v, e);
	if (fflush(stdout) != 0 && rc == 0)
		rc = err_set(e, errno, "cannot write: %s", strerror(errno));
	vfs_free(v);
	engine_free(en);
	return rc;
}

static int open_all(const struct options *opt, struct opened *o, struct err *e)
{
	unsigned i;
	int rc = sources_open(&o->sources, opt->args, 1, opt->graph,
			      opt->lenient, e);

	for (i = 0; rc == 0 && i < opt->ninputs; i++)
		rc = cli_inputs_open(&o->inputs, opt->inputs[i], e);
	if (rc == 0 && opt->command == CMD_EXTRACT) {
		o->target = cli_open_target(opt->args[2], e);
		rc = o->target < 0 ? o->target : 0;
	}
	return rc;
}

static int without_mount(const struct options *opt)
{
	struct opened o = {.target = -1};
	struct sandbox_options needs = {
		/* Most that is computed does without, and starts sooner. */
		.may_load = engine_wants_libraries() &&
			    wants_run(opt, opt->args + 1, opt->nargs - 1),
	};
	const char *walls;
	struct err e = {0};
	int rc = open_all(opt, &o, &e);

	needs.target = o.target;
	if (rc == 0)
		rc = enter_sandbox(opt, &o.sources, &needs, &walls, &e);
	if (rc == 0)
		rc = read_and_run(opt, &o, &e);
	if (o.target >= 0)
		close(o.target);
	cli_inputs_close(&o.inputs);
	sources_close(&o.sources);
	return rc < 0 ? fail(EXIT_MODEL, &e) : 0;
}

/* ---- mounting ---- */

static int serve(const struct options *opt, struct mount_session *session,
		 struct sources *s, const char *walls)
{
	/* Threads don't survive going to the background; we are there. */
	struct engine *en = engine_new(opt->threads, opt->memory);
	struct vfs *v = NULL;
	struct err e = {0};
	int rc = en ? new_vfs(s, en, &v, &e) : err_nomem(&e, 1);

	sources_close(s);
	if (rc == 0)
		rc = mount_open(session, v, &e);
	if (rc == 0 && !opt->no_sandbox)
		rc = sandbox_close_files(&e);
	if (rc == 0) {
		vfs_set_sandbox(v, walls);
		rc = mount_serve(session);
	} else {
		fail(EXIT_MOUNT, &e);
	}
	vfs_free(v);
	engine_free(en);
	return rc < 0 ? EXIT_MOUNT : 0;
}

static int read_and_mount(const struct options *opt,
			  struct mount_session *session, struct sources *s)
{
	struct sandbox_options needs = {.target = -1};
	const char *walls;
	struct err e = {0};
	int rc;

	/* Runs may want it, and then it is too late. */
	engine_prepare();
	rc = enter_sandbox(opt, s, &needs, &walls, &e);
	if (rc < 0)
		return fail(EXIT_MOUNT, &e);
	rc = sources_read(s, &e);
	if (rc < 0)
		return fail(EXIT_MODEL, &e);
	return serve(opt, session, s, walls);
}

static int with_mount(const struct options *opt)
{
	struct mount_session *session;
	int n = opt->nargs - 1, status;
	struct sources s;
	struct err e = {0};
	struct mount_options mo = {
		.mountpoint = opt->args[n],
		.o = (const char **)opt->o,
		.no = opt->no,
		.foreground = opt->foreground,
		.debug = opt->debug,
	};

	if (sources_open(&s, opt->args, (size_t)n, opt->graph, opt->lenient,
			 &e) < 0) {
		sources_close(&s);
		return fail(e.code == EEXIST ? EXIT_USAGE : EXIT_MODEL, &e);
	}
	mo.source = s.mounts[0].path;
	if (mount_prepare(&mo, &session, &e) < 0) {
		sources_close(&s);
		return fail(EXIT_MOUNT, &e);
	}
	status = read_and_mount(opt, session, &s);
	sources_close(&s);
	mount_close(session);
	return status;
}

/* Every shard of a model stays open. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	struct options opt = {0};
	int status = parse_options(&opt, argc, argv);

	if (status >= 0)
		return status;
	raise_file_limit();
	if (opt.command == CMD_FORMATS)
		return print_formats();
	if (!has_right_args(&opt))
		return bad_usage("wrong number of arguments");
	return opt.command == CMD_MOUNT ? with_mount(&opt)
					: without_mount(&opt);
}
