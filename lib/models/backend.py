"""Keras as this project means it, whatever ~/.keras/keras.json or the environment say: import it before
anything else of Keras.

Another backend, float type, epsilon or order of the axes would change every network, and nothing would say
so.
"""

import keras

from lib.models import environment

environment.set_up()
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
