/* The structs that Python fills in (structs.py) and the driver (kernel.c) reads; after kernel.h.

   Python compares their sizes when it loads the driver. So that any added field changes a size, no struct has padding:
   one that has pointers has no odd number of 32-bit fields. */

typedef struct {
    int32_t block, count, acc; /* `count` row blocks of the weight from `block` on -> accumulators from `acc` on */
} Run;
typedef struct {
    int64_t source, child, part, value, blocks; /* what is multiplied */
    int64_t stage;                              /* the update's segment that needs it */
    int64_t weight, runs;                       /* which tensor */
    int64_t same;                               /* the first product with the same part of the same tensor */
    int64_t offset, row, column;                /* where in it */
    const Run *run;
} Product;
typedef struct {
    int32_t acc, tensor;
    int64_t offset;
} Bias;
typedef struct {
    int64_t arity, stages, accs, slots, values, products, biases;
    int64_t vectors; /* whether its code adds to the gradient of a vector, row by row */
    const Product *product;
    const Bias *bias;
    const Update *forward, *backward; /* a segment a stage */
} Program;
/* What acts within the backward pass (unroll/intervention.py). Arrays are by the states' rows; one that is not wanted is
   NULL. */
typedef struct {
    const double *const *keep;      /* factors of each part's recurrent part; NULL: 1 */
    double exponent;                /* of the later norm over a state's own */
    double max_norm, max_value;     /* thresholds; infinite: none */
    double *later;                  /* norms of the adjoints of the states that read these; below 0: none does */
    double *factor;                 /* what an adjoint was multiplied by */
    double *recurrent[2], *adjoint[2], *preactivation[2]; /* norms before and after each point */
} Intervention;
typedef struct {
    int64_t hidden, features, parts, groups, programs, tensors;
    const Program *program;
    const int32_t *kind, *count, *row, *child; /* of each group, of each group, of each node, of each node */
    real *const *tensor, *const *gradient;     /* a gradient that is not wanted is NULL */
    real *const *state;
    real *tape;
    int64_t keep; /* whether the tape is kept for a backward pass */
    Rows input, dinput;
    real *const *adjoint, *const *recurrent;
    const Rows *direct;
    double *const *norm;
    const Intervention *intervention; /* NULL: nothing acts */
    int64_t threads, samples;         /* several threads need the sample of each node, a number from 0 */
    const int32_t *sample;
} Fold;

#define SIZE_OF(type) const int64_t size_of_##type = sizeof(type);
