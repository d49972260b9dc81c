/* judge.c: is what is compiled what the interpreter says? A network is read from its text, compiled and proved
 * (lathe_prove) in a process of its own with limits of time and memory, then compared with itself by the checks of its
 * plan: threads, vector widths, object, halves, dumps, slopes. An error is a finding as well: networks are valid. */
#include "hunt.h"

#include "driver/prove/probe.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { SLOWER = 8, MEMORY_GB = 0 };
#else
enum { SLOWER = 1, MEMORY_GB = 6 };
#endif
enum { SECONDS = 10 * SLOWER, ENTRIES = 4 };

typedef struct judge {
  const char *text;
  const ht_plan *plan;
  ht_finding *f; /* shared with the parent */
  lathe_graph *g;
  lathe_model *m;
  lathe_instance *s;
  const char *entry[ENTRIES];
  unsigned n_entries;
  jmp_buf out;
} judge;

/* ---- findings ---------------------------------------------------------------------------------------------------- */

static void stage(judge *j, const char *what, const char *entry) {
  snprintf(j->f->stage, sizeof j->f->stage, "%s%s%s", what, *entry ? " " : "", entry);
}

/* A kind is the stage and what of the message does not change while a network shrinks: no name, no number. */
static void put_kind(ht_finding *f, const char *message) {
  size_t n = (size_t)snprintf(f->kind, sizeof f->kind, "%s: ", f->stage);
  for (const char *c = message; *c && *c != '\n' && n + 1 < sizeof f->kind && n < strlen(f->stage) + 60; c++) {
    const char *ends = *c == '`' ? "`" : *c == '[' ? "]" : NULL, *end = ends ? strpbrk(c + 1, ends) : NULL;
    if (end) c = end;
    else if ((*c < '0' || *c > '9') && *c != '-' && *c != '.') f->kind[n++] = *c;
  }
  f->kind[n] = 0;
}

static void found(judge *j, const char *kind, const char *text) {
  put_kind(j->f, kind);
  snprintf(j->f->text, sizeof j->f->text, "%s", text);
  longjmp(j->out, 1);
}

static void found_error(judge *j, const lathe_error *e) {
  char text[1200];
  snprintf(text, sizeof text, "%s:%d:%d: %s (%s)", e->file, e->line, e->column, e->message,
           lathe_status_text(e->status));
  found(j, e->message, text);
}

static void *must(judge *j, void *p, const lathe_error *e) {
  if (!p) found_error(j, e);
  return p;
}

static void must_do(judge *j, int status) {
  char text[80];
  if (!status) return;
  snprintf(text, sizeof text, "status %d (%s)", status, lathe_status_text(status));
  found(j, text, text);
}

/* ---- models and their instances ---------------------------------------------------------------------------------- */

static lathe_model *compile(judge *j, const char *more) {
  char opts[600];
  lathe_error e;
  snprintf(opts, sizeof opts, "%s %s", j->plan->opts, more);
  return must(j, lathe_compile(j->g, opts, &e), &e);
}

static void find_entries(judge *j) {
  static const char *const kinds[] = {"run", "grad", "train"};
  for (int i = 0; i < 3; i++) {
    char word[24];
    snprintf(word, sizeof word, "--entry %s", kinds[i]);
    if (strstr(j->plan->opts, word)) j->entry[j->n_entries++] = kinds[i];
  }
}

static bool is_kind(const lathe_port *p, const char *kind) { return strcmp(p->kind, kind) == 0; }

/* Whole numbers stay below what they choose from; some are -1, which chooses nothing. */
static void fill_one(judge *j, lathe_instance *s, const lathe_port *p) {
  uint64_t seed = j->plan->seed;
  must_do(j, lathe_fill(s, p->name, seed, p->limit > 0 ? p->limit : 3));
  if ((p->dtype != LATHE_I32 && p->dtype != LATHE_I64) || seed % 3) return;
  unsigned char *at = lathe_buffer(s, p->name, NULL);
  for (int64_t i = 1, size = p->dtype == LATHE_I32 ? 4 : 8; i < p->bytes / size; i += 4)
    memset(at + i * size, 0xFF, (size_t)size);
}

