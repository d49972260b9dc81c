/* array.h: an array in a file that a user names: ONNX's tensor where the name ends in .pb, as the standard's own test
 * data come, else NumPy's .npy. */
#ifndef LT_ONNX_ARRAY_H
#define LT_ONNX_ARRAY_H
#include "base/elements.h"

/* A view of the file, which is read into `keep`. */
void lt_array_read(lt_elements *out, lt_job *job, lt_arena *keep, const char *path, size_t max_bytes);

#endif
