/* What the driver (kernel.c) and the compiled updates share: vectors, and the views of memory that pass between them.

   `real` is float, or double with -DDOUBLE. A vector has LANES reals, chosen for the CPU that is compiled for. Loads and
   stores take the number of reals that are left, so that any width is right without padding in memory.

   Instructions that C has no words for are written out (asm): the header that names them is 30 000 lines, which every
   update would wait for. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef DOUBLE
typedef double real;
typedef int64_t integer;
#else
typedef float real;
typedef int32_t integer;
#endif

#if defined(__AVX512F__)
#define BYTES 64
#define TILE 8 /* rows of a register tile: TILE x 2 accumulators, 2 operands, 1 broadcast */
#elif defined(__AVX__)
#define BYTES 32
#define TILE 6
#else
#define BYTES 16
#define TILE 6
#endif
#define LANES ((long)(BYTES / sizeof(real)))
#ifdef DOUBLE
#define EACH_REAL "pd"
#else
#define EACH_REAL "ps"
#endif
#define INLINE static inline __attribute__((always_inline, unused))

typedef real vec __attribute__((vector_size(BYTES)));
typedef integer ivec __attribute__((vector_size(BYTES)));
typedef real loose __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));

INLINE vec load(const real *p, long n) {
    if (n >= LANES) return *(const loose *)p;
    vec v = {0};
    memcpy(&v, p, (size_t)n * sizeof(real));
    return v;
}
INLINE void store(real *p, vec v, long n) {
    if (n >= LANES) *(loose *)p = v;
    else memcpy(p, &v, (size_t)n * sizeof(real));
}
/* To the tape, which is read much later: where `far`, past the caches. */
INLINE void spill(real *p, vec v, long n, int64_t far) {
#if defined(__AVX__)
    if (far && n >= LANES && (uintptr_t)p % BYTES == 0) {
        __asm__("vmovnt" EACH_REAL " %1, %0" : "=m"(*(vec *)p) : "v"(v));
        return;
    }
#endif
    (void)far;
    store(p, v, n);
}
/* From the tape (or the states): the next row's, which is `step` on, is asked for, as it is not foreseen. */
INLINE vec reload(const real *p, long n, int64_t step) {
    __builtin_prefetch(p + step);
    return load(p, n);
}
INLINE vec splat(real a) { return a - (vec){0}; }
INLINE vec pick(ivec where, vec a, vec b) { return (vec)((where & (ivec)a) | (~where & (ivec)b)); }

/* Where row r of a tensor lies: inner rows a step of `near` apart, those blocks `far` apart. base NULL: no tensor. */
typedef struct {
    real *base;
    int64_t inner, near, far;
} Rows;
INLINE real *at(const Rows *rows, int64_t r) {
    if (rows->far == rows->near * rows->inner) return rows->base + r * rows->near; /* evenly spaced: no division */
    const uint32_t inner = (uint32_t)rows->inner, block = (uint32_t)r / inner; /* rows fit, and divide sooner */
    return rows->base + ((uint32_t)r - block * inner) * rows->near + block * rows->far;
}

/* One group of nodes with equally many previous states, as an update's code sees it. Row i of the group is row[i] of
   the states, and its previous states are the rows from child[i] on. `acc` holds the accumulators W x + U h + b in the
   forward pass and their adjoints in the backward pass; `tape` what the backward pass reads again. */
typedef struct {
    int64_t hidden, rows, arity;
    const int32_t *row, *child;
    real *const *state;
    real *tape;
    int64_t width, far; /* of a row; whether the tape is too large for the caches */
    real *acc;
    int64_t accs;
    const real *const *vector;
    real *const *dvector;
    real *const *adjoint;
    const Rows *direct;
    real *const *recurrent; /* NULL: not wanted */
    double *const *norm;    /* NULL: not wanted; the norms of each part, then of its direct and recurrent parts */
    real *dvalue;           /* adjoints of the values that products read */
    int64_t dvalues;
    /* What acts within the backward pass; code without it reads none of these. Of each row in turn, a factor for each
       part's recurrent part (0: cut), and one for the direct parts; the limit of marked pre-activations' gradients,
       and where their norms before and after are joined. */
    const real *scale;
    real limit;
    double *const *clamped;
} Group;
typedef void (*Update)(const Group *);

/* a b + c, rounded once where the CPU can, and then everywhere: left to the compiler, it is once in one place and twice
   in another, by its tuning, and a row's bits would depend on how many rows are beside it. Everything else is rounded
   as it is written (-ffp-contract=off). `fused` is written over c, `horner` over a. */