static double noise(judge *j, const char *name, int64_t i) {
  return lt_random_unit(j->plan->seed, lt_random_stream(name), (uint64_t)i) - 0.5;
}

/* First values are often all 0 or all 1, which hides much. Only params and batch_norm's states: others have their own
 * meaning. */
static void stir(judge *j, lathe_instance *s, const lathe_port *p) {
  size_t n = strlen(p->name);
  bool norm = n > 5 && (!strcmp(p->name + n - 5, ".mean") || !strcmp(p->name + n - 4, ".var"));
  void *at = lathe_buffer(s, p->name, NULL);
  if (!at || (!is_kind(p, "param") && !norm)) return;
  for (int64_t i = 0; p->dtype == LATHE_F32 && i < p->bytes / 4; i++)
    ((float *)at)[i] += (float)noise(j, p->name, i) / 4;
  for (int64_t i = 0; p->dtype == LATHE_F64 && i < p->bytes / 8; i++) ((double *)at)[i] += noise(j, p->name, i) / 4;
}

static void fill(judge *j, lathe_model *m, lathe_instance *s) {
  lathe_port p;
  for (unsigned e = 0; e < j->n_entries; e++)
    for (size_t i = 0; lathe_model_port(m, j->entry[e], i, &p); i++)
      if (is_kind(&p, "input")) fill_one(j, s, &p);
}

static void stir_all(judge *j, lathe_model *m, lathe_instance *s) {
  lathe_port p;
  char done[4096] = ",";
  for (unsigned e = 0; e < j->n_entries; e++)
    for (size_t i = 0; lathe_model_port(m, j->entry[e], i, &p); i++) {
      char mark[300];
      snprintf(mark, sizeof mark, ",%s,", p.name);
      if (strstr(done, mark)) continue; /* of another entry, too */
      if (strlen(done) + strlen(mark) < sizeof done) strcat(done, mark + 1);
      stir(j, s, &p);
    }
  lathe_repack(s);
}

/* Another instance with the weights of the first. */
static lathe_instance *open_like(judge *j, lathe_model *m, const char *opts, lathe_instance *weights) {
  lathe_error e;
  lathe_instance *s = must(j, lathe_open(m, opts, &e), &e); /* of seed 0, as an object of its weights */
  fill(j, m, s);
  if (!weights) stir_all(j, m, s);
  else if (lathe_weights_copy(s, weights, &e)) found_error(j, &e);
  return s;
}

/* ---- bits -------------------------------------------------------------------------------------------------------- */

static bool kept(const lathe_port *p) { return is_kind(p, "output") || is_kind(p, "param") || is_kind(p, "state"); }

static double number_at(const lathe_port *p, const void *at, int64_t i) {
  switch (p->dtype) {
  case LATHE_F32: return (double)((const float *)at)[i];
  case LATHE_F64: return ((const double *)at)[i];
  case LATHE_I32: return ((const int32_t *)at)[i];
  case LATHE_I64: return (double)((const int64_t *)at)[i];
  case LATHE_BOOL: return ((const unsigned char *)at)[i];
  }
  return 0;
}

static void same_port(judge *j, const char *what, const lathe_port *p, const void *a, const void *b) {
  int64_t size = (int64_t)lt_dtype_size((lt_dtype)p->dtype);
  char text[400];
  if (!a || !b) return;
  for (int64_t i = 0; i < p->bytes / size; i++) {
    double x = number_at(p, a, i), y = number_at(p, b, i);
    if (!memcmp((const char *)a + i * size, (const char *)b + i * size, (size_t)size) || (isnan(x) && isnan(y)))
      continue;
    snprintf(text, sizeof text, "%s: %s `%s` differs at element %lld of %lld: %.17g and %.17g", what, p->kind, p->name,
             (long long)i, (long long)(p->bytes / size), x, y);
    found(j, "other bits", text);
  }
}

