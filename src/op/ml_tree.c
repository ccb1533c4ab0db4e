/* SPDX-License-Identifier: MIT */
/* ml_tree - TreeEnsemble, TreeEnsembleRegressor, TreeEnsembleClassifier. */
#include <math.h>

#include "modelfs/map.h"
#include "op/impl.h"
#include "op/ml.h"

enum tree_mode {
	TREE_LEQ,
	TREE_LT,
	TREE_GTE,
	TREE_GT,
	TREE_EQ,
	TREE_NEQ,
	TREE_MEMBER,
	TREE_LEAF
};

struct tree_node {
	enum tree_mode mode;
	bool missing_true; /* where NaN goes */
	uint64_t feature;
	double value;
	const double *members; /* up to a NaN */
	size_t nmembers;
	uint64_t yes, no; /* nodes */
	uint64_t first;	  /* of a leaf's weights, + 1; 0: none */
};

struct tree_weight {
	uint64_t target;
	double v;
	uint64_t next; /* + 1 */
};

enum aggregate {
	AGGREGATE_AVERAGE,
	AGGREGATE_SUM,
	AGGREGATE_MIN,
	AGGREGATE_MAX
};

struct forest {
	struct tree_node *nodes;
	struct tree_weight *weights;
	uint64_t *roots;
	size_t nnodes, nweights, nroots, ntargets;
	enum aggregate how;
	enum ml_post post;
	const double *base;
	size_t nbase;
};

static int forest_alloc(struct op_call *c, struct forest *f, struct err *e)
{
	void *p[3];
	int rc = op_temp_array(c, f->nnodes, sizeof(*f->nodes), &p[0], e);

	if (rc == 0)
		rc = op_temp_array(c, f->nweights, sizeof(*f->weights), &p[1],
				   e);
	if (rc == 0)
		rc = op_temp_array(c, f->nnodes + 1, sizeof(*f->roots), &p[2],
				   e);
	if (rc < 0)
		return rc;
	f->nodes = p[0];
	f->weights = p[1];
	f->roots = p[2];
	return 0;
}

/* ---- the form up to version 3: nodes by tree and number ---- */
struct key {
	int64_t tree, node;
};

static int ints_of(struct op_call *c, const char *name, size_t n,
		   const int64_t **v, struct err *e)
{
	size_t have;

	op_attr_ints(c, name, v, &have);
	if (have != n)
		return op_invalid(c, e, "%zu %s, not %zu", have, name, n);
	return 0;
}

static int mode_of(struct op_call *c, const struct span *s, enum tree_mode *m,
		   struct err *e)
{
	static const char *const names[] = {
		[TREE_LEQ] = "BRANCH_LEQ",	 [TREE_LT] = "BRANCH_LT",
		[TREE_GTE] = "BRANCH_GTE",	 [TREE_GT] = "BRANCH_GT",
		[TREE_EQ] = "BRANCH_EQ",	 [TREE_NEQ] = "BRANCH_NEQ",
		[TREE_MEMBER] = "BRANCH_MEMBER", [TREE_LEAF] = "LEAF",
	};

	for (int i = 0; i <= TREE_LEAF; i++) {
		if (s->len == strlen(names[i]) &&
		    memcmp(s->p, names[i], s->len) == 0) {
			*m = (enum tree_mode)i;
			return 0;
		}
	}
	return op_invalid(c, e, "a node's mode");
}

static int add_nodes(struct op_call *c, struct forest *f, struct key *keys,
		     struct map *index, struct err *e)
{
	const int64_t *trees, *ids, *features, *missing;
	const struct span *modes;
	const double *values;
	size_t nmodes, nvalues, nmissing;
	int rc = ints_of(c, "nodes_treeids", f->nnodes, &trees, e);

