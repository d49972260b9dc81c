/* graphs.c: random networks as objects against the JIT, bit by bit, alone and on 2, 3 and 7 threads; many objects in
 * one library, called from several threads at once. */
#include "aot/aot.h"
#include "driver/graph_api.h"
#include "kcheck.h"
#include "runtime/pool.h"

#include <pthread.h>

enum { GRAPHS = 320, BATCH = 20, MOST_PORTS = 40 };

typedef struct net {
  lathe_graph *g;
  lathe_model *m;
  lathe_instance *s;
  run_fn run;
  const void *io[MOST_PORTS];
  unsigned n_io;
  lathe_stats stats;
} net;

static void build(lt_job *job, void *arg) {
  struct { net *x; kc_case c; } *p = arg;
  lt_graph_enter(p->x->g->g, job);
  kc_build_graph(p->x->g->g, &p->c);
}

/* kc_build_graph needs leaves (cases.c of the kernel checks has them with all its families; this is the one). */
lt_value kc_leaf(lt_graph *g, const char *fill, bool weight, lt_dtype t, unsigned rank, const int64_t *dim) {
  lt_type type = lt_make_type(t, rank, dim);
  const char *name = lt_arena_printf(&g->arena, "%s_%u", fill, g->nodes.n);
  lt_init init = {.kind = LT_INIT_NORMAL, .a = 0.5};
  if (*fill == 'p') init = (lt_init){.kind = LT_INIT_UNIFORM, .a = 0.25, .b = 4};
  return lt_leaf(g, weight ? LT_OP_param : LT_OP_input, name, type, weight ? &init : NULL);
}

static void make_net(net *x, int number) {
  struct { net *x; kc_case c; } p = {x, {.number = number}};
  char name[16], opts[128];
  lathe_error e;
  snprintf(name, sizeof name, "n%d", number % BATCH);
  x->g = lathe_graph_new(name);
  ck_assert_msg(lt_protect(&e, build, &p) == 0, "graph %d: %s", number, e.message);
  x->m = lathe_compile(x->g, NULL, &e);
  ck_assert_msg(x->m != NULL, "graph %d: %s", number, e.message);
  snprintf(opts, sizeof opts, "--seed %d", number);
  x->s = lathe_open(x->m, opts, &e);
  ck_assert_msg(x->s != NULL, "graph %d: %s", number, e.message);
  lathe_model_stats(x->m, "run", &x->stats);
  emit(x->g, x->s, name, "--parallel");
}

static void open_net(net *x, void *so, int number) {
  char name[16];
  lathe_port port;
  snprintf(name, sizeof name, "n%d_run", number % BATCH);
  find_into(so, name, &x->run);
  for (size_t k = 0; lathe_model_port(x->m, "run", k, &port) && port.offset < 0; k++) {
    ck_assert_uint_lt(x->n_io + 1, MOST_PORTS);
    bool in = !strcmp(port.kind, "input");
    if (in) ck_assert_int_eq(lathe_fill(x->s, port.name, (uint64_t)number, 0), 0);
    x->io[x->n_io++] = in ? lathe_buffer(x->s, port.name, NULL) : aligned_block((size_t)port.bytes);
  }
  ck_assert_int_eq(lathe_call(x->s, "run"), 0);
}

static const char *difference(const net *x, const void *const *io) {
  static _Thread_local lathe_port port;
  for (size_t k = 0; lathe_model_port(x->m, "run", k, &port) && port.offset < 0; k++)
    if (!strcmp(port.kind, "output") && memcmp(io[k], lathe_buffer(x->s, port.name, NULL), (size_t)port.bytes))
      return port.name;
  return NULL;
}

