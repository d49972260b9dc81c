// two_models.cc: two networks in one C++ program, each an object file of its own: what each of them says about the digits it
// has not seen, and what they say together.
//
//   make build/two_models && build/two_models DATA      (DATA as for train.c)
#include "digits.h"
#include "small.h"

#include "npy.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

namespace {

static_assert(DIGITS_RUN_X_COUNT == SMALL_RUN_X_COUNT && DIGITS_RUN_LOGITS_COUNT == SMALL_RUN_LOGITS_COUNT, "both see the same digits");
using logits = std::array<float, DIGITS_RUN_LOGITS_COUNT>;

// A network as a function object with its own scratch: one per thread.
class large {
  alignas(DIGITS_ALIGN) std::array<unsigned char, DIGITS_RUN_SCRATCH_BYTES> scratch;
public:
  int operator()(const float *x, logits &y) {
    digits_run_io io{x, y.data()};
    return digits_run(&io, nullptr, scratch.data());
  }
};

class little {
  alignas(SMALL_ALIGN) std::array<unsigned char, SMALL_RUN_SCRATCH_BYTES> scratch;
public:
  int operator()(const float *x, logits &y) {
    small_run_io io{x, y.data()};
    return small_run(&io, nullptr, scratch.data());
  }
};

long best(const logits &y) { return std::max_element(y.begin(), y.end()) - y.begin(); }

} // namespace

int main(int argc, char **argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: two_models DATA\n"), 2;
  std::size_t pixels = 0, rows = 0;
  float *x = npy_floats((std::string(argv[1]) + "/test_x.npy").c_str(), &pixels);
  std::int32_t *t = npy_labels((std::string(argv[1]) + "/test_t.npy").c_str(), &rows);
  static large a;
  static little b;
  std::array<unsigned, 3> right{};
  for (std::size_t i = 0; i < rows; i++) {
    logits one{}, other{}, both{};
    const float *digit = x + i * DIGITS_RUN_X_COUNT;
    if (int status = a(digit, one)) return std::fprintf(stderr, "digits_run: %d\n", status), 1;
    if (int status = b(digit, other)) return std::fprintf(stderr, "small_run: %d\n", status), 1;
    for (std::size_t k = 0; k < both.size(); k++) both[k] = one[k] + other[k];
    right[0] += best(one) == t[i], right[1] += best(other) == t[i], right[2] += best(both) == t[i];
  }
  const char *const name[] = {"digits", "small", "together"};
  for (std::size_t k = 0; k < right.size(); k++) std::printf("%s: %.1f %%\n", name[k], 100.0 * right[k] / static_cast<double>(rows));
  std::free(x), std::free(t);
}