	if (rc == 0)
		rc = ints_of(c, "nodes_nodeids", f->nnodes, &ids, e);
	if (rc == 0)
		rc = ints_of(c, "nodes_featureids", f->nnodes, &features, e);
	if (rc == 0)
		rc = ml_doubles(c, "nodes_values", &values, &nvalues, e);
	op_attr_strings(c, "nodes_modes", &modes, &nmodes);
	op_attr_ints(c, "nodes_missing_value_tracks_true", &missing, &nmissing);
	if (rc == 0 && (nmodes != f->nnodes || nvalues != f->nnodes))
		return op_invalid(c, e, "modes or values of nodes");
	for (size_t i = 0; i < f->nnodes && rc == 0; i++) {
		struct tree_node *n = &f->nodes[i];

		rc = mode_of(c, &modes[i], &n->mode, e);
		n->feature = (uint64_t)features[i];
		n->value = values[i];
		n->missing_true = nmissing == f->nnodes && missing[i];
		keys[i] = (struct key){trees[i], ids[i]};
		if (rc == 0 && map_add(index, &keys[i], sizeof(keys[i]), i))
			rc = op_invalid(c, e, "a node twice");
		if (i == 0 || trees[i] != trees[i - 1])
			f->roots[f->nroots++] = i;
	}
	return rc;
}

static int link_nodes(struct op_call *c, struct forest *f,
		      const struct key *keys, const struct map *index,
		      struct err *e)
{
	const int64_t *yes, *no;
	int rc = ints_of(c, "nodes_truenodeids", f->nnodes, &yes, e);

	if (rc == 0)
		rc = ints_of(c, "nodes_falsenodeids", f->nnodes, &no, e);
	for (size_t i = 0; i < f->nnodes && rc == 0; i++) {
		struct tree_node *n = &f->nodes[i];
		struct key a = {keys[i].tree, yes[i]};
		struct key b = {keys[i].tree, no[i]};

		if (n->mode != TREE_LEAF &&
		    (!map_get(index, &a, sizeof(a), &n->yes) ||
		     !map_get(index, &b, sizeof(b), &n->no)))
			rc = op_invalid(c, e, "a branch to nowhere");
	}
	return rc;
}

/* prefix: "target" or "class". */
static int add_weights(struct op_call *c, struct forest *f,
		       const char *const names[4], const struct map *index,
		       struct err *e)
{
	const int64_t *trees, *ids, *targets;
	const double *v;
	size_t n;
	int rc = ints_of(c, names[0], f->nweights, &trees, e);

	if (rc == 0)
		rc = ints_of(c, names[1], f->nweights, &ids, e);
	if (rc == 0)
		rc = ints_of(c, names[2], f->nweights, &targets, e);
	if (rc == 0)
		rc = ml_doubles(c, names[3], &v, &n, e);
	if (rc == 0 && n != f->nweights)
		return op_invalid(c, e, "%zu weights", n);
	/* From the last to the first, so that lists are in order. */
	for (size_t i = f->nweights; i-- > 0 && rc == 0;) {
		struct key k = {trees[i], ids[i]};
		uint64_t at;

		if (!map_get(index, &k, sizeof(k), &at) || targets[i] < 0 ||
		    (uint64_t)targets[i] >= f->ntargets)
			return op_invalid(c, e, "weight %zu", i);
		f->weights[i] = (struct tree_weight){(uint64_t)targets[i], v[i],
						     f->nodes[at].first};
		f->nodes[at].first = i + 1;
	}
	return rc;
}

static int read_classic(struct op_call *c, struct forest *f,
			const char *const names[4], struct err *e)
{
	const int64_t *v;
	struct map *index;
	struct key *keys;
	void *p;
	int rc;

	op_attr_ints(c, "nodes_treeids", &v, &f->nnodes);
	op_attr_ints(c, names[0], &v, &f->nweights);
	rc = forest_alloc(c, f, e);
	if (rc == 0)
		rc = op_temp_array(c, f->nnodes, sizeof(*keys), &p, e);
	if (rc == 0)
		rc = ml_doubles(c, "base_values", &f->base, &f->nbase, e);
	if (rc == 0)
		rc = ml_post_read(c, &f->post, e);
	if (rc < 0)
		return rc;
	keys = p;
	index = map_new();
	if (!index)
		return err_nomem(e, sizeof(void *));
	rc = add_nodes(c, f, keys, index, e);
	if (rc == 0)
		rc = link_nodes(c, f, keys, index, e);
	if (rc == 0)
		rc = add_weights(c, f, names, index, e);
	map_free(index);
	return rc;
}

