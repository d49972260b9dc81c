/* fuse.c: marks clusters: what one kernel computes. A heavy node takes in the elementwise nodes that follow it, a
 * reduction also those that lead to it; elementwise nodes with nothing heavy near them form clusters of their own. The
 * three maps and the products of a convolution in tiles are one.
 *
 * Greedy, in order. A node joins the cluster of an operand when shapes agree and when nothing else it reads waits for
 * that cluster (that would be a cycle). Values of a cluster that others use are stored by its kernel as well.
 *
 * An elementwise node that reads leaves only waits for nothing, so it goes where its only reader goes: 0.9 * v is
 * computed in the kernel of 0.9 * v + g, which may be that of g. */
#include "ir/pass/moves.h"
#include "ir/winograd.h"

enum { MOST_NODES = 24 };   /* in a cluster: its loads are live at once */
enum { MOST_FOLLOW = 7 };   /* each other and a node: of three operands, with that node, they fit a cluster */
enum { MOST_STEPS = 1000 }; /* of a walk back in search of a cycle; what is further away counts as one */

/* Ids of its first and last node; `until` is the last node of all clusters up to this one, which stand in the order of
 * their first nodes. */
typedef struct cluster { uint32_t nodes, first, last, until; bool heavy, reduces, closed; lt_type shape; } cluster;
typedef struct fuser {
  lt_arena *a;
  const lt_graph *g;
  const bool *live;
  const lt_move *move;
  const uint32_t *uses;
  const bool *fixed;            /* by node, in a run entry: depends on weights only, is computed once; else NULL */
  uint32_t *of;                 /* by node: cluster, 0: none */
  const lt_node **follows;      /* by node: the elementwise reader in whose cluster it will be; NULL: none */
  bool *kept;                   /* by value: a node that computes nothing inside reads it, so it is stored */
  bool *summed;                 /* by value: its only reader is a reduction that computes it inside */
  uint32_t *before;             /* by node: the one that joined its cluster before it, as id + 1; 0: it is the first */
  uint32_t *seen, stamp, steps; /* of `waits` */
  LT_VEC(cluster) all;
} fuser;

static bool same_dims(const lt_type *a, const lt_type *b) {
  return a->rank == b->rank && memcmp(a->dim, b->dim, sizeof a->dim) == 0;
}

/* ---- nodes that go where their reader goes ---- */

static void find_keepers(fuser *f, const lt_node *r) {
  bool inner = lt_facts(r)->reads == LT_READS_INNER;
  for (unsigned k = 0; !(lt_op_table[r->op].flags & LT_MAP) && k < r->n_in; k++) {
    f->kept[r->in[k]] |= f->move[r->id] == LT_MOVE_NOT;
    f->summed[r->in[k]] |= inner && k == 0 && f->uses[r->in[k]] == 1;
  }
}

/* By node: its reader, where that is one operand of one elementwise node of the same shape. */
static void find_readers(fuser *f) {
  const lt_graph *g = f->g;
  f->follows = LT_NEW_ARRAY(f->a, const lt_node *, g->nodes.n + 1u);
  f->kept = LT_NEW_ARRAY(f->a, bool, g->values.n), f->summed = LT_NEW_ARRAY(f->a, bool, g->values.n);
  for (uint32_t i = 0; i < g->nodes.n; i++) {
    const lt_node *r = g->nodes.at[i];
    if (f->live[i]) find_keepers(f, r);
    for (unsigned k = 0; f->live[i] && lt_op_table[r->op].flags & LT_MAP && k < r->n_in; k++)
      if (f->uses[r->in[k]] == 1 && same_dims(lt_type_of(g, r->in[k]), lt_type_of(g, r->out)))
        f->follows[lt_node_of(g, r->in[k])->id] = r;
  }
}

static uint32_t followers(const fuser *f, const lt_node *n) {
  uint32_t count = 0;
  for (unsigned k = 0; k < n->n_in; k++) {
    const lt_node *m = n->in[k] ? lt_node_of(f->g, n->in[k]) : NULL;
    if (m && f->follows[m->id] == n) count += 1 + followers(f, m);
  }
  return count;
}

