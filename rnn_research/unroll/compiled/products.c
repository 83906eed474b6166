/* Matrix products. In a fixed order: a row's result does not depend on the rows beside it. */
#include "products.h"

#define DEPTH 256 /* of a product at a time: a panel of DEPTH x PANEL stays in the first-level cache */

/* B (depth x n), element (k, j) at b[k * row + j * column] -> panels of PANEL columns, depth x PANEL each. */
static void pack(real *to, const real *b, int64_t depth, int64_t n, int64_t row, int64_t column) {
    for (int64_t p = 0; p < panels(n); p++, to += depth * PANEL) {
        const real *from = b + p * PANEL * column;
        int64_t width = least(PANEL, n - p * PANEL);
        if (column == 1) {
            for (int64_t k = 0; k < depth; k++) {
                memcpy(to + k * PANEL, from + k * row, (size_t)width * sizeof(real));
                for (int64_t j = width; j < PANEL; j++) to[k * PANEL + j] = 0;
            }
            continue;
        }
        for (int64_t k0 = 0; k0 < depth; k0 += 16) { /* a few rows at a time: reads run along them */
            int64_t k1 = least(k0 + 16, depth);
            for (int64_t j = 0; j < PANEL; j++)
                for (int64_t k = k0; k < k1; k++) to[k * PANEL + j] = j < width ? from[k * row + j * column] : 0;
        }
    }
}

/* C (rows x PANEL) += A (rows x depth) B, in registers; the sum is added to C last, which keeps more of its digits than
   starting from a large C. A's element (i, k) is a[i * step + k * next]. `narrow`: only the
   first LANES columns. */
INLINE void tile(const int rows, const int narrow, const real *a, int64_t step, int64_t next, const real *b,
                 int64_t depth, real *c, int64_t ld) {
    vec low[TILE], high[TILE];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) low[i] = high[i] = splat(0);
    for (int64_t k = 0; k < depth; k++) {
        vec left = *(const loose *)(b + k * PANEL), right;
        if (!narrow) right = *(const loose *)(b + k * PANEL + LANES);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            vec x = splat(a[i * step + k * next]);
            low[i] = fused(x, left, low[i]);
            if (!narrow) high[i] = fused(x, right, high[i]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        *(loose *)(c + i * ld) += low[i];
        if (!narrow) *(loose *)(c + i * ld + LANES) += high[i];
    }
}
/* The height must be known to the compiler, for the rows to be in registers. */
#define ALONG(name, narrow)                                                                            \
    static __attribute__((noinline)) void name(int64_t rows, const real *a, int64_t lda, const real *b, \
                                               int64_t depth, real *c, int64_t ld) {                   \
        switch (rows) {                                                                                \
            case 1: tile(1, narrow, a, lda, 1, b, depth, c, ld); break;                                \
            case 2: tile(2, narrow, a, lda, 1, b, depth, c, ld); break;                                \
            case 3: tile(3, narrow, a, lda, 1, b, depth, c, ld); break;                                \
            case 4: tile(4, narrow, a, lda, 1, b, depth, c, ld); break;                                \
            case 5: tile(5, narrow, a, lda, 1, b, depth, c, ld); break;                                \
            case 6: tile(6, narrow, a, lda, 1, b, depth, c, ld); break;                                \
            TALL(narrow)                                                                               \
        }                                                                                              \
    }
#if TILE == 8
#define TALL(narrow)                                                                                   \
    case 7: tile(7, narrow, a, lda, 1, b, depth, c, ld); break;                                        \
    case 8: tile(8, narrow, a, lda, 1, b, depth, c, ld); break;
#else
#define TALL(narrow)
#endif
/* The rows are padded with zeros: of a whole tile, of half of one, or of two. */
#define ACROSS(name, narrow)                                                                           \
    static __attribute__((noinline)) void name(int64_t rows, const real *a, const real *b, int64_t depth, real *c, \
                                               int64_t ld) {                                           \
        if (rows > TILE / 2) tile(TILE, narrow, a, 1, TILE, b, depth, c, ld);                          \
        else if (rows > 2) tile(TILE / 2, narrow, a, 1, TILE, b, depth, c, ld);                        \
        else tile(2, narrow, a, 1, TILE, b, depth, c, ld);                                             \
    }
ALONG(along, 0)
ALONG(along_narrow, 1)
ACROSS(across, 0)
ACROSS(across_narrow, 1)

