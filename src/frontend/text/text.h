/* text.h: tokens and the syntax tree of the text language.
 *
 * text → lex.c tokens → parse.c tree (lt_file) → elab.c graph, with eval.c for what is fixed when the network is built
 * (attributes, dimensions), scope.c for names, value.c for expressions that compute, block.c for blocks put in place of
 * their calls. The tree and everything else here lives in a scratch arena freed with the job; what a graph keeps is
 * copied into its own arena. */
#ifndef LT_TEXT_H
#define LT_TEXT_H
#include "frontend/attrs.h"
#include "frontend/names.h"

enum { LT_TEXT_MAX_NEST = 256 };

/* ---- tokens (lex.c) ------------------------------------------------------------------------------------------- */

typedef enum lt_token_kind {
  LT_T_END,
  LT_T_NAME,
  LT_T_QUOTED,
  LT_T_KEYWORD,
  LT_T_INT,
  LT_T_FLOAT,
  LT_T_STRING,
  LT_T_ARROW,
  LT_T_RANGE,
  LT_T_CHAR
} lt_token_kind;

typedef struct lt_token {
  lt_token_kind kind;
  char ch; /* LT_T_CHAR: one of ( ) { } [ ] , : = + - * / @ */
  lt_pos pos;
  /* as written; QUOTED and STRING: decoded; in the arena, NUL-terminated (not of CHAR, ARROW, RANGE) */
  const char *text;
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

/* sequential(x, relu, linear(out=10), …): no op, but a way of writing calls down (value.c, build/apply.c). */
static inline bool lt_is_sequence(const lt_expr *e) { return e->kind == LT_E_CALL && !strcmp(e->text, "sequential"); }

typedef struct lt_type_expr {
  lt_pos pos;
  lt_dtype dtype;
  uint32_t rank;
  const lt_expr *dim[LT_MAX_RANK];
} lt_type_expr;
typedef LT_VEC(lt_expr *) lt_notes; /* @key(…) as calls */
/* type NULL: not said */
typedef struct lt_target { const char *name; lt_pos pos; const lt_type_expr *type; lt_notes notes; } lt_target;
typedef LT_VEC(lt_target) lt_targets;

typedef enum lt_stmt_kind { LT_S_BIND, LT_S_LEAF, LT_S_UPDATE, LT_S_FOR } lt_stmt_kind;
typedef struct lt_stmt lt_stmt;
typedef LT_VEC(lt_stmt *) lt_stmts;
struct lt_stmt {
  lt_stmt_kind kind;
  lt_op leaf; /* LEAF: LT_OP_param, state or const */
  lt_pos pos;
  lt_targets targets;   /* BIND: what is bound; LEAF, UPDATE, FOR: one */
  const lt_expr *value; /* BIND, UPDATE; LEAF: the initial value; FOR: the first number */
  const lt_expr *to;    /* FOR: one past the last */
  lt_stmts body;        /* FOR */
  lt_notes notes;       /* BIND, LEAF; those of inputs stand in their target */
  uint32_t cost;        /* expressions it has, without those of its body */
};

typedef struct lt_block {
  const char *name;
  lt_pos pos;
  lt_targets operands, outs; /* types NULL */
  LT_VEC(lt_arg) attrs;      /* value NULL: no default */
  lt_stmts body;
  bool open;   /* being inlined right now: a call of it would be recursion */
  int weights; /* whether it makes weights: 0 not known yet, 1 no, 2 yes */
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
/* "a=1, b=[2, 3]": only named arguments, as a program gives them. */
lt_expr *lt_parse_attrs(lt_lexer *l, const char *op);
lt_expr *lt_parse_expr(lt_lexer *l); /* the whole text is one expression */

#endif
