"""The noise of a picture, from the picture alone.

estimate          its kind and level, or that there is none
scale             what the values of a picture mean
noise_level       white noise, by the smallest eigenvalues of patches of weak texture
clipped_normal    what black and white leave of it
blocks            blocks of 8 x 8 pixels, and what each says of noise and of texture around it
curve             the level by brightness
shot              whether it depends on brightness
grain             the correlation of neighbours and of channels
absence           pictures that were drawn
compression       pictures that were JPEGs once
outliers          pixels that were replaced outright: as salt and pepper, or as stray pixels and streaks
salt_and_pepper   many, of one or two values
stray_pixels      few, beyond all that is around them
surroundings      what lies around a pixel, and how it spreads
banding           offsets of rows and of columns
"""
