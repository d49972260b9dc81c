/* parse.c: tokens → syntax tree, by recursive descent with two tokens of lookahead.
 *
 *   file    = ["lathe" INT] { block | network }
 *   block   = "block" NAME "(" [param {"," param}] ")" "->" NAME {"," NAME} body       param = NAME ["=" [expr]]
 *   network = "network" NAME ["[" NAME "=" expr {"," …} "]"] "(" [NAME ":" type {"," …}] ")" "->" NAME {"," NAME} body
 *   body    = "{" { stmt } "}"
 *   stmt    = ("param" | "state" | "const") NAME ":" type "=" expr notes
 *           | "update" NAME "=" expr | "for" NAME "in" expr ".." expr body
 *           | NAME [":" type] {"," NAME [":" type]} "=" expr notes                     notes = {"@" NAME ["(" args
 * ")"]} expr    = term {("+" | "-") term}   term = unary {("*" | "/") unary}   unary = "-" unary | primary primary =
 * NUMBER | STRING | NAME ["(" args ")"] | "(" expr ")" | "[" [expr {"," expr}] "]" args    = [NAME "="] expr {"," …}
 *
 * What an expression means (a value or an attribute) is decided in elab.c. Recursion is bounded by LT_TEXT_MAX_NEST;
 * chains of operators are flat, so their length costs no stack. */
#include "frontend/layers.h"
#include "frontend/text/text.h"

#include <stdio.h>

enum { MAX_EXPRS = 1 << 24, MAX_LOOPS = 64 };

typedef struct parser {
  lt_lexer *lex;
  lt_arena *arena;
  lt_token tok, ahead; /* the current token and the one after it */
  int nest, loops;     /* how deep we are */
  uint32_t exprs;
} parser;

static void fail_at(const parser *p, lt_pos pos, const char *fmt, ...) LT_PRINTF(3, 4) LT_NORETURN;
static void fail_at(const parser *p, lt_pos pos, const char *fmt, ...) {
  lt_loc loc = lt_loc_at(p->lex->file, pos);
  va_list ap;
  va_start(ap, fmt);
  lt_failv(p->lex->job, LATHE_E_PARSE, &loc, fmt, ap);
}

static void advance(parser *p) {
  p->tok = p->ahead;
  lt_lex_next(p->lex, &p->ahead);
}

static void start(parser *p, lt_lexer *lex) {
  *p = (parser){.lex = lex, .arena = lex->arena};
  lt_lex_next(lex, &p->tok);
  lt_lex_next(lex, &p->ahead);
}

static bool is_char(const lt_token *t, char c) { return t->kind == LT_T_CHAR && t->ch == c; }
static bool is_word(const lt_token *t, const char *w) { return t->kind == LT_T_KEYWORD && strcmp(t->text, w) == 0; }
static bool is_name(const lt_token *t) { return t->kind == LT_T_NAME || t->kind == LT_T_QUOTED; }

static bool accept(parser *p, char c) {
  if (!is_char(&p->tok, c)) return false;
  advance(p);
  return true;
}

LT_NORETURN static void fail_expected(const parser *p, const char *what) {
  fail_at(p, p->tok.pos, "expected %s, found %s", what, lt_token_text(p->arena, &p->tok));
}

static void expect(parser *p, char c, const char *where) {
  if (!accept(p, c)) fail_expected(p, lt_arena_printf(p->arena, "`%c` %s", c, where));
}

static bool is_literal_word(const char *s) { return !strcmp(s, "none") || !strcmp(s, "true") || !strcmp(s, "false"); }

/* A name that is being given to something. */
static const char *new_name(parser *p, const char *what) {
  if (p->tok.kind == LT_T_KEYWORD) {
    fail_at(p, p->tok.pos, "expected %s, found the reserved word `%s`\nhelp: write it in backticks to use it as a name",
            what, p->tok.text);
  }
  if (!is_name(&p->tok)) fail_expected(p, what);
  if (p->tok.kind == LT_T_NAME && is_literal_word(p->tok.text)) {
    fail_at(p, p->tok.pos, "`%s` is a literal and cannot be %s\nhelp: write it in backticks to use it as a name",
            p->tok.text, what);
  }
  const char *name = p->tok.text;
  advance(p);
  return name;
}

