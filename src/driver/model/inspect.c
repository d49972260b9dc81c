/* inspect.c: looking at compiled models: entry points, ports, sizes, kernels, the arena, reports. */
#include "driver/graph_api.h"
#include "driver/model/model.h"

lathe_fn lathe_entry(const lathe_model *m, const char *entry) {
  const lt_callable *c = lt_model_find(m, entry);
  return c ? c->half ? (lathe_fn)(void (*)(void))c->half->run : c->entry->run : NULL;
}

lathe_half_fn lathe_half(const lathe_model *m, const char *half) {
  const lt_callable *c = lt_model_find(m, half);
  return c && c->half ? c->half->run : NULL;
}

/* ---- ports ------------------------------------------------------------------------------------------------------- */

/* The io struct's pointers in order, then params and states with their places in the portable image. */
int lathe_model_port(const lathe_model *m, const char *entry, size_t i, lathe_port *out) {
  static const char *const roles[] = {
    [LT_SLOT_INPUT] = "input", [LT_SLOT_HYPER] = "hyper", [LT_SLOT_OUTPUT] = "output"};
  const lt_callable *c = lt_model_find(m, entry);
  if (!c) return 0;
  const lt_plan *p = lt_callable_plan(c);
  if (i < p->n_slot) {
    const lt_slot *s = &p->slot[i];
    lt_port_of(out, s->name, roles[s->role], &s->type, -1);
    out->limit = lt_plan_index_limit(&c->entry->plan, (uint32_t)i, true);
    return 1;
  }
  i -= p->n_slot;
  if (i >= m->image.n) return 0;
  const lt_image_item *item = &m->image.item[i];
  lt_port_of(out, item->name, item->is_param ? "param" : "state", &item->type, item->offset);
  return 1;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

int lathe_model_stats(const lathe_model *m, const char *entry, lathe_stats *out) {
  const lt_callable *c = lt_model_find(m, entry);
  if (!c) return 0;
  const lt_model_entry *e = c->entry;
  const lt_plan *p = lt_callable_plan(c);
  *out = (lathe_stats){.compile_ms = m->compile_seconds * 1e3,
                       .scratch_bytes = p->scratch_bytes,
                       .kernels = (int32_t)p->n_kernel,
                       .functions = (int32_t)lt_code_functions(m->code)};
  for (uint32_t i = 0; i < p->n_kernel; i++) out->gflop += p->kernel[i].flop * 1e-9;
  out->weights_bytes = e->split ? p->region_bytes : 0;
  out->params_bytes = m->image.params_bytes;
  out->state_bytes = e->stateful ? m->image.bytes : 0;
  out->grads_bytes = e->halves ? e->halves->grads.bytes : 0;
  return 1;
}

int lathe_model_kernel(const lathe_model *m, const char *entry, size_t i, lathe_kernel *out) {
  const lt_callable *c = lt_model_find(m, entry);
  if (!c || i >= lt_callable_plan(c)->n_kernel) return 0;
  const lt_kernel *k = &lt_callable_plan(c)->kernel[i];
  *out = (lathe_kernel){.name = k->name, .op = k->op, .fused = k->fused, .gflop = k->flop * 1e-9, .bytes = k->bytes};
  return 1;
}

int lathe_model_block(const lathe_model *m, const char *entry, size_t i, lathe_block *out) {
  const lt_callable *c = lt_model_find(m, entry);
  for (uint32_t k = 0; c && k < lt_callable_plan(c)->n_buffer; k++) {
    const lt_buffer *b = &lt_callable_plan(c)->buffer[k];
    if (b->region != LT_REGION_SCRATCH || i--) continue;
    *out = (lathe_block){.name = b->name, .offset = b->offset, .bytes = b->bytes, .first = b->first, .last = b->last};
    return 1;
  }
  return 0;
}

typedef struct peak_args {
  const lathe_model *m;
  double peak;
} peak_args;

static void peak_body(lt_job *job, void *arg) {
  peak_args *p = arg;
  p->peak = lt_measure_peak(job, &p->m->target, LT_F32);
}

double lathe_peak_gflops(const lathe_model *m) {
  peak_args p = {.m = m};
  lathe_error e;
  return m && lt_protect(&e, peak_body, &p) == LATHE_OK ? p.peak : 0;
}

/* ---- reports ----------------------------------------------------------------------------------------------------- */

typedef struct report_args {
  const lathe_model *m;
  const char *what;
  char *out;
} report_args;

static void put_seconds(lt_str *s, double seconds, const char *what) {
  lt_str_printf(s, "%10.3f ms  %s\n", seconds * 1e3, what);
}

static void report_passes(lt_str *s, lt_job *job, const lathe_model *m) {
  if (!m->timed) lt_fail(job, LATHE_E_INVALID, NULL, "passes were not timed\nhelp: compile with --time-passes");
  const lt_code_times code = lt_code_took(m->code);
  put_seconds(s, m->entry_seconds, "entries");
  for (int i = 1; i < LT_PASSES; i++) put_seconds(s, m->seconds[i], lt_pass_name((lt_pass)i));
  put_seconds(s, m->plan_seconds, "planning");
  put_seconds(s, code.cache, lt_arena_printf(s->arena, "cache (%s)", lt_code_cache(m->code)));
  put_seconds(s, code.emission, "emission");
  put_seconds(s, code.llvm, "LLVM");
  put_seconds(s, code.loading, "loading");
  put_seconds(s, m->compile_seconds, "in all");
}

static void report_plan(lt_str *s, const lathe_model *m) {
  if (m->pack.out_bytes) lt_plan_print(s, &m->pack);
  for (uint32_t i = 0; i < m->n_callable; i++) lt_plan_print(s, lt_callable_plan(&m->callable[i]));
}

static void report_body(lt_job *job, void *arg) {
  report_args *p = arg;
  lt_str s;
  lt_str_init(&s, lt_arena_new(job));
  if (!p->m || !p->what) lt_fail(job, LATHE_E_INVALID, NULL, "the model is NULL");
  bool assembly = !strcmp(p->what, "asm");
  if (!strcmp(p->what, "passes")) report_passes(&s, job, p->m);
  else if (!strcmp(p->what, "plan")) report_plan(&s, p->m);
  else if (assembly || !strcmp(p->what, "llvm"))
    lt_emit_text(&s, job, &p->m->target, p->m->unit, p->m->n_unit, assembly);
  else lt_fail(job, LATHE_E_INVALID, NULL, "no report `%.40s`\nhelp: passes, plan, llvm or asm", p->what);
  p->out = lt_text_out(job, &s);
}

char *lathe_model_report(const lathe_model *m, const char *what, lathe_error *e) {
  report_args p = {.m = m, .what = what};
  return lt_protect(e, report_body, &p) ? NULL : p.out;
}
