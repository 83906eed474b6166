/* The driver: folds a compiled update along groups of nodes, forwards and backwards.

   Matrices are packed once a call and used at every step; accumulators of a few groups at a time stay in cache, and so
   do their adjoints, which are multiplied into the weights' gradients a block of rows at a time. Single-threaded, in
   a fixed order: the same input gives the same bits, and a row's result does not depend on the rows beside it. */
#include "products.h"
#include "structs.h"
#include <float.h>
#include <stdlib.h>

#define WINDOW 64 /* rows whose inputs are projected together, at least */
#define FAR (4 << 20) /* bytes of tape above which it is written past the caches, which could not keep it anyway */
#define BLOCK 256 /* rows whose adjoints are multiplied into the gradients together, at least */

/* What this was compiled for. */
const int32_t vector_bits = 8 * BYTES, fuses = FUSED;
const Products *matrix; /* of products.c, a library of its own: who loads both says where it is */

enum { INPUT, CHILD, VALUE };

SIZE_OF(Run) SIZE_OF(Product) SIZE_OF(Bias) SIZE_OF(Program) SIZE_OF(Rows) SIZE_OF(Intervention) SIZE_OF(Fold)

/* Scratch memory: one allocation a call, handed out in aligned pieces. The first pass only measures. */
typedef struct {
    char *base;
    size_t used;
} Arena;
static void *take(Arena *arena, size_t bytes) {
    void *piece = arena->base ? arena->base + arena->used : NULL;
    arena->used += (bytes + 63) / 64 * 64;
    return piece;
}
#define TAKE(arena, type, count) ((type *)take(arena, sizeof(type) * (size_t)(count)))

/* Rows of a source, by pointer. */
static void point(const real **to, const Fold *f, const Program *p, const Product *product, const int32_t *row,
                  const int32_t *child, const real *tape, int64_t rows) {
    int64_t h = f->hidden;
    for (int64_t i = 0; i < rows; i++) switch (product->source) {
            case INPUT: to[i] = at(&f->input, row[i]); break;
            case CHILD: to[i] = f->state[product->part] + (child[i] + product->child) * h; break;
            default: to[i] = tape + (i * p->slots + product->value) * h;
        }
}
/* The rows as one array with a step: as they lie, or copied together. */
static const real *gather(const real *const *rows, int64_t count, int64_t width, real *room, int64_t *step) {
    *step = count > 1 ? rows[1] - rows[0] : width;
    for (int64_t i = 2; i < count; i++)
        if (rows[i] - rows[i - 1] != *step) goto copy;
    if (*step >= width) return rows[0];
copy:
    for (int64_t i = 0; i < count; i++) memcpy(room + i * width, rows[i], (size_t)width * sizeof(real));
    *step = width;
    return room;
}
static int64_t depth_of(const Fold *f, const Product *product) {
    return product->source == INPUT ? f->features : product->blocks * f->hidden;
}

typedef struct {
    real **packed;  /* a product's runs, one after another */
    real *bias;     /* of each accumulator */
    real **sum;     /* backward: the transposed gradient of each product, depth x its columns; NULL: added at once */
    double *dbias;
    real *dacc;     /* backward: a block of rows, filled from its end */
    int64_t filled; /* rows of it */
    int64_t *group; /* the groups in it, first ones last */
    int64_t groups;
} Work;

static int64_t columns(const Product *product) {
    int64_t count = 0;
    for (int32_t r = 0; r < product->runs; r++) count += product->run[r].count;
    return count;
}
/* A narrow source makes narrow gradients: their tiles are full the other way round. */
static int transposed(const Fold *f, const Product *product) {
    return depth_of(f, product) < PANEL || product->column != 1;
}
static int64_t packed_size(const Fold *f, const Product *product, int back) {
    int64_t size = 0, h = f->hidden, depth = depth_of(f, product);
    for (int32_t r = 0; r < product->runs; r++) {
        int64_t n = product->run[r].count * h;
        size += back ? panels(depth) * PANEL * n : panels(n) * PANEL * depth;
    }
    return size;
}
static void pack_product(real *to, const Fold *f, const Product *product, int back) {
    int64_t h = f->hidden, depth = depth_of(f, product);
    for (int32_t r = 0; r < product->runs; r++) {
        const Run *run = product->run + r;
        const real *w = f->tensor[product->weight] + product->offset + run->block * h * product->row;
        int64_t n = run->count * h;
        if (back) {
            matrix->pack(to, w, n, depth, product->row, product->column);
            to += panels(depth) * PANEL * n;
        } else {
            matrix->pack(to, w, depth, n, product->column, product->row);
            to += panels(n) * PANEL * depth;
        }
    }
}

