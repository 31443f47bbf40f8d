"""Keras as this project means it, whatever ~/.keras/keras.json or the environment say: import it before anything else of Keras.

Another float type, epsilon or order of the axes would change every network, and nothing would say so.
"""

import os

BACKEND = os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # another one only where somebody asks for it by this variable
os.environ["TF_USE_LEGACY_KERAS"] = "0"
if BACKEND == "tensorflow":
    os.environ["SM_FRAMEWORK"] = "tf.keras"  # else segmentation-models 1.0.1 dies on Keras 3

import keras  # noqa: E402

keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
