/* embed.c: constants and weights in an object. Their bytes never pass through LLVM: their global is a mark and zeros,
 * and the finished object is searched for the mark (it stands there once, in one piece, in every format) and written
 * over.
 *
 * In two cases LLVM has the bytes all the same: they are fewer than a mark has, or a text is made, which has to say
 * them (weights are in no text). */
#include "codegen/module.h"

enum { MARK = 32 };

/* Not a text that anything else would contain: 32 bytes of a counter-based generator, another for each place. */
static void mark_of(unsigned char *mark, unsigned place) {
  for (unsigned i = 0; i < MARK; i++)
    mark[i] = (unsigned char)(lt_random_u32(0x4C61746865, 77, (uint64_t)place * MARK + i) >> 13);
}

static void write_bytes(const lt_embedding *x, unsigned char *to) {
  if (x->raw) {
    memcpy(to, x->raw, (size_t)x->bytes);
    return;
  }
  for (uint32_t i = 0; i < x->n; i++) lt_data_write(x->piece[i].data, to + x->piece[i].offset);
}

static LLVMValueRef bytes_in_llvm(lt_module *m, const lt_embedding *x) {
  unsigned char *all = lt_arena_zalloc(m->l.arena, (size_t)x->bytes);
  write_bytes(x, all);
  return LLVMConstStringInContext2(m->l.ctx, (const char *)all, (size_t)x->bytes, true);
}

static LLVMValueRef marked(lt_module *m, const lt_embedding *x) {
  unsigned char mark[MARK];
  mark_of(mark, m->embedding.n);
  lt_vec_push(m->l.arena, &m->embedding, *x);
  LLVMValueRef first = LLVMConstStringInContext2(m->l.ctx, (const char *)mark, MARK, true);
  LLVMValueRef rest = LLVMConstNull(LLVMArrayType2(m->l.i8, (uint64_t)x->bytes - MARK));
  return LLVMConstStructInContext(m->l.ctx, (LLVMValueRef[]){first, rest}, 2, true);
}

LLVMValueRef lt_embed(lt_module *m, const char *name, lt_embedding x) {
  if (x.bytes > INT32_MAX) /* what code can reach in every code model */
    lt_fail(m->l.job, LATHE_E_UNSUPPORTED, NULL,
            "constants of more than 2 GiB cannot stand in code\nhelp: make them params");
  LLVMValueRef all = x.bytes < MARK || m->text ? bytes_in_llvm(m, &x) : marked(m, &x);
  LLVMValueRef g = LLVMAddGlobal(m->l.mod, LLVMTypeOf(all), name);
  LLVMSetInitializer(g, all);
  LLVMSetGlobalConstant(g, true);
  LLVMSetAlignment(g, LT_ALIGN);
  LLVMSetLinkage(g, LLVMInternalLinkage);
  return g;
}

static unsigned char *find_mark(unsigned char *from, unsigned char *end, const unsigned char *mark) {
  for (unsigned char *p = from; end - p >= MARK; p++) {
    p = memchr(p, mark[0], (size_t)(end - p - MARK + 1));
    if (!p) return NULL;
    if (memcmp(p, mark, MARK) == 0) return p;
  }
  return NULL;
}

/* NULL: not there, more than once, or not followed by its zeros. */
static unsigned char *place_of(unsigned char *object, size_t n, unsigned place, int64_t bytes) {
  unsigned char mark[MARK], *end = object + n;
  mark_of(mark, place);
  unsigned char *at = find_mark(object, end, mark);
  if (!at || end - at < bytes || find_mark(at + 1, end, mark)) return NULL;
  size_t zeros = (size_t)(bytes - MARK); /* all equal to the one before, and the first is zero */
  const unsigned char *first = at + MARK;
  return zeros && (*first || memcmp(first, first + 1, zeros - 1)) ? NULL : at;
}

/* All places are found first: what is written might hold anything. */
void lt_embed_write(lt_module *m, unsigned char *object, size_t n) {
  unsigned char **at = LT_NEW_ARRAY(m->l.arena, unsigned char *, m->embedding.n);
  for (unsigned i = 0; i < m->embedding.n; i++) {
    at[i] = place_of(object, n, i, m->embedding.at[i].bytes);
    if (!at[i]) lt_fail(m->l.job, LATHE_E_INTERNAL, NULL, "the place of embedded bytes cannot be found in the object");
  }
  for (unsigned i = 0; i < m->embedding.n; i++) {
    memset(at[i], 0, MARK);
    write_bytes(&m->embedding.at[i], at[i]);
  }
}
