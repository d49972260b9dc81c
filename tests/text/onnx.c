/* Tests of the ONNX reader from inside: models cut off anywhere, memory that runs out, elements that are referred to
 * and never copied, and the corpus of the fuzzer with its messages. What the command makes of models is in
 * tests/cli/onnx.txt.
 */
#include "check_main.h"
#include "export/onnx/export.h"
#include "frontend/frontend.h"
#include "frontend/onnx/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *path_of(const char *name) {
  static char path[1000];
  snprintf(path, sizeof path, "%s/%s", getenv("LT_TESTS"), name);
  return path;
}

static lt_bytes slurp(const char *name) {
  static unsigned char bytes[1 << 20];
  FILE *f = fopen(path_of(name), "rb");
  ck_assert_msg(f != NULL, "%s is not there", path_of(name));
  size_t n = fread(bytes, 1, sizeof bytes, f);
  fclose(f);
  ck_assert(n > 0 && n < sizeof bytes);
  return (lt_bytes){bytes, n};
}

static void read_memory(lt_job *job, void *arg) {
  const lt_bytes *b = arg;
  lt_source s;
  lt_source_of_bytes(&s, job, lt_arena_new(job), *b, "m.onnx");
  lt_graph *g = lt_source_read(job, &s, &(lt_read_options){.batch = 2});
  lt_verify(g, "onnx");
  lt_graph_free(g);
}

static const char *const whole[] = {"onnx/digits.onnx", "onnx/shapes.onnx",  "onnx/fields.onnx", "onnx/old.onnx",
                                    "onnx/calls.onnx",  "onnx/batches.onnx", "onnx/preview.onnx"};

/* Every prefix of a model is an error that says where, or (cut between two fields) a model; nothing is left behind. */
START_TEST(cut_off) {
  for (size_t i = 0; i < LT_COUNT(whole); i++) {
    lt_bytes all = slurp(whole[i]);
    for (size_t n = 0; n < all.n; n++) {
      lathe_error e;
      int status = lt_protect(&e, read_memory, &(lt_bytes){all.at, n});
      ck_assert_msg(!status || status == LATHE_E_INVALID || status == LATHE_E_UNSUPPORTED, "%s: %s", whole[i],
                    e.message);
      ck_assert_int_eq(lt_mem_live(), 0);
    }
    lathe_error e;
    ck_assert_msg(!lt_protect(&e, read_memory, &all), "%s: %s", whole[i], e.message);
  }
}
END_TEST

/* One byte changed, anywhere, to three other values. */
START_TEST(changed) {
  static const unsigned char others[] = {0x00, 0x7f, 0xff};
  for (size_t i = 0; i < LT_COUNT(whole); i++) {
    lt_bytes all = slurp(whole[i]);
    unsigned char *own = malloc(all.n);
    memcpy(own, all.at, all.n);
    for (size_t n = 0; n < all.n; n++)
      for (size_t k = 0; k < LT_COUNT(others); k++) {
        lathe_error e;
        unsigned char was = own[n];
        own[n] = others[k];
        int status = lt_protect(&e, read_memory, &(lt_bytes){own, all.n});
        own[n] = was;
        ck_assert_msg(!status || status == LATHE_E_INVALID || status == LATHE_E_UNSUPPORTED || status == LATHE_E_IO,
                      "%s, byte %zu: %s", whole[i], n, e.message);
        ck_assert_int_eq(lt_mem_live(), 0);
      }
    free(own);
  }
}
END_TEST

/* The n-th allocation fails, for every n. */
START_TEST(out_of_memory) {
  for (size_t i = 0; i < LT_COUNT(whole); i++) {
    lt_bytes all = slurp(whole[i]);
    int status = LATHE_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
      lathe_error e;
      lt_mem_fail_at(n, false);
      status = lt_protect(&e, read_memory, &all);
      lt_mem_fail_at(0, false);
      ck_assert_msg(!status || status == LATHE_E_NOMEM, "%s: %s", whole[i], e.message);
      ck_assert_int_eq(lt_mem_live(), 0);
    }
  }
}
END_TEST

/* Elements are ranges of the file, read again with every reading, and mapped once. */
static void refer(lt_job *job, void *arg) {
  lt_source s;
  (void)arg;
  lt_source_open(&s, job, lt_arena_new(job), path_of("onnx/digits.onnx"));
  ck_assert(s.mapping != NULL && s.bytes.at == s.mapping->bytes.at);
  for (int64_t batch = 1; batch <= 2; batch++) {
    lt_graph *g = lt_source_read(job, &s, &(lt_read_options){.batch = batch});
    lt_value w = lt_find(g, "fc.weight");
    const lt_data *d = lt_data_in(lt_node_of(g, w));
    ck_assert_int_eq(lt_type_of(g, lt_find(g, "x"))->dim[0], batch);
    ck_assert_int_eq(lt_op_of(g, w), LT_OP_param);
    ck_assert_int_eq(lt_op_of(g, lt_find(g, "bn.running_var")), LT_OP_state);
    ck_assert_str_eq(d->file, "digits.onnx");
    ck_assert(d->at == s.bytes.at + d->offset);
    ck_assert(lt_data_hash(d) == lt_data_hash(lt_data_new(&g->arena, &d->type, d->at)));
    lt_graph_free(g);
  }
}