static void same_results(judge *j, lathe_model *m, const char *entry, lathe_instance *a, lathe_instance *b,
                         const char *what) {
  lathe_port p;
  for (size_t i = 0; lathe_model_port(m, entry, i, &p); i++)
    if (kept(&p)) same_port(j, what, &p, lathe_buffer(a, p.name, NULL), lathe_buffer(b, p.name, NULL));
}

/* Both are called as often, each entry in turn. */
static void same_calls(judge *j, const char *check, lathe_model *m, lathe_instance *a, lathe_instance *b) {
  for (unsigned e = 0; e < j->n_entries; e++)
    for (int i = 0, n = strcmp(j->entry[e], "train") ? 1 : 2; i < n; i++) {
      stage(j, check, j->entry[e]);
      must_do(j, lathe_call(a, j->entry[e]));
      must_do(j, lathe_call(b, j->entry[e]));
      same_results(j, m, j->entry[e], a, b, check);
    }
  lathe_instance_free(a), lathe_instance_free(b);
}

static void check_threads(judge *j) {
  stage(j, "threads", "");
  same_calls(j, "threads", j->m, open_like(j, j->m, "", j->s), open_like(j, j->m, "--threads 3", j->s));
}

/* NULL: this machine cannot run that. */
static lathe_model *for_cpu(judge *j, const char *cpu) {
  char opts[600];
  lathe_error e;
  snprintf(opts, sizeof opts, "%s --cpu %s", j->plan->opts, cpu);
  lathe_model *m = lathe_compile(j->g, opts, &e);
  if (!m && !strstr(e.message, ": this machine (")) found_error(j, &e);
  return m;
}

static void same_cpus(judge *j, const char *check, const char *one, const char *other) {
  stage(j, check, "");
  lathe_model *a = one ? for_cpu(j, one) : j->m, *b = for_cpu(j, other);
  if (a && b) same_calls(j, check, a, open_like(j, a, "", j->s), open_like(j, b, "", j->s));
  if (one) lathe_model_free(a);
  lathe_model_free(b);
}

static void check_widths(judge *j) {
#if defined(__x86_64__)
  same_cpus(j, "widths", NULL, "x86-64-v3");
#elif defined(__aarch64__)
  same_cpus(j, "widths", NULL, "armv8-a");
#else
  (void)j;
#endif
}
static void check_narrow(judge *j) {
#if defined(__x86_64__)
  same_cpus(j, "narrow", "x86-64-v2", "x86-64");
#else
  (void)j;
#endif
}

static void check_halves(judge *j) {
  if (!strstr(j->plan->opts, "--halves")) return;
  stage(j, "halves", "");
  lathe_instance *whole = open_like(j, j->m, "", j->s), *halves = open_like(j, j->m, "", j->s);
  for (int i = 0; i < 2; i++) {
    must_do(j, lathe_call(whole, "train"));
    must_do(j, lathe_call(halves, "train_backward"));
    must_do(j, lathe_call(halves, "train_apply"));
    same_results(j, j->m, "train", whole, halves, "halves");
  }
  lathe_instance_free(whole), lathe_instance_free(halves);
}

/* ---- the object, loaded into this process ------------------------------------------------------------------------ */

static void *block(size_t bytes) {
  void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
  return p ? memset(p, 0xA5, (bytes + 127) / 64 * 64) : p;
}

static void find_into(judge *j, lathe_object *o, const char *name, void *function) {
  void *at = lathe_object_find(o, name);
  if (!at) found(j, "no symbol", name);
  memcpy(function, &at, sizeof at);
}

