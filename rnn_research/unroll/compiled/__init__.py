"""The native engine: a cell's update compiled to C, and folded along a structure by a driver in C.

What a cell does is found by running its `step` once on symbols; nothing of it is known here by name. From there:

    cell.step -> trace -> plan -> source -> library -> kernel -> fold

* `trace`: runs `step` on the tensors of `symbols`. `functions` and `shapes` say what torch's functions do to those,
  and `graph` gathers what was computed: elementwise `operations` on blocks, and products with the cell's weights.
* `plan`: lays an update out: which sums are gathered, which products wait for which values, what the tape keeps.
* `source`: writes its C, forwards and backwards.
* `library`: compiles C once for this CPU, and keeps and loads it.
* `compiled`: a cell's updates for the numbers of children at hand, and what of a cell makes them another's.
* `schedule`: the order in which a structure's nodes are computed.
* `tapes`: memory that one call leaves to the next.
* `kernel`: calls the driver (kernel.c, with products.c) on tensors, as one operation of autograd.
* `acted`: what acts within a backward pass, and the record of it.
* `fold`: the engine's result, a `Fold`.

An update without a native form raises `Untraceable`, and a machine that can't compile `Unavailable`; each says what
stopped it, and the engine `auto` then goes on with another.
"""