/* ---- expressions ---------------------------------------------------------------------------------------------- */

static lt_expr *parse_expr(parser *p);

static lt_expr *new_expr(parser *p, lt_expr_kind kind, lt_pos pos) {
  if (++p->exprs > MAX_EXPRS) fail_at(p, pos, "the text has more than %d expressions", (int)MAX_EXPRS);
  lt_expr *e = LT_NEW(p->arena, lt_expr);
  e->kind = kind;
  e->pos = pos;
  return e;
}

static void enter(parser *p, const char *what) {
  if (++p->nest > LT_TEXT_MAX_NEST) {
    fail_at(p, p->tok.pos, "%s nest more than %d deep\nhelp: give an inner part a name: `h = …`", what,
            (int)LT_TEXT_MAX_NEST);
  }
}

static lt_arg parse_arg(parser *p, bool keyed) {
  lt_arg a = {.pos = p->tok.pos};
  if ((is_name(&p->tok) || p->tok.kind == LT_T_KEYWORD) && is_char(&p->ahead, '=')) {
    a.key = p->tok.text;
    advance(p);
    advance(p);
  } else if (keyed) {
    fail_at(p, p->tok.pos,
            "an operand cannot stand after a named argument\nhelp: put operands first, or write its name: `x=…`");
  }
  a.value = parse_expr(p);
  return a;
}

/* ( args ), the parenthesis being the current token. */
static void parse_args(parser *p, lt_expr *call) {
  LT_VEC(lt_arg) args = {0};
  enter(p, "calls");
  advance(p);
  while (!is_char(&p->tok, ')')) {
    lt_arg a = parse_arg(p, args.n && args.at[args.n - 1].key);
    lt_vec_push(p->arena, &args, a);
    if (!accept(p, ',')) break;
  }
  if (!accept(p, ')'))
    fail_expected(p, lt_arena_printf(p->arena, "`,` or `)` after an argument of `%.60s`", call->text));
  p->nest--;
  call->args = args.at;
  call->n = args.n;
}

static lt_expr *parse_list(parser *p) {
  lt_expr *e = new_expr(p, LT_E_LIST, p->tok.pos);
  LT_VEC(const lt_expr *) items = {0};
  enter(p, "lists");
  advance(p);
  while (!is_char(&p->tok, ']')) {
    const lt_expr *item = parse_expr(p);
    lt_vec_push(p->arena, &items, item);
    if (!accept(p, ',')) break;
  }
  if (!accept(p, ']')) fail_expected(p, "`,` or `]` after an element of the list");
  p->nest--;
  e->items = items.at;
  e->n = items.n;
  return e;
}

static lt_expr *parse_name(parser *p) {
  lt_token t = p->tok;
  bool word = t.kind == LT_T_NAME && is_literal_word(t.text);
  lt_expr *e = new_expr(p, word ? LT_E_WORD : LT_E_NAME, t.pos);
  e->text = t.text;
  e->quoted = t.kind == LT_T_QUOTED;
  advance(p);
  if (word || !is_char(&p->tok, '(')) return e;
  e->kind = LT_E_CALL;
  parse_args(p, e);
  return e;
}

static lt_expr *parse_primary(parser *p) {
  lt_token t = p->tok;
  if (is_name(&t)) return parse_name(p);
  if (t.kind == LT_T_INT || t.kind == LT_T_FLOAT || t.kind == LT_T_STRING) {
    lt_expr *e = new_expr(p, t.kind == LT_T_INT ? LT_E_INT : t.kind == LT_T_FLOAT ? LT_E_FLOAT : LT_E_STRING, t.pos);
    e->text = t.text;
    advance(p);
    return e;
  }
  if (is_char(&t, '[')) return parse_list(p);
  if (is_char(&t, '(')) {
    enter(p, "parentheses");
    advance(p);
    lt_expr *e = parse_expr(p);
    expect(p, ')', "after the expression");
    p->nest--;
    return e;
  }
  fail_expected(p, "an expression");
}