/* n has a reader to follow: is it elementwise, of leaves and of what follows n, and few? In a run entry what depends on
 * weights only stays apart, since it is computed once. */
static bool may_follow(const fuser *f, const lt_node *n) {
  bool may = lt_op_table[n->op].flags & LT_MAP && f->follows[n->id];
  may = may && (!f->fixed || f->fixed[n->id] == f->fixed[f->follows[n->id]->id]);
  for (unsigned k = 0; may && k < n->n_in; k++) {
    const lt_node *m = lt_node_of(f->g, n->in[k]);
    may = lt_op_table[m->op].flags & LT_LEAF || (f->follows[m->id] == n && !f->of[m->id]);
  }
  return may && followers(f, n) < MOST_FOLLOW;
}

static void put_followers(fuser *f, const lt_node *n, uint32_t c) {
  for (unsigned k = 0; k < n->n_in; k++) {
    const lt_node *m = n->in[k] ? lt_node_of(f->g, n->in[k]) : NULL;
    if (!m || f->follows[m->id] != n) continue;
    f->of[m->id] = c, f->all.at[c].nodes++;
    put_followers(f, m, c);
  }
}

/* ---- clusters ---- */

static void put(fuser *f, const lt_node *n, uint32_t c) {
  cluster *to = &f->all.at[c];
  f->before[n->id] = to->nodes ? to->last + 1 : 0;
  f->of[n->id] = c;
  to->nodes++, to->last = n->id;
  put_followers(f, n, c);
  for (uint32_t i = c; i < f->all.n; i++) f->all.at[i].until = n->id;
}

/* Where a walk back from a value to cluster c may stop: nodes before this one do not wait for c. It is c's first node,
 * or the first of a cluster that began before c and went on behind that node, for all of a cluster waits for what its
 * last node reads:
 *     v1 = conv2d(x, W)   cluster 1
 *     v2 = sum(x)         cluster 2, whose first node this is
 *     v3 = mul(v1, v2)    cluster 1 goes on, and now waits for 2
 *     v4 = sum(v1)        cluster 3: it waits for v1, so for cluster 1, so for 2
 * add(v2, v4) must not join cluster 2, and only a walk back to v1 finds out. */
static uint32_t walk_end(const fuser *f, uint32_t c) {
  uint32_t at = f->all.at[c].first;
  for (uint32_t i = c - 1; i > 0 && f->all.at[i].until >= at; i--)
    if (f->all.at[i].first < at && f->all.at[i].last >= at) at = f->all.at[i].first;
  return at;
}

static bool waits(fuser *f, lt_value v, uint32_t c, uint32_t from);

static bool operands_wait(fuser *f, const lt_node *n, uint32_t c, uint32_t from) {
  for (unsigned k = 0; k < n->n_in; k++)
    if (n->in[k] && waits(f, n->in[k], c, from)) return true;
  return false;
}

/* Does v depend on cluster c? What shares a kernel waits for the same; what follows a node waits for nothing. */
static bool waits(fuser *f, lt_value v, uint32_t c, uint32_t from) {
  const lt_node *n = lt_node_of(f->g, v);
  if (n->id < from || f->seen[n->id] == f->stamp) return false;
  uint32_t own = f->of[n->id];
  if (own == c || ++f->steps > MOST_STEPS) return true;
  f->seen[n->id] = f->stamp;
  if (!own) return operands_wait(f, n, c, from);
  uint32_t last = f->all.at[own].last;
  for (uint32_t i = last + 1; i; i = f->before[i - 1]) f->seen[i - 1] = f->stamp;
  for (uint32_t i = last + 1; i; i = f->before[i - 1])
    if (operands_wait(f, f->g->nodes.at[i - 1], c, from)) return true;
  return false;
}