#if defined(__AVX512F__) || (defined(__AVX__) && defined(__FMA__))
#define FUSED 1
#define FUSES(type, suffix, fused, horner)                                                    \
    INLINE type fused(type a, type b, type c) {                                               \
        __asm__("vfmadd231" suffix " %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));                 \
        return c;                                                                             \
    }                                                                                         \
    INLINE type horner(type a, type b, type c) {                                              \
        __asm__("vfmadd213" suffix " %2, %1, %0" : "+v"(a) : "v"(b), "vm"(c));                \
        return a;                                                                             \
    }
#elif defined(__aarch64__)
#define FUSED 1
#define FUSES(type, suffix, fused, horner)                                                    \
    INLINE type fused(type a, type b, type c) {                                               \
        if (sizeof(c[0]) == 8) __asm__("fmla %0.2d, %1.2d, %2.2d" : "+w"(c) : "w"(a), "w"(b)); \
        else __asm__("fmla %0.4s, %1.4s, %2.4s" : "+w"(c) : "w"(a), "w"(b));                  \
        return c;                                                                             \
    }                                                                                         \
    INLINE type horner(type a, type b, type c) { return fused(a, b, c); }
#else
#define FUSED 0
#define FUSES(type, suffix, fused, horner)                                                    \
    INLINE type fused(type a, type b, type c) { return a * b + c; }                           \
    INLINE type horner(type a, type b, type c) { return a * b + c; }
#endif
FUSES(vec, EACH_REAL, fused, horner)

/* The first n lanes; 0 in the others. What is computed there of zeros (0 / 0) is no number. */
INLINE vec first_lanes(vec v, long n) {
    for (long k = n; k < LANES; k++) v[k] = 0;
    return v;
}

/* Sums of squares in double: the square of 1e-25 is below float's range. Of a double it may be out of double's: there
   are two more sums, of what is small and of what is large, by powers of two that leave no square out of range. */
#ifdef DOUBLE
#define SMALL 0x1p-600
#define LARGE 0x1p600
typedef struct { vec sum, small, large; } Square;
INLINE void square(Square *s, vec v) {
    vec small = v * LARGE, large = v * SMALL;
    s->sum = fused(v, v, s->sum);
    s->small = fused(small, small, s->small);
    s->large = fused(large, large, s->large);
}
#else
/* The two halves of a vector in double. */
typedef double wide __attribute__((vector_size(BYTES)));
FUSES(wide, "pd", fused_wide, horner_wide)
#if defined(__AVX__)
typedef float half __attribute__((vector_size(BYTES / 2)));
INLINE wide doubled(half v) {
    wide out;
    __asm__("vcvtps2pd %1, %0" : "=v"(out) : "v"(v));
    return out;
}
INLINE wide low_of(vec v) {
    half low;
    memcpy(&low, &v, sizeof low);
    return doubled(low);
}
INLINE wide high_of(vec v) {
    half high;
#if BYTES == 64
    __asm__("vextractf64x4 $1, %1, %0" : "=v"(high) : "v"(v));
#else
    __asm__("vextractf128 $1, %1, %0" : "=x"(high) : "x"(v));
#endif
    return doubled(high);
}
#else
INLINE wide low_of(vec v) { return (wide){v[0], v[1]}; }
INLINE wide high_of(vec v) { return (wide){v[2], v[3]}; }
#endif
typedef struct { wide low, high; } Square;
INLINE void square(Square *s, vec v) {
    wide low = low_of(v), high = high_of(v);
    s->low = fused_wide(low, low, s->low);
    s->high = fused_wide(high, high, s->high);
}
#endif
#ifdef DOUBLE
INLINE double added(vec sum) {
#else
INLINE double added(wide sum) {
#endif
#if BYTES == 64
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
#elif BYTES == 32
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
#else
    return sum[0] + sum[1];
#endif
}
#define INSIDE(square) ((square) > 1e-280 && (square) < 1e280) /* what is lost below is lost in rounding */
INLINE double norm(const Square *s) {
#ifdef DOUBLE
    double sum = added(s->sum);
    if (INSIDE(sum) || sum != sum) return sqrt(sum);
    return sum < 1 ? sqrt(added(s->small)) * SMALL : sqrt(added(s->large)) * LARGE;
#else
    return sqrt(added(s->low + s->high));
#endif
}
/* The norm of two vectors one after the other, from the norm of each. */
INLINE double joined(double a, double b) {
    double sum = a * a + b * b;
    return INSIDE(sum) ? sqrt(sum) : hypot(a, b);
}

/* The smaller and the larger of two, and the second where either is NaN. */
#if defined(__AVX__)
INLINE vec smaller(vec a, vec b) {
    __asm__("vmin" EACH_REAL " %2, %1, %0" : "=v"(a) : "v"(a), "v"(b));
    return a;
}
INLINE vec larger(vec a, vec b) {
    __asm__("vmax" EACH_REAL " %2, %1, %0" : "=v"(a) : "v"(a), "v"(b));
    return a;
}
#else
INLINE vec smaller(vec a, vec b) { return pick(a < b, a, b); }
INLINE vec larger(vec a, vec b) { return pick(a > b, a, b); }
#endif
INLINE vec within(vec x, real low, real high) { return smaller(splat(high), larger(splat(low), x)); }
/* Within -limit and limit; NaN stays NaN. */
INLINE vec limited(vec x, real limit) { return within(x, -limit, limit); }

/* Elementary functions. In float: e^x = 2^n e^r, |r| <= ln(2)/2, by Cephes' polynomial, so that small results keep their
   digits (a gate that is shut at 1e-9 is not 0 or 1e-7). A NaN stays a NaN: every comparison with it is false. */
#define EACH(f, x)                                         \
    ({                                                     \
        vec each_ = (x);                                   \
        for (long k_ = 0; k_ < LANES; k_++) each_[k_] = f(each_[k_]); \
        each_;                                             \
    })
#ifdef DOUBLE
INLINE vec exp_(vec x) { return EACH(exp, x); }
INLINE vec expm1_(vec x) { return EACH(expm1, x); }
INLINE vec tanh_(vec x) { return EACH(tanh, x); }
INLINE vec sigmoid_(vec x) { return 1 / (1 + EACH(exp, -x)); }
INLINE vec log_(vec x) { return EACH(log, x); }
INLINE vec log1p_(vec x) { return EACH(log1p, x); }
INLINE vec sqrt_(vec x) { return EACH(sqrt, x); }
INLINE vec sin_(vec x) { return EACH(sin, x); }
INLINE vec cos_(vec x) { return EACH(cos, x); }
INLINE vec erf_(vec x) { return EACH(erf, x); }
#else
typedef struct { vec scale, rest; } Power; /* e^x = scale (1 + rest) */
INLINE Power power(vec x) {
    const float to_integer = 12582912.f; /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
    vec shifted = horner(x, splat(1.44269504088896341f), splat(to_integer));
    vec n = shifted - to_integer;
    vec r = fused(n, splat(-0.693359375f), x);
    r = fused(n, splat(2.12194440e-4f), r);
    vec p = horner(splat(1.9875691500e-4f), r, splat(1.3981999507e-3f));
    p = horner(p, r, splat(8.3334519073e-3f));
    p = horner(p, r, splat(4.1665795894e-2f));
    p = horner(p, r, splat(1.6666665459e-1f));
    p = horner(p, r, splat(5.0000001201e-1f));
    Power e = {(vec)(((ivec)shifted - 0x4B400000 + 127) << 23), fused(p, r * r, r)};
    return e;
}
INLINE vec sigmoid_(vec x) {
    Power e = power(within(-x, -87.f, 88.f));
    return 1 / (1 + fused(e.scale, e.rest, e.scale));
}
INLINE vec tanh_(vec x) { /* e^2x - 1 over e^2x + 1, without cancellation at 0 */
    Power e = power(within(2 * x, -18.5f, 18.5f));
    vec t = fused(e.scale, e.rest, e.scale - 1);
    return t / (t + 2);
}
INLINE vec exp_(vec x) { /* in two halves: all of float's range, infinity and zero included */
    Power e = power(within(x, -104.f, 89.f) * .5f);
    vec root = fused(e.scale, e.rest, e.scale);
    return pick(x > 88.7228394f, x * splat(INFINITY), root * root);
}
INLINE vec expm1_(vec x) { return EACH(expm1f, x); }
INLINE vec log_(vec x) { return EACH(logf, x); }
INLINE vec log1p_(vec x) { return EACH(log1pf, x); }
INLINE vec sqrt_(vec x) { return EACH(sqrtf, x); }
INLINE vec sin_(vec x) { return EACH(sinf, x); }
INLINE vec cos_(vec x) { return EACH(cosf, x); }
INLINE vec erf_(vec x) { return EACH(erff, x); }
#endif
INLINE vec relu_(vec x) { return pick(x < 0, splat(0), x); }
INLINE vec abs_(vec x) { return pick(x < 0, -x, x); }
INLINE vec sign_(vec x) { return pick(x < 0, splat(-1), pick(x > 0, splat(1), x * 0)); }
INLINE vec maximum_(vec a, vec b) { return pick((a > b) | (a != a), a, b); }
INLINE vec minimum_(vec a, vec b) { return pick((a < b) | (a != a), a, b); }
