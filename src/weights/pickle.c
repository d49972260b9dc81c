/* pickle.c: the machine (Python's Lib/pickletools.py describes the opcodes). */
#include "weights/pickle.h"

#include <inttypes.h>
#include <stdio.h>

enum { MAX_DIMS = 64 }; /* PyTorch's own limit; a tuple may stand for the shape of many tensors */

typedef enum global_kind { G_DICT, G_TENSOR, G_PARAMETER, G_STORAGE } global_kind;
struct lt_pickled_global { const char *module, *name; global_kind does; char kind; uint8_t size; };
static const lt_pickled_global globals[] = {
  {"collections", "OrderedDict", G_DICT, 0, 0},
  {"torch._utils", "_rebuild_tensor_v2", G_TENSOR, 0, 0},
  {"torch._utils", "_rebuild_parameter", G_PARAMETER, 0, 0},
  {"torch", "FloatStorage", G_STORAGE, 'f', 4},
  {"torch", "DoubleStorage", G_STORAGE, 'f', 8},
  {"torch", "HalfStorage", G_STORAGE, 'f', 2},
  {"torch", "BFloat16Storage", G_STORAGE, 'e', 2},
  {"torch", "LongStorage", G_STORAGE, 'i', 8},
  {"torch", "IntStorage", G_STORAGE, 'i', 4},
  {"torch", "ShortStorage", G_STORAGE, 'i', 2},
  {"torch", "CharStorage", G_STORAGE, 'i', 1},
  {"torch", "ByteStorage", G_STORAGE, 'u', 1},
  {"torch", "BoolStorage", G_STORAGE, 'b', 1},
};

typedef struct machine {
  lt_weights *w;
  const unsigned char *begin, *at, *end;
  LT_VEC(lt_pickled) stack;
  LT_VEC(uint32_t) marks; /* heights of the stack */
  LT_VEC(lt_pickled) memo;
  uint32_t made;
} machine;

#define FAIL(m, ...) lt_weights_fail((m)->w, LATHE_E_IO, "the pickle " __VA_ARGS__)

/* What is sound Python and not for us. The line of Python makes a file that is. */
#define REFUSE(m, fmt, ...) lt_weights_fail((m)->w, LATHE_E_UNSUPPORTED, fmt CONVERT, __VA_ARGS__, (m)->w->path)
#define CONVERT                                                                                                        \
  "\nhelp: where the file can be trusted, in Python: m = torch.load('%.100s', weights_only=False); "                   \
  "torch.save(getattr(m, 'state_dict', lambda: m.get('state_dict', m))(), 'weights.pth')"

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

static const unsigned char *take(machine *m, uint64_t n) {
  if ((uint64_t)(m->end - m->at) < n) FAIL(m, "ends inside an opcode (was the file cut off?)");
  m->at += n;
  return m->at - n;
}

static uint64_t take_number(machine *m, unsigned bytes) {
  const unsigned char *p = take(m, bytes);
  uint64_t v = 0;
  for (unsigned i = 0; i < bytes; i++) v |= (uint64_t)p[i] << 8 * i;
  return v;
}

/* ---- the stack --------------------------------------------------------------------------------------------------- */

static void push(machine *m, lt_pickled v) {
  if (m->made++ == LT_MAX_PICKLED) FAIL(m, "makes more than %d values", LT_MAX_PICKLED);
  lt_vec_push(m->w->arena, &m->stack, v);
}

static lt_pickled pop(machine *m) {
  uint32_t floor = m->marks.n ? m->marks.at[m->marks.n - 1] : 0;
  if (m->stack.n <= floor) FAIL(m, "takes a value where there is none (byte %td)", m->at - 1 - m->begin);
  return m->stack.at[--m->stack.n];
}

/* What was pushed since the last mark; it leaves the stack, and stays where it is until the next push. */
static uint32_t pop_mark(machine *m, const lt_pickled **items) {
  if (!m->marks.n) FAIL(m, "goes back to a mark that it has not set (byte %td)", m->at - 1 - m->begin);
  uint32_t at = m->marks.at[--m->marks.n], n = m->stack.n - at;
  *items = n ? m->stack.at + at : NULL;
  m->stack.n = at;
  return n;
}

static lt_pickled_items *top(machine *m, lt_pickled_kind kind) {
  uint32_t floor = m->marks.n ? m->marks.at[m->marks.n - 1] : 0;
  if (m->stack.n <= floor || m->stack.at[m->stack.n - 1].kind != kind)
    FAIL(m, "puts something into what is no %s (byte %td)", kind == LT_P_DICT ? "dictionary" : "list",
         m->at - 1 - m->begin);
  return m->stack.at[m->stack.n - 1].as.items;
}

