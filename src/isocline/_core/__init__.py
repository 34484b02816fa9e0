"""The ground floor: argument checks, safe files, seeds, probes of linear maps, and the one HTML page.

Private to the house: every room may stand on it, and it stands on no room. Import from the file that holds
the idea, ``from isocline._core.checks import check_number``; nothing is loaded before it is asked for.
"""
