/* Matrix products (products.c), as the driver (kernel.c) calls them. */
#include "kernel.h"

#define PANEL (2 * LANES) /* columns of a matrix that are packed together */
#define FEW 4

typedef struct {
    void (*pack)(real *to, const real *b, int64_t depth, int64_t n, int64_t row, int64_t column);
    void (*multiply)(const real *a, int64_t step, const real *packed, int64_t m, int64_t depth, int64_t n, real *c,
                     int64_t ld);
    void (*accumulate)(const real *const *a, int64_t from_a, const real *const *b, int64_t from_b, int64_t rows,
                       int64_t m, int64_t n, real *c, int64_t ld, real *room);
    void (*accumulate_few)(const real *const *a, const real *const *b, int64_t from_b, int64_t rows, int64_t m,
                           int64_t n, real *c, int64_t ld);
} Products;

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t panels(int64_t n) { return (n + PANEL - 1) / PANEL; }