static lt_pickled container(machine *m, lt_pickled_kind kind) {
  return (lt_pickled){.kind = kind, .as.items = LT_NEW(m->w->arena, lt_pickled_items)};
}

static void push_tuple(machine *m, const lt_pickled *items, uint32_t n) {
  lt_pickled *copy = LT_NEW_ARRAY(m->w->arena, lt_pickled, n + 1);
  if (n) memcpy(copy, items, n * sizeof *copy);
  push(m, (lt_pickled){.kind = LT_P_TUPLE, .n = n, .as.item = copy});
}

static void push_last_as_tuple(machine *m, uint32_t n) {
  lt_pickled items[3];
  for (uint32_t i = n; i-- > 0;) items[i] = pop(m);
  push_tuple(m, items, n);
}

static void put_items(machine *m, lt_pickled_kind kind) {
  const lt_pickled *items;
  uint32_t n = pop_mark(m, &items);
  lt_pickled_items *to = top(m, kind);
  if (kind == LT_P_DICT && n % 2) FAIL(m, "has a key without a value");
  for (uint32_t i = 0; i < n; i++) lt_vec_push(m->w->arena, &to->v, items[i]);
}

static void put_item(machine *m, lt_pickled_kind kind) {
  lt_pickled value = pop(m), key = kind == LT_P_DICT ? pop(m) : value;
  lt_pickled_items *to = top(m, kind);
  if (kind == LT_P_DICT) lt_vec_push(m->w->arena, &to->v, key);
  lt_vec_push(m->w->arena, &to->v, value);
}

/* ---- the memo: Python numbers its entries one after the other ---------------------------------------------------- */

static void memo_put(machine *m, uint64_t i) {
  lt_pickled v = pop(m);
  m->stack.n++;
  if (i > m->memo.n) FAIL(m, "keeps a value as number %" PRIu64 " where %u comes next", i, m->memo.n);
  if (i == LT_MAX_PICKLED) FAIL(m, "keeps more than %d values", LT_MAX_PICKLED);
  if (i == m->memo.n) lt_vec_push(m->w->arena, &m->memo, v);
  else m->memo.at[i] = v;
}

static void memo_get(machine *m, uint64_t i) {
  if (i >= m->memo.n) FAIL(m, "asks for value %" PRIu64 ", which it has not kept", i);
  push(m, m->memo.at[i]);
}

/* ---- atoms ------------------------------------------------------------------------------------------------------- */

static void push_int(machine *m, int64_t v) { push(m, (lt_pickled){.kind = LT_P_INT, .as.i = v}); }

static void push_text(machine *m) {
  uint64_t n = take_number(m, 4);
  const char *text = lt_arena_strndup(m->w->arena, (const char *)take(m, n), n);
  push(m, (lt_pickled){.kind = LT_P_TEXT, .n = (uint32_t)n, .as.text = text});
}

static void push_long(machine *m) {
  unsigned n = (unsigned)take_number(m, 1);
  if (n > 8) FAIL(m, "has a number of %u bytes; at most 8 are read", n);
  uint64_t v = take_number(m, n);
  push_int(m, n == 0 ? 0 : (int64_t)(v << (64 - 8 * n)) >> (64 - 8 * n));
}

static void push_double(machine *m) {
  const unsigned char *p = take(m, 8);
  uint64_t bits = 0;
  for (int i = 0; i < 8; i++) bits = bits << 8 | p[i];
  lt_pickled v = {.kind = LT_P_FLOAT};
  memcpy(&v.as.f, &bits, sizeof bits);
  push(m, v);
}

static const char *take_line(machine *m) {
  const unsigned char *from = m->at, *end = memchr(m->at, '\n', (size_t)(m->end - m->at));
  if (!end) FAIL(m, "ends inside a name (was the file cut off?)");
  m->at = end + 1;
  return lt_arena_strndup(m->w->arena, (const char *)from, LT_MIN((size_t)(end - from), (size_t)100));
}

static void push_global(machine *m) {
  const char *module = take_line(m), *name = take_line(m);
  for (size_t i = 0; i < LT_COUNT(globals); i++)
    if (!strcmp(globals[i].module, module) && !strcmp(globals[i].name, name)) {
      push(m, (lt_pickled){.kind = LT_P_GLOBAL, .as.global = &globals[i]});
      return;
    }
  REFUSE(m, "the file calls Python's `%s.%s`, which no dictionary of tensors needs: it is not run", module, name);
}