/* ---- version 5: branches and leaves in lists of their own ---- */
static int child(struct op_call *c, const struct forest *f, size_t nbranches,
		 int64_t at, int64_t is_leaf, uint64_t *out, struct err *e)
{
	uint64_t n = is_leaf ? f->nnodes - nbranches : nbranches;

	if (at < 0 || (uint64_t)at >= n)
		return op_invalid(c, e, "a branch to nowhere");
	*out = (uint64_t)at + (is_leaf ? nbranches : 0);
	return 0;
}

static void take_members(struct tree_node *n, const double *v, size_t nv,
			 size_t *at)
{
	n->members = v + *at;
	while (*at < nv && !isnan(v[*at])) {
		n->nmembers++;
		(*at)++;
	}
	if (*at < nv)
		(*at)++;
}

static int add_branches(struct op_call *c, struct forest *f, size_t n,
			struct err *e)
{
	const int64_t *feature, *yes, *no, *yes_leaf, *no_leaf, *missing;
	const double *modes, *splits, *members;
	size_t nmodes, nsplits, nmembers, nmissing, at = 0;
	int rc = ints_of(c, "nodes_featureids", n, &feature, e);

	if (rc == 0)
		rc = ints_of(c, "nodes_truenodeids", n, &yes, e);
	if (rc == 0)
		rc = ints_of(c, "nodes_falsenodeids", n, &no, e);
	if (rc == 0)
		rc = ints_of(c, "nodes_trueleafs", n, &yes_leaf, e);
	if (rc == 0)
		rc = ints_of(c, "nodes_falseleafs", n, &no_leaf, e);
	if (rc == 0)
		rc = ml_doubles(c, "nodes_modes", &modes, &nmodes, e);
	if (rc == 0)
		rc = ml_doubles(c, "nodes_splits", &splits, &nsplits, e);
	if (rc == 0)
		rc = ml_doubles(c, "membership_values", &members, &nmembers, e);
	op_attr_ints(c, "nodes_missing_value_tracks_true", &missing, &nmissing);
	if (rc == 0 && (nmodes != n || nsplits != n))
		return op_invalid(c, e, "modes or splits of nodes");
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct tree_node *node = &f->nodes[i];

		if (!(modes[i] >= TREE_LEQ && modes[i] <= TREE_MEMBER))
			return op_invalid(c, e, "a node's mode");
		node->mode = (enum tree_mode)modes[i];
		node->feature = (uint64_t)feature[i];
		node->value = splits[i];
		node->missing_true = nmissing == n && missing[i];
		if (node->mode == TREE_MEMBER)
			take_members(node, members, nmembers, &at);
		rc = child(c, f, n, yes[i], yes_leaf[i], &node->yes, e);
		if (rc == 0)
			rc = child(c, f, n, no[i], no_leaf[i], &node->no, e);
	}
	return rc;
}

static int add_leaves(struct op_call *c, struct forest *f, size_t nbranches,
		      struct err *e)
{
	const int64_t *targets;
	const double *v;
	size_t n;
	int rc = ints_of(c, "leaf_targetids", f->nweights, &targets, e);

	if (rc == 0)
		rc = ml_doubles(c, "leaf_weights", &v, &n, e);
	if (rc == 0 && n != f->nweights)
		return op_invalid(c, e, "%zu leaf_weights", n);
	for (size_t i = 0; i < f->nweights && rc == 0; i++) {
		if (targets[i] < 0 || (uint64_t)targets[i] >= f->ntargets)
			return op_invalid(c, e, "target %lld",
					  (long long)targets[i]);
		f->weights[i].target = (uint64_t)targets[i];
		f->weights[i].v = v[i];
		f->nodes[nbranches + i].mode = TREE_LEAF;
		f->nodes[nbranches + i].first = i + 1;
	}
	return rc;
}

