"""Data of the house: chaotic systems, recordings, images; generators and readers, one file each.

Nothing is loaded here; import the file you need, ``from isocline.datasets.images import load_images``.
"""