/* May n, elementwise, join the cluster of its operand k? */
static bool joins(fuser *f, const lt_node *n, unsigned k) {
  uint32_t c = n->in[k] ? f->of[lt_node_of(f->g, n->in[k])->id] : 0;
  if (!c || (f->summed[n->out] && f->kept[n->in[k]])) return false;
  const cluster *to = &f->all.at[c];
  if (f->fixed && f->fixed[n->id] != f->fixed[to->first]) return false;
  if (to->closed || to->nodes + followers(f, n) >= MOST_NODES || !same_dims(&to->shape, lt_type_of(f->g, n->out)))
    return false;
  uint32_t from = walk_end(f, c);
  f->stamp++, f->steps = 0;
  for (unsigned j = 0; j < n->n_in; j++) {
    if (!n->in[j] || f->of[lt_node_of(f->g, n->in[j])->id] == c) continue;
    if (waits(f, n->in[j], c, from)) return false;
  }
  return true;
}

static void open_cluster(fuser *f, const lt_node *n, bool heavy) {
  if (f->all.n == 0) lt_vec_push(f->a, &f->all, (cluster){0});
  cluster c = {.first = n->id, .heavy = heavy, .shape = *lt_type_of(f->g, n->out)};
  c.closed = heavy && lt_facts(n)->writes != LT_WRITES_EPI;
  lt_vec_push(f->a, &f->all, c);
  put(f, n, f->all.n - 1);
}

/* Is v read through the guards of a pad? A reduction leaves out what they reject. */
static bool guarded(const fuser *f, lt_value v) {
  const lt_node *n = lt_node_of(f->g, v);
  for (; f->move[n->id] == LT_MOVE_VIRTUAL; n = lt_node_of(f->g, n->in[0]))
    if (lt_facts(n)->moves == LT_MOVES_PAD) return true;
  return false;
}

/* Elementwise nodes whose only reader is the reduction r are computed inside it. */
static bool joins_prologue(const fuser *f, const lt_node *r) {
  lt_value v = r->in[0];
  uint32_t c = f->of[lt_node_of(f->g, v)->id];
  if (lt_facts(r)->reads != LT_READS_INNER || !c) return false;
  const cluster *p = &f->all.at[c];
  if (p->heavy || p->closed || p->reduces || !same_dims(&p->shape, lt_type_of(f->g, v)) || f->uses[v] != 1)
    return false;
  for (uint32_t i = p->first; i < r->id; i++) { /* nobody else may read any of them */
    const lt_node *m = f->g->nodes.at[i];
    if (f->of[i] == c) continue;
    for (unsigned k = 0; f->live[i] && k < m->n_in; k++)
      if (m->in[k] && f->of[lt_node_of(f->g, m->in[k])->id] == c) return false;
  }
  for (uint32_t i = p->first; i < r->id; i++) {
    const lt_node *m = f->g->nodes.at[i];
    if (f->of[i] != c) continue;
    uint32_t inside = 0;
    for (uint32_t j = i + 1; j <= r->id; j++) {
      const lt_node *u = f->g->nodes.at[j];
      for (unsigned k = 0; (f->of[j] == c || j == r->id) && k < u->n_in; k++) inside += u->in[k] == m->out;
    }
    if (inside != f->uses[m->out]) return false; /* later readers, outputs, updates */
    for (unsigned k = 0; k < m->n_in; k++)
      if (m->in[k] && guarded(f, m->in[k])) return false;
  }
  return true;
}

/* A heavy cluster rather than one that is elementwise only, a later one rather than an earlier one; 0: none will do. */
static uint32_t best_cluster(fuser *f, const lt_node *n) {
  uint32_t best = 0;
  for (unsigned k = 0; k < n->n_in; k++) {
    uint32_t c = n->in[k] ? f->of[lt_node_of(f->g, n->in[k])->id] : 0;
    if (!c || c == best || !joins(f, n, k)) continue;
    const cluster *x = &f->all.at[c], *y = &f->all.at[best];
    if (!best || (x->heavy == y->heavy ? x->first > y->first : x->heavy)) best = c;
  }
  return best;
}

/* The cluster of what makes v, if it has no other node and v one reader; 0: it is not so. */
static uint32_t alone(const fuser *f, lt_value v, lt_blocks kind) {
  const lt_node *n = lt_node_of(f->g, v);
  const uint32_t c = lt_facts(n)->blocks == kind && f->uses[v] == 1 ? f->of[n->id] : 0;
  return c && f->all.at[c].nodes == 1 ? c : 0;
}