static int read_ensemble(struct op_call *c, struct forest *f, struct err *e)
{
	const int64_t *v, *roots;
	size_t nbranches, nroots;
	int rc;

	op_attr_ints(c, "nodes_featureids", &v, &nbranches);
	op_attr_ints(c, "leaf_targetids", &v, &f->nweights);
	op_attr_ints(c, "tree_roots", &roots, &nroots);
	f->nnodes = nbranches + f->nweights;
	f->how = (enum aggregate)op_attr_int(c, "aggregate_function", 1);
	if (nroots > f->nnodes || f->how > AGGREGATE_MAX)
		return op_invalid(c, e, "tree_roots or aggregate_function");
	rc = forest_alloc(c, f, e);
	if (rc == 0)
		rc = ml_post_read(c, &f->post, e);
	if (rc == 0)
		rc = add_branches(c, f, nbranches, e);
	if (rc == 0)
		rc = add_leaves(c, f, nbranches, e);
	for (size_t i = 0; i < nroots && rc == 0; i++) {
		if (roots[i] < 0 || (uint64_t)roots[i] >= f->nnodes)
			return op_invalid(c, e, "a root that is no node");
		f->roots[f->nroots++] = (uint64_t)roots[i];
	}
	return rc;
}

/* ---- walking ---- */
static bool branch(const struct tree_node *n, double x)
{
	if (isnan(x) && n->missing_true)
		return true;
	switch (n->mode) {
	case TREE_LEQ:
		return x <= n->value;
	case TREE_LT:
		return x < n->value;
	case TREE_GTE:
		return x >= n->value;
	case TREE_GT:
		return x > n->value;
	case TREE_EQ:
		return x == n->value;
	case TREE_NEQ:
		return x != n->value;
	default:
		for (size_t i = 0; i < n->nmembers; i++) {
			if (n->members[i] == x)
				return true;
		}
		return false;
	}
}

/* The leaf of one tree for one row; NULL when it goes round in circles. */
static const struct tree_node *find_leaf(const struct forest *f, uint64_t at,
					 const double *x, uint64_t features)
{
	for (size_t steps = 0; steps <= f->nnodes; steps++) {
		const struct tree_node *n = &f->nodes[at];

		if (n->mode == TREE_LEAF)
			return n;
		if (n->feature >= features)
			return NULL;
		at = branch(n, x[n->feature]) ? n->yes : n->no;
	}
	return NULL;
}

static void add_weight(const struct forest *f, double *v, bool *seen,
		       const struct tree_weight *w)
{
	double *to = &v[w->target];

	if (f->how <= AGGREGATE_SUM || !seen[w->target])
		*to += w->v;
	else
		*to = f->how == AGGREGATE_MIN ? fmin(*to, w->v)
					      : fmax(*to, w->v);
	seen[w->target] = true;
}