static void check_net(net *x, int number, lathe_pool *const *pool) {
  lathe_port port;
  void *scratch = aligned_block((size_t)x->stats.scratch_bytes);
  for (int i = 0; i < 4; i++) {
    x->io[x->n_io] = i ? lathe_pool_parallel(pool[i - 1]) : NULL;
    for (size_t k = 0; lathe_model_port(x->m, "run", k, &port) && port.offset < 0; k++)
      if (!strcmp(port.kind, "output")) memset((void *)(uintptr_t)x->io[k], 0xFF, (size_t)port.bytes);
    ck_assert_int_eq(x->run(x->io, NULL, scratch), 0);
    const char *name = difference(x, x->io);
    ck_assert_msg(!name, "graph %d, way %d: `%s` differs from the JIT's", number, i, name);
  }
  free(scratch);
}

static void close_net(net *x) {
  lathe_port port;
  for (size_t k = 0; lathe_model_port(x->m, "run", k, &port) && port.offset < 0; k++)
    if (!strcmp(port.kind, "output")) free((void *)(uintptr_t)x->io[k]);
  lathe_instance_free(x->s), lathe_model_free(x->m), lathe_graph_free(x->g);
}

static void *open_batch(net *x, int first) {
  char files[BATCH * 8] = "";
  for (int i = 0; i < BATCH; i++) {
    make_net(&x[i], first + i);
    sprintf(files + strlen(files), "n%d.o ", i);
  }
  void *so = link_and_load(files);
  for (int i = 0; i < BATCH; i++) open_net(&x[i], so, first + i);
  return so;
}

START_TEST(jit_and_object) {
  net x[BATCH] = {{0}};
  lathe_pool *pool[] = {lathe_pool_new(2), lathe_pool_new(3), lathe_pool_new(7)};
  make_folder();
  void *so = open_batch(x, _i * BATCH);
  for (int i = 0; i < BATCH; i++) check_net(&x[i], _i * BATCH + i, pool);
  for (int i = 0; i < BATCH; i++) close_net(&x[i]);
  for (int i = 0; i < 3; i++) lathe_pool_free(pool[i]);
  dlclose(so);
  remove_folder();
}
END_TEST

/* ---- one library, eight threads, each with scratch and outputs of its own ---- */

typedef struct caller { net *x; int bad; } caller;

static void *call_all(void *arg) {
  caller *c = arg;
  for (int i = 0; i < BATCH; i++) {
    net *x = &c->x[i];
    const void *io[MOST_PORTS];
    lathe_port port;
    void *scratch = aligned_block((size_t)x->stats.scratch_bytes);
    memcpy(io, x->io, sizeof io);
    for (size_t k = 0; lathe_model_port(x->m, "run", k, &port) && port.offset < 0; k++)
      if (!strcmp(port.kind, "output")) io[k] = aligned_block((size_t)port.bytes);
    io[x->n_io] = NULL;
    c->bad += x->run(io, NULL, scratch) != 0 || difference(x, io);
    for (size_t k = 0; lathe_model_port(x->m, "run", k, &port) && port.offset < 0; k++)
      if (!strcmp(port.kind, "output")) free((void *)(uintptr_t)io[k]);
    free(scratch);
  }
  return NULL;
}

START_TEST(many_callers) {
  net x[BATCH] = {{0}};
  pthread_t thread[8];
  caller c[8];
  make_folder();
  void *so = open_batch(x, 1000);
  for (int i = 0; i < 8; i++) {
    c[i] = (caller){x, 0};
    ck_assert_int_eq(pthread_create(&thread[i], NULL, call_all, &c[i]), 0);
  }
  for (int i = 0; i < 8; i++) {
    pthread_join(thread[i], NULL);
    ck_assert_int_eq(c[i].bad, 0);
  }
  for (int i = 0; i < BATCH; i++) close_net(&x[i]);
  dlclose(so);
  remove_folder();
}
END_TEST

static Suite *graphs_suite(void) {
  Suite *s = suite_create("graphs");
  TCase *c = tcase_create("graphs");
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, jit_and_object, 0, GRAPHS / BATCH);
  tcase_add_test(c, many_callers);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(graphs_suite)
