/* Tests of the graph itself: types, the op table, emission and its messages, printing, comparing, verifying, tensors,
 * random numbers. Ops' shapes and values are tested elsewhere. */
#include "check_main.h"
#include "ir/ir.h"
#include "ir/op_hooks.h"

#include <math.h>
#include <stdio.h>

/* A test's body under lt_protect; it must not fail. */
#define IN_JOB(name)                                                                                                   \
  static void name##_body(lt_job *job, void *unused);                                                                  \
  START_TEST(name) {                                                                                                   \
    lathe_error e;                                                                                                     \
    int status = lt_protect(&e, name##_body, NULL);                                                                    \
    ck_assert_msg(status == LATHE_OK, "%s", e.message);                                                                \
    ck_assert_int_eq(lt_mem_live(), 0);                                                                                \
  }                                                                                                                    \
  END_TEST                                                                                                             \
  static void name##_body(lt_job *job, void *unused)

static lt_type f32_of(unsigned rank, int64_t a, int64_t b, int64_t c, int64_t d) {
  return lt_make_type(LT_F32, rank, (int64_t[]){a, b, c, d});
}

static lt_graph *new_graph(lt_job *job, const char *name) {
  lt_graph *g = lt_graph_new(job, name);
  lt_defer_cancel(job, g); /* from now on freed at the end in any case */
  lt_defer(job, lt_graph_free_fn, g);
  return g;
}

static const char *text_of(lt_graph *g) {
  lt_str s;
  lt_str_init(&s, &g->arena);
  lt_print(&s, g);
  return s.at;
}

/* ---- types ------------------------------------------------------------------------------------------------------- */

IN_JOB(types) {
  lt_arena *a = lt_arena_new(job);
  lt_type t, x = f32_of(3, 4, 1, 3, 0), y = f32_of(2, 5, 1, 0, 0);
  ck_assert_str_eq(lt_type_text(a, &x), "f32[4, 1, 3]");
  t = lt_scalar(LT_I64);
  ck_assert_str_eq(lt_type_text(a, &t), "i64");
  ck_assert(lt_type_parse(&t, "bool[2, 7]") && t.dtype == LT_BOOL && t.rank == 2 && t.dim[1] == 7);
  const char *const wrong[] = {"",
                               "f33",
                               "f32[",
                               "f32[]",
                               "f32[0]",
                               "f32[-1]",
                               "f32[2,]",
                               "f32[N]",
                               "f32[1,1,1,1,1,1,1,1,1]",
                               "f32[99999999999999999999]"};
  for (unsigned i = 0; i < LT_COUNT(wrong); i++) ck_assert_msg(!lt_type_parse(&t, wrong[i]), "%s was read", wrong[i]);
  ck_assert(lt_broadcast(&t, &x, &y));
  ck_assert_str_eq(lt_type_text(a, &t), "f32[4, 5, 3]");
  y = f32_of(1, 2, 0, 0, 0);
  ck_assert(!lt_broadcast(&t, &x, &y));
  int64_t n, stride[LT_MAX_RANK];
  lt_type_strides(&x, stride);
  ck_assert(stride[0] == 3 && stride[1] == 3 && stride[2] == 1);
  ck_assert_int_eq(lt_type_bytes(&x), 48);
  x = f32_of(3, INT64_C(1) << 31, INT64_C(1) << 31, 4, 0);
  ck_assert(!lt_type_count_ok(&x, &n));
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

#define OP(name, ...)                                                                                                  \
  static void offsets_of_##name(void) {                                                                                \
    typedef lt_##name##_attrs attrs;                                                                                   \
    const lt_op_info *op = &lt_op_table[LT_OP_##name];                                                                 \
    unsigned i = 0;
#define ATTR(kind, key, def, doc)                                                                                      \
  ck_assert_str_eq(op->attrs[i].name, #key);                                                                           \
  ck_assert_uint_eq(op->attrs[i++].offset, offsetof(attrs, key));
#define END(name)                                                                                                      \
  ck_assert_uint_eq(op->n_attrs, i);                                                                                   \
  ck_assert_uint_eq(op->attrs_size, sizeof(attrs));                                                                    \
  }
#include "ir/ops.def"

/* Every element type has a name that reads back, a size and a kind; what it holds of a number. */
START_TEST(element_types) {
  for (unsigned t = 0; t < LT_DTYPES; t++) {
    lt_dtype back;
    const char *name = lt_dtype_name((lt_dtype)t);
    ck_assert(lt_dtype_parse(&back, name, strlen(name)) && back == (lt_dtype)t);
    ck_assert_uint_ge(lt_dtype_size((lt_dtype)t), 1);
    ck_assert_int_eq(lt_is_float((lt_dtype)t), name[0] == 'f');
  }
  ck_assert_str_eq(lt_dtype_name(LT_DTYPES), "?");
  ck_assert(lt_dtype_round(LT_F32, 0.1) == (double)0.1f && lt_dtype_round(LT_F64, 0.1) == 0.1);
  ck_assert_int_eq(lt_dtype_wrap(LT_I32, INT64_C(0x180000000)), INT32_MIN);
  ck_assert_int_eq(lt_dtype_wrap(LT_I64, INT64_C(0x180000000)), INT64_C(0x180000000));
  ck_assert_int_eq(lt_dtype_wrap(LT_BOOL, 256), 1);
}
END_TEST

START_TEST(table_offsets) {
#define OP(name, ...) offsets_of_##name();
#include "ir/ops.def"
}
END_TEST

/* The columns of one row fit together. */
static void check_facts(const lt_op_info *o) {
  bool map = o->flags & LT_MAP, computed = o->flags & (LT_MAP | LT_HEAVY | LT_MOVE | LT_HIDDEN);
  ck_assert_msg(map == (o->blocks == LT_BLOCKS_EACH), "%s: EACH is what MAP ops are", o->name);
  ck_assert_msg(!map || o->reads == LT_READS_ALL, "%s: MAP ops read ALL", o->name);
  bool says_how = o->moves != LT_MOVES__ && o->moves != LT_MOVES_PICK;
  ck_assert_msg(((o->flags & LT_MOVE) != 0) == says_how, "%s: a MOVE says how", o->name);
  ck_assert_msg(o->writes != LT_WRITES_EPI || o->flags & (LT_HEAVY | LT_HIDDEN), "%s: EPI is for roots", o->name);
  ck_assert_msg(o->reads != LT_READS_INNER || o->blocks == LT_BLOCKS_AXES, "%s: INNER is for reductions", o->name);
  ck_assert_msg(o->same != LT_SAME_SWAP || o->max_in == 2, "%s: SWAP needs two operands", o->name);
  ck_assert_msg(computed || !(o->writes || o->reads || says_how || o->blocks || o->rounds),
                "%s: no kernel, no facts of one", o->name);
}

/* What the rows say about themselves fits together. */
static void check_row(lt_op op) {
  const lt_op_info *o = &lt_op_table[op];
  bool leaf = o->flags & LT_LEAF, map = o->flags & LT_MAP;
  unsigned kind = o->flags & ~(unsigned)LT_HIDDEN;
  ck_assert_msg((kind & (kind - 1)) == 0, "%s: more than one of LEAF MAP HEAVY MOVE SUGAR", o->name);
  ck_assert_msg(o->doc[0] && o->results[0] && o->family[0], "%s: an empty text", o->name);
  ck_assert_msg(leaf == (o->operands[0] == 0), "%s: operands", o->name);
  ck_assert_msg(o->min_in <= o->max_in && (leaf || o->min_in > 0), "%s: %d to %d operands", o->name, o->min_in,
                o->max_in);
  ck_assert_msg(!map || (o->n_out == 1 && o->min_in == o->max_in && o->max_in <= 3), "%s: not elementwise", o->name);
  ck_assert_msg(o->infer && o->eval, "%s: a hook is missing", o->name);
  ck_assert_uint_eq(lt_op_find(o->name, strlen(o->name)), op);
  ck_assert_str_eq(lt_op_names()[op - 1], o->name);
  check_facts(o);
}

static void check_attrs(lt_arena *a, lt_op op) {
  const lt_op_info *o = &lt_op_table[op];
  void *attrs = lt_arena_zalloc(a, o->attrs_size), *copy = lt_arena_zalloc(a, o->attrs_size);
  lt_attrs_default(op, attrs);
  lt_attrs_copy(a, op, copy, attrs);
  ck_assert(lt_attrs_eq(op, attrs, copy));
  ck_assert(lt_attrs_hash(op, attrs, 7) == lt_attrs_hash(op, copy, 7));
  for (unsigned i = 0; i < o->n_attrs; i++) {
    ck_assert_msg(o->attrs[i].doc[0], "%s.%s: no text", o->name, o->attrs[i].name);
    ck_assert_msg(lt_attr_is_default(op, attrs, i) == (o->attrs[i].def[0] != 0), "%s.%s", o->name, o->attrs[i].name);
    if (!o->attrs[i].def[0]) continue;
    lt_str s;
    lt_str_init(&s, a);
    lt_attr_print(&s, o->attrs[i].kind, lt_attr_at(op, attrs, i));
    ck_assert_str_eq(s.at, o->attrs[i].def); /* so the default reads back and prints as it stands in the table */
  }
}

IN_JOB(table_rows) {
  lt_arena *a = lt_arena_new(job);
  unsigned heavy = 0;
  for (unsigned op = 1; op < LT_OPS; op++) {
    check_row((lt_op)op);
    check_attrs(a, (lt_op)op);
    heavy += (lt_op_table[op].flags & LT_HEAVY) != 0;
  }
  ck_assert_uint_gt(heavy, 10);
  ck_assert(lt_op_names()[LT_OPS - 1] == NULL);
  ck_assert_uint_eq(lt_op_find("conv2", 5), LT_OP_none);
  ck_assert_str_eq(lt_operand_name(a, LT_OP_conv2d, 2), "b");
  ck_assert_str_eq(lt_operand_name(a, LT_OP_concat, 5), "xs");
}

/* ---- emission and its messages ----------------------------------------------------------------------------------- */

typedef struct mistake { void (*make)(lt_graph *g); const char *says; } mistake;

static lt_value x_of(lt_graph *g) { return lt_leaf(g, LT_OP_input, "x", f32_of(2, 2, 3, 0, 0), NULL); }
static void two_operands(lt_graph *g) { lt_binary(g, LT_OP_relu, x_of(g), 1); }
static void one_operand(lt_graph *g) { g->label = "fc", lt_unary(g, LT_OP_linear, x_of(g)); }
static void no_operand(lt_graph *g) { x_of(g), lt_binary(g, LT_OP_add, 1, 0); }
static void foreign(lt_graph *g) { lt_unary(g, LT_OP_relu, 7); }
static void name_twice(lt_graph *g) { x_of(g), x_of(g); }
static void name_backtick(lt_graph *g) { lt_set_name(g, x_of(g), "a`b"); }
static void name_latin1(lt_graph *g) { lt_set_name(g, x_of(g), "a\xe9"); }
static void name_c1(lt_graph *g) { lt_set_name(g, x_of(g), "a\xc2\x9b"); } /* a terminal takes it for ESC [ */
static void name_long(lt_graph *g) {
  char name[300];
  memset(name, 'a', sizeof name);
  name[299] = 0;
  lt_set_name(g, lt_unary(g, LT_OP_relu, x_of(g)), name);
}
static void output_twice(lt_graph *g) {
  lt_value x = x_of(g);
  lt_add_output(g, "y", x), lt_add_output(g, "y", x);
}
static void update_of_input(lt_graph *g) {
  lt_value x = x_of(g);
  lt_add_update(g, x, x);
}
static lt_value w_of(lt_graph *g) { return lt_leaf(g, LT_OP_param, "W", f32_of(1, 3, 0, 0, 0), &(lt_init){0}); }
static void update_of_other_type(lt_graph *g) { lt_add_update(g, w_of(g), x_of(g)); }
static void update_twice(lt_graph *g) {
  lt_value w = w_of(g);
  lt_add_update(g, w, w), lt_add_update(g, w, w);
}
static void too_large(lt_graph *g) { g->max_bytes = 16, x_of(g); }
static void overflows(lt_graph *g) {
  lt_leaf(g, LT_OP_input, "x", f32_of(3, INT64_C(1) << 40, INT64_C(1) << 21, 1, 0), NULL);
}
static void shapes_differ(lt_graph *g) {
  lt_binary(g, LT_OP_add, x_of(g), lt_leaf(g, LT_OP_input, "y", f32_of(1, 2, 0, 0, 0), NULL));
}

static const mistake mistakes[] = {
  {two_operands, "relu: takes 1 operand (x), not 2"},
  {one_operand, "linear `fc`: takes 2 or one more operands (x W b?), not 1"},
  {no_operand, "add: operand b is missing"},
  {foreign, "relu: operand x is not a value of this graph"},
  {name_twice, "the name `x` is used twice"},
  {name_backtick, "a name may hold " LT_NAME_RULE},
  {name_latin1, "a name may hold " LT_NAME_RULE},
  {name_c1, "a name may hold " LT_NAME_RULE},
  {name_long, "a name of 299 bytes is too long; 255 is the most"},
  {output_twice, "two outputs are named `y`"},
  {update_of_input, "`x` cannot be updated: it is no param or state"},
  {update_of_other_type, "update of `W`: it is f32[3], the new value f32[2, 3]"},
  {update_twice, "`W` is updated twice"},
  {too_large, "input: f32[2, 3] takes 24 bytes, more than the limit of 16\nhelp: raise it with --max-bytes"},
  {overflows, "input: the size of f32[1099511627776, 2097152, 1] overflows"},
  {shapes_differ,
   "add: a f32[2, 3] and b f32[2] do not broadcast: counted from the last axis, dims must be equal or 1"},
};

static void make_mistake(lt_job *job, void *arg) { ((const mistake *)arg)->make(lt_graph_new(job, "g")); }

START_TEST(messages) {
  lathe_error e;
  mistake m = mistakes[_i];
  ck_assert_int_eq(lt_protect(&e, make_mistake, &m), LATHE_E_INVALID);
  ck_assert_str_eq(e.message, m.says);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

/* ---- printing ---------------------------------------------------------------------------------------------------- */

/* Every form that print.c's first paragraph names. */
static lt_graph *sample(lt_job *job) {
  lt_graph *g = new_graph(job, "fit");
  lt_value x = lt_leaf(g, LT_OP_input, "x", f32_of(4, 1, 3, 8, 8), NULL);
  lt_value k = lt_leaf(g, LT_OP_param, "conv.W", f32_of(4, 4, 3, 3, 3), &(lt_init){.kind = LT_INIT_NORMAL, .a = 0.125});
  lt_value s = lt_leaf(g, LT_OP_state, "for", lt_scalar(LT_I64), &(lt_init){.kind = LT_INIT_ONES});
  g->label = "conv", g->origin = NULL;
  lt_conv2d_attrs conv = {.stride = {{2, 1}}, .pad = {{1, 1, 1, 1}}, .dilation = {{1, 1}}, .groups = 1};
  lt_value y = lt_emit(g, LT_OP_conv2d, &conv, (lt_value[]){x, k}, 2);
  g->label = NULL;
  lt_value h = lt_binary(g, LT_OP_mul, y, lt_const_scalar(g, LT_F32, -0.5));
  lt_set_name(g, h, "h");
  lt_type two = lt_make_type(LT_F32, 1, (int64_t[]){2});
  lt_tensor *t = lt_tensor_new(&g->arena, &two);
  t->f[0] = 0.1f, t->f[1] = -INFINITY;
  lt_value c = lt_const_tensor(g, t);
  lt_value all = lt_reduce(g, LT_OP_sum, h, &(lt_ints){0}, false);
  lt_value next = lt_binary(g, LT_OP_add, s, lt_const_scalar(g, LT_I64, 1));
  lt_node_of(g, y)->cluster = 3;
  lt_node_of(g, y)->algorithm = LT_ALGORITHM_direct;
  lt_copy *copies = LT_NEW_ARRAY(&g->arena, lt_copy, 2);
  copies[0] = (lt_copy){0, {.kind = LT_PLAIN, .halo = {1, 1, 1, 1}}};
  copies[1] = (lt_copy){1, {.kind = LT_PANEL, .panel = {LT_PANEL_conv, 2}}};
  lt_node_of(g, y)->copies = copies, lt_node_of(g, y)->n_copies = 2;
  g->values.at[y].layout = (lt_layout){.kind = LT_BLOCKED, .halo = {1, 1, 0, 0}};
  lt_add_output(g, "total", all);
  lt_add_output(g, "h", h);
  lt_add_output(g, "pair", c);
  lt_add_output(g, "again", all);
  lt_add_update(g, s, next);
  return g;
}

IN_JOB(printing) {
  lt_graph *g = sample(job);
  ck_assert_str_eq(
    text_of(g),
    "network fit(x: f32[1, 3, 8, 8]) -> total, h, pair, again {\n"
    "  param conv.W: f32[4, 3, 3, 3] = normal(scale=0.125)\n"
    "  state `for`: i64 = ones()\n"
    "  v1: f32[1, 4, 4, 8] = conv2d(x, conv.W, stride=[2, 1], pad=1) @cluster(3) @algorithm(direct)"
    " @layout(blocked, [1, 1, 0, 0]) @copy(0, plain, [1, 1, 1, 1]) @copy(1, conv, groups=2) @label(\"conv\")\n"
    "  h: f32[1, 4, 4, 8] = mul(v1, -0.5)\n"
    "  const pair: f32[2] = [0.1, -inf]\n"
    "  total: f32 = sum(h, axes=[0, 1, 2, 3])\n"
    "  const v2: i64 = 1\n"
    "  v3: i64 = add(`for`, v2)\n"
    "  update `for` = v3\n"
    "  again = total\n"
    "}\n");
  lt_str s;
  lt_str_init(&s, &g->arena);
  lt_print_node(&s, g, lt_node_of(g, lt_find(g, "h")));
  ck_assert_str_eq(s.at, "h: f32[1, 4, 4, 8] = mul(v1, -0.5)");
}

IN_JOB(texts) {
  lt_str s;
  lt_str_init(&s, lt_arena_new(job));
  lt_print_name(&s, "layer1.0.W"), lt_str_puts(&s, " ");
  lt_print_name(&s, "a..b"), lt_str_puts(&s, " "), lt_print_name(&s, "1x"), lt_str_puts(&s, " ");
  lt_print_name(&s, "nan"), lt_str_puts(&s, " "), lt_print_string(&s, "a\"\\\n\té");
  ck_assert_str_eq(s.at, "layer1.0.W `a..b` `1x` `nan` \"a\\\"\\\\\\n\\té\"");
}

static lt_node *conv_of(lt_graph *g) {
  for (uint32_t i = 0;; i++)
    if (g->nodes.at[i]->op == LT_OP_conv2d) return g->nodes.at[i];
}
static lt_copy *copies_of(lt_graph *g) { return (lt_copy *)(uintptr_t)conv_of(g)->copies; }

/* ---- comparing --------------------------------------------------------------------------------------------------- */

IN_JOB(equality) {
  lt_graph *a = sample(job), *b = sample(job), *c = sample(job), *d = sample(job), *e = sample(job), *f = sample(job);
  ck_assert(lt_graph_equal(a, b));
  ck_assert(lt_graph_hash(a) == lt_graph_hash(b));
  b->values.at[lt_find(b, "h")].name = "other"; /* the name of what is no leaf does not count */
  ck_assert(lt_graph_equal(a, b) && lt_graph_hash(a) == lt_graph_hash(b));
  lt_unary(c, LT_OP_relu, 1);
  ck_assert(!lt_graph_equal(a, c) && lt_graph_hash(a) != lt_graph_hash(c));
  d->values.at[lt_find(d, "conv.W")].name = "conv.V"; /* a leaf's does */
  ck_assert(!lt_graph_equal(a, d) && lt_graph_hash(a) != lt_graph_hash(d));
  e->outputs.at[0].name = "sum";
  ck_assert(!lt_graph_equal(a, e) && lt_graph_hash(a) != lt_graph_hash(e));
  f->updates.n = 0;
  ck_assert(!lt_graph_equal(a, f) && lt_graph_hash(a) != lt_graph_hash(f));
  /* so does what is chosen, but for the hash */
  lt_graph *other = sample(job), *apart = sample(job), *grouped = sample(job);
  conv_of(other)->algorithm = LT_ALGORITHM_grouped;
  conv_of(apart)->n_copies = 1;
  copies_of(grouped)[1].layout.panel.groups = 1;
  ck_assert(!lt_graph_equal(a, other) && !lt_graph_equal(a, apart) && !lt_graph_equal(a, grouped));
  ck_assert(lt_graph_hash(a) == lt_graph_hash(other));
}

/* ---- the verifier sees what is broken ---------------------------------------------------------------------------- */

typedef struct damage { void (*do_it)(lt_graph *g); const char *says; } damage;

static void break_nothing(lt_graph *g) { (void)g; }
static void break_type(lt_graph *g) { g->values.at[lt_find(g, "h")].type.dim[0] = 2; }
static void break_operand(lt_graph *g) { *(lt_value *)conv_of(g)->in = lt_find(g, "h"); }
static void break_attrs(lt_graph *g) { ((lt_conv2d_attrs *)conv_of(g)->attrs)->groups = 2; }
static void break_id(lt_graph *g) { conv_of(g)->id = 0; }
static void break_back(lt_graph *g) { g->values.at[conv_of(g)->out].node = 0; }
static void break_name(lt_graph *g) { g->values.at[conv_of(g)->out].name = "x"; }
static void break_leaf(lt_graph *g) { g->values.at[lt_find(g, "x")].name = NULL; }
static void break_layout_scalar(lt_graph *g) { g->values.at[g->outputs.at[0].value].layout.kind = LT_BLOCKED; }
static void break_halo(lt_graph *g) { g->values.at[lt_find(g, "h")].layout.halo[2] = -1; }
static void break_algorithm(lt_graph *g) { conv_of(g)->algorithm = LT_ALGORITHM_depthwise; }
static void break_algorithm_op(lt_graph *g) { lt_node_of(g, lt_find(g, "h"))->algorithm = LT_ALGORITHM_product; }
static void break_copy(lt_graph *g) { copies_of(g)[0].operand = 2; }
static void break_copy_order(lt_graph *g) { copies_of(g)[0].operand = 1; }
static void break_groups(lt_graph *g) { copies_of(g)[1].layout.panel.groups = 3; }
static void break_panel(lt_graph *g) { copies_of(g)[1].layout.panel = (lt_panel){LT_PANEL_depthwise, 1}; }
static void break_panel_groups(lt_graph *g) { copies_of(g)[1].layout.panel.kind = LT_PANEL_matrix; }
static void break_panel_kind(lt_graph *g) { copies_of(g)[1].layout.panel.kind = LT_PANEL_none; }
static void break_panel_rank(lt_graph *g) {
  g->values.at[g->outputs.at[2].value].layout = (lt_layout){.kind = LT_PANEL, .panel = {LT_PANEL_conv, 1}};
}
static void break_output(lt_graph *g) { g->outputs.at[1].name = "total"; }
static void break_update(lt_graph *g) { g->updates.at[0].leaf = lt_find(g, "x"); }
static void break_op(lt_graph *g) { conv_of(g)->op = LT_OPS; }

static const damage damages[] = {
  {break_nothing, ""},
  {break_type, "after test: mul at node 5: result 0 is f32[2, 4, 4, 8], should be f32[1, 4, 4, 8]"},
  {break_operand, "after test: conv2d at node 3: operand 0 is value 6, which is not defined before"},
  {break_attrs, "after test: conv2d at node 3: conv2d: "},
  {break_id, "after test: conv2d at node 0: its id is not its place 3"},
  {break_back, "after test: conv2d at node 3: result 0 does not point back"},
  {break_name, "after test: conv2d at node 3: the name x belongs to another value"},
  {break_leaf, "after test: input at node 0: a leaf without a name"},
  {break_layout_scalar, "after test: sum at node 7: result 0 has a layout for rank 4, not 0"},
  {break_halo, "after test: mul at node 5: result 0 has a negative halo"},
  {break_algorithm, "after test: conv2d at node 3: the algorithm depthwise does not fit it"},
  {break_algorithm_op, "after test: mul at node 5: the algorithm product does not fit it"},
  {break_copy, "after test: conv2d at node 3: a copy of operand 2, which it does not have"},
  {break_copy_order, "after test: conv2d at node 3: operand 1 is copied twice or out of order"},
  {break_groups, "after test: conv2d at node 3: the copy of operand 1 has 3 groups, which do not divide 4 filters"},
  {break_panel, "after test: conv2d at node 3: the copy of operand 1 has a panel depthwise, which is for filters of "
                "one channel, not 3"},
  {break_panel_groups,
   "after test: conv2d at node 3: the copy of operand 1 has a panel matrix with groups, which it has not"},
  {break_panel_kind, "after test: conv2d at node 3: the copy of operand 1 has a panel of no kind"},
  {break_panel_rank, "after test: const at node 6: result 0 has a panel conv, which is for rank 4, not 1"},
  {break_output, "after test: graph of nodes 10: two outputs total"},
  {break_update, "after test: graph of nodes 10: update 0 is of no param or state"},
  {break_op, "after test: node 3 has no op"},
};

static void verify_damaged(lt_job *job, void *arg) {
  lt_graph *g = sample(job);
  ((const damage *)arg)->do_it(g);
  lt_verify(g, "test");
}

START_TEST(verifying) {
  lathe_error e;
  damage d = damages[_i];
  int status = lt_protect(&e, verify_damaged, &d);
  ck_assert_int_eq(status, d.says[0] ? LATHE_E_INTERNAL : LATHE_OK);
  ck_assert_msg(strncmp(e.message, d.says, strlen(d.says)) == 0, "says: %s", e.message);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

/* ---- tensors and random numbers ---------------------------------------------------------------------------------- */

IN_JOB(tensors) {
  lt_arena *a = lt_arena_new(job);
  lt_type t = lt_make_type(LT_F32, 1, (int64_t[]){4});
  unsigned char raw[17], back[16];
  float f[4] = {0.1f, -0.0f, INFINITY, 1e-45f};
  memcpy(raw + 1, f, sizeof f);
  lt_tensor *x = lt_tensor_import(a, &t, raw + 1), *y = lt_tensor_copy(a, x); /* from anywhere, not aligned */
  lt_tensor_export(x, back);
  ck_assert_mem_eq(back, f, sizeof f);
  ck_assert(lt_tensor_eq(x, y));
  y->f[1] = 0.0; /* not the bits of -0.0 */
  ck_assert(!lt_tensor_eq(x, y) && !lt_tensor_eq(x, NULL));
  t.dtype = LT_I64;
  x = lt_tensor_new(a, &t);
  lt_tensor_set(x, 0, 1e30), lt_tensor_set(x, 1, -1e30), lt_tensor_set(x, 2, NAN), lt_tensor_set(x, 3, 2.6);
  ck_assert(x->i[0] == INT64_MAX && x->i[1] == INT64_MIN && x->i[2] == 0 && x->i[3] == 3);
  t.dtype = LT_BOOL;
  x = lt_tensor_import(a, &t, (unsigned char[]){0, 1, 7, 0});
  ck_assert(x->i[2] == 1 && lt_tensor_at(x, 2) == 1.0);
}

/* The values come from a program written from the description in random.c's first paragraph. */
START_TEST(random_numbers) {
  ck_assert_uint_eq(lt_random_u32(0, 0, 0), 0x568a9b0bu);
  ck_assert_uint_eq(lt_random_u32(1, 2, 3), 0xeb3aa0ceu);
  ck_assert_uint_eq(lt_random_u32(UINT64_MAX, 12345, UINT64_C(1) << 40), 0xd41c4fb7u);
  ck_assert(lt_random_unit(1, 2, 3) == (float)(15415968 * 0x1p-24));
  ck_assert_double_eq_tol(lt_random_normal(0, 0, 0), -0.1766018920026211, 1e-7);
  ck_assert_double_eq_tol(lt_random_normal(1, 2, 3), 1.2307701049581523, 1e-6);
  ck_assert_double_eq_tol(lt_random_normal(UINT64_MAX, 12345, UINT64_C(1) << 40), -1.4148951517968027, 1e-6);
  double sum = 0, square = 0, unit = 0;
  enum { N = 100000 };
  for (unsigned i = 0; i < N; i++) {
    double x = lt_random_normal(3, 4, i), u = lt_random_unit(3, 4, i);
    ck_assert(u >= 0 && u < 1 && isfinite(x));
    sum += x, square += x * x, unit += u;
  }
  ck_assert_double_eq_tol(sum / N, 0, 0.02);
  ck_assert_double_eq_tol(square / N, 1, 0.02);
  ck_assert_double_eq_tol(unit / N, 0.5, 0.01);
  ck_assert(lt_random_stream("a") != lt_random_stream("b"));
}
END_TEST

START_TEST(initial_values) {
  lt_type t = lt_make_type(LT_F32, 1, (int64_t[]){1000});
  float a[1000], b[1000];
  lt_init init = {.kind = LT_INIT_NORMAL, .a = 0.5};
  lt_init_fill(&init, &t, "W", 1, a);
  lt_init_fill(&init, &t, "V", 1, b);
  ck_assert(a[7] != b[7]);
  ck_assert(a[7] == (float)(0.5 * lt_random_normal(1, lt_random_stream("W"), 7)));
  init = (lt_init){.kind = LT_INIT_UNIFORM, .a = -3, .b = -2};
  lt_init_fill(&init, &t, "W", 1, a);
  for (unsigned i = 0; i < 1000; i++) ck_assert(a[i] >= -3 && a[i] <= -2);
  t.dtype = LT_I32;
  init.kind = LT_INIT_ONES;
  lt_init_fill(&init, &t, "W", 1, a);
  int32_t one;
  memcpy(&one, &a[999], sizeof one);
  ck_assert_int_eq(one, 1);
}
END_TEST

static Suite *ir(void) {
  Suite *s = suite_create("ir");
  TCase *c = tcase_create("ir");
  tcase_add_test(c, types);
  tcase_add_test(c, table_offsets);
  tcase_add_test(c, element_types);
  tcase_add_test(c, table_rows);
  tcase_add_loop_test(c, messages, 0, LT_COUNT(mistakes));
  tcase_add_test(c, printing);
  tcase_add_test(c, texts);
  tcase_add_test(c, equality);
  tcase_add_loop_test(c, verifying, 0, LT_COUNT(damages));
  tcase_add_test(c, tensors);
  tcase_add_test(c, random_numbers);
  tcase_add_test(c, initial_values);
  suite_add_tcase(s, c);
  return s;
}
LT_TEST_MAIN(ir)