/* acc += source W^T for the rows of a group (or several). */
static void project(const Fold *f, const Product *product, const real *packed, const real *const *rows, int64_t count,
                    real *acc, int64_t accs, real *room) {
    int64_t h = f->hidden, depth = depth_of(f, product), step;
    const real *a = gather(rows, count, depth, room, &step);
    for (int32_t r = 0; r < product->runs; r++) {
        const Run *run = product->run + r;
        int64_t n = run->count * h;
        matrix->multiply(a, step, packed, count, depth, n, acc + run->acc * h, accs * h);
        packed += panels(n) * PANEL * depth;
    }
}
/* to += dacc W, rows of `width` = the product's depth. */
static void unproject(const Fold *f, const Product *product, const real *packed, const real *dacc, int64_t accs,
                      int64_t count, real *to, int64_t step) {
    int64_t h = f->hidden, depth = depth_of(f, product);
    for (int32_t r = 0; r < product->runs; r++) {
        const Run *run = product->run + r;
        int64_t n = run->count * h;
        matrix->multiply(dacc + run->acc * h, accs * h, packed, count, n, depth, to, step);
        packed += panels(depth) * PANEL * n;
    }
}

/* What calls the rest: half of what optimising it takes is not worth waiting for. */
#if !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O1")
#endif
typedef struct {
    int64_t nodes, largest, widest, accs, values; /* over groups; over products; over programs */
    int64_t *first;                               /* the first node of each group */
    int64_t *tape;                                /* where its tape starts */
    int64_t far;
} Extent;
static Extent measure(const Fold *f, Arena *arena) {
    Extent e = {0};
    e.first = TAKE(arena, int64_t, f->groups);
    e.tape = TAKE(arena, int64_t, f->groups);
    for (int64_t p = 0; p < f->programs; p++) {
        e.accs = most(e.accs, f->program[p].accs);
        e.values = most(e.values, f->program[p].values);
        for (int32_t i = 0; i < f->program[p].products; i++)
            e.widest = most(e.widest, depth_of(f, f->program[p].product + i));
    }
    int64_t tape = 0;
    for (int64_t g = 0; g < f->groups; g++) {
        if (arena->base) e.first[g] = e.nodes, e.tape[g] = tape;
        if (f->keep) tape += f->count[g] * f->program[f->kind[g]].slots * f->hidden;
        e.nodes += f->count[g];
        e.largest = most(e.largest, f->count[g]);
    }
    e.far = tape * (int64_t)sizeof(real) > FAR;
    return e;
}
static Group group_of(const Fold *f, const Extent *e, int64_t g) {
    const Program *p = f->program + f->kind[g];
    Group group = {0};
    group.hidden = f->hidden, group.rows = f->count[g], group.arity = p->arity;
    group.row = f->row + e->first[g], group.child = f->child + e->first[g];
    group.state = f->state, group.tape = f->tape + e->tape[g], group.width = p->slots * f->hidden;
    group.accs = p->accs * f->hidden, group.far = e->far;
    group.vector = (const real *const *)f->tensor, group.dvector = f->gradient;
    group.adjoint = f->adjoint, group.direct = f->direct, group.recurrent = f->recurrent, group.norm = f->norm;
    group.dvalues = p->values * f->hidden;
    return group;
}

