/* header.c: the C header of an object: sizes, shapes, places, io structs, prototypes. C99 and C++ clean; macros are
 * numbers, so that they work in #if and as lengths of arrays. */
#include "driver/object/emission.h"

#include <assert.h>
#include <strings.h>

typedef struct printing {
  const lt_emission *e;
  lt_str *out;
  lt_arena *a;
  const char *upper; /* the prefix in capitals */
  lt_map taken;      /* macro, type or function → what it was made for */
  lt_map capitals;   /* scope/NAME → the name it was made of (macro_name) */
} printing;

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* A name in capitals for macros. Names that differ in case alone are told apart by a number, in the order in which they
 * come: w, W → W, W_2. `scope` keeps entries and weights apart. */
static const char *macro_name(printing *p, const char *scope, const char *name) {
  const char *base = lt_c_upper(p->a, name), *full = base;
  for (int i = 2;; i++) {
    uintptr_t other;
    const char *key = lt_arena_printf(p->a, "%s/%s", scope, full);
    if (!lt_map_gets(&p->capitals, key, &other)) {
      lt_map_puts(p->a, &p->capitals, key, (uintptr_t)name);
      return full;
    }
    bool same = !strcmp((const char *)other, name), case_only = !same && !strcasecmp((const char *)other, name);
    if (!case_only) return full; /* the same one again; or one that claim() will refuse */
    full = lt_arena_printf(p->a, "%s_%d", base, i);
  }
}

/* Each name of the header once. */
static void claim(printing *p, const char *name, const char *what) {
  uintptr_t other;
  if (lt_c_is_taken(name))
    lt_fail(
      p->e->job, LATHE_E_INVALID, NULL,
      "in the header, %s would be called `%s`, which C or a standard header has taken\nhelp: another --prefix, or "
      "another name for the entry: --entry OTHER=run",
      what, name);
  if (lt_map_gets(&p->taken, name, &other))
    lt_fail(
      p->e->job, LATHE_E_INVALID, NULL,
      "in the header, %s and %s would both be called `%s`\nhelp: rename one of them, or the entry: --entry OTHER=run",
      (const char *)other, what, name);
  lt_map_puts(p->a, &p->taken, name, (uintptr_t)what);
}

static void define(printing *p, const char *name, int64_t value, const char *what) {
  const char *full = lt_arena_printf(p->a, "%s_%s", p->upper, name);
  claim(p, full, what);
  lt_str_printf(p->out, "#define %s %lldu\n", full, (long long)value);
}

/* ---- the parts --------------------------------------------------------------------------------------------------- */

static double sum_of(const lt_plan *p, bool flop) {
  double sum = 0;
  for (uint32_t i = 0; i < p->n_kernel; i++) sum += flop ? p->kernel[i].flop : p->kernel[i].bytes;
  return sum;
}

/* Text of the user's in a comment: nothing that ends one or begins another. */
static const char *in_comment(const printing *p, const char *text) {
  char *s = lt_arena_strdup(p->a, text);
  for (char *c = s; *c; c++)
    if (*c == '*' || (unsigned char)*c < ' ') *c = '_';
  return s;
}

static const char *base_name(const char *path) { return strrchr(path, '/') ? strrchr(path, '/') + 1 : path; }