/* Are the image's tiles those of the result? */
static bool same_tiles(const lt_graph *g, const lt_node *image, const lt_node *result) {
  const lt_winograd_image_attrs *a = image->attrs;
  const lt_type *y = lt_type_of(g, result->out);
  const lt_tiles t = lt_tiles_of(lt_winograd_of(a->tile), lt_type_of(g, image->in[0]), &a->pad);
  return a->tile == ((const lt_winograd_result_attrs *)result->attrs)->tile && t.images == y->dim[0] &&
         t.rows == lt_ceil_div(y->dim[2], a->tile) && t.cols == lt_ceil_div(y->dim[3], a->tile);
}

/* Matrix by matrix, nothing turned: the right operand of `linear` has rank 2. */
static bool plain_products(const lt_graph *g, const lt_node *m) {
  if (lt_type_of(g, m->in[1])->rank != 3) return false;
  const lt_matmul_attrs *a = m->attrs;
  return !a->transpose_a && !a->transpose_b;
}

/* A convolution in tiles is one cluster, since it is computed band by band (plan/lower_winograd.c). Nobody else reads
 * what stands between its three maps, so nothing that they read waits for it. */
static bool joins_tiles(fuser *f, const lt_node *n) {
  if (lt_facts(n)->blocks != LT_BLOCKS_UNTILE || !alone(f, n->in[0], LT_BLOCKS_RIGHT)) return false;
  const lt_node *m = lt_node_of(f->g, n->in[0]);
  const uint32_t c = alone(f, m->in[0], LT_BLOCKS_TILES);
  const lt_node *image = lt_node_of(f->g, m->in[0]);
  if (!c || !plain_products(f->g, m) || !same_tiles(f->g, image, n)) return false;
  if (f->fixed && (f->fixed[image->id] || f->fixed[m->id])) return false;
  put(f, m, c), put(f, n, c);
  f->all.at[c].shape = *lt_type_of(f->g, n->out), f->all.at[c].closed = false;
  return true;
}

static void place(fuser *f, const lt_node *n) {
  unsigned flags = lt_op_table[n->op].flags;
  if (may_follow(f, n)) return;
  f->follows[n->id] = NULL;
  if (flags & LT_MAP) {
    uint32_t c = best_cluster(f, n);
    if (c) put(f, n, c);
    else open_cluster(f, n, false);
    return;
  }
  if (flags & LT_LEAF || f->move[n->id] != LT_MOVE_NOT || joins_tiles(f, n)) return;
  if (joins_prologue(f, n)) {
    uint32_t c = f->of[lt_node_of(f->g, n->in[0])->id];
    put(f, n, c);
    cluster *p = &f->all.at[c];
    p->reduces = p->heavy = true, p->shape = *lt_type_of(f->g, n->out);
    return;
  }
  open_cluster(f, n, true);
}

static bool copy_marked(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  const uint32_t *of = r->ctx;
  lt_value v = lt_copy_node(r, n, in);
  for (unsigned i = 0; i < n->n_out; i++) r->map[n->out + i] = v + i;
  lt_node_of(r->to, v)->cluster = of[n->id];
  return true;
}

void lt_pass_fuse(lt_graph *to, const lt_graph *from) {
  fuser f = {.a = lt_arena_new(to->job), .g = from};
  f.live = lt_live_nodes(f.a, from);
  f.move = lt_moves(f.a, from, f.live, false);
  f.uses = lt_use_counts(f.a, from, f.live);
  f.fixed = from->mode == LT_MODE_RUN ? lt_static_nodes(f.a, from) : NULL;
  f.of = LT_NEW_ARRAY(f.a, uint32_t, from->nodes.n + 1);
  f.before = LT_NEW_ARRAY(f.a, uint32_t, from->nodes.n + 1);
  f.seen = LT_NEW_ARRAY(f.a, uint32_t, from->nodes.n + 1);
  find_readers(&f);
  for (uint32_t i = 0; i < from->nodes.n; i++)
    if (f.live[i]) place(&f, from->nodes.at[i]);
  lt_rewrite_graph(to, from, copy_marked, f.of);
}
