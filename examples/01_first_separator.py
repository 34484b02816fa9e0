"""Find a plane that puts every row on its right side, and see what is known about it.

    python examples/01_first_separator.py

Threes against eights: 357 images of 8 x 8 pixels that come with scikit-learn.
"""

from sklearn.datasets import load_digits

from isocline.linear_model import LargeStepClassifier

X, y = load_digits(return_X_y=True)
keep = (y == 3) | (y == 8)
X, y = X[keep], y[keep]

model = LargeStepClassifier().fit(X, y)
print(f"rows on the wrong side: {int((model.predict(X) != y).sum())} of {len(y)}")
print(f"found by {model.method_}, iteration {model.separation_iter_}; its margin is {model.margin_:.3g}")

widest = LargeStepClassifier(stop="margin").fit(X, y)
print(f"the widest has a margin of {widest.margin_:.3g}; none has more than {widest.margin_upper_:.3g}")
