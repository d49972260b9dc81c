/* emit.c: a network as an object file: the way of pipeline.c up to the plans, then symbols, weights and files.
 *
 * What needs weights (to embed or to write them) packs them here, with the very kernels that the object's own P_pack
 * has, compiled for this machine. Everything is made in memory first; then files appear one after the other, each whole
 * or not at all, the object last. */
#include "driver/object/emission.h"
#include "driver/pipeline.h"
#include "weights/weights.h"

/* ---- names ------------------------------------------------------------------------------------------------------- */

static const char *symbol(const lt_emission *e, const char *name) {
  return lt_arena_printf(e->a, "%s_%s", e->prefix, name);
}

static void choose_prefix(lt_emission *e) {
  const char *given = e->o->prefix;
  e->prefix = lt_c_name(e->a, given ? given : e->m->name);
  if (given && strcmp(given, e->prefix))
    lt_fail(e->job, LATHE_E_INVALID, NULL, "--prefix: `%.60s` is not a name in C\nhelp: `%.60s` would be", given,
            e->prefix);
}

static const char *base_name(const char *path) { return strrchr(path, '/') ? strrchr(path, '/') + 1 : path; }

/* ---- limits ------------------------------------------------------------------------------------------------------ */

/* The kernel that stores to a buffer; the first to touch it may only have zeroed its halo. */
static const lt_kernel *maker_of(const lt_plan *p, uint32_t buffer) {
  const lt_buffer *x = &p->buffer[buffer];
  for (int32_t i = x->first; i <= x->last; i++)
    for (uint32_t k = 0; k < p->kernel[i].n_store; k++)
      if (p->kernel[i].store[k].to.buffer == buffer) return &p->kernel[i];
  return &p->kernel[x->first];
}

LT_NORETURN static void fail_scratch(const lt_emission *e, const lt_plan *p) {
  enum { LARGEST = 5 };
  lt_str s;
  lt_str_init(&s, e->a);
  bool *told = LT_NEW_ARRAY(e->a, bool, p->n_buffer + 1u);
  for (int i = 0; i < LARGEST; i++) {
    uint32_t most = p->n_buffer;
    for (uint32_t k = 0; k < p->n_buffer; k++) {
      const lt_buffer *x = &p->buffer[k];
      bool here = x->region == LT_REGION_SCRATCH && x->first >= 0 && !told[k];
      if (here && (most == p->n_buffer || x->bytes > p->buffer[most].bytes)) most = k;
    }
    if (most == p->n_buffer) break;
    told[most] = true;
    const lt_kernel *k = maker_of(p, most);
    lt_str_printf(&s, "\n  %lld bytes  `%s`, made by %s `%s`", (long long)p->buffer[most].bytes, p->buffer[most].name,
                  k->op, k->name);
  }
  lt_fail(e->job, LATHE_E_INVALID, NULL,
          "entry `%s` needs %lld bytes of scratch, --max-scratch allows %lld; the largest tensors:%s\n"
          "help: a smaller batch, as in --dim N=1",
          p->name, (long long)p->scratch_bytes, (long long)e->o->max_scratch, s.at);
}

static void check_limits(const lt_emission *e) {
  const lt_target *t = &e->target;
  for (size_t i = 0; i < e->n_unit; i++) {
    const lt_plan *p = e->unit[i].plan;
    if (e->o->given[LT_OPT_max_scratch] && p->scratch_bytes > e->o->max_scratch) fail_scratch(e, p);
    int64_t most = LT_MAX(p->scratch_bytes, LT_MAX(p->region_bytes, p->out_bytes));
    for (uint32_t k = 0; k < p->n_slot; k++) most = LT_MAX(most, lt_type_bytes(&p->slot[k].type));
    if (t->pointer_bytes == 4 && most > INT32_MAX)
      lt_fail(e->job, LATHE_E_UNSUPPORTED, NULL, "entry `%s` needs %lld bytes in one piece, which %s cannot address",
              p->name, (long long)most, t->triple);
  }
}

/* ---- what the object holds --------------------------------------------------------------------------------------- */

