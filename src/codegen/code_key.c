/* code_key.c: everything that code in this process depends on, as a text of bytes: equal keys, equal objects.
 *
 *   the program    build ids of Lathe and of LLVM, LLVM's version: any change of the emitters is another key
 *   the machine    every field of lt_target
 *   each entry     its symbol, how it is called, whether kernels can be stepped; of its plan: slots, buffers with their
 *                  places, kernels (lt_kernel_key) with their buffers and what decides whether threads are worth it,
 *                  checks of indices, constants by their bytes, sizes, what images must say of themselves
 *
 * What passes and options change, they change in the plan. The sizes of the structs are written down here: who adds a
 * field has to say whether code depends on it. */
#include "codegen/module.h"
#include "plan/kinds.h"
#ifdef __linux__
#include <link.h>
#endif

#define SAME_FIELDS(T, bytes)                                                                                          \
  _Static_assert(sizeof(void *) != 8 || sizeof(T) == (bytes), #T " has another field: does code depend on it?")
SAME_FIELDS(lt_target, 96);
SAME_FIELDS(lt_module_entry, 32);
SAME_FIELDS(lt_plan, 160);
SAME_FIELDS(lt_slot, 112);
SAME_FIELDS(lt_buffer, 56);
SAME_FIELDS(lt_index_check, 160);

static void put_text(lt_str *out, const char *text) {
  lt_str_puts(out, text ? text : "");
  lt_str_put(out, text ? "\0" : "\1", 1);
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

#ifdef __linux__
typedef struct search { uintptr_t inside; lt_bytes id; } search;

static void look_in_notes(search *s, const unsigned char *at, size_t n) {
  while (n >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) h;
    memcpy(&h, at, sizeof h);
    size_t name = ((size_t)h.n_namesz + 3) / 4 * 4, desc = ((size_t)h.n_descsz + 3) / 4 * 4;
    if (name > n - sizeof h || desc > n - sizeof h - name) return;
    const unsigned char *text = at + sizeof h;
    if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && !memcmp(text, "GNU", 4))
      s->id = (lt_bytes){text + name, h.n_descsz};
    at = text + name + desc, n -= sizeof h + name + desc;
  }
}

static int look_in_object(struct dl_phdr_info *info, size_t size, void *arg) {
  search *s = arg;
  bool mine = false;
  for (unsigned i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    mine |= p->p_type == PT_LOAD && s->inside - (info->dlpi_addr + p->p_vaddr) < p->p_memsz;
  }
  for (unsigned i = 0; mine && i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    if (p->p_type == PT_NOTE)
      look_in_notes(s, (const unsigned char *)(info->dlpi_addr + p->p_vaddr), (size_t)p->p_memsz);
  }
  return mine;
}

/* The linker's hash of the program or library that the function is in, as it is in memory. */
static lt_bytes build_id(void (*inside)(void)) {
  search s = {0};
  memcpy(&s.inside, &inside, sizeof s.inside);
  dl_iterate_phdr(look_in_object, &s);
  return s.id;
}
#else
static lt_bytes build_id(void (*inside)(void)) { return (lt_bytes){0}; }
#endif

/* What LLVM a version number means: a distribution's may be patched. It need not have an id. */
static bool put_program(lt_str *out) {
  const lt_bytes mine = build_id((void (*)(void))lt_code_key), llvm = build_id((void (*)(void))LLVMContextCreate);
  put_text(out, "Lathe's code, 1");
  put_text(out, lt_llvm_version());
  lt_key_put(out, (int64_t)mine.n), lt_key_put(out, (int64_t)llvm.n);
  if (mine.n) lt_str_put(out, (const char *)mine.at, mine.n);
  if (llvm.n) lt_str_put(out, (const char *)llvm.at, llvm.n);
  return mine.n > 0;
}

/* ---- the machine ------------------------------------------------------------------------------------------------- */

static void put_target(lt_str *out, const lt_target *t) {
  put_text(out, t->triple), put_text(out, t->cpu), put_text(out, t->features), put_text(out, t->tune);
  put_text(out, t->row), put_text(out, t->abi);
  const int64_t all[] = {t->vector_bytes, t->vector_regs, t->fma,           t->fma_latency,
                         t->l1_bytes,     t->l2_bytes,    t->pointer_bytes, t->small};
  lt_key_put_all(out, all, LT_COUNT(all));
}

/* ---- an entry ---------------------------------------------------------------------------------------------------- */

static void put_slots(lt_str *out, const lt_plan *p) {
  for (uint32_t i = 0; i < p->n_slot; i++) {
    const lt_slot *s = &p->slot[i];
    const int64_t all[] = {s->type.dtype, s->role, s->nullable, s->unused, s->def_offset};
    lt_key_put_all(out, all, LT_COUNT(all));
    lt_key_put(out, s->type.rank), lt_key_put_all(out, s->type.dim, s->type.rank);
  }
}

static void put_checks(lt_str *out, const lt_plan *p) {
  for (uint32_t i = 0; i < p->check.n; i++) {
    const lt_index_check *c = &p->check.at[i];
    lt_key_put(out, c->slot), lt_key_put(out, c->limit), lt_key_put(out, c->offset), lt_key_put(out, c->n_dims);
    lt_key_put_all(out, c->extent, c->n_dims), lt_key_put_all(out, c->stride, c->n_dims);
  }
}

/* Beside what lt_plan_key has of them: who writes a buffer at all, which stores may be left out, how large the work
 * is. */
static void put_work(lt_str *out, const lt_plan *p) {
  for (uint32_t i = 0; i < p->n_buffer; i++) lt_key_put(out, p->buffer[i].first), lt_key_put(out, p->buffer[i].last);
  for (uint32_t i = 0; i < p->n_kernel; i++) {
    const lt_kernel *k = &p->kernel[i];
    const double size[] = {k->flop, k->bytes};
    lt_str_put(out, (const char *)size, sizeof size);
    for (uint32_t s = 0; s < k->n_store; s++) lt_key_put(out, k->store[s].to.buffer);
  }
}

static void put_plan(lt_str *out, const lt_plan *p) {
  const int64_t all[] = {p->n_slot,
                         p->n_buffer,
                         p->n_kernel,
                         p->check.n,
                         p->constant.n,
                         p->const_bytes,
                         p->region_bytes,
                         p->out_bytes,
                         p->scratch_bytes,
                         p->region_kinds,
                         p->out_kind,
                         p->out_kinds,
                         (int64_t)p->model,
                         (int64_t)p->state_model,
                         (int64_t)p->packed_model};
  put_text(out, p->name);
  lt_key_put_all(out, all, LT_COUNT(all));
  put_slots(out, p);
  put_checks(out, p);
  put_work(out, p);
  lt_plan_key(out, p);
}

bool lt_code_key(lt_str *out, const lt_target *t, const lt_module_entry *entry, size_t n) {
  bool known = put_program(out);
  put_target(out, t);
  lt_key_put(out, (int64_t)n);
  for (size_t i = 0; i < n; i++) {
    const lt_module_entry *e = &entry[i];
    const int64_t all[] = {e->two_regions, e->pack, e->steps};
    put_text(out, e->symbol);
    lt_key_put_all(out, all, LT_COUNT(all));
    lt_key_put(out, e->image ? (int64_t)e->image->n : -1);
    for (uint32_t k = 0; e->image && k < e->image->n; k++) lt_key_put(out, e->image->item[k].offset);
    put_plan(out, e->plan);
  }
  return known;
}