static lt_expr *parse_unary(parser *p) {
  lt_pos pos = p->tok.pos;
  if (!is_char(&p->tok, '-')) return parse_primary(p);
  enter(p, "signs");
  advance(p);
  const lt_expr **item = LT_NEW_ARRAY(p->arena, const lt_expr *, 1);
  item[0] = parse_unary(p);
  lt_expr *e = new_expr(p, LT_E_NEG, pos);
  e->items = item;
  e->n = 1;
  p->nest--;
  return e;
}

static bool is_operator(const lt_token *t, bool product) {
  return product ? is_char(t, '*') || is_char(t, '/') : is_char(t, '+') || is_char(t, '-');
}

static lt_expr *parse_chain(parser *p, bool product) {
  lt_pos pos = p->tok.pos;
  lt_expr *first = product ? parse_unary(p) : parse_chain(p, true);
  if (!is_operator(&p->tok, product)) return first;
  LT_VEC(lt_term) terms = {0};
  lt_term term = {.pos = pos, .value = first};
  lt_vec_push(p->arena, &terms, term);
  while (is_operator(&p->tok, product)) {
    term = (lt_term){.op = p->tok.ch, .pos = p->tok.pos};
    advance(p);
    term.value = product ? parse_unary(p) : parse_chain(p, true);
    lt_vec_push(p->arena, &terms, term);
  }
  lt_expr *e = new_expr(p, LT_E_CHAIN, pos);
  e->terms = terms.at;
  e->n = terms.n;
  return e;
}

static lt_expr *parse_expr(parser *p) { return parse_chain(p, false); }

/* ---- types and statements -------------------------------------------------------------------------------------- */

static lt_dtype parse_dtype(parser *p) {
  static const char *const names[] = {"f32", "f64", "i32", "i64", "bool", NULL};
  static const char *const later[] = {"f16", "bf16", "i8", "u8"};
  lt_dtype t;
  if (!is_name(&p->tok)) fail_expected(p, "a type");
  const char *name = p->tok.text;
  for (size_t i = 0; i < LT_COUNT(later); i++)
    if (!strcmp(name, later[i]))
      fail_at(p, p->tok.pos, "the type `%s` is reserved, but not supported yet\nhelp: f32 f64 i32 i64 bool are", name);
  if (!lt_dtype_parse(&t, name, strlen(name))) {
    static const char *const others[][2] = {{"float", "f32"}, {"float32", "f32"}, {"double", "f64"}, {"float64", "f64"},
                                            {"int", "i32"},   {"int32", "i32"},   {"int64", "i64"},  {"long", "i64"}};
    const char *near = lt_nearest(name, names);
    for (size_t i = 0; i < LT_COUNT(others); i++)
      if (!strcmp(name, others[i][0])) near = others[i][1];
    fail_at(p, p->tok.pos, near ? "unknown type `%s`\nhelp: did you mean `%s`?" : "unknown type `%s`\nhelp: %s", name,
            near ? near : "the types are f32 f64 i32 i64 bool");
  }
  advance(p);
  return t;
}

static lt_type_expr *parse_type(parser *p) {
  lt_type_expr *t = LT_NEW(p->arena, lt_type_expr);
  t->pos = p->tok.pos;
  t->dtype = parse_dtype(p);
  if (!accept(p, '[')) return t;
  while (!is_char(&p->tok, ']')) {
    if (t->rank == LT_MAX_RANK) fail_at(p, p->tok.pos, "a type has at most %d dimensions", (int)LT_MAX_RANK);
    t->dim[t->rank++] = parse_expr(p);
    if (!accept(p, ',')) break;
  }
  expect(p, ']', "after the dimensions");
  return t;
}

static lt_target parse_target(parser *p, bool typed, const char *what) {
  lt_target t = {.pos = p->tok.pos};
  t.name = new_name(p, what);
  if (typed && accept(p, ':')) t.type = parse_type(p);
  return t;
}

static void parse_notes(parser *p, lt_notes *out) {
  while (accept(p, '@')) {
    if (!is_name(&p->tok)) fail_expected(p, "a note's name");
    lt_expr *note = new_expr(p, LT_E_CALL, p->tok.pos);
    note->text = p->tok.text;
    advance(p);
    if (is_char(&p->tok, '(')) parse_args(p, note);
    lt_vec_push(p->arena, out, note);
  }
}

