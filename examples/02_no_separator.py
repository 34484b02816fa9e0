"""Ask whether a plane can separate the data at all, and get a proof either way.

    python examples/02_no_separator.py

A separator is its own proof. That none exists is proved by weights under which the two classes have the same
mean: where their hulls meet, no plane can pass between them.
"""

import numpy as np

from isocline.linear_model.functional import is_separable

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 2))
y = X @ [2.0, -1.0] > 0.3

clean = is_separable(X, y)
print(clean.answer, clean.verify(X, y))

y[np.argmax(X @ [2.0, -1.0])] ^= True  # one label, the safest of all, is wrong
noisy = is_separable(X, y)
print(noisy.answer, noisy.verify(X, y))

signs = np.where(y, 1, -1)
print("weights on either class:", noisy.weights[y].sum(), noisy.weights[~y].sum())
print("their means differ by", np.abs((noisy.weights * signs) @ X).max())
