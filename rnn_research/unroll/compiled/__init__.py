"""The native engine: a cell's update compiled to C, and folded along a structure by a driver in C.

What a cell does is found by running its `step` once on symbols. Nothing of it is known here by name. From there:

    cell.step -> trace -> update_plan -> source -> library -> driver_call -> unfolding

* `trace`: runs `step` on the tensors of `symbols`. `functions` and `shapes` say what torch's functions do to those. The
  `tracer` gathers what was computed into a `graph`: elementwise `operations` on blocks, and products with the cell's
  weights. `seen` tells whether what the trace read has changed since.
* `update_plan`: lays an update out: which sums are gathered, which products wait for which values, what the tape keeps.
  `lanes` finds what is done alike to each of a node's children.
* `source`: writes the update's C, forwards and (`reverse`) backwards, by a `segment_writer`.
* `library`: compiles C once for this CPU, and keeps (`cache`) and loads it.
* `updates`: compiles a cell's updates for the numbers of children at hand, and knows for which other cells they serve.
* `structs`: the C structs that the driver reads, and the check that C and Python lay them out alike.
* `schedule`: the order in which a structure's nodes are computed.
* `buffer_pool`: memory that one call leaves to the next.
* `driver_call`: calls the driver (kernel.c, with products.c) on tensors, as one operation of autograd.
* `intervention`: what acts within a backward pass of the driver, and the record of it.
* `unfolding`: the engine's result.

An update without a native form raises `Untraceable`, and a machine that can't compile raises `Unavailable`. Each says
what stopped it, and the engine `auto` then goes on with another.
"""