/* The entry of the object on the inputs of s, which the JIT is called on next: outputs and the state after it. */
static void call_object(judge *j, lathe_object *o, const char *entry, lathe_instance *s) {
  typedef int (*init_fn)(void *state, uint64_t seed);
  lathe_fn fn;
  init_fn init;
  lathe_port p;
  lathe_stats stats;
  char name[64];
  const void *io[128] = {NULL};
  size_t n = 0, bytes = 0;
  snprintf(name, sizeof name, "hunt_%s", entry);
  find_into(j, o, name, &fn);
  lathe_model_stats(j->m, entry, &stats);
  const bool stateful = stats.state_bytes > 0;
  for (size_t i = 0; lathe_model_port(j->m, entry, i, &p) && n + 2 < LT_COUNT(io); i++) {
    if (is_kind(&p, "output")) io[n++] = block((size_t)p.bytes);
    else if (is_kind(&p, "input") || is_kind(&p, "hyper")) io[n++] = lathe_buffer(s, p.name, NULL);
  }
  void *region = lathe_region(s, entry, &bytes), *state = block(bytes), *scratch = block((size_t)stats.scratch_bytes);
  if (stateful) {
    memcpy(state, region, bytes);
    find_into(j, o, "hunt_state_init", &init);
    void *fresh = block(bytes);
    must_do(j, init(fresh, 0));
    memcpy(state, fresh, LATHE_IMAGE_HEADER); /* whose model this is */
    free(fresh);
  }
  must_do(j, fn(io, stateful ? state : NULL, scratch));
  must_do(j, lathe_call(s, entry));
  n = 0;
  for (size_t i = 0; lathe_model_port(j->m, entry, i, &p); i++) {
    if (is_kind(&p, "output")) same_port(j, "the object", &p, lathe_buffer(s, p.name, NULL), io[n]);
    if (is_kind(&p, "output")) free((void *)(uintptr_t)io[n]);
    n += is_kind(&p, "output") || is_kind(&p, "input") || is_kind(&p, "hyper");
    if (stateful && p.offset >= 0)
      same_port(j, "the object", &p, lathe_buffer(s, p.name, NULL), (char *)state + p.offset);
  }
  free(state), free(scratch);
}

static void check_object(judge *j) {
  char path[64], opts[700];
  lathe_error e;
  stage(j, "object", "");
  snprintf(path, sizeof path, "/tmp/lathe-hunt-%ld.o", (long)getpid());
  snprintf(opts, sizeof opts, "-o %s --prefix hunt", path);
  for (const char *c = j->plan->opts; *c; c++) { /* --halves goes to lathe_compile alone */
    if (!strncmp(c, "--halves", 8)) c += 8;
    if (!*c) break;
    size_t n = strlen(opts);
    if (c == j->plan->opts) strcat(opts, " "), n++;
    opts[n] = *c, opts[n + 1] = 0;
  }
  lathe_instance *s = open_like(j, j->m, "", j->s);
  int status = lathe_emit(j->g, s, opts, &e);
  if (status) found_error(j, &e);
  lathe_object *o = lathe_object_load(path, &e);
  unlink(path);
  must(j, o, &e);
  for (unsigned i = 0; i < j->n_entries; i++) {
    stage(j, "object", j->entry[i]);
    call_object(j, o, j->entry[i], s);
  }
  lathe_object_free(o);
  lathe_instance_free(s);
}

/* ---- dumps ------------------------------------------------------------------------------------------------------- */

static void check_dump(judge *j, const char *pass) {
  char opts[600];
  lathe_error e;
  const char *compile_only = strstr(j->plan->opts, "--halves");
  snprintf(opts, sizeof opts, "%.*s --print-after=%s", (int)(compile_only ? compile_only - j->plan->opts : 400),
           j->plan->opts, pass);
  stage(j, "dump after", pass);
  char *text = must(j, lathe_print(j->g, opts, &e), &e);
  lathe_graph *g = must(j, lathe_parse(text, strlen(text), "dump", NULL, &e), &e);
  char *again = must(j, lathe_print(g, "", &e), &e);
  if (strcmp(text, again)) found(j, "another text when it is read back", again);
  lathe_free(text), lathe_free(again);
  lathe_graph_free(g);
}