static void parse_body(parser *p, lt_stmts *out);

static void parse_leaf(parser *p, lt_stmt *s) {
  const char *kind = p->tok.text;
  s->kind = LT_S_LEAF;
  s->leaf = lt_op_find(kind, strlen(kind));
  advance(p);
  lt_target t = parse_target(p, true, lt_arena_printf(p->arena, "the name of a %s", kind));
  if (!t.type)
    fail_at(p, p->tok.pos, "%s `%s` has no type\nhelp: write `%s %s: f32[…] = …`", kind, t.name, kind, t.name);
  if (!accept(p, '=')) {
    fail_at(
      p, p->tok.pos,
      "%s `%s` has no initial value\nhelp: write `= zeros()`, ones(), normal(scale=), uniform(lo=, hi=) or numbers",
      kind, t.name);
  }
  lt_vec_push(p->arena, &s->targets, t);
  s->value = parse_expr(p);
  parse_notes(p, &s->notes);
}

static void parse_for(parser *p, lt_stmt *s) {
  s->kind = LT_S_FOR;
  advance(p);
  lt_target t = parse_target(p, false, "the name of the loop's variable");
  lt_vec_push(p->arena, &s->targets, t);
  if (!is_word(&p->tok, "in")) fail_expected(p, "`in`");
  advance(p);
  s->value = parse_expr(p);
  if (p->tok.kind != LT_T_RANGE) fail_expected(p, "`..` and the number past the last");
  advance(p);
  s->to = parse_expr(p);
  s->cost = p->exprs - s->cost;
  if (++p->loops > MAX_LOOPS) fail_at(p, s->pos, "loops nest more than %d deep", (int)MAX_LOOPS);
  parse_body(p, &s->body);
  p->loops--;
}

static void parse_bind(parser *p, lt_stmt *s) {
  s->kind = LT_S_BIND;
  if (is_name(&p->tok) && is_char(&p->ahead, '(')) {
    fail_at(p, p->tok.pos, "the result of `%s` is not used\nhelp: bind it: `y = %s(…)`", p->tok.text, p->tok.text);
  }
  do {
    lt_target t = parse_target(p, true, "the name of a value");
    lt_vec_push(p->arena, &s->targets, t);
  } while (accept(p, ','));
  if (!accept(p, '=')) {
    lt_target *t = &s->targets.at[0];
    if (!strcmp(t->name, "return")) {
      fail_at(p, t->pos,
              "`return` begins no statement\nhelp: outputs are named after `->` in the first line and bound like any "
              "other value");
    }
    if (s->targets.n == 1 && !t->type) {
      fail_at(p, t->pos,
              "`%s` begins no statement\nhelp: a statement is `y = …`, `param`, `state`, `const`, `update` or `for`",
              t->name);
    }
    fail_expected(p, "`=`");
  }
  s->value = parse_expr(p);
  parse_notes(p, &s->notes);
}

static void parse_update(parser *p, lt_stmt *s) {
  s->kind = LT_S_UPDATE;
  advance(p);
  lt_target t = parse_target(p, false, "the name of a param or state");
  lt_vec_push(p->arena, &s->targets, t);
  expect(p, '=', "after the name");
  s->value = parse_expr(p);
}

static lt_stmt *parse_stmt(parser *p) {
  lt_stmt *s = LT_NEW(p->arena, lt_stmt);
  s->pos = p->tok.pos;
  s->cost = p->exprs;
  if (p->tok.kind == LT_T_KEYWORD && (is_char(&p->ahead, '=') || is_char(&p->ahead, ':')))
    new_name(p, "the name of a value");
  if (is_word(&p->tok, "param") || is_word(&p->tok, "state") || is_word(&p->tok, "const")) parse_leaf(p, s);
  else if (is_word(&p->tok, "update")) parse_update(p, s);
  else if (is_word(&p->tok, "for")) parse_for(p, s);
  else if (is_word(&p->tok, "if") || is_word(&p->tok, "else"))
    fail_at(p, s->pos, "`%s` is reserved, but not supported yet", p->tok.text);
  else if (is_name(&p->tok)) parse_bind(p, s);
  else fail_expected(p, "a statement or `}`");
  if (s->kind != LT_S_FOR) s->cost = p->exprs - s->cost;
  return s;
}

