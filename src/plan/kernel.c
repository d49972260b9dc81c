/* kernel.c: making a kernel: its dims, its stores, and its end. */
#include "plan/build.h"

void lt_kernel_init(lt_kernel_builder *kb, lt_builder *b, const lt_unit *u, lt_kernel_kind kind) {
  *kb = (lt_kernel_builder){.b = b, .unit = u};
  kb->k.kind = kind;
  kb->k.block_dim = LT_NONE;
  kb->k.dtype = kb->k.acc = LT_F32;
  kb->k.name = kb->k.op = kb->k.fused = "";
  lt_str_init(&kb->fused, b->a);
  kb->x = &kb->expr;
  kb->stamp = ++b->codes_begun;
  if (u && u->root) lt_kernel_name(kb, u->root);
}

void lt_kernel_use(lt_kernel_builder *kb, lt_code_vec *x) {
  kb->x = x;
  kb->stamp = ++kb->b->codes_begun;
}

void lt_kernel_result(lt_kernel_builder *kb, int32_t x) { kb->b->memo[kb->unit->root->out] = (lt_memo){kb->stamp, x}; }

static const char *written_op(const lt_node *n) { return n->origin ? n->origin : lt_op_table[n->op].name; }

void lt_kernel_name(lt_kernel_builder *kb, const lt_node *n) {
  const lt_graph *g = kb->b->g;
  const char *name = n->label ? n->label : lt_name_of(g, n->out);
  kb->k.name = name ? lt_arena_strdup(kb->b->a, name) : lt_arena_printf(kb->b->a, "v%u", n->out);
  kb->k.op = lt_arena_strdup(kb->b->a, written_op(n));
  kb->k.dtype = kb->k.acc = lt_type_of(g, n->out)->dtype;
}

/* An op of several nodes, one after the other, is named once; so is a node that is computed at several places. What the
 * root is part of is not named again. */
void lt_kernel_fuse(lt_kernel_builder *kb, const lt_node *n) {
  for (uint32_t i = 0; i < kb->named.n; i++)
    if (kb->named.at[i] == n->id) return;
  lt_vec_push(kb->b->a, &kb->named, n->id);
  const char *op = written_op(n), *all = kb->fused.n ? kb->fused.at : "", *blank = strrchr(all, ' ');
  if (strcmp(op, kb->k.op) == 0 || strcmp(op, blank ? blank + 1 : all) == 0) return;
  lt_str_printf(&kb->fused, "%s%s", kb->fused.n ? " " : "", op);
}

int lt_kernel_dim(lt_kernel_builder *kb, int64_t extent) {
  int i = kb->k.n_dims + kb->k.n_rdims;
  if (i == LT_MAX_DIMS)
    lt_fail(kb->b->job, LATHE_E_UNSUPPORTED, NULL, "`%s` needs more than %d loops", kb->k.name, LT_MAX_DIMS);
  kb->k.extent[i] = extent;
  kb->k.n_dims++;
  return i;
}

int lt_kernel_rdim(lt_kernel_builder *kb, int64_t extent) {
  int i = lt_kernel_dim(kb, extent);
  kb->k.n_dims--, kb->k.n_rdims++;
  return i;
}

void lt_kernel_last(lt_kernel_builder *kb, int32_t x) {
  if (x == (int32_t)kb->x->n - 1) return;
  lt_instr copy = kb->x->at[x]; /* evaluated twice, which costs nothing: it is a load, a constant or a value in use */
  lt_vec_push(kb->b->a, kb->x, copy);
}