static void check_dumps(judge *j) {
  static const char *const passes[] = {"mode", "autodiff", "lower", "fuse", "choose", "layout"};
  if (j->n_entries > 1) return;
  for (size_t i = 0; i < LT_COUNT(passes); i++) check_dump(j, passes[i]);
}

/* ---- slopes ------------------------------------------------------------------------------------------------------ */

typedef struct slope { lathe_model *m; lathe_instance *s; double size; } slope;

static double step_of(judge *j, const lathe_port *p, int64_t i) { return 2 * noise(j, p->name, i + 100000); }

/* Along the direction from where the first call stood, which `from` holds. */
static void move(judge *j, slope *x, lathe_instance *from, double h) {
  lathe_port p;
  for (size_t i = 0; lathe_model_port(x->m, "grad", i, &p); i++) {
    bool moved = p.dtype == LATHE_F64 && (is_kind(&p, "input") || is_kind(&p, "param"));
    double *to = moved ? lathe_buffer(x->s, p.name, NULL) : NULL, *at = moved ? lathe_buffer(from, p.name, NULL) : NULL;
    for (int64_t k = 0; to && at && k < p.bytes / 8; k++) to[k] = at[k] + h * step_of(j, &p, k);
  }
  must_do(j, lathe_repack(x->s));
}

/* The sum of all float outputs. */
static double total(judge *j, slope *x, lathe_instance *from, double h) {
  lathe_port p;
  double sum = 0;
  move(j, x, from, h);
  must_do(j, lathe_call(x->s, "run"));
  for (size_t i = 0; lathe_model_port(x->m, "run", i, &p); i++) {
    if (!is_kind(&p, "output") || p.dtype != LATHE_F64) continue;
    const double *y = lathe_buffer(x->s, p.name, NULL);
    for (int64_t k = 0; k < p.bytes / 8; k++) sum += y[k], x->size += fabs(y[k]);
  }
  return sum;
}

/* The outputs grad_NAME or hvp_NAME times the steps of the leaves. */
static double along(judge *j, slope *x, const char *prefix, double *size) {
  lathe_port p;
  size_t n = strlen(prefix);
  double sum = 0;
  must_do(j, lathe_call(x->s, "grad"));
  for (size_t k = 0; lathe_model_port(x->m, "grad", k, &p); k++) {
    if (!is_kind(&p, "output") || strncmp(p.name, prefix, n) || p.dtype != LATHE_F64) continue;
    const double *g = lathe_buffer(x->s, p.name, NULL);
    p.name += n;
    for (int64_t e = 0; e < p.bytes / 8; e++) sum += g[e] * step_of(j, &p, e), *size += fabs(g[e] * step_of(j, &p, e));
  }
  return sum;
}

/* Central differences over h and 2h, whose disagreement says how good they are: `at` holds those of -2h, -h, h, 2h.
 * Values on the way are near 1: where all of a gradient is zero but for their rounding, its size says nothing. */
static void compare_slopes(judge *j, const char *what, double got, double size, const double at[4], double h,
                           double sizes) {
  double d1 = (at[2] - at[1]) / (2 * h), d2 = (at[3] - at[0]) / (4 * h);
  double want = (4 * d1 - d2) / 3, allowed = 1e-6 * size + 3 * fabs(d1 - d2) + (1e-14 * sizes + 1e-16) / h;
  char text[300], kind[80];
  if (!isfinite(want) || fabs(got - want) <= allowed) return;
  snprintf(kind, sizeof kind, "the %s are not the slope", what);
  snprintf(text, sizeof text, "the slope of the %s is %.12g, of differences %.12g and %.12g (allowed %.3g)", what, got,
           d1, d2, allowed);
  found(j, kind, text);
}

