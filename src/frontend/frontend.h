/* frontend.h: from definitions to graphs: what other folders see of the front ends.
 *
 * A `.lathe` text (a definition or a dump: one language) becomes a graph in text/: blocks are inlined, loops unrolled,
 * named dimensions put in, layers made into parameters and ops. build/ is the same step for one op or layer that a
 * program calls. What both share stands here: values of attributes (attrs.h), names (names.h), layers (layers.h), calls
 * (call.h), and what a network is read with (source.h). Everything that a user can get wrong ends in lt_fail with file,
 * line and column (LATHE_E_PARSE for text that is no statement, LATHE_E_INVALID for statements that mean nothing). */
#ifndef LT_FRONTEND_H
#define LT_FRONTEND_H
#include "frontend/build/apply.h"
#include "frontend/layers.h"
#include "frontend/names.h"
#include "frontend/source.h"
#include "frontend/text/read.h"

#endif
