"""kflare: solar-flare forecasts by deep neural networks, explained and deployable.

Two published systems rebuilt in TensorFlow/Keras: the dense CNN of Yi et al. (2021, ApJ 910, 8) on
full-disk magnetograms and Deep Flare Net (Nishizuka et al. 2021, Earth Planets Space 73, 64) on
active regions. The commands are ``python -m kflare.NAME``; the README lists them.
"""

__version__ = "0.1.0"