/* By h along the directions of the Hessian's products, from where the first call stood. */
static void move_along(judge *j, slope *x, lathe_instance *from, double h) {
  lathe_port p;
  for (size_t i = 0; lathe_model_port(x->m, "grad", i, &p); i++) {
    if (p.dtype != LATHE_F64 || strncmp(p.name, "direction_", 10)) continue;
    const double *d = lathe_buffer(from, p.name, NULL), *at = lathe_buffer(from, p.name + 10, NULL);
    double *to = lathe_buffer(x->s, p.name + 10, NULL);
    for (int64_t k = 0; to && at && k < p.bytes / 8; k++) to[k] = at[k] + h * d[k];
  }
  must_do(j, lathe_repack(x->s));
}

/* The Hessian's products are the slope of the gradients. */
static void check_products(judge *j) {
  if (!strstr(j->plan->opts, "--hvp") || strstr(j->plan->opts, "--mode")) return;
  stage(j, "products", "");
  slope x = {.m = j->m, .s = open_like(j, j->m, "", j->s)};
  lathe_instance *from = open_like(j, j->m, "", j->s);
  double h = 1e-4, size = 0, got = along(j, &x, "hvp_", &size), at[4];
  for (int i = 0; i < 4; i++) {
    move_along(j, &x, from, h * (i < 2 ? i - 2 : i - 1));
    at[i] = along(j, &x, "grad_", &x.size);
  }
  compare_slopes(j, "products", got, size, at, h, x.size);
  lathe_instance_free(from), lathe_instance_free(x.s);
}

static void check_slopes(judge *j) {
  lathe_error e;
  stage(j, "slopes", "");
  slope x = {.m = must(j, lathe_compile(j->g, "--entry run --entry grad", &e), &e)};
  judge both = *j;
  both.entry[0] = "run", both.entry[1] = "grad", both.n_entries = 2;
  lathe_instance *from = must(j, lathe_open(x.m, "--seed 5", &e), &e);
  x.s = must(j, lathe_open(x.m, "--seed 5", &e), &e);
  fill(&both, x.m, from), fill(&both, x.m, x.s);
  double h = 1e-4, size = 0, g = along(j, &x, "grad_", &size), at[4];
  for (int i = 0; i < 4; i++) at[i] = total(j, &x, from, h * (i < 2 ? i - 2 : i - 1));
  compare_slopes(j, "gradients", g, size, at, h, x.size);
  lathe_instance_free(from), lathe_instance_free(x.s);
  lathe_model_free(x.m);
  check_products(j);
}

/* ---- one network ------------------------------------------------------------------------------------------------- */

/* Values here are near 1. What is zero but for rounding comes near that, and its square, which optimizers keep. */
static const char *least(const judge *j) { return strstr(j->text, "f32") ? "--atol 1e-9" : "--atol 1e-14"; }

/* Results alone. What fails may be a decision that rounding turned over: the whole proof knows. A mean of values near 1
 * that cancel is known to the last bit of 1, so of f32 no better than that is asked here. */
static bool results_hold(judge *j, const char *entry) {
  lathe_error e;
  bool ok = true;
  stage(j, "results", entry);
  lathe_proof *p = must(j, lt_prove_ends(j->g, j->s, entry, strstr(j->text, "f32") ? "--atol 1e-7" : least(j), &e), &e);
  for (size_t i = 0; i < p->n; i++) ok &= p->point[i].ok;
  lathe_free(p);
  return ok;
}