static void run_forward(const Fold *f, Arena *arena) {
    Extent e = measure(f, arena);
    int64_t h = f->hidden, window = most(WINDOW, e.largest);
    real *acc = TAKE(arena, real, window * e.accs * h), *room = TAKE(arena, real, window * e.widest);
    const real **rows = TAKE(arena, const real *, window);
    Work *work = TAKE(arena, Work, f->programs);
    for (int64_t p = 0; p < f->programs; p++) {
        const Program *program = f->program + p;
        real **packed = TAKE(arena, real *, program->products), *bias = TAKE(arena, real, program->accs * h);
        for (int32_t i = 0; i < program->products; i++) {
            const Product *product = program->product + i;
            real *to = product->same < i ? NULL : TAKE(arena, real, packed_size(f, product, 0));
            if (!arena->base) continue;
            packed[i] = to ? to : packed[product->same];
            if (to) pack_product(to, f, product, 0);
        }
        if (!arena->base) continue;
        work[p].packed = packed, work[p].bias = bias;
        memset(bias, 0, (size_t)(program->accs * h) * sizeof(real));
        for (int32_t i = 0; i < program->biases; i++) {
            const Bias *b = program->bias + i;
            for (int64_t j = 0; j < h; j++) bias[b->acc * h + j] += f->tensor[b->tensor][b->offset + j];
        }
    }
    if (!arena->base) return;
    for (int64_t g = 0; g < f->groups;) {
        const Program *p = f->program + f->kind[g];
        const Work *w = work + f->kind[g];
        int64_t stop = g, count = 0, accs = p->accs * h;
        do count += f->count[stop++];
        while (stop < f->groups && f->kind[stop] == f->kind[g] && count + f->count[stop] <= window);
        for (int64_t i = 0; i < count; i++) memcpy(acc + i * accs, w->bias, (size_t)accs * sizeof(real));
        for (int32_t i = 0; i < p->products; i++)
            if (p->product[i].source == INPUT) {
                point(rows, f, p, p->product + i, f->row + e.first[g], NULL, NULL, count);
                project(f, p->product + i, w->packed[i], rows, count, acc, p->accs, room);
            }
        for (real *at_ = acc; g < stop; at_ += f->count[g] * accs, g++) {
            Group group = group_of(f, &e, g);
            group.acc = at_;
            for (int32_t stage = 0; stage < p->stages; stage++) {
                for (int32_t i = 0; i < p->products; i++)
                    if (p->product[i].stage == stage && p->product[i].source != INPUT) {
                        point(rows, f, p, p->product + i, group.row, group.child, group.tape, group.rows);
                        project(f, p->product + i, w->packed[i], rows, group.rows, at_, p->accs, room);
                    }
                p->forward[stage](&group);
            }
        }
    }
}

#if !defined(__clang__)
#pragma GCC pop_options
#endif

/* Multiply a block of accumulators' adjoints into the gradients, and into the input's. */
static void flush(const Fold *f, const Extent *e, const Program *p, Work *w, int64_t block, const real **rows,
                  const real **daccs, real *room, real *wide) {
    int64_t h = f->hidden, count = w->filled, accs = p->accs * h;
    const real *dacc = w->dacc + (block - count) * accs;
    if (!count) return;
    for (int64_t i = 0; i < count; i++) daccs[i] = dacc + i * accs;
    for (int32_t i = 0; i < p->products; i++) {
        const Product *product = p->product + i;
        int64_t depth = depth_of(f, product), total = columns(product) * h, column = 0, n = 0;
        if (f->gradient[product->weight]) {
            for (int64_t k = w->groups - 1; k >= 0; k--) {
                int64_t g = w->group[k], first = e->first[g];
                point(rows + n, f, p, product, f->row + first, f->child + first, f->tape + e->tape[g], f->count[g]);
                n += f->count[g];
            }
            for (int32_t r = 0; r < product->runs; r++) {
                const Run *run = product->run + r;
                int64_t width = run->count * h, from = run->acc * h;
                real *to = f->gradient[product->weight] + product->offset + run->block * h * product->row;
                if (w->sum[i] && depth <= FEW)
                    matrix->accumulate_few(rows, daccs, from, count, depth, width, w->sum[i] + column, total);
                else if (w->sum[i])
                    matrix->accumulate(rows, 0, daccs, from, count, depth, width, w->sum[i] + column, total, room);
                else
                    matrix->accumulate(daccs, from, rows, 0, count, width, depth, to, product->row, room);
                column += width;
            }
        }
        if (product->source == INPUT && f->dinput.base) {
            memset(wide, 0, (size_t)(count * depth) * sizeof(real));
            unproject(f, product, w->packed[i], dacc, p->accs, count, wide, depth);
            const real *from = wide;
            for (int64_t k = w->groups - 1; k >= 0; k--) {
                int64_t g = w->group[k];
                for (int64_t j = 0; j < f->count[g]; j++, from += depth) {
                    real *to = at(&f->dinput, f->row[e->first[g] + j]);
                    for (int64_t d = 0; d < depth; d++) to[d] += from[d];
                }
            }
        }
    }
    if (p->biases)
        for (int64_t i0 = 0; i0 < count; i0 += 16) /* sums over many rows: short ones in real, long ones in double */
            for (int64_t j0 = 0; j0 < accs; j0 += LANES) {
                vec sum = {0};
                int64_t n = least(LANES, accs - j0);
                for (int64_t i = i0; i < least(i0 + 16, count); i++) sum += load(dacc + i * accs + j0, n);
                for (int64_t j = 0; j < n; j++) w->dbias[j0 + j] += sum[j];
            }
    w->filled = w->groups = 0;
}

