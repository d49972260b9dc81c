/* tasks.c: what a number of tasks means for the threads that run them (see plan.h). */
#include "plan/plan.h"

/* how much it counts that so many threads wait for each other */
static const struct { int threads; double weight; } crews[] = {{2, 1}, {4, 0.3}, {8, 0.1}};

double lt_waiting(int64_t tasks, double largest) {
  double wait = 0;
  for (size_t i = 0; i < LT_COUNT(crews); i++) {
    int64_t n = crews[i].threads, each = (tasks + n - 1) / n;
    wait += crews[i].weight * ((double)(each * n) * largest - 1);
  }
  return wait;
}
