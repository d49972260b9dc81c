/* pool.h: threads for compiled code: the `lathe_parallel` that entries take.
 *
 * The threads start at the first parallel call and park when nothing comes. A call runs each index in [0, n) exactly
 * once, on any thread and in any order, and returns when all are done; the calling thread works too. A call from inside
 * a body runs on the spot. One thread at a time may call a pool. After fork() the child starts its own threads at its
 * first call (fork() inside a body is not supported). Where threads cannot be created the pool goes on with fewer. */
#ifndef LATHE_POOL_H
#define LATHE_POOL_H
#include "lathe/abi.h"

typedef struct lathe_pool lathe_pool;
lathe_pool *lathe_pool_new(int threads); /* limited to 1..1024; NULL: out of memory */
void lathe_pool_free(lathe_pool *p);     /* NULL is allowed */
const lathe_parallel *lathe_pool_parallel(lathe_pool *p);
/* threads at work in this process, the caller's included: 1 before the first call */
int lathe_pool_running(const lathe_pool *p);
#endif