/* Zero for what is added to: the rows of every child, while they come into the cache. */
static void clear(real *adjoint, const int32_t *child, int64_t count, int64_t arity, int64_t h) {
    for (int64_t i = 0; arity && i < count; i++)
        memset(adjoint + child[i] * h, 0, (size_t)(arity * h) * sizeof(real));
}

/* The norm of a row's a scale + b; without b where it is NULL, without a where its scale is 0. */
INLINE double norm_with(const int with_a, const int with_b, const real *a, real scale, const real *b, int64_t h) {
    Square sum = {0};
    int64_t j = 0;
#define TERM(n) ((with_a ? load(a + j, n) * scale : splat(0)) + (with_b ? load(b + j, n) : splat(0)))
    for (; j + LANES <= h; j += LANES) square(&sum, TERM(LANES));
    if (j < h) square(&sum, TERM(h - j));
#undef TERM
    return norm(&sum);
}
INLINE double norm_of(const real *a, real scale, const real *b, int64_t h) {
    if (!b) return scale == 0 ? 0 : norm_with(1, 0, a, scale, b, h);
    return scale == 0 ? norm_with(0, 1, a, scale, b, h) : norm_with(1, 1, a, scale, b, h);
}
#if !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O1")
#endif
/* The recurrent part of a row's adjoint: what each part is kept by, to the later state's norm. Into `scale`. */
INLINE void act_on_recurrent(const Fold *f, const Intervention *a, int64_t row, real *scale) {
    double before = 0, kept = 0, factor = 1, later = a->later ? a->later[row] : -1;
    for (int64_t k = 0; k < f->parts; k++) {
        double keep = a->keep[k] ? a->keep[k][row] : 1, part = norm_of(f->adjoint[k] + row * f->hidden, 1, NULL, f->hidden);
        before = joined(before, part);
        if (keep != 0) kept = joined(kept, keep * part);
        scale[k] = (real)keep;
    }
    if (a->exponent != 0 && later >= 0 && isfinite(later) && kept > 0 && isfinite(kept)) {
        factor = a->exponent == 1 ? later / kept : pow(later / kept, a->exponent);
#ifdef DOUBLE
        if (factor > DBL_MAX) factor = DBL_MAX;
#else
        if (factor > FLT_MAX) factor = FLT_MAX;
#endif
        for (int64_t k = 0; k < f->parts; k++) scale[k] *= (real)factor;
    }
    a->recurrent[0][row] = before, a->recurrent[1][row] = kept * factor;
}
/* The adjoint of a row, to the largest norm: what it is multiplied by. Its new norm is for the row's children. */
INLINE double act_on_adjoint(const Fold *f, const Intervention *a, int64_t row, int64_t child, int64_t arity, const real *scale) {
    double whole = 0, factor = 1;
    for (int64_t k = 0; k < f->parts; k++) {
        const real *direct = f->direct[k].base ? at(f->direct + k, row) : NULL;
        whole = joined(whole, norm_of(f->adjoint[k] + row * f->hidden, scale[k], direct, f->hidden));
    }
    if (whole > a->max_norm && isfinite(whole)) factor = a->max_norm / whole;
    if (a->adjoint[0]) a->adjoint[0][row] = whole, a->adjoint[1][row] = whole * factor;
    for (int64_t k = 0; a->later && k < arity; k++) a->later[child + k] = whole * factor;
    return factor;
}
/* What acts on the adjoints of a group's states before its update's derivative. */
static void act(const Fold *f, const Group *g, int64_t arity, real *scale) {
    const Intervention *a = f->intervention;
    for (int64_t i = 0; i < g->rows; i++, scale += f->parts + 1) {
        int64_t row = g->row[i];
        double factor = 1;
        for (int64_t k = 0; k < f->parts; k++) scale[k] = 1;
        if (a->recurrent[0]) act_on_recurrent(f, a, row, scale);
        if (a->adjoint[0] || a->later) factor = act_on_adjoint(f, a, row, g->child[i], arity, scale);
        for (int64_t k = 0; factor != 1 && k < f->parts; k++) scale[k] *= (real)factor;
        scale[f->parts] = (real)factor;
        if (a->factor) a->factor[row] = factor;
    }
}

