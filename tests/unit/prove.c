/* What proves compiled code must be able to fail: every value of a network spoiled in turn is found and named, and so
 * is a graph that means something else, an entry that computes other bits, results that are off end to end. */
#include "check_main.h"
#include "driver/prove/probe.h"

#include <math.h>
#include <stdio.h>

/* ---- elements ---- */

static lt_gap compare_f32(double got, double want, double size, lt_tolerance t) {
  double a[1] = {got}, b[1] = {want}, s[1] = {size};
  lt_type type = lt_scalar(LT_F32);
  lt_tensor x = {.type = type, .f = a}, y = {.type = type, .f = b}, z = {.type = type, .f = s};
  return lt_compare(&x, &y, size ? &z : NULL, t);
}

START_TEST(elements) {
  const lt_tolerance tight = {1e-6, 0}, wide = {0, 1};
  ck_assert_int_eq(compare_f32(NAN, NAN, 0, tight).bad, 0);
  ck_assert_int_eq(compare_f32(NAN, 1, 0, wide).bad, 1);
  ck_assert_int_eq(compare_f32(1, NAN, 0, wide).bad, 1);
  ck_assert_int_eq(compare_f32(INFINITY, INFINITY, 0, tight).bad, 0);
  ck_assert_int_eq(compare_f32(INFINITY, -INFINITY, 0, wide).bad, 1);
  ck_assert_int_eq(compare_f32(3e38, INFINITY, 0, wide).bad, 1);
  ck_assert_int_eq(compare_f32(INFINITY, 1e39, 0, tight).bad, 0);                /* beyond f32 */
  ck_assert_int_eq(compare_f32((double)0.1f, 0.1, 0, (lt_tolerance){0}).bad, 0); /* as near as an f32 can be */
  ck_assert_int_eq(compare_f32(1.001, 1, 0, tight).bad, 1);
  ck_assert_int_eq(compare_f32(1.001, 1, 1e4, tight).bad, 0); /* what is left of a large sum */
  ck_assert_int_eq(compare_f32(1.9, 1, 0, wide).bad, 0);
  lt_gap gap = compare_f32(2.5, 1, 0, wide);
  ck_assert_int_eq(gap.bad, 1);
  ck_assert_double_eq(gap.got, 2.5);
  ck_assert_double_eq(gap.want, 1);
  ck_assert_double_eq(gap.allowed, 1);
}
END_TEST

START_TEST(whole_numbers) {
  int64_t a[3] = {INT64_MAX, 5, 0}, b[3] = {INT64_MAX - 1, 5, 1};
  lt_type type = lt_make_type(LT_I64, 1, (int64_t[]){3});
  lt_tensor x = {.type = type, .i = a}, y = {.type = type, .i = b};
  ck_assert_int_eq(lt_compare(&x, &y, NULL, (lt_tolerance){0}).bad, 2); /* the first two are the same as doubles */
}
END_TEST

/* ---- a network ---- */

typedef struct opened {
  lathe_graph *g;
  lathe_model *m;
  lathe_instance *s;
} opened;

static opened open_model(const char *name, const char *opts) {
  char path[512];
  lathe_error e;
  lathe_port p;
  opened x = {0};
  snprintf(path, sizeof path, "%s/models/%s.lathe", getenv("LT_TESTS"), name);
  x.g = lathe_load(path, "", &e);
  ck_assert_msg(x.g != NULL, "%s", e.message);
  x.m = lathe_compile(x.g, opts, &e);
  ck_assert_msg(x.m != NULL, "%s", e.message);
  x.s = lathe_open(x.m, "--seed 5", &e);
  ck_assert_msg(x.s != NULL, "%s", e.message);
  for (int k = 0; k < 3; k++)
    for (size_t i = 0; lathe_model_port(x.m, (const char *[]){"run", "grad", "train"}[k], i, &p); i++)
      if (!strcmp(p.kind, "input")) ck_assert_int_eq(lathe_fill(x.s, p.name, 3, 0), 0);
  return x;
}

static void close_model(opened *x) {
  lathe_instance_free(x->s);
  lathe_model_free(x->m);
  lathe_graph_free(x->g);
}

static const struct { const char *model, *opts, *entry; } entries[] = {
  {"digits", "--entry run", "run"},
  {"digits", "--entry grad", "grad"},
  {"digits", "--entry train:loss --optimizer adam", "train"},
  {"ops", "--entry run", "run"},
  {"ops", "--entry grad", "grad"},
  {"depthwise", "--entry run", "run"},
  {"chapter", "--entry grad", "grad"},
};

