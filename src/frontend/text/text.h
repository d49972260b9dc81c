/* text.h: inside the front end: tokens, the syntax tree, attribute values. Not for other layers (see frontend.h).
 *
 * text → lex.c tokens → parse.c tree (lt_file) → elab.c graph; attrs.c turns attribute expressions into typed structs,
 * layers.c makes layers, apply.c and form.c do for a program what value.c does for a text. The tree and everything else here lives in
 * a scratch arena freed with the job; what a graph keeps is copied into its own arena. */
#ifndef LT_TEXT_H
#define LT_TEXT_H
#include "frontend/frontend.h"

typedef struct lt_pos { int32_t line, column; } lt_pos; /* from 1, columns in bytes; line 0: no place */

/* ---- tokens (lex.c) ------------------------------------------------------------------------------------------- */

typedef enum lt_token_kind {
  LT_T_END, LT_T_NAME, LT_T_QUOTED, LT_T_KEYWORD, LT_T_INT, LT_T_FLOAT, LT_T_STRING, LT_T_ARROW, LT_T_RANGE, LT_T_CHAR
} lt_token_kind;

typedef struct lt_token {
  lt_token_kind kind;
  char ch;          /* LT_T_CHAR: one of ( ) { } [ ] , : = + - * / @ */
  lt_pos pos;
  const char *text; /* as written; QUOTED and STRING: decoded; in the arena, NUL-terminated (not of CHAR, ARROW, RANGE) */
} lt_token;

typedef struct lt_lexer {
  lt_job *job;
  lt_arena *arena;
  const char *file; /* NULL: attributes given by a program, which have no place */
  const char *at, *end, *line_start;
  int32_t line;
} lt_lexer;

void lt_lex_init(lt_lexer *l, lt_job *job, lt_arena *arena, const char *file, const char *text, size_t n);
void lt_lex_next(lt_lexer *l, lt_token *out);
/* How a token is called in messages: "`foo`", "the number 3", "the end of the text". */
const char *lt_token_text(lt_arena *a, const lt_token *t);
/* Strict, the same in every locale. false: out of range (or, for integers, not a whole number). */
bool lt_read_int(const char *text, bool negative, int64_t *out);
bool lt_read_double(const char *text, double *out);
bool lt_read_float(const char *text, float *out);

/* ---- the tree (parse.c) ---------------------------------------------------------------------------------------- */

typedef enum lt_expr_kind {
  LT_E_NAME,   /* text; quoted when it stood in backticks */
  LT_E_INT,    /* text */
  LT_E_FLOAT,  /* text */
  LT_E_STRING, /* text */
  LT_E_WORD,   /* none, true, false: text */
  LT_E_LIST,   /* items */
  LT_E_CALL,   /* text(args) */
  LT_E_CHAIN,  /* terms: a + b - c, or a * b / c */
  LT_E_NEG,    /* -items[0] */
  LT_E_VALUE   /* value: made in elaboration, never read: what goes into an element of a sequence */
} lt_expr_kind;

typedef struct lt_expr lt_expr;
typedef struct lt_arg { const char *key; lt_pos pos; const lt_expr *value; } lt_arg; /* key NULL: by position */
typedef struct lt_term { char op; lt_pos pos; const lt_expr *value; } lt_term;       /* op of the first: 0 */
struct lt_expr {
  lt_expr_kind kind;
  bool quoted;
  lt_pos pos;
  uint32_t n;
  const char *text;
  union { const lt_expr **items; lt_arg *args; lt_term *terms; lt_value value; };
};

/* sequential(x, relu, linear(out=10), …): no op, but a way of writing calls down (value.c, apply.c). */
static inline bool lt_is_sequence(const lt_expr *e) { return e->kind == LT_E_CALL && !strcmp(e->text, "sequential"); }

typedef struct lt_type_expr { lt_pos pos; lt_dtype dtype; uint32_t rank; const lt_expr *dim[LT_MAX_RANK]; } lt_type_expr;
typedef LT_VEC(lt_expr *) lt_notes; /* @key(…) as calls */
typedef struct lt_target { const char *name; lt_pos pos; const lt_type_expr *type; lt_notes notes; } lt_target; /* type NULL: not said */
typedef LT_VEC(lt_target) lt_targets;

typedef enum lt_stmt_kind { LT_S_BIND, LT_S_LEAF, LT_S_UPDATE, LT_S_FOR } lt_stmt_kind;
typedef struct lt_stmt lt_stmt;
typedef LT_VEC(lt_stmt *) lt_stmts;
struct lt_stmt {
  lt_stmt_kind kind;
  lt_op leaf;              /* LEAF: LT_OP_param, state or const */
  lt_pos pos;
  lt_targets targets;      /* BIND: what is bound; LEAF, UPDATE, FOR: one */
  const lt_expr *value;    /* BIND, UPDATE; LEAF: the initial value; FOR: the first number */
  const lt_expr *to;       /* FOR: one past the last */
  lt_stmts body;           /* FOR */
  lt_notes notes;          /* BIND, LEAF; those of inputs stand in their target */
  uint32_t cost;           /* expressions it has, without those of its body */
};