static void run_backward(const Fold *f, Arena *arena) {
    Extent e = measure(f, arena);
    int64_t h = f->hidden, block = most(BLOCK, e.largest), left = most(e.widest, e.accs * h) + TILE;
    real *room = TAKE(arena, real, block * (left + PANEL)), *wide = TAKE(arena, real, block * e.widest);
    real *dvalue = TAKE(arena, real, e.largest * e.values * h);
    real *scale = TAKE(arena, real, e.largest * (f->parts + 1));
    const real **rows = TAKE(arena, const real *, block), **daccs = TAKE(arena, const real *, block);
    Work *work = TAKE(arena, Work, f->programs);
    for (int64_t p = 0; p < f->programs; p++) {
        const Program *program = f->program + p;
        Work w = {0};
        w.packed = TAKE(arena, real *, program->products);
        w.sum = TAKE(arena, real *, program->products);
        w.dbias = TAKE(arena, double, program->accs * h);
        w.dacc = TAKE(arena, real, block * program->accs * h);
        w.group = TAKE(arena, int64_t, block);
        for (int32_t i = 0; i < program->products; i++) {
            const Product *product = program->product + i;
            if (product->same < i) {
                if (arena->base) w.packed[i] = w.packed[product->same], w.sum[i] = w.sum[product->same];
                continue;
            }
            int64_t size = depth_of(f, product) * columns(product) * h;
            real *to = product->source == INPUT && !f->dinput.base ? NULL : TAKE(arena, real, packed_size(f, product, 1));
            int apart = f->gradient[product->weight] && transposed(f, product);
            real *sum = apart ? TAKE(arena, real, size) : NULL;
            if (!arena->base) continue;
            w.packed[i] = to, w.sum[i] = sum;
            if (to) pack_product(to, f, product, 1);
            if (sum) memset(sum, 0, (size_t)size * sizeof(real));
        }
        if (!arena->base) continue;
        memset(w.dbias, 0, (size_t)(program->accs * h) * sizeof(double));
        work[p] = w;
    }
    if (!arena->base) return;
    const int acts = f->intervention && (f->intervention->recurrent[0] || f->intervention->adjoint[0]);
    for (int64_t i = 0; i < e.largest * (f->parts + 1); i++) scale[i] = 1;
    for (int64_t g = f->groups - 1; g >= 0; g--) {
        const Program *p = f->program + f->kind[g];
        Work *w = work + f->kind[g];
        int64_t accs = p->accs * h;
        if (w->filled + f->count[g] > block) flush(f, &e, p, w, block, rows, daccs, room, wide);
        Group group = group_of(f, &e, g);
        w->filled += group.rows;
        w->group[w->groups++] = g;
        group.acc = w->dacc + (block - w->filled) * accs;
        group.dvalue = dvalue;
        if (f->intervention) {
            if (acts) act(f, &group, p->arity, scale);
            group.scale = scale, group.limit = (real)f->intervention->max_value;
            group.clamped = f->intervention->preactivation[0] ? f->intervention->preactivation : NULL;
        }
        for (int64_t part = 0; part < f->parts; part++) clear(f->adjoint[part], group.child, group.rows, p->arity, h);
        memset(dvalue, 0, (size_t)(group.rows * group.dvalues) * sizeof(real));
        for (int32_t stage = p->stages - 1; stage >= 0; stage--) {
            p->backward[stage](&group);
            for (int32_t i = 0; i < p->products; i++) {
                const Product *product = p->product + i;
                if (product->stage != stage || product->source == INPUT) continue;
                if (product->source == VALUE) {
                    /* values are numbered as the tape's first slots */
                    unproject(f, product, w->packed[i], group.acc, p->accs, group.rows, dvalue + product->value * h,
                              group.dvalues);
                    continue;
                }
                real *const to = f->adjoint[product->part] + product->child * h;
                int64_t depth = product->blocks * h, step = group.rows > 1 ? group.child[1] - group.child[0] : product->blocks;
                for (int64_t r = 2; step > 0 && r < group.rows; r++)
                    if (group.child[r] - group.child[r - 1] != step) step = 0;
                if (step >= product->blocks) {
                    unproject(f, product, w->packed[i], group.acc, p->accs, group.rows, to + group.child[0] * h, step * h);
                    continue;
                }
                memset(wide, 0, (size_t)(group.rows * depth) * sizeof(real));
                unproject(f, product, w->packed[i], group.acc, p->accs, group.rows, wide, depth);
                for (int64_t r = 0; r < group.rows; r++) {
                    real *row = to + group.child[r] * h;
                    for (int64_t j = 0; j < depth; j++) row[j] += wide[r * depth + j];
                }
            }
        }
    }
    for (int64_t k = 0; k < f->programs; k++) {
        const Program *p = f->program + k;
        Work *w = work + k;
        flush(f, &e, p, w, block, rows, daccs, room, wide);
        for (int32_t i = 0; i < p->products; i++) {
            const Product *product = p->product + i;
            int64_t depth = depth_of(f, product), total = columns(product) * h, column = 0;
            real *to = f->gradient[product->weight];
            if (!w->sum[i] || product->same < i) continue;
            for (int32_t r = 0; r < product->runs; r++) {
                const Run *run = product->run + r;
                real *first = to + product->offset + run->block * h * product->row;
                for (int64_t n0 = 0; n0 < run->count * h; n0 += 16)
                    for (int64_t d = 0; d < depth; d++)
                        for (int64_t n = n0; n < least(n0 + 16, run->count * h); n++)
                            first[n * product->row + d * product->column] += w->sum[i][d * total + column + n];
                column += run->count * h;
            }
        }
        for (int32_t i = 0; i < p->biases; i++) {
            const Bias *b = p->bias + i;
            real *to = f->gradient[b->tensor];
            for (int64_t j = 0; to && j < h; j++) to[b->offset + j] += (real)w->dbias[b->acc * h + j];
        }
    }
}

static int within_arena(const Fold *f, void (*run)(const Fold *, Arena *)) {
    Arena arena = {0};
    run(f, &arena);
    arena.base = aligned_alloc(64, arena.used + 64);
    if (!arena.base) return 1;
    arena.used = 0;
    run(f, &arena);
    free(arena.base);
    return 0;
}
/* The states from the inputs; 1 where there is no memory. */
int fold_forward(const Fold *f) { return within_arena(f, run_forward); }
/* The adjoints and gradients from the states, the tape and `direct`. Adds to `gradient` and `dinput`,
   which must be 0, and to `adjoint` at the last nodes. Where something acts, the norms of what is clamped must be 0, and
   the later norms below 0. */
int fold_backward(const Fold *f) { return within_arena(f, run_backward); }
