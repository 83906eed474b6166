"""Jacobians of a cell's update: vector-Jacobian products by autograd and in closed form, and Lyapunov exponents."""