typedef struct lt_block {
  const char *name;
  lt_pos pos;
  lt_targets operands, outs; /* types NULL */
  LT_VEC(lt_arg) attrs;      /* value NULL: no default */
  lt_stmts body;
  bool open;                 /* being inlined right now: a call of it would be recursion */
  int weights;               /* whether it makes weights: 0 not known yet, 1 no, 2 yes */
} lt_block;

typedef struct lt_network {
  const char *name;
  lt_pos pos;
  LT_VEC(lt_arg) dims;
  lt_targets inputs, outs;
  lt_stmts body;
} lt_network;

typedef struct lt_file {
  LT_VEC(lt_block *) blocks;
  LT_VEC(lt_network *) networks;
  lt_map block;   /* name → lt_block */
  uint32_t exprs; /* how many there are in all */
} lt_file;

lt_file *lt_parse_file(lt_lexer *l);
/* "a=1, b=[2, 3]": only named arguments; for the C builder. */
lt_expr *lt_parse_attrs(lt_lexer *l, const char *op);
lt_expr *lt_parse_expr(lt_lexer *l); /* the whole text is one expression */

/* ---- attribute values (attrs.c) --------------------------------------------------------------------------------- */

typedef enum lt_attr_value_kind {
  LT_V_NONE, LT_V_BOOL, LT_V_INT, LT_V_FLOAT, LT_V_STRING, LT_V_WORD, LT_V_LIST, LT_V_CALL
} lt_attr_value_kind;
typedef struct lt_attr_value {
  lt_attr_value_kind kind;
  lt_pos pos;
  int64_t i;                         /* BOOL, INT */
  double f;                          /* INT, FLOAT */
  float s;                           /* the same rounded once, from the text */
  const char *text;                  /* STRING, WORD (f32, all, kernel) */
  const struct lt_attr_value *items; /* LIST */
  uint32_t n;
  const lt_expr *call;               /* CALL: an initial value */
} lt_attr_value;

/* What attribute expressions see: names of attributes, dimensions and loop variables. */
typedef struct lt_names_seen {
  lt_job *job;
  lt_arena *arena;
  const char *file;
  const struct lt_scope *scope; /* NULL: none are known */
} lt_names_seen;

const char *lt_attr_value_text(lt_arena *a, const lt_attr_value *v); /* for messages */
lt_loc lt_loc_at(const char *file, lt_pos pos);
void lt_attr_eval(const lt_names_seen *s, lt_attr_value *out, const lt_expr *e, const char *what);
int64_t lt_attr_eval_int(const lt_names_seen *s, const lt_expr *e, const char *what);
/* Put v into the place of the attribute in an attribute struct; op is for messages. Strings go into `keep`. */
void lt_attr_store(const lt_names_seen *s, lt_arena *keep, const char *op, const lt_attr_info *info, void *attrs, const lt_attr_value *v);
/* All attributes of a call: defaults, then args (those with a key that is an attribute), each once, none missing. */
typedef struct lt_attr_arg { const char *key; lt_pos pos; lt_attr_value value; } lt_attr_arg;
void lt_attrs_fill(const lt_names_seen *s, lt_arena *keep, const char *op, const lt_attr_info *infos, unsigned n_infos,
  void *attrs, const lt_attr_arg *args, unsigned n_args, lt_pos pos);
/* The fields of a program's struct that are not left zero (form.c). */
lt_attr_arg *lt_form_args(const lt_names_seen *s, const lathe_form *form, const void *values, unsigned *n);
lt_init lt_init_eval(const lt_names_seen *s, lt_arena *keep, const lt_type *t, const lt_expr *e, const char *what);
/* The attribute called name, or NULL; *is_value when the name is that of a value (scope.c). */
const lt_attr_value *lt_scope_attr(const struct lt_scope *s, const char *name, bool *is_value);

/* ---- calls (layers.c) -------------------------------------------------------------------------------------------- */

/* Take a name for a layer (or, in `keys`, for a stream of random numbers). Exact: as it is, or fail; else with .1, .2 … */
const char *lt_namer_take(lt_graph *g, lt_name_table *t, const char *name, bool exact);
/* Keep PREFIX0 … for the n elements of a sequence, so that nothing else is numbered into them. */
void lt_namer_reserve(lt_graph *g, lt_name_table *t, const char *prefix, size_t n);

/* One op, layer or composite with everything evaluated. */
typedef struct lt_text_call {
  const char *text;   /* as written */
  lt_op op;           /* one of these two is not none */
  lt_layer layer;
  const char *name;   /* of the layer, or given to the op; NULL: none */
  const char *key;    /* of a dropout */
  lt_pos pos;
} lt_text_call;
/* Which op or layer a call means, given whether an argument called so is there. */
void lt_call_resolve(lt_text_call *out, const char *text, bool (*has)(const void *ctx, const char *key), const void *ctx, unsigned by_position);
const char *lt_call_operands(const lt_text_call *c); /* "x W b?" */
bool lt_call_needs_name(const lt_text_call *c);      /* makes weights */
lt_value lt_call_emit(const lt_names_seen *s, lt_graph *g, const lt_text_call *c, const lt_value *in, unsigned n_in, const lt_attr_arg *args,
  unsigned n_args);
unsigned lt_result_count(const lt_graph *g, lt_value first);
/* more: further names that could have been meant (layers, blocks); NULL: a program asked. */
LT_NORETURN void lt_fail_unknown_op(lt_job *job, const lt_loc *loc, const char *name, const char *const *more);

#endif