/* A tile whose last columns or rows are not there: through a full one. */
#define EDGE(width, rows, c, ld, call)                                                             \
    do {                                                                                           \
        real edge[TILE * PANEL] = {0};                                                             \
        for (int64_t i_ = 0; i_ < (rows); i_++)                                                    \
            memcpy(edge + i_ * PANEL, (c) + i_ * (ld), (size_t)(width) * sizeof(real));            \
        call;                                                                                      \
        for (int64_t i_ = 0; i_ < (rows); i_++)                                                    \
            memcpy((c) + i_ * (ld), edge + i_ * PANEL, (size_t)(width) * sizeof(real));            \
    } while (0)

/* C (m x n) += A (m x depth) B, B packed. */
static void multiply(const real *a, int64_t step, const real *packed, int64_t m, int64_t depth, int64_t n, real *c,
                     int64_t ld) {
    int64_t parts = (depth + DEPTH - 1) / DEPTH, some;
    for (int64_t k = 0; k < depth; k += some) { /* parts of even depth */
        some = (depth - k + parts - 1) / parts;
        parts--;
        for (int64_t p = 0; p < panels(n); p++) {
            const real *b = packed + (p * depth + k) * PANEL;
            int64_t width = least(PANEL, n - p * PANEL), tiles = (m + TILE - 1) / TILE;
            for (int64_t i = 0, t = 0; t < tiles; t++) {
                int64_t rows = (m - i + tiles - t - 1) / (tiles - t); /* tiles of even height */
                real *to = c + i * ld + p * PANEL;
                const real *from = a + i * step + k;
                if (width == PANEL) along(rows, from, step, b, some, to, ld);
                else if (width > LANES) EDGE(width, rows, to, ld, along(rows, from, step, b, some, edge, PANEL));
                else EDGE(width, rows, to, ld, along_narrow(rows, from, step, b, some, edge, PANEL));
                i += rows;
            }
        }
    }
}

/* C (m x n) += A^T B over `rows` rows: row r of A is a[r] + from_a (m wide), of B b[r] + from_b. `room` holds the two
   packed: A in columns of TILE, B in a panel. */
static void accumulate(const real *const *a, int64_t from_a, const real *const *b, int64_t from_b, int64_t rows,
                       int64_t m, int64_t n, real *c, int64_t ld, real *room) {
    int64_t tiles = (m + TILE - 1) / TILE;
    real *left = room, *right = room + tiles * TILE * rows;
    for (int64_t r0 = 0; r0 < rows; r0 += 16) /* some rows at a time: both sides stay in the first-level cache */
        for (int64_t t = 0; t < tiles; t++)
            for (int64_t r = r0; r < least(r0 + 16, rows); r++) {
                const real *from = a[r] + from_a + t * TILE;
                real *to = left + (t * rows + r) * TILE;
                if (t < tiles - 1) memcpy(to, from, TILE * sizeof(real));
                else for (int i = 0; i < TILE; i++) to[i] = t * TILE + i < m ? from[i] : 0;
            }
    for (int64_t p = 0; p < panels(n); p++) {
        int64_t width = least(PANEL, n - p * PANEL);
        for (int64_t r = 0; r < rows; r++) {
            const real *from = b[r] + from_b + p * PANEL;
            if (width == PANEL) memcpy(right + r * PANEL, from, PANEL * sizeof(real));
            else for (int64_t j = 0; j < PANEL; j++) right[r * PANEL + j] = j < width ? from[j] : 0;
        }
        for (int64_t t = 0; t < tiles; t++) {
            int64_t height = least(TILE, m - t * TILE);
            real *to = c + t * TILE * ld + p * PANEL;
            const real *from = left + t * TILE * rows;
            if (width == PANEL && (height == 2 || height % (TILE / 2) == 0)) across(height, from, right, rows, to, ld);
            else if (width > LANES) EDGE(width, height, to, ld, across(height, from, right, rows, edge, PANEL));
            else EDGE(width, height, to, ld, across_narrow(height, from, right, rows, edge, PANEL));
        }
    }
}

/* The same for an m of a few, where packing B would cost more than the product. */
static void accumulate_few(const real *const *a, const real *const *b, int64_t from_b, int64_t rows, int64_t m, int64_t n,
                           real *c, int64_t ld) {
    for (int64_t r0 = 0; r0 < rows; r0 += 32)
        for (int64_t j = 0; j < n; j += LANES) {
            int64_t width = least(LANES, n - j), end = least(r0 + 32, rows);
            for (int64_t k = 0; k < m; k++) {
                vec sum = {0};
                for (int64_t r = r0; r < end; r++) sum = fused(splat(a[r][k]), load(b[r] + from_b + j, width), sum);
                store(c + k * ld + j, load(c + k * ld + j, width) + sum, width);
            }
        }
}

const Products products = {pack, multiply, accumulate, accumulate_few};