static void prove(judge *j, const char *entry) {
  lathe_error e;
  char kind[200];
  if (!(j->plan->checks & HT_NODES) && results_hold(j, entry)) return;
  stage(j, "prove", entry);
  lathe_proof *p = must(j, lathe_prove(j->g, j->s, entry, least(j), &e), &e);
  for (size_t i = 0; i < p->n; i++) {
    if (p->point[i].ok) continue;
    snprintf(kind, sizeof kind, "%s", p->point[i].what);
    char text[sizeof j->f->text];
    snprintf(text, sizeof text, "%s: %s\n%s", entry, kind, p->point[i].notes ? p->point[i].notes : "");
    found(j, kind, text);
  }
  lathe_free(p);
}

static void run_judge(judge *j) {
  static void (*const checks[HT_CHECKS])(judge *) = {check_threads, check_widths, check_narrow, check_object,
                                                     check_dumps,   check_slopes, check_halves};
  lathe_error e;
  stage(j, "read", "");
  j->g = must(j, lathe_parse(j->text, strlen(j->text), "hunt.lathe", NULL, &e), &e);
  find_entries(j);
  stage(j, "compile", "");
  j->m = compile(j, "");
  stage(j, "open", "");
  j->s = open_like(j, j->m, "", NULL);
  for (unsigned i = 0; i < j->n_entries; i++) prove(j, j->entry[i]);
  for (int i = 0; i < HT_CHECKS; i++)
    if (j->plan->checks >> i & 1 && checks[i]) checks[i](j);
  lathe_instance_free(j->s);
  lathe_model_free(j->m);
  lathe_graph_free(j->g);
  stage(j, "done", "");
}

static void warm_up(void) {
  static const char text[] = "network warm(x: f32[3]) -> y { y = relu(x) }";
  lathe_error e;
  lathe_graph *g = lathe_parse(text, sizeof text - 1, "warm", NULL, &e);
  lathe_model_free(g ? lathe_compile(g, "", &e) : NULL); /* what fails here fails again where it is reported */
  lathe_graph_free(g);
}

/* A compiler that crashes here is to be found with the networks, so a child tries first. */
void ht_warm_up(void) {
  int status = 1;
  pid_t pid = fork();
  if (pid == 0) warm_up(), _exit(0);
  if (pid > 0 && waitpid(pid, &status, 0) == pid && !status) warm_up();
}

static void limit(int what, rlim_t most) { setrlimit(what, &(struct rlimit){most, most}); }

static void child(const char *text, const ht_plan *p, ht_finding *f) {
  judge *j = calloc(1, sizeof *j);
  limit(RLIMIT_CPU, SECONDS);
  limit(RLIMIT_CORE, 0);
  if (MEMORY_GB) limit(RLIMIT_AS, (rlim_t)MEMORY_GB << 30);
  alarm(SECONDS * 20); /* something that sleeps */
  j->text = text, j->plan = p, j->f = f;
  if (setjmp(j->out)) _exit(0);
  run_judge(j);
  _exit(0);
}

static void note_end(ht_finding *f, int status) {
  const char *name = WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit";
  if (!WIFSIGNALED(status) && WEXITSTATUS(status) == 0 && (*f->kind || !strcmp(f->stage, "done"))) return;
  bool slow =
    WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGALRM || WTERMSIG(status) == SIGKILL);
  snprintf(f->kind, sizeof f->kind, "%s: %s", f->stage, slow ? "takes too long" : name);
  snprintf(f->text, sizeof f->text, "the process ended in `%s`: %s", f->stage, slow ? "more than its time" : name);
}

void ht_try(const char *text, const ht_plan *p, ht_finding *f) {
  ht_finding *shared = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int status = 0;
  memset(f, 0, sizeof *f);
  if (shared == MAP_FAILED) {
    snprintf(f->kind, sizeof f->kind, "no memory");
    return;
  }
  fflush(stdout), fflush(stderr);
  pid_t pid = fork();
  if (pid == 0) child(text, p, shared);
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  if (pid < 0) snprintf(shared->kind, sizeof shared->kind, "no process");
  else note_end(shared, status);
  *f = *shared;
  munmap(shared, sizeof *f);
}
