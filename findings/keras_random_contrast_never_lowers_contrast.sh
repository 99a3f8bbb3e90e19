#!/usr/bin/env bash
# Keras 3.15.1 on torch 2.13.0 (CPU), Python 3.11.
#
# keras.layers.RandomContrast(0.5) draws its factor from 1 to 1.5: contrast is only ever raised. Its
# documentation says that a single number is both the lower and the upper limit, that is a factor
# from 0.5 to 1.5, as RandomContrast((0.5, 0.5)) does draw.
#
# Seen, of 300 seeds: the least and the largest factor, in tenths, rounded down.
#   0.5         10 14
#   (0.5, 0.5)   5 14
#
# The script fails if that changes. It needs pip and some 2 GB in a temporary folder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1
cat > "$folder/run.py" <<'PYTHON'
import math

import keras

image = keras.ops.convert_to_tensor([[[[0.25], [0.75]], [[0.75], [0.25]]]])  # of mean 0.5

for factor in (0.5, (0.5, 0.5)):
    found = []
    for seed in range(300):
        layer = keras.layers.RandomContrast(factor, value_range=(0, 10), seed=seed)
        changed = layer(image + 3, training=True) - 3.5  # 0.25 from the mean, times the factor
        found.append(float(keras.ops.max(changed)) / 0.25)
    print(factor, math.floor(10 * min(found) + 0.01), math.floor(10 * max(found) + 0.01))
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff - "$folder/seen" <<'SEEN'
0.5 10 14
(0.5, 0.5) 5 14
SEEN
