"""What the claims of this room share: the paper, its figures, the methods' names and colours."""

from ...style import GREY, ORANGE, PLUM, SKY, TEAL

PAPER = (
    "Hess, Monfared, Brenner, Durstewitz, Generalized Teacher Forcing for Learning Chaotic Dynamics, ICML 2023, "
    "arXiv 2306.04406"
)
NAMES = {
    "gtf": "GTF",
    "agtf": "aGTF",
    "stf": "STF (cut sequences)",
    "sparse": "sparse forcing",
    "ours": "isocline's own settings",
}
COLORS = {"gtf": TEAL, "agtf": SKY, "stf": ORANGE, "sparse": PLUM, "ours": TEAL, "paper": GREY}

# Table 1: median and median absolute deviation over 20 runs of D_stsp, D_H and PE(20).
TABLE_1 = {
    ("ecg", "gtf"): ((4.3, 0.6), (0.34, 0.02), (2.4e-3, 1e-4)),
    ("ecg", "agtf"): ((4.5, 0.4), (0.34, 0.02), (2.4e-3, 2e-4)),
    ("ecg", "stf"): ((7.1, 1.8), (0.38, 0.03), (5e-3, 2e-3)),
    ("eeg", "gtf"): ((2.1, 0.2), (0.11, 0.01), (0.55, 0.01)),
    ("eeg", "agtf"): ((2.4, 0.2), (0.13, 0.01), (0.54, 0.06)),
    ("eeg", "stf"): ((14.0, 7.0), (0.50, 0.16), (0.25, 0.03)),
}
EXPONENT = 0.906  # largest of Lorenz-63 per unit of time