static void list_units(lt_emission *e) {
  const lathe_model *m = e->m;
  e->unit = LT_NEW_ARRAY(e->a, lt_module_entry, m->n_unit);
  e->n_unit = m->n_unit;
  for (size_t i = 0; i < e->n_unit; i++) {
    e->unit[i] = m->unit[i];
    e->unit[i].symbol = symbol(e, m->unit[i].plan->name);
  }
  for (uint32_t i = 0; i < m->n_entry; i++) {
    e->stateful |= m->entry[i].stateful;
    if (m->entry[i].halves) e->grads_bytes = LT_MAX(e->grads_bytes, m->entry[i].halves->grads.bytes);
  }
}

static void describe_state(lt_emission *e) {
  const lathe_model *m = e->m;
  lt_state_item *item = LT_NEW_ARRAY(e->a, lt_state_item, m->image.n + 1);
  for (uint32_t i = 0; i < m->image.n; i++) {
    const lt_image_item *x = &m->image.item[i];
    item[i] = (lt_state_item){x->name, x->type, x->offset, m->init[i], lt_is_seed(x)};
  }
  e->state = (lt_state_code){.init = symbol(e, "state_init"),
                             .load = symbol(e, "state_load"),
                             .item = item,
                             .n = m->image.n,
                             .bytes = m->image.bytes,
                             .own_bytes = m->own_bytes,
                             .model = m->hash,
                             .state_model = m->state_hash};
  e->object.state = &e->state;
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* Does packing round somewhere in a way that depends on fused multiply-add? */
static bool pack_fuses(const lt_plan *p) {
  for (uint32_t i = 0; i < p->n_kernel; i++) {
    const lt_kernel *k = &p->kernel[i];
    if (k->kind == LT_K_CONTRACT || k->kind == LT_K_REDUCE) return true;
    for (uint32_t j = 0; j < k->n_expr; j++)
      if (k->expr[j].kind == LT_X_MAP && lt_op_table[k->expr[j].op].rounds == LT_ROUNDS_CURVE) return true;
  }
  return false;
}

/* The pack kernels on this machine, multiplying and adding as the target does. */
static lt_code *compile_pack(lt_emission *e, lt_pack_fn *run) {
  const lt_target *there = &e->target;
  lt_target here;
  lt_target_host(&here, e->job, e->a, NULL, NULL);
  if (there->fma && !here.fma && pack_fuses(&e->m->pack))
    lt_fail(e->job, LATHE_E_UNSUPPORTED, NULL,
            "this machine has no fused multiply-add, %s has: its weights cannot be packed here\n"
            "help: --weight-data extern, and P_pack there",
            there->triple);
  here.fma &= there->fma;
  return lt_compile_pack(e->job, e->m, &here, run);
}

static void read_weights(lt_emission *e, const lathe_instance *from) {
  const lt_options *o = e->o;
  /* without params, constants alone are packed */
  if (!from && !o->weights && !o->given[LT_OPT_seed] && e->m->image.n && !lt_model_has_weights(e->m)) return;
  lt_pack_fn run = NULL;
  lt_code *pack = e->m->pack.out_bytes ? compile_pack(e, &run) : NULL;
  e->weights = lt_instance_images(e->job, e->m, run, (uint64_t)o->seed);
  if (o->weights && !from)
    lt_weights_load(e->job, e->weights, o->weights, (lt_load_options){o->weights_partial, o->flatten_order});
  lt_instance_draw(e->weights);
  if (from) lt_weights_copy(e->job, e->weights, from);
  int status = lathe_repack(e->weights);
  if (status) lt_fail(e->job, LATHE_E_INTERNAL, NULL, "packing the weights failed: %s", lathe_status_text(status));
  if (!pack) return;
  lt_defer_cancel(e->job, pack); /* it has all constants, which the object is about to have once more */
  lt_code_free(pack);
  e->weights->pack = NULL;
}

/* The network's own params and states as an image of their own. */
static lt_bytes params_image(const lt_emission *e) {
  const lathe_model *m = e->m;
  unsigned char *all = lt_arena_zalloc(e->a, (size_t)m->own_bytes);
  memcpy(all, e->weights->image, (size_t)m->own_bytes);
  lt_image_header h = {.abi = LATHE_ABI_1, .kind = LT_IMAGE_PARAMS, .model = m->hash, .bytes = (uint64_t)m->own_bytes};
  memcpy(h.magic, LT_IMAGE_MAGIC, sizeof h.magic);
  memcpy(all, &h, sizeof h);
  return (lt_bytes){all, (size_t)m->own_bytes};
}

static lt_bytes packed_image(const lt_emission *e) {
  return (lt_bytes){e->weights->packed, (size_t)e->m->pack.out_bytes};
}

static bool has_grad_entry(const lathe_model *m) {
  for (uint32_t i = 0; i < m->n_entry; i++)
    if (m->entry[i].spec.kind == LT_ENTRY_GRAD && m->entry[i].plan.region_bytes && !m->entry[i].stateful) return true;
  return false;
}

static void check_weights(const lt_emission *e, bool embeds) {
  const lt_options *o = e->o;
  bool file = o->weights_out || o->params_out;
  if (o->weights_out && !e->m->pack.out_bytes)
    lt_fail(
      e->job, LATHE_E_INVALID, NULL,
      "--weights-out: no entry reads packed weights\nhelp: --params-out writes params as P_state_load takes them");
  if (o->params_out && !e->m->image.n)
    lt_fail(e->job, LATHE_E_INVALID, NULL, "--params-out: the network has no params and no states");
  if (!e->weights && (embeds || file))
    lt_fail(e->job, LATHE_E_INVALID, NULL,
            "the network has weights, and nothing says what they are\nhelp: --weights F.npz or --seed S%s",
            file ? "" : ", or --weight-data extern and no weights in the object");
  if (o->weights && !embeds && !file)
    lt_fail(
      e->job, LATHE_E_INVALID, NULL,
      "--weights: nothing is made of them\nhelp: --weights-out F.bin or --params-out F.bin writes them as an image");
}

static void embed_weights(lt_emission *e, lt_form form) {
  const char *given = e->o->weight_data;
  bool embed = form == LT_FORM_OBJECT && (!given || !strcmp(given, "embed")), packed = e->m->pack.out_bytes,
       params = has_grad_entry(e->m);
  if (form != LT_FORM_OBJECT && given && !strcmp(given, "embed"))
    lt_fail(e->job, LATHE_E_INVALID, NULL,
            "--weight-data embed: weights are bytes of an object, texts hold none\nhelp: --emit obj");
  check_weights(e, embed && (packed || params));
  if (!embed) return;
  if (LT_MAX(e->m->pack.out_bytes, e->m->own_bytes) > INT32_MAX) /* what code can reach in every code model */
    lt_fail(e->job, LATHE_E_UNSUPPORTED, NULL,
            "weights of more than 2 GiB cannot be embedded\nhelp: --weight-data extern --weights-out F.bin");
  lt_bytes p = params ? params_image(e) : (lt_bytes){0};
  if (packed)
    e->object.embedded[0] =
      (lt_embedded){symbol(e, "weights"), e->weights->packed, e->m->pack.out_bytes, LT_IMAGE_PACKED};
  if (params) e->object.embedded[1] = (lt_embedded){symbol(e, "params"), p.at, (int64_t)p.n, LT_IMAGE_PARAMS};
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void put_path(lt_str *s, const char *path) { /* as make reads it */
  for (; *path; path++) {
    if (strchr(" #\\", *path)) lt_str_puts(s, "\\");
    if (*path == '$') lt_str_puts(s, "$");
    lt_str_put(s, path, 1);
  }
}

/* Two outputs of one spelling are still two. */
static void check_files(const lt_emission *e, const lathe_graph *g) {
  const lt_options *o = e->o;
  const lathe_file made[] = {{o->output, "--output", 1},
                             {o->header, "--header", 1},
                             {o->depfile, "--depfile", 1},
                             {o->weights_out, "--weights-out", 1},
                             {o->params_out, "--params-out", 1}};
  lt_file_list all = lt_made_of(e->a, g, o->weights);
  for (size_t i = 0; i < LT_COUNT(made); i++)
    if (lt_is_file(made[i].path)) lt_vec_push(e->a, &all, made[i]);
  lt_files_distinct(e->job, all.at, all.n);
}

/* Each file that the object was made of is also a target of nothing, as of gcc -MP: make goes on when it has been
 * renamed. */
static void write_depfile(const lt_emission *e, const lathe_graph *g) {
  const lt_options *o = e->o;
  lt_str s;
  lt_str_init(&s, e->a);
  const char *made[] = {o->output, o->header, o->weights_out, o->params_out};
  const lt_file_list of = lt_made_of(e->a, g, o->weights);
  for (size_t i = 0; i < LT_COUNT(made); i++)
    if (made[i]) lt_str_puts(&s, i ? " " : ""), put_path(&s, made[i]);
  lt_str_puts(&s, ":");
  for (uint32_t i = 0; i < of.n; i++) lt_str_puts(&s, " "), put_path(&s, of.at[i].path);
  lt_str_puts(&s, "\n");
  for (uint32_t i = 0; i < of.n; i++) put_path(&s, of.at[i].path), lt_str_puts(&s, ":\n");
  lt_file_write(e->job, o->depfile, s.at, s.n);
}

static void write_files(lt_emission *e, const lathe_graph *g) {
  const lt_options *o = e->o;
  lt_bytes params = o->params_out ? params_image(e) : (lt_bytes){0};
  lt_str header;
  lt_str_init(&header, e->a);
  lt_header_print(&header, e); /* also without a file: names that meet are errors either way */
  if (o->header) lt_file_write(e->job, o->header, header.at, header.n);
  if (o->weights_out) lt_file_write(e->job, o->weights_out, packed_image(e).at, packed_image(e).n);
  if (o->params_out) lt_file_write(e->job, o->params_out, params.at, params.n);
  if (o->depfile) write_depfile(e, g);
  lt_file_write(e->job, o->output, e->out.bytes.at, e->out.bytes.n);
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static void print_graphs(lt_emission *e) {
  lt_str s;
  lt_str_init(&s, e->a);
  for (uint32_t i = 0; i < e->m->n_entry; i++) {
    lt_str_printf(&s, "# entry %s\n", e->m->entry[i].spec.text);
    lt_print(&s, e->m->entry[i].graph);
  }
  e->out.bytes = (lt_bytes){(const unsigned char *)s.at, s.n};
}

static void make_code(lt_emission *e) {
  const char *emit = e->o->emit ? e->o->emit : "obj";
  lt_form form = !strcmp(emit, "asm") ? LT_FORM_ASSEMBLY : !strcmp(emit, "llvm") ? LT_FORM_LLVM : LT_FORM_OBJECT;
  bool ir = !strcmp(emit, "ir");
  embed_weights(e, ir ? LT_FORM_LLVM : form);
  if (ir) print_graphs(e);
  else lt_emit_linkable(&e->out, e->job, e->a, &e->target, e->unit, e->n_unit, &e->object, form);
}

typedef struct emit_args {
  const lathe_graph *g;
  const lathe_instance *weights;
  const char *opts;
} emit_args;

static void emit_body(lt_job *job, void *arg) {
  emit_args *p = arg;
  lathe_model *m = lt_model_plan(job, p->g, p->opts, TO_EMIT);
  lt_emission e = {.job = job, .a = lt_arena_new(job), .m = m, .o = &m->options};
  if (!e.o->output) lt_fail(job, LATHE_E_INVALID, NULL, "no file to write is given\nhelp: add -o F.o");
  if (p->weights && (e.o->weights || e.o->given[LT_OPT_seed]))
    lt_fail(job, LATHE_E_INVALID, NULL, "weights come from an instance here: --weights and --seed say otherwise");
  check_files(&e, p->g);
  choose_prefix(&e);
  e.source = p->g->source.file ? base_name(p->g->source.file) : m->name;
  lt_target_cross(&e.target, job, e.a, e.o->target, e.o->cpu, e.o->features);
  e.target.small = e.o->opt && !strcmp(e.o->opt, "size");
  e.object = (lt_object){.prefix = e.prefix, .parallel = e.o->parallel};
  list_units(&e);
  if (e.stateful) describe_state(&e);
  check_limits(&e);
  read_weights(&e, p->weights);
  make_code(&e);
  write_files(&e, p->g);
  lathe_instance_free(e.weights);
  lathe_model_free(m);
}

int lathe_emit(const lathe_graph *g, const lathe_instance *weights, const char *opts, lathe_error *e) {
  return lt_protect(e, emit_body, &(emit_args){g, weights, opts});
}
