"""The noise of a picture, estimated from the picture alone.

estimate            the kind of noise and its level, or that there is none
scale               which values of a picture are black and white

Of white noise:
noise_level         its level, from the smallest eigenvalues of patches of weak texture
patches             these patches
clipped_normal      what is left of a normal distribution clipped at black and white
shared              the correlation between channels
coarseness          whether noise is coarser than white noise

Of noise that depends on brightness, and of grain:
blocks              blocks of 8 x 8 pixels, and the texture around each
curve               the level in bins of brightness, from the flattest blocks
shot                whether the level depends on brightness
counts              counts of few photons
correlated          whether there is grain, and which
grain               the correlation of neighbours and of channels
lagged_covariance   the covariance at small lags
evidence            the odds of grain against texture
blotches            whether there are blotches of colour, and which
feature_numbers     numbers fitted to features, in files

Of other things in a picture:
absence             whether it was drawn, and holds no noise
compression         whether it was a JPEG, and of which quality
filling             invalid pixels, filled from those around them
outliers            pixels that were replaced, and their repair
salt_and_pepper     many of them, with one or two values
stray_pixels        few of them, far from all around
surroundings        the neighbours of a pixel
evenness            whether pixels are spread evenly
banding             offsets of rows and columns
"""
