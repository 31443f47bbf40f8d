"""Keras as this project means it, whatever ~/.keras/keras.json or the environment say: import it before anything else of Keras.

Another backend, float type, epsilon or order of the axes would change every network, and nothing would say so.
"""

from lib import surroundings

surroundings.set_up()

import keras  # noqa: E402

keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
