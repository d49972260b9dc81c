/* main.c: the table of verbs, help, and dispatch. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

enum { V_TARGETS = 512 }; /* takes no options */
const verb verbs[] = {
  {"run", V_RUN, "MODEL", "call a network once; write, summarise or compare its outputs",
   "Inputs that are not given are drawn from the seed: floats normal, labels below the number of classes.", verb_run},
  {"grad", V_GRAD, "MODEL", "gradients of the outputs in every float input and parameter",
   "Writes D/grad_NAME.npy: the gradient of the sum of all float outputs, or the VJP with --output-grad.\n"
   "With --hvp also D/hvp_NAME.npy: the Hessian of that sum times the directions given.",
   verb_grad},
  {"train", V_TRAIN, "MODEL", "train a network on arrays in files",
   "A builtin loss is applied to the network's first output; a network with a scalar output may name it instead, and\n"
   "then its integer input gets the labels.",
   verb_train},
  {"compile", V_COMPILE, "MODEL", "a network as an object file and a C header, for this machine or another",
   "Without --target the CPU is this machine's; with it, the target's generic one unless --cpu names another.",
   verb_compile},
  {"check", V_CHECK, "MODEL", "prove it: interpreter, compiled code and object agree, node by node and bit by bit; TAP",
   "Each node is held against the interpreter in double precision, from the operands that the compiled code had; "
   "outputs\n"
   "also end to end, with a hundred times --rtol. The object runs in a process of its own. Exit code 1 if a point "
   "fails.",
   verb_check},
  {"check-object", 0, "F.o", NULL, NULL, verb_check_object},
  {"bench", V_BENCH, "MODEL", "time each kernel and the whole, against the machine's FMA peak", NULL, verb_bench},
  {"print", V_PRINT, "MODEL", "the network as text, which reads back as the same network, or as an ONNX model",
   "With --format=onnx -o F.onnx an entry (--entry, default: run) is written with its weights: those of --weights,\n"
   "drawn from --seed, or those that the network has. Gradients and training steps too (docs/onnx.md).",
   verb_print},
  {"opt", V_OPT, "F.lathe", "run passes over a network and print what they made of it", NULL, verb_opt},
  {"viz", V_VIZ, "MODEL", "draw the graph (uses Graphviz for .svg)", NULL, verb_viz},
  {"info", V_INFO, "MODEL", "layers, shapes, parameters, FLOP, bytes, and the arena as bars", NULL, verb_info},
  {"weights", V_WEIGHTS, "F",
   "what a file of weights holds; with --for MODEL, which weights of a network, -o G writes them so",
   "F is .npz, .safetensors or PyTorch's .pth (F.pth:NAME: the dictionary NAME of a checkpoint); G is .npz or "
   ".safetensors.",
   verb_weights},
  {"ops", V_TABLE, NULL, "the operations of the language", NULL, verb_ops},
  {"targets", V_TARGETS, NULL, "the machines that Lathe makes code for", NULL, verb_targets},
  {NULL, 0, NULL, NULL, NULL, NULL},
};

static const verb *find_verb(const char *name) {
  for (const verb *v = verbs; v->name; v++)
    if (strcmp(v->name, name) == 0) return v;
  return NULL;
}

static const char *nearest_verb(const char *name) {
  const char *names[32];
  size_t n = 0;
  for (const verb *v = verbs; v->name; v++)
    if (v->doc) names[n++] = v->name;
  names[n++] = "help";
  return nearest(name, names, n);
}

static void print_help(FILE *f) {
  fputs("usage: lathe VERB MODEL [options]      MODEL is a .lathe file, or - for standard input\n\n", f);
  for (const verb *v = verbs; v->name; v++)
    if (v->doc) fprintf(f, "  %-9s %s\n", v->name, v->doc);
  fputs("  help      what a verb takes: `lathe help run`\n\n`lathe --version` names LLVM and this machine's CPU.\n", f);
}

static void print_option(const option *o) {
  char left[64];
  snprintf(left, sizeof left, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
  printf("  %-26s %s", left, o->doc);
  if (o->def[0]) printf(" (default: %s)", o->def);
  printf("%s\n", o->many ? " (several)" : "");
}

static void print_verb_help(const verb *v) {
  size_t n, mine = 0;
  const option *o = options_table(&n);
  for (size_t i = 0; i < n; i++) mine += (o[i].verbs & v->bit) != 0;
  printf("usage: lathe %s%s%s%s\n\n%s\n", v->name, v->model ? " " : "", v->model ? v->model : "",
         mine ? " [options]" : "", v->doc);
  if (v->notes) printf("%s\n", v->notes);
  if (mine) printf("\n");
  for (size_t i = 0; i < n; i++)
    if (o[i].verbs & v->bit) print_option(&o[i]);
}

static _Noreturn void unknown_verb(const char *name) {
  const char *near = nearest_verb(name);
  if (near) fail_usage(NULL, "no verb '%s'\nhelp: did you mean `lathe %s`?", name, near);
  fail_usage(NULL, "no verb '%s'\nhelp: `lathe help` lists them", name);
}

static int help(int argc, char **argv) {
  if (argc == 0) return print_help(stdout), 0;
  const verb *v = find_verb(argv[0]);
  if (!v || !v->doc) unknown_verb(argv[0]);
  print_verb_help(v);
  return 0;
}

static bool asks_for_help(int argc, char **argv) {
  for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
  return false;
}

static int dispatch(int argc, char **argv) {
  if (argc < 2) {
    print_help(stderr);
    return EXIT_USAGE;
  }
  if (strcmp(argv[1], "--version") == 0) return printf("lathe %s\n", lathe_version()), 0;
  if (strcmp(argv[1], "help") == 0) return help(argc - 2, argv + 2);
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return help(0, NULL);
  const verb *v = find_verb(argv[1]);
  if (!v) unknown_verb(argv[1]);
  if (v->doc && asks_for_help(argc - 2, argv + 2)) return print_verb_help(v), 0;
  cli c = {.verb = v};
  parse_args(&c, argc - 2, argv + 2);
  check_files(&c);
  int code = v->run(&c);
  free(c.given);
  free(c.source);
  return code;
}

int main(int argc, char **argv) {
  int code = dispatch(argc, argv);
  if (fflush(stdout) != 0 || ferror(stdout)) {
    print_message(NULL, "error", NULL, "cannot write to standard output");
    return code ? code : EXIT_WORK;
  }
  return code;
}
