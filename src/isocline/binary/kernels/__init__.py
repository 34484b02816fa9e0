"""Training on a CPU in single precision, without a tensor more than a plain layer's.

=================  ==========================================================================================
``functional``     the truth the others are tested against, and what any other device, dtype or trace computes with
``compiled``       two loops over numbers: the sign; ReSTE's slope times a gradient
``rows``           the loops over a latent weight: its scale, its scaled sign, and their slopes
``elementwise``    the sign as one operation, the slope as one, in place where the gradient is ours to change
``weight``         the scaled binary weight as one operation
``convolution``    sign and convolution as one operation that keeps its input only
=================  ==========================================================================================
"""
