/* source.h: what every source of networks is read with. */
#ifndef LT_SOURCE_H
#define LT_SOURCE_H
#include "ir/ir.h"

typedef struct lt_dim_override { const char *name; int64_t value; } lt_dim_override; /* --dim NAME=VALUE */
typedef struct lt_read_options {
  const char *network;         /* --network; NULL: the only one of the file */
  const lt_dim_override *dims;
  size_t n_dims;
  int64_t batch;               /* --batch sets the dimension N; 0: not given */
  int64_t max_bytes;           /* of one value; 0: the machine's memory */
  uint32_t max_nodes;          /* 0: LT_READ_MAX_NODES */
} lt_read_options;


enum { LT_READ_MAX_NODES = 1000000 };

#endif
