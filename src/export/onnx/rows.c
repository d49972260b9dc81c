/* rows.c: the table of export_ops.def, the pass that writes a graph in ops that have a form in ONNX, and its page. */
#include "export/onnx/writer.h"
#include "ir/op_util.h"

/* ---- the table --------------------------------------------------------------------------------------------------- */

static bool expand(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  if (!r->to->origin) r->to->origin = lt_op_table[n->op].name;
  lt_expand(r->to, n, in, &r->map[n->out]);
  return true;
}

static void put_plain(lt_ow *w, const lt_node *n) {
  lt_ow_begin(w, lt_ow_row_of(n->op)->plain);
  for (unsigned i = 0; i < n->n_in; i++) lt_ow_arg(w, lt_ow_in(w, i));
  lt_ow_end(w, lt_ow_out(w));
}

#define SPELL__(op) NULL
#define SPELL_EXPAND(op) expand
#define SPELL_OWN(op) lt_spell_##op
#define PUT__(op) NULL
#define PUT_PLAIN(op) put_plain
#define PUT_OWN(op) lt_put_##op

static const lt_ow_row rows[] = {
#define EXPORT(op, spell, put, plain, doc) {SPELL_##spell(op), PUT_##put(op), plain, doc},
#include "export/onnx/export_ops.def"
};

enum {
#define EXPORT(op, ...) ROW_##op,
#include "export/onnx/export_ops.def"
};

static const uint8_t row_of[LT_OPS] = {
#define OP(name, ...) [LT_OP_##name] = ROW_##name,
#include "ir/ops.def"
};

const lt_ow_row *lt_ow_row_of(lt_op op) { return &rows[row_of[op]]; }

void lt_onnx_export_doc(lt_str *out) {
  lt_str_puts(out, "| op | becomes |\n|---|---|\n");
  for (int op = 1; op < LT_OPS; op++)
    lt_str_printf(out, "| %s | %s |\n", lt_op_table[op].name, lt_ow_row_of((lt_op)op)->doc);
}

/* ---- the pass ---------------------------------------------------------------------------------------------------- */

static bool visit(lt_rewrite *r, const lt_node *n, const lt_value *in) {
  const lt_ow_row *row = lt_ow_row_of(n->op);
  bool changed = row->spell && row->spell(r, n, in);
  *(bool *)r->ctx |= changed;
  return changed;
}

/* What a node is written in may have to be written in others itself; none of them is written in one that stood before
 * it, so this ends. */
lt_graph *lt_onnx_spell(lt_job *job, const lt_graph *from) {
  lt_graph *last = NULL;
  for (bool changed = true; changed;) {
    const lt_graph *g = last ? last : from;
    lt_graph *to = lt_graph_new(job, g->name);
    to->mode = g->mode, to->max_bytes = g->max_bytes;
    changed = false;
    lt_rewrite_graph(to, g, visit, &changed);
    lt_graph_drop(job, last);
    last = to;
  }
  return last;
}