void lt_kernel_space(lt_kernel_builder *kb, const lt_type *t, bool blocked) {
  kb->shape = *t;
  kb->at = (lt_at){0};
  if (!blocked) {
    for (int i = 0; i < t->rank; i++) kb->at.c[i] = lt_coord_dim(lt_kernel_dim(kb, t->dim[i]));
    if (!t->rank) lt_kernel_dim(kb, 1);
    return;
  }
  int n = lt_kernel_dim(kb, t->dim[0]), c = lt_kernel_dim(kb, lt_ceil_div(t->dim[1], LT_LANES));
  int h = lt_kernel_dim(kb, t->dim[2]), w = lt_kernel_dim(kb, t->dim[3]), l = lt_kernel_dim(kb, LT_LANES);
  kb->at.c[0] = lt_coord_dim(n);
  kb->at.c[1] = lt_coord_affine(c, LT_LANES, 0);
  kb->at.c[1].coef[l] = 1;
  kb->at.c[2] = lt_coord_dim(h);
  kb->at.c[3] = lt_coord_dim(w);
  kb->k.block_dim = c;
  kb->k.channels = t->dim[1];
}

void lt_kernel_store(lt_kernel_builder *kb, lt_value v, const lt_at *at, int32_t value) {
  lt_store s = {.to = lt_access_at(kb, v, at), .value = value};
  lt_vec_push(kb->b->a, &kb->store, s);
}

void lt_kernel_stores(lt_kernel_builder *kb) {
  const lt_graph *g = kb->b->g;
  for (uint32_t i = 0; i < kb->unit->node.n; i++) {
    const lt_node *n = g->nodes.at[kb->unit->node.at[i]];
    for (unsigned r = 0; r < n->n_out; r++) {
      lt_value v = n->out + r;
      if (!kb->b->stored[v] || !lt_place_of(kb->b, v).set) continue;
      lt_at at;
      lt_at_broadcast(&at, &kb->at, &kb->shape, lt_type_of(g, v));
      int32_t x = lt_x_value(kb, v);
      lt_kernel_store(kb, v, &at, x);
    }
  }
}

static double lt_touched(const lt_kernel_builder *kb) { /* bytes of the buffers read and written, each once */
  double sum = 0;
  for (uint32_t i = 0; i < kb->access.n; i++) sum += (double)kb->b->buffer.at[kb->access.at[i].buffer].bytes;
  for (uint32_t i = 0; i < kb->store.n; i++) sum += (double)kb->b->buffer.at[kb->store.at[i].to.buffer].bytes;
  return sum;
}

/* The order of a sum follows from the dims that its op has: before any of them are merged. */
static void lt_cut_runs(lt_kernel *k) {
  bool parts = k->reduce == LT_SUM_TREE16;
  if (k->kind != LT_K_REDUCE || !(parts || k->reduce == LT_SUM_CHAIN) || !lt_is_float(k->acc)) return;
  const int64_t *extent = k->extent + k->n_dims;
  lt_runs r = lt_runs_within(extent, k->n_rdims, parts ? LT_RUN_PARTS : LT_RUN);
  if (!lt_runs_one(&r, extent, k->n_rdims)) k->runs = r;
}

void lt_kernel_finish(lt_kernel_builder *kb) {
  lt_kernel *k = &kb->k;
  k->access = kb->access.at, k->n_access = kb->access.n;
  k->rexpr = kb->rexpr.at, k->n_rexpr = kb->rexpr.n;
  k->expr = kb->expr.at, k->n_expr = kb->expr.n;
  k->store = kb->store.at, k->n_store = kb->store.n;
  if (kb->fused.n) k->fused = kb->fused.at;
  double points = 1, all = 1, maps = 0, rmaps = 0;
  for (int i = 0; i < k->n_dims + k->n_rdims; i++) {
    if (i < k->n_dims) points *= (double)k->extent[i];
    all *= (double)k->extent[i];
  }
  for (uint32_t i = 0; i < k->n_expr; i++) maps += k->expr[i].kind == LT_X_MAP;
  for (uint32_t i = 0; i < k->n_rexpr; i++) rmaps += k->rexpr[i].kind == LT_X_MAP;
  if (k->n_rexpr) rmaps++; /* the reduction itself */
  k->flop += points * maps + all * rmaps;
  k->bytes += lt_touched(kb);
  lt_cut_runs(k);
  lt_merge_dims(k);
  lt_vec_push(kb->b->a, &kb->b->kernel, *k);
}