static void parse_body(parser *p, lt_stmts *out) {
  int line = p->tok.pos.line;
  expect(p, '{', "before the statements");
  while (!is_char(&p->tok, '}')) {
    if (p->tok.kind == LT_T_END)
      fail_at(p, p->tok.pos, "expected `}`, found the end of the text\nhelp: the `{` on line %d is not closed", line);
    lt_stmt *s = parse_stmt(p);
    lt_vec_push(p->arena, out, s);
  }
  advance(p);
}

/* ---- blocks and networks ---------------------------------------------------------------------------------------- */

static void parse_outs(parser *p, lt_targets *outs, const char *what) {
  if (p->tok.kind != LT_T_ARROW) fail_expected(p, lt_arena_printf(p->arena, "`->` and the outputs of the %s", what));
  advance(p);
  if (is_char(&p->tok, '{')) return; /* none: a dump of a graph that only updates */
  do {
    lt_target t = parse_target(p, false, "the name of an output");
    for (uint32_t i = 0; i < outs->n; i++)
      if (!strcmp(outs->at[i].name, t.name)) fail_at(p, t.pos, "the output `%s` is given twice", t.name);
    lt_vec_push(p->arena, outs, t);
  } while (accept(p, ','));
}

static void check_block_name(parser *p, const lt_block *b, const char *name, lt_pos pos) {
  if (!strcmp(name, "name")) {
    fail_at(p, pos, "block `%s` cannot have an attribute `name`\nhelp: every block has it: it names the instance",
            b->name);
  }
  bool twice = false;
  for (uint32_t i = 0; i < b->operands.n; i++) twice |= !strcmp(b->operands.at[i].name, name);
  for (uint32_t i = 0; i < b->attrs.n; i++) twice |= !strcmp(b->attrs.at[i].key, name);
  if (twice) fail_at(p, pos, "block `%s` has `%s` twice", b->name, name);
}

static void parse_block_params(parser *p, lt_block *b) {
  expect(p, '(', "and the block's operands");
  while (!is_char(&p->tok, ')')) {
    lt_target t = parse_target(p, false, "the name of an operand or attribute");
    check_block_name(p, b, t.name, t.pos);
    if (accept(p, '=')) {
      lt_arg a = {.key = t.name, .pos = t.pos};
      if (!is_char(&p->tok, ',') && !is_char(&p->tok, ')')) a.value = parse_expr(p);
      lt_vec_push(p->arena, &b->attrs, a);
    } else {
      if (b->attrs.n)
        fail_at(p, t.pos,
                "the operand `%s` stands after an attribute\nhelp: operands come first; an attribute is `%s=`", t.name,
                t.name);
      lt_vec_push(p->arena, &b->operands, t);
    }
    if (!accept(p, ',')) break;
  }
  expect(p, ')', "after the block's operands");
}

static void parse_block(parser *p, lt_file *f) {
  lt_block *b = LT_NEW(p->arena, lt_block);
  advance(p);
  b->pos = p->tok.pos;
  b->name = new_name(p, "the name of a block");
  uintptr_t old;
  if (lt_map_gets(&f->block, b->name, &old))
    fail_at(p, b->pos, "there is a block `%s` already, on line %d", b->name, (int)((lt_block *)old)->pos.line);
  if (lt_op_find(b->name, strlen(b->name)) || lt_layer_find(b->name, strlen(b->name)) || !strcmp(b->name, "sequential"))
    fail_at(p, b->pos, "`%s` is an op and cannot be the name of a block", b->name);
  lt_map_puts(p->arena, &f->block, b->name, (uintptr_t)b);
  parse_block_params(p, b);
  parse_outs(p, &b->outs, "block");
  parse_body(p, &b->body);
  lt_vec_push(p->arena, &f->blocks, b);
}

