/* cases.c: one case, as a program would run it through lathe.h: the model is read with the sizes that its inputs have,
 * compiled, called, and compared with what the case says. What decides shapes is fixed where the reader asks for it. */
#include "conformance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 30, ROUNDS = 8 };
static const double RTOL = 1e-3, ATOL = 1e-5;

void fails(running *c, verdict v, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(c->r->message, sizeof c->r->message, fmt, ap);
  va_end(ap);
  c->r->verdict = v;
  lt_fail(c->job, LATHE_E_INVALID, NULL, "the case has ended");
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static const char *file_of(running *c, unsigned set, const char *what, unsigned i) {
  const char *path = lt_arena_printf(c->arena, "%s/test_data_set_%u/%s_%u.pb", c->folder, set, what, i);
  return access(path, R_OK) ? NULL : path;
}

static bool has_set(const running *c, unsigned set) {
  return !access(lt_arena_printf(c->arena, "%s/test_data_set_%u", c->folder, set), R_OK);
}

lathe_array load(running *c, const char *path, int want) {
  lathe_array a;
  lathe_error e;
  if (lathe_npy_load(&a, path, want, &e)) fails(c, FAILED, "%s: %s", path, e.message);
  lt_defer(c->job, lathe_free, a.data);
  return a;
}

static void note_ops(running *c) {
  report *r = c->r;
  snprintf(r->ops, sizeof r->ops, " ");
  for (uint32_t i = 0; i < c->model.graph.nodes.n; i++) {
    const char *word = lt_arena_printf(c->arena, " %s ", c->model.graph.nodes.at[i].op);
    size_t n = strlen(r->ops);
    if (!strstr(r->ops, word) && n + strlen(word) < sizeof r->ops) strcpy(r->ops + n, word + 1);
  }
}

static bool is_initializer(const running *c, const char *name) {
  for (uint32_t i = 0; i < c->model.graph.tensors.n; i++)
    if (!strcmp(c->model.graph.tensors.at[i].name, name)) return true;
  return false;
}

/* What the model has to be given, and says: their names, in order. A model that cannot be looked into has none. */
static void look_into(lt_job *job, void *arg) {
  running *c = arg;
  const char *path = lt_arena_printf(c->arena, "%s/model.onnx", c->folder);
  lt_wire w = {job, c->arena, path, lt_file_read(job, c->arena, path, MOST_BYTES)};
  lt_onnx_read_model(&c->model, &w);
  const lt_onnx_graph *g = &c->model.graph;
  c->in = LT_NEW_ARRAY(c->arena, const char *, g->inputs.n + 1);
  c->out = LT_NEW_ARRAY(c->arena, const char *, g->outputs.n + 1);
  for (uint32_t i = 0; i < g->inputs.n; i++)
    if (!is_initializer(c, g->inputs.at[i].name)) c->in[c->n_in++] = g->inputs.at[i].name;
  for (uint32_t i = 0; i < g->outputs.n; i++) c->out[c->n_out++] = g->outputs.at[i].name;
}

typedef struct reading { running *c; unsigned i; } reading;
static void read_array(lt_job *job, void *arg) {
  reading *r = arg;
  lt_array_read(&r->c->in_array[r->i], job, r->c->arena, r->c->in_file[r->i], MOST_BYTES);
}

/* false: something that goes in is no tensor. */
static bool find_files(running *c, unsigned set) {
  bool ok = true;
  c->in_file = LT_NEW_ARRAY(c->arena, const char *, c->n_in + 1u);
  c->out_file = LT_NEW_ARRAY(c->arena, const char *, c->n_out + 1u);
  c->in_array = LT_NEW_ARRAY(c->arena, lt_elements, c->n_in + 1u);
  for (unsigned i = 0; i < c->n_out; i++) c->out_file[i] = file_of(c, set, "output", i);
  for (unsigned i = 0; i < c->n_in; i++) {
    c->in_file[i] = file_of(c, set, "input", i);
    if (c->in_file[i]) ok &= !lt_protect(NULL, read_array, &(reading){c, i});
  }
  return ok;
}

/* ---- reading the model ------------------------------------------------------------------------------------------- */

static const lt_onnx_port *port_of(const running *c, const char *name) {
  for (uint32_t i = 0; i < c->model.graph.inputs.n; i++)
    if (!strcmp(c->model.graph.inputs.at[i].name, name)) return &c->model.graph.inputs.at[i];
  return NULL;
}

/* Open dimensions have the sizes of what goes in; what is fixed has its own. */
static const char *options(running *c, const bool *pinned) {
  lt_str s;
  lt_str_init(&s, c->arena);
  lt_str_printf(&s, "%s", "");
  for (unsigned i = 0; i < c->n_in; i++) {
    const lt_onnx_port *p = port_of(c, c->in[i]);
    if (pinned[i]) lt_str_printf(&s, " --pin \"%s=%s\"", c->in[i], c->in_file[i]);
    for (unsigned k = 0; !pinned[i] && c->in_file[i] && k < p->rank && k < c->in_array[i].rank; k++) {
      if (p->dim[k].value >= 0) continue;
      if (p->dim[k].name) lt_str_printf(&s, " --dim \"%s=%lld\"", p->dim[k].name, (long long)c->in_array[i].dim[k]);
      else lt_str_printf(&s, " --dim \"%s.%u=%lld\"", c->in[i], k, (long long)c->in_array[i].dim[k]);
    }
  }
  return s.at;
}

/* Does the reader ask for one that is not fixed yet? */
static bool pin_more(const running *c, const char *message, bool *pinned) {
  bool more = false;
  for (unsigned i = 0; i < c->n_in; i++) {
    const char *asked = lt_arena_printf(c->arena, "(--pin %s=F.npy fixes it)", c->in[i]);
    if (pinned[i] || !c->in_file[i] || !strstr(message, asked)) continue;
    pinned[i] = more = true;
  }
  return more;
}

static void free_graph(void *g) { lathe_graph_free(g); }
static void free_model(void *m) { lathe_model_free(m); }
static void free_instance(void *s) { lathe_instance_free(s); }

/* An error of the reader is a refusal if it is one of its own: with a message, and no broken promise. */
static lathe_graph *read_model(running *c, bool tensors) {
  bool *pinned = LT_NEW_ARRAY(c->arena, bool, c->n_in + 1u);
  lathe_error e = {.status = 0};
  for (unsigned i = 0; i < c->n_in; i++) pinned[i] = tensors && c->in_file[i] && !c->in_array[i].count;
  for (int round = 0; round < ROUNDS; round++) {
    c->opts = tensors ? options(c, pinned) : "";
    lathe_graph *g = lathe_load(lt_arena_printf(c->arena, "%s/model.onnx", c->folder), c->opts, &e);
    if (g) {
      lt_defer(c->job, free_graph, g);
      if (!tensors) fails(c, FAILED, "what goes in is no tensor, and the model was read");
      return g;
    }
    if (!tensors || !pin_more(c, e.message, pinned)) break;
  }
  fails(c, e.message[0] && e.status != LATHE_E_INTERNAL ? REFUSED : FAILED, "%s", e.message);
}

/* ---- running it -------------------------------------------------------------------------------------------------- */

bool find_port(const lathe_model *m, const char *entry, const char *kind, const char *name, lathe_port *out) {
  for (size_t i = 0; lathe_model_port(m, entry, i, out); i++)
    if (!strcmp(out->kind, kind) && !strcmp(out->name, name)) return true;
  return false;
}

/* What has another name than in the model would be left as it is. */
static void check_names(running *c, const lathe_model *m) {
  lathe_port p;
  for (size_t i = 0; lathe_model_port(m, "run", i, &p); i++) {
    bool found = strcmp(p.kind, "input") != 0;
    for (unsigned k = 0; k < c->n_in; k++) found |= !strcmp(c->in[k], p.name) && c->in_file[k];
    if (!found) fails(c, FAILED, "nothing is given for the input `%s`", p.name);
  }
}

void set_array(running *c, lathe_instance *s, const lathe_port *p, const char *path) {
  size_t bytes;
  void *to = lathe_buffer(s, p->name, &bytes);
  lathe_array a = load(c, path, (int)p->dtype);
  if (a.rank != p->rank || memcmp(a.dim, p->dim, sizeof *a.dim * (size_t)a.rank) || !to)
    fails(c, FAILED, "the input `%s` has another shape than what goes in", p->name);
  memcpy(to, a.data, bytes);
}

static double at(lathe_dtype t, const void *data, int64_t i) {
  switch (t) {
  case LATHE_F32: return (double)((const float *)data)[i];
  case LATHE_F64: return ((const double *)data)[i];
  case LATHE_I32: return (double)((const int32_t *)data)[i];
  case LATHE_I64: return (double)((const int64_t *)data)[i];
  case LATHE_BOOL: return (double)((const unsigned char *)data)[i];
  }
  return NAN;
}

static bool near(lathe_dtype t, double got, double want) {
  if (isnan(got) || isnan(want)) return isnan(got) && isnan(want);
  if (got == want) return true;
  return (t == LATHE_F32 || t == LATHE_F64) && fabs(got - want) <= ATOL + RTOL * fabs(want);
}

static void compare(running *c, const lathe_port *p, const void *got, const char *path) {
  char kind[16];
  lt_elements e;
  lt_array_read(&e, c->job, c->arena, path, MOST_BYTES);
  lt_element mine = lt_element_of(p->dtype);
  if (e.kind != mine.kind || e.size != mine.size)
    fails(c, FAILED, "the output `%s` is %s, should be %s", p->name, mine.name, lt_elements_kind(&e, kind));
  if (e.rank != p->rank || memcmp(e.dim, p->dim, sizeof *e.dim * e.rank))
    fails(c, FAILED, "the output `%s` has another shape than expected", p->name);
  lathe_array want = load(c, path, (int)p->dtype);
  for (int64_t i = 0; i < e.count; i++)
    if (!near(p->dtype, at(p->dtype, got, i), at(p->dtype, want.data, i)))
      fails(c, FAILED, "the output `%s` is %.9g at element %lld, should be %.9g", p->name, at(p->dtype, got, i),
            (long long)i, at(p->dtype, want.data, i));
}

static void run_set(running *c, const lathe_graph *g) {
  lathe_error e;
  lathe_port p;
  lathe_model *m = lathe_compile(g, "--entry run", &e);
  if (!m) fails(c, FAILED, "compiling: %s", e.message);
  lt_defer(c->job, free_model, m);
  lathe_stats stats;
  if (lathe_model_stats(m, "run", &stats)) c->gflop = stats.gflop;
  lathe_instance *s = lathe_open(m, "", &e);
  if (!s) fails(c, FAILED, "opening: %s", e.message);
  lt_defer(c->job, free_instance, s);
  check_names(c, m);
  for (unsigned i = 0; i < c->n_in; i++)
    if (c->in_file[i] && find_port(m, "run", "input", c->in[i], &p)) set_array(c, s, &p, c->in_file[i]);
  if (lathe_call(s, "run")) fails(c, FAILED, "the call did not succeed");
  for (unsigned i = 0; i < c->n_out; i++) {
    if (!c->out_file[i]) continue;
    if (!find_port(m, "run", "output", c->out[i], &p)) fails(c, FAILED, "there is no output `%s`", c->out[i]);
    compare(c, &p, lathe_buffer(s, p.name, NULL), c->out_file[i]);
  }
}

typedef struct task { const char *folder; bool slopes; report *r; } task;
static void run_sets(lt_job *job, void *arg) {
  task *t = arg;
  lt_arena *a = lt_arena_new(job);
  running *c = LT_NEW(a, running);
  *c = (running){.job = job, .arena = a, .folder = t->folder, .r = t->r};
  lt_protect(NULL, look_into, c);
  note_ops(c);
  for (unsigned set = 0; set == 0 || has_set(c, set); set++) {
    bool tensors = find_files(c, set);
    const lathe_graph *g = read_model(c, tensors);
    run_set(c, g);
    if (set == 0 && t->slopes) check_slopes(c, g);
  }
  t->r->verdict = PASSED;
}

void run_case(const char *folder, bool slopes, report *r) {
  lathe_error e;
  r->verdict = FAILED;
  if (lt_protect(&e, run_sets, &(task){folder, slopes, r}) && !r->message[0])
    snprintf(r->message, sizeof r->message, "%s", e.message);
}