START_TEST(referred_to) {
  lathe_error e;
  ck_assert_msg(!lt_protect(&e, refer, NULL), "%s", e.message);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

/* The graph outlives the source that it was read from. */
static void keep_graph(lt_job *job, void *arg) {
  lt_source s;
  lt_source_open(&s, job, lt_arena_new(job), path_of("onnx/digits.onnx"));
  *(lt_graph **)arg = lt_source_read(job, &s, &(lt_read_options){.batch = 1});
}

START_TEST(outlives) {
  lathe_error e;
  lt_graph *g = NULL;
  ck_assert_msg(!lt_protect(&e, keep_graph, &g), "%s", e.message);
  const lt_data *d = lt_data_in(lt_node_of(g, lt_find(g, "fc.weight")));
  double sum = 0;
  for (int64_t i = 0; i < lt_type_count(&d->type); i++) sum += lt_data_at(d, i) * lt_data_at(d, i);
  ck_assert(sum > 1 && sum < 1000);
  lt_graph_free(g);
  ck_assert_int_eq(lt_mem_live(), 0);
}
END_TEST

START_TEST(messages) {
  static const struct { const char *file, *message; } cases[] = {
    {"deep", "branches nest deeper than 16"},
    {"empty_nodes", "a node has no op_type"},
    {"long_varint", "a number has more than 64 bits"},
    {"group", "ModelProto: field 1 is of kind 3, which ONNX does not use"},
    {"zero_field", "ModelProto: no field has the number 0"},
    {"past_end", "ModelProto: field 7 has 4294967295 bytes, and only 0 are left"},
    {"two_graphs", "the model has two graphs"},
    {"huge_tensor", "the size of initializer `w` makes no sense"},
    {"large_tensor", "initializer `w` has 1073741824 elements by its shape, and its fields hold 0"},
    {"negative_dim", "makes no sense"},
    {"short_raw", "initializer `w` takes 8 bytes by its shape, and raw_data has 7"},
    {"rank9", "initializer `w` has 9 dimensions, at most 8 are allowed"},
    {"odd_type",
     "initializer `w` is of an element type that the standard does not know, which is no element type here"},
    {"external", "the location \"/etc/passwd\" is absolute"},
    {"loop", "Relu `y` reads `y`, which nothing before it makes"},
    {"twice", "two things in the model are called `y`"},
    {"many_ints", "an attribute has more than 65536 numbers"},
    {"no_ops", "the output `y` is made by no node"},
  };
  for (size_t i = 0; i < LT_COUNT(cases); i++) {
    char name[100];
    snprintf(name, sizeof name, "fuzz/corpus/onnx/%s.onnx", cases[i].file);
    lt_bytes b = slurp(name);
    lathe_error e;
    ck_assert_int_ne(lt_protect(&e, read_memory, &b), 0);
    ck_assert_msg(strstr(e.message, cases[i].message) != NULL, "%s: %s", name, e.message);
    ck_assert_str_eq(e.file, "m.onnx");
    ck_assert_int_eq(lt_mem_live(), 0);
  }
}
END_TEST

/* docs/onnx.md ends in the tables of ops; LT_UPDATE=1 writes them anew. */
static void table_of_ops(lt_job *job, void *arg) {
  static const char mark[] = "do not edit below this line.\n\n";
  lt_arena *a = lt_arena_new(job);
  lt_bytes page = lt_file_read(job, a, path_of("../docs/onnx.md"), 1 << 20);
  char *rest = strstr((char *)(uintptr_t)page.at, mark);
  lt_str out;
  (void)arg;
  ck_assert(rest != NULL);
  rest += sizeof mark - 1;
  lt_str_init(&out, a);
  lt_str_put(&out, (const char *)page.at, (size_t)(rest - (const char *)page.at));
  lt_onnx_ops_doc(&out);
  lt_str_puts(&out, "\n## Ops that are written\n\nMade from `src/export/onnx/export_ops.def`.\n\n");
  lt_onnx_export_doc(&out);
  if (lt_updates()) lt_file_write(job, path_of("../docs/onnx.md"), out.at, out.n);
  else ck_assert_msg(!strcmp((const char *)page.at, out.at), "docs/onnx.md: LT_UPDATE=1 ./dev test onnx");
}

START_TEST(page) {
  lathe_error e;
  ck_assert_msg(!lt_protect(&e, table_of_ops, NULL), "%s", e.message);
}
END_TEST

LT_SUITE(onnx, page, cut_off, changed, out_of_memory, referred_to, outlives, messages)
LT_TEST_MAIN(onnx)