static void print_head(printing *p) {
  const lt_emission *e = p->e;
  const lt_target *t = &e->target;
  const char *file = base_name(e->o->header ? e->o->header : "");
  lt_str_printf(p->out,
                "/* %s%slathe %s, %s, %s, %s, --math=%s | stack <= %lld B | no allocation, no locks, no recursion\n",
                in_comment(p, file), *file ? ": " : "", LATHE_VERSION, in_comment(p, e->source), t->triple,
                t->tune ? t->tune : t->cpu, e->o->math ? e->o->math : "exact", (long long)e->out.stack);
  for (uint32_t i = 0; i < e->m->n_entry; i++) {
    const lt_model_entry *x = &e->m->entry[i];
    lt_str_printf(p->out, " * %s (%s): %.0f FLOP, %.0f bytes moved, %u kernels\n", x->spec.name,
                  in_comment(p, x->spec.text), sum_of(&x->plan, true), sum_of(&x->plan, false), x->plan.n_kernel);
  }
  lt_str_printf(p->out, " * Generated; do not edit. */\n#ifndef LATHE_%s_H\n#define LATHE_%s_H\n#include <stdint.h>\n",
                p->upper, p->upper);
  lt_str_puts(p->out, "#ifndef LATHE_ABI_1 /* the same text in every generated header */\n#define LATHE_ABI_1 1\n"
                      "typedef struct lathe_parallel { void *ctx; void (*run)(void *ctx, int64_t n, void (*body)(void "
                      "*arg, int64_t i), void *arg); } lathe_parallel;\n"
                      "#endif\n#if LATHE_ABI_1 != 1\n#error \"this header and another one of Lathe's disagree: make "
                      "both with the same version\"\n#endif\n"
                      "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
}

static void print_sizes(printing *p) {
  const lt_emission *e = p->e;
  const lathe_model *m = e->m;
  int64_t most = 0;
  for (size_t i = 0; i < e->n_unit; i++) most = LT_MAX(most, e->unit[i].plan->scratch_bytes);
  lt_str_puts(p->out, "/* Regions: aligned to ALIGN bytes; a region of 0 bytes may be NULL. */\n");
  define(p, "ALIGN", LT_ALIGN, "the alignment");
  define(p, "WEIGHTS_BYTES", m->pack.out_bytes, "the size of the packed weights");
  define(p, "PARAMS_BYTES", m->image.n ? m->own_bytes : 0, "the size of the params");
  define(p, "STATE_BYTES", e->stateful ? m->image.bytes : 0, "the size of the state");
  define(p, "GRADS_BYTES", e->grads_bytes, "the size of the gradients");
  define(p, "SCRATCH_BYTES", most, "the largest scratch");
  define(p, "STACK_BYTES", e->out.stack, "the stack");
}

static void print_offsets(printing *p) {
  const lt_image *image = &p->e->m->image;
  if (image->n) lt_str_puts(p->out, "\n/* Bytes from the start of params, state and gradients alike. */\n");
  for (uint32_t i = 0; i < image->n; i++) {
    const char *name = lt_arena_printf(p->a, "%s_OFFSET", macro_name(p, "", image->item[i].name));
    define(p, name, image->item[i].offset, lt_arena_printf(p->a, "weight `%s`", image->item[i].name));
  }
}

static const char *c_type(lt_dtype t) {
  switch (t) {
    case LT_F32: return "float";
    case LT_F64: return "double";
    case LT_I32: return "int32_t";
    case LT_I64: return "int64_t";
    case LT_BOOL: return "unsigned char";
    case LT_DTYPES: break;
  }
  assert(!"a dtype");
  return NULL;
}

static void print_shape(printing *p, const char *entry, const lt_slot *s) {
  const char *name = lt_arena_printf(p->a, "%s_%s", lt_c_upper(p->a, entry), macro_name(p, entry, s->name));
  const char *what = lt_arena_printf(p->a, "`%s` of entry `%s`", s->name, entry);
  define(p, lt_arena_printf(p->a, "%s_COUNT", name), lt_type_count(&s->type), what);
  define(p, lt_arena_printf(p->a, "%s_RANK", name), s->type.rank, what);
  for (unsigned i = 0; i < s->type.rank; i++)
    define(p, lt_arena_printf(p->a, "%s_DIM%u", name, i), s->type.dim[i], what);
  define(p, lt_arena_printf(p->a, "%s_BYTES", name), lt_type_bytes(&s->type), what);
}

static void print_struct(printing *p, const char *entry, const lt_plan *plan) {
  const char *type = lt_arena_printf(p->a, "%s_%s_io", p->e->prefix, entry);
  lt_map fields = {0};
  claim(p, type, lt_arena_printf(p->a, "the io struct of entry `%s`", entry));
  if (p->e->object.parallel) lt_map_puts(p->a, &fields, "parallel", (uintptr_t)"parallel");
  lt_str_puts(p->out, "typedef struct {\n");
  for (uint32_t i = 0; i < plan->n_slot; i++) {
    const lt_slot *s = &plan->slot[i];
    const char *field = lt_c_name(p->a, s->name);
    uintptr_t other;
    if (lt_map_gets(&fields, field, &other))
      lt_fail(p->e->job, LATHE_E_INVALID, NULL,
              "entry `%s`: `%s` and `%s` would both be called `%s` in C\nhelp: rename one of them", entry,
              (const char *)other, s->name, field);
    lt_map_puts(p->a, &fields, field, (uintptr_t)s->name);
    const char *note = s->role == LT_SLOT_HYPER ? lt_arena_printf(p->a, "; NULL: %g", s->def)
                       : s->nullable            ? "; may be NULL"
                                                : "";
    lt_str_printf(p->out, "  %s%s *%s; /* %s%s */\n", s->role == LT_SLOT_OUTPUT ? "" : "const ", c_type(s->type.dtype),
                  field, lt_type_text(p->a, &s->type), note);
  }
  if (p->e->object.parallel) lt_str_puts(p->out, "  const lathe_parallel *parallel; /* NULL: one thread */\n");
  lt_str_printf(p->out, "} %s;\n", type);
}

static void prototype(printing *p, const char *name, const char *args) {
  const char *full = lt_arena_printf(p->a, "%s_%s", p->e->prefix, name);
  claim(p, full, lt_arena_printf(p->a, "function `%s`", name));
  lt_str_printf(p->out, "int %s(%s);\n", full, args);
}

static void define_scratch(printing *p, const lt_plan *plan) {
  const char *name =
    lt_arena_printf(p->a, "%s_%s_BYTES", lt_c_upper(p->a, plan->name), macro_name(p, plan->name, "SCRATCH"));
  define(p, name, plan->scratch_bytes, lt_arena_printf(p->a, "the scratch of entry `%s`", plan->name));
}

static void print_entry(printing *p, const lt_model_entry *x) {
  const char *name = x->spec.name, *io = lt_arena_printf(p->a, "const %s_%s_io *io", p->e->prefix, name);
  lt_str_printf(p->out, "\n/* ---- %s ---- */\n", name);
  define_scratch(p, &x->plan);
  for (uint32_t i = 0; i < x->plan.n_slot; i++) print_shape(p, name, &x->plan.slot[i]);
  if (x->halves) define_scratch(p, &x->halves->backward.plan), define_scratch(p, &x->halves->apply.plan);
  print_struct(p, name, &x->plan);
  const char *region = x->spec.kind == LT_ENTRY_TRAIN ? "void *state"
                       : x->stateful                  ? "const void *state"
                       : x->split                     ? "const void *weights"
                                                      : "const void *params";
  prototype(p, name, lt_arena_printf(p->a, "%s, %s, void *scratch", io, region));
  if (x->spec.kind == LT_ENTRY_TRAIN && !x->halves)
    lt_str_puts(
      p->out,
      "/* The network updates its params in a way of its own, so the step is not cut into backward and apply. */\n");
  if (!x->halves) return;
  prototype(p, lt_arena_printf(p->a, "%s_backward", name),
            lt_arena_printf(p->a, "%s, const void *state, void *grads, void *scratch", io));
  prototype(p, lt_arena_printf(p->a, "%s_apply", name),
            lt_arena_printf(p->a, "%s, void *state, const void *grads, void *scratch", io));
}

static void print_embedded(printing *p) {
  const lt_embedded *x = p->e->object.embedded;
  for (unsigned i = 0; i < LT_COUNT(p->e->object.embedded); i++) {
    if (!x[i].symbol) continue;
    bool packed = x[i].kind == LT_IMAGE_PACKED;
    claim(p, x[i].symbol, "the embedded weights");
    lt_str_printf(p->out, "extern const unsigned char %s[%s_%s_BYTES]; /* %s = NULL means these */\n", x[i].symbol,
                  p->upper, packed ? "WEIGHTS" : "PARAMS", packed ? "weights" : "params");
  }
}

static void print_images(printing *p) {
  const lt_emission *e = p->e;
  lt_str_puts(p->out, "\n/* ---- weights and state ---- */\n");
  print_embedded(p);
  if (e->m->pack.out_bytes) prototype(p, "pack", "void *weights, const void *params_or_state");
  if (e->stateful)
    prototype(p, "state_init", "void *state, uint64_t seed"),
      prototype(p, "state_load", "void *state, const void *params_or_state");
}

void lt_header_print(lt_str *out, const lt_emission *e) {
  printing p = {.e = e, .out = out, .a = e->a, .upper = lt_c_upper(e->a, e->prefix)};
  print_head(&p);
  print_sizes(&p);
  print_offsets(&p);
  lt_str_puts(out, "\n/* Functions return 0, -8 (weights, state or gradients of another model or ABI), -9 (a null or "
                   "misaligned\n * pointer) or -10 (an input holds a label or an index past its range: nothing was "
                   "changed). */\n");
  for (uint32_t i = 0; i < e->m->n_entry; i++) print_entry(&p, &e->m->entry[i]);
  print_images(&p);
  lt_str_puts(out, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}