/* ---- what is called ---------------------------------------------------------------------------------------------- */

static bool is(const lt_pickled *tuple, uint32_t i, lt_pickled_kind kind) {
  return i < tuple->n && tuple->as.item[i].kind == kind;
}

static bool all_ints(const lt_pickled *tuple) {
  for (uint32_t i = 0; i < tuple->n; i++)
    if (tuple->as.item[i].kind != LT_P_INT) return false;
  return true;
}

static void push_tensor(machine *m, const lt_pickled *args) {
  const lt_pickled *a = args->as.item;
  if ((args->n != 6 && args->n != 7) || !is(args, 0, LT_P_STORAGE) || !is(args, 1, LT_P_INT) ||
      !is(args, 2, LT_P_TUPLE) || !is(args, 3, LT_P_TUPLE) || a[2].n != a[3].n)
    FAIL(m, "calls _rebuild_tensor_v2 with what is no tensor");
  if (a[2].n > MAX_DIMS) FAIL(m, "makes a tensor of %u dimensions; PyTorch's have at most %d", a[2].n, MAX_DIMS);
  if (!all_ints(&a[2]) || !all_ints(&a[3])) FAIL(m, "calls _rebuild_tensor_v2 with what is no tensor");
  lt_pickled_tensor *t = LT_NEW(m->w->arena, lt_pickled_tensor);
  *t = (lt_pickled_tensor){a[0].as.storage, a[1].as.i, a[2].n, a[2].as.item, a[3].as.item};
  push(m, (lt_pickled){.kind = LT_P_TENSOR, .as.tensor = t});
}

static void reduce(machine *m) {
  lt_pickled args = pop(m), called = pop(m);
  if (called.kind != LT_P_GLOBAL || args.kind != LT_P_TUPLE) FAIL(m, "calls what cannot be called");
  switch (called.as.global->does) {
    case G_DICT:
    if (args.n) FAIL(m, "calls OrderedDict with arguments");
    push(m, container(m, LT_P_DICT));
    return;
    case G_TENSOR: push_tensor(m, &args); return;
    case G_PARAMETER:
    if (args.n != 3 || !is(&args, 0, LT_P_TENSOR)) FAIL(m, "calls _rebuild_parameter with what is no parameter");
    push(m, args.as.item[0]);
    return;
    case G_STORAGE: FAIL(m, "calls %s", called.as.global->name);
  }
}

/* ('storage', type, key, device, number of elements) */
static void push_storage(machine *m) {
  lt_pickled id = pop(m);
  const lt_pickled *a = id.as.item;
  if (id.kind != LT_P_TUPLE || id.n != 5 || !is(&id, 0, LT_P_TEXT) || strcmp(a[0].as.text, "storage") ||
      !is(&id, 1, LT_P_GLOBAL) || a[1].as.global->does != G_STORAGE || !is(&id, 2, LT_P_TEXT) ||
      !is(&id, 4, LT_P_INT) || a[4].as.i < 0)
    FAIL(m, "refers to something outside that is no storage");
  lt_pickled_storage *s = LT_NEW(m->w->arena, lt_pickled_storage);
  *s = (lt_pickled_storage){a[2].as.text, a[1].as.global->kind, a[1].as.global->size, a[4].as.i};
  push(m, (lt_pickled){.kind = LT_P_STORAGE, .as.storage = s});
}

/* Attributes: an OrderedDict's are the versions of the modules, which nobody needs. */
static void build(machine *m) {
  pop(m);
  top(m, LT_P_DICT);
}

/* ---- opcodes ----------------------------------------------------------------------------------------------------- */

