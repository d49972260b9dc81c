/* build_calls.h: every typed constructor behind one signature, as gen_calls.c writes them down, in C and in C++. */
#ifndef LT_BUILD_CALLS_H
#define LT_BUILD_CALLS_H
#include <lathe/lathe.h>
#ifdef __cplusplus
extern "C" {
#endif
enum { CALL_OPERANDS = 5, CALL_RESULTS = 3, CALL_ATTRS = 16 };
typedef struct build_call {
  const char *name;
  int is_layer;
  unsigned operands, results, attrs; /* attrs counts `name` */
  /* Call it, the attributes of the set bits given a value of their own, the others left zero; null: with attrs NULL. */
  void (*call)(lathe_graph *g, const lathe_value *in, lathe_value *out, unsigned set, int null);
  const char *text[CALL_ATTRS]; /* these values in the text language */
  unsigned required;            /* bits */
} build_call;
extern const build_call build_calls[];
extern const unsigned n_build_calls;
#ifdef __cplusplus
}
#endif
#endif
