#!/usr/bin/env bash
# Keras 3.15.1 on torch 2.13.0 (CPU), Python 3.11.
#
# keras.layers.RandomColorJitter(data_format="channels_first") raises: the layers that it is made of
# are not given its data_format, and those for saturation and hue look for three channels along the
# last axis. RandomSaturation and RandomHue by themselves take the same images with that argument.
#
# Seen for images (1, 3, 4, 5):
#   RandomColorJitter  RuntimeError
#   RandomSaturation   (1, 3, 4, 5)
#   RandomHue          (1, 3, 4, 5)
#
# The script fails if that changes. It needs pip and some 2 GB in a temporary folder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1
cat > "$folder/run.py" <<'PYTHON'
import keras

images = keras.ops.full((1, 3, 4, 5), 0.5)
options = {"value_range": (0, 1), "data_format": "channels_first", "seed": 0}
each = {"brightness_factor": 0.1, "contrast_factor": 0.1, "saturation_factor": 0.1}
for layer in (
    keras.layers.RandomColorJitter(**each, hue_factor=0.1, **options),
    keras.layers.RandomSaturation(0.1, **options),
    keras.layers.RandomHue(0.1, **options),
):
    try:
        found = tuple(layer(images, training=True).shape)
    except Exception as error:
        found = type(error).__name__
    print(type(layer).__name__, found)
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff - "$folder/seen" <<'SEEN'
RandomColorJitter RuntimeError
RandomSaturation (1, 3, 4, 5)
RandomHue (1, 3, 4, 5)
SEEN