/* Another value of its kind for element i: far outside the tolerance, and the old one's bytes. */
static void spoil(void *data, const lt_type *t, int64_t i, double by, unsigned char old[8]) {
  size_t size = lt_dtype_size((lt_dtype)t->dtype);
  unsigned char *at = (unsigned char *)data + (size_t)i * size;
  memcpy(old, at, size);
  if (t->dtype == LT_F32) *(float *)(void *)at = isfinite(*(float *)(void *)at) ? *(float *)(void *)at + (float)by : 0;
  else if (t->dtype == LT_F64) *(double *)(void *)at = isfinite(*(double *)(void *)at) ? *(double *)(void *)at + by : 0;
  else at[0] ^= 1;
}

typedef struct spoiling { opened *x; const char *entry; unsigned spoiled; } spoiling;

static void spoil_each(lt_job *job, void *arg) {
  spoiling *z = arg;
  lt_probe p;
  lt_tolerance t = {1e-5, 1e-37};
  lt_str notes;
  uint32_t checked;
  lt_probe_open(&p, job, z->x->g, z->x->s, z->entry);
  lt_str_init(&notes, p.a);
  ck_assert_msg(lt_compare_nodes(&p, t, &notes, &checked) == 0, "%s", notes.at);
  for (lt_value v = 1; v < p.g->values.n; v++) {
    const lt_node *n = lt_node_of(p.g, v);
    const lt_type *type = lt_type_of(p.g, v);
    if (lt_op_table[n->op].flags & LT_LEAF) continue;
    int64_t i = lt_type_count(type) * 2 / 3;
    unsigned char old[8];
    double largest = lt_largest(lt_probe_tensor(&p, p.a, v));
    void *data = (void *)(uintptr_t)p.value[v];
    spoil(data, type, i, 0.01 * (largest > 0 ? largest : 1), old);
    lt_str_init(&notes, p.a);
    ck_assert_msg(lt_compare_nodes(&p, t, &notes, &checked) > 0, "a wrong %s passes", lt_op_table[n->op].name);
    const char *first = lt_arena_printf(p.a, "the first node that differs: %s", lt_op_table[n->op].name);
    ck_assert_msg(strncmp(notes.at, first, strlen(first)) == 0, "%s spoiled: %s", lt_op_table[n->op].name, notes.at);
    const char *index = type->rank ? lt_index_text(p.a, type, i) : "the scalar";
    const char *where = lt_arena_printf(p.a, "1 of %lld elements, worst at %s", (long long)lt_type_count(type), index);
    ck_assert_msg(strstr(notes.at, where) != NULL, "%s is not in: %s", where, notes.at);
    memcpy((char *)data + (size_t)i * lt_dtype_size((lt_dtype)type->dtype), old, lt_dtype_size((lt_dtype)type->dtype));
    z->spoiled++;
  }
}

START_TEST(each_node) {
  opened x = open_model(entries[_i].model, entries[_i].opts);
  spoiling z = {&x, entries[_i].entry, 0};
  lathe_error e;
  ck_assert_msg(lt_protect(&e, spoil_each, &z) == 0, "%s", e.message);
  ck_assert_uint_ge(z.spoiled, 9);
  close_model(&x);
}
END_TEST

/* ---- the other points ---- */

/* Which points hold, as "1101", after something has been done to the probe. */
typedef struct tampering { opened *x; const char *entry; void (*with)(lt_probe *p); char holds[8]; } tampering;

static void tampered(lt_job *job, void *arg) {
  tampering *t = arg;
  lt_probe p;
  lt_options o = {0};
  lt_probe_open(&p, job, t->x->g, t->x->s, t->entry);
  if (t->with) t->with(&p);
  lt_points found = lt_prove(&p, &o);
  for (uint32_t i = 0; i < found.n && i < 7; i++) t->holds[i] = found.at[i].ok ? '1' : '0';
}

static void other_meaning(lt_probe *p) { /* tanh instead of relu */
  for (uint32_t i = 0; i < p->meant->nodes.n; i++)
    if (p->meant->nodes.at[i]->op == LT_OP_relu) p->meant->nodes.at[i]->op = LT_OP_tanh;
}

static void other_bits(lt_probe *p) { /* one bit of the first output as the probe has it: far below any tolerance */
  unsigned char *at = (unsigned char *)(uintptr_t)p->value[p->output[0].value];
  at[0] ^= 1;
}

/* An entry that computes something else: one element of an output is off by `wrong`. */
static lt_entry_fn right;
static int place;
static float wrong;

static int computes_wrong(const void *io, void *region, void *scratch) {
  int status = right(io, region, scratch);
  float *y = (float *)((void *const *)io)[place];
  y[0] += wrong;
  return status;
}

static void tamper_code(lt_probe *p, float by) {
  lt_model_entry *e = &p->s->model->entry[0];
  for (uint32_t i = e->plan.n_slot; i-- > 0;)
    if (e->plan.slot[i].role == LT_SLOT_OUTPUT) place = (int)i;
  right = e->run, e->run = computes_wrong, wrong = by;
}