/* Scores of all rows, before post_transform. */
static int forest_run(struct op_call *c, const struct forest *f, uint64_t *rows,
		      double **out, struct err *e)
{
	const double *x;
	uint64_t features;
	void *p, *seen;
	int rc = ml_rows(c, rows, &features, &x, e);

	if (rc == 0)
		rc = op_temp_array(c, *rows, f->ntargets * sizeof(double), &p,
				   e);
	if (rc == 0)
		rc = op_temp_array(c, f->ntargets, sizeof(bool), &seen, e);
	if (rc < 0)
		return rc;
	*out = p;
	for (uint64_t r = 0; r < *rows; r++) {
		double *v = *out + r * f->ntargets;

		memset(seen, 0, f->ntargets * sizeof(bool));
		for (size_t t = 0; t < f->nroots; t++) {
			const struct tree_node *n = find_leaf(
				f, f->roots[t], x + r * features, features);

			if (!n)
				return op_invalid(c, e, "a tree without leaf");
			for (uint64_t w = n->first; w;
			     w = f->weights[w - 1].next)
				add_weight(f, v, seen, &f->weights[w - 1]);
		}
		for (size_t k = 0; k < f->ntargets; k++) {
			if (f->how == AGGREGATE_AVERAGE && f->nroots)
				v[k] /= (double)f->nroots;
			if (f->nbase == f->ntargets)
				v[k] += f->base[k];
		}
		rc = op_check_stop(c, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int forest_give(struct op_call *c, size_t output, enum dtype t,
		       const double *v, uint64_t rows, size_t n, struct err *e)
{
	struct shape s = shape_of(2, (int64_t[]){(int64_t)rows, (int64_t)n});
	void *out;
	int rc = op_alloc_as(c, output, t, DTYPE_F64, &s, &out, e);

	if (rc == 0 && rows * n > 0)
		memcpy(out, v, rows * n * sizeof(*v));
	return rc;
}

static int eval_regressor(struct op_call *c, struct err *e)
{
	static const char *const names[4] = {"target_treeids", "target_nodeids",
					     "target_ids", "target_weights"};
	static const char *const functions[] = {"AVERAGE", "SUM", "MIN", "MAX"};
	const char *how = op_attr_str(c, "aggregate_function", "SUM");
	int64_t targets = op_attr_int(c, "n_targets", 1);
	struct forest f = {.how = AGGREGATE_SUM};
	uint64_t rows;
	double *v;
	int rc;

	if (targets < 1 || targets > INT32_MAX)
		return op_invalid(c, e, "n_targets %lld", (long long)targets);
	f.ntargets = (size_t)targets;
	if (c->op->arg) {
		rc = read_ensemble(c, &f, e);
	} else {
		for (int i = 0; i < 4; i++) {
			if (strcmp(how, functions[i]) == 0)
				f.how = (enum aggregate)i;
		}
		rc = read_classic(c, &f, names, e);
	}
	if (rc == 0)
		rc = forest_run(c, &f, &rows, &v, e);
	for (uint64_t r = 0; rc == 0 && r < rows; r++)
		ml_post_apply(f.post, v + r * f.ntargets, f.ntargets);
	return rc < 0 ? rc
		      : forest_give(c, 0,
				    c->op->arg ? c->in[0].dtype : DTYPE_F32, v,
				    rows, f.ntargets, e);
}

/* One score for two classes: is it a probability, or a margin? */
static bool all_positive(const struct forest *f)
{
	for (size_t i = 0; i < f->nweights; i++) {
		if (f->weights[i].v < 0)
			return false;
	}
	return true;
}

static bool one_class(const struct forest *f)
{
	for (size_t i = 1; i < f->nweights; i++) {
		if (f->weights[i].target != f->weights[0].target)
			return false;
	}
	return f->nweights > 0;
}

static int64_t classify(const struct forest *f, double *v, bool binary,
			bool positive)
{
	int64_t best = 0;

	if (binary) {
		double s = v[f->weights[0].target];

		best = positive ? s > 0.5 : s > 0;
		v[0] = positive ? 1 - s : -s;
		v[1] = s;
	} else {
		for (size_t k = 1; k < f->ntargets; k++)
			best = v[k] > v[best] ? (int64_t)k : best;
	}
	ml_post_apply(f->post, v, f->ntargets);
	return best;
}

static int eval_classifier(struct op_call *c, struct err *e)
{
	static const char *const names[4] = {"class_treeids", "class_nodeids",
					     "class_ids", "class_weights"};
	struct forest f = {.how = AGGREGATE_SUM};
	bool binary, positive;
	struct ml_labels l;
	uint64_t rows;
	double *v;
	void *class;
	int rc;

	ml_labels_read(c, "classlabels_int64s", "classlabels_strings", &l);
	f.ntargets = l.n;
	if (l.n == 0)
		return op_invalid(c, e, "no labels");
	rc = read_classic(c, &f, names, e);
	if (rc == 0)
		rc = forest_run(c, &f, &rows, &v, e);
	if (rc == 0)
		rc = op_temp_array(c, rows, sizeof(int64_t), &class, e);
	if (rc < 0)
		return rc;
	binary = l.n == 2 && one_class(&f);
	positive = all_positive(&f);
	for (uint64_t r = 0; r < rows; r++)
		((int64_t *)class)[r] =
			classify(&f, v + r * f.ntargets, binary, positive);
	rc = ml_labels_give(c, &l, class, rows, e);
	return rc < 0 ? rc
		      : forest_give(c, 1, DTYPE_F32, v, rows, f.ntargets, e);
}

const struct op ops_ml_tree[] = {
	{ML, "TreeEnsembleRegressor", 1, 1, 1, 1, 1, 0, 0, NULL,
	 eval_regressor},
	{ML, "TreeEnsembleClassifier", 1, 1, 1, 1, 2, 0, 0, NULL,
	 eval_classifier},
	{ML, "TreeEnsemble", 5, 1, 1, 1, 1, 0, 1, NULL, eval_regressor},
	{0},
};