static void parse_dims(parser *p, lt_network *n) {
  do {
    lt_arg d = {.pos = p->tok.pos};
    d.key = new_name(p, "the name of a dimension");
    for (uint32_t i = 0; i < n->dims.n; i++)
      if (!strcmp(n->dims.at[i].key, d.key)) fail_at(p, d.pos, "the dimension `%s` is given twice", d.key);
    if (!accept(p, '=')) fail_at(p, p->tok.pos, "the dimension `%s` has no value\nhelp: write `%s=1`", d.key, d.key);
    d.value = parse_expr(p);
    lt_vec_push(p->arena, &n->dims, d);
  } while (accept(p, ',') && !is_char(&p->tok, ']'));
  expect(p, ']', "after the dimensions");
}

static void parse_inputs(parser *p, lt_network *n) {
  expect(p, '(', "and the network's inputs");
  while (!is_char(&p->tok, ')')) {
    lt_target t = parse_target(p, true, "the name of an input");
    if (!t.type) fail_at(p, p->tok.pos, "the input `%s` has no type\nhelp: write `%s: f32[…]`", t.name, t.name);
    for (uint32_t i = 0; i < n->inputs.n; i++)
      if (!strcmp(n->inputs.at[i].name, t.name)) fail_at(p, t.pos, "the input `%s` is given twice", t.name);
    parse_notes(p, &t.notes);
    lt_vec_push(p->arena, &n->inputs, t);
    if (!accept(p, ',')) break;
  }
  expect(p, ')', "after the network's inputs");
}

static void parse_network(parser *p, lt_file *f) {
  lt_network *n = LT_NEW(p->arena, lt_network);
  advance(p);
  n->pos = p->tok.pos;
  n->name = new_name(p, "the name of a network");
  for (uint32_t i = 0; i < f->networks.n; i++)
    if (!strcmp(f->networks.at[i]->name, n->name))
      fail_at(p, n->pos, "there is a network `%s` already, on line %d", n->name, (int)f->networks.at[i]->pos.line);
  if (accept(p, '[')) parse_dims(p, n);
  parse_inputs(p, n);
  parse_outs(p, &n->outs, "network");
  parse_body(p, &n->body);
  lt_vec_push(p->arena, &f->networks, n);
}

static void parse_version(parser *p) {
  if (!is_word(&p->tok, "lathe")) return;
  advance(p);
  if (p->tok.kind != LT_T_INT) fail_expected(p, "the version of the language, `lathe 1`");
  if (strcmp(p->tok.text, "1"))
    fail_at(p, p->tok.pos, "this is version %s of the language\nhelp: this Lathe reads version 1", p->tok.text);
  advance(p);
}

lt_file *lt_parse_file(lt_lexer *lex) {
  parser p;
  start(&p, lex);
  lt_file *f = LT_NEW(p.arena, lt_file);
  parse_version(&p);
  while (p.tok.kind != LT_T_END) {
    if (is_word(&p.tok, "block")) parse_block(&p, f);
    else if (is_word(&p.tok, "network")) parse_network(&p, f);
    else if (is_word(&p.tok, "import")) fail_at(&p, p.tok.pos, "`import` is reserved, but not supported yet");
    else fail_expected(&p, "`network` or `block`");
  }
  if (!f->networks.n)
    fail_at(&p, p.tok.pos, "the text has no network\nhelp: write `network NAME(x: f32[…]) -> y { … }`");
  f->exprs = p.exprs;
  return f;
}

lt_expr *lt_parse_attrs(lt_lexer *lex, const char *op) {
  parser p;
  start(&p, lex);
  lt_expr *call = new_expr(&p, LT_E_CALL, p.tok.pos);
  call->text = op;
  LT_VEC(lt_arg) args = {0};
  while (p.tok.kind != LT_T_END) {
    if (!is_char(&p.ahead, '=')) fail_expected(&p, "an attribute, `name=value`");
    lt_arg a = parse_arg(&p, true);
    lt_vec_push(p.arena, &args, a);
    if (!accept(&p, ',')) break;
  }
  if (p.tok.kind != LT_T_END) fail_expected(&p, "`,` or the end of the attributes");
  call->args = args.at;
  call->n = args.n;
  return call;
}

lt_expr *lt_parse_expr(lt_lexer *lex) {
  parser p;
  start(&p, lex);
  lt_expr *e = parse_expr(&p);
  if (p.tok.kind != LT_T_END) fail_expected(&p, "the end of the text");
  return e;
}
