"""Vector-Jacobian products of a cell's update, by autograd and by explicit formulas."""