static void wrong_code(lt_probe *p) { tamper_code(p, 0.02f); }     /* of about 3 */
static void other_rounding(lt_probe *p) { tamper_code(p, 1e-4f); } /* within the tolerance end to end */

static void check_tampering(const char *model, const char *opts, const char *entry, void (*with)(lt_probe *p),
                            const char *holds) {
  opened x = open_model(model, opts);
  tampering t = {.x = &x, .entry = entry, .with = with};
  lathe_error e;
  ck_assert_msg(lt_protect(&e, tampered, &t) == 0, "%s", e.message);
  ck_assert_str_eq(t.holds, holds); /* passes, nodes, bits, results */
  close_model(&x);
}

START_TEST(other_points) {
  check_tampering("digits", "--entry run", "run", NULL, "1111");
  check_tampering("digits", "--entry run", "run", other_meaning, "0111");
  check_tampering("digits", "--entry run", "run", other_bits, "1101");
  check_tampering("digits", "--entry run", "run", wrong_code, "1100");
  check_tampering("digits", "--entry run", "run", other_rounding, "1101");
  check_tampering("digits", "--entry train:loss --optimizer sgd", "train", wrong_code, "1100");
  /* gradients that are zero but for rounding */
  check_tampering("depthwise", "--entry grad", "grad", wrong_code, "1100");
}
END_TEST

/* ---- what surrounds it ---- */

START_TEST(leaves_all_as_it_was) {
  opened x = open_model("digits", "--entry train:loss --optimizer adam");
  lathe_error e;
  lathe_port p;
  size_t bytes = (size_t)x.m->image.bytes;
  unsigned char *before = lt_mem_alloc(bytes);
  memcpy(before, x.s->image, bytes);
  lathe_proof *f = lathe_prove(x.g, x.s, "train", "--rtol 1e-4", &e);
  ck_assert_msg(f != NULL, "%s", e.message);
  ck_assert_uint_eq(f->n, 4);
  for (size_t i = 0; i < f->n; i++) ck_assert_msg(f->point[i].ok, "%s\n%s", f->point[i].what, f->point[i].notes);
  ck_assert_mem_eq(before, x.s->image, bytes);
  float loss = *(float *)lathe_buffer(x.s, "loss", NULL);
  ck_assert_int_eq(lathe_call(x.s, "train"), 0); /* lr was left alone too: the same step */
  ck_assert_mem_eq(&loss, lathe_buffer(x.s, "loss", NULL), sizeof loss);
  ck_assert_int_eq(lathe_model_port(x.m, "train", 0, &p), 1);
  lathe_free(f);
  lt_mem_free(before);
  close_model(&x);
}
END_TEST

START_TEST(refuses) {
  opened x = open_model("digits", "--entry run"), y = open_model("chapter", "--entry run");
  lathe_error e;
  ck_assert_ptr_null(lathe_prove(x.g, x.s, "train", "", &e));
  ck_assert_str_eq(e.message, "the model has no entry `train`");
  ck_assert_ptr_null(lathe_prove(y.g, x.s, "run", "", &e));
  ck_assert_str_eq(e.message, "entry `run` was not compiled from this network");
  ck_assert_ptr_null(lathe_prove(x.g, NULL, "run", "", &e));
  ck_assert_int_eq(e.status, LATHE_E_INVALID);
  ck_assert_ptr_null(lathe_prove(x.g, x.s, "run", "--cpu x86-64", &e));
  ck_assert_msg(strstr(e.message, "--cpu belongs to lathe_compile, not to lathe_prove") != NULL, "%s", e.message);
  ck_assert_ptr_null(lathe_object_load("/nowhere/model.o", &e));
  ck_assert_int_eq(e.status, LATHE_E_IO);
  snprintf(e.file, sizeof e.file, "%s/meson.build", getenv("LT_TESTS"));
  char path[240];
  memcpy(path, e.file, sizeof path);
  ck_assert_ptr_null(lathe_object_load(path, &e));
  ck_assert_msg(strstr(e.message, "is not an object file") != NULL, "%s", e.message);
  ck_assert_ptr_null(lathe_object_find(NULL, "f"));
  lathe_object_free(NULL);
  close_model(&x);
  close_model(&y);
}
END_TEST

static Suite *suite(void) {
  Suite *s = suite_create("prove");
  TCase *c = tcase_create("prove");
  tcase_set_timeout(c, 120);
  tcase_add_test(c, elements);
  tcase_add_test(c, whole_numbers);
  tcase_add_loop_test(c, each_node, 0, (int)LT_COUNT(entries));
  tcase_add_test(c, other_points);
  tcase_add_test(c, leaves_all_as_it_was);
  tcase_add_test(c, refuses);
  suite_add_tcase(s, c);
  return s;
}

LT_TEST_MAIN(suite)