static const char *opcode_name(unsigned char op) {
  static const struct { unsigned char op; const char *name; } names[] = {
    {0x71, "BINPUT"},
    {'I', "INT"},
    {'L', "LONG"},
    {'F', "FLOAT"},
    {'S', "STRING"},
    {'T', "BINSTRING"},
    {'U', "SHORT_BINSTRING"},
    {'V', "UNICODE"},
    {'B', "BINBYTES"},
    {'C', "SHORT_BINBYTES"},
    {'d', "DICT"},
    {'l', "LIST"},
    {'i', "INST"},
    {'o', "OBJ"},
    {'p', "PUT"},
    {'g', "GET"},
    {'P', "PERSID"},
    {'0', "POP"},
    {'1', "POP_MARK"},
    {'2', "DUP"},
    {0x81, "NEWOBJ"},
    {0x82, "EXT1"},
    {0x83, "EXT2"},
    {0x84, "EXT4"},
    {0x8b, "LONG4"},
    {0x8c, "SHORT_BINUNICODE"},
    {0x8d, "BINUNICODE8"},
    {0x8e, "BINBYTES8"},
    {0x8f, "EMPTY_SET"},
    {0x90, "ADDITEMS"},
    {0x91, "FROZENSET"},
    {0x92, "NEWOBJ_EX"},
    {0x93, "STACK_GLOBAL"},
    {0x94, "MEMOIZE"},
    {0x95, "FRAME"},
    {0x96, "BYTEARRAY8"},
    {0x97, "NEXT_BUFFER"},
    {0x98, "READONLY_BUFFER"},
  };
  for (size_t i = 0; i < LT_COUNT(names); i++)
    if (names[i].op == op) return names[i].name;
  return "none";
}

static void take_protocol(machine *m) {
  uint64_t version = take_number(m, 1);
  if (version > 5) FAIL(m, "is of protocol %" PRIu64 "; 5 is the last that is known", version);
}

/* One opcode that keeps or makes values; false: another. */
static bool step_values(machine *m, unsigned char op) {
  switch (op) {
    case 'N': push(m, (lt_pickled){.kind = LT_P_NONE}); return true;
    case 0x88: case 0x89: push(m, (lt_pickled){.kind = LT_P_BOOL, .as.i = op == 0x88}); return true;
    case 'J': push_int(m, (int32_t)take_number(m, 4)); return true;
    case 'K': push_int(m, (int64_t)take_number(m, 1)); return true;
    case 'M': push_int(m, (int64_t)take_number(m, 2)); return true;
    case 0x8a: push_long(m); return true;
    case 'G': push_double(m); return true;
    case 'X': push_text(m); return true;
    case 'c': push_global(m); return true;
    case '}': push(m, container(m, LT_P_DICT)); return true;
    case ']': push(m, container(m, LT_P_LIST)); return true;
    case ')': push_tuple(m, NULL, 0); return true;
    case 'h': memo_get(m, take_number(m, 1)); return true;
    case 'j': memo_get(m, take_number(m, 4)); return true;
    case 'q': memo_put(m, take_number(m, 1)); return true;
    case 'r': memo_put(m, take_number(m, 4)); return true;
  default: return false;
  }
}

/* One opcode that works on the stack; false: another. */
static bool step_stack(machine *m, unsigned char op) {
  const lt_pickled *items;
  uint32_t n;
  switch (op) {
    case 0x80: take_protocol(m); return true;
    case '(':
    if (m->marks.n == LT_MAX_PICKLED) FAIL(m, "sets more than %d marks", LT_MAX_PICKLED);
    lt_vec_push(m->w->arena, &m->marks, m->stack.n);
    return true;
    case 't': n = pop_mark(m, &items), push_tuple(m, items, n); return true;
    case 0x85: case 0x86: case 0x87: push_last_as_tuple(m, op - 0x84u); return true;
    case 's': put_item(m, LT_P_DICT); return true;
    case 'u': put_items(m, LT_P_DICT); return true;
    case 'a': put_item(m, LT_P_LIST); return true;
    case 'e': put_items(m, LT_P_LIST); return true;
    case 'R': reduce(m); return true;
    case 'Q': push_storage(m); return true;
    case 'b': build(m); return true;
  default: return false;
  }
}

lt_pickled lt_pickle_read(lt_weights *w, lt_bytes b) {
  machine m = {.w = w, .begin = b.at, .at = b.at, .end = b.at + b.n};
  if (b.n > LT_MAX_PICKLE_BYTES) FAIL(&m, "has %zu bytes, at most %d are read", b.n, LT_MAX_PICKLE_BYTES);
  for (;;) {
    unsigned char op = *take(&m, 1);
    if (op == '.') break;
    if (!step_values(&m, op) && !step_stack(&m, op))
      REFUSE(&m, "the pickle has opcode 0x%02x (%s), which no dictionary of tensors needs", op, opcode_name(op));
  }
  if (m.at != m.end) FAIL(&m, "goes on for %td bytes after its end", m.end - m.at);
  lt_pickled v = pop(&m);
  if (m.stack.n || m.marks.n) FAIL(&m, "ends with values that nobody took");
  return v;
}
